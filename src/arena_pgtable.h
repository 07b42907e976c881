/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_ARENA_PGTABLE_H
#define ANL_ARENA_PGTABLE_H

#include <linux/atomic.h>
#include <linux/cache.h>
#include <linux/list.h>
#include <linux/mm_types.h>
#include <linux/percpu.h>
#include <linux/types.h>

struct anl_arena;
struct anl_span;

/**
 * struct anl_pgtable - the kernel's page tables of an arena
 * @tables: the PTE tables; constant after adoption
 * @scratch: page that the kernel maps after a fault of its own, or NULL
 * @populated: slots that hold a page, as far as @nr_populated does not count them, by CPU
 * @batch: absolute value at which a CPU passes on what is in @populated
 * @nr_populated: slots that hold a page, but for those in @populated
 */
struct anl_pgtable {
	pte_t **tables;
	struct page *scratch;
	long __percpu *populated;
	long batch;
	atomic_long_t nr_populated ____cacheline_aligned_in_smp;
};

/* Can user space reach the page of a slot that is not live? */
enum anl_users {
	ANL_USERS_NONE,		/* no, and no fault will change that */
	ANL_USERS_MAPPED,	/* yes */
	ANL_USERS_COMING,	/* a fault is about to map the page, or to back off */
};

/* What anl_unmap_spans() found. */
struct anl_unmapped {
	struct list_head pages;	/* the pages, linked through page->lru */
	u32 nr_pages;
};

void anl_populated_pass_on(struct anl_pgtable *pgtable, long nr);

/**
 * anl_populated() - count pages that were mapped, or unmapped
 * @pgtable: of the arena
 * @nr: how many were mapped, or minus how many were unmapped
 *
 * A CPU counts by itself, and passes on what it has when that is much.
 *
 * Context: any.
 */
static inline void anl_populated(struct anl_pgtable *pgtable, long nr)
{
	nr = this_cpu_add_return(*pgtable->populated, nr);
	if (unlikely(abs(nr) >= pgtable->batch))
		anl_populated_pass_on(pgtable, nr);
}

int anl_pgtable_init(struct anl_arena *arena);
void anl_pgtable_exit(struct anl_arena *arena);
long anl_nr_populated(const struct anl_arena *arena);
long anl_nr_populated_rough(const struct anl_arena *arena);
long anl_nr_populated_error(const struct anl_arena *arena);
struct page *anl_pte_page(const struct anl_arena *arena, u32 pgoff);
u32 anl_next_pte(const struct anl_arena *arena, u32 pgoff, u32 end);
int anl_map_page(struct anl_arena *arena, u32 pgoff, struct page *page);
u32 anl_map_pages(struct anl_arena *arena, u32 pgoff, u32 cnt, struct list_head *pages);
u32 anl_map_block(struct anl_arena *arena, u32 pgoff, struct page *page, u32 cnt);
int anl_keep_stray(struct anl_arena *arena, u32 pgoff);
enum anl_users anl_slot_users(const struct anl_arena *arena, u32 pgoff);
struct page *anl_reusable_page(const struct anl_arena *arena, u32 pgoff, int nid);
u32 anl_next_mapped(const struct anl_arena *arena, u32 pgoff, u32 end);
int anl_unmap_page(struct anl_arena *arena, u32 pgoff, struct page **page);
void anl_unmap_spans(struct anl_arena *arena, const struct anl_span *spans, u32 nr,
		     struct anl_unmapped *unmapped);
void anl_put_pages(struct list_head *pages);

#endif
