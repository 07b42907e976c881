// SPDX-License-Identifier: GPL-2.0
/*
 * Retiring: from a slot that is not live to one that can be allocated again.
 *
 * A free from a context that cannot sleep ends in slots.c, with the slots in the queue and
 * a request for the drain worker. A free that may sleep, and an allocation that needs room,
 * retire slots themselves.
 *
 * Retiring a batch of spans, in this order, in process context with interrupts on:
 *   1. zap the slots from every user mapping; slots that user space may still reach
 *      afterwards return to the queue with their pages (anl_zap_spans());
 *   2. clear the kernel PTEs, one TLB flush for the batch;
 *   3. release the slots in the tree;
 *   4. free the pages, or have them zeroed for the pool (recycle.c).
 * A slot can be allocated again only after step 3, and a page only after step 4. By then no
 * CPU and no process can reach the old page through the slot. A sleepable free of one page that
 * user space does not map does steps 2 to 4 without a batch.
 *
 * Step 1 needs mmap_lock of the processes that map one of the pages, and no fault in flight
 * on one of them. The caller of a sleepable kfunc may hold that very lock, or run inside of
 * reclaim that was entered with it. So each call naps for a bounded time in total (struct
 * anl_reach), not at all inside of reclaim, and leaves the rest to the worker. The worker
 * does not nap: it retires what it can reach, and retries after a delay that starts at a
 * millisecond and doubles. So a process that keeps its mmap_lock delays the slots that it
 * maps, and no others.
 *
 * Nothing here allocates while it owns a slot, and no lock is held across steps. Drains
 * run in parallel on disjoint slots.
 *
 * Owns: struct anl_drain.
 */
#include <linux/delay.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "arena.h"
#include "compat.h"
#include "queue.h"
#include "trace.h"

/* Spans that a free can retire without further memory. */
#define ANL_STACK_SPANS 16

/*
 * Slots that a drain retires, more or less, with one flush. More would make addresses wait for
 * longer than the worker's pause does. In a guest with more CPUs than its host a flush takes
 * milliseconds, and fewer would make it the limit.
 */
#define ANL_DRAIN_SLOTS 8192

/*
 * How often a call naps, for half a millisecond at most: for mmap_lock, for a fault in
 * flight, and for drains that others have begun.
 */
#define ANL_CALL_NAPS 20

/* Delays of the worker, in jiffies, while there are slots that it cannot reach. */
#define ANL_RETRY_MIN 1UL
#define ANL_RETRY_MAX (HZ / 16)

/* Runs of slots that one TLB flush and one walk of the user mappings retire. */
struct anl_batch {
	u32 nr;
	u32 cap;
	u32 slots;	/* in all of them */
	u32 retired;	/* runs that have been in it */
	struct anl_span spans[];
};

/* Bytes of a batch: of a worker at most, and of a caller. */
#define ANL_BATCH_WORKER	SZ_32K
#define ANL_BATCH_CALLER	SZ_4K
#define ANL_BATCH_CAP(size) \
	((u32)((size - sizeof(struct anl_batch)) / sizeof(struct anl_span)))

/* Retire slots that user space cannot reach, and empty the batch. */
static void anl_retire_spans(struct anl_arena *arena, struct anl_batch *batch,
			     struct anl_reach *reach)
{
	struct anl_unmapped unmapped;
	u32 i;

	if (!batch->nr)
		return;
	anl_slots_begin_retire(&arena->slots);
	anl_unmap_spans(arena, batch->spans, batch->nr, &unmapped);
	for (i = 0; i < batch->nr; i++)
		anl_slots_release(arena, batch->spans[i].pgoff, batch->spans[i].cnt);
	anl_count(arena, drains, 1);
	anl_count(arena, drain_pages, batch->slots);
	trace_arena_nolock_drain(arena, batch->nr, batch->slots, unmapped.nr_pages, !reach->stuck);
	batch->retired += batch->nr;
	batch->nr = 0;
	batch->slots = 0;
	/* Zeroing takes time, so pages are reused only if slots can wait for it. */
	if (reach->worker && anl_has_room(arena))
		anl_recycle(arena, &unmapped.pages);
	anl_put_pages(&unmapped.pages);
}

static void anl_batch_slot(struct anl_batch *batch, u32 pgoff)
{
	struct anl_span *last = batch->nr ? &batch->spans[batch->nr - 1] : NULL;

	if (last && last->pgoff + last->cnt == pgoff)
		last->cnt++;
	else
		batch->spans[batch->nr++] = (struct anl_span){ pgoff, 1 };
	batch->slots++;
}

/* The same for a batch of which user space may reach some slots; those are queued. */
static void anl_retire_reached(struct anl_arena *arena, struct anl_batch *batch,
			       struct anl_reach *reach)
{
	DEFINE_RAW_FLEX(struct anl_batch, part, spans, ANL_STACK_SPANS);
	u32 i, pgoff, end;

	*part = (struct anl_batch){ .cap = ANL_STACK_SPANS };
	for (i = 0; i < batch->nr; i++) {
		end = batch->spans[i].pgoff + batch->spans[i].cnt;
		for (pgoff = batch->spans[i].pgoff; pgoff < end; pgoff++) {
			if (anl_slot_users(arena, pgoff) != ANL_USERS_NONE) {
				anl_slots_put_dying(&arena->slots, ANL_GROUP(pgoff),
						    BIT_MASK(pgoff));
				reach->stuck++;
				continue;
			}
			anl_batch_slot(part, pgoff);
			if (part->nr == part->cap)
				anl_retire_spans(arena, part, reach);
		}
	}
	anl_retire_spans(arena, part, reach);
	batch->retired += part->retired;
	batch->nr = 0;
	batch->slots = 0;
}

/* Retire the batch and empty it. Slots that cannot be reached return to the queue. */
static void anl_retire(struct anl_arena *arena, struct anl_batch *batch, struct anl_reach *reach)
{
	if (anl_zap_spans(arena, batch->spans, batch->nr, reach))
		anl_retire_reached(arena, batch, reach);
	else
		anl_retire_spans(arena, batch, reach);
}

/*
 * Append the runs of slots @bits of group @g to the batch. Returns the slots for which there
 * is no room.
 */
static unsigned long anl_batch_add(struct anl_batch *batch, u32 g, unsigned long bits)
{
	unsigned long rest = bits;
	struct anl_span *last;
	u32 pgoff, cnt;

	for (; bits; bits = rest) {
		pgoff = g * ANL_GROUP_SLOTS + anl_cut_run(&rest, &cnt);
		last = batch->nr ? &batch->spans[batch->nr - 1] : NULL;
		if (last && last->pgoff + last->cnt == pgoff)
			last->cnt += cnt;
		else if (batch->nr < batch->cap)
			batch->spans[batch->nr++] = (struct anl_span){ pgoff, cnt };
		else
			break;
		batch->slots += cnt;
	}

	return bits;
}

/* Retire the slots that are in the queue now. */
static void anl_drain_queue(struct anl_arena *arena, struct anl_batch *batch,
			    struct anl_reach *reach)
{
	u32 nr_sums = BITS_TO_LONGS(ANL_NR_GROUPS(arena->nr_slots));
	u32 i;

	for (i = 0; i < nr_sums; i++) {
		unsigned long sum = anl_slots_take_sum(&arena->slots, i);

		while (sum) {
			u32 g = i * BITS_PER_LONG + __ffs(sum);
			unsigned long bits = anl_slots_take_dying(&arena->slots, g);

			sum &= sum - 1;
			while ((bits = anl_batch_add(batch, g, bits)))
				anl_retire(arena, batch, reach);
			if (batch->slots >= ANL_DRAIN_SLOTS)
				anl_retire(arena, batch, reach);
		}
		cond_resched();
	}
	anl_retire(arena, batch, reach);
}

/* The same, visible to callers that wait for drains in progress. */
static void anl_drain(struct anl_arena *arena, struct anl_batch *batch, struct anl_reach *reach)
{
	atomic_inc(&arena->drain.running);
	anl_drain_queue(arena, batch, reach);
	atomic_dec(&arena->drain.running);
}

/* A pass that ends now has retired slots that were queued after @since. */
static void anl_note_latency(struct anl_arena *arena, u64 since)
{
	u64 ns = ktime_get_mono_fast_ns() - since;

	if ((s64)ns > 0 && ns > arena->drain.ns_max)
		WRITE_ONCE(arena->drain.ns_max, ns);
}

/*
 * While passes find slots to retire, the worker pauses between them if slots can wait for
 * a moment. During all that time frees only have to queue their slots.
 */
static void anl_drain_work(struct work_struct *work)
{
	struct anl_arena *arena = container_of(to_delayed_work(work), struct anl_arena, kick.drain);
	struct anl_batch *batch = arena->drain.batch;
	u64 since = READ_ONCE(arena->kick.drain_since), begin;
	struct anl_reach reach;
	bool asked = false;

	for (;;) {
		begin = ktime_get_mono_fast_ns();
		batch->retired = 0;
		reach = (struct anl_reach){ .worker = true };
		anl_drain(arena, batch, &reach);
		if (batch->retired) {
			anl_note_latency(arena, since);
			since = begin;
			arena->drain.retry = ANL_RETRY_MIN;
			if (anl_has_room(arena))
				usleep_range(ANL_DRAIN_PAUSE_US, 2 * ANL_DRAIN_PAUSE_US);
		} else if (asked) {
			break;
		} else {
			/* From here on a free requests the next run itself. */
			anl_kick_ack(&arena->kick, ANL_KICK_DRAIN);
			asked = true;
		}
	}
	if (!reach.stuck) {
		arena->drain.retry = ANL_RETRY_MIN;
		return;
	}
	queue_delayed_work(anl_drain_wq, &arena->kick.drain, arena->drain.retry);
	arena->drain.retry = min(2 * arena->drain.retry, ANL_RETRY_MAX);
}

/* How long a call that may sleep waits. In reclaim it does not wait at all. */
static struct anl_reach anl_call_reach(void)
{
	return (struct anl_reach){ .naps = current->flags & PF_MEMALLOC ? 0 : ANL_CALL_NAPS };
}

/* Memory for a batch of up to @cnt slots, or the caller's few spans on the stack. */
static struct anl_batch *anl_batch_get(struct anl_batch *fallback, u32 cnt)
{
	struct anl_batch *batch = NULL;

	/* At most every other slot starts a span. */
	if (cnt > 2 * ANL_STACK_SPANS)
		batch = kmalloc(ANL_BATCH_CALLER, GFP_KERNEL | __GFP_NORETRY | __GFP_NOMEMALLOC |
				__GFP_NOWARN);
	if (!batch) {
		*fallback = (struct anl_batch){ .cap = ANL_STACK_SPANS };
		return fallback;
	}
	*batch = (struct anl_batch){ .cap = ANL_BATCH_CAP(ANL_BATCH_CALLER) };

	return batch;
}

static void anl_batch_put(struct anl_batch *batch, struct anl_batch *fallback)
{
	if (batch != fallback)
		kfree(batch);
}

/**
 * anl_drain_now() - retire the queue for a caller that needs room
 * @arena: the arena
 *
 * Waits for drains in progress as well, for a bounded time: such a drain may be preempted,
 * or further up our own stack.
 *
 * Context: process context, may sleep, and may hold mmap_lock.
 */
void anl_drain_now(struct anl_arena *arena)
{
	DEFINE_RAW_FLEX(struct anl_batch, fallback, spans, ANL_STACK_SPANS);
	struct anl_batch *batch = anl_batch_get(fallback, arena->nr_slots);
	struct anl_reach reach = anl_call_reach();

	anl_drain(arena, batch, &reach);
	anl_batch_put(batch, fallback);
	if (reach.stuck)
		anl_kick(&arena->kick, ANL_KICK_DRAIN);
	for (; atomic_read(&arena->drain.running) && reach.naps > 0; reach.naps--)
		anl_nap(50, 500);
}

/**
 * anl_drain_reached() - retire the queue for a caller that holds an mmap_lock
 * @arena: the arena
 * @mm: address space whose mmap_lock the caller holds for read
 *
 * Does not kick the worker about stuck slots: they were stuck before, so the worker is going
 * to retry.
 *
 * Context: process context, may sleep. Does not nap.
 */
void anl_drain_reached(struct anl_arena *arena, struct mm_struct *mm)
{
	DEFINE_RAW_FLEX(struct anl_batch, batch, spans, ANL_STACK_SPANS);
	struct anl_reach reach = { .held = mm };

	*batch = (struct anl_batch){ .cap = ANL_STACK_SPANS };
	anl_drain(arena, batch, &reach);
}

static u32 anl_free_range(struct anl_arena *arena, u32 pgoff, u32 cnt)
{
	DEFINE_RAW_FLEX(struct anl_batch, fallback, spans, ANL_STACK_SPANS);
	struct anl_batch *batch = anl_batch_get(fallback, cnt);
	struct anl_reach reach = anl_call_reach();
	u32 g, found = 0;

	for (g = ANL_GROUP(pgoff); g <= ANL_GROUP(pgoff + cnt - 1); g++) {
		unsigned long bits = anl_slots_take_live(&arena->slots, g,
							 anl_group_mask(g, pgoff, cnt));

		found += hweight_long(bits);
		while ((bits = anl_batch_add(batch, g, bits)))
			anl_retire(arena, batch, &reach);
		if (!(g % 1024))
			cond_resched();
	}
	anl_retire(arena, batch, &reach);
	anl_batch_put(batch, fallback);
	anl_slots_queued(arena, pgoff, cnt, reach.stuck);

	return found;
}

/*
 * Retire a slot that is not live any more. Returns 0, or -EBUSY with nothing done if user space
 * can reach its page.
 */
static int anl_retire_one(struct anl_arena *arena, u32 pgoff)
{
	struct anl_stat __percpu *stat = arena->stat;
	struct page *page;

	anl_slots_begin_retire(&arena->slots);
	if (anl_unmap_page(arena, pgoff, &page))
		return -EBUSY;
	anl_slots_release(arena, pgoff, 1);
	this_cpu_inc(stat->drains);
	this_cpu_inc(stat->drain_pages);
	trace_arena_nolock_drain(arena, 1, 1, !!page, true);
	if (page)
		__free_page(page);

	return 0;
}

/* The same, and user space may reach it. */
static noinline void anl_retire_mapped_one(struct anl_arena *arena, u32 pgoff)
{
	DEFINE_RAW_FLEX(struct anl_batch, batch, spans, ANL_STACK_SPANS);
	struct anl_reach reach = anl_call_reach();

	*batch = (struct anl_batch){ .cap = ANL_STACK_SPANS };
	anl_batch_slot(batch, pgoff);
	anl_retire(arena, batch, &reach);
	anl_slots_queued(arena, pgoff, 1, reach.stuck);
}

/**
 * anl_free_now() - free from a context that may sleep
 * @arena: the arena
 * @pgoff: first slot
 * @cnt: number of slots, not 0, inside the arena
 *
 * On return the slots that were live are free. The exceptions are slots that user space
 * maps in a process whose mmap_lock was unavailable for some 10 ms, and slots with a fault
 * in flight for as long: those are in the queue.
 *
 * Context: process context, may sleep, and may hold mmap_lock.
 * Return: number of slots that were live.
 */
u32 anl_free_now(struct anl_arena *arena, u32 pgoff, u32 cnt)
{
	if (cnt > 1)
		return anl_free_range(arena, pgoff, cnt);
	if (!anl_slots_take_live_one(&arena->slots, pgoff))
		return 0;
	if (anl_retire_one(arena, pgoff))
		anl_retire_mapped_one(arena, pgoff);

	return 1;
}

/**
 * anl_drain_init() - prepare the drain
 * @arena: the arena
 *
 * Context: process context, may sleep.
 * Return: 0 or -ENOMEM.
 */
int anl_drain_init(struct anl_arena *arena)
{
	/* At most every other slot starts a span. */
	u32 cap = min(DIV_ROUND_UP(arena->nr_slots, 2), ANL_BATCH_CAP(ANL_BATCH_WORKER));

	INIT_DELAYED_WORK(&arena->kick.drain, anl_drain_work);
	arena->drain.retry = ANL_RETRY_MIN;
	arena->drain.batch = anl_zalloc(arena, struct_size(arena->drain.batch, spans, cap));
	if (!arena->drain.batch)
		return -ENOMEM;
	arena->drain.batch->cap = cap;

	return 0;
}

/* Undo anl_drain_init(), or the part of it that succeeded. The worker does not run. */
void anl_drain_exit(struct anl_arena *arena)
{
	kvfree(arena->drain.batch);
}
