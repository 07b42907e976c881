// SPDX-License-Identifier: GPL-2.0
/*
 * For debug kernels: debug.sh puts this at the end of mm/kasan/shadow.c, whose own
 * functions it names populate_exactly(), unpoison_exactly() and poison_exactly().
 *
 * The kernel has 4 GiB of addresses for each arena, and KASAN half a GiB of shadow for
 * them, page by page: most of a minute in an emulated guest. All of that shadow says
 * "accessible", from the start of an arena to its end. So let all of it be one page of
 * zeroes, by way of one table of PTEs, wherever a whole table is the arena's. What KASAN
 * finds is the same: after its arena the shadow is gone, and an access a page fault.
 */
#include <linux/pgtable.h>
#include <linux/sizes.h>

#include <asm/pgalloc.h>

/* Addresses whose shadow one table of PTEs maps. */
#define ARENA_UNIT (PMD_SIZE << KASAN_SHADOW_SCALE_SHIFT)

static pte_t *arena_shared;

static pte_t *arena_table(void)
{
	pte_t *table = READ_ONCE(arena_shared), *old;
	struct page *page;
	int i;

	if (table)
		return table;
	page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	table = (pte_t *)get_zeroed_page(GFP_KERNEL);
	if (!page || !table)
		goto fail;
	for (i = 0; i < PTRS_PER_PTE; i++)
		set_pte(table + i, pfn_pte(page_to_pfn(page), PAGE_KERNEL_RO));
	old = cmpxchg(&arena_shared, NULL, table);
	if (!old)
		return table;
	free_page((unsigned long)table);
	__free_page(page);

	return old;

fail:
	if (page)
		__free_page(page);
	free_page((unsigned long)table);

	return NULL;
}

static pmd_t *arena_pmd(unsigned long addr)
{
	unsigned long shadow = (unsigned long)kasan_mem_to_shadow((void *)addr);
	p4d_t *p4d = p4d_alloc(&init_mm, pgd_offset_k(shadow), shadow);
	pud_t *pud = p4d ? pud_alloc(&init_mm, p4d, shadow) : NULL;

	return pud ? pmd_alloc(&init_mm, pud, shadow) : NULL;
}

static bool arena_is_shared(pmd_t *pmd)
{
	return pmd && arena_shared && !pmd_none(*pmd) &&
	       pmd_page_vaddr(*pmd) == (unsigned long)arena_shared;
}

/* The end of what one table has of the addresses from @addr on. */
static unsigned long arena_next(unsigned long addr, unsigned long end)
{
	return min(round_down(addr, ARENA_UNIT) + ARENA_UNIT, end);
}

static void arena_unshare(unsigned long addr, unsigned long end)
{
	unsigned long at;

	for (at = addr; at < end; at = arena_next(at, end)) {
		pmd_t *pmd = arena_pmd(at);

		if (arena_is_shared(pmd))
			pmd_clear(pmd);
	}
	flush_tlb_kernel_range((unsigned long)kasan_mem_to_shadow((void *)addr),
			       (unsigned long)kasan_mem_to_shadow((void *)end));
}

int POPULATE(unsigned long addr, unsigned long size, gfp_t gfp)
{
	unsigned long at, next, end = addr + size;
	pte_t *table;
	int ret = 0;

	if (size <= SZ_2G)
		return populate_exactly(addr, size, gfp);
	table = arena_table();
	if (!table)
		return -ENOMEM;
	for (at = addr; at < end && !ret; at = next) {
		pmd_t *pmd = arena_pmd(at);
		bool shared = false;

		next = arena_next(at, end);
		if (!pmd) {
			ret = -ENOMEM;
			break;
		}
		if (next - at == ARENA_UNIT) {
			spin_lock(&init_mm.page_table_lock);
			shared = pmd_none(*pmd);
			if (shared)
				pmd_populate_kernel(&init_mm, pmd, table);
			spin_unlock(&init_mm.page_table_lock);
		}
		if (!shared)
			ret = populate_exactly(at, next - at, gfp);
	}
	if (ret)
		arena_unshare(addr, at);

	return ret;
}

void *__kasan_unpoison_vmalloc(const void *start, unsigned long size, kasan_vmalloc_flags_t flags)
{
	unsigned long at, next, end = (unsigned long)start + size;

	if (size <= SZ_2G)
		return unpoison_exactly(start, size, flags);
	for (at = (unsigned long)start; at < end; at = next) {
		next = arena_next(at, end);
		if (!arena_is_shared(arena_pmd(at)))
			unpoison_exactly((void *)at, next - at, flags);
	}

	return (void *)start;
}

void __kasan_poison_vmalloc(const void *start, unsigned long size)
{
	unsigned long at, next, end = (unsigned long)start + size;

	if (size <= SZ_2G) {
		poison_exactly(start, size);
		return;
	}
	for (at = (unsigned long)start; at < end; at = next) {
		next = arena_next(at, end);
		if (!arena_is_shared(arena_pmd(at)))
			poison_exactly((void *)at, next - at);
	}
	arena_unshare((unsigned long)start, end);
}
