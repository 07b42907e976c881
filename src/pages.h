/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_PAGES_H
#define ANL_PAGES_H

#include <linux/page-flags.h>
#include <linux/types.h>

#include "arena.h"

struct list_head;
struct page;

int anl_pool_nr(const struct anl_arena *arena);
int anl_get_pages(struct anl_arena *arena, u32 cnt, int nid, struct list_head *pages);
void anl_unget_pages(struct anl_arena *arena, struct list_head *pages);

/* For anl_get_page() */
struct page *anl_get_page_counted(struct anl_arena *arena, int nid);
struct page *anl_get_page_slow(struct anl_arena *arena, int nid);

/**
 * anl_get_page() - a page from the pool, if it has one to spare
 * @arena: the arena
 * @nid: the node that it must be of, or NUMA_NO_NODE for the caller's own
 *
 * Context: any.
 * Return: a zeroed, charged page, or NULL.
 */
static inline struct page *anl_get_page(struct anl_arena *arena, int nid)
{
	struct anl_pool *pool = &arena->pool;
	struct page *page;

	/* Each CPU has credit for pages of one node. */
	nid = anl_mem_node(nid);
	if (static_branch_unlikely(&anl_numa) && nid != raw_cpu_read(pool->cpu->nid))
		return anl_get_page_counted(arena, nid);

	if (this_cpu_dec_return(pool->cpu->credit) >= 0) {
		page = anl_pool_pop_word(pool, anl_pool_node(pool, nid),
					 raw_cpu_read(pool->cpu->word));
		if (likely(page && !PageHWPoison(page)))
			return page;
		if (page) {
			anl_pool_discard(arena, page);
			return NULL;
		}
	}
	this_cpu_inc(pool->cpu->credit);

	return anl_get_page_slow(arena, nid);
}

#endif
