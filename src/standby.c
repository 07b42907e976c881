// SPDX-License-Identifier: GPL-2.0
/*
 * The standby: ready pages that all arenas of a memory cgroup share.
 *
 * An arena that nobody uses keeps few pages in its own pool. The first burst of callers that
 * can have pages from nowhere else, an interrupt on 6.12 for example, gets those of the
 * standby, until the refill worker has let the pool grow. So idle arenas are small, and a burst
 * finds as many pages as if each arena had kept them for itself, unless several arenas of a
 * cgroup have one within the same milliseconds.
 *
 * The pages are charged to the memcg like those of a pool. Arenas share a standby if they are
 * charged to the same objcg, so a page that moves from it to one of them needs no new charge.
 * (6.12 has one objcg for a memcg, 7.x one for each memory node on which its maps were made.)
 *
 * Whoever takes a page requests the refill of its arena, whose worker fills the standby, too. A
 * call that wants more than there is takes none: if calls that fail emptied it, each would have
 * the worker reclaim memory for the next one. A standby holds no more pages than its arenas have
 * together.
 *
 * Owns: struct anl_standby, and the parameter standby_pages. The pool in it has its own rules,
 * see pool.c, and needs no lock.
 * Locks: anl_standbys_lock, a leaf, protects the list, @arenas, @room, and who frees a standby.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/nodemask.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "arena.h"
#include "compat.h"
#include "standby.h"

uint anl_standby_pages = SZ_1M >> PAGE_SHIFT;
module_param_cb(standby_pages, &anl_pool_param_ops, &anl_standby_pages, 0644);
MODULE_PARM_DESC(standby_pages,
		 "Pages kept ready for all arenas of a memory cgroup together, 0 to 4096 (default 256), with pages larger than 4 KiB as many bytes; applies to arenas adopted after the change");

static LIST_HEAD(anl_standbys);
static DEFINE_SPINLOCK(anl_standbys_lock);

/* Its arenas have @pages more, or fewer. The lock is held. */
static void anl_standby_resize(struct anl_standby *standby, s64 pages)
{
	standby->room += pages;
	WRITE_ONCE(standby->target, min_t(u64, standby->size, standby->room));
}

/* The standby of the arena's cgroup, or @new if there is none; with the arena counted. */
static struct anl_standby *anl_standby_find(struct anl_arena *arena, u32 size,
					    struct anl_standby *new)
{
	struct anl_standby *standby;

	spin_lock(&anl_standbys_lock);
	list_for_each_entry(standby, &anl_standbys, head)
		if (standby->objcg == arena->objcg && standby->size == size)
			goto found;
	standby = new;
	if (standby)
		list_add(&standby->head, &anl_standbys);
found:
	if (standby) {
		standby->arenas++;
		anl_standby_resize(standby, arena->nr_limit);
	}
	spin_unlock(&anl_standbys_lock);

	return standby;
}

static void anl_standby_free(struct anl_standby *standby)
{
	anl_pool_free(&standby->pool);
	kvfree(standby);
}

/**
 * anl_standby_join() - find the standby of the arena's cgroup, or make one
 * @arena: the arena
 *
 * The refill worker fills it.
 *
 * Context: process context, may sleep.
 * Return: 0, or -ENOMEM.
 */
int anl_standby_join(struct anl_arena *arena)
{
	u32 size = READ_ONCE(anl_standby_pages);
	struct anl_standby *new;

	arena->standby = anl_standby_find(arena, size, NULL);
	if (arena->standby)
		return 0;

	new = anl_zalloc(arena, sizeof(*new));
	if (!new)
		return -ENOMEM;
	new->objcg = arena->objcg;
	new->size = size;
	if (anl_pool_alloc(arena, &new->pool, size)) {
		anl_standby_free(new);
		return -ENOMEM;
	}
	arena->standby = anl_standby_find(arena, size, new);
	if (arena->standby != new)
		anl_standby_free(new);

	return 0;
}

/**
 * anl_standby_leave() - undo anl_standby_join()
 * @arena: the arena; its refill worker does not run
 *
 * Context: process context, may sleep.
 */
void anl_standby_leave(struct anl_arena *arena)
{
	struct anl_standby *standby = arena->standby;
	bool last;

	if (!standby)
		return;
	spin_lock(&anl_standbys_lock);
	anl_standby_resize(standby, -(s64)arena->nr_limit);
	spin_unlock(&anl_standbys_lock);

	anl_pool_trim(&standby->pool, READ_ONCE(standby->target));

	spin_lock(&anl_standbys_lock);
	last = !--standby->arenas;
	if (last)
		list_del(&standby->head);
	spin_unlock(&anl_standbys_lock);
	if (last)
		anl_standby_free(standby);
}

/**
 * anl_standby_take() - add pages to @pages until there are @cnt
 * @arena: the arena
 * @n: number of pages there
 * @cnt: number of pages wanted
 * @nid: the node that they must be of, or NUMA_NO_NODE
 * @pages: list to add them to, through page->lru
 *
 * Context: any.
 * Return: number of pages there now.
 */
u32 anl_standby_take(struct anl_arena *arena, u32 n, u32 cnt, int nid, struct list_head *pages)
{
	struct anl_pool *pool = &arena->standby->pool;
	u32 had = n;

	if (cnt - n > anl_pool_counted(pool))
		return n;
	n = anl_pool_take(arena, pool, n, cnt, 0, nid, pages);
	if (n > had) {
		anl_count(arena, standby_pages, n - had);
		anl_kick(&arena->kick, ANL_KICK_REFILL);
	}

	return n;
}

/**
 * anl_standby_return() - put a page into the standby if that lacks some
 * @arena: the arena
 * @page: a zeroed, charged page without a memory error
 *
 * Context: any.
 * Return: whether the standby has taken it.
 */
bool anl_standby_return(struct anl_arena *arena, struct page *page)
{
	struct anl_standby *standby = arena->standby;

	return anl_pool_counted(&standby->pool) < READ_ONCE(standby->target) &&
	       !anl_pool_push(&standby->pool, page);
}

/* The node of which there are the fewest pages. */
static int anl_standby_poorest(struct anl_pool *pool)
{
	int nid, nr, best = NUMA_NO_NODE, least = INT_MAX;

	if (!static_branch_unlikely(&anl_numa))
		return NUMA_NO_NODE;
	for_each_node_state(nid, N_NORMAL_MEMORY) {
		nr = atomic_read(&anl_pool_node(pool, nid)->nr);
		if (nr < least) {
			least = nr;
			best = nid;
		}
	}

	return best;
}

/**
 * anl_standby_fill() - bring the standby to its target
 * @arena: one of its arenas
 * @charge: scope of the caller
 * @gfp: flags for a page
 *
 * Workers of several arenas may do this at the same time; pages for which there is no place any
 * more are freed.
 *
 * Context: process context; may sleep if @gfp says so.
 * Return: 0, or -ENOMEM if there are not enough pages.
 */
int anl_standby_fill(struct anl_arena *arena, struct anl_charge *charge, gfp_t gfp)
{
	u32 target = READ_ONCE(arena->standby->target), order = ANL_BLOCK_ORDER, nr;
	struct anl_pool *pool = &arena->standby->pool;
	struct page *page;

	while ((nr = anl_pool_counted(pool)) < target) {
		page = anl_alloc_block(charge, gfp, target - nr, &order, anl_standby_poorest(pool));
		if (!page)
			return -ENOMEM;
		if (!anl_pool_push_block(pool, page, order))
			break;
		cond_resched();
	}

	return 0;
}
