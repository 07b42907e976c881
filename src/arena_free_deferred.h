/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_ARENA_FREE_DEFERRED_H
#define ANL_ARENA_FREE_DEFERRED_H

#include <linux/atomic.h>
#include <linux/types.h>

struct anl_arena;
struct anl_batch;
struct mm_struct;

/**
 * struct anl_drain - what retires the dying slots of an arena
 * @batch: memory of the worker
 * @retry: jiffies until the worker looks again at slots that it could not reach; only the
 *	worker uses it
 * @running: drains of the queue that are in progress
 * @ns_max: longest time that slots can have been in the queue; only the worker writes it
 */
struct anl_drain {
	struct anl_batch *batch;
	unsigned long retry;
	atomic_t running;
	u64 ns_max;
};

int anl_drain_init(struct anl_arena *arena);
void anl_drain_exit(struct anl_arena *arena);
u32 anl_free_now(struct anl_arena *arena, u32 pgoff, u32 cnt);
void anl_drain_now(struct anl_arena *arena);
void anl_drain_reached(struct anl_arena *arena, struct mm_struct *mm);

#endif
