// SPDX-License-Identifier: GPL-2.0
/*
 * Where a caller that cannot sleep gets pages.
 *
 * In this order: from the pool what it can spare; from the page allocator where the context
 * allows that; from alloc_pages_nolock() where the kernel has it; the last pages of the pool; and,
 * where the context allows no allocation, from the standby. On a machine with several memory nodes
 * a caller gets a page of the node that it names, or of the one that its CPU allocates from: a
 * ready one, or a new one. Only if there is neither does it get one of another node.
 *
 * Credit: a CPU whose callers take single pages gets credit for some more, if the pool can
 * spare them. They are subtracted from the pool's @nr at once. The next callers on the CPU
 * then write nothing that other CPUs write: they take pages from a word of the bitmap that is
 * the CPU's as long as it has any, and count down the credit. Credit is no claim on certain
 * pages. Whoever finds no other page takes those that a CPU has credit for; then @nr becomes
 * negative, and the CPU returns credit for which it finds no page. So the pages in the pool
 * are @nr and what all CPUs have credit for.
 *
 * Owns: struct anl_pool_cpu. A CPU changes its own only, with operations that interrupts and
 * NMIs cannot divide.
 */
#include <linux/cpumask.h>
#include <linux/mm.h>
#include <linux/page-flags.h>

#include "arena.h"
#include "compat.h"
#include "pages.h"
#include "standby.h"

/* Pages that a CPU takes before it counts others, at most. */
#define ANL_POOL_CREDIT 32

/**
 * anl_pool_nr() - number of pages in the pool
 * @arena: the arena
 *
 * Those that CPUs have credit for included.
 *
 * Context: any. A sum over the time that it takes.
 */
int anl_pool_nr(const struct anl_arena *arena)
{
	int sum = atomic_read(&arena->pool.nr), cpu;

	if (!arena->pool.max)
		return 0;
	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu_ptr(arena->pool.cpu, cpu)->credit);

	return max(sum, 0);
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

/* Half of a node's share is gone, or a caller wants a page of the node for the first time. */
static bool anl_node_is_low(struct anl_arena *arena, int nid)
{
	struct anl_pool_node *node = anl_pool_node(&arena->pool, nid);

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
	bool low = false;

	/* Always asked, since it notes that the node is wanted. Without that no pool grows. */
	if (static_branch_unlikely(&anl_numa) && arena->pool.max)
		low = anl_node_is_low(arena, nid);
	if (low || anl_pool_is_low(arena))
		anl_kick(&arena->kick, ANL_KICK_REFILL);
}

/*
 * More was wanted than there is. The pool grows to @cnt at least. A node that no caller has wanted
 * before has no share.
 */
static void anl_pool_miss(struct anl_arena *arena, u32 cnt, int nid)
{
	if (static_branch_unlikely(&anl_numa) && arena->pool.max &&
	    !READ_ONCE(anl_pool_node(&arena->pool, nid)->wanted))
		return;
	if (READ_ONCE(arena->pool.missed) < cnt)
		WRITE_ONCE(arena->pool.missed, cnt);
}

/* Can the caller have pages elsewhere? With PREEMPT_RT hard interrupts and NMIs cannot. */
static bool anl_may_look_elsewhere(void)
{
	return IS_ENABLED(CONFIG_PREEMPT_RT) ? anl_may_alloc_nolock() : anl_may_try_alloc();
}

/* A caller that can have pages elsewhere leaves half of @min to those that cannot. */
static u32 anl_pool_floor(const struct anl_arena *arena)
{
	return anl_may_look_elsewhere() ? arena->pool.min / 2 : 0;
}

static bool anl_pool_can_spare(const struct anl_arena *arena)
{
	u32 floor = anl_pool_floor(arena);

	return !floor || atomic_read(&arena->pool.nr) > (int)floor;
}

/*
 * Give this CPU credit for pages of its node, as far as they can be spared. The last ones make
 * the pool low, and the refill begins while they are used up. Any context.
 */
static bool anl_pool_lend(struct anl_arena *arena, int nid)
{
	struct anl_pool *pool = &arena->pool;
	/* What is left for callers that can have no pages elsewhere, or is low. */
	int keep = max(pool->min / 2, anl_pool_wanted(arena) / 2);
	int credit = min(atomic_read(&pool->nr) - keep, ANL_POOL_CREDIT);

	if (static_branch_unlikely(&anl_numa)) {
		struct anl_pool_node *node = anl_pool_node(pool, nid);

		if (!READ_ONCE(node->wanted))
			return false;
		credit = min(credit, atomic_read(&node->nr) - (int)(READ_ONCE(pool->share) / 2));
	}
	if (credit <= 0)
		return false;
	anl_pool_count(pool, nid, -credit);
	this_cpu_add(pool->cpu->credit, credit);
	anl_pool_check(arena, nid);

	return true;
}

/* The CPU has no page that it has credit for. Any context. */
static void anl_pool_return_credit(struct anl_arena *arena, int nid)
{
	anl_pool_count(&arena->pool, nid, this_cpu_xchg(arena->pool.cpu->credit, 0));
}

/* Another word for this CPU to take pages from: a different one than other CPUs, if possible. */
static u32 anl_pool_choose(const struct anl_pool_node *node)
{
	unsigned long sum = READ_ONCE(node->sum);
	u32 n;

	if (!sum)
		return 0;
	for (n = raw_smp_processor_id() % hweight_long(sum); n; n--)
		sum &= sum - 1;

	return __ffs(sum);
}

/* anl_get_page() without credit. */
struct page *anl_get_page_counted(struct anl_arena *arena, int nid)
{
	struct page *page;

	if (!anl_pool_can_spare(arena))
		return NULL;
	page = anl_pool_pop_node(arena, &arena->pool, nid);
	/* On several nodes anl_get_pages() checks if there is no page, after anl_pool_miss(). */
	if (page || !static_branch_unlikely(&anl_numa))
		anl_pool_check(arena, nid);

	return page;
}

/* anl_get_page() for a CPU without credit, or with no good page in its word. */
struct page *anl_get_page_slow(struct anl_arena *arena, int nid)
{
	struct anl_pool *pool = &arena->pool;
	struct anl_pool_node *node;
	struct page *page;
	u32 w;

	if (!pool->max)
		return NULL;
	if (this_cpu_dec_return(pool->cpu->credit) < 0) {
		this_cpu_inc(pool->cpu->credit);
		if (!anl_pool_lend(arena, nid))
			return anl_get_page_counted(arena, nid);
		this_cpu_dec(pool->cpu->credit);
	}
	node = anl_pool_node(&arena->pool, nid);
	w = anl_pool_choose(node);
	page = anl_pool_pop_word(pool, node, w);
	if (page)
		raw_cpu_write(pool->cpu->word, w);
	else
		page = anl_pool_pop_any(pool, nid);
	if (!page) {
		this_cpu_inc(pool->cpu->credit);
		anl_pool_return_credit(arena, nid);
	} else if (PageHWPoison(page)) {
		anl_pool_discard(arena, page);
		return NULL;
	}

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
	bool elsewhere = anl_may_look_elsewhere(), try_alloc = anl_may_try_alloc();
	struct anl_charge charge;
	struct page *page;
	u32 n;

	n = anl_pool_take(arena, &arena->pool, 0, cnt, anl_pool_floor(arena), nid, pages);
	if (n == cnt)
		return n;
	/* For those that have found pages elsewhere the pool doubles, and that is enough. */
	anl_pool_miss(arena, elsewhere ? 1 : cnt, nid);

	anl_charge_begin_rcu(arena, &charge);
	if (static_branch_unlikely(&anl_numa)) {
		/* Pages of the right node come first. */
		if (try_alloc)
			n = anl_try_pages(&charge, __GFP_THISNODE, n, cnt, nid, pages);
		n = anl_pool_take(arena, &arena->pool, n, cnt, 0, nid, pages);
		if (!elsewhere)
			n = anl_standby_take(arena, n, cnt, nid, pages);
	}
	if (try_alloc)
		n = anl_try_pages(&charge, 0, n, cnt, nid, pages);
	while (n < cnt && (page = anl_alloc_page_nolock(charge.gfp, nid))) {
		list_add_tail(&page->lru, pages);
		n++;
	}
	anl_charge_end_rcu(&charge);

	n = anl_pool_take(arena, &arena->pool, n, cnt, 0, NUMA_NO_NODE, pages);
	if (!elsewhere)
		n = anl_standby_take(arena, n, cnt, NUMA_NO_NODE, pages);

	return n;
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
		if (PageHWPoison(page) || (!anl_standby_return(arena, page) &&
					   anl_pool_push(&arena->pool, page)))
			anl_pool_discard(arena, page);
	}
}
