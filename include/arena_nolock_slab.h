/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Small objects of one size from arena pages, in any context, for BPF programs.
 *
 * A slab is a global variable. It needs no initialization, and has no pages before the
 * first allocation:
 *
 *	struct arena_nolock_slab flows = { .size = 64 };
 *
 *	struct flow __arena *f = arena_nolock_slab_alloc(&arena, &flows);
 *	...
 *	arena_nolock_slab_free(&arena, &flows, f);
 *
 * Free objects form a Treiber stack in the arena; a generation count beside the top
 * prevents ABA. There is no lock: if an NMI interrupts a call and changes the stack, the
 * interrupted call retries.
 *
 * A slab keeps its pages until the arena is freed. So an object that was freed under a
 * reader is still an object of that size, and readers of a table need no lock if they
 * validate what they read.
 *
 * User space includes this header for the structure, if a skeleton contains a slab.
 */
#ifndef ARENA_NOLOCK_SLAB_H
#define ARENA_NOLOCK_SLAB_H

#ifdef __bpf__
#include "arena_nolock.h"
#else
#include <linux/types.h>
#endif

/* Attempts per call. An attempt fails only if another call succeeds. */
#define ARENA_NOLOCK_SLAB_TRIES 256

/**
 * struct arena_nolock_slab - objects of one size
 * @size: bytes of an object, a multiple of 8 from 8 to half a page (2048 with pages of 4 KiB); set
 *	in the definition
 * @objects: objects in use
 * @pages: arena pages of the slab
 * @top: the first free object (low 32 bits), and a generation count (high 32 bits)
 *
 * All members but @size are initially zero. User space may read them.
 */
struct arena_nolock_slab {
	__u64 size;
	__u64 objects;
	__u64 pages;
	__u64 top;
};

#ifdef __bpf__

/* BPF code accesses an arena by the lower 32 bits of an address. */
static __always_inline __u64 __arena *arena_nolock_slab_word(__u64 low)
{
	return (__u64 __arena *)low;
}

/* Push the objects that are linked from @first to @last. */
static __always_inline void arena_nolock_slab_push(struct arena_nolock_slab *slab,
						   __u64 first, __u64 last)
{
	__u64 top, new;
	int i;

	bpf_for(i, 0, ARENA_NOLOCK_SLAB_TRIES) {
		top = *(volatile __u64 *)&slab->top;
		*(volatile __u64 __arena *)arena_nolock_slab_word(last) = (__u32)top;
		new = ((top >> 32) + 1) << 32 | (__u32)first;
		if (__sync_val_compare_and_swap(&slab->top, top, new) == top)
			return;
	}
}

static __always_inline __u64 arena_nolock_slab_pop(struct arena_nolock_slab *slab)
{
	__u64 top, new;
	int i;

	bpf_for(i, 0, ARENA_NOLOCK_SLAB_TRIES) {
		top = *(volatile __u64 *)&slab->top;
		if (!(__u32)top)
			return 0;
		/* If another call popped the object, this is not a link; the cmpxchg then fails. */
		new = *(volatile __u64 __arena *)arena_nolock_slab_word((__u32)top);
		new = ((top >> 32) + 1) << 32 | (__u32)new;
		if (__sync_val_compare_and_swap(&slab->top, top, new) == top)
			return (__u32)top;
	}

	return 0;
}

/**
 * arena_nolock_slab_alloc() - allocate an object
 * @map: pointer to the arena map
 * @slab: the slab
 *
 * The object is zeroed. If the slab has no free object, allocates a page.
 *
 * Context: any, NMI included.
 * Return: the object's full 64-bit address, as user space sees it. NULL if there is no
 * room or no memory for a page, or if @slab->size is invalid.
 */
static __always_inline void __arena *
arena_nolock_slab_alloc(void *map, struct arena_nolock_slab *slab)
{
	__u64 size = slab->size, obj, page, first, at;
	__u32 i;

	if (size < 8 || size > ARENA_NOLOCK_PAGE_SIZE / 2 || size % 8)
		return NULL;
	obj = arena_nolock_slab_pop(slab);
	if (!obj) {
		page = (__u64)arena_nolock_alloc_pages(map, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0);
		if (!page)
			return NULL;
		page = (__u32)page;
		/* Keep one object, link the others. Skip an object at 0, which looks like NULL. */
		obj = page ? page : size;
		first = obj + size;
		at = first;
		bpf_for(i, 0, ARENA_NOLOCK_PAGE_SIZE / 8) {
			if (at + 2 * size > page + ARENA_NOLOCK_PAGE_SIZE)
				break;
			*arena_nolock_slab_word(at) = at + size;
			at += size;
		}
		if (first + size <= page + ARENA_NOLOCK_PAGE_SIZE)
			arena_nolock_slab_push(slab, first, at);
		__sync_fetch_and_add(&slab->pages, 1);
	} else {
		at = obj;
		bpf_for(i, 0, ARENA_NOLOCK_PAGE_SIZE / 16) {
			if (at >= obj + size)
				break;
			*arena_nolock_slab_word(at) = 0;
			at += 8;
		}
	}
	__sync_fetch_and_add(&slab->objects, 1);

	/* The cast to the other address space adds the upper 32 bits. */
	return (void __arena *)(void *)obj;
}

/**
 * arena_nolock_slab_free() - free an object
 * @map: pointer to the arena map
 * @slab: the slab that it was allocated from
 * @obj: the object, or NULL
 *
 * Context: any, NMI included.
 */
static __always_inline void
arena_nolock_slab_free(void *map, struct arena_nolock_slab *slab, void __arena *obj)
{
	if (!obj)
		return;
	arena_nolock_uses(map);
	arena_nolock_slab_push(slab, (__u32)(__u64)obj, (__u32)(__u64)obj);
	__sync_fetch_and_add(&slab->objects, -1);
}

#endif

#endif
