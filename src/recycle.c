// SPDX-License-Identifier: GPL-2.0
/*
 * Pages that were freed, zeroed for the pool on the memory node that they belong to.
 *
 * The drain worker zeroes the pages of its own node, and hands those of others on to a work for
 * each node. So zeroing does not load the links between nodes, and the nodes zero at the same
 * time. A work gets no more than what its node's share of the pool lacks; the drain worker
 * deals with the rest, so no pages gather behind a node whose CPUs are busy. With one memory
 * node there are no such works.
 *
 * Owns: struct anl_recycle. Drains add to its list with llist_add(); the work takes all.
 */
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/topology.h>

#include "arena.h"
#include "trace.h"

static void anl_recycle_work(struct work_struct *work)
{
	struct anl_recycle *recycle = container_of(work, struct anl_recycle, work);
	struct llist_node *node, *next;
	LIST_HEAD(pages);
	int nr = 0;

	/* The llist has the pages in reverse order. */
	llist_for_each_safe(node, next, llist_del_all(&recycle->pages)) {
		list_add((struct list_head *)node, &pages);
		nr++;
	}
	if (!nr)
		return;
	trace_arena_nolock_recycle(recycle->arena,
				   page_to_nid(list_first_entry(&pages, struct page, lru)), nr);
	anl_pool_recycle(recycle->arena, &pages);
	anl_put_pages(&pages);
	atomic_sub(nr, &recycle->nr);
}

/* Does the pool want a page of a node that has a CPU to zero it on? */
static bool anl_recycle_wants(struct anl_arena *arena, int nid)
{
	const struct anl_pool_node *node = anl_pool_node(&arena->pool, nid);
	int coming = atomic_read(&arena->recycle[nid].nr);

	return node_state(nid, N_CPU) && READ_ONCE(node->wanted) &&
	       atomic_read(&node->nr) + coming < (int)READ_ONCE(arena->pool.share);
}

/* Hand the pages of other nodes on. */
static void anl_recycle_elsewhere(struct anl_arena *arena, struct list_head *pages)
{
	nodemask_t nodes = NODE_MASK_NONE;
	int here = numa_node_id(), nid;
	struct page *page, *tmp;

	list_for_each_entry_safe(page, tmp, pages, lru) {
		nid = page_to_nid(page);
		if (nid == here || !anl_recycle_wants(arena, nid))
			continue;
		list_del(&page->lru);
		atomic_inc(&arena->recycle[nid].nr);
		llist_add((struct llist_node *)&page->lru, &arena->recycle[nid].pages);
		node_set(nid, nodes);
	}
	for_each_node_mask(nid, nodes)
		queue_work_node(nid, anl_drain_wq, &arena->recycle[nid].work);
}

/**
 * anl_recycle() - reuse pages that were freed
 * @arena: the arena
 * @pages: pages linked through page->lru, in no page table of the kernel; those that are left
 *	on return are the caller's to free
 *
 * Context: the drain worker.
 */
void anl_recycle(struct anl_arena *arena, struct list_head *pages)
{
	if (static_branch_unlikely(&anl_numa) && arena->pool.max)
		anl_recycle_elsewhere(arena, pages);
	anl_pool_recycle(arena, pages);
}

/**
 * anl_recycle_init() - prepare the works of all nodes
 * @arena: the arena
 *
 * Context: process context, may sleep.
 * Return: 0 or -ENOMEM.
 */
int anl_recycle_init(struct anl_arena *arena)
{
	int nid;

	if (!static_branch_unlikely(&anl_numa))
		return 0;
	arena->recycle = anl_zalloc(arena, nr_node_ids * sizeof(*arena->recycle));
	if (!arena->recycle)
		return -ENOMEM;
	for (nid = 0; nid < nr_node_ids; nid++) {
		arena->recycle[nid].arena = arena;
		INIT_WORK(&arena->recycle[nid].work, anl_recycle_work);
	}

	return 0;
}

/* Wait for the works. The drain worker has been stopped. Process context, may sleep. */
void anl_recycle_stop(struct anl_arena *arena)
{
	int nid;

	for (nid = 0; arena->recycle && nid < nr_node_ids; nid++)
		flush_work(&arena->recycle[nid].work);
}

/* Undo anl_recycle_init(), or the part of it that succeeded. No work runs. */
void anl_recycle_exit(struct anl_arena *arena)
{
	kvfree(arena->recycle);
}
