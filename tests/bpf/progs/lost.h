/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A page that changes hands between two CPUs, one round after the other; shared by
 * lost_programs.h and test_lost.c. Each phase is ended by the one named.
 */
#ifndef LOST_H
#define LOST_H

#define LOST_PAGES 64

enum lost_phase {
	LOST_IDLE,	/* user space: the page is allocated */
	LOST_WARM,	/* the taker: has touched it, so that its CPU has a translation */
	LOST_HUNT,	/* the taker: has got the address, which user space frees */
	LOST_GOT,	/* user space: has looked what is there */
};

struct lost_shared {
	__u64 page;
	__u64 mark;	/* of this round, never 0 */
	__u32 phase;
	__u64 look;	/* address of a word to read */
	__u64 val;	/* what a program has read, or the address that it has got */
	__u64 tries;	/* of the taker, in this round */
	__u64 stale;	/* rounds in which it saw old contents in its new page */
	__u64 hot;	/* rounds in which it got the page in the interrupt that touched it */
};

#endif
