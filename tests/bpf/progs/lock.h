/* SPDX-License-Identifier: GPL-2.0 */
/* What lock.bpf.c and test_lock.c share. */
#ifndef LOCK_H
#define LOCK_H

#include "syscalls.h"

#define LOCK_SYSCALL SYS_getppid

enum lock_ctx {
	LOCK_TASK,
	LOCK_SOFTIRQ,
	LOCK_HARDIRQ,
	LOCK_NMI,
	LOCK_CTXS,		/* a power of two */
};

/* A lock, and two words that differ only while it is held. */
struct lock_data {
	struct arena_nolock_lock lock;
	__u64 first, second;
};

struct lock_status {
	/* from user space */
	__u32 tgid;
	__u32 storm;		/* programs of the storm run */
	__u32 hold;		/* the holder holds until an NMI program has tried to lock */
	__u32 in_arena;		/* requests are for the lock in the arena, not the global one */

	/* from the programs */
	__u64 page;		/* address of struct lock_data in the arena */
	__s32 tried, got, tried_again, got_free;
	__u64 ns;		/* that a request took */
	__u32 holder;		/* its CPU plus 1 */
	__s32 nmi_err;		/* of an NMI on the holder, 1 if there was none */
	__u64 nmi_ns;
	__u64 unequal;		/* times that the two words differed under the lock */
	__u64 locked[2];	/* times locked: the global lock, that in the arena */
	__u64 rounds[LOCK_CTXS];
	__u64 deadlock, timeout, other;
};

#endif
