/* SPDX-License-Identifier: GPL-2.0 */
/* What heap.bpf.c and test_heap.c share. */
#ifndef HEAP_H
#define HEAP_H

#define HEAP_PAGES 1024		/* of the arena */
#define HEAP_KEPT 2048		/* objects that programs hand to each other */
#define HEAP_STEPS 32		/* of a program that interrupts a call */
#define HEAP_NAMES 64		/* objects that these steps name */

enum heap_ctx {
	HEAP_TASK,
	HEAP_HARDIRQ,
	HEAP_NMI,
	HEAP_CTXS = 4,		/* a power of two, for the verifier of 6.12 */
};

/* A step: a call, and the object of kept[] that it allocates or frees. */
enum heap_op {
	HEAP_NONE,
	HEAP_GET,
	HEAP_PUT,
	HEAP_TRIM,
};

struct heap_step {
	__u32 op;
	__u32 name;
};

#endif
