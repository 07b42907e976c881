/* SPDX-License-Identifier: GPL-2.0 */
/* The system calls by which tests run their programs, for programs and user space. */
#ifndef SYSCALLS_H
#define SYSCALLS_H

#ifndef __bpf__
#include <sys/syscall.h>
#elif defined(__TARGET_ARCH_arm64)
#define SYS_getpgid 155
#define SYS_getppid 173
#define SYS_FUNC(name) "__arm64_sys_" name
#else
#define SYS_getpgid 121
#define SYS_getppid 110
#define SYS_FUNC(name) "__x64_sys_" name
#endif

#endif
