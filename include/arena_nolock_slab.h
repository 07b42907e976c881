/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Small objects of one size from arena pages, in every context, for BPF programs.
 *
 * A slab is a global variable; it needs no setting up, and no pages before they
 * are asked for:
 *
 *	struct arena_nolock_slab flows = { .size = 64 };
 *
 *	struct flow __arena *f = arena_nolock_slab_alloc(&arena, &flows);
 *	...
 *	arena_nolock_slab_free(&arena, &flows, f);
 *
 * Free objects are a stack in the arena, with a count beside its top so that an
 * object that left and came back is not taken for one that stayed. There is no lock:
 * an NMI that interrupts a call has its own, and the interrupted call tries again.
 *
 * Pages of a slab stay with it until the arena goes. So an object that was freed
 * under a reader is still an object of that size, and a table can be read without a
 * lock if what is read is checked afterwards.
 *
 * User space that has a slab in its skeleton includes this too, for the structure.
 */
#ifndef ARENA_NOLOCK_SLAB_H
#define ARENA_NOLOCK_SLAB_H

#ifdef __bpf__
#include "arena_nolock.h"
#else
#include <linux/types.h>
#endif

/* Tries of a call before it gives up. Each of them fails only if another succeeds. */
#define ARENA_NOLOCK_SLAB_TRIES 256

/**
 * struct arena_nolock_slab - objects of one size
 * @size: bytes of an object, a multiple of 8 from 8 to 2048; set by who defines it
 * @objects: objects in use
 * @pages: pages of the arena that it has
 * @top: the free object to be taken next (low 32 bits), and a count of changes
 *
 * All but @size begin as zero. User space may read them.
 */
struct arena_nolock_slab {
	__u64 size;
	__u64 objects;
	__u64 pages;
	__u64 top;
};

#ifdef __bpf__

/* The lower half of an address is all that BPF code needs to get at an arena. */
static __always_inline __u64 __arena *arena_nolock_slab_word(__u64 low)
{
	return (__u64 __arena *)low;
}

/* Put objects that are linked from @first to @last on the stack. */
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
		/* If another took the object meanwhile, this is no link, and not used. */
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
 * @slab: what it is allocated from
 *
 * The object is zeroed. Its page is allocated if need be.
 *
 * Context: any, NMI included.
 * Return: the object's address, whole, as user space has it, or NULL: no room or no memory for a page, or a bad size.
 */
static __always_inline void __arena *
arena_nolock_slab_alloc(void *map, struct arena_nolock_slab *slab)
{
	__u64 size = slab->size, obj, page, first, at;
	int i;

	if (size < 8 || size > ARENA_NOLOCK_PAGE_SIZE / 2 || size % 8)
		return NULL;
	obj = arena_nolock_slab_pop(slab);
	if (!obj) {
		page = (__u64)arena_nolock_alloc_pages(map, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0);
		if (!page)
			return NULL;
		page = (__u32)page;
		/* One is the caller's, the others are linked and kept. What is at 0 looks like NULL. */
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

	/* Through the other address space, which gives it the upper half of an address. */
	return (void __arena *)(void *)obj;
}

/**
 * arena_nolock_slab_free() - give an object back
 * @map: pointer to the arena map
 * @slab: what it was allocated from
 * @obj: the object, or NULL
 *
 * Context: any, NMI included.
 */
static __always_inline void
arena_nolock_slab_free(void *map, struct arena_nolock_slab *slab, void __arena *obj)
{
	if (!obj)
		return;
	/* A program that touches an arena has to name it. */
	asm volatile("" : : "r"(map));
	arena_nolock_slab_push(slab, (__u32)(__u64)obj, (__u32)(__u64)obj);
	__sync_fetch_and_add(&slab->objects, -1);
}

#endif

#endif
