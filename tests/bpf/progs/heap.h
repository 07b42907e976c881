/* SPDX-License-Identifier: GPL-2.0 */
/* What heap.bpf.c and test_heap.c share. */
#ifndef HEAP_H
#define HEAP_H

#define HEAP_PAGES 1024		/* of the arena */
#define HEAP_KEPT 2048		/* objects that programs hand to each other */

enum heap_ctx {
	HEAP_TASK,
	HEAP_HARDIRQ,
	HEAP_NMI,
	HEAP_CTXS = 4,		/* a power of two, for the verifier of 6.12 */
};

#endif
