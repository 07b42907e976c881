/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An adopted arena.
 *
 * It embeds one struct for each file that owns a part of it. A file changes only the part
 * that it owns, through the functions in its header. docs/design.md shows the layers; no
 * two files call each other.
 */
#ifndef ANL_ARENA_H
#define ANL_ARENA_H

#include <linux/bpf.h>
#include <linux/completion.h>
#include <linux/hrtimer.h>
#include <linux/sched.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#include "arena_free_deferred.h"
#include "arena_pgtable.h"
#include "charge.h"
#include "kick.h"
#include "pool.h"
#include "recycle.h"
#include "refill.h"
#include "slots.h"
#include "standby.h"
#include "stat.h"
#include "stock_arena.h"
#include "vma.h"

/**
 * struct anl_arena - what the module knows about an adopted arena
 * @ops: map->ops points here; a copy of the stock operations with ours on top
 * @map: the map; it owns the arena and frees it in map_free
 * @id: id of the map, which the map itself loses before it is freed
 * @objcg: what the arena's memory is charged to; the map drops its own reference before it
 *	is freed, while the refill worker may still run
 * @ready: set once, when adoption has finished
 * @shared: other programs may have used the stock arena when it was seized
 * @adopt_work: adoption from the seize on; holds a reference on the map
 * @adopted: completed when @ready is set
 * @user_start: user address of slot 0, in bytes
 * @kern_start: kernel address of slot 0, in bytes
 * @nr_slots: pages in the user mapping
 * @nr_limit: pages that may be populated: @nr_slots or max_entries if less
 * @slots: the state of every slot; slots.c
 * @pgtable: the kernel's page tables; arena_pgtable.c
 * @pool: pages ready for callers that cannot sleep; pool.c
 * @standby: pages that it shares with the other arenas of its cgroup; standby.c
 * @refill: how large the pool is; refill.c
 * @kick: requests for work; kick.c
 * @drain: retires dying slots; arena_free_deferred.c
 * @recycle: for each memory node, or NULL with one; recycle.c
 * @vmas: user mappings; vma.c
 * @stock: what was taken from the stock arena; stock_arena.c
 * @stat: counters of each CPU; stat.c
 * @stat_file: the file in debugfs; stat.c
 *
 * Members without a file belong to adopt.c, and are constant once @ready is set.
 */
struct anl_arena {
	struct bpf_map_ops ops;
	struct bpf_map *map;
	u32 id;
	struct obj_cgroup *objcg;
	bool ready;
	bool shared;
	struct work_struct adopt_work;
	struct completion adopted;

	unsigned long user_start;
	unsigned long kern_start;
	u32 nr_slots;
	u32 nr_limit;

	struct anl_slots slots;
	struct anl_pgtable pgtable;
	struct anl_pool pool;
	struct anl_standby *standby;
	struct anl_refill refill;
	struct anl_kick kick;
	struct anl_drain drain;
	struct anl_recycle *recycle;
	struct anl_vmas vmas;
	struct anl_stock stock;

	struct anl_stat __percpu *stat;
	struct dentry *stat_file;
};

static inline unsigned long anl_kaddr(const struct anl_arena *arena, u32 pgoff)
{
	return arena->kern_start + ((unsigned long)pgoff << PAGE_SHIFT);
}

static inline unsigned long anl_uaddr(const struct anl_arena *arena, u32 pgoff)
{
	return arena->user_start + ((unsigned long)pgoff << PAGE_SHIFT);
}

/* Slot of an address. Only its lower 32 bits count, as in the stock arena. */
static inline u32 anl_pgoff(const struct anl_arena *arena, unsigned long addr)
{
	return (u32)(addr - (u32)arena->user_start) >> PAGE_SHIFT;
}

/**
 * anl_nap() - sleep for a moment
 * @min_us: shortest time in microseconds, unless the task is woken
 * @max_us: longest time
 *
 * A BPF program keeps its task on its CPU. Where ordinary timers run in a thread of that
 * CPU, as with PREEMPT_RT, the thread stops before the CPU goes offline, which in turn
 * waits for tasks that cannot leave it. So this timer runs in the hard interrupt.
 *
 * Context: process context, may sleep.
 */
static inline void anl_nap(u32 min_us, u32 max_us)
{
	ktime_t time = ns_to_ktime((u64)min_us * NSEC_PER_USEC);

	__set_current_state(TASK_UNINTERRUPTIBLE);
	schedule_hrtimeout_range(&time, (u64)(max_us - min_us) * NSEC_PER_USEC,
				 HRTIMER_MODE_REL_HARD);
}

/* Are so many slots free that dying ones may wait for a moment? Any context. */
static inline bool anl_has_room(const struct anl_arena *arena)
{
	return anl_slots_nr_free(&arena->slots) >= arena->nr_limit / 4;
}

#endif
