/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What ctx_each.bpf.c and test_ctx_each.c share: user space gives a command, and
 * the program executes it the next time that it runs in the requested context.
 */
#ifndef CONTEXTS_H
#define CONTEXTS_H

#define CTX_PAGES 1024
#define CTX_MANY 3

enum ctx_cmd {
	CTX_NONE,
	CTX_ALLOC,	/* a page, CTX_MANY pages, reservations; keep them */
	CTX_FREE,	/* look at what user space wrote and free all of it */
	CTX_CYCLE,	/* alloc, use and free a page, as often as told */
};

struct ctx_shared {
	/* from user space */
	__u32 cmd;
	__u32 cycles;
	__u32 need;	/* one of these bits of preempt_count is set */
	__u32 forbid;	/* none of these is */
	__u32 tgid;
	__u64 base;	/* of the arena */
	__u64 reserve;	/* address of two pages to reserve */
	__u64 pattern;

	/* from the program */
	__u32 done;	/* commands obeyed */
	__u32 elsewhere; /* runs in another context than requested */
	__u32 pc;	/* preempt_count at the last command */
	__u64 page;
	__u64 many;
	__s32 reserved;
	__s32 reserved_again;
	__s32 reserved_outside;
	__u64 dirty;	/* words of new pages that were not zero */
	__u64 wrong;	/* words that were not what was written there */
	__u64 cycles_done;
	__u64 cycles_failed;
};

/* The words of a page that are looked at: every CTX_STEP-th. */
#define CTX_STEP 8
#define CTX_WORDS (4096 / 8 / CTX_STEP)

#endif
