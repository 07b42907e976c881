// SPDX-License-Identifier: GPL-2.0
/*
 * Allocation: claim slots, get pages, map them, publish the slots.
 *
 *   1. Claim the slots in the tree. Short, under the tree's lock.
 *   2. Get all pages, without a lock, before anything is mapped.
 *   3. Map: one store per PTE, into tables that exist.
 *   4. Set the live bits.
 *
 * A slot that the caller's CPU has freed a moment ago, with its page, saves all of that: see
 * anl_alloc_reuse().
 *
 * If step 2 fails the claim is released: no other context has seen the slots. Step 3 fails
 * only if the kernel's fault handler has put its scratch page into a PTE (7.x), or if the
 * PTE holds a page that the arena does not know. A caller that may sleep does steps 2 and 3
 * block by block. If no slots are free, it drains the queue and retries once.
 *
 * Owns nothing.
 */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>

#include "alloc.h"
#include "arena.h"
#include "compat.h"
#include "pages.h"

/* How often a claim is retried because spares or magazines are in the way. */
#define ANL_CLAIM_TRIES 8

static long anl_claim_anywhere(struct anl_arena *arena, u32 cnt, bool may_sleep)
{
	u32 g = anl_magazine(&arena->slots);

	if (cnt == 1 && !may_sleep)
		return anl_slots_alloc_one(arena, anl_group(&arena->slots, g), g);

	return anl_slots_alloc(arena, cnt);
}

/**
 * anl_claim() - claim slots
 * @arena: the arena
 * @pgoff: first slot, or ANL_ANYWHERE for the lowest ones, or one of this CPU's magazine if
 *	the caller cannot sleep and wants a single one
 * @cnt: number of slots, not 0
 * @may_sleep: the caller may sleep, and so waits for slots in the queue
 *
 * Context: any, or process context if @may_sleep.
 * Return: the first slot; -ENOSPC or -EBUSY if the slots are not free; -EINVAL; or -EDEADLK
 * or -ETIMEDOUT if the tree's lock is unavailable.
 */
long anl_claim(struct anl_arena *arena, long pgoff, u32 cnt, bool may_sleep)
{
	int tries = ANL_CLAIM_TRIES;
	bool drained = false;
	long ret;

	for (;;) {
		if (pgoff == ANL_ANYWHERE)
			ret = anl_claim_anywhere(arena, cnt, may_sleep);
		else
			ret = anl_slots_claim(&arena->slots, pgoff, cnt) ?: pgoff;
		if (ret >= 0) {
			/* The lowest address is promised; it may be a spare. */
			if (pgoff != ANL_ANYWHERE || !anl_spares_below(&arena->slots, ret) ||
			    !tries--)
				return ret;
			anl_slots_unclaim(arena, ret, cnt);
			anl_spares_release(arena, 0, ret);
			continue;
		}

		if (ret != -ENOSPC && ret != -EBUSY) {
			/* The lock is unavailable; an NMI may have interrupted its holder. */
			if (pgoff == ANL_ANYWHERE && cnt == 1) {
				u32 spare = anl_spares_pop(arena);

				if (spare != ANL_NO_SPARE)
					return spare;
			}
			return ret;
		}
		/* Other callers may claim them again meanwhile, so tries are limited. */
		if (tries-- && (pgoff == ANL_ANYWHERE ?
				anl_slots_take_back(arena, 0, arena->nr_limit) :
				anl_slots_take_back(arena, pgoff, cnt)))
			continue;
		if (!may_sleep || drained)
			return ret;
		/* Callers that may sleep can wait for queued slots. */
		anl_drain_now(arena);
		drained = true;
		tries = ANL_CLAIM_TRIES;
	}
}

/**
 * anl_alloc_undo() - return a page that the fast path cannot use
 * @arena: the arena
 * @page: the page
 *
 * Context: any.
 * Return: -EAGAIN.
 */
long anl_alloc_undo(struct anl_arena *arena, struct page *page)
{
	LIST_HEAD(pages);

	list_add(&page->lru, &pages);
	anl_unget_pages(arena, &pages);

	return -EAGAIN;
}

/**
 * anl_alloc_stray() - the same, and leave a slot whose PTE is not empty
 * @arena: the arena
 * @pgoff: the slot, which is claimed
 * @page: the page
 *
 * Context: any.
 * Return: -EAGAIN.
 */
long anl_alloc_stray(struct anl_arena *arena, u32 pgoff, struct page *page)
{
	/* Only the drain can remove a scratch page. */
	if (anl_keep_stray(arena, pgoff))
		anl_slots_queue(arena, pgoff, 1);

	return anl_alloc_undo(arena, page);
}

/**
 * anl_alloc_reuse() - allocate a slot that waits for the drain, with the page in it
 * @arena: the arena
 * @g: the group that is the magazine of this CPU
 * @dying: slots of the group that were dying, not 0
 * @nid: the node that the page must be of, or NUMA_NO_NODE for the caller's own
 *
 * dying -> claimed -> mapped. The address keeps its page, which is zeroed, so all translations
 * stay valid: nothing has to be unmapped, flushed, released or counted. An arena that is too
 * small for magazines has to return the lowest address, and reuses nothing.
 *
 * Context: any.
 * Return: the slot, or -EAGAIN.
 */
long anl_alloc_reuse(struct anl_arena *arena, u32 g, unsigned long dying, int nid)
{
	struct anl_slots *slots = &arena->slots;
	u32 pgoff = g * ANL_GROUP_SLOTS + __ffs(dying);
	struct page *page;

	nid = anl_mem_node(nid);
	if (!anl_slots_suffice(arena->nr_limit) || !anl_reusable_page(arena, pgoff, nid) ||
	    !anl_slots_take_dying_one(slots, pgoff))
		return -EAGAIN;
	/* The slot was not ours before. It can have another page by now. */
	page = anl_reusable_page(arena, pgoff, nid);
	if (!page) {
		anl_slots_queue(arena, pgoff, 1);
		return -EAGAIN;
	}
	clear_highpage(page);
	anl_slots_set_live_one(slots, pgoff);
	anl_count(arena, reused_pages, 1);

	return pgoff;
}

/*
 * Map pages at claimed slots for a caller that can sleep. Returns 0, or -ENOMEM if only some
 * of the slots have pages.
 *
 * A limit that is hit, or a shortage of memory, is a failure and no reason for an OOM kill:
 * a BPF program can handle NULL. A task that is being killed gets no more than a block: large
 * requests must not delay its end, and programs that run at its end need memory too.
 */
static int anl_populate(struct anl_arena *arena, u32 pgoff, u32 cnt, int nid)
{
	u32 order = ANL_BLOCK_ORDER, n = 0, mapped;
	struct anl_charge charge;

	anl_charge_begin(arena, &charge);
	while (n < cnt && (n < 1U << ANL_BLOCK_ORDER || !fatal_signal_pending(current))) {
		struct page *page;

		page = anl_alloc_block(&charge, GFP_KERNEL | __GFP_RETRY_MAYFAIL, cnt - n,
				       &order, nid);
		/* Pages of the pool beyond the promised ones serve any caller. */
		if (!page && atomic_read(&arena->pool.nr) > (int)arena->pool.min)
			page = anl_pool_pop(arena, &arena->pool);
		if (!page)
			break;
		mapped = anl_map_block(arena, pgoff + n, page, 1U << order);
		n += mapped;
		if (mapped < 1U << order) {
			for (; mapped < 1U << order; mapped++)
				put_page(page + mapped);
			break;
		}
		cond_resched();
	}
	anl_charge_end(&charge);

	return n == cnt ? 0 : -ENOMEM;
}

/*
 * Undo anl_populate(). A slot with a page that the arena does not know is left alone, see
 * anl_keep_stray(). Returns the number of such slots.
 */
static u32 anl_unpopulate(struct anl_arena *arena, u32 pgoff, u32 cnt)
{
	u32 end = pgoff + cnt, left = cnt;

	while (pgoff < end) {
		struct anl_span span = { pgoff, 0 };
		struct anl_unmapped unmapped;

		while (pgoff < end && !anl_slots_is_live(&arena->slots, pgoff))
			pgoff++;
		span.cnt = pgoff++ - span.pgoff;
		if (!span.cnt)
			continue;
		anl_unmap_spans(arena, &span, 1, &unmapped);
		anl_put_pages(&unmapped.pages);
		anl_slots_release(arena, span.pgoff, span.cnt);
		left -= span.cnt;
	}

	return left;
}

/* Leave claimed slots, of which slot @bad holds an unexpected page, to the drain. */
static void anl_leave_slots(struct anl_arena *arena, u32 pgoff, u32 cnt, u32 bad)
{
	if (anl_keep_stray(arena, bad)) {
		anl_slots_queue(arena, pgoff, cnt);
		return;
	}
	if (bad > pgoff)
		anl_slots_queue(arena, pgoff, bad - pgoff);
	if (bad + 1 < pgoff + cnt)
		anl_slots_queue(arena, bad + 1, pgoff + cnt - bad - 1);
}

/* Tries of a caller that finds unexpected pages in its slots. */
#define ANL_SCRATCH_TRIES 4

/*
 * Pages for claimed slots, for a caller that cannot sleep. Such a caller cannot flush TLBs
 * and so cannot remove a scratch page. It leaves the slots, with the pages that they hold by
 * then, to the drain, and claims others unless @fixed. Returns the first slot, or an error
 * with nothing claimed.
 */
static long anl_populate_atomic(struct anl_arena *arena, long pgoff, u32 cnt, int nid, bool fixed)
{
	int tries = ANL_SCRATCH_TRIES;
	LIST_HEAD(pages);
	u32 n;

	if (anl_get_pages(arena, cnt, nid, &pages)) {
		anl_slots_unclaim(arena, pgoff, cnt);
		return -ENOMEM;
	}
	while ((n = anl_map_pages(arena, pgoff, cnt, &pages)) < cnt) {
		anl_leave_slots(arena, pgoff, cnt, pgoff + n);
		pgoff = -EAGAIN;
		if (!fixed && --tries && !anl_get_pages(arena, n, nid, &pages))
			pgoff = anl_claim(arena, ANL_ANYWHERE, cnt, false);
		if (pgoff < 0) {
			anl_unget_pages(arena, &pages);
			return pgoff;
		}
	}

	return pgoff;
}

/*
 * The same for a caller that can sleep. Only a page that the arena does not know makes it
 * claim other slots.
 */
static long anl_populate_sleeping(struct anl_arena *arena, long pgoff, u32 cnt, int nid, bool fixed)
{
	int tries = ANL_SCRATCH_TRIES;

	while (anl_populate(arena, pgoff, cnt, nid)) {
		if (!anl_unpopulate(arena, pgoff, cnt) || fixed || !--tries)
			return -ENOMEM;
		pgoff = anl_claim(arena, ANL_ANYWHERE, cnt, true);
		if (pgoff < 0)
			return pgoff;
	}

	return pgoff;
}

/* anl_alloc_slots() without the fast path. */
long anl_alloc_slow(struct anl_arena *arena, unsigned long addr, u32 cnt, int nid, bool may_sleep)
{
	long pgoff = addr ? anl_pgoff(arena, addr) : ANL_ANYWHERE;

	if (!anl_nid_is_valid(nid) || cnt > arena->nr_limit || addr & ~PAGE_MASK)
		return -EINVAL;
	/* More pages than the machine has: fail before everything else is reclaimed. */
	if (cnt > totalram_pages())
		return -ENOMEM;

	pgoff = anl_claim(arena, pgoff, cnt, may_sleep);
	if (pgoff < 0)
		return pgoff;
	if (may_sleep)
		pgoff = anl_populate_sleeping(arena, pgoff, cnt, nid, addr);
	else
		pgoff = anl_populate_atomic(arena, pgoff, cnt, nid, addr);
	if (pgoff < 0)
		return pgoff;
	anl_slots_set_live(&arena->slots, pgoff, cnt);

	return pgoff;
}
