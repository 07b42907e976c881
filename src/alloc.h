/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_ALLOC_H
#define ANL_ALLOC_H

#include <linux/nodemask.h>
#include <linux/types.h>

#include "arena.h"
#include "pages.h"

/* Instead of a slot: the lowest slots that are free. */
#define ANL_ANYWHERE (-1L)

long anl_claim(struct anl_arena *arena, long pgoff, u32 cnt, bool may_sleep);

/* For anl_alloc_slots() */
long anl_alloc_reuse(struct anl_arena *arena, u32 g, unsigned long dying, int nid);
long anl_alloc_slow(struct anl_arena *arena, unsigned long addr, u32 cnt, int nid, bool may_sleep);
long anl_alloc_undo(struct anl_arena *arena, struct page *page);
long anl_alloc_stray(struct anl_arena *arena, u32 pgoff, struct page *page);

static inline bool anl_nid_is_valid(int nid)
{
	return nid == NUMA_NO_NODE || ((unsigned int)nid < nr_node_ids && node_online(nid));
}

/*
 * Fast path: one page for an atomic caller. It is one that was freed, still in its slot, or one
 * from the pool. Any obstacle returns an error.
 */
static inline long anl_alloc_one(struct anl_arena *arena, int nid)
{
	struct anl_slots *slots = &arena->slots;
	u32 g = anl_magazine(slots);
	struct anl_group *group = anl_group(slots, g);
	unsigned long dying = atomic_long_read(&group->dying);
	struct page *page;
	long pgoff;

	if (dying) {
		pgoff = anl_alloc_reuse(arena, g, dying, nid);
		if (pgoff >= 0)
			return pgoff;
	}
	page = anl_get_page(arena, nid);
	if (!page)
		return -ENOMEM;
	pgoff = anl_slots_alloc_one(arena, group, g);
	if (pgoff < 0)
		return anl_alloc_undo(arena, page);
	if (anl_spares_below(slots, pgoff)) {
		/* The slow path releases the spare. */
		anl_slots_unclaim(arena, pgoff, 1);
		return anl_alloc_undo(arena, page);
	}
	if (anl_map_page(arena, pgoff, page))
		return anl_alloc_stray(arena, pgoff, page);
	anl_slots_set_live_one(slots, pgoff);
	if (READ_ONCE(slots->spares_missing))
		anl_spares_fill(arena);

	return pgoff;
}

/**
 * anl_alloc_slots() - allocate pages
 * @arena: the arena
 * @addr: user address of the first page, or 0 for any; see anl_claim()
 * @cnt: number of pages, not 0
 * @nid: preferred node, or NUMA_NO_NODE
 * @may_sleep: the caller may sleep
 *
 * Context: any, or process context if @may_sleep.
 * Return: the first slot; -EINVAL for bad arguments; -ENOSPC or -EBUSY if no such addresses
 * are free; -ENOMEM; -EAGAIN if scratch pages are in the way; -EDEADLK or -ETIMEDOUT if the
 * tree's lock is unavailable.
 */
static inline long anl_alloc_slots(struct anl_arena *arena, unsigned long addr, u32 cnt, int nid,
				   bool may_sleep)
{
	if (cnt == 1 && !addr && !may_sleep && anl_nid_is_valid(nid)) {
		long pgoff = anl_alloc_one(arena, nid);

		if (likely(pgoff >= 0))
			return pgoff;
	}

	return anl_alloc_slow(arena, addr, cnt, nid, may_sleep);
}

#endif
