/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * arena_nolock for BPF programs. If you use vmlinux.h, include it before this header.
 *
 * The wrappers arena_nolock_*() let one BPF object run
 *  - with the module arena_nolock, on Linux 6.12 and on 7.x;
 *  - without the module, on Linux 7.0 and later. They then call the kernel's own kfuncs,
 *    which work in any context since 7.0.
 * On other kernels loading fails, and the verifier's log names the function
 * arena_nolock__load_the_module_or_use_linux_7_0.
 *
 * The verifier makes the choice when the program is loaded, so it costs nothing at run
 * time. It needs libbpf 1.4 and clang 19. To use the module only, call
 * bpf_arena_nolock_*() directly. If `bpftool gen object` links several files into one
 * object, libbpf 1.5 refuses a kfunc that two of the files call: keep the calls in one
 * file.
 *
 * The module adopts the arena of a program that calls its kfuncs. From then on the
 * kernel's own kfuncs fail on that arena, without a message. So clang warns of calls of
 * those below this header (-Wdeprecated-pragma). If a file has a second arena that stays
 * with the kernel's kfuncs, define ARENA_NOLOCK_KEEP_STOCK before the #include.
 */
#ifndef ARENA_NOLOCK_H
#define ARENA_NOLOCK_H

#ifndef __BPF_FEATURE_ADDR_SPACE_CAST
#error "arena_nolock.h needs a compiler with arena address spaces: clang 19 or later, -target bpf"
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

/*
 * Bytes in a page of an arena. 4096 is right for x86, and for kernels of arm64 with pages of
 * that size. A program that is compiled with -D__TARGET_ARCH_arm64 gets the size from the
 * kernel that it is loaded on. Then it is a constant for the verifier, and none for C.
 */
#ifndef ARENA_NOLOCK_PAGE_SIZE
#ifdef __TARGET_ARCH_arm64
#include <bpf/bpf_core_read.h>

enum page_size_enum___nolock { __PAGE_SIZE___nolock };
#define ARENA_NOLOCK_PAGE_SIZE \
	((__u32)bpf_core_enum_value(enum page_size_enum___nolock, __PAGE_SIZE___nolock))
#else
#define ARENA_NOLOCK_PAGE_SIZE 4096
#endif
#endif

/* No preference for a NUMA node. */
#define ARENA_NOLOCK_ANY_NODE (-1)

/*
 * The kfuncs of the module, weak for bpf_ksym_exists(). Arguments, contexts and results
 * are those of the wrappers below.
 */
extern void __arena *bpf_arena_nolock_alloc_pages(void *map, void __arena *addr,
						  __u32 page_cnt, int node_id,
						  __u64 flags) __weak __ksym;
extern void bpf_arena_nolock_free_pages(void *map, void __arena *ptr,
					__u32 page_cnt) __weak __ksym;
extern int bpf_arena_nolock_reserve_pages(void *map, void __arena *ptr,
					  __u32 page_cnt) __weak __ksym;

/*
 * The kfuncs of the kernel. The suffix avoids a clash with a vmlinux.h that declares them
 * too, with or without address spaces. libbpf ignores a suffix after three underscores
 * when it looks up a kfunc.
 */
extern void __arena *bpf_arena_alloc_pages___nolock(void *map, void __arena *addr,
						    __u32 page_cnt, int node_id,
						    __u64 flags) __weak __ksym;
extern void bpf_arena_free_pages___nolock(void *map, void __arena *ptr,
					  __u32 page_cnt) __weak __ksym;
extern int bpf_arena_reserve_pages___nolock(void *map, void __arena *ptr,
					    __u32 page_cnt) __weak __ksym;

/* The kernel's own too, with the suffix for the same reason. */
extern void bpf_preempt_disable___nolock(void) __weak __ksym;
extern void bpf_preempt_enable___nolock(void) __weak __ksym;

/* No kernel has this function. Its name is the message. */
extern void arena_nolock__load_the_module_or_use_linux_7_0(void) __weak __ksym;

extern int LINUX_KERNEL_VERSION __kconfig;

/* Before 7.0 the kernel's own kfuncs may sleep. */
#define ARENA_NOLOCK_INTREE_ANY_CONTEXT (LINUX_KERNEL_VERSION >= (7 << 16))

/**
 * arena_nolock_available() - do the wrappers use the module?
 *
 * Context: any.
 * Return: true if the module was loaded before the program.
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
 * The pages are zeroed and have adjacent addresses. Without @addr the module takes the
 * lowest address at which they fit, or for single pages of callers that cannot sleep one
 * that their CPU has set aside. The kernel's own kfunc takes the best fit.
 * Semantics are those of bpf_arena_alloc_pages() of Linux 7.3.
 *
 * Context: any, NMI included.
 * Return: the first page. NULL if there is no room or no memory, or if an argument is
 * invalid; no page is allocated in that case.
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
 * @ptr: address of the first page, rounded down to a page
 * @page_cnt: number of pages
 *
 * Ignores pages that are not allocated or that are outside of the arena. In a sleepable
 * program the addresses are usually free on return, in other programs soon afterwards.
 * Semantics are those of bpf_arena_free_pages() of Linux 7.3.
 *
 * Context: any, NMI included. With the module a free cannot fail. Without it, pages are
 * lost until the arena is freed if the kernel has no memory for its queue.
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
 * arena_nolock_free_pages_async() - free pages, without waiting for TLB flushes
 * @map: pointer to the arena map
 * @ptr: address of the first page, rounded down to a page
 * @page_cnt: number of pages
 *
 * For sleepable programs that free many pages one by one. Each arena_nolock_free_pages() there
 * flushes the TLBs of all CPUs. This queues the pages as other programs do, and a worker
 * flushes once for many of them, or, without the module, for a few. The addresses are free soon
 * afterwards. With the module, a sleepable allocation waits for queued pages if no other
 * addresses are left.
 *
 * With preemption disabled the kfuncs do not sleep. Linux 6.12 and 7.x allow such a section in
 * every program, also inside of another or under bpf_rcu_read_lock(). Under bpf_spin_lock() call
 * arena_nolock_free_pages().
 *
 * Without the module, Linux 7.3 was seen to refuse a sleepable program in which both this and
 * arena_nolock_free_pages() are called, also by arena_nolock_page_once(): "program requires BPF
 * JIT compiler". Use one of the two there.
 *
 * Context: any, NMI included. As arena_nolock_free_pages() in a program that cannot sleep.
 */
static __always_inline void arena_nolock_free_pages_async(void *map, void __arena *ptr,
							  __u32 page_cnt)
{
	bpf_preempt_disable___nolock();
	arena_nolock_free_pages(map, ptr, page_cnt);
	bpf_preempt_enable___nolock();
}

/**
 * arena_nolock_reserve_pages() - reserve addresses
 * @map: pointer to the arena map
 * @ptr: address of the first page, aligned to pages
 * @page_cnt: number of pages
 *
 * An allocation without an address does not use reserved pages. arena_nolock_free_pages()
 * ends a reservation. Semantics are those of bpf_arena_reserve_pages() of Linux 7.3.
 *
 * Context: any, NMI included.
 * Return: 0; -EINVAL if the pages are not all in the arena; -EBUSY if one of them is
 * allocated or reserved.
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
 * arena_nolock_uses() - name the arena whose memory a program accesses
 * @map: pointer to the arena map
 *
 * The verifier wants to see the map in a program that follows pointers into the arena. Where
 * no other call names it, this does. It costs two instructions.
 *
 * Context: any.
 */
static __always_inline void arena_nolock_uses(void *map)
{
	asm volatile("" : : "r"(map));
}

/**
 * arena_nolock_guard_null() - never allocate the page that can look like NULL
 * @map: pointer to the arena map
 *
 * In the first page of an arena that begins at a multiple of 4 GiB, the lower 32 bits of the
 * first address are 0. Programs access an arena by the lower 32 bits, so a pointer to that page
 * can compare equal to NULL. This reserves the page. Call it once, before the first
 * allocation: the result needs no check then.
 *
 * Context: any, NMI included.
 * Return: 0; -EINVAL if the arena has no such page; -EBUSY if the page is in use.
 */
static __always_inline int arena_nolock_guard_null(void *map)
{
	return arena_nolock_reserve_pages(map, NULL, 1);
}

/**
 * arena_nolock_page_once() - allocate a page on first use
 * @map: pointer to the arena map
 * @slot: a word of a global variable that holds the page's address, or 0
 *
 * For tables that grow on demand. Concurrent callers get the same page.
 *
 * Context: any, NMI included.
 * Return: the page's address, or 0 if there is no room or no memory.
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
 * Each macro expands to its own name, so that clang can warn of its use. A declaration is
 * a use too: include headers that declare the kernel's kfuncs before this one.
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
