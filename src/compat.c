// SPDX-License-Identifier: GPL-2.0
/*
 * Symbols that the kernel does not export.
 *
 * There are two, and the list is meant to stay that short:
 *   init_mm                 the page tables of the kernel, to fill the arena's
 *   flush_tlb_kernel_range  without it a freed page stays reachable
 *
 * Both are looked up once, in module init, through a disabled kprobe; nothing
 * is ever patched or probed. Registering a kprobe on data fails, but leaves
 * the address that kallsyms gave for the name.
 *
 * Owns: anl_init_mm and the static call, written in module init only, read in
 * every context afterwards.
 */
#define pr_fmt(fmt) "arena_nolock: " fmt

#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/static_call.h>
#include <linux/vmalloc.h>
#include <asm/tlbflush.h>

#include "compat.h"

struct mm_struct *anl_init_mm __ro_after_init;

static void anl_flush_nothing(unsigned long start, unsigned long end)
{
}

/*
 * An indirect call would trap on hardware with IBT: the kernel overwrites the
 * ENDBR of functions whose address nobody takes. A static call is a direct one.
 */
DEFINE_STATIC_CALL(anl_flush_tlb, anl_flush_nothing);

/**
 * anl_flush_tlb_kernel_range() - drop translations of a kernel range everywhere
 * @start: first byte
 * @end: byte after the last
 *
 * Context: process context, interrupts on; sends IPIs and waits for them.
 */
void anl_flush_tlb_kernel_range(unsigned long start, unsigned long end)
{
	static_call(anl_flush_tlb)(start, end);
}

static unsigned long __init anl_lookup(const char *name)
{
	struct kprobe kp = {
		.symbol_name = name,
		.flags = KPROBE_FLAG_DISABLED,
	};

	if (!register_kprobe(&kp))
		unregister_kprobe(&kp);

	return (unsigned long)kp.addr;
}

/* A kprobe on a function sits behind its ENDBR; step back to the entry. */
static unsigned long __init anl_lookup_text(const char *name)
{
	unsigned long addr = anl_lookup(name), off;
	char buf[KSYM_SYMBOL_LEN];
	size_t len = strlen(name);

	if (!addr)
		return 0;
	sprint_symbol(buf, addr);
	if (strncmp(buf, name, len) || sscanf(buf + len, "+0x%lx/", &off) != 1)
		return 0;

	return off <= 16 ? addr - off : 0;
}

static int __init anl_check_pte(pte_t *ptep, unsigned long addr, void *data)
{
	pte_t pte = ptep_get(ptep);

	if (pte_present(pte))
		*(struct page **)data = pte_page(pte);

	return 0;
}

/*
 * A wrong init_mm would have us write into somebody else's page tables. Before
 * it is trusted, it has to lead to the page behind a fresh vmalloc address.
 */
static bool __init anl_init_mm_works(void)
{
	struct page *page = NULL;
	void *p = vmalloc(PAGE_SIZE);
	bool ok;

	if (!p)
		return false;
	ok = !apply_to_page_range(anl_init_mm, (unsigned long)p, PAGE_SIZE,
				  anl_check_pte, &page) &&
	     page && page == vmalloc_to_page(p);
	vfree(p);

	return ok;
}

int __init anl_compat_init(void)
{
	unsigned long flush = anl_lookup_text("flush_tlb_kernel_range");

	anl_init_mm = (struct mm_struct *)anl_lookup("init_mm");
	if (!anl_init_mm) {
		pr_err("cannot find init_mm; the kernel needs CONFIG_KALLSYMS_ALL and CONFIG_KPROBES\n");
		return -ENOENT;
	}
	if (!flush) {
		pr_err("cannot find flush_tlb_kernel_range; the kernel needs CONFIG_KALLSYMS and CONFIG_KPROBES\n");
		return -ENOENT;
	}
	if (!anl_init_mm_works()) {
		pr_err("what was found as init_mm does not hold the kernel's page tables\n");
		return -EINVAL;
	}
	static_call_update(anl_flush_tlb, (void (*)(unsigned long, unsigned long))flush);

	return 0;
}
