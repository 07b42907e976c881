/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_RANGE_TREE_RQS_H
#define ANL_RANGE_TREE_RQS_H

#ifdef __KERNEL__
#include <linux/types.h>
#include "lock.h"
#else
#include "user_shim.h"
#endif

/* The free runs among the pages below a node, in pages. */
struct anl_tree_node {
	u32 pre;	/* the run that starts at the first page */
	u32 suf;	/* the run that ends at the last page */
	u32 max;	/* the longest run */
};

/**
 * struct anl_tree - which pages of an address range are free
 * @lock: protects all members
 * @nr_pages: pages in the range
 * @nr_free: free pages
 * @nr_leaves: leaves of the tree, a power of two
 * @stale: the leaf whose nodes lag behind the bitmap, or ~0
 * @low: a leaf; no page below it is free
 * @map: one bit per page, set if free
 * @node: the tree; [1] is the root, [2i] and [2i + 1] are the children of [i]
 */
struct anl_tree {
	anl_lock_t lock;
	u32 nr_pages;
	u32 nr_free;
	u32 nr_leaves;
	u32 stale;
	u32 low;
	unsigned long *map;
	struct anl_tree_node *node;
};

size_t anl_tree_mem_size(u32 nr_pages);
void anl_tree_init(struct anl_tree *tree, void *mem, u32 nr_pages);
long anl_tree_alloc(struct anl_tree *tree, u32 cnt);
long anl_tree_alloc_word_locked(struct anl_tree *tree, unsigned long *pages);
int anl_tree_lock(struct anl_tree *tree, unsigned long *flags);
void anl_tree_unlock(struct anl_tree *tree, unsigned long flags);
int anl_tree_claim(struct anl_tree *tree, u32 pgoff, u32 cnt);
int anl_tree_claim_locked(struct anl_tree *tree, u32 pgoff, u32 cnt);
int anl_tree_release(struct anl_tree *tree, u32 pgoff, u32 cnt);
void anl_tree_release_locked(struct anl_tree *tree, u32 pgoff, u32 cnt);
u32 anl_tree_nr_free(const struct anl_tree *tree);
bool anl_tree_is_free(const struct anl_tree *tree, u32 pgoff);

#endif
