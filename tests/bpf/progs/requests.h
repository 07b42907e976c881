/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The request block that user space and requests.bpf.c share: user space fills one
 * and runs a program on it, and the program does one operation and answers.
 * Plain types only, so that both sides can include it.
 */
#ifndef REQUESTS_H
#define REQUESTS_H

/* Requests that can be in flight at once, one per thread. */
#define REQ_SLOTS 16

enum request_op {
	REQ_ALLOC,	/* addr, cnt, node, flags -> pointer */
	REQ_FREE,	/* addr, cnt */
	REQ_RESERVE,	/* addr, cnt -> error */
	REQ_READ,	/* addr -> word */
	REQ_WRITE,	/* addr, val */
	REQ_FILL,	/* addr, cnt, step, val: val + i in every step-th byte */
	REQ_DIFF,	/* addr, cnt, step, val -> number of words that differ */
	REQ_ALLOC_EACH,	/* cnt: one page at a time until one fails -> successes */
	REQ_FREE_EACH,	/* addr, cnt: one page at a time */
	REQ_CHURN,	/* cnt rounds of alloc, use and free -> rounds gone wrong */
};

/*
 * What REQ_FILL writes and REQ_DIFF expects in the i-th place is
 * val + i * REQ_GROW. Without it all places hold the same.
 */
#define REQ_GROW (1ULL << 32)

struct arena_req {
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
