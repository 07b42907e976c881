/* SPDX-License-Identifier: GPL-2.0 */
/* What portable.bpf.c reports to test_portable.c. */
#ifndef PORTABLE_H
#define PORTABLE_H

#include "syscalls.h"

#define PORTABLE_PAGES 128
#define PORTABLE_MARK 0x7073747561626c65ULL
#define PORTABLE_SYSCALL SYS_getpgid

struct portable_result {
	__u64 page;
	__u32 module;
	__u32 runs[2];
	__u32 failed;
	__u32 dirty;
	__s32 reserved;
	__s32 reserved_again;
	__s32 guard, guard_again;
};

#endif
