/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The request block that user space and requests.bpf.c share: user space fills one
 * and runs a program on it, and the program does one operation and answers.
 * Plain types only, so that both sides can include it.
 */
#ifndef SEM_H
#define SEM_H

/* Requests that can be in flight at once, one per thread. */
#define SEM_SLOTS 16

enum sem_op {
	SEM_ALLOC,	/* addr, cnt, node, flags -> pointer */
	SEM_FREE,	/* addr, cnt */
	SEM_RESERVE,	/* addr, cnt -> error */
	SEM_READ,	/* addr -> word */
	SEM_WRITE,	/* addr, val */
	SEM_FILL,	/* addr, cnt, step, val: val + i in every step-th byte */
	SEM_DIFF,	/* addr, cnt, step, val -> number of words that differ */
	SEM_ALLOC_EACH,	/* cnt: one page at a time until one fails -> successes */
	SEM_FREE_EACH,	/* addr, cnt: one page at a time */
	SEM_CHURN,	/* cnt rounds of alloc, use and free -> rounds gone wrong */
};

/*
 * What SEM_FILL writes and SEM_DIFF expects in the i-th place is
 * val + i * SEM_GROW. Without it all places hold the same.
 */
#define SEM_GROW (1ULL << 32)

struct sem_req {
	__u64 addr;
	__u64 val;
	__u64 flags;
	__u64 ret;
	__u64 grow;
	__u32 op;
	__u32 cnt;
	__u32 step;
	__s32 node;
};

#endif
