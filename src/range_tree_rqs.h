/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_RANGE_TREE_RQS_H
#define ANL_RANGE_TREE_RQS_H

#ifdef __KERNEL__
#include <linux/types.h>
#include "lock.h"
#else
#include "user_shim.h"
#endif

/* Free runs of the pages below a node, in pages. */
struct rtq_node {
	u32 pre;	/* from the first page on */
	u32 suf;	/* up to the last page */
	u32 max;	/* the longest */
};

/**
 * struct rtq - which pages of an address range are free
 * @lock: protects all of it
 * @nr_pages: pages in the range
 * @nr_free: free ones
 * @nr_leaves: leaves of the tree, a power of two
 * @stale: the leaf whose changes the tree does not show yet, or ~0
 * @low: a leaf; no page below it is free
 * @map: one bit per page, set if free
 * @node: the tree; [1] is the root, [2i] and [2i + 1] are the children of [i]
 */
struct rtq {
	anl_lock_t lock;
	u32 nr_pages;
	u32 nr_free;
	u32 nr_leaves;
	u32 stale;
	u32 low;
	unsigned long *map;
	struct rtq_node *node;
};

size_t rtq_mem_size(u32 nr_pages);
void rtq_init(struct rtq *rt, void *mem, u32 nr_pages);
long rtq_alloc(struct rtq *rt, u32 cnt);
int rtq_claim(struct rtq *rt, u32 pgoff, u32 cnt);
int rtq_release(struct rtq *rt, u32 pgoff, u32 cnt);
u32 rtq_nr_free(const struct rtq *rt);
bool rtq_is_free(const struct rtq *rt, u32 pgoff);
#if !defined(__KERNEL__) || defined(ANL_DEBUG)
bool rtq_check(struct rtq *rt);
#endif

#endif
