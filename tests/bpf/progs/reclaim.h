/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What reclaim.bpf.c and test_reclaim.c share. A sleepable LSM program
 * runs when the kernel destroys an inode. Direct reclaim does that in the task that
 * allocates, so whatever the module allocates, this program can run below it.
 */
#ifndef RECLAIM_H
#define RECLAIM_H

/* Frames of a stack that are looked at. */
#define RECLAIM_DEPTH 100

struct reclaim_shared {
	/* from user space */
	__u64 text, text_end;	/* the module's code */
	__u64 addr;		/* the page that the victim is about to use, or 0 */
	__u64 hole;		/* a page that nothing else uses, or 0 */
	__s64 budget;		/* runs that may still call the kfuncs */
	__s32 target;		/* process ID of the victim */
	__u32 workers;		/* kworkers are victims, too */

	/* from the program */
	__u64 calls;		/* runs in a victim */
	__u64 in_reclaim;	/* of these, in direct reclaim */
	__u64 in_module;	/* of these, with the module's code further up the stack */
	__u64 allocs, reserves, frees;	/* calls, in reclaim, that had an effect */
	__u64 dirty;		/* new pages with something in them */
	__u64 stack[RECLAIM_DEPTH]; /* of one run counted in @in_module */
};

#endif
