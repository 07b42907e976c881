/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_ALLOC_H
#define ANL_ALLOC_H

#include <linux/types.h>

struct anl_arena;

/* Instead of a slot: the lowest slots that are free. */
#define ANL_ANYWHERE (-1L)

long anl_claim(struct anl_arena *arena, long pgoff, u32 cnt, bool may_sleep);
long anl_alloc_slots(struct anl_arena *arena, unsigned long addr, u32 cnt, int nid,
		     bool may_sleep);

#endif
