// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's page tables of an arena.
 *
 * Adoption fills in all levels for exactly the arena's own range, and keeps a
 * pointer to each PTE table. From then on setting and clearing a PTE is one
 * store: no walk from the top, no allocation, no lock, in any context.
 *
 * Ownership: a PTE is written by whoever owns its slot (see arena.h). Nobody
 * else writes it, with one exception: after a fault of its own inside an
 * arena, a 7.x kernel puts its scratch page into an empty PTE, from any
 * context and without a lock. So an empty PTE is filled with a compare and
 * exchange, and a scratch page found in the way is removed by callers that can
 * flush TLBs. The scratch page belongs to the stock arena and is never freed
 * here. Non-present PTEs other than none are never left behind: the kernel's
 * fault handler would retry on them for ever.
 *
 * Any other page found in a slot that the tree has free is a bug of the module or of
 * the kernel: a page that the arena does not know. It is reported and kept, as if the
 * slot had been allocated before (anl_keep_stray()), since its owner still uses it.
 */
#define pr_fmt(fmt) "arena_nolock: " fmt

#include <linux/mm.h>
#include <linux/sched/signal.h>

#include "arena.h"
#include "compat.h"

static pte_t *anl_pte(const struct anl_arena *arena, u32 pgoff)
{
	unsigned long addr = anl_kaddr(arena, pgoff);
	unsigned long table = (addr >> PMD_SHIFT) - (arena->kern_start >> PMD_SHIFT);

	return arena->pgtable.tables[table] + pte_index(addr);
}

/* How many of @cnt slots from @pgoff on have their PTE in one table. */
static u32 anl_left_in_table(const struct anl_arena *arena, u32 pgoff, u32 cnt)
{
	return min(cnt, (u32)(PTRS_PER_PTE - pte_index(anl_kaddr(arena, pgoff))));
}

static int anl_prefill_pte(pte_t *ptep, unsigned long addr, void *data)
{
	struct anl_arena *arena = data;
	unsigned long table = (addr >> PMD_SHIFT) - (arena->kern_start >> PMD_SHIFT);

	arena->pgtable.tables[table] = ptep - pte_index(addr);

	return 0;
}

/*
 * Build the page tables of the arena's own range. 0, -ENOMEM, or -EINTR if the task is being
 * killed.
 *
 * PTEs that exist already keep their pages. What was built stays with the
 * vmalloc range for good, as the kernel never frees kernel page tables, so
 * there is nothing to undo when adoption fails later.
 */
static int anl_pgtable_prefill(struct anl_arena *arena)
{
	unsigned long addr = arena->kern_start;
	unsigned long end = anl_kaddr(arena, arena->nr_slots);
	int err;

	/* One PTE of each table is enough to have the table built. */
	for (; addr < end; addr = ALIGN(addr + 1, PMD_SIZE)) {
		/* A task that the OOM killer has chosen would take reserves for them. */
		if (fatal_signal_pending(current))
			return -EINTR;
		err = apply_to_page_range(anl_init_mm, addr, PAGE_SIZE, anl_prefill_pte, arena);
		if (err)
			return err;
		cond_resched();
	}

	return 0;
}

/**
 * anl_pgtable_init() - build the page tables of the arena
 * @arena: the arena; its addresses and sizes are known
 *
 * Context: process context, may sleep.
 * Return: 0, or -ENOMEM or -EINTR with the rest left to anl_pgtable_exit().
 */
int anl_pgtable_init(struct anl_arena *arena)
{
	unsigned long first = arena->kern_start >> PMD_SHIFT;
	unsigned long last = (anl_kaddr(arena, arena->nr_slots) - 1) >> PMD_SHIFT;

	arena->pgtable.tables = anl_zalloc(arena, (last - first + 1) *
					   sizeof(*arena->pgtable.tables));
	if (!arena->pgtable.tables)
		return -ENOMEM;

	return anl_pgtable_prefill(arena);
}

/* Undo anl_pgtable_init(), or the part of it that succeeded. The kernel keeps the tables. */
void anl_pgtable_exit(struct anl_arena *arena)
{
	kvfree(arena->pgtable.tables);
}

/**
 * anl_pte_page() - the page mapped at a slot
 * @arena: the arena
 * @pgoff: the slot
 *
 * Context: any. The answer holds as long as the caller keeps the slot from
 * being retired.
 * Return: the page, or NULL if the PTE is empty or holds the scratch page.
 */
struct page *anl_pte_page(const struct anl_arena *arena, u32 pgoff)
{
	pte_t pte = ptep_get(anl_pte(arena, pgoff));
	struct page *page;

	if (!pte_present(pte))
		return NULL;
	page = pte_page(pte);

	return page == arena->pgtable.scratch ? NULL : page;
}

/**
 * anl_slot_users() - can user space reach the page of a slot?
 * @arena: the arena
 * @pgoff: a slot that the caller has made not live, or taken from the queue
 *
 * The kernel counts the user PTEs of a page in its mapcount. A fault holds the lock of
 * the page while it sees that the slot is live and sets the PTE.
 *
 * Context: any.
 * Return: ANL_USERS_NONE is final. The other two may change at any time.
 */
enum anl_users anl_slot_users(const struct anl_arena *arena, u32 pgoff)
{
	struct page *page = anl_pte_page(arena, pgoff);

	if (!page)
		return ANL_USERS_NONE;
	/* The atomic that took the slot's bit pairs with smp_mb() in anl_fault_live(). */
	if (PageLocked(page))
		return ANL_USERS_COMING;
	/* Pairs with unlock_page() in anl_fault_live(): its PTE has been counted. */
	smp_rmb();

	return folio_mapped(page_folio(page)) ? ANL_USERS_MAPPED : ANL_USERS_NONE;
}

/**
 * anl_keep_stray() - is a page in a claimed slot that the arena does not know?
 * @arena: the arena
 * @pgoff: a slot that the caller has claimed, and has mapped nothing at
 *
 * If so, the slot becomes a live one with that page, and is the caller's no more. A
 * free of its address frees it.
 *
 * Context: any.
 * Return: 0, or -ENOENT if there is no such page.
 */
int anl_keep_stray(struct anl_arena *arena, u32 pgoff)
{
	if (!anl_pte_page(arena, pgoff))
		return -ENOENT;
	pr_err_ratelimited("map %u: page %u was free, but something else is mapped there; it is left alone. Please report this\n",
			   arena->id, pgoff);
	atomic_long_inc(&arena->pgtable.nr_populated);
	anl_slots_set_live(&arena->slots, pgoff, 1);

	return 0;
}

/**
 * anl_next_pte() - find the next slot whose PTE is not empty
 * @arena: the arena
 * @pgoff: where to start
 * @end: where to stop
 *
 * Context: process context, may sleep.
 * Return: the slot, or @end.
 */
u32 anl_next_pte(const struct anl_arena *arena, u32 pgoff, u32 end)
{
	while (pgoff < end) {
		const pte_t *ptep = anl_pte(arena, pgoff);
		u32 left = anl_left_in_table(arena, pgoff, end - pgoff);
		const void *found = memchr_inv(ptep, 0, left * sizeof(*ptep));

		if (found)
			return pgoff + (found - (const void *)ptep) / sizeof(*ptep);
		pgoff += left;
		cond_resched();
	}

	return end;
}

/**
 * anl_map_page() - map a page at a slot that the caller has claimed
 * @arena: the arena
 * @pgoff: the slot
 * @page: the page
 *
 * Context: any. No translation of an empty PTE is ever cached, so there is
 * nothing to flush.
 * Return: 0, or -EEXIST if the slot holds the scratch page, or one that the arena does not know.
 */
int anl_map_page(struct anl_arena *arena, u32 pgoff, struct page *page)
{
	unsigned long addr = anl_kaddr(arena, pgoff);

	if (!anl_pte_try_set(anl_pte(arena, pgoff), mk_pte(page, PAGE_KERNEL)))
		return -EEXIST;
	flush_cache_vmap(addr, addr + PAGE_SIZE);
	atomic_long_inc(&arena->pgtable.nr_populated);

	return 0;
}

/**
 * anl_map_pages() - map pages at slots that the caller has claimed
 * @arena: the arena
 * @pgoff: first slot
 * @cnt: number of slots
 * @pages: pages linked through page->lru; those that were mapped are taken off
 *
 * Context: any.
 * Return: number of slots mapped. Less than @cnt means that the next one holds
 * the scratch page, or one that the arena does not know.
 */
u32 anl_map_pages(struct anl_arena *arena, u32 pgoff, u32 cnt, struct list_head *pages)
{
	u32 i;

	for (i = 0; i < cnt; i++) {
		struct page *page = list_first_entry(pages, struct page, lru);

		if (!anl_pte_try_set(anl_pte(arena, pgoff + i), mk_pte(page, PAGE_KERNEL)))
			break;
		list_del(&page->lru);
	}
	flush_cache_vmap(anl_kaddr(arena, pgoff), anl_kaddr(arena, pgoff + i));
	atomic_long_add(i, &arena->pgtable.nr_populated);

	return i;
}

/*
 * Remove the kernel's scratch page from an empty slot. -EEXIST if it is another page.
 * Process context, interrupts on.
 */
static int anl_clear_scratch(const struct anl_arena *arena, u32 pgoff)
{
	unsigned long addr = anl_kaddr(arena, pgoff);

	if (anl_pte_page(arena, pgoff))
		return -EEXIST;
	pte_clear(anl_init_mm, addr, anl_pte(arena, pgoff));
	anl_flush_tlb_kernel_range(addr, addr + PAGE_SIZE);

	return 0;
}

/**
 * anl_map_block() - map adjacent pages, removing scratch pages on the way
 * @arena: the arena
 * @pgoff: first slot; the caller has claimed it and the others
 * @page: first page
 * @cnt: number of pages and slots
 *
 * Context: process context, interrupts on.
 * Return: number of slots mapped. Less than @cnt means that the next one held a page
 * that the arena does not know, and is not the caller's any more.
 */
u32 anl_map_block(struct anl_arena *arena, u32 pgoff, struct page *page, u32 cnt)
{
	u32 i;

	for (i = 0; i < cnt; i++) {
		pte_t *ptep = anl_pte(arena, pgoff + i), pte = mk_pte(page + i, PAGE_KERNEL);

		while (!anl_pte_try_set(ptep, pte))
			if (anl_clear_scratch(arena, pgoff + i) &&
			    !anl_keep_stray(arena, pgoff + i))
				goto out;
	}
out:
	flush_cache_vmap(anl_kaddr(arena, pgoff), anl_kaddr(arena, pgoff + i));
	atomic_long_add(i, &arena->pgtable.nr_populated);

	return i;
}

/* Clear the PTEs of @cnt slots in one table. True if there were any to clear. */
static bool anl_unmap_ptes(struct anl_arena *arena, u32 pgoff, u32 cnt,
			   struct anl_unmapped *unmapped)
{
	pte_t *ptep = anl_pte(arena, pgoff), *end = ptep + cnt;
	unsigned long addr = anl_kaddr(arena, pgoff);
	bool any = false;

	for (; ptep < end; ptep++, addr += PAGE_SIZE) {
		pte_t pte = ptep_get(ptep);
		struct page *page;

		if (pte_none(pte))
			continue;
		/* Nobody else writes a PTE that is not empty, so this needs no exchange. */
		pte_clear(anl_init_mm, addr, ptep);
		any = true;
		page = pte_page(pte);
		if (page == arena->pgtable.scratch)
			continue;
		list_add_tail(&page->lru, &unmapped->pages);
		unmapped->nr_pages++;
	}

	return any;
}

/**
 * anl_unmap_spans() - take retiring slots out of the kernel's page tables
 * @arena: the arena
 * @spans: runs of slots that the caller owns
 * @nr: number of runs
 * @unmapped: what was found; on return no CPU can reach the pages through the
 *	kernel's mapping any more
 *
 * One TLB flush for all of them.
 *
 * Context: process context, interrupts on.
 */
void anl_unmap_spans(struct anl_arena *arena, const struct anl_span *spans, u32 nr,
		     struct anl_unmapped *unmapped)
{
	unsigned long start = ULONG_MAX, end = 0;
	u32 i;

	INIT_LIST_HEAD(&unmapped->pages);
	unmapped->nr_pages = 0;

	for (i = 0; i < nr; i++) {
		u32 pgoff = spans[i].pgoff, left = spans[i].cnt, n;

		for (; left; pgoff += n, left -= n) {
			n = anl_left_in_table(arena, pgoff, left);
			if (!anl_unmap_ptes(arena, pgoff, n, unmapped))
				continue;
			start = min(start, anl_kaddr(arena, pgoff));
			end = max(end, anl_kaddr(arena, pgoff + n));
			cond_resched();
		}
	}
	if (start < end)
		anl_flush_tlb_kernel_range(start, end);
	atomic_long_sub(unmapped->nr_pages, &arena->pgtable.nr_populated);
}

/**
 * anl_put_pages() - drop the arena's reference on a list of pages
 * @pages: pages linked through page->lru
 *
 * __free_page() keeps pages with memory errors away from the free lists.
 *
 * Context: process context, interrupts on.
 */
void anl_put_pages(struct list_head *pages)
{
	struct page *page, *tmp;
	u32 n = 0;

	list_for_each_entry_safe(page, tmp, pages, lru) {
		__free_page(page);
		if (!(++n % 64))
			cond_resched();
	}
	INIT_LIST_HEAD(pages);
}
