// SPDX-License-Identifier: GPL-2.0
/*
 * How large the pool is, and the worker that fills it, and the standby.
 *
 * The worker refills the pool to @target, which follows the demand. It doubles, up to @max, each
 * time the worker finds less than a quarter left, or a caller had to look elsewhere. For one that
 * can have pages from nowhere else it grows to what that wanted, if that is more. It halves, down
 * to @min, when a period passes in which less than a quarter was needed, or when the kernel is
 * short of memory. On a machine with several memory nodes the worker divides the target among the
 * nodes that callers have wanted.
 *
 * The worker may reclaim memory for the pages that the arena is promised and for the standby, and
 * uses only free memory for all others. If it cannot get the former, it does not try again before a
 * back-off has passed. The shrinker takes what a pool has beyond @min, both for the whole machine
 * and for the memcg that the pages are charged to.
 *
 * Owns: struct anl_refill, and the fields @target and @share of the pool.
 * Locks: the lists of the shrinker have one, a leaf.
 */
#include <linux/list_lru.h>
#include <linux/mm.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/swap.h>

#include "arena.h"
#include "compat.h"
#include "pages.h"
#include "standby.h"
#include "trace.h"

/* How long a pool that has grown waits for the demand to return. */
#define ANL_DECAY_PERIOD (2 * HZ)

/* How long a node that had no page is left alone. */
#define ANL_DRY_PERIOD (HZ / 10)

/*
 * Where the growth of a pool starts: with enough for pages to come back from the drain before half
 * of it is gone, so that the worker has nothing to do for an arena with a small demand.
 */
#define ANL_GROW_MIN ((u32)(SZ_1M >> PAGE_SHIFT))

/* Pages that a pool is promised once there is a demand, whatever the parameters say. */
#define ANL_PROMISE_MIN 16U

/*
 * The first back-off after a refill that did not get the promised pages, and the
 * longest: a bound on how long callers find the pool empty after memory has become free.
 */
#define ANL_BACKOFF_MIN msecs_to_jiffies(10)
#define ANL_BACKOFF_MAX HZ

/* For the pages that callers are promised: it may reclaim, but not insist. */
#define ANL_GFP_PROMISED (GFP_KERNEL | __GFP_NORETRY)

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

/*
 * Move the pages that the pool has beyond @keep to @pages, up to @nr. If none are to be kept, these
 * are also the ones that CPUs have credit for. Any context.
 */
static unsigned long anl_refill_trim(struct anl_arena *arena, u32 keep, unsigned long nr,
				     struct list_head *pages)
{
	unsigned long done = 0;
	struct page *page;

	while (done < nr && (!keep || atomic_read(&arena->pool.nr) > (int)keep)) {
		page = anl_pool_pop(arena, &arena->pool);
		if (!page)
			break;
		list_add(&page->lru, pages);
		done++;
	}

	return done;
}

/*
 * Let the target follow the demand. Only the worker raises it. The shrinker lowers it, and
 * may be overruled by a demand at the same time.
 */
static void anl_refill_adapt(struct anl_arena *arena)
{
	u32 target = READ_ONCE(arena->pool.target);
	u32 nr = anl_pool_counted(&arena->pool);
	u32 used = target - min(target, nr), missed = xchg(&arena->pool.missed, 0);
	u32 total = anl_pool_nr(arena);

	/* Pages that CPUs have credit for are not used yet. */
	arena->refill.used = max(arena->refill.used, target - min(target, total));
	if (used > target - target / 4 || missed) {
		target = min(max3(2 * target, missed, ANL_GROW_MIN), arena->pool.max);
		arena->refill.decay = jiffies + ANL_DECAY_PERIOD;
	} else if (time_after_eq(jiffies, arena->refill.decay)) {
		if (4 * arena->refill.used < target)
			target = max(target / 2, arena->pool.min);
		arena->refill.used = 0;
		arena->refill.decay = jiffies + ANL_DECAY_PERIOD;
	}
	WRITE_ONCE(arena->pool.target, target);
	if (target > arena->pool.min)
		queue_delayed_work(anl_refill_wq, &arena->kick.refill, ANL_DECAY_PERIOD + 1);
}

/* Pages for which a refill may reclaim memory. */
static u32 anl_refill_promise(const struct anl_arena *arena)
{
	return max(arena->pool.min, min(arena->pool.max, ANL_PROMISE_MIN));
}

/*
 * Add up to @missing pages to the pool. Returns how many, 0 if it is full, or -ENOMEM.
 */
static int anl_refill_some(struct anl_arena *arena, struct anl_charge *charge, int missing,
			   u32 *order)
{
	int promised = (int)anl_refill_promise(arena) - atomic_read(&arena->pool.nr);
	gfp_t gfp = promised > 0 ? ANL_GFP_PROMISED : GFP_NOWAIT;
	struct page *page;

	if (promised > 0)
		missing = min(missing, promised);
	page = anl_alloc_block(charge, gfp, missing, order, NUMA_NO_NODE);
	if (!page)
		return -ENOMEM;

	return anl_pool_push_block(&arena->pool, page, *order);
}

/*
 * Decide when the next refill may run, and what it may aim at, after one that did not get all
 * pages for the pool, or for the standby.
 */
static void anl_refill_result(struct anl_arena *arena, bool short_of_memory, bool short_standby)
{
	u32 nr = anl_pool_counted(&arena->pool), target = READ_ONCE(arena->pool.target);

	if (short_standby || (short_of_memory && nr < anl_refill_promise(arena))) {
		arena->refill.delay = clamp(2 * arena->refill.delay, ANL_BACKOFF_MIN,
					    (unsigned long)ANL_BACKOFF_MAX);
		arena->refill.after = jiffies + arena->refill.delay;
		return;
	}
	arena->refill.delay = 0;
	/* The pool does not grow beyond the free memory. */
	if (short_of_memory)
		WRITE_ONCE(arena->pool.target, max(min(nr, target), arena->pool.min));
}

/* A page that a node has beyond its share, or NULL. */
static struct page *anl_refill_pop_surplus(struct anl_arena *arena, int nid, int share)
{
	struct anl_pool_node *node = anl_pool_node(&arena->pool, nid);
	int keep = READ_ONCE(node->wanted) ? share : 0;

	return atomic_read(&node->nr) > keep ? anl_pool_pop_node(arena, &arena->pool, nid) : NULL;
}

/* How the nodes share the pool, and from which node on there may be one with too many pages. */
struct anl_shares {
	int target;
	int share;
	int from;
};

/*
 * Put a page of a node that lacks some into the pool. If that has its target already, or is
 * full, the page takes the place of one of a node that has too many. A pool can be full below
 * its target, because the pages that CPUs have credit for are in it, too. Returns false, with
 * the page put, if there is no place for it.
 */
static bool anl_refill_exchange(struct anl_arena *arena, struct page *page, struct anl_shares *s)
{
	struct page *other;

	while (atomic_read(&arena->pool.nr) >= s->target || anl_pool_push(&arena->pool, page)) {
		if (s->from == nr_node_ids) {
			put_page(page);
			return false;
		}
		other = anl_refill_pop_surplus(arena, s->from, s->share);
		if (other)
			put_page(other);
		else
			s->from++;
	}

	return true;
}

/*
 * Get pages of a node until it has its share, as far as there are any without reclaim.
 * Returns false if the pool has no place for more.
 */
static bool anl_refill_node(struct anl_arena *arena, struct anl_charge *charge, int nid,
			    struct anl_shares *s)
{
	struct anl_pool_node *node = anl_pool_node(&arena->pool, nid);
	u32 order = ANL_BLOCK_ORDER, i;
	bool placed = true;
	struct page *page;
	int missing;

	while (placed && (missing = s->share - atomic_read(&node->nr)) > 0) {
		page = anl_alloc_block(charge, GFP_NOWAIT | __GFP_THISNODE, missing, &order, nid);
		WRITE_ONCE(node->retry, jiffies + ANL_DRY_PERIOD);
		WRITE_ONCE(node->dry, !page);
		if (!page)
			break;
		for (i = 0; i < 1U << order; i++)
			placed &= anl_refill_exchange(arena, page + i, s);
		cond_resched();
	}

	return placed;
}

/*
 * Bring each of the nodes that callers have wanted to its share. The total stays as it is if
 * the pool was at its target.
 */
static void anl_refill_nodes(struct anl_arena *arena, struct anl_charge *charge)
{
	struct anl_shares s = { .target = anl_pool_wanted(arena) };
	int nid, wanted = 0;

	if (!arena->pool.max)
		return;
	for (nid = 0; nid < nr_node_ids; nid++)
		wanted += READ_ONCE(anl_pool_node(&arena->pool, nid)->wanted);
	if (!wanted)
		return;
	s.share = s.target / wanted;
	WRITE_ONCE(arena->pool.share, s.share);

	for (nid = 0; nid < nr_node_ids; nid++)
		if (READ_ONCE(anl_pool_node(&arena->pool, nid)->wanted) &&
		    !anl_refill_node(arena, charge, nid, &s))
			return;
}

/**
 * anl_refill() - bring the pool to its target, up or down, and the standby to its own
 * @arena: the arena
 *
 * Fails silently. A caller that finds the pool low requests the worker, which runs after
 * the back-off. Keeping pages ready is not worth an OOM kill, so this never causes one. Nor
 * does it reclaim memory for pages beyond the promise: a program that keeps failing must not
 * replace its creator's page cache by the pool.
 *
 * Context: process context, may sleep; one caller at a time.
 */
void anl_refill(struct anl_arena *arena)
{
	u32 from = anl_pool_counted(&arena->pool);
	int missing, got = 1;
	u32 order = ANL_BLOCK_ORDER;
	struct anl_charge charge;
	bool short_standby;
	LIST_HEAD(excess);

	anl_pool_put_discarded(arena);
	anl_spares_fill(arena);
	anl_refill_trim(arena, anl_pool_wanted(arena), ULONG_MAX, &excess);
	anl_put_pages(&excess);

	anl_charge_begin(arena, &charge);
	if (static_branch_unlikely(&anl_numa))
		anl_refill_nodes(arena, &charge);
	while (got > 0) {
		/* If pages of a CPU's credit are gone, new ones must not replace them. */
		missing = (int)(anl_pool_wanted(arena) - anl_pool_counted(&arena->pool));
		if (missing <= 0)
			break;
		got = anl_refill_some(arena, &charge, missing, &order);
		cond_resched();
	}
	short_standby = anl_standby_fill(arena, &charge, ANL_GFP_PROMISED);
	anl_charge_end(&charge);
	anl_refill_result(arena, got < 0, short_standby);
	anl_count(arena, refills, 1);
	trace_arena_nolock_refill(arena, from, anl_pool_counted(&arena->pool),
				  arena->pool.target);
}

static void anl_refill_work(struct work_struct *work)
{
	struct anl_arena *arena = container_of(to_delayed_work(work), struct anl_arena,
					       kick.refill);
	long left = arena->refill.after - jiffies;

	/*
	 * A back-off is in progress. The bit stays set, so that further requests end in
	 * anl_kick(). The run at the end of the back-off serves them all.
	 */
	if (arena->refill.delay && left > 0) {
		anl_pool_put_discarded(arena);
		anl_spares_fill(arena);
		queue_delayed_work(anl_refill_wq, &arena->kick.refill, left);
		return;
	}

	/* The refill below counts the pages that earlier callers took as missing. */
	anl_kick_ack(&arena->kick, ANL_KICK_REFILL);
	anl_refill_adapt(arena);
	anl_refill(arena);
}

/* What one run of the shrinker has found, or has taken and wants to take. */
struct anl_shrink {
	unsigned long nr;
	unsigned long left;
	struct list_head pages;
};

/* Visit each pool of the node and memcg once, in turn if there are too many. */
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
	done = anl_refill_trim(arena, arena->pool.min, s->left, &s->pages);
	s->nr += done;
	s->left -= done;

	return LRU_ROTATE;
}

/*
 * At most ANL_SHRINK_POOLS looks and sc->nr_to_scan pops under the lock of the list, a
 * leaf. No kfunc takes that lock. A BPF program that interrupts the walk, or traces it, can
 * pop and push pages meanwhile: that makes a pop retry, never wait. Pages are released
 * without the lock, because that enters the page allocator and memcg.
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

/* Let the shrinker find the arena. Process context. 0 or -ENOMEM. */
static int anl_shrink_add(struct anl_arena *arena)
{
	struct anl_charge charge;

	anl_charge_begin(arena, &charge);
	/* Also allocates the list of the memcg that the entry is charged to. */
	arena->refill.shrink = kmem_cache_alloc_lru(anl_shrink_cache, &anl_shrink_list,
						    GFP_KERNEL | charge.gfp);
	anl_charge_end(&charge);
	if (!arena->refill.shrink)
		return -ENOMEM;
	arena->refill.shrink->arena = arena;
	INIT_LIST_HEAD(&arena->refill.shrink->head);
	list_lru_add_obj(&anl_shrink_list, &arena->refill.shrink->head);

	return 0;
}

/* On return the shrinker does not use the arena. */
static void anl_shrink_del(struct anl_arena *arena)
{
	if (!arena->refill.shrink)
		return;
	list_lru_del_obj(&anl_shrink_list, &arena->refill.shrink->head);
	kmem_cache_free(anl_shrink_cache, arena->refill.shrink);
}

/**
 * anl_refill_init() - prepare refills, and let the shrinker find the arena
 * @arena: the arena, with an empty pool
 *
 * Context: process context, may sleep.
 * Return: 0, or -ENOMEM with the rest left to anl_refill_exit().
 */
int anl_refill_init(struct anl_arena *arena)
{
	INIT_DELAYED_WORK(&arena->kick.refill, anl_refill_work);
	arena->refill.decay = jiffies;

	return arena->pool.max ? anl_shrink_add(arena) : 0;
}

/* Undo anl_refill_init(), or the part of it that succeeded. The worker does not run. */
void anl_refill_exit(struct anl_arena *arena)
{
	anl_shrink_del(arena);
}

/**
 * anl_refill_setup() - register the shrinker
 *
 * Context: module init.
 * Return: 0 or -ENOMEM.
 */
int __init anl_refill_setup(void)
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

	return 0;

no_list:
	shrinker_free(anl_shrinker);
no_shrinker:
	kmem_cache_destroy(anl_shrink_cache);

	return -ENOMEM;
}

/* Undo anl_refill_setup(). Module init or exit. */
void anl_refill_cleanup(void)
{
	shrinker_free(anl_shrinker);
	list_lru_destroy(&anl_shrink_list);
	kmem_cache_destroy(anl_shrink_cache);
}
