/* SPDX-License-Identifier: GPL-2.0 */
/* What ctx_nested.bpf.c and test_ctx_nested.c share. */
#ifndef CTX_H
#define CTX_H

#define CTX_ARENA_PAGES 1024
#define CTX_MAX_PAGES 64
#define CTX_ROUND_PAGES 3
#define CTX_MARK 0xc0ffee00ULL

enum {
	CTX_OP_NONE,
	CTX_OP_GRAB,	/* cnt single pages and a block, kept; once */
	CTX_OP_DROP,	/* free what GRAB got; once */
	CTX_OP_AGAIN,	/* free a page and allocate it again at once, many times; once */
	CTX_OP_ROUND,	/* a page and a few pages, used and freed; every time */
	CTX_OP_SINGLE,	/* a page, used and freed; every time */
};

struct ctx_status {
	/* from user space */
	__u32 op;
	__u32 tgid;
	__u32 need;	/* bits of preempt_count, one of which is set */
	__u32 cnt;
	__u32 block_cnt;
	__u32 times;	/* of AGAIN and of the hammer */
	__u64 armed;	/* the one kprobe that acts */

	/* from the programs */
	__u32 done;
	__u32 elsewhere;
	__u32 pc;
	__s32 nesting;	/* of rcu_read_lock() */
	__u32 rounds;
	__u32 no_page;	/* rounds without the single page */
	__u32 no_pages;	/* rounds without the few pages */
	__u32 hammered;
	__u32 tried_again;
	__u32 got_again;
	__u64 dirty;
	__u64 block;
	__u64 page[CTX_MAX_PAGES];
};

#endif
