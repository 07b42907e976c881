/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_MODEL_H
#define ANL_MODEL_H

#include "range_tree_rqs.h"
#include "tree_check.h"

/* A range under test, and one byte per page that says what it should be. */
struct pair {
	struct anl_tree rt;
	void *mem;
	unsigned char *free;	/* 1 if free */
	u32 nr_pages;
	u32 nr_free;
};

void pair_init(struct pair *p, u32 nr_pages);
void pair_exit(struct pair *p);

/* Do it to both. NULL, or what is wrong with the answer; valid until the next call. */
const char *pair_alloc(struct pair *p, u32 cnt, long *ret);
const char *pair_alloc_word(struct pair *p, long *ret);
const char *pair_claim(struct pair *p, u32 pgoff, u32 cnt, int *ret);
const char *pair_release(struct pair *p, u32 pgoff, u32 cnt, int *ret);

/* Compare everything, page by page. NULL, or the difference. */
const char *pair_compare(struct pair *p);

#endif
