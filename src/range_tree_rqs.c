// SPDX-License-Identifier: GPL-2.0
/*
 * The allocator of address ranges.
 *
 * A bitmap says which pages are free. It is cut into leaves of 512 pages, one
 * cache line each. Above the leaves stands a binary tree in one array; each
 * node knows the longest free run among its pages, and the free runs at its two
 * ends. A run that crosses the middle of a node is the end of its left half and
 * the beginning of its right half, so from the root the lowest run of any length
 * is found on one way down.
 *
 * Most operations are about a single page, and the next one is about its
 * neighbour. So the tree may be behind the bitmap for one leaf, @stale, until an
 * operation needs the tree or changes another leaf; and @low remembers where the
 * lowest free page can be. Taking one page after the other then touches one cache
 * line of the bitmap, and the tree once in 512 pages.
 *
 * No operation allocates memory. Each costs at most two ways up and one down the
 * tree, and for the range itself a write per 64 pages and one recomputed node per
 * leaf. All memory is given at the beginning: 0.17 byte a page.
 *
 * Owns: the bitmap and the tree, under @lock with interrupts off. The lock
 * reports re-entry on its own CPU and too long a wait as errors instead of
 * hanging; then nothing was changed. Every function here runs in any context,
 * except for rtq_init(). This file also compiles in user space, where
 * tests/user compares it with a naive model.
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

static u32 rtq_leaves(u32 nr_pages)
{
	return roundup_pow_of_two((nr_pages + LEAF_PAGES - 1) / LEAF_PAGES);
}

static size_t rtq_map_size(u32 nr_pages)
{
	return (size_t)rtq_leaves(nr_pages) * (LEAF_PAGES / 8);
}

/**
 * rtq_mem_size() - memory that a range needs
 * @nr_pages: pages in the range, 1 to 2^20
 *
 * Context: any.
 * Return: bytes.
 */
size_t rtq_mem_size(u32 nr_pages)
{
	return rtq_map_size(nr_pages) + 2 * rtq_leaves(nr_pages) * sizeof(struct rtq_node);
}

/**
 * rtq_init() - a range with all pages taken
 * @rt: the range
 * @mem: rtq_mem_size() bytes, zeroed, aligned for unsigned long
 * @nr_pages: pages in the range, 1 to 2^20
 *
 * Context: process context, before anybody else knows @rt.
 */
void rtq_init(struct rtq *rt, void *mem, u32 nr_pages)
{
	anl_lock_init(&rt->lock);
	rt->nr_pages = nr_pages;
	rt->nr_free = 0;
	rt->nr_leaves = rtq_leaves(nr_pages);
	rt->stale = NO_LEAF;
	rt->low = 0;
	rt->map = mem;
	rt->node = (void *)((char *)mem + rtq_map_size(nr_pages));
}

/* Bits of word @w that lie in the pages [@pgoff, @end). */
static unsigned long rtq_mask(u32 w, u32 pgoff, u32 end)
{
	unsigned long mask = ~0UL;

	if (w == pgoff / BITS_PER_LONG)
		mask &= ~0UL << (pgoff % BITS_PER_LONG);
	if (w == (end - 1) / BITS_PER_LONG)
		mask &= ~0UL >> (-end % BITS_PER_LONG);

	return mask;
}

/* Longest run of set bits in a word, if longer than @min; otherwise @min. */
static u32 rtq_word_run(unsigned long word, u32 min)
{
	unsigned long runs[6], next;	/* bit i of [k]: 2^k set bits from bit i on */
	u32 k = 0, len;

	if (hweight_long(word) <= min)
		return min;

	runs[0] = word;
	while (k < 5 && (next = runs[k] & runs[k] >> (1 << k)))
		runs[++k] = next;
	word = runs[k];
	len = 1 << k;
	while (k--) {
		next = word & runs[k] >> len;
		if (next) {
			word = next;
			len += 1 << k;
		}
	}

	return max(len, min);
}

/* Recompute the node of a leaf from the bitmap. */
static void rtq_sum_leaf(struct rtq *rt, u32 leaf)
{
	const unsigned long *map = rt->map + leaf * LEAF_WORDS;
	struct rtq_node *n = &rt->node[rt->nr_leaves + leaf];
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
		longest = rtq_word_run(word, longest);
		run = BITS_PER_LONG - 1 - __fls(~word);
	}
	if (first)
		n->pre = run;
	n->suf = run;
	n->max = max(longest, run);
}

/* Recompute a node whose halves have @half pages each. Has it changed? */
static bool rtq_sum_node(struct rtq *rt, u32 i, u32 half)
{
	const struct rtq_node *l = &rt->node[2 * i], *r = &rt->node[2 * i + 1];
	struct rtq_node *n = &rt->node[i], old = *n;

	n->pre = l->pre == half ? half + r->pre : l->pre;
	n->suf = r->suf == half ? half + l->suf : r->suf;
	n->max = max3(l->max, r->max, l->suf + r->pre);

	return n->pre != old.pre || n->suf != old.suf || n->max != old.max;
}

/* Bring the tree up to date with the bitmap. */
static void rtq_sync(struct rtq *rt)
{
	u32 i, half;

	if (rt->stale == NO_LEAF)
		return;
	rtq_sum_leaf(rt, rt->stale);
	i = (rt->nr_leaves + rt->stale) / 2;
	for (half = LEAF_PAGES; i && rtq_sum_node(rt, i, half); half *= 2)
		i /= 2;
	rt->stale = NO_LEAF;
}

static void rtq_set_word(struct rtq *rt, u32 w, unsigned long mask, bool free)
{
	WRITE_ONCE(rt->map[w], free ? rt->map[w] | mask : rt->map[w] & ~mask);
}

/* Make the pages [@pgoff, @end) free or taken. */
static void rtq_set(struct rtq *rt, u32 pgoff, u32 end, bool free)
{
	u32 first = pgoff / LEAF_PAGES, last = (end - 1) / LEAF_PAGES;
	u32 w = pgoff / BITS_PER_LONG, last_w = (end - 1) / BITS_PER_LONG;
	u32 run = free ? LEAF_PAGES : 0, half, i;

	if (free)
		rt->low = min(rt->low, first);
	if (first != last || first != rt->stale)
		rtq_sync(rt);

	rtq_set_word(rt, w, rtq_mask(w, pgoff, end), free);
	if (w != last_w) {
		memset(rt->map + w + 1, free ? 0xff : 0, (last_w - w - 1) * sizeof(*rt->map));
		rtq_set_word(rt, last_w, rtq_mask(last_w, pgoff, end), free);
	}
	if (first == last) {
		rt->stale = first;
		return;
	}

	rtq_sum_leaf(rt, first);
	rtq_sum_leaf(rt, last);
	for (i = first + 1; i < last; i++)
		rt->node[rt->nr_leaves + i] = (struct rtq_node){ run, run, run };
	first += rt->nr_leaves;
	last += rt->nr_leaves;
	for (half = LEAF_PAGES; first > 1; half *= 2) {
		first /= 2;
		last /= 2;
		for (i = first; i <= last; i++)
			rtq_sum_node(rt, i, half);
	}
}

/* Number of free pages in [@pgoff, @end). */
static u32 rtq_count(const struct rtq *rt, u32 pgoff, u32 end)
{
	u32 cnt = 0, w;

	for (w = pgoff / BITS_PER_LONG; w <= (end - 1) / BITS_PER_LONG; w++)
		cnt += hweight_long(rt->map[w] & rtq_mask(w, pgoff, end));

	return cnt;
}

/* The lowest run of @cnt free pages in a leaf that has one. */
static u32 rtq_find_in_leaf(const struct rtq *rt, u32 leaf, u32 cnt)
{
	u32 pos = leaf * LEAF_PAGES, end = pos + LEAF_PAGES, start;

	for (;;) {
		unsigned long word = rt->map[pos / BITS_PER_LONG] >> (pos % BITS_PER_LONG);

		if (!word) {
			pos = (pos / BITS_PER_LONG + 1) * BITS_PER_LONG;
			continue;
		}
		pos += __ffs(word);
		start = pos;
		while (pos < end) {
			u32 left = BITS_PER_LONG - pos % BITS_PER_LONG, ones;

			word = ~(rt->map[pos / BITS_PER_LONG] >> (pos % BITS_PER_LONG));
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
static long rtq_find(const struct rtq *rt, u32 cnt)
{
	u32 i = 1, start = 0, len = rt->nr_leaves * LEAF_PAGES;

	if (rt->node[1].max < cnt)
		return -ENOSPC;
	while (i < rt->nr_leaves) {
		const struct rtq_node *l = &rt->node[2 * i], *r = &rt->node[2 * i + 1];

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

	return rtq_find_in_leaf(rt, i - rt->nr_leaves, cnt);
}

/* The lowest free page, or -ENOSPC. */
static long rtq_find_one(struct rtq *rt)
{
	u32 w = rt->low * LEAF_WORDS, end = w + LEAF_WORDS;
	long pgoff;

	if (!rt->nr_free)
		return -ENOSPC;
	for (; w < end; w++)
		if (rt->map[w])
			return w * BITS_PER_LONG + __ffs(rt->map[w]);

	rtq_sync(rt);
	pgoff = rtq_find(rt, 1);
	rt->low = pgoff / LEAF_PAGES;

	return pgoff;
}

/**
 * rtq_alloc() - take the lowest pages that fit
 * @rt: the range
 * @cnt: number of pages
 *
 * Context: any. Takes the lock.
 * Return: the first page; -EINVAL if @cnt is 0; -ENOSPC if there is no free run
 * that long; -EDEADLK or -ETIMEDOUT if the lock cannot be had.
 */
long rtq_alloc(struct rtq *rt, u32 cnt)
{
	unsigned long flags;
	long ret;

	if (!cnt)
		return -EINVAL;
	ret = anl_lock_irqsave(&rt->lock, &flags);
	if (ret)
		return ret;

	if (cnt == 1) {
		ret = rtq_find_one(rt);
	} else {
		rtq_sync(rt);
		ret = rtq_find(rt, cnt);
	}
	if (ret >= 0) {
		rtq_set(rt, ret, ret + cnt, false);
		WRITE_ONCE(rt->nr_free, rt->nr_free - cnt);
	}
	anl_unlock_irqrestore(&rt->lock, flags);

	return ret;
}

static bool rtq_valid(const struct rtq *rt, u32 pgoff, u32 cnt)
{
	return cnt && pgoff < rt->nr_pages && cnt <= rt->nr_pages - pgoff;
}

/**
 * rtq_claim() - take certain pages
 * @rt: the range
 * @pgoff: first page
 * @cnt: number of pages
 *
 * Context: any. Takes the lock.
 * Return: 0; -EBUSY if one of them is taken, and nothing has changed; -EINVAL if
 * they are not all in the range, or @cnt is 0; -EDEADLK or -ETIMEDOUT if the lock
 * cannot be had.
 */
int rtq_claim(struct rtq *rt, u32 pgoff, u32 cnt)
{
	unsigned long flags;
	int ret;

	if (!rtq_valid(rt, pgoff, cnt))
		return -EINVAL;
	ret = anl_lock_irqsave(&rt->lock, &flags);
	if (ret)
		return ret;

	if (rtq_count(rt, pgoff, pgoff + cnt) == cnt) {
		rtq_set(rt, pgoff, pgoff + cnt, false);
		WRITE_ONCE(rt->nr_free, rt->nr_free - cnt);
	} else {
		ret = -EBUSY;
	}
	anl_unlock_irqrestore(&rt->lock, flags);

	return ret;
}

/**
 * rtq_release() - make pages free
 * @rt: the range
 * @pgoff: first page
 * @cnt: number of pages; those that are free already stay free
 *
 * Context: any. Takes the lock.
 * Return: 0; -EINVAL if they are not all in the range, or @cnt is 0; -EDEADLK or
 * -ETIMEDOUT if the lock cannot be had.
 */
int rtq_release(struct rtq *rt, u32 pgoff, u32 cnt)
{
	unsigned long flags;
	u32 was_free;
	int ret;

	if (!rtq_valid(rt, pgoff, cnt))
		return -EINVAL;
	ret = anl_lock_irqsave(&rt->lock, &flags);
	if (ret)
		return ret;

	was_free = rtq_count(rt, pgoff, pgoff + cnt);
	rtq_set(rt, pgoff, pgoff + cnt, true);
	WRITE_ONCE(rt->nr_free, rt->nr_free + cnt - was_free);
	anl_unlock_irqrestore(&rt->lock, flags);

	return 0;
}

/**
 * rtq_nr_free() - how many pages are free
 * @rt: the range
 *
 * Context: any, no lock; a moment later it may be different.
 */
u32 rtq_nr_free(const struct rtq *rt)
{
	return READ_ONCE(rt->nr_free);
}

/**
 * rtq_is_free() - is a page free?
 * @rt: the range
 * @pgoff: the page
 *
 * Context: any, no lock; a moment later it may be different.
 */
bool rtq_is_free(const struct rtq *rt, u32 pgoff)
{
	return pgoff < rt->nr_pages &&
	       READ_ONCE(rt->map[pgoff / BITS_PER_LONG]) >> (pgoff % BITS_PER_LONG) & 1;
}

#if !defined(__KERNEL__) || defined(ANL_DEBUG)
/**
 * rtq_check() - do the tree and the bitmap agree?
 * @rt: the range; nobody else uses it meanwhile
 *
 * Counts runs page by page for each node, so it is slow.
 */
bool rtq_check(struct rtq *rt)
{
	u32 total = rt->nr_leaves * LEAF_PAGES, i, len, first, p, nr_free = 0;

	for (p = 0; p < total; p++) {
		bool bit = rt->map[p / BITS_PER_LONG] >> (p % BITS_PER_LONG) & 1;

		if (bit && (p >= rt->nr_pages || p < rt->low * LEAF_PAGES))
			return false;
		nr_free += bit;
	}
	if (nr_free != rt->nr_free)
		return false;

	rtq_sync(rt);
	for (i = 1, len = total, first = 1; i < 2 * rt->nr_leaves; i++) {
		u32 start, pre = 0, run = 0, longest = 0;
		bool unbroken = true;

		if (i == 2 * first) {
			first = i;
			len /= 2;
		}
		start = (i - first) * len;
		for (p = start; p < start + len; p++) {
			if (rt->map[p / BITS_PER_LONG] >> (p % BITS_PER_LONG) & 1) {
				run++;
			} else {
				run = 0;
				unbroken = false;
			}
			if (unbroken)
				pre = run;
			longest = max(longest, run);
		}
		if (rt->node[i].pre != pre || rt->node[i].suf != run ||
		    rt->node[i].max != longest)
			return false;
	}

	return true;
}
#endif
