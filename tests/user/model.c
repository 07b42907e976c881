// SPDX-License-Identifier: GPL-2.0
/*
 * The naive model of an address range: an array of bytes and a search from its
 * beginning. Every operation is done to the range under test and to the model,
 * and the answers are compared.
 */
#include <stdio.h>
#include <stdlib.h>

#include "model.h"

int shim_lock_err;
unsigned long shim_locked;

static char message[256];

#define WRONG(...) (snprintf(message, sizeof(message), __VA_ARGS__), message)

static void *need(void *ptr)
{
	if (!ptr) {
		perror("tests/user");
		exit(2);
	}

	return ptr;
}

/* The blocks have exactly the promised size, so that ASan sees each overrun. */
void pair_init(struct pair *p, u32 nr_pages)
{
	p->nr_pages = nr_pages;
	p->nr_free = 0;
	p->mem = need(calloc(1, anl_tree_mem_size(nr_pages)));
	p->free = need(calloc(1, nr_pages));
	anl_tree_init(&p->rt, p->mem, nr_pages);
}

void pair_exit(struct pair *p)
{
	free(p->mem);
	free(p->free);
}

/* First page of the lowest run of @cnt free pages, or -ENOSPC. */
static long lowest(const struct pair *p, u32 cnt)
{
	const unsigned char *end = p->free + p->nr_pages, *from = p->free, *to;

	while (from < end && (from = memchr(from, 1, end - from))) {
		to = memchr(from, 0, end - from);
		if (!to)
			to = end;
		if (to - from >= (long)cnt)
			return from - p->free;
		from = to;
	}

	return -ENOSPC;
}

static bool inside(const struct pair *p, u32 pgoff, u32 cnt)
{
	return cnt && (u64)pgoff + cnt <= p->nr_pages;
}

static u32 count(const struct pair *p, u32 pgoff, u32 cnt)
{
	u32 sum = 0, i;

	for (i = pgoff; i < pgoff + cnt; i++)
		sum += p->free[i];

	return sum;
}

/* What every operation must leave true, as far as that is quick to see. */
static const char *compare_some(const struct pair *p, const char *op, u32 pgoff, u32 cnt)
{
	u32 i;

	if (p->rt.lock.held)
		return WRONG("%s left the lock held", op);
	if (anl_tree_nr_free(&p->rt) != p->nr_free)
		return WRONG("%u pages: after %s of %u + %u, %u free instead of %u",
			     p->nr_pages, op, pgoff, cnt, anl_tree_nr_free(&p->rt), p->nr_free);
	if (!inside(p, pgoff, cnt))
		return NULL;
	/* The pages at both ends and their neighbours. */
	for (i = pgoff ? pgoff - 1 : 0; i <= pgoff + cnt; i++) {
		if (i == pgoff + 2 && cnt > 4)
			i = pgoff + cnt - 1;
		if (i < p->nr_pages && anl_tree_is_free(&p->rt, i) != p->free[i])
			return WRONG("%u pages: after %s of %u + %u, page %u is %s", p->nr_pages,
				     op, pgoff, cnt, i, p->free[i] ? "taken" : "free");
	}

	return NULL;
}

const char *pair_alloc(struct pair *p, u32 cnt, long *ret)
{
	long want = cnt ? lowest(p, cnt) : -EINVAL;

	*ret = anl_tree_alloc(&p->rt, cnt);
	if (*ret != want)
		return WRONG("%u pages: alloc of %u gave %ld instead of %ld", p->nr_pages, cnt,
			     *ret, want);
	if (want < 0)
		return compare_some(p, "alloc", 0, 0);
	memset(p->free + want, 0, cnt);
	p->nr_free -= cnt;

	return compare_some(p, "alloc", want, cnt);
}

const char *pair_alloc_word(struct pair *p, long *ret)
{
	long want = lowest(p, 1);
	unsigned long pages = 0;
	u32 first, i;

	*ret = anl_tree_alloc_word_locked(&p->rt, &pages);
	if (*ret != want)
		return WRONG("%u pages: alloc_word gave %ld instead of %ld", p->nr_pages, *ret,
			     want);
	if (want < 0)
		return compare_some(p, "alloc_word", 0, 0);
	first = want / BITS_PER_LONG * BITS_PER_LONG;
	for (i = first; i < first + BITS_PER_LONG; i++) {
		bool is_free = i < p->nr_pages && p->free[i];

		if ((pages >> (i - first) & 1) != is_free)
			return WRONG("%u pages: alloc_word says that page %u was %s", p->nr_pages,
				     i, is_free ? "taken" : "free");
		if (!is_free)
			continue;
		p->free[i] = 0;
		p->nr_free--;
	}

	return compare_some(p, "alloc_word", want, 1);
}

const char *pair_claim(struct pair *p, u32 pgoff, u32 cnt, int *ret)
{
	int want = 0;

	if (!inside(p, pgoff, cnt))
		want = -EINVAL;
	else if (memchr(p->free + pgoff, 0, cnt))
		want = -EBUSY;

	*ret = anl_tree_claim(&p->rt, pgoff, cnt);
	if (*ret != want)
		return WRONG("%u pages: claim of %u + %u gave %d instead of %d", p->nr_pages,
			     pgoff, cnt, *ret, want);
	if (!want) {
		memset(p->free + pgoff, 0, cnt);
		p->nr_free -= cnt;
	}

	return compare_some(p, "claim", pgoff, cnt);
}

const char *pair_release(struct pair *p, u32 pgoff, u32 cnt, int *ret)
{
	int want = inside(p, pgoff, cnt) ? 0 : -EINVAL;

	*ret = anl_tree_release(&p->rt, pgoff, cnt);
	if (*ret != want)
		return WRONG("%u pages: release of %u + %u gave %d instead of %d", p->nr_pages,
			     pgoff, cnt, *ret, want);
	if (!want) {
		p->nr_free += cnt - count(p, pgoff, cnt);
		memset(p->free + pgoff, 1, cnt);
	}

	return compare_some(p, "release", pgoff, cnt);
}

const char *pair_compare(struct pair *p)
{
	u32 i;

	for (i = 0; i < p->nr_pages; i++)
		if (anl_tree_is_free(&p->rt, i) != p->free[i])
			return WRONG("%u pages: page %u is %s", p->nr_pages, i,
				     p->free[i] ? "taken" : "free");
	if (anl_tree_is_free(&p->rt, p->nr_pages) || anl_tree_is_free(&p->rt, UINT32_MAX))
		return WRONG("%u pages: a page outside is free", p->nr_pages);
	if (!anl_tree_check(&p->rt))
		return WRONG("%u pages: tree and bitmap disagree", p->nr_pages);

	return NULL;
}
