/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Objects of 1 to 2048 bytes from arena pages, in any context, for BPF programs on many CPUs.
 *
 * A heap is a global variable of some 50 KiB. It needs no initialization:
 *
 *	struct arena_nolock_heap heap;
 *
 *	struct flow __arena *f = arena_nolock_heap_alloc(&arena, &heap, sizeof(*f));
 *	...
 *	arena_nolock_heap_free(&arena, &heap, f);
 *
 * Sizes are rounded up to those of arena_nolock_heap_sizes[]. All objects of a page have one
 * size, its class. A free object is in one of three places, and moves on when a place is full:
 *
 *  1. A cache of its CPU and class: a Treiber stack of up to a page's worth of objects, and a
 *     spare chain of as many. Calls that find room or objects here write to no cache line that
 *     other CPUs write to.
 *  2. The depot of its class: a Treiber stack of chains, for all CPUs.
 *  3. Its page. A page in which all objects are free goes back to the arena at once: the
 *     caches and the depot are the hysteresis. arena_nolock_heap_trim() empties both.
 *
 * There is no lock. An NMI, an interrupt or another task can run calls on the same CPU between any
 * two instructions of a call, and other CPUs can run them at any time. A call owns the objects
 * and pages that it has removed from a list, or got from its caller. It writes to these, and to:
 *
 *	top, spare of a cache	calls that began on its CPU, and trims: cmpxchg, exchange
 *	depot, partial		slow paths: cmpxchg
 *	state of a page		slow paths: cmpxchg, and atomic add to a page just allocated
 *	link of a page		the call that set LISTED in the state, or popped the page: store
 *	counters		slow paths: atomic add
 *	dir			slow paths, once a word: cmpxchg
 *
 * Hence a cache belongs to a CPU only for speed. A call that reads its CPU number and then runs
 * elsewhere is correct, and so are CPUs that share a cache.
 *
 * To remove an element from a list, a call reads the link in an element that it does not own. By
 * then another call can have removed the element, written to it, and returned its page. The load
 * gives some number then, and 0 if the page is unmapped: loads by programs do not fault. The
 * cmpxchg fails, since each removal changes the generation beside the first element. The
 * generation has 27 bits. A call is deceived only if it is interrupted for exactly 2^27 removals
 * from this list, or a multiple, which leave the same number of elements behind the same one.
 *
 * A freed object can become an object of another size, or its page can leave the arena. Readers
 * that can meet freed objects need arena_nolock_slab.h, which never returns a page.
 *
 * Pages have 4096 bytes. On a kernel with larger ones, a program that allocates objects does not
 * load, and the verifier's log names arena_nolock_heap__needs_pages_of_4096_bytes.
 *
 * User space includes this header for the structure and the statistics.
 */
#ifndef ARENA_NOLOCK_HEAP_H
#define ARENA_NOLOCK_HEAP_H

#ifdef __bpf__
#include "arena_nolock.h"

/* No kernel has this function. Its name is the message where pages are larger, as on arm64. */
extern void arena_nolock_heap__needs_pages_of_4096_bytes(void) __weak __ksym;
#else
#include <linux/types.h>
#endif

#define ARENA_NOLOCK_HEAP_CLASSES 16	/* a power of two; the last two are not used */
#define ARENA_NOLOCK_HEAP_MAX 2048	/* bytes of the largest object */
#define ARENA_NOLOCK_HEAP_DIRS 4096	/* MiB of the largest arena */

/* CPUs that have a cache of their own, a power of two. Others share these. */
#ifndef ARENA_NOLOCK_HEAP_CPUS
#define ARENA_NOLOCK_HEAP_CPUS 64
#endif

/*
 * Chains in the depot of a class, at most 256. A chain is a page's worth of objects. Calls on
 * several CPUs can exceed this by one each.
 */
#ifndef ARENA_NOLOCK_HEAP_DEPOT
#define ARENA_NOLOCK_HEAP_DEPOT 16
#endif

#if ARENA_NOLOCK_HEAP_CPUS < 1 || ARENA_NOLOCK_HEAP_CPUS & (ARENA_NOLOCK_HEAP_CPUS - 1)
#error "ARENA_NOLOCK_HEAP_CPUS must be a power of two"
#endif
#if ARENA_NOLOCK_HEAP_DEPOT < 0 || ARENA_NOLOCK_HEAP_DEPOT > 256
#error "ARENA_NOLOCK_HEAP_DEPOT must be 0 to 256"
#endif

/* Bytes of the objects of each class: multiples of 16. */
static const __u16 arena_nolock_heap_sizes[ARENA_NOLOCK_HEAP_CLASSES] = {
	16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1360, 2048,
};

/*
 * A chain is a word: the address of its first object, divided by 16, and its depth, which is
 * the number of objects. The first word of each object is the chain of those behind it.
 *
 * A top is a chain and a generation, which every removal from the top changes. It prevents ABA:
 * between a load of the first object's link and the cmpxchg, another call can have removed that
 * object and returned it with other objects behind it. An addition leaves the generation: it
 * relies on nothing but the top, which it has stored as its link.
 */
#define ARENA_NOLOCK_HEAP_FIRST ((1ULL << 28) - 1)
#define ARENA_NOLOCK_HEAP_DEPTH (1ULL << 28)
#define ARENA_NOLOCK_HEAP_CHAIN ((1ULL << 37) - 1)
#define ARENA_NOLOCK_HEAP_GENERATION (1ULL << 37)

/**
 * struct arena_nolock_heap_cache - free objects of a class on a CPU
 * @top: the objects that calls take and return
 * @spare: a chain, or 0. It keeps a program at the limit of @top away from the depot.
 */
struct arena_nolock_heap_cache {
	__u64 top;
	__u64 spare;
};

struct arena_nolock_heap_cpu {
	struct arena_nolock_heap_cache cache[ARENA_NOLOCK_HEAP_CLASSES];
} __attribute__((aligned(128)));

/**
 * struct arena_nolock_heap_class - what CPUs share of a class
 * @depot: top of the stack of chains. The second word of a chain's first object links them.
 * @partial: top of the stack of pages that have free objects. Its depth has no meaning.
 * @taken: objects that are not in their pages
 * @stocked: objects in the depot
 * @pages: arena pages
 * @failures: allocations that returned NULL
 */
struct arena_nolock_heap_class {
	__u64 depot;
	__u64 partial;
	__u64 taken;
	__u64 stocked;
	__u64 pages;
	__u64 failures;
} __attribute__((aligned(128)));

/**
 * struct arena_nolock_heap - objects of all sizes
 * @cpu: the caches
 * @class: by size, see arena_nolock_heap_sizes
 * @dir: for each MiB of the arena, the address of a page with the entries of its pages, or 0.
 *       An entry is two words: the page's state, and its link in @partial. Entries outlive
 *       their pages, so that a page can leave the arena while it is on that stack.
 *
 * All members are initially zero.
 */
struct arena_nolock_heap {
	struct arena_nolock_heap_cpu cpu[ARENA_NOLOCK_HEAP_CPUS];
	struct arena_nolock_heap_class class[ARENA_NOLOCK_HEAP_CLASSES];
	__u64 dir[ARENA_NOLOCK_HEAP_DIRS];
};

/**
 * struct arena_nolock_heap_stats - statistics of a class
 * @objects: objects in use
 * @cached: free objects in caches and in the depot
 * @pages: arena pages
 * @failures: allocations that returned NULL
 */
struct arena_nolock_heap_stats {
	__u64 objects;
	__u64 cached;
	__u64 pages;
	__u64 failures;
};

/**
 * arena_nolock_heap_stats() - statistics of a class
 * @heap: the heap
 * @class: the class, below ARENA_NOLOCK_HEAP_CLASSES
 * @stats: where to
 *
 * For user space and programs. The numbers are exact if no call is in progress.
 */
static inline void
arena_nolock_heap_stats(const struct arena_nolock_heap *heap, __u32 class,
			struct arena_nolock_heap_stats *stats)
{
	const volatile struct arena_nolock_heap_class *c;
	const volatile struct arena_nolock_heap_cache *cache;
	__u64 cached, taken;
	int cpu;

	class %= ARENA_NOLOCK_HEAP_CLASSES;
	c = &heap->class[class];
	cached = c->stocked;
	for (cpu = 0; cpu < ARENA_NOLOCK_HEAP_CPUS; cpu++) {
		cache = &heap->cpu[cpu].cache[class];
		cached += (cache->top & ARENA_NOLOCK_HEAP_CHAIN) / ARENA_NOLOCK_HEAP_DEPTH +
			  cache->spare / ARENA_NOLOCK_HEAP_DEPTH;
	}
	taken = c->taken;
	stats->objects = taken > cached ? taken - cached : 0;
	stats->cached = cached;
	stats->pages = c->pages;
	stats->failures = c->failures;
}

#ifdef __bpf__

/*
 * Attempts per change. An attempt fails only if another call succeeds: hundreds of CPUs that all
 * change one word do not use them up.
 */
#define ARENA_NOLOCK_HEAP_TRIES 4096

/* Pages that an allocation visits to find free objects. Most have some. */
#define ARENA_NOLOCK_HEAP_VISITS 256

/*
 * The state of a page: the chain of its free objects, its class, and two bits. A page in use has
 * a class; LISTED is set while the page is on a stack @partial, or is being moved. Only the call
 * that has taken the page from the stack clears LISTED. A state needs no generation: a cmpxchg
 * relies on nothing but the state.
 */
#define ARENA_NOLOCK_HEAP_CLASS_SHIFT 37
#define ARENA_NOLOCK_HEAP_USED (1ULL << 41)
#define ARENA_NOLOCK_HEAP_LISTED (1ULL << 42)

/* What a stack links: objects and chains by this word of the first object, pages by entries. */
enum arena_nolock_heap_kind {
	ARENA_NOLOCK_HEAP_OBJECTS,
	ARENA_NOLOCK_HEAP_CHAINS,
	ARENA_NOLOCK_HEAP_PAGES,
};

/* Classes by size, in units of 16 bytes, rounded up, minus 1. */
static const __u8 arena_nolock_heap_class_of[ARENA_NOLOCK_HEAP_MAX / 16] = {
	[0] = 0, [1] = 1, [2] = 2, [3] = 3, [4 ... 5] = 4, [6 ... 7] = 5, [8 ... 11] = 6,
	[12 ... 15] = 7, [16 ... 23] = 8, [24 ... 31] = 9, [32 ... 47] = 10, [48 ... 63] = 11,
	[64 ... 84] = 12, [85 ... 127] = 13,
};

/* BPF code accesses an arena by the lower 32 bits of an address. */
static __always_inline volatile __u64 __arena *arena_nolock_heap_word(__u64 addr)
{
	return (volatile __u64 __arena *)addr;
}

/* The lower 32 bits of the first object's address, or 0. */
static __always_inline __u64 arena_nolock_heap_first(__u64 chain)
{
	return chain << 36 >> 32;
}

static __always_inline __u64 arena_nolock_heap_depth(__u64 chain)
{
	return chain << 27 >> 55;
}

/* The address of the entry of @low's page, or 0 if no page of that MiB was ever a heap's. */
static __always_inline __u64 arena_nolock_heap_entry(struct arena_nolock_heap *heap, __u64 low)
{
	__u64 entries = *(volatile __u64 *)&heap->dir[(__u32)low >> 20];

	return entries ? entries + (low >> 12 & 255) * 16 : 0;
}

static __always_inline struct arena_nolock_heap_cache *
arena_nolock_heap_cache(struct arena_nolock_heap *heap, __u32 class)
{
	__u32 cpu = bpf_get_smp_processor_id() % ARENA_NOLOCK_HEAP_CPUS;

	return &heap->cpu[cpu].cache[class % ARENA_NOLOCK_HEAP_CLASSES];
}

static __always_inline volatile __u64 __arena *
arena_nolock_heap_link(struct arena_nolock_heap *heap, enum arena_nolock_heap_kind kind,
		       __u64 first)
{
	if (kind == ARENA_NOLOCK_HEAP_PAGES)
		return arena_nolock_heap_word(arena_nolock_heap_entry(heap, first)) + 1;

	return arena_nolock_heap_word(first) + kind;
}

/* Push @first on a stack that was seen as @top. */
static __always_inline _Bool
arena_nolock_heap_push_once(struct arena_nolock_heap *heap, enum arena_nolock_heap_kind kind,
			    __u64 *stack, __u64 top, __u64 first)
{
	*arena_nolock_heap_link(heap, kind, first) = top;

	return __sync_val_compare_and_swap(stack, top,
			((top + ARENA_NOLOCK_HEAP_DEPTH) & ~ARENA_NOLOCK_HEAP_FIRST) |
			first >> 4) == top;
}

/* Remove the first element of a stack that was seen as @top and is not empty. */
static __always_inline _Bool
arena_nolock_heap_pop_once(struct arena_nolock_heap *heap, enum arena_nolock_heap_kind kind,
			   __u64 *stack, __u64 top)
{
	/* If another call has removed the element, this is not a link; the cmpxchg then fails. */
	__u64 link = *arena_nolock_heap_link(heap, kind, arena_nolock_heap_first(top));

	return __sync_val_compare_and_swap(stack, top,
			((top + ARENA_NOLOCK_HEAP_GENERATION) & ~ARENA_NOLOCK_HEAP_CHAIN) |
			(link & ARENA_NOLOCK_HEAP_CHAIN)) == top;
}

static __always_inline __u64
arena_nolock_heap_pop(struct arena_nolock_heap *heap, enum arena_nolock_heap_kind kind,
		      __u64 *stack)
{
	__u64 top;
	int i;

	bpf_for(i, 0, ARENA_NOLOCK_HEAP_TRIES) {
		top = *(volatile __u64 *)stack;
		if (!arena_nolock_heap_first(top))
			return 0;
		if (arena_nolock_heap_pop_once(heap, kind, stack, top))
			return arena_nolock_heap_first(top);
	}

	return 0;
}

/* Put a page, which has LISTED set, on the stack of its class. */
static __always_inline void arena_nolock_heap_list(struct arena_nolock_heap *heap, __u32 class,
						   __u64 page)
{
	__u64 *stack = &heap->class[class % ARENA_NOLOCK_HEAP_CLASSES].partial;
	int i;

	bpf_for(i, 0, ARENA_NOLOCK_HEAP_TRIES)
		if (arena_nolock_heap_push_once(heap, ARENA_NOLOCK_HEAP_PAGES, stack,
						*(volatile __u64 *)stack, page))
			break;
}

/*
 * The slow paths are global functions, which the verifier checks once and not in each caller. They
 * cannot name the arena's map, so allocations and frees of pages are left to their callers: an
 * empty page goes on a list, which is linked by the first words of its pages.
 */

/*
 * Return an object to its page. If all its objects are there now, the page is no longer the
 * heap's, and true is returned.
 */
static __always_inline _Bool arena_nolock_heap_put(struct arena_nolock_heap *heap, __u32 class,
						   __u64 obj)
{
	volatile __u64 __arena *entry = arena_nolock_heap_word(arena_nolock_heap_entry(heap, obj));
	__u64 state, new;
	int i;

	bpf_for(i, 0, ARENA_NOLOCK_HEAP_TRIES) {
		state = *entry;
		/* Freed twice, the page is of others by now. */
		if (!(state & ARENA_NOLOCK_HEAP_USED))
			break;
		*arena_nolock_heap_word(obj) = state;
		new = ((state + ARENA_NOLOCK_HEAP_DEPTH) & ~ARENA_NOLOCK_HEAP_FIRST) | obj >> 4 |
		      ARENA_NOLOCK_HEAP_LISTED;
		if ((arena_nolock_heap_depth(new) + 1) * arena_nolock_heap_sizes[class] > 4096)
			new = state & ARENA_NOLOCK_HEAP_LISTED;
		if (__sync_val_compare_and_swap(entry, state, new) != state)
			continue;
		if (!(new & ARENA_NOLOCK_HEAP_USED))
			return 1;
		if (!(state & ARENA_NOLOCK_HEAP_LISTED))
			arena_nolock_heap_list(heap, class, obj & ~4095ULL);
		break;
	}

	return 0;
}

/* Return the objects of a chain to their pages. Returns @pages with those that are empty. */
__weak __noinline __u64 arena_nolock_heap_put_all(struct arena_nolock_heap *heap __arg_nonnull,
						  __u32 class, __u64 chain, __u64 pages)
{
	__u64 depth = arena_nolock_heap_depth(chain), obj;
	int i;

	class %= ARENA_NOLOCK_HEAP_CLASSES;
	bpf_for(i, 0, 512) {
		obj = arena_nolock_heap_first(chain);
		if (!obj)
			break;
		chain = *arena_nolock_heap_word(obj);
		if (arena_nolock_heap_put(heap, class, obj)) {
			obj &= ~4095ULL;
			*arena_nolock_heap_word(obj) = pages;
			pages = obj;
			__sync_fetch_and_add(&heap->class[class].pages, -1);
		}
	}
	__sync_fetch_and_add(&heap->class[class].taken, -depth);

	return pages;
}

/* Make a chain the spare of the cache, and move the former spare to the depot. */
static __always_inline void arena_nolock_heap_store(struct arena_nolock_heap *heap, __u32 class,
						    __u64 chain)
{
	struct arena_nolock_heap_class *c = &heap->class[class];
	int i;

	chain = __sync_lock_test_and_set(&arena_nolock_heap_cache(heap, class)->spare, chain);
	if (!chain)
		return;
	bpf_for(i, 0, ARENA_NOLOCK_HEAP_TRIES) {
		if (arena_nolock_heap_push_once(heap, ARENA_NOLOCK_HEAP_CHAINS, &c->depot,
						*(volatile __u64 *)&c->depot,
						arena_nolock_heap_first(chain))) {
			__sync_fetch_and_add(&c->stocked, arena_nolock_heap_depth(chain));
			break;
		}
	}
}

static __always_inline __u64 arena_nolock_heap_from_depot(struct arena_nolock_heap *heap,
							  __u32 class)
{
	struct arena_nolock_heap_class *c = &heap->class[class];
	__u64 obj = arena_nolock_heap_pop(heap, ARENA_NOLOCK_HEAP_CHAINS, &c->depot), depth;

	if (!obj)
		return 0;
	depth = arena_nolock_heap_depth(*arena_nolock_heap_word(obj)) + 1;
	__sync_fetch_and_add(&c->stocked, -depth);

	return depth * ARENA_NOLOCK_HEAP_DEPTH | obj >> 4;
}

/* Take all free objects of a page that has some. */
static __always_inline __u64 arena_nolock_heap_from_page(struct arena_nolock_heap *heap,
							 __u32 class)
{
	struct arena_nolock_heap_class *c = &heap->class[class];
	__u64 page = 0, state, chain, owner;
	volatile __u64 __arena *entry;
	int i;

	bpf_for(i, 0, ARENA_NOLOCK_HEAP_VISITS) {
		if (!page)
			page = arena_nolock_heap_pop(heap, ARENA_NOLOCK_HEAP_PAGES, &c->partial);
		if (!page)
			return 0;
		entry = arena_nolock_heap_word(arena_nolock_heap_entry(heap, page));
		state = *entry;
		chain = state & ARENA_NOLOCK_HEAP_CHAIN;
		owner = (state >> ARENA_NOLOCK_HEAP_CLASS_SHIFT) % ARENA_NOLOCK_HEAP_CLASSES;
		if (chain && owner != class) {
			/* The page left the arena, and came back for another class. */
			arena_nolock_heap_list(heap, owner, page);
			page = 0;
			continue;
		}
		if (__sync_val_compare_and_swap(entry, state, state &
				~(ARENA_NOLOCK_HEAP_CHAIN | ARENA_NOLOCK_HEAP_LISTED)) != state)
			continue;
		if (chain) {
			__sync_fetch_and_add(&c->taken, arena_nolock_heap_depth(chain));
			return chain;
		}
		page = 0;
	}
	if (page)
		arena_nolock_heap_list(heap, class, page);

	return 0;
}

/* Take the first object of a chain, and cache the others. */
static __always_inline __u64 arena_nolock_heap_use(struct arena_nolock_heap *heap, __u32 class,
						   __u64 chain)
{
	__u64 *stack = &arena_nolock_heap_cache(heap, class)->top;
	__u64 obj = arena_nolock_heap_first(chain), top = *(volatile __u64 *)stack;

	chain = *arena_nolock_heap_word(obj) & ARENA_NOLOCK_HEAP_CHAIN;
	if (chain && (arena_nolock_heap_first(top) ||
		      __sync_val_compare_and_swap(stack, top, top | chain) != top))
		arena_nolock_heap_store(heap, class, chain);

	return obj;
}

/* The fast path of an allocation found no object, or was interrupted. Returns 0 if all are used. */
__weak __noinline __u64 arena_nolock_heap_refill(struct arena_nolock_heap *heap __arg_nonnull,
						 __u32 class)
{
	struct arena_nolock_heap_cache *cache = arena_nolock_heap_cache(heap, class);
	__u64 obj, chain;

	class %= ARENA_NOLOCK_HEAP_CLASSES;
	obj = arena_nolock_heap_pop(heap, ARENA_NOLOCK_HEAP_OBJECTS, &cache->top);
	if (obj)
		return obj;
	chain = __sync_lock_test_and_set(&cache->spare, 0);
	if (!chain)
		chain = arena_nolock_heap_from_depot(heap, class);
	if (!chain)
		chain = arena_nolock_heap_from_page(heap, class);

	return chain ? arena_nolock_heap_use(heap, class, chain) : 0;
}

/* Make objects of a new page, which has an entry. */
__weak __noinline __u64 arena_nolock_heap_add(struct arena_nolock_heap *heap __arg_nonnull,
					      __u32 class, __u64 page)
{
	__u64 size, chain = 0, at = page;
	int i;

	class %= ARENA_NOLOCK_HEAP_CLASSES;
	size = arena_nolock_heap_sizes[class];
	bpf_for(i, 0, 256) {
		if (at + size > page + 4096)
			break;
		*arena_nolock_heap_word(at) = chain;
		chain = ((chain + ARENA_NOLOCK_HEAP_DEPTH) & ~ARENA_NOLOCK_HEAP_FIRST) | at >> 4;
		at += size;
	}
	/* The page can still be listed, see arena_nolock_heap_from_page(). */
	__sync_fetch_and_add(arena_nolock_heap_word(arena_nolock_heap_entry(heap, page)),
			     ARENA_NOLOCK_HEAP_USED |
			     (__u64)class << ARENA_NOLOCK_HEAP_CLASS_SHIFT);
	__sync_fetch_and_add(&heap->class[class].pages, 1);
	__sync_fetch_and_add(&heap->class[class].taken, arena_nolock_heap_depth(chain));

	return arena_nolock_heap_use(heap, class, chain);
}

/* The fast path of a free found the cache full, or was interrupted. Returns empty pages. */
__weak __noinline __u64 arena_nolock_heap_overflow(struct arena_nolock_heap *heap __arg_nonnull,
						   __u32 class, __u64 obj)
{
	__u64 *stack = &arena_nolock_heap_cache(heap, class)->top;
	__u64 top, chain = 0;
	int i;

	class %= ARENA_NOLOCK_HEAP_CLASSES;
	bpf_for(i, 0, ARENA_NOLOCK_HEAP_TRIES) {
		top = *(volatile __u64 *)stack;
		if ((arena_nolock_heap_depth(top) + 1) * arena_nolock_heap_sizes[class] <= 4096) {
			if (arena_nolock_heap_push_once(heap, ARENA_NOLOCK_HEAP_OBJECTS, stack,
							top, obj))
				return 0;
			continue;
		}
		*arena_nolock_heap_word(obj) = 0;
		if (__sync_val_compare_and_swap(stack, top,
				((top + ARENA_NOLOCK_HEAP_GENERATION) & ~ARENA_NOLOCK_HEAP_CHAIN) |
				ARENA_NOLOCK_HEAP_DEPTH | obj >> 4) == top) {
			chain = top & ARENA_NOLOCK_HEAP_CHAIN;
			break;
		}
	}
	if (!chain) {
		*arena_nolock_heap_word(obj) = 0;
		chain = ARENA_NOLOCK_HEAP_DEPTH | obj >> 4;
	}
	if (arena_nolock_heap_depth(heap->class[class].depot) >= ARENA_NOLOCK_HEAP_DEPOT)
		return arena_nolock_heap_put_all(heap, class, chain, 0);
	arena_nolock_heap_store(heap, class, chain);

	return 0;
}

/* Empty the caches and the depots. Returns empty pages. */
__weak __noinline __u64 arena_nolock_heap_empty(struct arena_nolock_heap *heap __arg_nonnull)
{
	struct arena_nolock_heap_cache *cache;
	__u64 top, chain, pages = 0;
	__u32 class, i;

	bpf_for(i, 0, ARENA_NOLOCK_HEAP_CPUS * ARENA_NOLOCK_HEAP_CLASSES) {
		class = i % ARENA_NOLOCK_HEAP_CLASSES;
		cache = &heap->cpu[i / ARENA_NOLOCK_HEAP_CLASSES % ARENA_NOLOCK_HEAP_CPUS]
			 .cache[class];
		top = *(volatile __u64 *)&cache->top;
		/* If this fails, the cache is in use. */
		if (arena_nolock_heap_first(top) &&
		    __sync_val_compare_and_swap(&cache->top, top,
				(top + ARENA_NOLOCK_HEAP_GENERATION) &
				~ARENA_NOLOCK_HEAP_CHAIN) == top)
			pages = arena_nolock_heap_put_all(heap, class, top, pages);
		if (*(volatile __u64 *)&cache->spare) {
			chain = __sync_lock_test_and_set(&cache->spare, 0);
			pages = arena_nolock_heap_put_all(heap, class, chain, pages);
		}
	}
	bpf_for(i, 0, ARENA_NOLOCK_HEAP_CLASSES * 512) {
		class = i % ARENA_NOLOCK_HEAP_CLASSES;
		chain = arena_nolock_heap_from_depot(heap, class);
		if (chain)
			pages = arena_nolock_heap_put_all(heap, class, chain, pages);
	}

	return pages;
}

/* Free the pages of a list, at most @max of them in case user space has changed a link. */
static __always_inline void arena_nolock_heap_free_pages(void *map, __u64 pages, int max)
{
	__u64 page;
	int i;

	bpf_for(i, 0, max) {
		page = pages;
		if (!page)
			break;
		pages = *arena_nolock_heap_word(page);
		arena_nolock_free_pages(map, (void __arena *)page, 1);
	}
}

static __noinline __u64
arena_nolock_heap_alloc_slow(void *map, struct arena_nolock_heap *heap, __u32 class)
{
	__u64 obj, page;

	/* Not in the fast path: on arm64 the size comes from a relocation. */
	if (ARENA_NOLOCK_PAGE_SIZE != 4096) {
		arena_nolock_heap__needs_pages_of_4096_bytes();
		return 0;
	}
	obj = arena_nolock_heap_refill(heap, class);
	if (obj)
		return obj;
	page = (__u64)arena_nolock_alloc_pages(map, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0);
	/* Keep a page that looks like NULL, and do not use it. */
	if (page && !(__u32)page)
		page = (__u64)arena_nolock_alloc_pages(map, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0);
	if (page) {
		if (arena_nolock_page_once(map, &heap->dir[(__u32)page >> 20]))
			return arena_nolock_heap_add(heap, class, (__u32)page);
		arena_nolock_free_pages(map, (void __arena *)page, 1);
	}
	class %= ARENA_NOLOCK_HEAP_CLASSES;
	__sync_fetch_and_add(&heap->class[class].failures, 1);

	return 0;
}

static __noinline int
arena_nolock_heap_free_slow(void *map, struct arena_nolock_heap *heap, __u32 class, __u64 obj)
{
	arena_nolock_heap_free_pages(map, arena_nolock_heap_overflow(heap, class, obj), 512);

	return 0;
}

/* Clang must not make a memset() of it, see arena_nolock_mem.h. */
static __always_inline void arena_nolock_heap_clear(__u64 obj, __u32 size)
{
	__u32 words = (size + 7) / 8, i, k;
	volatile __u64 __arena *p = arena_nolock_heap_word(obj);

	if (__builtin_constant_p(size) && words <= 16) {
		for (i = 0; i < words; i++)
			p[i] = 0;
		return;
	}
	bpf_for(i, 0, words / 8) {
		for (k = 0; k < 8; k++)
			p[i * 8 + k] = 0;
	}
	bpf_for(i, words / 8 * 8, words)
		p[i] = 0;
}

/**
 * arena_nolock_heap_alloc() - allocate an object
 * @map: pointer to the arena map
 * @heap: the heap
 * @size: bytes, 1 to ARENA_NOLOCK_HEAP_MAX
 *
 * The first @size bytes of the object are zero. The object is aligned to 16 bytes.
 *
 * Context: any, NMI included.
 * Return: the object's full 64-bit address, as user space sees it. NULL if there is no room or
 * no memory for a page, or if @size is invalid.
 */
static __always_inline void __arena *
arena_nolock_heap_alloc(void *map, struct arena_nolock_heap *heap, __u32 size)
{
	__u64 top, obj;
	__u64 *stack;
	__u32 class;

	if (!size || size > ARENA_NOLOCK_HEAP_MAX)
		return NULL;
	class = arena_nolock_heap_class_of[(size - 1) / 16];
	stack = &arena_nolock_heap_cache(heap, class)->top;
	top = *(volatile __u64 *)stack;
	obj = arena_nolock_heap_first(top);
	if (!obj || !arena_nolock_heap_pop_once(heap, ARENA_NOLOCK_HEAP_OBJECTS, stack, top))
		obj = arena_nolock_heap_alloc_slow(map, heap, class);
	if (!obj)
		return NULL;
	arena_nolock_heap_clear(obj, size);

	/* The cast to the other address space adds the upper 32 bits. */
	return (void __arena *)(void *)obj;
}

/**
 * arena_nolock_heap_free() - free an object
 * @map: pointer to the arena map
 * @heap: the heap that it was allocated from
 * @obj: the object, or NULL
 *
 * Ignores an address that is in no page of the heap, or not a multiple of 16. An address inside of
 * an object, or of an object that is free, damages the heap, as with free() in C: later calls can
 * return memory that is in use, or that has left the heap. They end, and stay within the arena.
 *
 * Pages that become empty are freed by arena_nolock_free_pages().
 *
 * Context: any, NMI included.
 */
static __always_inline void
arena_nolock_heap_free(void *map, struct arena_nolock_heap *heap, void __arena *obj)
{
	__u64 state, top, low = (__u32)(__u64)obj, entry = arena_nolock_heap_entry(heap, low);
	__u64 *stack;
	__u32 class;

	state = entry ? *arena_nolock_heap_word(entry) : 0;
	/* The page that looks like NULL is never in use. */
	if (low % 16 || !(state & ARENA_NOLOCK_HEAP_USED))
		return;
	class = (state >> ARENA_NOLOCK_HEAP_CLASS_SHIFT) % ARENA_NOLOCK_HEAP_CLASSES;
	stack = &arena_nolock_heap_cache(heap, class)->top;
	top = *(volatile __u64 *)stack;
	if ((arena_nolock_heap_depth(top) + 1) * arena_nolock_heap_sizes[class] > 4096 ||
	    !arena_nolock_heap_push_once(heap, ARENA_NOLOCK_HEAP_OBJECTS, stack, top, low))
		arena_nolock_heap_free_slow(map, heap, class, low);
}

/**
 * arena_nolock_heap_trim() - return all cached objects to their pages
 * @map: pointer to the arena map
 * @heap: the heap
 *
 * If no other call is in progress, only pages with objects in use are left, and those of
 * @heap->dir. The time is that of as many frees as there are cached objects, of all CPUs.
 *
 * Context: any, NMI included.
 */
static __always_inline void arena_nolock_heap_trim(void *map, struct arena_nolock_heap *heap)
{
	arena_nolock_heap_free_pages(map, arena_nolock_heap_empty(heap), 1 << 20);
}

#endif

#endif
