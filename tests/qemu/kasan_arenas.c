// SPDX-License-Identifier: GPL-2.0
/*
 * For debug kernels: debug.sh puts this at the end of mm/kasan/shadow.c, whose own
 * two functions it names populate_exactly() and poison_exactly().
 *
 * The kernel has 4 GiB of addresses for each arena, and KASAN half a GiB of shadow for
 * them, page by page: most of a minute in an emulated guest. All of that shadow says
 * "accessible", from the start of an arena to its end. So let all of it be one page,
 * which stays zero: nothing poisons it. What KASAN finds is the same, but for the use
 * of an address range after its arena, and there the page tables are empty.
 *
 * The reference that populating takes for each entry is the one that the kernel's
 * releasing gives back.
 */
#include <linux/sizes.h>

static struct page *arena_shadow_page(void)
{
	static struct page *shadow;
	struct page *page = READ_ONCE(shadow), *old;

	if (page)
		return page;
	page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!page)
		return NULL;
	old = cmpxchg(&shadow, NULL, page);
	if (old)
		__free_page(page);

	return old ?: page;
}

static int arena_shadow_pte(pte_t *ptep, unsigned long addr, void *data)
{
	struct page *page = data;

	spin_lock(&init_mm.page_table_lock);
	if (pte_none(ptep_get(ptep))) {
		get_page(page);
		set_pte_at(&init_mm, addr, ptep, pfn_pte(page_to_pfn(page), PAGE_KERNEL));
	}
	spin_unlock(&init_mm.page_table_lock);

	return 0;
}

/* The first and the last page of the shadow may be a neighbour's too. */
int POPULATE(unsigned long addr, unsigned long size, gfp_t gfp)
{
	unsigned long unit = PAGE_SIZE << KASAN_SHADOW_SCALE_SHIFT;
	unsigned long start = round_up(addr, unit);
	unsigned long end = round_down(addr + size, unit);
	struct page *page;
	int ret;

	if (size <= SZ_2G)
		return populate_exactly(addr, size, gfp);
	page = arena_shadow_page();
	if (!page)
		return -ENOMEM;
	ret = start > addr ? populate_exactly(addr, start - addr, gfp) : 0;
	if (!ret && end < addr + size)
		ret = populate_exactly(end, addr + size - end, gfp);
	if (ret)
		return ret;

	return apply_to_page_range(&init_mm, (unsigned long)kasan_mem_to_shadow((void *)start),
				   (end - start) >> KASAN_SHADOW_SCALE_SHIFT,
				   arena_shadow_pte, page);
}

void __kasan_poison_vmalloc(const void *start, unsigned long size)
{
	if (size <= SZ_2G)
		poison_exactly(start, size);
}
