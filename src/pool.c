// SPDX-License-Identifier: GPL-2.0
/*
 * The pool: pages that are ready for callers that cannot sleep; pages.c has what those do
 * with it.
 *
 * A caller that can sleep gets pages from a normal, reclaiming allocation. For all others
 * each arena keeps a pool of pages that are zeroed and charged to the map's memcg already.
 * It is an array of pointers, with a bitmap of the entries that hold a page, and a summary
 * of the words of the bitmap that are worth a look. Taking a page is one
 * test_and_clear_bit() and no loop in the normal case, so it works in any context and on
 * any number of CPUs. On a machine with several memory nodes each node has a bitmap of its
 * own over the same array, so a page of a given node is found as fast as any.
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
 * A page with a memory error (PageHWPoison) is never used again. __free_page() keeps it away
 * from the free lists, so each path that bypasses __free_page() checks the flag: the pop, the
 * recycling of freed pages, their reuse in a slot, and the return of unused ones. A pop in an
 * NMI cannot free the page. It leaves it to the worker on the list @discard, which links pages
 * through struct page, because nothing may write to such a page.
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

uint anl_pool_pages;
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

/* For all parameters that count pages. */
const struct kernel_param_ops anl_pool_param_ops = {
	.set = anl_set_pool_param,
	.get = param_get_uint,
};

module_param_cb(pool_pages, &anl_pool_param_ops, &anl_pool_pages, 0644);
MODULE_PARM_DESC(pool_pages,
		 "Pages kept ready in each arena for callers that cannot sleep, beside the standby, 0 to 4096 (default 0), with pages larger than 4 KiB as many bytes; applies to arenas adopted after the change");
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
	long target = READ_ONCE(arena->pool.target);
	long room = (long)arena->nr_limit - anl_nr_populated_rough(arena);

	/* The last pages of an arena are worth an exact count. */
	if (room < target + anl_nr_populated_error(arena))
		room = (long)arena->nr_limit - anl_nr_populated(arena);

	return clamp(room, 0L, target);
}

/* Pages that the pool wants, up to as many as are added before somebody looks again. */
static u32 anl_pool_room(const struct anl_arena *arena)
{
	int missing = (int)(anl_pool_wanted(arena) - anl_pool_counted(&arena->pool));

	return clamp(missing, 0, BITS_PER_LONG);
}

static int anl_nr_nodes(void)
{
	return static_branch_unlikely(&anl_numa) ? nr_node_ids : 1;
}

/**
 * anl_pool_pop_any() - take a page of a memory node, and do not count it
 * @pool: the pool
 * @nid: the node
 *
 * Context: any.
 * Return: a zeroed, charged page, which may have got a memory error, or NULL.
 */
struct page *anl_pool_pop_any(struct anl_pool *pool, int nid)
{
	struct anl_pool_node *node = anl_pool_node(pool, nid);
	struct page *page;
	unsigned long sum;
	u32 w;

	if (!pool->max)
		return NULL;
	while ((sum = READ_ONCE(node->sum))) {
		w = __ffs(sum);
		page = anl_pool_pop_word(pool, node, w);
		if (page)
			return page;
		clear_bit(w, &node->sum);
		/*
		 * Orders the clearing before the second read of the word. Pairs with
		 * smp_mb__after_atomic() in anl_pool_fill_show().
		 */
		smp_mb__after_atomic();
		if (READ_ONCE(node->map[w].bits))
			set_bit(w, &node->sum);
	}

	return NULL;
}

/**
 * anl_pool_count() - count pages of the pool
 * @pool: the pool
 * @nid: their node
 * @nr: number of pages that were put into it, or minus those that were taken
 *
 * Context: any.
 */
void anl_pool_count(struct anl_pool *pool, int nid, int nr)
{
	atomic_add(nr, &pool->nr);
	if (static_branch_unlikely(&anl_numa))
		atomic_add(nr, &anl_pool_node(pool, nid)->nr);
}

/**
 * anl_pool_discard() - leave a page to the worker
 * @arena: the arena
 * @page: a page that is in no page table
 *
 * Context: any.
 */
void anl_pool_discard(struct anl_arena *arena, struct page *page)
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
 * @arena: the arena that it is for
 * @pool: the pool of the arena, or its standby
 * @nid: the node
 *
 * Context: any.
 * Return: a zeroed, charged page, or NULL.
 */
struct page *anl_pool_pop_node(struct anl_arena *arena, struct anl_pool *pool, int nid)
{
	struct page *page;

	while ((page = anl_pool_pop_any(pool, nid))) {
		anl_pool_count(pool, nid, -1);
		if (likely(!PageHWPoison(page)))
			break;
		anl_pool_discard(arena, page);
	}

	return page;
}

/**
 * anl_pool_pop() - take a page of any memory node
 * @arena: the arena that it is for
 * @pool: the pool of the arena, or its standby
 *
 * Context: any.
 * Return: a zeroed, charged page, or NULL.
 */
struct page *anl_pool_pop(struct anl_arena *arena, struct anl_pool *pool)
{
	struct page *page = NULL;
	int nid;

	for (nid = 0; nid < anl_nr_nodes() && !page; nid++)
		page = anl_pool_pop_node(arena, pool, nid);

	return page;
}

/**
 * anl_pool_take() - add pages to a list until there are @cnt
 * @arena: the arena that they are for
 * @pool: the pool of the arena, or its standby
 * @n: number of pages there
 * @cnt: number of pages wanted
 * @floor: number of pages to leave in the pool; with 0, those that CPUs have credit for are taken
 *	as well
 * @nid: the node that they must be of, or NUMA_NO_NODE
 * @pages: list to add them to, through page->lru
 *
 * Context: any.
 * Return: number of pages there now.
 */
u32 anl_pool_take(struct anl_arena *arena, struct anl_pool *pool, u32 n, u32 cnt, u32 floor,
		  int nid, struct list_head *pages)
{
	struct page *page;

	while (n < cnt && (!floor || atomic_read(&pool->nr) > (int)floor) &&
	       (page = nid == NUMA_NO_NODE ? anl_pool_pop(arena, pool) :
					     anl_pool_pop_node(arena, pool, nid))) {
		list_add_tail(&page->lru, pages);
		n++;
	}

	return n;
}

/*
 * Puts pages into the pool, one after the other. Each gets an entry at once. The bits of a
 * word of the map are set together, and their pages counted, so that a page costs one atomic
 * operation.
 */
struct anl_pool_fill {
	struct anl_pool *pool;
	int nid;		/* node of the pages in @filled */
	u32 w;			/* word of the node's map */
	u32 tried;		/* words without an empty entry since the last page */
	unsigned long empty;	/* entries of the word that may be empty */
	unsigned long filled;	/* entries of the word that have got a page, and no bit yet */
};

#define ANL_POOL_FILL(pool_) { .pool = (pool_), .nid = NUMA_NO_NODE, \
			       .w = READ_ONCE((pool_)->hint) }

/* Let others see the pages that have an entry. Any context. */
static void anl_pool_fill_show(struct anl_pool_fill *fill)
{
	struct anl_pool *pool = fill->pool;
	struct anl_pool_node *node;

	if (!fill->filled)
		return;
	node = anl_pool_node(pool, fill->nid);
	anl_pool_count(pool, fill->nid, hweight_long(fill->filled));
	atomic_long_or(fill->filled, (atomic_long_t *)&node->map[fill->w].bits);
	/*
	 * Orders the bits before the read of the summary. Pairs with anl_pool_pop_any(), which
	 * clears the summary bit, then rereads the map.
	 */
	smp_mb__after_atomic();
	if (!test_bit(fill->w, &node->sum))
		set_bit(fill->w, &node->sum);
	if (READ_ONCE(pool->hint) != fill->w)
		WRITE_ONCE(pool->hint, fill->w);
	fill->filled = 0;
}

/* Look for empty entries in another word of the map, or for pages of another node. */
static void anl_pool_fill_word(struct anl_pool_fill *fill, int nid, u32 w)
{
	struct anl_pool *pool = fill->pool;
	u32 words = BITS_TO_LONGS(pool->max);

	fill->nid = nid;
	fill->w = w < words ? w : 0;
	fill->empty = ~READ_ONCE(anl_pool_node(pool, nid)->map[fill->w].bits);
	if (fill->w == words - 1)
		fill->empty &= BITMAP_LAST_WORD_MASK(pool->max);
}

/*
 * Put a zeroed, charged page into the pool. Others see it after anl_pool_fill_show(). Returns
 * false if the pool is full; the caller does not try another. Any context.
 */
static bool anl_pool_fill(struct anl_pool_fill *fill, struct page *page)
{
	struct anl_pool *pool = fill->pool;
	int nid = page_to_nid(page);

	if (nid != fill->nid) {
		anl_pool_fill_show(fill);
		if (!pool->max)
			return false;
		anl_pool_fill_word(fill, nid, fill->w);
	}
	for (;;) {
		while (fill->empty) {
			u32 i = __ffs(fill->empty), slot = fill->w * BITS_PER_LONG + i;

			fill->empty &= fill->empty - 1;
			if (READ_ONCE(pool->pages[slot]) || cmpxchg(&pool->pages[slot], NULL, page))
				continue;
			fill->filled |= BIT(i);
			fill->tried = 0;

			return true;
		}
		anl_pool_fill_show(fill);
		/* Entries of the first word may have become empty meanwhile. */
		if (fill->tried++ == BITS_TO_LONGS(pool->max))
			return false;
		anl_pool_fill_word(fill, nid, fill->w + 1);
	}
}

/**
 * anl_pool_push() - put a page into the pool
 * @pool: the pool
 * @page: a zeroed, charged page
 *
 * Context: any.
 * Return: 0, or -ENOSPC if the pool is full.
 */
int anl_pool_push(struct anl_pool *pool, struct page *page)
{
	struct anl_pool_fill fill = ANL_POOL_FILL(pool);

	if (!anl_pool_fill(&fill, page))
		return -ENOSPC;
	anl_pool_fill_show(&fill);

	return 0;
}

/**
 * anl_pool_push_block() - put the pages of a block into the pool
 * @pool: the pool
 * @page: the first page of anl_alloc_block(); those that the pool does not take are freed
 * @order: order of the block
 *
 * Context: process context.
 * Return: number of pages that the pool took.
 */
u32 anl_pool_push_block(struct anl_pool *pool, struct page *page, u32 order)
{
	struct anl_pool_fill fill = ANL_POOL_FILL(pool);
	u32 n = 0, i;

	while (n < 1U << order && anl_pool_fill(&fill, page + n))
		n++;
	anl_pool_fill_show(&fill);
	for (i = n; i < 1U << order; i++)
		put_page(page + i);

	return n;
}

/**
 * anl_pool_put_discarded() - free the pages that callers have left to the worker
 * @arena: the arena
 *
 * Context: process context.
 */
void anl_pool_put_discarded(struct anl_arena *arena)
{
	struct llist_node *node, *next;

	llist_for_each_safe(node, next, llist_del_all(&arena->pool.discard))
		put_page(container_of((struct list_head *)node, struct page, lru));
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
	struct anl_pool_fill fill = ANL_POOL_FILL(&arena->pool);
	struct page *page, *tmp;
	u32 room = 0;

	list_for_each_entry_safe(page, tmp, pages, lru) {
		if (!room) {
			anl_pool_fill_show(&fill);
			room = anl_pool_room(arena);
		}
		if (!room)
			return;
		if (page_count(page) != 1 || PageHWPoison(page))
			continue;
		room--;
		list_del(&page->lru);
		clear_highpage(page);
		if (!anl_pool_fill(&fill, page)) {
			put_page(page);
			return;
		}
		cond_resched();
	}
	anl_pool_fill_show(&fill);
}

/**
 * anl_pool_alloc() - memory for an empty pool
 * @arena: the arena whose creator is charged
 * @pool: the pool, all zero
 * @max_pages: pages that it can hold
 *
 * Context: process context, may sleep.
 * Return: 0, or -ENOMEM with the rest left to anl_pool_free().
 */
int anl_pool_alloc(const struct anl_arena *arena, struct anl_pool *pool, u32 max_pages)
{
	size_t node_size;

	if (!max_pages)
		return 0;
	pool->max = max_pages;
	pool->pages = anl_zalloc(arena, max_pages * sizeof(*pool->pages));
	node_size = struct_size(pool->nodes, map, BITS_TO_LONGS(max_pages));
	pool->node_size = ALIGN(node_size, SMP_CACHE_BYTES);
	pool->nodes = anl_zalloc(arena, (size_t)nr_node_ids * pool->node_size);

	return pool->pages && pool->nodes ? 0 : -ENOMEM;
}

/**
 * anl_pool_trim() - free pages until @keep are left
 * @pool: a pool without credit
 * @keep: number of pages
 *
 * Context: process context.
 */
void anl_pool_trim(struct anl_pool *pool, u32 keep)
{
	struct page *page;
	int nid;

	for (nid = 0; nid < anl_nr_nodes(); nid++)
		while (anl_pool_counted(pool) > keep && (page = anl_pool_pop_any(pool, nid))) {
			anl_pool_count(pool, nid, -1);
			put_page(page);
		}
}

/**
 * anl_pool_free() - undo anl_pool_alloc(), or the part of it that succeeded
 * @pool: the pool; nothing uses it
 *
 * Context: process context.
 */
void anl_pool_free(struct anl_pool *pool)
{
	struct page *page;
	int nid;

	for (nid = 0; pool->nodes && nid < anl_nr_nodes(); nid++)
		while ((page = anl_pool_pop_any(pool, nid)))
			put_page(page);
	kvfree(pool->pages);
	kvfree(pool->nodes);
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
	int cpu;

	arena->pool.min = min(pages, arena->nr_limit);
	arena->pool.target = arena->pool.min;
	arena->pool.cpu = anl_zalloc_percpu(arena, sizeof(*arena->pool.cpu));
	if (!arena->pool.cpu)
		return -ENOMEM;
	for_each_possible_cpu(cpu)
		per_cpu_ptr(arena->pool.cpu, cpu)->nid = anl_mem_node(cpu_to_node(cpu));

	return anl_pool_alloc(arena, &arena->pool, min(max(pages, max_pages), arena->nr_limit));
}

/* Undo anl_pool_init(), or the part of it that succeeded. Nothing uses the arena. */
void anl_pool_exit(struct anl_arena *arena)
{
	anl_pool_free(&arena->pool);
	anl_pool_put_discarded(arena);
	free_percpu(arena->pool.cpu);
}
