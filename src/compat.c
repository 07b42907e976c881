// SPDX-License-Identifier: GPL-2.0
/*
 * Symbols that the kernel does not export:
 *   init_mm                 the kernel's page tables, to fill those of the arena
 *   flush_tlb_kernel_range  without it a freed page stays reachable; inline on arm64
 *
 * Module init looks up both through a disabled kprobe, so no code is patched or probed.
 * Registering a kprobe on data fails, but stores the address that kallsyms has for the
 * name.
 *
 * Owns: anl_init_mm and the static call. Module init writes them, every context reads
 * them.
 */
#define pr_fmt(fmt) "arena_nolock: " fmt

#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/static_call.h>
#include <linux/vmalloc.h>
#include <asm/tlbflush.h>

#include "compat.h"

struct mm_struct *anl_init_mm __ro_after_init;

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

#ifdef CONFIG_ARM64
static int __init anl_find_tlb_flush(void)
{
	return 0;
}

void anl_flush_tlb_kernel_range(unsigned long start, unsigned long end)
{
	flush_tlb_kernel_range(start, end);
}
#else
static void anl_flush_nothing(unsigned long start, unsigned long end)
{
}

/*
 * A static call is a direct call. An indirect call would trap on hardware with IBT, since
 * the kernel overwrites the ENDBR of functions whose address it does not take.
 */
DEFINE_STATIC_CALL(anl_flush_tlb, anl_flush_nothing);

/* The kprobe's address is behind the function's ENDBR: return that of the entry. */
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

static int __init anl_find_tlb_flush(void)
{
	unsigned long flush = anl_lookup_text("flush_tlb_kernel_range");

	if (!flush) {
		pr_err("cannot find flush_tlb_kernel_range; the kernel needs CONFIG_KALLSYMS and CONFIG_KPROBES\n");
		return -ENOENT;
	}
	static_call_update(anl_flush_tlb, (void (*)(unsigned long, unsigned long))flush);

	return 0;
}

/**
 * anl_flush_tlb_kernel_range() - flush the TLB entries of a kernel range on all CPUs
 * @start: first byte
 * @end: byte after the last
 *
 * Context: process context, interrupts on. On x86 it sends IPIs and waits for them.
 */
void anl_flush_tlb_kernel_range(unsigned long start, unsigned long end)
{
	static_call(anl_flush_tlb)(start, end);
}
#endif

static int __init anl_check_pte(pte_t *ptep, unsigned long addr, void *data)
{
	pte_t pte = ptep_get(ptep);

	if (pte_present(pte))
		*(struct page **)data = pte_page(pte);

	return 0;
}

/*
 * With a wrong init_mm the module would overwrite other page tables. So check first that
 * init_mm leads to the page behind a new vmalloc address.
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

/**
 * anl_compat_init() - look up the symbols that the kernel does not export
 *
 * Each error is reported in the log.
 *
 * Context: module init, process context.
 * Return: 0; -ENOENT if a symbol was not found; -EINVAL if init_mm is not the kernel's.
 */
int __init anl_compat_init(void)
{
	int err;

	anl_init_mm = (struct mm_struct *)anl_lookup("init_mm");
	if (!anl_init_mm) {
		pr_err("cannot find init_mm; the kernel needs CONFIG_KALLSYMS_ALL and CONFIG_KPROBES\n");
		return -ENOENT;
	}
	err = anl_find_tlb_flush();
	if (err)
		return err;
	if (!anl_init_mm_works()) {
		pr_err("the address found for init_mm does not lead to the kernel's page tables; please report this, with the kernel's version\n");
		return -EINVAL;
	}

	return 0;
}
