// SPDX-License-Identifier: GPL-2.0
/*
 * Does a range tree agree with its bitmap? For the oracle, and for the tests in user space.
 * It needs the tree's static functions, so it is included after range_tree_rqs.c.
 */
#include "tree_check.h"

/**
 * anl_tree_check() - do the tree and the bitmap agree?
 * @tree: the range
 *
 * Counts runs page by page for each node, so it is slow.
 *
 * Context: any. The caller excludes all other users of @tree.
 * Return: true if they agree.
 */
bool anl_tree_check(struct anl_tree *tree)
{
	u32 total = tree->nr_leaves * LEAF_PAGES, i, len, first, p, nr_free = 0;

	/* anl_tree_find_one() trusts the bitmap of leaf @low, so the tree must agree with it. */
	for (p = 0; p < LEAF_PAGES; p++) {
		u32 q = tree->low * LEAF_PAGES + p;

		if (tree->map[q / BITS_PER_LONG] >> (q % BITS_PER_LONG) & 1 && q < tree->nr_pages &&
		    !anl_tree_is_free(tree, q))
			return false;
	}
	for (p = 0; p < total; p++) {
		bool bit = anl_tree_is_free(tree, p);

		if (bit && p < tree->low * LEAF_PAGES)
			return false;
		nr_free += bit;
	}
	if (nr_free != tree->nr_free)
		return false;

	anl_tree_sync(tree);
	for (i = 0; i < tree->nr_leaves; i++)
		anl_tree_open(tree, i);
	for (p = tree->nr_pages; p < total; p++)
		if (tree->map[p / BITS_PER_LONG] >> (p % BITS_PER_LONG) & 1)
			return false;
	for (i = 1, len = total, first = 1; i < 2 * tree->nr_leaves; i++) {
		u32 start, pre = 0, run = 0, longest = 0;
		bool unbroken = true;

		if (i == 2 * first) {
			first = i;
			len /= 2;
		}
		start = (i - first) * len;
		for (p = start; p < start + len; p++) {
			if (tree->map[p / BITS_PER_LONG] >> (p % BITS_PER_LONG) & 1) {
				run++;
			} else {
				run = 0;
				unbroken = false;
			}
			if (unbroken)
				pre = run;
			longest = max(longest, run);
		}
		if (tree->node[i].pre != pre || tree->node[i].suf != run ||
		    tree->node[i].max != longest)
			return false;
	}

	return true;
}
