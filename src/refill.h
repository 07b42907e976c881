/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_REFILL_H
#define ANL_REFILL_H

#include <linux/init.h>
#include <linux/list.h>
#include <linux/types.h>

struct anl_arena;
struct anl_shrink_entry;

/**
 * struct anl_refill - how large the pool of an arena is, and when it is refilled
 * @used: most pages found missing in this period
 * @decay: end of this period, in jiffies
 * @after: end of the back-off, in jiffies
 * @delay: length of the back-off in jiffies, 0 for none
 * @shrink: the arena's entry in the shrinker's lists
 *
 * Only the refill worker uses them, and adoption before the worker can run.
 */
struct anl_refill {
	u32 used;
	unsigned long decay;
	unsigned long after;
	unsigned long delay;
	struct anl_shrink_entry *shrink;
};

int anl_refill_init(struct anl_arena *arena);
void anl_refill_exit(struct anl_arena *arena);
void anl_refill(struct anl_arena *arena);
int anl_refill_setup(void);
void anl_refill_cleanup(void);

#endif
