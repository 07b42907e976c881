// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's page tables of an arena.
 *
 * Adoption builds all levels for exactly the arena's range, and stores a pointer to each
 * PTE table. After that, setting or clearing a PTE is one store, in any context: without
 * a page table walk, an allocation or a lock.
 *
 * Owns: the PTEs of the arena. The owner of a slot (see slots.h) is the only writer of
 * its PTE, with one exception. When kernel code faults inside an arena, a 7.x kernel puts
 * its scratch page into the empty PTE, in any context and without a lock. So an empty PTE
 * is filled with compare-and-exchange. A caller that can flush TLBs removes a scratch
 * page that is in its way. The scratch page belongs to the stock arena and is never freed
 * here. A PTE is either none or present, since the kernel's fault handler would retry
 * forever on any other.
 *
 * Any other page in a slot that is free in the tree is a bug of the module or of the
 * kernel. anl_keep_stray() reports the page and keeps it as allocated, since it may be in
 * use.
 */
#define pr_fmt(fmt) "arena_nolock: " fmt

#include <linux/mm.h>
#include <linux/sched/signal.h>

#include "arena.h"
#include "compat.h"

/*
 * What all CPUs have counted for themselves is at most so much, or a sixteenth of the
 * arena's size.
 */
#define ANL_POPULATED_BATCH 64U
#define ANL_POPULATED_SHARE 16U

/* Pages that are freed at once. */
#define ANL_PUT_BATCH 32U

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
 * Build the page tables of the arena's range.
 *
 * PTEs that exist keep their pages. The kernel never frees kernel page tables, so the
 * tables stay with the vmalloc range, and an adoption that fails later undoes nothing.
 *
 * Context: process context, may sleep.
 * Return: 0, -ENOMEM, or -EINTR if the task is being killed.
 */
static int anl_pgtable_prefill(struct anl_arena *arena)
{
	unsigned long addr = arena->kern_start;
	unsigned long end = anl_kaddr(arena, arena->nr_slots);
	int err;

	/* One PTE per table suffices to build the table. */
	for (; addr < end; addr = ALIGN(addr + 1, PMD_SIZE)) {
		/* For a victim of the OOM killer they would come from the emergency reserves. */
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
	arena->pgtable.populated = anl_zalloc_percpu(arena, sizeof(*arena->pgtable.populated));
	if (!arena->pgtable.tables || !arena->pgtable.populated)
		return -ENOMEM;
	arena->pgtable.batch = clamp(arena->nr_limit / (ANL_POPULATED_SHARE * nr_cpu_ids), 1U,
				     ANL_POPULATED_BATCH);

	return anl_pgtable_prefill(arena);
}

/* Undo anl_pgtable_init(), or the part of it that succeeded. The kernel keeps the tables. */
void anl_pgtable_exit(struct anl_arena *arena)
{
	kvfree(arena->pgtable.tables);
	free_percpu(arena->pgtable.populated);
}

/* The rest of anl_populated(): what the CPU has, @nr, is counted for all. Any context. */
void anl_populated_pass_on(struct anl_pgtable *pgtable, long nr)
{
	this_cpu_sub(*pgtable->populated, nr);
	atomic_long_add(nr, &pgtable->nr_populated);
}

/* Pages that the arena has, but for what anl_nr_populated_error() says. Any context. */
long anl_nr_populated_rough(const struct anl_arena *arena)
{
	return atomic_long_read(&arena->pgtable.nr_populated);
}

/* How many pages anl_nr_populated_rough() may be wrong by. Any context. */
long anl_nr_populated_error(const struct anl_arena *arena)
{
	return (arena->pgtable.batch - 1) * nr_cpu_ids;
}

/**
 * anl_nr_populated() - number of pages that the arena has
 * @arena: the arena
 *
 * Context: any. A sum over the time that it takes.
 */
long anl_nr_populated(const struct anl_arena *arena)
{
	long sum = anl_nr_populated_rough(arena);
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(*per_cpu_ptr(arena->pgtable.populated, cpu));

	return max(sum, 0L);
}

/* The page of a PTE, or NULL if it is empty or holds the scratch page. */
static __always_inline struct page *anl_page_of_pte(const struct anl_arena *arena, pte_t pte)
{
	struct page *page;

	if (!pte_present(pte))
		return NULL;
	page = pte_page(pte);

	return page == arena->pgtable.scratch ? NULL : page;
}

/**
 * anl_pte_page() - the page mapped at a slot
 * @arena: the arena
 * @pgoff: the slot
 *
 * Context: any. The result is valid as long as the caller prevents the retirement of
 * the slot.
 * Return: the page, or NULL if the PTE is empty or holds the scratch page.
 */
struct page *anl_pte_page(const struct anl_arena *arena, u32 pgoff)
{
	return anl_page_of_pte(arena, ptep_get(anl_pte(arena, pgoff)));
}

static __always_inline enum anl_users anl_page_users(struct page *page)
{
	/*
	 * The atomic in anl_slots_take_live() orders the cleared bit before this read. Pairs with
	 * smp_mb() in anl_fault_live(): we see the page locked, or the fault sees the bit.
	 */
	if (PageLocked(page))
		return ANL_USERS_COMING;
	/*
	 * Orders the read of PG_locked before that of the mapcount. Pairs with unlock_page()
	 * in anl_fault_live(), which follows the update of the mapcount.
	 */
	smp_rmb();

	return folio_mapped(page_folio(page)) ? ANL_USERS_MAPPED : ANL_USERS_NONE;
}

/**
 * anl_slot_users() - can user space reach the page of a slot?
 * @arena: the arena
 * @pgoff: a slot that the caller has made not live, or taken from the queue
 *
 * The kernel counts the user PTEs of a page in its mapcount. A fault holds the page lock
 * from before it checks that the slot is live until it has set the PTE.
 *
 * Context: any.
 * Return: ANL_USERS_NONE is final. The other two values may change at any time.
 */
enum anl_users anl_slot_users(const struct anl_arena *arena, u32 pgoff)
{
	struct page *page = anl_pte_page(arena, pgoff);

	return page ? anl_page_users(page) : ANL_USERS_NONE;
}

/**
 * anl_reusable_page() - the page of a dying slot, if the next owner of the slot can have it
 * @arena: the arena
 * @pgoff: the slot
 * @nid: the node that the page must be of; NUMA_NO_NODE on a machine with one
 *
 * The page has no memory error, user space cannot reach it, and nothing else holds it, such as
 * the kernel's own accesses to user memory.
 *
 * Context: any. A hint if the caller does not own the slot.
 * Return: the page, or NULL.
 */
struct page *anl_reusable_page(const struct anl_arena *arena, u32 pgoff, int nid)
{
	struct page *page = anl_page_of_pte(arena, ptep_get(anl_pte(arena, pgoff)));

	if (!page || PageHWPoison(page) || anl_page_users(page) != ANL_USERS_NONE ||
	    page_count(page) != 1)
		return NULL;
	if (static_branch_unlikely(&anl_numa) && page_to_nid(page) != nid)
		return NULL;

	return page;
}

/**
 * anl_next_mapped() - find the next slot whose page user space can reach
 * @arena: the arena
 * @pgoff: first slot to look at; see anl_slot_users()
 * @end: slot after the last one
 *
 * Context: process context, may sleep.
 * Return: the slot, or @end.
 */
u32 anl_next_mapped(const struct anl_arena *arena, u32 pgoff, u32 end)
{
	while (pgoff < end) {
		pte_t *ptep = anl_pte(arena, pgoff);
		u32 left = anl_left_in_table(arena, pgoff, end - pgoff);

		for (; left; left--, pgoff++) {
			struct page *page = anl_page_of_pte(arena, ptep_get(ptep++));

			if (page && anl_page_users(page) != ANL_USERS_NONE)
				return pgoff;
		}
		cond_resched();
	}

	return end;
}

/**
 * anl_keep_stray() - report and keep an unknown page in a claimed slot
 * @arena: the arena
 * @pgoff: a slot that the caller has claimed and has not filled
 *
 * If the slot has such a page, the slot becomes live and the caller no longer owns it. A
 * free of its address frees the page.
 *
 * Context: any.
 * Return: 0, or -ENOENT if there is no such page.
 */
int anl_keep_stray(struct anl_arena *arena, u32 pgoff)
{
	if (!anl_pte_page(arena, pgoff))
		return -ENOENT;
	pr_err_ratelimited("map %u: page %u is free, but something else is mapped there; it is kept as allocated. This is a bug of the module or of the kernel: please report it\n",
			   arena->id, pgoff);
	anl_populated(&arena->pgtable, 1);
	anl_slots_set_live(&arena->slots, pgoff, 1);

	return 0;
}

/**
 * anl_next_pte() - find the next slot whose PTE is not empty
 * @arena: the arena
 * @pgoff: first slot to look at
 * @end: slot after the last one
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
 * No TLB flush: CPUs do not cache translations of empty PTEs.
 *
 * Context: any.
 * Return: 0, or -EEXIST if the slot holds the scratch page or an unknown page.
 */
int anl_map_page(struct anl_arena *arena, u32 pgoff, struct page *page)
{
	unsigned long addr = anl_kaddr(arena, pgoff);

	if (!anl_pte_try_set(anl_pte(arena, pgoff), mk_pte(page, PAGE_KERNEL)))
		return -EEXIST;
	flush_cache_vmap(addr, addr + PAGE_SIZE);
	anl_populated(&arena->pgtable, 1);

	return 0;
}

/**
 * anl_map_pages() - map pages at slots that the caller has claimed
 * @arena: the arena
 * @pgoff: first slot
 * @cnt: number of slots
 * @pages: pages linked through page->lru; mapped pages are removed from the list
 *
 * Context: any.
 * Return: number of slots mapped. If less than @cnt, the next slot holds the scratch
 * page or an unknown page.
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
	anl_populated(&arena->pgtable, i);

	return i;
}

/*
 * Remove the kernel's scratch page from a claimed slot. -EEXIST if the slot holds another
 * page. Process context, interrupts on.
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
 * anl_map_block() - map adjacent pages, replacing scratch pages
 * @arena: the arena
 * @pgoff: first slot; the caller has claimed all of them
 * @page: first page
 * @cnt: number of pages and slots
 *
 * Context: process context, interrupts on.
 * Return: number of slots mapped. If less than @cnt, the next slot held an unknown page,
 * and the caller no longer owns it.
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
	anl_populated(&arena->pgtable, i);

	return i;
}

/* Clear the PTEs of @cnt slots in one table. Returns true if a PTE was not empty. */
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
		/* Only we write a PTE that is not empty, so no exchange is needed. */
		pte_clear(anl_init_mm, addr, ptep);
		any = true;
		page = anl_page_of_pte(arena, pte);
		if (!page)
			continue;
		list_add_tail(&page->lru, &unmapped->pages);
		unmapped->nr_pages++;
	}

	return any;
}

/**
 * anl_unmap_page() - remove a retiring slot from the kernel's page tables
 * @arena: the arena
 * @pgoff: the slot, which the caller owns
 * @page: gets the page of the slot, or NULL; on return no CPU can reach it through the kernel's
 *	mapping
 *
 * anl_slot_users(), and anl_unmap_spans() for one slot.
 *
 * Context: process context, interrupts on.
 * Return: 0, or -EBUSY if user space can reach the page.
 */
int anl_unmap_page(struct anl_arena *arena, u32 pgoff, struct page **page)
{
	unsigned long addr = anl_kaddr(arena, pgoff);
	pte_t *ptep = anl_pte(arena, pgoff), pte = ptep_get(ptep);
	struct page *old = anl_page_of_pte(arena, pte);

	if (old && anl_page_users(old) != ANL_USERS_NONE)
		return -EBUSY;
	*page = old;
	if (pte_none(pte))
		return 0;
	pte_clear(anl_init_mm, addr, ptep);
	anl_flush_tlb_kernel_range(addr, addr + PAGE_SIZE);
	if (old)
		anl_populated(&arena->pgtable, -1);

	return 0;
}

/**
 * anl_unmap_spans() - remove retiring slots from the kernel's page tables
 * @arena: the arena
 * @spans: spans of slots that the caller owns
 * @nr: number of spans
 * @unmapped: gets the pages of the slots; on return no CPU can reach them through the kernel's
 *	mapping
 *
 * Flushes the TLBs once for all spans.
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
	anl_populated(&arena->pgtable, -(long)unmapped->nr_pages);
}

/* How many of @nr pages, from the first on, are next to each other in memory. */
static u32 anl_run_of_pages(struct page **batch, u32 nr)
{
	u32 n = 1;

	while (n < nr && page_to_pfn(batch[n]) == page_to_pfn(batch[0]) + n)
		n++;

	return n;
}

static void anl_put_batch(struct page **batch, u32 nr)
{
	u32 i, run;

	for (i = 0; i < nr; i += run) {
		run = anl_run_of_pages(batch + i, nr - i);
		anl_put_run(batch[i], run);
	}
}

/**
 * anl_put_pages() - drop the arena's reference on a list of pages
 * @pages: pages linked through page->lru; empty on return
 *
 * Pages that were mapped as a block are next to each other in the list of a drain, so that they
 * are freed as a block.
 *
 * Context: process context, interrupts on.
 */
void anl_put_pages(struct list_head *pages)
{
	struct page *batch[ANL_PUT_BATCH], *page, *tmp;
	bool first = true;
	u32 nr = 0;

	list_for_each_entry_safe(page, tmp, pages, lru) {
		batch[nr++] = page;
		if (nr < ANL_PUT_BATCH)
			continue;
		anl_put_pause(page_to_nid(page), first);
		anl_put_batch(batch, nr);
		cond_resched();
		first = false;
		nr = 0;
	}
	anl_put_batch(batch, nr);
	INIT_LIST_HEAD(pages);
}
