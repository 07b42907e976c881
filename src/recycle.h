/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_RECYCLE_H
#define ANL_RECYCLE_H

#include <linux/atomic.h>
#include <linux/llist.h>
#include <linux/workqueue.h>

struct anl_arena;
struct list_head;

/**
 * struct anl_recycle - pages of a memory node that are to be zeroed there
 * @arena: the arena
 * @work: zeroes them
 * @pages: the pages, linked through page->lru
 * @nr: how many are in @pages, or with @work
 */
struct anl_recycle {
	struct anl_arena *arena;
	struct work_struct work;
	struct llist_head pages;
	atomic_t nr;
};

int anl_recycle_init(struct anl_arena *arena);
void anl_recycle_stop(struct anl_arena *arena);
void anl_recycle_exit(struct anl_arena *arena);
void anl_recycle(struct anl_arena *arena, struct list_head *pages);

#endif
