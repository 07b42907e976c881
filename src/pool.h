/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_POOL_H
#define ANL_POOL_H

#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/cache.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>
#include <linux/percpu.h>
#include <linux/sizes.h>
#include <linux/types.h>

#include "charge.h"

struct anl_arena;
struct page;

/* Which of 64 entries of the pool hold a page. CPUs that use different words share no line. */
struct anl_pool_word {
	unsigned long bits;
} ____cacheline_aligned_in_smp;

/**
 * struct anl_pool_node - the pages of a memory node that are in the pool
 * @sum: one bit per word of @map that may be non-zero
 * @nr: number of pages, but for those that CPUs have credit for; maintained only if there is
 *	more than one memory node
 * @wanted: a caller has requested a page of the node
 * @dry: the node had no page for the refill worker
 * @retry: if so, when callers request the worker again, in jiffies
 * @map: entries of the pool that hold a page of the node
 */
struct anl_pool_node {
	unsigned long sum;
	atomic_t nr;
	bool wanted;
	bool dry;
	unsigned long retry;
	struct anl_pool_word map[];
};

/**
 * struct anl_pool_cpu - how a CPU takes pages
 * @credit: pages that it may still take without counting them
 * @nid: the node that @credit is for
 * @word: word of the node's map that it takes them from
 */
struct anl_pool_cpu {
	int credit;
	int nid;
	u32 word;
};

/**
 * struct anl_pool - pages that are ready for callers that cannot sleep
 * @pages: the pages; NULL in an empty entry
 * @nodes: which entries of @pages hold a page, by memory node
 * @cpu: one for each CPU
 * @node_size: bytes from one node to the next in @nodes
 * @share: pages that the pool should hold of each node that callers want
 * @max: entries of @pages
 * @min: pages that the pool should always hold
 * @target: pages that the pool should hold now, @min to @max; see refill.c
 * @missed: if callers wanted more pages than the pool had, what the largest call wanted
 * @nr: pages in the pool, but for those that CPUs have credit for; negative if others have
 *	taken some of those
 * @hint: word of a node's map in which a page was put last
 * @discard: pages that a caller could neither use nor free, linked through page->lru
 */
struct anl_pool {
	struct page **pages;
	struct anl_pool_node *nodes;
	struct anl_pool_cpu __percpu *cpu;
	u32 node_size;
	u32 share;
	u32 max;
	u32 min;
	u32 target;
	u32 missed;
	atomic_t nr ____cacheline_aligned_in_smp;
	u32 hint;
	struct llist_head discard;
};

/* Pages of 16 MiB. The summary of a pool, one word, has a bit for each word of the bitmap. */
#define ANL_POOL_LIMIT ((int)(SZ_16M >> PAGE_SHIFT))

extern uint anl_pool_pages;
extern uint anl_pool_max;
extern const struct kernel_param_ops anl_pool_param_ops;

void anl_pool_check_params(void);
int anl_pool_alloc(const struct anl_arena *arena, struct anl_pool *pool, u32 max_pages);
void anl_pool_trim(struct anl_pool *pool, u32 keep);
void anl_pool_free(struct anl_pool *pool);
int anl_pool_init(struct anl_arena *arena);
void anl_pool_exit(struct anl_arena *arena);
void anl_pool_recycle(struct anl_arena *arena, struct list_head *pages);

/* For standby.c, pages.c and refill.c */
struct page *anl_pool_pop_any(struct anl_pool *pool, int nid);
struct page *anl_pool_pop_node(struct anl_arena *arena, struct anl_pool *pool, int nid);
struct page *anl_pool_pop(struct anl_arena *arena, struct anl_pool *pool);
u32 anl_pool_take(struct anl_arena *arena, struct anl_pool *pool, u32 n, u32 cnt, u32 floor,
		  int nid, struct list_head *pages);
int anl_pool_push(struct anl_pool *pool, struct page *page);
u32 anl_pool_push_block(struct anl_pool *pool, struct page *page, u32 order);
u32 anl_pool_wanted(const struct anl_arena *arena);
void anl_pool_count(struct anl_pool *pool, int nid, int nr);
void anl_pool_discard(struct anl_arena *arena, struct page *page);
void anl_pool_put_discarded(struct anl_arena *arena);

/**
 * anl_pool_node() - the pages of a memory node
 * @pool: of the arena
 * @nid: the node; on a machine with one node, all pages are in the first one
 *
 * Context: any.
 */
static inline struct anl_pool_node *anl_pool_node(const struct anl_pool *pool, int nid)
{
	if (!static_branch_unlikely(&anl_numa))
		return pool->nodes;

	return (void *)pool->nodes + nid * (size_t)pool->node_size;
}

/* Pages that no CPU has credit for. Those that others have taken count as none. Any context. */
static inline u32 anl_pool_counted(const struct anl_pool *pool)
{
	return max(atomic_read(&pool->nr), 0);
}

/* Take a page out of word @w of a node's map. Any context. */
static inline struct page *anl_pool_pop_word(struct anl_pool *pool, struct anl_pool_node *node,
					     u32 w)
{
	unsigned long bits = READ_ONCE(node->map[w].bits);
	struct page *page;

	/* Others may take what was read, so each bit is tried once. */
	for (; bits; bits &= bits - 1) {
		u32 i = __ffs(bits);

		if (!test_and_clear_bit(i, &node->map[w].bits))
			continue;
		i += w * BITS_PER_LONG;
		page = READ_ONCE(pool->pages[i]);
		/* Orders the read before a producer reuses the entry. Pairs with cmpxchg(). */
		smp_store_release(&pool->pages[i], NULL);

		return page;
	}

	return NULL;
}

#endif
