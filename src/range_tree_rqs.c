// SPDX-License-Identifier: GPL-2.0
/*
 * The allocator of address ranges.
 *
 * A bitmap has one bit per page, set if the page is free. It is divided into leaves
 * of 512 pages, one cache line each. Above the leaves is a binary tree in one array.
 * Each node stores the length of the longest free run among its pages, and of the
 * free runs at its two ends. A run that crosses the middle of a node is the end of
 * the left child and the beginning of the right child. So one walk down from the
 * root finds the lowest run of any length.
 *
 * Most operations are about a single page next to the last one. Therefore the tree
 * may lag behind the bitmap for one leaf, @stale, until an operation needs the tree
 * or changes another leaf. No page below leaf @low is free, so a search for a single
 * page starts there. A sequence of single-page allocations then touches one cache
 * line of the bitmap, and the tree once in 512 pages.
 *
 * A node with @max == 0 marks everything below it as taken; nodes and bitmap words
 * below it are then stale. So a claim of any length writes only the topmost nodes of
 * its range and the words at its two ends. A release must write the bitmap, one word
 * per 64 pages and one node per leaf, so callers release large ranges in pieces.
 *
 * No operation allocates memory. Besides the writes of a release, each costs at most
 * two walks up the tree and one down. The caller of anl_tree_init() provides all memory,
 * 0.17 bytes per page.
 *
 * Owns: the bitmap and the tree, both protected by @lock with interrupts off. An
 * operation that cannot take the lock returns an error and changes nothing. All
 * functions but anl_tree_init() run in any context. This file also compiles in user
 * space, where tests/user compares it with a naive model.
 */
#include "range_tree_rqs.h"

#ifdef __KERNEL__
#include <linux/bitops.h>
#include <linux/errno.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/string.h>
#endif

#define LEAF_PAGES	512u
#define LEAF_WORDS	(LEAF_PAGES / BITS_PER_LONG)
#define NO_LEAF		(~0u)

static u32 anl_tree_leaves(u32 nr_pages)
{
	return roundup_pow_of_two((nr_pages + LEAF_PAGES - 1) / LEAF_PAGES);
}

static size_t anl_tree_map_size(u32 nr_pages)
{
	return (size_t)anl_tree_leaves(nr_pages) * (LEAF_PAGES / 8);
}

/**
 * anl_tree_mem_size() - memory that a range needs
 * @nr_pages: pages in the range, 1 to 2^20
 *
 * Context: any.
 * Return: bytes.
 */
size_t anl_tree_mem_size(u32 nr_pages)
{
	return anl_tree_map_size(nr_pages) +
	       2 * anl_tree_leaves(nr_pages) * sizeof(struct anl_tree_node);
}

/**
 * anl_tree_init() - initialize a range with all pages taken
 * @tree: the range
 * @mem: anl_tree_mem_size() bytes, zeroed, aligned for unsigned long
 * @nr_pages: pages in the range, 1 to 2^20
 *
 * Context: process context, before @tree is shared.
 */
void anl_tree_init(struct anl_tree *tree, void *mem, u32 nr_pages)
{
	anl_lock_init(&tree->lock);
	tree->nr_pages = nr_pages;
	tree->nr_free = 0;
	tree->nr_leaves = anl_tree_leaves(nr_pages);
	tree->stale = NO_LEAF;
	tree->low = 0;
	tree->map = mem;
	tree->node = (void *)((char *)mem + anl_tree_map_size(nr_pages));
}

/* Bits of word @w that lie in the pages [@pgoff, @end). */
static unsigned long anl_tree_mask(u32 w, u32 pgoff, u32 end)
{
	unsigned long mask = ~0UL;

	if (w == pgoff / BITS_PER_LONG)
		mask &= ~0UL << (pgoff % BITS_PER_LONG);
	if (w == (end - 1) / BITS_PER_LONG)
		mask &= ~0UL >> (-end % BITS_PER_LONG);

	return mask;
}

/* Longest run of set bits in a word, if longer than @min; otherwise @min. */
static u32 anl_tree_word_run(unsigned long word, u32 min)
{
	unsigned long runs[6], next;	/* bit i of [k]: 2^k set bits from bit i on */
	u32 k = 0, len;

	if (hweight_long(word) <= min)
		return min;

	runs[0] = word;
	while (k < 5 && (next = runs[k] & (runs[k] >> (1 << k))))
		runs[++k] = next;
	word = runs[k];
	len = 1 << k;
	while (k--) {
		next = word & (runs[k] >> len);
		if (next) {
			word = next;
			len += 1 << k;
		}
	}

	return max(len, min);
}

/* Recompute the node of a leaf from the bitmap. */
static void anl_tree_sum_leaf(struct anl_tree *tree, u32 leaf)
{
	const unsigned long *map = tree->map + leaf * LEAF_WORDS;
	struct anl_tree_node *n = &tree->node[tree->nr_leaves + leaf];
	u32 run = 0, longest = 0, i;
	bool first = true;

	for (i = 0; i < LEAF_WORDS; i++) {
		unsigned long word = map[i];

		if (word == ~0UL) {
			run += BITS_PER_LONG;
			continue;
		}
		/* The run so far ends in this word. */
		run += __ffs(~word);
		longest = max(longest, run);
		if (first)
			n->pre = run;
		first = false;
		longest = anl_tree_word_run(word, longest);
		run = BITS_PER_LONG - 1 - __fls(~word);
	}
	if (first)
		n->pre = run;
	n->suf = run;
	n->max = max(longest, run);
}

/* Recompute a node whose children have @half pages each. Returns true if it changed. */
static bool anl_tree_sum_node(struct anl_tree *tree, u32 i, u32 half)
{
	const struct anl_tree_node *l = &tree->node[2 * i], *r = &tree->node[2 * i + 1];
	struct anl_tree_node *n = &tree->node[i], old = *n;

	n->pre = l->pre == half ? half + r->pre : l->pre;
	n->suf = r->suf == half ? half + l->suf : r->suf;
	n->max = max3(l->max, r->max, l->suf + r->pre);

	return n->pre != old.pre || n->suf != old.suf || n->max != old.max;
}

/* Recompute the nodes above leaf @stale. */
static void anl_tree_sync(struct anl_tree *tree)
{
	u32 i, half;

	if (tree->stale == NO_LEAF)
		return;
	anl_tree_sum_leaf(tree, tree->stale);
	i = (tree->nr_leaves + tree->stale) / 2;
	for (half = LEAF_PAGES; i && anl_tree_sum_node(tree, i, half); half *= 2)
		i /= 2;
	tree->stale = NO_LEAF;
}

/* Do the leaf's own node or a node above it mark the leaf as taken? */
static bool anl_tree_is_shut(const struct anl_tree *tree, u32 leaf)
{
	u32 i;

	for (i = tree->nr_leaves + leaf; i; i /= 2)
		if (!READ_ONCE(tree->node[i].max))
			return true;

	return false;
}

/*
 * Make the nodes above a leaf, and its bitmap, valid. Returns true if the leaf's own
 * node marks it as taken, so the caller must recompute that node.
 */
static bool anl_tree_open(struct anl_tree *tree, u32 leaf)
{
	u32 level, i;

	for (level = ilog2(tree->nr_leaves); level; level--) {
		i = (tree->nr_leaves + leaf) >> level;
		if (!tree->node[i].max)
			memset(&tree->node[2 * i], 0, 2 * sizeof(*tree->node));
	}
	if (tree->node[tree->nr_leaves + leaf].max)
		return false;
	memset(tree->map + leaf * LEAF_WORDS, 0, LEAF_WORDS * sizeof(*tree->map));

	return true;
}

/* Change the bits of the pages [@pgoff, @end). Returns the number of bits that changed. */
static u32 anl_tree_set_bits(struct anl_tree *tree, u32 pgoff, u32 end, bool free)
{
	u32 last = (end - 1) / BITS_PER_LONG, cnt = 0, w;

	for (w = pgoff / BITS_PER_LONG; w <= last; w++) {
		unsigned long old = tree->map[w], mask = anl_tree_mask(w, pgoff, end);
		unsigned long new = free ? old | mask : old & ~mask;

		cnt += hweight_long(old ^ new);
		WRITE_ONCE(tree->map[w], new);
	}

	return cnt;
}

/* Are all leaves below node @i in [@lo, @hi)? */
static bool anl_tree_node_within(const struct anl_tree *tree, u32 i, u32 level, u32 lo, u32 hi)
{
	return i << level >= tree->nr_leaves + lo && (i + 1) << level <= tree->nr_leaves + hi;
}

/* Take the pages of word @w that are free. Returns them. */
static unsigned long anl_tree_take_word(struct anl_tree *tree, u32 w)
{
	u32 leaf = w / LEAF_WORDS;
	unsigned long pages;

	/* The tree stays behind the bitmap for one leaf only. */
	if (leaf != tree->stale)
		anl_tree_sync(tree);
	pages = tree->map[w];
	WRITE_ONCE(tree->map[w], 0);
	WRITE_ONCE(tree->nr_free, tree->nr_free - hweight_long(pages));
	tree->stale = leaf;

	return pages;
}

/* Take the pages [@pgoff, @end). All of them are free. */
static void anl_tree_take(struct anl_tree *tree, u32 pgoff, u32 end)
{
	u32 first = pgoff / LEAF_PAGES, last = (end - 1) / LEAF_PAGES;
	/* The leaves [lo, hi) are taken as a whole. */
	u32 lo = (pgoff + LEAF_PAGES - 1) / LEAF_PAGES, hi = end / LEAF_PAGES;
	u32 l, r, level;

	WRITE_ONCE(tree->nr_free, tree->nr_free - (end - pgoff));
	if (first != last || first != tree->stale)
		anl_tree_sync(tree);
	if (first == last) {
		anl_tree_set_bits(tree, pgoff, end, false);
		tree->stale = first;
		return;
	}

	if (first < lo) {
		anl_tree_set_bits(tree, pgoff, lo * LEAF_PAGES, false);
		anl_tree_sum_leaf(tree, first);
	}
	if (last >= hi) {
		anl_tree_set_bits(tree, hi * LEAF_PAGES, end, false);
		anl_tree_sum_leaf(tree, last);
	}
	for (l = tree->nr_leaves + lo, r = tree->nr_leaves + hi; l < r; l /= 2, r /= 2) {
		if (l & 1)
			tree->node[l++] = (struct anl_tree_node){};
		if (r & 1)
			tree->node[--r] = (struct anl_tree_node){};
	}
	l = tree->nr_leaves + first;
	r = tree->nr_leaves + last;
	for (level = 1; l > 1; level++) {
		l /= 2;
		r /= 2;
		if (!anl_tree_node_within(tree, l, level, lo, hi))
			anl_tree_sum_node(tree, l, LEAF_PAGES << (level - 1));
		if (r != l && !anl_tree_node_within(tree, r, level, lo, hi))
			anl_tree_sum_node(tree, r, LEAF_PAGES << (level - 1));
	}
	/* anl_tree_find_one() reads the bitmap of leaf @low without the tree: make it valid. */
	if (tree->low >= lo && tree->low < hi)
		tree->low = min(hi, tree->nr_leaves - 1);
	if (anl_tree_is_shut(tree, tree->low))
		memset(tree->map + tree->low * LEAF_WORDS, 0, LEAF_WORDS * sizeof(*tree->map));
}

/* Release the pages [@pgoff, @end). */
static void anl_tree_give(struct anl_tree *tree, u32 pgoff, u32 end)
{
	u32 first = pgoff / LEAF_PAGES, last = (end - 1) / LEAF_PAGES, i, half, cnt;
	bool shut = false;

	tree->low = min(tree->low, first);
	if (first != last || first != tree->stale) {
		anl_tree_sync(tree);
		for (i = first; i <= last; i++)
			shut |= anl_tree_open(tree, i);
	}
	cnt = anl_tree_set_bits(tree, pgoff, end, true);
	WRITE_ONCE(tree->nr_free, tree->nr_free + cnt);
	/* A leaf that was shut cannot lag: its node would still mark it as taken. */
	if (first == last && !shut) {
		tree->stale = first;
		return;
	}

	for (i = first; i <= last; i++)
		anl_tree_sum_leaf(tree, i);
	first += tree->nr_leaves;
	last += tree->nr_leaves;
	for (half = LEAF_PAGES; first > 1; half *= 2) {
		first /= 2;
		last /= 2;
		for (i = first; i <= last; i++)
			anl_tree_sum_node(tree, i, half);
	}
}

/* Are all pages in [@pgoff, @end) free? */
static bool anl_tree_all_free(struct anl_tree *tree, u32 pgoff, u32 end)
{
	u32 first = pgoff / LEAF_PAGES, last = (end - 1) / LEAF_PAGES;
	u32 lo = (pgoff + LEAF_PAGES - 1) / LEAF_PAGES, hi = end / LEAF_PAGES;
	u32 pos, l, r, size;

	if (first == last)
		lo = hi;
	if (first != last || first != tree->stale)
		anl_tree_sync(tree);
	/*
	 * Each node tested below has a parent that is an ancestor of the first or of the
	 * last leaf. So the node is valid if neither leaf is shut.
	 */
	if (anl_tree_is_shut(tree, first) || anl_tree_is_shut(tree, last))
		return false;
	for (pos = pgoff; pos < end; pos = (pos / BITS_PER_LONG + 1) * BITS_PER_LONG) {
		u32 w = pos / BITS_PER_LONG;

		if (lo < hi && pos >= lo * LEAF_PAGES && pos < hi * LEAF_PAGES) {
			pos = hi * LEAF_PAGES - 1;
			continue;
		}
		if (~tree->map[w] & anl_tree_mask(w, pgoff, end))
			return false;
	}
	l = tree->nr_leaves + lo;
	r = tree->nr_leaves + hi;
	for (size = LEAF_PAGES; l < r; l /= 2, r /= 2, size *= 2) {
		if (l & 1 && tree->node[l++].max != size)
			return false;
		if (r & 1 && tree->node[--r].max != size)
			return false;
	}

	return true;
}

/* The lowest run of @cnt free pages in a leaf. The leaf has one. */
static u32 anl_tree_find_in_leaf(const struct anl_tree *tree, u32 leaf, u32 cnt)
{
	u32 pos = leaf * LEAF_PAGES, end = pos + LEAF_PAGES, start;

	for (;;) {
		unsigned long word = tree->map[pos / BITS_PER_LONG] >> (pos % BITS_PER_LONG);

		if (!word) {
			pos = (pos / BITS_PER_LONG + 1) * BITS_PER_LONG;
			continue;
		}
		pos += __ffs(word);
		start = pos;
		while (pos < end) {
			u32 left = BITS_PER_LONG - pos % BITS_PER_LONG, ones;

			word = ~(tree->map[pos / BITS_PER_LONG] >> (pos % BITS_PER_LONG));
			ones = word ? min((u32)__ffs(word), left) : left;
			pos += ones;
			if (pos - start >= cnt)
				return start;
			if (ones < left)
				break;
		}
	}
}

/* The lowest run of @cnt free pages, or -ENOSPC. */
static long anl_tree_find(const struct anl_tree *tree, u32 cnt)
{
	u32 i = 1, start = 0, len = tree->nr_leaves * LEAF_PAGES;

	if (tree->node[1].max < cnt)
		return -ENOSPC;
	while (i < tree->nr_leaves) {
		const struct anl_tree_node *l = &tree->node[2 * i], *r = &tree->node[2 * i + 1];

		len /= 2;
		if (l->max >= cnt) {
			i = 2 * i;
		} else if (l->suf + r->pre >= cnt) {
			return start + len - l->suf;
		} else {
			i = 2 * i + 1;
			start += len;
		}
	}

	return anl_tree_find_in_leaf(tree, i - tree->nr_leaves, cnt);
}

/* The lowest free page, or -ENOSPC. */
static long anl_tree_find_one(struct anl_tree *tree)
{
	u32 w = tree->low * LEAF_WORDS, end = w + LEAF_WORDS;
	long pgoff;

	if (!tree->nr_free)
		return -ENOSPC;
	for (; w < end; w++)
		if (tree->map[w])
			return w * BITS_PER_LONG + __ffs(tree->map[w]);

	anl_tree_sync(tree);
	pgoff = anl_tree_find(tree, 1);
	tree->low = pgoff / LEAF_PAGES;

	return pgoff;
}

/**
 * anl_tree_lock() - lock a range, for several operations at once
 * @tree: the range
 * @flags: for anl_tree_unlock()
 *
 * Context: any.
 * Return: 0; or -EDEADLK or -ETIMEDOUT if the lock could not be taken.
 */
int anl_tree_lock(struct anl_tree *tree, unsigned long *flags)
{
	return anl_lock_irqsave(&tree->lock, flags);
}

/**
 * anl_tree_unlock() - undo anl_tree_lock()
 * @tree: the range
 * @flags: from anl_tree_lock()
 *
 * Context: any.
 */
void anl_tree_unlock(struct anl_tree *tree, unsigned long flags)
{
	anl_unlock_irqrestore(&tree->lock, flags);
}

/**
 * anl_tree_alloc() - take the lowest free run of a length
 * @tree: the range
 * @cnt: number of pages
 *
 * Context: any. Takes the lock.
 * Return: the first page; -EINVAL if @cnt is 0; -ENOSPC if there is no free run
 * that long; -EDEADLK or -ETIMEDOUT if the lock could not be taken.
 */
long anl_tree_alloc(struct anl_tree *tree, u32 cnt)
{
	unsigned long flags;
	long ret;

	if (!cnt)
		return -EINVAL;
	ret = anl_tree_lock(tree, &flags);
	if (ret)
		return ret;

	if (cnt == 1) {
		ret = anl_tree_find_one(tree);
	} else {
		anl_tree_sync(tree);
		ret = anl_tree_find(tree, cnt);
	}
	if (ret >= 0)
		anl_tree_take(tree, ret, ret + cnt);
	anl_tree_unlock(tree, flags);

	return ret;
}

/**
 * anl_tree_alloc_word_locked() - take the lowest free page, and others beside it
 * @tree: the range
 * @pages: gets the pages that were taken, as bits of the word of the lowest one: all that
 *	were free there, word i being pages 64 i to 64 i + 63
 *
 * Context: any. The caller holds the lock.
 * Return: the lowest of the pages; or -ENOSPC, and no page is taken, if none is free.
 */
long anl_tree_alloc_word_locked(struct anl_tree *tree, unsigned long *pages)
{
	long pgoff = anl_tree_find_one(tree);

	if (pgoff >= 0)
		*pages = anl_tree_take_word(tree, pgoff / BITS_PER_LONG);

	return pgoff;
}

static bool anl_tree_valid(const struct anl_tree *tree, u32 pgoff, u32 cnt)
{
	return cnt && pgoff < tree->nr_pages && cnt <= tree->nr_pages - pgoff;
}

/**
 * anl_tree_claim_locked() - take the pages of a given run
 * @tree: the range
 * @pgoff: first page
 * @cnt: number of pages, not 0, all in the range
 *
 * Context: any. The caller holds the lock.
 * Return: 0; or -EBUSY, and no page is taken, if one of the pages is taken already.
 */
int anl_tree_claim_locked(struct anl_tree *tree, u32 pgoff, u32 cnt)
{
	if (!anl_tree_all_free(tree, pgoff, pgoff + cnt))
		return -EBUSY;
	anl_tree_take(tree, pgoff, pgoff + cnt);

	return 0;
}

/**
 * anl_tree_claim() - take the pages of a given run
 * @tree: the range
 * @pgoff: first page
 * @cnt: number of pages
 *
 * Context: any. Takes the lock.
 * Return: 0; -EBUSY if one of the pages is taken already; -EINVAL if they are not all
 * in the range, or @cnt is 0; -EDEADLK or -ETIMEDOUT if the lock could not be taken.
 * No page is taken on an error.
 */
int anl_tree_claim(struct anl_tree *tree, u32 pgoff, u32 cnt)
{
	unsigned long flags;
	int ret;

	if (!anl_tree_valid(tree, pgoff, cnt))
		return -EINVAL;
	ret = anl_tree_lock(tree, &flags);
	if (ret)
		return ret;
	ret = anl_tree_claim_locked(tree, pgoff, cnt);
	anl_tree_unlock(tree, flags);

	return ret;
}

/**
 * anl_tree_release_locked() - free pages
 * @tree: the range
 * @pgoff: first page
 * @cnt: number of pages, not 0, all in the range; some of them may be free already
 *
 * Context: any. The caller holds the lock, for a time that grows with @cnt.
 */
void anl_tree_release_locked(struct anl_tree *tree, u32 pgoff, u32 cnt)
{
	anl_tree_give(tree, pgoff, pgoff + cnt);
}

/**
 * anl_tree_release() - free pages
 * @tree: the range
 * @pgoff: first page
 * @cnt: number of pages; some of them may be free already
 *
 * Context: any. Holds the lock for a time that grows with @cnt.
 * Return: 0; -EINVAL if the pages are not all in the range, or @cnt is 0; -EDEADLK or
 * -ETIMEDOUT if the lock could not be taken.
 */
int anl_tree_release(struct anl_tree *tree, u32 pgoff, u32 cnt)
{
	unsigned long flags;
	int ret;

	if (!anl_tree_valid(tree, pgoff, cnt))
		return -EINVAL;
	ret = anl_tree_lock(tree, &flags);
	if (ret)
		return ret;
	anl_tree_release_locked(tree, pgoff, cnt);
	anl_tree_unlock(tree, flags);

	return 0;
}

/**
 * anl_tree_nr_free() - number of free pages
 * @tree: the range
 *
 * Context: any. Takes no lock, so the number may be outdated on return.
 * Return: the number.
 */
u32 anl_tree_nr_free(const struct anl_tree *tree)
{
	return READ_ONCE(tree->nr_free);
}

/**
 * anl_tree_is_free() - is a page free?
 * @tree: the range
 * @pgoff: the page
 *
 * Context: any. Takes no lock, so the result may be outdated on return.
 * Return: true if it is; false also if @pgoff is outside of the range.
 */
bool anl_tree_is_free(const struct anl_tree *tree, u32 pgoff)
{
	return pgoff < tree->nr_pages && !anl_tree_is_shut(tree, pgoff / LEAF_PAGES) &&
	       READ_ONCE(tree->map[pgoff / BITS_PER_LONG]) >> (pgoff % BITS_PER_LONG) & 1;
}
