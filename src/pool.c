// SPDX-License-Identifier: GPL-2.0
/*
 * The pool: pages that are ready for callers that cannot sleep.
 *
 * A caller that can sleep gets pages from a normal, reclaiming allocation. For all others
 * each arena keeps a pool of pages that are zeroed and charged to the map's memcg already.
 * It is an array of pointers, with a bitmap of the entries that hold a page, and a summary
 * of the words of the bitmap that are worth a look. Taking a page is one
 * test_and_clear_bit() and no loop in the normal case, so it works in any context and on
 * any number of CPUs.
 *
 * On a machine with several memory nodes each node has a bitmap of its own over the same
 * array, so a page of a given node is found as fast as any. A caller gets a page of the
 * node that it names, or of the one that its CPU allocates from: a ready one, or a new
 * one. Only if there is neither does it get one of another node.
 *
 * Ownership: the context that clears a bit of a node's map owns the page behind it, and
 * clears the pointer after reading it. A producer sets a pointer only if it is NULL, with
 * cmpxchg(), and sets the bit afterwards. So between the clearing of the bit and the read
 * of the pointer no other context touches the entry.
 *
 * Two things fill the pool: the refill worker (refill.c), and the drain, which puts freed
 * pages into it after zeroing them and saves the way through the page allocator. The pool
 * never holds more pages than the arena could still allocate. A caller that gets no page
 * elsewhere gets what the pool has beyond @min.
 *
 * A page with a memory error (PageHWPoison) is never used again. __free_page() keeps it
 * away from the free lists, so each path that bypasses __free_page() checks the flag: the
 * pop, the recycling of freed pages, and the return of unused ones. A pop in an NMI cannot
 * free the page. It leaves it to the worker on the list @discard, which links pages through
 * struct page, because nothing may write to such a page.
 *
 * Owns: struct anl_pool, and the parameters pool_pages and pool_max.
 */
#define pr_fmt(fmt) "arena_nolock: " fmt

#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/page-flags.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "arena.h"
#include "compat.h"

/*
 * 16 MiB, and 1 MiB by default. The summary, one word, has a bit for each word of the bitmap, so
 * there are at most 4096 pages.
 */
#define ANL_POOL_LIMIT ((int)(SZ_16M >> PAGE_SHIFT))

uint anl_pool_pages = SZ_1M >> PAGE_SHIFT;
uint anl_pool_max = ANL_POOL_LIMIT;

/**
 * anl_pool_check_params() - warn if the parameters contradict each other
 *
 * Context: process context.
 */
void anl_pool_check_params(void)
{
	uint pages = READ_ONCE(anl_pool_pages), max_pages = READ_ONCE(anl_pool_max);

	if (max_pages < pages)
		pr_warn("pool_max=%u is less than pool_pages=%u: pools hold %u pages and do not grow\n",
			max_pages, pages, pages);
}

/* While the module loads, the other parameter may follow. */
static int anl_set_pool_param(const char *val, const struct kernel_param *kp)
{
	int err = param_set_uint_minmax(val, kp, 0, ANL_POOL_LIMIT);

	if (err)
		pr_err("%s=%.*s: must be a number of pages from 0 to %d\n", kp->name,
		       (int)min_t(size_t, strcspn(val, "\n"), 20), val, ANL_POOL_LIMIT);
	else if (THIS_MODULE->state == MODULE_STATE_LIVE)
		anl_pool_check_params();

	return err;
}

static const struct kernel_param_ops anl_pool_param_ops = {
	.set = anl_set_pool_param,
	.get = param_get_uint,
};

module_param_cb(pool_pages, &anl_pool_param_ops, &anl_pool_pages, 0644);
MODULE_PARM_DESC(pool_pages,
		 "Pages kept ready in each arena for callers that cannot sleep, 0 to 4096 (default 256), with pages larger than 4 KiB as many bytes; applies to arenas adopted after the change");
module_param_cb(pool_max, &anl_pool_param_ops, &anl_pool_max, 0644);
MODULE_PARM_DESC(pool_max,
		 "Upper limit for the growth of an arena's pool under load, pool_pages to 4096 (default 4096), with pages larger than 4 KiB as many bytes; applies to arenas adopted after the change");

/**
 * anl_pool_wanted() - number of pages that the pool should hold now
 * @arena: the arena
 *
 * Context: any.
 */
u32 anl_pool_wanted(const struct anl_arena *arena)
{
	long room = (long)arena->nr_limit - anl_nr_populated_rough(&arena->pgtable);

	return clamp(room, 0L, (long)READ_ONCE(arena->pool.target));
}

/**
 * anl_pool_node() - the pages of a memory node
 * @arena: the arena
 * @nid: the node; on a machine with one node, all pages are in the first one
 *
 * Context: any.
 */
struct anl_pool_node *anl_pool_node(const struct anl_arena *arena, int nid)
{
	if (!static_branch_unlikely(&anl_numa))
		return arena->pool.nodes;

	return (void *)arena->pool.nodes + nid * (size_t)arena->pool.node_size;
}

static int anl_nr_nodes(void)
{
	return static_branch_unlikely(&anl_numa) ? nr_node_ids : 1;
}

/* A page of a node, which may have a memory error. Any context. */
static __always_inline struct page *anl_pool_pop_any(struct anl_arena *arena, int nid)
{
	struct anl_pool_node *node = anl_pool_node(arena, nid);
	unsigned long sum, bits;
	struct page *page;
	u32 w, i;

	while ((sum = READ_ONCE(node->sum))) {
		w = __ffs(sum);
		bits = READ_ONCE(node->map[w]);
		if (!bits) {
			clear_bit(w, &node->sum);
			/*
			 * Orders the clearing before the second read of the word. Pairs
			 * with smp_mb__after_atomic() in anl_pool_push().
			 */
			smp_mb__after_atomic();
			if (READ_ONCE(node->map[w]))
				set_bit(w, &node->sum);
			continue;
		}
		i = w * BITS_PER_LONG + __ffs(bits);
		if (!test_and_clear_bit(i, node->map))
			continue;
		atomic_dec(&arena->pool.nr);
		if (static_branch_unlikely(&anl_numa))
			atomic_dec(&node->nr);
		page = READ_ONCE(arena->pool.pages[i]);
		/* Orders the read before a producer reuses the entry. Pairs with cmpxchg(). */
		smp_store_release(&arena->pool.pages[i], NULL);

		return page;
	}

	return NULL;
}

/* Leave a page to the worker. Any context. */
static void anl_pool_discard(struct anl_arena *arena, struct page *page)
{
	/* If the list was not empty, the worker was requested already. */
	if (!llist_add((struct llist_node *)&page->lru, &arena->pool.discard))
		return;
	/* During a back-off the bit is set and would suppress the request. */
	atomic_andnot(ANL_KICK_REFILL, &arena->kick.pending);
	anl_kick(&arena->kick, ANL_KICK_REFILL);
}

/**
 * anl_pool_pop_node() - take a page of a memory node
 * @arena: the arena
 * @nid: the node
 *
 * Context: any.
 * Return: a zeroed, charged page, or NULL.
 */
struct page *anl_pool_pop_node(struct anl_arena *arena, int nid)
{
	struct page *page;

	while ((page = anl_pool_pop_any(arena, nid)) && unlikely(PageHWPoison(page)))
		anl_pool_discard(arena, page);

	return page;
}

/**
 * anl_pool_pop() - take a page of any memory node
 * @arena: the arena
 *
 * Context: any.
 * Return: a zeroed, charged page, or NULL.
 */
struct page *anl_pool_pop(struct anl_arena *arena)
{
	struct page *page = NULL;
	int nid;

	for (nid = 0; nid < anl_nr_nodes() && !page; nid++)
		page = anl_pool_pop_node(arena, nid);

	return page;
}

/**
 * anl_pool_push() - put a page into the pool
 * @arena: the arena
 * @page: a zeroed, charged page
 *
 * Context: any.
 * Return: 0, or -ENOSPC if the pool is full.
 */
int anl_pool_push(struct anl_arena *arena, struct page *page)
{
	u32 words = BITS_TO_LONGS(arena->pool.max), w, i, n;
	struct anl_pool_node *node = anl_pool_node(arena, page_to_nid(page));

	if (!words)
		return -ENOSPC;
	for (n = 0, w = READ_ONCE(arena->pool.hint); n <= words; n++, w++) {
		unsigned long empty;

		if (w >= words)
			w = 0;
		empty = ~READ_ONCE(node->map[w]);
		for_each_set_bit(i, &empty, BITS_PER_LONG) {
			u32 slot = w * BITS_PER_LONG + i;

			if (slot >= arena->pool.max)
				break;
			if (READ_ONCE(arena->pool.pages[slot]) ||
			    cmpxchg(&arena->pool.pages[slot], NULL, page))
				continue;
			atomic_inc(&arena->pool.nr);
			if (static_branch_unlikely(&anl_numa))
				atomic_inc(&node->nr);
			set_bit(slot, node->map);
			/*
			 * Orders the bit before the read of the summary. Pairs with
			 * anl_pool_pop_any(), which clears the summary bit, then rereads the
			 * map.
			 */
			smp_mb__after_atomic();
			if (!test_bit(w, &node->sum))
				set_bit(w, &node->sum);
			if (n)
				WRITE_ONCE(arena->pool.hint, w);

			return 0;
		}
	}

	return -ENOSPC;
}

/**
 * anl_pool_put_discarded() - free the pages that callers have left to the worker
 * @arena: the arena
 *
 * Context: process context.
 */
void anl_pool_put_discarded(struct anl_arena *arena)
{
	struct llist_node *node = llist_del_all(&arena->pool.discard);

	while (node) {
		struct page *page = container_of((struct list_head *)node, struct page, lru);

		node = node->next;
		put_page(page);
	}
}

/**
 * anl_pool_recycle() - reuse pages that were freed
 * @arena: the arena
 * @pages: pages linked through page->lru, in no page table of the kernel; those
 *	that the pool takes are taken off the list
 *
 * A page with further references, or with a memory error, stays on the list, and
 * anl_put_pages() releases it to the kernel.
 *
 * Context: process context, interrupts on.
 */
void anl_pool_recycle(struct anl_arena *arena, struct list_head *pages)
{
	struct page *page, *tmp;

	list_for_each_entry_safe(page, tmp, pages, lru) {
		if (atomic_read(&arena->pool.nr) >= (int)anl_pool_wanted(arena))
			return;
		if (page_count(page) != 1 || PageHWPoison(page))
			continue;
		list_del(&page->lru);
		clear_highpage(page);
		if (anl_pool_push(arena, page)) {
			put_page(page);
			return;
		}
		cond_resched();
	}
}

/*
 * May the caller try the page allocator? With interrupts on and outside of interrupts this
 * CPU holds no lock of the page allocator. The allocation must not wake a task, because the
 * caller may be tracing the scheduler. On PREEMPT_RT those locks sleep.
 */
static bool anl_may_try_alloc(void)
{
	return !irqs_disabled() && !in_nmi() && !in_hardirq() &&
	       !IS_ENABLED(CONFIG_PREEMPT_RT);
}

/*
 * Add pages of a node, or of any, from the pool to @pages until there are @cnt, or
 * @floor left in the pool. Returns how many there are.
 */
static u32 anl_pool_take(struct anl_arena *arena, u32 n, u32 cnt, u32 floor, int nid,
			 struct list_head *pages)
{
	struct page *page;

	while (n < cnt && atomic_read(&arena->pool.nr) > (int)floor &&
	       (page = nid == NUMA_NO_NODE ? anl_pool_pop(arena) : anl_pool_pop_node(arena, nid))) {
		list_add_tail(&page->lru, pages);
		n++;
	}

	return n;
}

/* Half of a node's share is gone, or a caller wants a page of the node for the first time. */
static bool anl_node_is_low(struct anl_arena *arena, int nid)
{
	struct anl_pool_node *node = anl_pool_node(arena, nid);

	if (!READ_ONCE(node->wanted)) {
		WRITE_ONCE(node->wanted, true);
		return true;
	}
	if (READ_ONCE(node->dry) && time_before(jiffies, READ_ONCE(node->retry)))
		return false;

	return atomic_read(&node->nr) <= (int)(READ_ONCE(arena->pool.share) / 2);
}

static bool anl_pool_is_low(const struct anl_arena *arena)
{
	u32 target = anl_pool_wanted(arena);

	return arena->pool.max && atomic_read(&arena->pool.nr) <= (int)(target / 2);
}

/* Request a refill when half of the pages are gone. Any context. */
static void anl_pool_check(struct anl_arena *arena, int nid)
{
	if (anl_pool_is_low(arena) ||
	    (static_branch_unlikely(&anl_numa) && arena->pool.max && anl_node_is_low(arena, nid)))
		anl_kick(&arena->kick, ANL_KICK_REFILL);
}

/* More was wanted than there is. A node that no caller has wanted before has no share. */
static void anl_pool_miss(struct anl_arena *arena, int nid)
{
	if (static_branch_unlikely(&anl_numa) && arena->pool.max &&
	    !READ_ONCE(anl_pool_node(arena, nid)->wanted))
		return;
	if (!READ_ONCE(arena->pool.missed))
		WRITE_ONCE(arena->pool.missed, true);
}

/*
 * A caller that can have pages elsewhere leaves half of @min to those that cannot. With
 * PREEMPT_RT these are hard interrupts and NMIs.
 */
static u32 anl_pool_floor(const struct anl_arena *arena)
{
	bool elsewhere = IS_ENABLED(CONFIG_PREEMPT_RT) ? anl_may_alloc_nolock() :
							 anl_may_try_alloc();

	return elsewhere ? arena->pool.min / 2 : 0;
}

static bool anl_pool_can_spare(const struct anl_arena *arena)
{
	return atomic_read(&arena->pool.nr) > (int)anl_pool_floor(arena);
}

/* anl_pool_get_page() on a machine with several memory nodes. */
static noinline struct page *anl_pool_get_node_page(struct anl_arena *arena, int nid)
{
	struct page *page;

	if (!anl_pool_can_spare(arena))
		return NULL;
	nid = anl_mem_node(nid);
	page = anl_pool_pop_node(arena, nid);
	/* Without a page, anl_get_pages() checks, after anl_pool_miss(). */
	if (page)
		anl_pool_check(arena, nid);

	return page;
}

/**
 * anl_pool_get_page() - a page from the pool, if it has one to spare
 * @arena: the arena
 * @nid: the node that it must be of, or NUMA_NO_NODE for the caller's own
 *
 * Context: any.
 * Return: a zeroed, charged page, or NULL.
 */
struct page *anl_pool_get_page(struct anl_arena *arena, int nid)
{
	struct page *page;

	/* All that memory nodes cost the fast path where there is only one. */
	if (static_branch_unlikely(&anl_numa))
		return anl_pool_get_node_page(arena, nid);
	if (!anl_pool_can_spare(arena))
		return NULL;
	page = anl_pool_pop_node(arena, 0);
	if (anl_pool_is_low(arena))
		anl_kick(&arena->kick, ANL_KICK_REFILL);

	return page;
}

/* Add new pages to @pages until there are @cnt, for a caller that can try it. */
static u32 anl_try_pages(struct anl_charge *charge, gfp_t gfp, u32 n, u32 cnt, int nid,
			 struct list_head *pages)
{
	u32 order = ANL_BLOCK_ORDER, i;
	struct page *page;

	while (n < cnt && (page = anl_alloc_block(charge, gfp, cnt - n, &order, nid))) {
		for (i = 0; i < 1U << order; i++)
			list_add_tail(&page[i].lru, pages);
		n += 1U << order;
	}

	return n;
}

/* Add up to @cnt pages to @pages; any context. Returns how many. */
static u32 anl_get_pages_atomic(struct anl_arena *arena, u32 cnt, int nid, struct list_head *pages)
{
	bool try_alloc = anl_may_try_alloc();
	struct anl_charge charge;
	struct page *page;
	u32 n;

	n = anl_pool_take(arena, 0, cnt, anl_pool_floor(arena), nid, pages);
	if (n == cnt)
		return n;
	anl_pool_miss(arena, nid);

	anl_charge_begin_rcu(arena, &charge);
	if (static_branch_unlikely(&anl_numa)) {
		/* Pages of the right node come first. */
		if (try_alloc)
			n = anl_try_pages(&charge, __GFP_THISNODE, n, cnt, nid, pages);
		n = anl_pool_take(arena, n, cnt, 0, nid, pages);
	}
	if (try_alloc)
		n = anl_try_pages(&charge, 0, n, cnt, nid, pages);
	while (n < cnt && (page = anl_alloc_page_nolock(charge.gfp, nid))) {
		list_add_tail(&page->lru, pages);
		n++;
	}
	anl_charge_end_rcu(&charge);

	return anl_pool_take(arena, n, cnt, 0, NUMA_NO_NODE, pages);
}

/**
 * anl_get_pages() - zeroed, charged pages, all or none
 * @arena: the arena
 * @cnt: number of pages
 * @nid: preferred node, or NUMA_NO_NODE
 * @pages: list to add them to, through page->lru
 *
 * Context: any.
 * Return: 0, or -ENOMEM with @pages as it was.
 */
int anl_get_pages(struct anl_arena *arena, u32 cnt, int nid, struct list_head *pages)
{
	LIST_HEAD(got);
	u32 n;

	nid = anl_mem_node(nid);
	n = anl_get_pages_atomic(arena, cnt, nid, &got);
	anl_pool_check(arena, nid);
	if (n < cnt) {
		anl_unget_pages(arena, &got);
		return -ENOMEM;
	}
	list_splice_tail(&got, pages);

	return 0;
}

/**
 * anl_unget_pages() - return pages that were not used
 * @arena: the arena
 * @pages: pages of anl_get_pages(), still zero
 *
 * Context: any.
 */
void anl_unget_pages(struct anl_arena *arena, struct list_head *pages)
{
	struct page *page, *tmp;

	list_for_each_entry_safe(page, tmp, pages, lru) {
		list_del(&page->lru);
		if (PageHWPoison(page) || anl_pool_push(arena, page))
			anl_pool_discard(arena, page);
	}
}

/**
 * anl_pool_init() - an empty pool
 * @arena: the arena; its sizes are known
 *
 * Context: process context, may sleep.
 * Return: 0, or -ENOMEM with the rest left to anl_pool_exit().
 */
int anl_pool_init(struct anl_arena *arena)
{
	u32 pages = READ_ONCE(anl_pool_pages), max_pages = READ_ONCE(anl_pool_max);
	size_t node_size;

	arena->pool.min = min(pages, arena->nr_limit);
	arena->pool.max = min(max(pages, max_pages), arena->nr_limit);
	arena->pool.target = arena->pool.min;
	if (!arena->pool.max)
		return 0;

	arena->pool.pages = anl_zalloc(arena, arena->pool.max * sizeof(*arena->pool.pages));
	node_size = struct_size(arena->pool.nodes, map, BITS_TO_LONGS(arena->pool.max));
	arena->pool.node_size = ALIGN(node_size, SMP_CACHE_BYTES);
	arena->pool.nodes = anl_zalloc(arena, (size_t)nr_node_ids * arena->pool.node_size);
	if (!arena->pool.pages || !arena->pool.nodes)
		return -ENOMEM;

	return 0;
}

/* Undo anl_pool_init(), or the part of it that succeeded. Nothing uses the arena. */
void anl_pool_exit(struct anl_arena *arena)
{
	struct page *page;
	int nid;

	for (nid = 0; arena->pool.nodes && nid < anl_nr_nodes(); nid++)
		while ((page = anl_pool_pop_any(arena, nid)))
			put_page(page);
	anl_pool_put_discarded(arena);
	kvfree(arena->pool.pages);
	kvfree(arena->pool.nodes);
}
