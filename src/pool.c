// SPDX-License-Identifier: GPL-2.0
/*
 * Where the pages of an arena come from.
 *
 * A caller that can sleep gets pages from a normal, reclaiming allocation. For
 * all others each arena keeps a pool of pages that are zeroed and charged to
 * the map's memcg already. It is an array of pointers, with a bitmap that says
 * which of them hold a page, and a word that says which words of the bitmap are
 * worth a look. Taking a page is one test_and_clear_bit() and no loop in the
 * normal case, so it works in any context and on any number of CPUs.
 *
 * On a machine with several memory nodes each node has a bitmap of its own over the same
 * array, so a page of a given node is found as fast as any. A caller gets a page of the
 * node that it names, or of the one that its CPU allocates from: a ready one, or a new
 * one. Only where neither is to be had does it get one of another node. The worker
 * divides what it aims at among the nodes that callers have wanted.
 *
 * Ownership: who clears a bit of @pool_map owns the page behind it, and empties
 * the pointer when it has read it. A producer fills a pointer only if it is
 * NULL, with cmpxchg(), and sets the bit afterwards. So between clearing the
 * bit and reading the pointer nobody else can touch it.
 *
 * A worker fills the pool, and the drain of the free queue puts pages into it
 * that it has zeroed again, which saves the way through the page allocator. How
 * many pages it should hold, @target, follows the demand: it doubles, up to
 * pool_max, each time that less than a quarter was left when the worker came or
 * that somebody had to look elsewhere, and halves, down to pool_pages, when a
 * period passes in which less than a quarter was needed, or when the kernel is short
 * of memory. It is bounded by the pages that the arena could still take: the pool
 * never holds memory that nobody could ask for, and a caller that gets no page
 * elsewhere gets what the pool has beyond pool_pages.
 *
 * The worker may reclaim memory for the pages that the arena is promised, and takes
 * only free memory for those beyond. If it cannot get the promised pages, it does not
 * try again before a back-off has passed. The shrinker takes the pages beyond the
 * promise, both for the whole machine and for the memcg that they are charged to.
 *
 * A page with a memory error (PageHWPoison) is never used again. __free_page() keeps
 * it away from the free lists, so each path that bypasses __free_page() checks the
 * flag: the pop, the recycling of freed pages, and the return of unused ones. A pop in
 * an NMI cannot free the page. It leaves it to the worker on the list @discard, which
 * links pages through struct page, because nothing may write to such a page.
 *
 * No allocation takes the kernel's emergency reserves, which are the pages below the
 * min watermark, or goes beyond memory.max, whichever task it runs in: a program can
 * run in kswapd, in reclaim, in a victim of the OOM killer, or in an interrupt of one
 * of them. See anl_charge_enter().
 *
 * An NMI that interrupts the holder of the tree's lock cannot claim a slot. For
 * it a few slots, the spares, are claimed beforehand, at the upper end of the
 * arena, each of them one of four slots there. They are taken with xchg() and put
 * with cmpxchg(). Nobody ever goes without because of them, or gets a higher address
 * than without them: who finds a spare in the way gives it back and tries again.
 */
#define pr_fmt(fmt) "arena_nolock: " fmt

#include <linux/highmem.h>
#include <linux/list_lru.h>
#include <linux/page-flags.h>
#include <linux/oom.h>
#include <linux/sched/signal.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/swap.h>

#include "arena.h"
#include "compat.h"
#include "trace.h"

/* One word has a bit for each word of the bitmap. */
#define ANL_POOL_LIMIT (BITS_PER_LONG * BITS_PER_LONG)

/* How long a pool that has grown waits for the demand to come back. */
#define ANL_DECAY_PERIOD (2 * HZ)

/* How long a node that had no page is left alone. */
#define ANL_DRY_PERIOD (HZ / 10)

/* Growth of a pool that starts from nothing. */
#define ANL_GROW_MIN 16U

static uint anl_pool_pages = 256;
static uint anl_pool_max = ANL_POOL_LIMIT;

static int anl_set_pool_param(const char *val, const struct kernel_param *kp)
{
	return param_set_uint_minmax(val, kp, 0, ANL_POOL_LIMIT);
}

static const struct kernel_param_ops anl_pool_param_ops = {
	.set = anl_set_pool_param,
	.get = param_get_uint,
};

module_param_cb(pool_pages, &anl_pool_param_ops, &anl_pool_pages, 0644);
MODULE_PARM_DESC(pool_pages,
		 "Pages kept ready in each arena for callers that cannot sleep, 0 to 4096 (default 256); counts for arenas adopted afterwards");
module_param_cb(pool_max, &anl_pool_param_ops, &anl_pool_max, 0644);
MODULE_PARM_DESC(pool_max,
		 "Pages that the pool of an arena may grow to by demand, 0 to 4096 (default 4096), at least pool_pages; counts for arenas adopted afterwards");

/*
 * The first back-off after a refill that did not get the promised pages, and the
 * longest: a bound on how long callers find the pool empty when memory is there again.
 */
#define ANL_BACKOFF_MIN msecs_to_jiffies(10)
#define ANL_BACKOFF_MAX HZ

/* Pools that one run of the shrinker looks at, with a spinlock held. */
#define ANL_SHRINK_POOLS 256UL

/*
 * Arenas that the shrinker may look at, one entry for each. The lists are per node and
 * memcg. An entry in its memcg's list makes the kernel call the shrinker for that memcg.
 */
struct anl_shrink_entry {
	struct list_head head;
	struct anl_arena *arena;
};

static struct list_lru anl_shrink_list;
static struct kmem_cache *anl_shrink_cache;
static struct shrinker *anl_shrinker;

/* The scope in which allocations are charged to the map's creator. */
struct anl_charge {
	struct mem_cgroup *memcg;
	struct mem_cgroup *old;
	gfp_t gfp;
	unsigned int memalloc;	/* PF_MEMALLOC if the task had it */
};

/*
 * A charge in a task with PF_MEMALLOC ignores memory.max, even from an interrupt on top
 * of the task. So the task does without the flag in the scope. Only the task itself and
 * its interrupts write its flags, and each interrupt restores what it has changed.
 */
static void anl_charge_enter(struct anl_charge *c)
{
	c->gfp = c->memcg ? __GFP_ACCOUNT : 0;
	c->memalloc = current->flags & PF_MEMALLOC;
	if (c->memalloc)
		current->flags &= ~PF_MEMALLOC;
	if (c->memcg)
		c->old = set_active_memcg(c->memcg);
}

static void anl_charge_leave(struct anl_charge *c)
{
	if (c->memcg)
		set_active_memcg(c->old);
	if (c->memalloc)
		current->flags |= PF_MEMALLOC;
}

static void anl_charge_begin(const struct anl_arena *arena, struct anl_charge *c)
{
	c->memcg = anl_objcg_get_memcg(arena->objcg);
	anl_charge_enter(c);
}

static void anl_charge_end(struct anl_charge *c)
{
	anl_charge_leave(c);
	if (c->memcg)
		mem_cgroup_put(c->memcg);
}

/*
 * What an allocation in the scope passes to the page allocator. Without the flag,
 * nothing but this keeps an allocation in reclaim from reclaiming.
 */
static gfp_t anl_gfp(const struct anl_charge *c, gfp_t gfp)
{
	gfp |= __GFP_NOMEMALLOC | c->gfp;

	return c->memalloc ? gfp & ~__GFP_DIRECT_RECLAIM : gfp;
}

/*
 * vmalloc() and the percpu allocator build page tables and chunks without the caller's
 * __GFP_NOMEMALLOC, so a task that could take reserves for them gets nothing.
 */
static bool anl_may_take_reserves(void)
{
	return current->flags & PF_MEMALLOC || tsk_is_oom_victim(current);
}

/**
 * anl_zalloc() - zeroed memory for the module's own books about an arena
 * @arena: the arena whose creator is charged
 * @size: bytes
 *
 * Context: process context, may sleep.
 * Return: memory for kvfree(), or NULL.
 */
void *anl_zalloc(struct anl_arena *arena, size_t size)
{
	struct anl_charge c;
	void *p;

	if (anl_may_take_reserves())
		return NULL;
	anl_charge_begin(arena, &c);
	p = kvzalloc(size, anl_gfp(&c, GFP_KERNEL));
	anl_charge_end(&c);

	return p;
}

/**
 * anl_zalloc_percpu() - the same, for each CPU
 * @arena: the arena whose creator is charged
 * @size: bytes
 *
 * Context: process context, may sleep.
 * Return: memory for free_percpu(), or NULL.
 */
void __percpu *anl_zalloc_percpu(struct anl_arena *arena, size_t size)
{
	struct anl_charge c;
	void __percpu *p;

	if (anl_may_take_reserves())
		return NULL;
	anl_charge_begin(arena, &c);
	p = __alloc_percpu_gfp(size, __alignof__(u64), anl_gfp(&c, GFP_KERNEL));
	anl_charge_end(&c);

	return p;
}

/* Pages that the pool should hold now. */
static u32 anl_pool_wanted(const struct anl_arena *arena)
{
	long room = (long)arena->nr_limit - atomic_long_read(&arena->nr_populated);

	return clamp(room, 0L, (long)READ_ONCE(arena->pool.target));
}

/* Enabled if there is more than one memory node. */
static DEFINE_STATIC_KEY_FALSE(anl_numa);

/* The bitmap of the pages of a node. Without nodes, all pages are in the first one. */
static struct anl_pool_node *anl_node(const struct anl_arena *arena, int nid)
{
	if (!static_branch_unlikely(&anl_numa))
		return arena->pool.nodes;

	return (void *)arena->pool.nodes + nid * (size_t)arena->pool.node_size;
}

static int anl_nr_nodes(void)
{
	return static_branch_unlikely(&anl_numa) ? nr_node_ids : 1;
}

/*
 * The node whose memory a caller is to have: @nid if it has any, otherwise the one that
 * the page allocator tries first in its place. Any context.
 */
static int anl_mem_node(int nid)
{
	struct zoneref *z;

	if (!static_branch_unlikely(&anl_numa))
		return nid;
	if (nid == NUMA_NO_NODE)
		nid = numa_mem_id();
	if (node_state(nid, N_NORMAL_MEMORY))
		return nid;
	for (z = node_zonelist(nid, GFP_KERNEL)->_zonerefs; zonelist_zone(z); z++)
		if (zonelist_zone_idx(z) <= gfp_zone(GFP_KERNEL))
			return zonelist_node_idx(z);

	return nid;
}

/* Keeps an allocation on the node that it is for. */
static gfp_t anl_this_node(void)
{
	return static_branch_unlikely(&anl_numa) ? __GFP_THISNODE : 0;
}

/* A page of a node, which may have a memory error. Any context. */
static __always_inline struct page *anl_pool_pop_any(struct anl_arena *arena, int nid)
{
	struct anl_pool_node *node = anl_node(arena, nid);
	unsigned long sum, bits;
	struct page *page;
	u32 w, i;

	while ((sum = READ_ONCE(node->sum))) {
		w = __ffs(sum);
		bits = READ_ONCE(node->map[w]);
		if (!bits) {
			clear_bit(w, &node->sum);
			/* Pairs with the order in anl_pool_push(). */
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
		/* Only now can a producer use the pointer again. */
		smp_store_release(&arena->pool.pages[i], NULL);

		return page;
	}

	return NULL;
}

/* Leave a page to the worker. Any context. */
static void anl_pool_discard(struct anl_arena *arena, struct page *page)
{
	/* If the list was not empty, the worker has been kicked already. */
	if (!llist_add((struct llist_node *)&page->lru, &arena->pool.discard))
		return;
	/* During a back-off the bit is set and would suppress the kick. */
	atomic_andnot(ANL_KICK_REFILL, &arena->kicked);
	anl_kick(arena, ANL_KICK_REFILL);
}

/* A page of a node. Any context. */
static struct page *anl_pool_pop_node(struct anl_arena *arena, int nid)
{
	struct page *page;

	while ((page = anl_pool_pop_any(arena, nid)) && unlikely(PageHWPoison(page)))
		anl_pool_discard(arena, page);

	return page;
}

/* A page of any node. Any context. */
static struct page *anl_pool_pop(struct anl_arena *arena)
{
	struct page *page = NULL;
	int nid;

	for (nid = 0; nid < anl_nr_nodes() && !page; nid++)
		page = anl_pool_pop_node(arena, nid);

	return page;
}

/* Any context. The page is zeroed and charged. False if there is no room. */
static bool anl_pool_push(struct anl_arena *arena, struct page *page)
{
	u32 words = BITS_TO_LONGS(arena->pool.max), w, i, n;
	struct anl_pool_node *node = anl_node(arena, page_to_nid(page));

	if (!words)
		return false;
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
			/* Who clears the summary's bit looks at the map afterwards. */
			smp_mb__after_atomic();
			if (!test_bit(w, &node->sum))
				set_bit(w, &node->sum);
			if (n)
				WRITE_ONCE(arena->pool.hint, w);

			return true;
		}
	}

	return false;
}

static struct page *anl_alloc_page(struct anl_charge *c, gfp_t gfp, int nid)
{
	return alloc_pages_node(nid, anl_gfp(c, gfp | __GFP_ZERO | __GFP_NOWARN), 0);
}

/* Largest order that single pages are cut from; beyond those on the CPU's lists. */
#define ANL_BLOCK_ORDER 4

/*
 * Up to @cnt pages in a row, to be used as single ones. Larger blocks are cheaper for
 * the page allocator and for the charge; and asked for one page after the other, it
 * takes up to two thousand off its lists at a time, with interrupts off. They must not
 * cost reclaim or compaction, nor lead to another node. @order is the largest to be
 * tried, and on return that of the block.
 */
static struct page *anl_alloc_block(struct anl_charge *c, gfp_t gfp, u32 cnt, u32 *order, int nid)
{
	const gfp_t effort = __GFP_DIRECT_RECLAIM | __GFP_RETRY_MAYFAIL | __GFP_NORETRY;
	struct page *page;

	nid = anl_mem_node(nid);
	*order = min_t(u32, *order, ilog2(cnt));
	for (; *order; --*order) {
		page = alloc_pages_node(nid, anl_gfp(c, (gfp & ~effort) | __GFP_ZERO |
						     __GFP_NOWARN | anl_this_node()), *order);
		if (page) {
			split_page(page, *order);
			return page;
		}
	}

	return anl_alloc_page(c, gfp, nid);
}

static void anl_pool_put_discarded(struct anl_arena *arena)
{
	struct llist_node *node = llist_del_all(&arena->pool.discard);

	while (node) {
		struct page *page = container_of((struct list_head *)node, struct page, lru);

		node = node->next;
		put_page(page);
	}
}

/**
 * anl_spare_pop() - a slot for a caller that cannot have the tree's lock
 * @arena: the arena
 *
 * Context: any.
 * Return: a slot that is the caller's now, or ANL_NO_SPARE.
 */
u32 anl_spare_pop(struct anl_arena *arena)
{
	u32 i, pgoff;

	for (i = 0; i < ANL_NR_SPARES; i++) {
		if (READ_ONCE(arena->spares[i]) == ANL_NO_SPARE)
			continue;
		pgoff = xchg(&arena->spares[i], ANL_NO_SPARE);
		if (pgoff == ANL_NO_SPARE)
			continue;
		WRITE_ONCE(arena->spares_missing, true);
		anl_kick(arena, ANL_KICK_REFILL);

		return pgoff;
	}

	return ANL_NO_SPARE;
}

/**
 * anl_spares_release() - give spares back to the tree
 * @arena: the arena
 * @pgoff: first slot that somebody needs
 * @cnt: number of slots
 *
 * Context: any.
 * Return: true if there was a spare among the slots, so that trying again makes
 * sense.
 */
bool anl_spares_release(struct anl_arena *arena, u32 pgoff, u32 cnt)
{
	bool any = false;
	u32 i, spare;

	for (i = 0; i < ANL_NR_SPARES; i++) {
		spare = READ_ONCE(arena->spares[i]);
		if (spare == ANL_NO_SPARE || spare < pgoff || spare - pgoff >= cnt ||
		    cmpxchg(&arena->spares[i], spare, ANL_NO_SPARE) != spare)
			continue;
		if (anl_tree_release(&arena->tree, spare, 1))
			anl_queue_slots(arena, spare, 1);
		any = true;
	}
	if (any)
		WRITE_ONCE(arena->spares_missing, true);

	return any;
}

/**
 * anl_spares_fill() - claim the spares that are missing
 * @arena: the arena
 *
 * At the upper end of the arena, and fewer if there is little room. The worker
 * does this, and so does whoever has just had the tree's lock: the one that an NMI
 * interrupted makes good for what the NMI took.
 *
 * Context: any.
 */
void anl_spares_fill(struct anl_arena *arena)
{
	u32 want = anl_tree_nr_free(&arena->tree) / (4 * ANL_SPARE_CHOICE);
	u32 i, k, pgoff;

	WRITE_ONCE(arena->spares_missing, false);
	for (i = 0; i < min(want, ANL_NR_SPARES); i++) {
		if (READ_ONCE(arena->spares[i]) != ANL_NO_SPARE)
			continue;
		for (k = 1; k <= ANL_SPARE_CHOICE; k++) {
			pgoff = arena->nr_limit - i * ANL_SPARE_CHOICE - k;
			if (!anl_tree_claim(&arena->tree, pgoff, 1))
				break;
		}
		if (k > ANL_SPARE_CHOICE)
			continue;
		if (cmpxchg(&arena->spares[i], ANL_NO_SPARE, pgoff) != ANL_NO_SPARE &&
		    anl_tree_release(&arena->tree, pgoff, 1))
			anl_queue_slots(arena, pgoff, 1);
	}
}

/* Move the pages that the pool has beyond @keep to @pages, up to @nr. Any context. */
static unsigned long anl_pool_trim(struct anl_arena *arena, u32 keep, unsigned long nr,
				    struct list_head *pages)
{
	unsigned long done = 0;
	struct page *page;

	while (done < nr && atomic_read(&arena->pool.nr) > (int)keep) {
		page = anl_pool_pop(arena);
		if (!page)
			break;
		list_add(&page->lru, pages);
		done++;
	}

	return done;
}

/*
 * Let the target follow the demand. Only the worker sets it up; the shrinker, which
 * sets it down, may be overruled by a demand that is there at the same time.
 */
static void anl_refill_adapt(struct anl_arena *arena)
{
	u32 target = READ_ONCE(arena->pool.target);
	u32 nr = atomic_read(&arena->pool.nr);
	u32 used = target - min(target, nr);

	arena->pool.used = max(arena->pool.used, used);
	if (used > target - target / 4 || READ_ONCE(arena->pool.missed)) {
		WRITE_ONCE(arena->pool.missed, false);
		target = min(max(2 * target, ANL_GROW_MIN), arena->pool.max);
		arena->pool.decay = jiffies + ANL_DECAY_PERIOD;
	} else if (time_after_eq(jiffies, arena->pool.decay)) {
		if (arena->pool.used < target / 4)
			target = max(target / 2, arena->pool.min);
		arena->pool.used = 0;
		arena->pool.decay = jiffies + ANL_DECAY_PERIOD;
	}
	WRITE_ONCE(arena->pool.target, target);
	if (target > arena->pool.min)
		queue_delayed_work(anl_refill_wq, &arena->refill_work, ANL_DECAY_PERIOD + 1);
}

/* Pages for which a refill may reclaim memory. */
static u32 anl_pool_promise(const struct anl_arena *arena)
{
	return max(arena->pool.min, min(arena->pool.max, ANL_GROW_MIN));
}

/*
 * Add up to @missing pages to the pool. Returns how many, 0 if it has no room, or
 * -ENOMEM.
 */
static int anl_refill_some(struct anl_arena *arena, struct anl_charge *c, int missing, u32 *order)
{
	int promised = (int)anl_pool_promise(arena) - atomic_read(&arena->pool.nr), n = 0;
	gfp_t gfp = promised > 0 ? GFP_KERNEL | __GFP_NORETRY : GFP_NOWAIT;
	struct page *page;
	u32 i;

	if (promised > 0)
		missing = min(missing, promised);
	page = anl_alloc_block(c, gfp, missing, order, NUMA_NO_NODE);
	if (!page)
		return -ENOMEM;
	for (i = 0; i < 1U << *order; i++) {
		if (anl_pool_push(arena, page + i))
			n++;
		else
			put_page(page + i);
	}

	return n;
}

/* Decide when the next refill may run, and what it may aim at. */
static void anl_refill_result(struct anl_arena *arena, bool short_of_memory)
{
	u32 nr = atomic_read(&arena->pool.nr), target = READ_ONCE(arena->pool.target);

	if (short_of_memory && nr < anl_pool_promise(arena)) {
		arena->refill_delay = clamp(2 * arena->refill_delay, ANL_BACKOFF_MIN,
					    (unsigned long)ANL_BACKOFF_MAX);
		arena->refill_after = jiffies + arena->refill_delay;
		return;
	}
	arena->refill_delay = 0;
	/* Growth ends where free memory does. */
	if (short_of_memory)
		WRITE_ONCE(arena->pool.target, max(min(nr, target), arena->pool.min));
}

/* A page that a node has beyond its share, or NULL. */
static struct page *anl_pool_pop_surplus(struct anl_arena *arena, int nid, u32 share)
{
	struct anl_pool_node *node = anl_node(arena, nid);
	int keep = READ_ONCE(node->wanted) ? share : 0;

	return atomic_read(&node->nr) > keep ? anl_pool_pop_node(arena, nid) : NULL;
}

/*
 * Pages of each of the nodes that callers have wanted, as far as there are any without
 * reclaim, instead of pages that others have too many of. The whole stays as it is if
 * it was at its target.
 */
static void anl_refill_nodes(struct anl_arena *arena, struct anl_charge *c)
{
	u32 target = anl_pool_wanted(arena), share, nr, order, i;
	int nid, from = 0, wanted = 0;
	struct page *page, *other;

	if (!arena->pool.max)
		return;
	for (nid = 0; nid < nr_node_ids; nid++)
		wanted += READ_ONCE(anl_node(arena, nid)->wanted);
	if (!wanted)
		return;
	share = target / wanted;
	WRITE_ONCE(arena->pool.share, share);

	for (nid = 0; nid < nr_node_ids; nid++) {
		struct anl_pool_node *node = anl_node(arena, nid);

		if (!READ_ONCE(node->wanted))
			continue;
		order = ANL_BLOCK_ORDER;
		while ((nr = atomic_read(&node->nr)) < share) {
			page = anl_alloc_block(c, GFP_NOWAIT | __GFP_THISNODE, share - nr,
					       &order, nid);
			WRITE_ONCE(node->retry, jiffies + ANL_DRY_PERIOD);
			WRITE_ONCE(node->dry, !page);
			if (!page)
				break;
			for (i = 0; i < 1U << order; i++) {
				while (atomic_read(&arena->pool.nr) >= (int)target &&
				       from < nr_node_ids) {
					other = anl_pool_pop_surplus(arena, from, share);
					if (other)
						put_page(other);
					else
						from++;
				}
				if (!anl_pool_push(arena, page + i))
					put_page(page + i);
			}
			cond_resched();
			if (from == nr_node_ids)
				return;
		}
	}
}

/**
 * anl_refill() - bring the pool to its target, up or down
 * @arena: the arena
 *
 * Fails silently. A caller that finds the pool low kicks the worker, which runs after
 * the back-off. An out-of-memory kill would be the wrong price for keeping pages ready,
 * so this never causes one. Nor does it reclaim memory for pages beyond the promise: a
 * program that keeps failing must not replace its creator's page cache by the pool.
 *
 * Context: process context, may sleep; one caller at a time.
 */
void anl_refill(struct anl_arena *arena)
{
	int missing, from = atomic_read(&arena->pool.nr), got = 1;
	u32 order = ANL_BLOCK_ORDER;
	struct anl_charge c;
	LIST_HEAD(excess);

	anl_pool_put_discarded(arena);
	anl_spares_fill(arena);
	anl_pool_trim(arena, anl_pool_wanted(arena), ULONG_MAX, &excess);
	anl_put_pages(&excess);

	anl_charge_begin(arena, &c);
	if (static_branch_unlikely(&anl_numa))
		anl_refill_nodes(arena, &c);
	while (got > 0) {
		missing = (int)anl_pool_wanted(arena) - atomic_read(&arena->pool.nr);
		if (missing <= 0)
			break;
		got = anl_refill_some(arena, &c, missing, &order);
		cond_resched();
	}
	anl_charge_end(&c);
	anl_refill_result(arena, got < 0);
	anl_count(arena, refills, 1);
	trace_arena_nolock_refill(arena, from, atomic_read(&arena->pool.nr), arena->pool.target);
}

static void anl_refill_work(struct work_struct *work)
{
	struct anl_arena *arena = container_of(to_delayed_work(work), struct anl_arena,
					       refill_work);
	long left = arena->refill_after - jiffies;

	/*
	 * A back-off is in progress. The bit stays set, so that further kicks end in
	 * anl_kick(). The run at the end of the back-off serves them all.
	 */
	if (arena->refill_delay && left > 0) {
		anl_pool_put_discarded(arena);
		anl_spares_fill(arena);
		queue_delayed_work(anl_refill_wq, &arena->refill_work, left);
		return;
	}

	/* A caller that takes pages from here on may kick again. */
	atomic_andnot(ANL_KICK_REFILL, &arena->kicked);
	/*
	 * Pairs with the barrier in anl_kick(). A caller that still saw the bit set took
	 * its pages before this barrier; the refill below counts them as missing.
	 */
	smp_mb__after_atomic();
	anl_refill_adapt(arena);
	anl_refill(arena);
}

/**
 * anl_pool_recycle() - make use of pages that were freed
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
		if (!anl_pool_push(arena, page)) {
			put_page(page);
			return;
		}
		cond_resched();
	}
}

/* What one run of the shrinker has found, or has taken and wants to take. */
struct anl_shrink {
	unsigned long nr;
	unsigned long left;
	struct list_head pages;
};

/* One look at each pool of the node and memcg, in turn if there are too many. */
static void anl_shrink_walk(struct shrink_control *sc, list_lru_walk_cb fn, struct anl_shrink *s)
{
	unsigned long nr = min(list_lru_shrink_count(&anl_shrink_list, sc), ANL_SHRINK_POOLS);

	list_lru_walk_one(&anl_shrink_list, sc->nid, sc->memcg, fn, s, &nr);
}

/* The lock of the list is held, so the arena stays. Pages beyond the promise count. */
static enum lru_status anl_shrink_count_one(ANL_LRU_WALK_ARGS(item, arg))
{
	struct anl_arena *arena = container_of(item, struct anl_shrink_entry, head)->arena;
	struct anl_shrink *s = arg;

	s->nr += max(atomic_read(&arena->pool.nr) - (int)arena->pool.min, 0);

	return LRU_ROTATE;
}

static unsigned long anl_shrink_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct anl_shrink s = {};

	/* After this the kernel calls again only when an arena is added to the list. */
	if (!list_lru_shrink_count(&anl_shrink_list, sc))
		return SHRINK_EMPTY;
	anl_shrink_walk(sc, anl_shrink_count_one, &s);

	return s.nr;
}

static enum lru_status anl_shrink_scan_one(ANL_LRU_WALK_ARGS(item, arg))
{
	struct anl_arena *arena = container_of(item, struct anl_shrink_entry, head)->arena;
	struct anl_shrink *s = arg;
	unsigned long done;

	if (!s->left)
		return LRU_SKIP;
	if (atomic_read(&arena->pool.nr) <= (int)arena->pool.min)
		return LRU_ROTATE;
	WRITE_ONCE(arena->pool.target, max(READ_ONCE(arena->pool.target) / 2, arena->pool.min));
	done = anl_pool_trim(arena, arena->pool.min, s->left, &s->pages);
	s->nr += done;
	s->left -= done;

	return LRU_ROTATE;
}

/*
 * At most ANL_SHRINK_POOLS looks and sc->nr_to_scan pops under the lock of the list,
 * a leaf. No kfunc takes that lock. A BPF program that interrupts the walk, or traces
 * it, can pop and push pages meanwhile: that makes a pop retry, never wait. Pages are
 * released without the lock, because that enters the page allocator and memcg.
 */
static unsigned long anl_shrink_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct anl_shrink s = { .left = sc->nr_to_scan };

	INIT_LIST_HEAD(&s.pages);
	anl_shrink_walk(sc, anl_shrink_scan_one, &s);
	anl_put_pages(&s.pages);
	mm_account_reclaimed_pages(s.nr);

	return s.nr ?: SHRINK_STOP;
}

/*
 * With interrupts on and outside of interrupts no lock of the page allocator
 * can be held on this CPU, so trying it is safe; it must not wake anybody, as
 * the caller may be tracing the scheduler. On PREEMPT_RT those locks sleep.
 */
static bool anl_may_try_alloc(void)
{
	return !irqs_disabled() && !in_nmi() && !in_hardirq() &&
	       !IS_ENABLED(CONFIG_PREEMPT_RT);
}

/*
 * Add pages of a node, or of any, from the pool to @pages until there are @cnt, or
 * @floor left in stock.
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
	struct anl_pool_node *node = anl_node(arena, nid);

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

/* Ask for a refill in time: half is gone. Any context. */
static void anl_pool_check(struct anl_arena *arena, int nid)
{
	if (anl_pool_is_low(arena) ||
	    (static_branch_unlikely(&anl_numa) && arena->pool.max && anl_node_is_low(arena, nid)))
		anl_kick(arena, ANL_KICK_REFILL);
}

/* More was wanted than there was. A node that no caller has wanted before has no share. */
static void anl_pool_miss(struct anl_arena *arena, int nid)
{
	if (static_branch_unlikely(&anl_numa) && arena->pool.max &&
	    !READ_ONCE(anl_node(arena, nid)->wanted))
		return;
	if (!READ_ONCE(arena->pool.missed))
		WRITE_ONCE(arena->pool.missed, true);
}

/* Half of what the pool is promised to hold is for those who have nothing else. */
static u32 anl_pool_floor(const struct anl_arena *arena, bool try_alloc)
{
	return try_alloc ? arena->pool.min / 2 : 0;
}

static bool anl_pool_can_spare(const struct anl_arena *arena)
{
	return atomic_read(&arena->pool.nr) > (int)anl_pool_floor(arena, anl_may_try_alloc());
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
		anl_kick(arena, ANL_KICK_REFILL);

	return page;
}

/* Add new pages to @pages until there are @cnt, for a caller that can try it. */
static u32 anl_try_pages(struct anl_charge *c, gfp_t gfp, u32 n, u32 cnt, int nid,
			 struct list_head *pages)
{
	u32 order = ANL_BLOCK_ORDER, i;
	struct page *page;

	while (n < cnt && (page = anl_alloc_block(c, gfp, cnt - n, &order, nid))) {
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
	struct anl_charge c;
	struct page *page;
	u32 n;

	n = anl_pool_take(arena, 0, cnt, anl_pool_floor(arena, try_alloc), nid, pages);
	if (n == cnt)
		return n;
	anl_pool_miss(arena, nid);

	rcu_read_lock();
	c.memcg = anl_objcg_memcg_rcu(arena->objcg);
	anl_charge_enter(&c);
	if (static_branch_unlikely(&anl_numa)) {
		/* All that the right node has comes first. */
		if (try_alloc)
			n = anl_try_pages(&c, __GFP_THISNODE, n, cnt, nid, pages);
		n = anl_pool_take(arena, n, cnt, 0, nid, pages);
	}
	if (try_alloc)
		n = anl_try_pages(&c, 0, n, cnt, nid, pages);
	while (n < cnt && (page = anl_alloc_page_nolock(c.gfp, nid))) {
		list_add_tail(&page->lru, pages);
		n++;
	}
	anl_charge_leave(&c);
	rcu_read_unlock();

	return anl_pool_take(arena, n, cnt, 0, NUMA_NO_NODE, pages);
}

/**
 * anl_get_pages() - zeroed, charged pages, all that were asked for or none
 * @arena: the arena
 * @cnt: number of pages
 * @nid: preferred node, or NUMA_NO_NODE
 * @pages: list to add them to, through page->lru
 *
 * Context: any.
 * Return: true, or false with @pages as it was.
 */
bool anl_get_pages(struct anl_arena *arena, u32 cnt, int nid, struct list_head *pages)
{
	LIST_HEAD(got);
	u32 n;

	nid = anl_mem_node(nid);
	n = anl_get_pages_atomic(arena, cnt, nid, &got);
	anl_pool_check(arena, nid);
	if (n < cnt) {
		anl_unget_pages(arena, &got);
		return false;
	}
	list_splice_tail(&got, pages);

	return true;
}

/**
 * anl_unget_pages() - take back pages that were not used
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
		if (PageHWPoison(page) || !anl_pool_push(arena, page))
			anl_pool_discard(arena, page);
	}
}

/**
 * anl_populate() - put pages into claimed slots for a caller that can sleep
 * @arena: the arena
 * @pgoff: first slot
 * @cnt: number of slots
 * @nid: preferred node, or NUMA_NO_NODE
 *
 * A limit that is hit, or memory that is short, is a failure and never the
 * out-of-memory killer's business: a BPF program can deal with NULL.
 *
 * Context: process context, may sleep.
 * Return: true, or false, and then some of the slots have pages and some not.
 */
bool anl_populate(struct anl_arena *arena, u32 pgoff, u32 cnt, int nid)
{
	u32 order = ANL_BLOCK_ORDER, n = 0, mapped;
	struct anl_charge c;

	anl_charge_begin(arena, &c);
	while (n < cnt && !fatal_signal_pending(current)) {
		struct page *page;

		page = anl_alloc_block(&c, GFP_KERNEL | __GFP_RETRY_MAYFAIL, cnt - n, &order, nid);
		/* What the pool has beyond its promise is for whoever needs it. */
		if (!page && atomic_read(&arena->pool.nr) > (int)arena->pool.min)
			page = anl_pool_pop(arena);
		if (!page)
			break;
		mapped = anl_map_block(arena, pgoff + n, page, 1U << order);
		n += mapped;
		if (mapped < 1U << order) {
			for (; mapped < 1U << order; mapped++)
				put_page(page + mapped);
			break;
		}
		cond_resched();
	}
	anl_charge_end(&c);

	return n == cnt;
}

/**
 * anl_get_fault_page() - a zeroed, charged page for a user fault
 * @arena: the arena
 *
 * The OOM killer is for a task that belongs to the memcg that pays, and may then be
 * the victim. A task from elsewhere that has the descriptor gets NULL instead, and
 * cannot have the creator's processes killed.
 *
 * Context: process context, may sleep, reclaim, and invoke the OOM killer.
 * Return: the page or NULL.
 */
struct page *anl_get_fault_page(struct anl_arena *arena)
{
	gfp_t gfp = GFP_KERNEL;
	struct anl_charge c;
	struct page *page;

	anl_charge_begin(arena, &c);
	if (!anl_task_in_memcg(c.memcg))
		gfp |= __GFP_RETRY_MAYFAIL;
	page = anl_alloc_page(&c, gfp, NUMA_NO_NODE);
	anl_charge_end(&c);

	return page;
}

/* Let the shrinker find the arena. Process context. 0 or -ENOMEM. */
static int anl_shrink_add(struct anl_arena *arena)
{
	struct anl_charge c;

	anl_charge_begin(arena, &c);
	/* Also allocates the list of the memcg that the entry is charged to. */
	arena->pool.shrink = kmem_cache_alloc_lru(anl_shrink_cache, &anl_shrink_list,
						  GFP_KERNEL | c.gfp);
	anl_charge_end(&c);
	if (!arena->pool.shrink)
		return -ENOMEM;
	arena->pool.shrink->arena = arena;
	INIT_LIST_HEAD(&arena->pool.shrink->head);
	list_lru_add_obj(&anl_shrink_list, &arena->pool.shrink->head);

	return 0;
}

/* On return the shrinker does not use the arena. */
static void anl_shrink_del(struct anl_arena *arena)
{
	if (!arena->pool.shrink)
		return;
	list_lru_del_obj(&anl_shrink_list, &arena->pool.shrink->head);
	kmem_cache_free(anl_shrink_cache, arena->pool.shrink);
}

/**
 * anl_pool_init() - an empty pool
 * @arena: the arena; @arena->nr_limit is known
 *
 * Context: process context, may sleep.
 * Return: 0 or -ENOMEM, with what was done left to anl_pool_exit().
 */
int anl_pool_init(struct anl_arena *arena)
{
	u32 pages = READ_ONCE(anl_pool_pages), max_pages = READ_ONCE(anl_pool_max);
	size_t node_size;

	arena->pool.min = min(pages, arena->nr_limit);
	arena->pool.max = min(max(pages, max_pages), arena->nr_limit);
	arena->pool.target = arena->pool.min;
	arena->pool.decay = jiffies;
	if (!arena->pool.max)
		return 0;

	arena->pool.pages = anl_zalloc(arena, arena->pool.max * sizeof(*arena->pool.pages));
	node_size = struct_size(arena->pool.nodes, map, BITS_TO_LONGS(arena->pool.max));
	arena->pool.node_size = ALIGN(node_size, SMP_CACHE_BYTES);
	arena->pool.nodes = anl_zalloc(arena, (size_t)nr_node_ids * arena->pool.node_size);
	if (!arena->pool.pages || !arena->pool.nodes)
		return -ENOMEM;

	return anl_shrink_add(arena);
}

/**
 * anl_pool_prepare() - set up what anl_pool_exit() needs
 * @arena: an arena, zeroed
 */
void anl_pool_prepare(struct anl_arena *arena)
{
	init_llist_head(&arena->pool.discard);
	memset32(arena->spares, ANL_NO_SPARE, ANL_NR_SPARES);
	INIT_DELAYED_WORK(&arena->refill_work, anl_refill_work);
}

/* Undo anl_pool_init(), also half of it. Nobody uses the arena any more. */
void anl_pool_exit(struct anl_arena *arena)
{
	struct page *page;
	int nid;

	anl_shrink_del(arena);
	for (nid = 0; arena->pool.nodes && nid < anl_nr_nodes(); nid++)
		while ((page = anl_pool_pop_any(arena, nid)))
			put_page(page);
	anl_pool_put_discarded(arena);
	kvfree(arena->pool.pages);
	kvfree(arena->pool.nodes);
}

/* Module init and exit. */
int __init anl_shrinker_init(void)
{
	anl_shrink_cache = KMEM_CACHE(anl_shrink_entry, 0);
	if (!anl_shrink_cache)
		return -ENOMEM;
	anl_shrinker = shrinker_alloc(SHRINKER_NUMA_AWARE | SHRINKER_MEMCG_AWARE, "arena_nolock");
	if (!anl_shrinker)
		goto no_shrinker;
	if (list_lru_init_memcg(&anl_shrink_list, anl_shrinker))
		goto no_list;
	anl_shrinker->count_objects = anl_shrink_count;
	anl_shrinker->scan_objects = anl_shrink_scan;
	shrinker_register(anl_shrinker);
	if (num_node_state(N_NORMAL_MEMORY) > 1)
		static_branch_enable(&anl_numa);

	return 0;

no_list:
	shrinker_free(anl_shrinker);
no_shrinker:
	kmem_cache_destroy(anl_shrink_cache);

	return -ENOMEM;
}

void anl_shrinker_exit(void)
{
	shrinker_free(anl_shrinker);
	list_lru_destroy(&anl_shrink_list);
	kmem_cache_destroy(anl_shrink_cache);
}
