/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * arena_nolock for BPF programs: include it after vmlinux.h, or without one.
 *
 * The wrappers arena_nolock_*() let one BPF object run
 *  - with the module arena_nolock, on Linux 6.12 and on 7.x;
 *  - without it on Linux 7.0 and later, through the kernel's own kfuncs, which
 *    work in any context from then on.
 * Anywhere else loading fails, and the verifier's log names the function
 * arena_nolock__load_the_module_or_use_linux_7_0.
 *
 * What is chosen is decided when the program is loaded, costs nothing at run
 * time, and needs libbpf 1.3 and clang 19. To use the module's kfuncs only, call
 * bpf_arena_nolock_*() directly. Where several files of one object are linked by
 * `bpftool gen object`, libbpf 1.5 refuses a kfunc that two of them call; keep the
 * calls in one file then.
 *
 * A program whose arena is used through the module has adopted it: the kernel's
 * own kfuncs fail on that arena from then on, without a message. So clang warns of calls
 * of them below this header (-Wdeprecated-pragma). For a file that has a second arena,
 * used through the kernel's kfuncs only, define ARENA_NOLOCK_KEEP_STOCK first.
 */
#ifndef ARENA_NOLOCK_H
#define ARENA_NOLOCK_H

#ifndef __BPF_FEATURE_ADDR_SPACE_CAST
#error "arena_nolock.h needs a compiler that knows arenas: clang 19 or later, -target bpf"
#endif

#ifndef __VMLINUX_H__
#include <linux/bpf.h>
#include <linux/types.h>
#endif
#include <bpf/bpf_helpers.h>

/* A pointer into an arena. */
#ifndef __arena
#define __arena __attribute__((address_space(1)))
#endif

#ifndef NULL
#define NULL ((void *)0)
#endif

/* Bytes in a page of an arena on this architecture. */
#ifndef ARENA_NOLOCK_PAGE_SIZE
#define ARENA_NOLOCK_PAGE_SIZE 4096
#endif

/* No preference for a NUMA node. */
#define ARENA_NOLOCK_ANY_NODE (-1)

/*
 * The kfuncs of the module. Weak: their absence is seen with bpf_ksym_exists().
 * Arguments, contexts and results are those of the wrappers below.
 */
extern void __arena *bpf_arena_nolock_alloc_pages(void *map, void __arena *addr,
						  __u32 page_cnt, int node_id,
						  __u64 flags) __weak __ksym;
extern void bpf_arena_nolock_free_pages(void *map, void __arena *ptr,
					__u32 page_cnt) __weak __ksym;
extern int bpf_arena_nolock_reserve_pages(void *map, void __arena *ptr,
					  __u32 page_cnt) __weak __ksym;

/*
 * The kfuncs of the kernel. A vmlinux.h may declare them too, with or without
 * address spaces, and the two would clash; libbpf drops what follows a triple
 * underscore when it looks for them, so they get names of their own here.
 */
extern void __arena *bpf_arena_alloc_pages___nolock(void *map, void __arena *addr,
						    __u32 page_cnt, int node_id,
						    __u64 flags) __weak __ksym;
extern void bpf_arena_free_pages___nolock(void *map, void __arena *ptr,
					  __u32 page_cnt) __weak __ksym;
extern int bpf_arena_reserve_pages___nolock(void *map, void __arena *ptr,
					    __u32 page_cnt) __weak __ksym;

/* Exists nowhere. Its name is the message. */
extern void arena_nolock__load_the_module_or_use_linux_7_0(void) __weak __ksym;

extern int LINUX_KERNEL_VERSION __kconfig;

/* Before 7.0 the kernel's own kfuncs exist, but may sleep. */
#define ARENA_NOLOCK_INTREE_ANY_CONTEXT (LINUX_KERNEL_VERSION >= (7 << 16))

/**
 * arena_nolock_available() - will the module be used?
 *
 * Context: any.
 * Return: true if the module was loaded when the program was.
 */
static __always_inline _Bool arena_nolock_available(void)
{
	return bpf_ksym_exists(bpf_arena_nolock_alloc_pages);
}

/**
 * arena_nolock_alloc_pages() - allocate pages of an arena
 * @map: pointer to the arena map
 * @addr: address of the first page, aligned to pages, or NULL for any
 * @page_cnt: number of pages, at most max_entries of the map
 * @node_id: preferred NUMA node, or ARENA_NOLOCK_ANY_NODE
 * @flags: 0
 *
 * The pages are zeroed, and neighbours in address. Without @addr the lowest
 * address is taken at which they fit (the kernel's own kfunc takes the best fit).
 * Semantics are those of bpf_arena_alloc_pages() of Linux 7.3.
 *
 * Context: any, NMI included.
 * Return: the first page, or NULL: no room, no memory, or bad arguments; then
 * nothing was allocated.
 */
static __always_inline void __arena *
arena_nolock_alloc_pages(void *map, void __arena *addr, __u32 page_cnt, int node_id,
			 __u64 flags)
{
	if (bpf_ksym_exists(bpf_arena_nolock_alloc_pages))
		return bpf_arena_nolock_alloc_pages(map, addr, page_cnt, node_id, flags);
	if (ARENA_NOLOCK_INTREE_ANY_CONTEXT && bpf_ksym_exists(bpf_arena_alloc_pages___nolock))
		return bpf_arena_alloc_pages___nolock(map, addr, page_cnt, node_id, flags);
	arena_nolock__load_the_module_or_use_linux_7_0();
	return NULL;
}

/**
 * arena_nolock_free_pages() - free pages, or end a reservation
 * @map: pointer to the arena map
 * @ptr: address of the first page; rounded down to a page
 * @page_cnt: number of pages
 *
 * Pages that are not allocated, and those outside of the arena, are ignored. From
 * a sleepable program the addresses are free on return, from any other soon
 * afterwards. Semantics are those of bpf_arena_free_pages() of Linux 7.3.
 *
 * Context: any, NMI included. Cannot fail with the module; without it, pages are
 * lost until the arena goes if the kernel finds no memory for its queue.
 */
static __always_inline void arena_nolock_free_pages(void *map, void __arena *ptr,
						    __u32 page_cnt)
{
	if (bpf_ksym_exists(bpf_arena_nolock_free_pages))
		bpf_arena_nolock_free_pages(map, ptr, page_cnt);
	else if (ARENA_NOLOCK_INTREE_ANY_CONTEXT &&
		 bpf_ksym_exists(bpf_arena_free_pages___nolock))
		bpf_arena_free_pages___nolock(map, ptr, page_cnt);
	else
		arena_nolock__load_the_module_or_use_linux_7_0();
}

/**
 * arena_nolock_reserve_pages() - keep pages from being allocated
 * @map: pointer to the arena map
 * @ptr: address of the first page, aligned to pages
 * @page_cnt: number of pages
 *
 * A reservation ends with arena_nolock_free_pages(). Semantics are those of
 * bpf_arena_reserve_pages() of Linux 7.3.
 *
 * Context: any, NMI included.
 * Return: 0, -EINVAL outside of the arena, -EBUSY if one of the pages is taken.
 */
static __always_inline int arena_nolock_reserve_pages(void *map, void __arena *ptr,
						      __u32 page_cnt)
{
	if (bpf_ksym_exists(bpf_arena_nolock_reserve_pages))
		return bpf_arena_nolock_reserve_pages(map, ptr, page_cnt);
	if (ARENA_NOLOCK_INTREE_ANY_CONTEXT && bpf_ksym_exists(bpf_arena_reserve_pages___nolock))
		return bpf_arena_reserve_pages___nolock(map, ptr, page_cnt);
	arena_nolock__load_the_module_or_use_linux_7_0();
	return -95; /* -EOPNOTSUPP */
}

/**
 * arena_nolock_page_once() - the page that a word stands for, allocated when first asked for
 * @map: pointer to the arena map
 * @slot: a word of a global variable, 0 as long as there is no page
 *
 * Of callers that need the page at the same time one allocates it, and the others get that
 * one. For tables whose parts come when they are needed.
 *
 * Context: any, NMI included.
 * Return: the page's address, or 0: no room or no memory.
 */
static __always_inline __u64 arena_nolock_page_once(void *map, __u64 *slot)
{
	__u64 page = *(volatile __u64 *)slot, old;

	if (page)
		return page;
	page = (__u64)arena_nolock_alloc_pages(map, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0);
	if (!page)
		return 0;
	old = __sync_val_compare_and_swap(slot, 0, page);
	if (!old)
		return page;
	arena_nolock_free_pages(map, (void __arena *)page, 1);

	return old;
}

/*
 * A macro of the same name changes nothing but that its use can be warned of. Declarations
 * are uses too: include other headers that declare the kernel's kfuncs before this one.
 */
#ifndef ARENA_NOLOCK_KEEP_STOCK
#define bpf_arena_alloc_pages bpf_arena_alloc_pages
#define bpf_arena_free_pages bpf_arena_free_pages
#define bpf_arena_reserve_pages bpf_arena_reserve_pages
#define bpf_arena_alloc_pages___nolock bpf_arena_alloc_pages___nolock
#define bpf_arena_free_pages___nolock bpf_arena_free_pages___nolock
#define bpf_arena_reserve_pages___nolock bpf_arena_reserve_pages___nolock
#pragma clang deprecated(bpf_arena_alloc_pages, "it fails on an arena that the module has adopted, call arena_nolock_alloc_pages()")
#pragma clang deprecated(bpf_arena_free_pages, "it does nothing on an arena that the module has adopted, call arena_nolock_free_pages()")
#pragma clang deprecated(bpf_arena_reserve_pages, "it fails on an arena that the module has adopted, call arena_nolock_reserve_pages()")
#pragma clang deprecated(bpf_arena_alloc_pages___nolock, "it fails on an arena that the module has adopted, call arena_nolock_alloc_pages()")
#pragma clang deprecated(bpf_arena_free_pages___nolock, "it does nothing on an arena that the module has adopted, call arena_nolock_free_pages()")
#pragma clang deprecated(bpf_arena_reserve_pages___nolock, "it fails on an arena that the module has adopted, call arena_nolock_reserve_pages()")
#endif

#endif
