/* SPDX-License-Identifier: GPL-2.0 */
/* What slab.bpf.c and test_slab.c share. */
#ifndef SLAB_H
#define SLAB_H

#define SLAB_KEPT 64		/* objects that programs hand to each other */
#define SLAB_WORDS 8		/* of an object in the storm */

enum slab_ctx {
	SLAB_TASK,
	SLAB_HARDIRQ,
	SLAB_NMI,
	SLAB_CTXS = 4,		/* a power of two, for the verifier of 6.12 */
};

#endif
