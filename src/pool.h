/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_POOL_H
#define ANL_POOL_H

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/types.h>

struct anl_arena;
struct page;

/**
 * struct anl_pool_node - the pages of a memory node that are in the pool
 * @sum: one bit per word of @map that may be non-zero
 * @nr: number of pages; maintained only if there is more than one memory node
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
	unsigned long map[];
};

/**
 * struct anl_pool - pages that are ready for callers that cannot sleep
 * @pages: the pages; NULL in an empty entry
 * @nodes: which entries of @pages hold a page, by memory node
 * @node_size: bytes from one node to the next in @nodes
 * @share: pages that the pool should hold of each node that callers want
 * @nr: pages in the pool
 * @max: entries of @pages
 * @min: pages that the pool should always hold
 * @target: pages that the pool should hold now, @min to @max; see refill.c
 * @missed: callers wanted more pages than the pool had
 * @hint: word of a node's map in which a page was put last
 * @discard: pages that a caller could neither use nor free, linked through page->lru
 */
struct anl_pool {
	struct page **pages;
	struct anl_pool_node *nodes;
	u32 node_size;
	u32 share;
	atomic_t nr;
	u32 max;
	u32 min;
	u32 target;
	bool missed;
	u32 hint;
	struct llist_head discard;
};

extern uint anl_pool_pages;
extern uint anl_pool_max;

void anl_pool_check_params(void);
int anl_pool_init(struct anl_arena *arena);
void anl_pool_exit(struct anl_arena *arena);
struct page *anl_pool_get_page(struct anl_arena *arena, int nid);
int anl_get_pages(struct anl_arena *arena, u32 cnt, int nid, struct list_head *pages);
void anl_unget_pages(struct anl_arena *arena, struct list_head *pages);
void anl_pool_recycle(struct anl_arena *arena, struct list_head *pages);

/* For refill.c */
struct anl_pool_node *anl_pool_node(const struct anl_arena *arena, int nid);
struct page *anl_pool_pop_node(struct anl_arena *arena, int nid);
struct page *anl_pool_pop(struct anl_arena *arena);
int anl_pool_push(struct anl_arena *arena, struct page *page);
u32 anl_pool_wanted(const struct anl_arena *arena);
void anl_pool_put_discarded(struct anl_arena *arena);

#endif
