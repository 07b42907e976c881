/* SPDX-License-Identifier: GPL-2.0 */
/* What the bench and the programs of bench.bpf.c share. */
#ifndef BENCH_H
#define BENCH_H

/* One for each CPU, one with interrupts off, one for NMIs. */
#define BENCH_CPUS 32
#define BENCH_HOOK 32
#define BENCH_NMI 33
#define BENCH_SLOTS 34

#define BENCH_BURST 64
#define BENCH_PAGES 8192

enum {
	OP_NONE,
	OP_BURST,	/* allocate 64 times cnt pages, then free them; both timed */
	OP_EMPTY,	/* the loop of OP_BURST, calling nothing */
	OP_ALLOC,	/* allocate n times cnt pages, and remember them */
	OP_FREE,	/* free what OP_ALLOC remembered */
	OP_LOOP,	/* n times or until it fails: allocate a page, write, free it */
	OP_RANGE,	/* free cnt pages at addr with one call */
	OP_SCATTER,	/* free n pages, each step-th, from addr on */
	OP_CLAIM,	/* allocate n pages, each step-th, from addr on */
	OP_RESERVE,	/* reserve n pages, each step-th, from addr on */
	OP_SPIN,	/* do nothing for addr nanoseconds */
};

struct bench_slot {
	__u32 op;
	__u32 n;
	__u32 cnt;
	__u32 step;
	__u64 addr;

	/* Results, reset with op. */
	__u64 alloc_ns;
	__u64 free_ns;
	__u64 done;
	__u64 failed;
	__u64 before;		/* done before the first failure */

	/* What an NMI has found. */
	__u32 inside;		/* a call of this slot is under way */
	__u32 hits;
	__u32 hits_failed;
	__u32 pad[9];
} __attribute__((aligned(128)));

struct bench_shared {
	struct bench_slot slot[BENCH_SLOTS];
	__u64 pages[BENCH_SLOTS][BENCH_PAGES];
};

#endif
