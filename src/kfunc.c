// SPDX-License-Identifier: GPL-2.0
/*
 * The three kfuncs: arguments, context, counters and tracepoints. alloc.c allocates;
 * slots.c queues a free, and arena_free_deferred.c does one that may sleep.
 *
 * Owns nothing.
 * Context: any, NMI included, under any lock.
 */
#define pr_fmt(fmt) "arena_nolock: " fmt

#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/module.h>

#include "adopt.h"
#include "alloc.h"
#include "arena.h"
#include "compat.h"
#include "kfunc.h"
#include "trace.h"

/*
 * May the caller of a kfunc sleep?
 *
 * The verifier specialises kfuncs by the sleepability of the program only for kfuncs of the
 * kernel itself, so a kfunc of a module decides at run time. Programs that may not sleep
 * run under rcu_read_lock(), with preemption or interrupts off, or in an interrupt; each
 * shows in one of the three.
 */
static __always_inline bool anl_may_sleep(void)
{
	return !preempt_count() && !irqs_disabled() && !rcu_preempt_depth();
}

static void *anl_alloc(struct anl_arena *arena, unsigned long addr, u32 cnt, int nid, u64 flags)
{
	bool may_sleep = anl_may_sleep();
	enum anl_ctx ctx = anl_current_ctx(may_sleep);
	long pgoff = -EINVAL;

	if (!flags && cnt)
		pgoff = anl_alloc_slots(arena, addr, cnt, nid, may_sleep);
	if (pgoff < 0) {
		anl_count(arena, alloc_fails[anl_fail_cause(pgoff)][ctx], 1);
		trace_arena_nolock_alloc_failed(arena, addr, cnt, ctx, pgoff);
		return NULL;
	}
	anl_count(arena, allocs[ctx], 1);
	anl_count(arena, alloc_pages, cnt);
	trace_arena_nolock_alloc(arena, pgoff, cnt, ctx);

	return (void *)anl_uaddr(arena, pgoff);
}

static noinline void anl_free_slow(struct anl_arena *arena, u32 pgoff, u32 cnt, enum anl_ctx ctx)
{
	struct anl_stat __percpu *stat = arena->stat;
	u32 found = 0;

	if (pgoff < arena->nr_slots) {
		cnt = min(cnt, arena->nr_slots - pgoff);
		if (ctx == ANL_CTX_TASK)
			found = anl_free_now(arena, pgoff, cnt);
		else
			found = anl_slots_free(arena, pgoff, cnt);
	}
	this_cpu_inc(stat->frees[ctx]);
	this_cpu_add(stat->free_pages, found);
	trace_arena_nolock_free(arena, pgoff, cnt, found, ctx);
}

/*
 * Fast path: one page of a caller that cannot sleep, without tracepoints. The only call is the
 * last thing that it does, so the compiler has no registers to save.
 */
static __always_inline void anl_free_one(struct anl_arena *arena, u32 pgoff, enum anl_ctx ctx)
{
	struct anl_stat __percpu *stat = arena->stat;

	/* Not stat->frees[ctx]: UBSAN would call a function if @ctx were out of bounds. */
	this_cpu_inc(*(stat->frees + ctx));
	if (!anl_slots_free_one(&arena->slots, pgoff))
		return;
	this_cpu_inc(stat->free_pages);
	this_cpu_inc(stat->queued_pages);
	anl_kick_ordered(&arena->kick, ANL_KICK_DRAIN);
}

static __always_inline void anl_free(struct anl_arena *arena, unsigned long addr, u32 cnt)
{
	enum anl_ctx ctx = anl_current_ctx(anl_may_sleep());
	u32 pgoff = anl_pgoff(arena, addr);

	if (cnt == 1 && pgoff < arena->nr_slots && ctx != ANL_CTX_TASK &&
	    !trace_arena_nolock_free_enabled() && !trace_arena_nolock_queue_enabled())
		anl_free_one(arena, pgoff, ctx);
	else
		anl_free_slow(arena, pgoff, cnt, ctx);
}

static int anl_reserve(struct anl_arena *arena, unsigned long addr, u32 cnt)
{
	bool may_sleep = anl_may_sleep();
	enum anl_ctx ctx = anl_current_ctx(may_sleep);
	u32 pgoff = anl_pgoff(arena, addr);
	long err = -EINVAL;

	if (!(addr & ~PAGE_MASK) && pgoff < arena->nr_limit && cnt <= arena->nr_limit - pgoff)
		err = anl_claim(arena, pgoff, cnt, may_sleep);
	if (err < 0) {
		anl_count(arena, reserve_fails[anl_fail_cause(err)][ctx], 1);
		trace_arena_nolock_reserve_failed(arena, addr, cnt, ctx, err);
		return err == -EINVAL ? -EINVAL : -EBUSY;
	}
	anl_slots_set_live(&arena->slots, pgoff, cnt);
	anl_count(arena, reserves[ctx], 1);
	trace_arena_nolock_reserve(arena, pgoff, cnt, ctx);

	return 0;
}

__bpf_kfunc_start_defs();

/**
 * bpf_arena_nolock_alloc_pages() - allocate pages of an arena
 * @p__map: the arena
 * @addr__ign: user-space address of the first page, aligned to pages; or NULL for
 *	the lowest address at which they fit, or one that this CPU has set aside
 * @page_cnt: number of pages, at most what the arena has
 * @node_id: preferred NUMA node, or NUMA_NO_NODE (-1)
 * @flags: 0
 *
 * The pages are zeroed, and mapped for BPF programs and on demand for user space. Either
 * all of them are allocated or none. Semantics are those of bpf_arena_alloc_pages() of
 * Linux 7.3.
 *
 * Context: any, NMI included. If the caller may sleep, the allocation may reclaim memory;
 * otherwise it uses the pool of the arena first.
 * Return: the user-space address of the first page, or NULL if the arguments are invalid,
 * no address or no memory was left, or @p__map is not an adopted arena.
 */
__bpf_kfunc void *bpf_arena_nolock_alloc_pages(void *p__map, void *addr__ign, u32 page_cnt,
					       int node_id, u64 flags)
{
	struct anl_arena *arena = anl_arena_of(p__map);

	if (!arena)
		return NULL;

	return anl_alloc(arena, (unsigned long)addr__ign, page_cnt, node_id, flags);
}

/**
 * bpf_arena_nolock_free_pages() - free pages or reservations of an arena
 * @p__map: the arena
 * @ptr__ign: address of the first page, as user space or as the program sees it;
 *	rounded down to a page
 * @page_cnt: number of pages; pages outside of the arena are ignored
 *
 * Pages that are not allocated are ignored. If the caller may sleep, the pages are unmapped
 * everywhere and their addresses are free on return; otherwise that happens soon
 * afterwards. Semantics are those of bpf_arena_free_pages() of Linux 7.3, except that an
 * address is never free before the old page is out of reach.
 *
 * Context: any, NMI included. Needs no memory and cannot fail.
 */
__bpf_kfunc void bpf_arena_nolock_free_pages(void *p__map, void *ptr__ign, u32 page_cnt)
{
	struct anl_arena *arena = anl_arena_of(p__map);

	if (!arena || !ptr__ign || !page_cnt)
		return;

	anl_free(arena, (unsigned long)ptr__ign, page_cnt);
}

/**
 * bpf_arena_nolock_reserve_pages() - keep addresses of an arena from being used
 * @p__map: the arena
 * @ptr__ign: address of the first page, aligned to pages
 * @page_cnt: number of pages; 0 does nothing
 *
 * Allocations skip the pages, and a user access to them is a SIGSEGV.
 * bpf_arena_nolock_free_pages() ends the reservation. Semantics are those of
 * bpf_arena_reserve_pages() of Linux 7.3, except that a misaligned address is an error.
 *
 * Context: any, NMI included.
 * Return: 0; -EINVAL outside of the arena or for a map that is not an adopted arena; -EBUSY
 * if any of the pages is taken.
 */
__bpf_kfunc int bpf_arena_nolock_reserve_pages(void *p__map, void *ptr__ign, u32 page_cnt)
{
	struct anl_arena *arena = anl_arena_of(p__map);

	if (!arena)
		return -EINVAL;
	if (!page_cnt)
		return 0;

	return anl_reserve(arena, (unsigned long)ptr__ign, page_cnt);
}

__bpf_kfunc_end_defs();

#define ANL_KF_FLAGS (ANL_KF_ARENA_ARG2 | ANL_KF_TRUSTED_ARGS | ANL_KF_SPINLOCK_SAFE)

BTF_KFUNCS_START(anl_kfunc_ids)
BTF_ID_FLAGS(func, bpf_arena_nolock_alloc_pages, ANL_KF_ARENA_RET | ANL_KF_FLAGS)
BTF_ID_FLAGS(func, bpf_arena_nolock_free_pages, ANL_KF_FLAGS)
BTF_ID_FLAGS(func, bpf_arena_nolock_reserve_pages, ANL_KF_FLAGS)
BTF_KFUNCS_END(anl_kfunc_ids)

static const struct btf_kfunc_id_set anl_kfunc_set = {
	.owner = THIS_MODULE,
	.set = &anl_kfunc_ids,
	.filter = anl_adopt_filter,
};

/**
 * anl_kfunc_setup() - let programs find the kfuncs
 *
 * Context: module init, when everything else is ready. Module exit undoes it.
 * Return: 0 or a negative error.
 */
int __init anl_kfunc_setup(void)
{
	int err = register_btf_kfunc_id_set(BPF_PROG_TYPE_UNSPEC, &anl_kfunc_set);

	if (err)
		pr_err("cannot register the kfuncs: error %d\n", err);

	return err;
}
