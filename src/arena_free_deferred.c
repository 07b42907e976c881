// SPDX-License-Identifier: GPL-2.0
/*
 * Freeing: from the call to the moment at which the page can be allocated again.
 *
 * A free takes the live bits of its slots with one atomic operation per word of the
 * bitmap. The context that clears a bit owns the slot, so double, overlapping and
 * racing frees need no lock, and slots that were never allocated, or are just being
 * allocated, have no bit to take.
 *
 * The queue is a second bitmap, @dying. Queueing a slot sets its bit: that needs no
 * memory, cannot fail, merges neighbours by itself, and is safe in NMI. @dying_sum
 * tells the drain which words to look at.
 *
 * Retiring a batch of spans, in this order, in process context with interrupts on:
 *   1. zap the slots from every user mapping; slots that user space may still reach
 *      afterwards go back to the queue with their pages (anl_zap_spans());
 *   2. clear the kernel PTEs, one TLB flush for the batch;
 *   3. give the slots back to the tree;
 *   4. drop the pages, or zero them for the pool.
 * Only after 3 can a slot be handed out again, and only after 4 a page; by then
 * no CPU and no process can reach the old page through the slot.
 *
 * Step 1 needs mmap_lock of the processes that map one of the pages, and no fault in
 * flight on one of them. The caller of a sleepable kfunc may hold that very lock, or
 * run inside of reclaim that was entered with it. So each call naps for a bounded time
 * all in all (struct anl_reach), not at all inside of reclaim, and leaves the rest to
 * the worker. The worker does not nap: it retires what it can reach, and looks again
 * after a while, at first a millisecond and then twice as long each time. So a process
 * that keeps its mmap_lock holds up the slots that it maps, and no others.
 *
 * Nothing here allocates while it owns a slot, and no lock is held across steps.
 * Drains run in parallel on disjoint slots.
 */
#include <linux/delay.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "arena.h"
#include "compat.h"
#include "trace.h"

/* Spans that a free can retire without memory for more. */
#define ANL_STACK_SPANS 16

/* So many slots, more or less, are retired before the worker looks for others. */
#define ANL_DRAIN_SLOTS 1024

/* How long slots may gather before a pass of the worker, at least. */
#define ANL_DRAIN_PAUSE_US 300

/*
 * How often a call naps, for half a millisecond at most: for mmap_lock, for a fault in
 * flight, and for drains that others have begun.
 */
#define ANL_CALL_NAPS 20

/* Pauses of the worker, in jiffies, while there is something that it cannot reach. */
#define ANL_RETRY_MIN 1UL
#define ANL_RETRY_MAX (HZ / 16)

/**
 * anl_kick() - start work from any context
 * @arena: the arena
 * @what: ANL_KICK_DRAIN, ANL_KICK_REFILL or both
 *
 * Context: any.
 */
void anl_kick(struct anl_arena *arena, int what)
{
	/*
	 * What the caller has changed comes before the look at the bit. Pairs with the
	 * barriers in anl_drain_work() and anl_refill_work(), which clear the bit and then
	 * look. If the bit is set, the work has yet to look and will see the change.
	 */
	smp_mb();
	if ((atomic_read(&arena->kicked) & what) == what)
		return;
	if (what & ~atomic_read(&arena->kicked) & ANL_KICK_DRAIN)
		WRITE_ONCE(arena->kick_ns, ktime_get_mono_fast_ns());
	if ((atomic_fetch_or(what, &arena->kicked) & what) == what)
		return;
	irq_work_queue(&arena->kick);
}

/* Is there so much room that slots may stay in the queue for a moment? */
static bool anl_has_room(const struct anl_arena *arena)
{
	return anl_tree_nr_free(&arena->tree) >= arena->nr_limit / 4;
}

static enum hrtimer_restart anl_pause_over(struct hrtimer *timer)
{
	struct anl_arena *arena = container_of(timer, struct anl_arena, pause);

	mod_delayed_work(anl_drain_wq, &arena->drain_work, 0);

	return HRTIMER_NORESTART;
}

/*
 * Hard interrupt context. Frees come in bursts: a worker that began with the
 * first of them would flush TLBs for a few slots at a time, interrupt the very CPU
 * that is freeing, and have to be started again and again.
 */
static void anl_kick_handler(struct irq_work *work)
{
	struct anl_arena *arena = container_of(work, struct anl_arena, kick);
	int what = atomic_read(&arena->kicked);

	if (what & ANL_KICK_REFILL)
		mod_delayed_work(anl_refill_wq, &arena->refill_work, 0);
	if (!(what & ANL_KICK_DRAIN))
		return;
	if (!anl_has_room(arena))
		mod_delayed_work(anl_drain_wq, &arena->drain_work, 0);
	else if (!hrtimer_is_queued(&arena->pause))
		hrtimer_start(&arena->pause, ns_to_ktime(ANL_DRAIN_PAUSE_US * NSEC_PER_USEC),
			      HRTIMER_MODE_REL_HARD);
}

/**
 * anl_set_live() - hand claimed slots to the user of the arena
 * @arena: the arena
 * @pgoff: first slot
 * @cnt: number of slots, not 0
 *
 * Context: any. The caller owns the slots and has mapped their pages.
 */
void anl_set_live(struct anl_arena *arena, u32 pgoff, u32 cnt)
{
	u32 w;

	/* The PTE before the bit: pairs with smp_rmb() in anl_fault_live(). */
	smp_mb__before_atomic();
	for (w = BIT_WORD(pgoff); w <= BIT_WORD(pgoff + cnt - 1); w++)
		atomic_long_or(anl_word_mask(w, pgoff, cnt), &arena->live[w]);
	/*
	 * The bit before all that the caller does with the address. A program may publish
	 * it by a plain store; a free of what it reads there, which depends on the
	 * address, finds the bit in anl_take_live().
	 */
	smp_mb__after_atomic();
}

/* Bits of @mask that were live in word @w; they are the caller's now. */
static unsigned long anl_take_live(struct anl_arena *arena, u32 w, unsigned long mask)
{
	if (!(atomic_long_read(&arena->live[w]) & mask))
		return 0;

	return atomic_long_fetch_andnot(mask, &arena->live[w]) & mask;
}

static void anl_queue_word(struct anl_arena *arena, u32 w, unsigned long bits)
{
	atomic_long_or(bits, &arena->dying[w]);
	/* The drain clears the summary's bit before it reads the word. */
	smp_mb__after_atomic();
	if (!(atomic_long_read(&arena->dying_sum[BIT_WORD(w)]) & BIT_MASK(w)))
		atomic_long_or(BIT_MASK(w), &arena->dying_sum[BIT_WORD(w)]);
}

/* Of the slots [@pgoff, @pgoff + @cnt), @nr were put into the queue. */
static void anl_queued(struct anl_arena *arena, u32 pgoff, u32 cnt, u32 nr)
{
	if (!nr)
		return;
	anl_count(arena, queued_pages, nr);
	trace_arena_nolock_queue(arena, pgoff, cnt, nr);
	anl_kick(arena, ANL_KICK_DRAIN);
}

/**
 * anl_queue_slots() - put slots that the caller owns into the queue
 * @arena: the arena
 * @pgoff: first slot
 * @cnt: number of slots, not 0
 *
 * Context: any.
 */
void anl_queue_slots(struct anl_arena *arena, u32 pgoff, u32 cnt)
{
	u32 w;

	for (w = BIT_WORD(pgoff); w <= BIT_WORD(pgoff + cnt - 1); w++)
		anl_queue_word(arena, w, anl_word_mask(w, pgoff, cnt));
	anl_queued(arena, pgoff, cnt, cnt);
}

/**
 * anl_free_queued() - free from a context that cannot sleep
 * @arena: the arena
 * @pgoff: first slot
 * @cnt: number of slots, not 0, inside the arena
 *
 * Context: any. Two atomic operations per 64 slots, no memory, cannot fail.
 * Return: how many slots there were to free.
 */
u32 anl_free_queued(struct anl_arena *arena, u32 pgoff, u32 cnt)
{
	u32 w, found = 0;

	for (w = BIT_WORD(pgoff); w <= BIT_WORD(pgoff + cnt - 1); w++) {
		unsigned long bits = anl_take_live(arena, w, anl_word_mask(w, pgoff, cnt));

		if (!bits)
			continue;
		anl_queue_word(arena, w, bits);
		found += hweight_long(bits);
	}
	anl_queued(arena, pgoff, cnt, found);

	return found;
}

/**
 * anl_release() - give slots back to the tree
 * @arena: the arena
 * @pgoff: first slot
 * @cnt: number of slots; those beyond the limit came with an import, and are
 *	nobody's again
 *
 * The lock can only time out here, and then somebody else has held it for a
 * quarter of a second; the slots must not get lost for that.
 *
 * Context: process context, interrupts on.
 */
void anl_release(struct anl_arena *arena, u32 pgoff, u32 cnt)
{
	u32 end = min(pgoff + cnt, arena->nr_limit), n;

	for (; pgoff < end; pgoff += n) {
		n = min(end - pgoff, ANL_RELEASE_SLOTS);
		while (anl_tree_release(&arena->tree, pgoff, n))
			cond_resched();
	}
}

/* Retire slots that user space cannot reach, and empty the batch. */
static void anl_retire_spans(struct anl_arena *arena, struct anl_batch *batch,
			     struct anl_reach *reach)
{
	struct anl_unmapped unmapped;
	u32 i;

	if (!batch->nr)
		return;
	atomic_inc(&arena->retire_seq);
	/* The live bits, this counter, the PTEs: pairs with smp_rmb() in anl_fault_live(). */
	smp_mb__after_atomic();
	anl_unmap_spans(arena, batch->spans, batch->nr, &unmapped);
	for (i = 0; i < batch->nr; i++)
		anl_release(arena, batch->spans[i].pgoff, batch->spans[i].cnt);
	anl_count(arena, drains, 1);
	anl_count(arena, drain_pages, batch->slots);
	trace_arena_nolock_drain(arena, batch->nr, batch->slots, unmapped.nr_pages, !reach->stuck);
	batch->retired += batch->nr;
	batch->nr = 0;
	batch->slots = 0;
	/* Zeroing takes time, so pages are made use of only if there is room to wait in. */
	if (reach->worker && anl_has_room(arena))
		anl_pool_recycle(arena, &unmapped.pages);
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

/* The same for a batch of which user space may reach some slots; these are queued. */
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
				anl_queue_word(arena, BIT_WORD(pgoff), BIT_MASK(pgoff));
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

/* Retire the batch and empty it. Slots that cannot be reached go to the queue. */
static void anl_retire(struct anl_arena *arena, struct anl_batch *batch, struct anl_reach *reach)
{
	if (anl_zap_spans(arena, batch->spans, batch->nr, reach))
		anl_retire_spans(arena, batch, reach);
	else
		anl_retire_reached(arena, batch, reach);
}

/*
 * Append the runs in a word of bits to the batch. Bits for which there is no
 * room are returned.
 */
static unsigned long anl_batch_add(struct anl_batch *batch, u32 w, unsigned long bits)
{
	while (bits) {
		u32 first = __ffs(bits);
		unsigned long rest = ~(bits >> first);
		u32 cnt = rest ? __ffs(rest) : BITS_PER_LONG;
		u32 pgoff = w * BITS_PER_LONG + first;
		struct anl_span *last = batch->nr ? &batch->spans[batch->nr - 1] : NULL;

		cnt = min(cnt, BITS_PER_LONG - first);
		batch->slots += cnt;
		if (last && last->pgoff + last->cnt == pgoff) {
			last->cnt += cnt;
		} else {
			if (batch->nr == batch->cap) {
				batch->slots -= cnt;
				break;
			}
			batch->spans[batch->nr++] = (struct anl_span){ pgoff, cnt };
		}
		bits &= ~GENMASK(first + cnt - 1, first);
	}

	return bits;
}

/* Retire what is in the queue now. */
static void anl_drain_queue(struct anl_arena *arena, struct anl_batch *batch,
			    struct anl_reach *reach)
{
	u32 nr_sums = BITS_TO_LONGS(BITS_TO_LONGS(arena->nr_slots));
	u32 i;

	for (i = 0; i < nr_sums; i++) {
		unsigned long sum = 0;

		if (atomic_long_read(&arena->dying_sum[i]))
			sum = atomic_long_xchg(&arena->dying_sum[i], 0);

		while (sum) {
			u32 w = i * BITS_PER_LONG + __ffs(sum);
			unsigned long bits = atomic_long_xchg(&arena->dying[w], 0);

			sum &= sum - 1;
			while ((bits = anl_batch_add(batch, w, bits)))
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
	atomic_inc(&arena->draining);
	anl_drain_queue(arena, batch, reach);
	atomic_dec(&arena->draining);
}

/* What a pass that ends now has retired was queued after @since. */
static void anl_note_latency(struct anl_arena *arena, u64 since)
{
	u64 ns = ktime_get_mono_fast_ns() - since;

	if ((s64)ns > 0 && ns > arena->drain_ns_max)
		WRITE_ONCE(arena->drain_ns_max, ns);
}

/*
 * As long as a pass retires something the worker pauses and looks again, if the
 * arena has room to wait in. All that time frees only have to queue their slots.
 */
static void anl_drain_work(struct work_struct *work)
{
	struct anl_arena *arena = container_of(to_delayed_work(work), struct anl_arena, drain_work);
	struct anl_batch *batch = arena->drain_batch;
	u64 since = READ_ONCE(arena->kick_ns), begin;
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
			arena->retry = ANL_RETRY_MIN;
			if (anl_has_room(arena))
				usleep_range(ANL_DRAIN_PAUSE_US, 2 * ANL_DRAIN_PAUSE_US);
		} else if (asked) {
			break;
		} else {
			/* From here on a free requests the next run itself. */
			atomic_andnot(ANL_KICK_DRAIN, &arena->kicked);
			/*
			 * Pairs with smp_mb() in anl_kick(): the next pass sees all slots
			 * of frees that still saw the bit set.
			 */
			smp_mb__after_atomic();
			asked = true;
		}
	}
	if (!reach.stuck) {
		arena->retry = ANL_RETRY_MIN;
		return;
	}
	queue_delayed_work(anl_drain_wq, &arena->drain_work, arena->retry);
	arena->retry = min(2 * arena->retry, ANL_RETRY_MAX);
}

/* What a call from a context that may sleep can wait for. In reclaim, for nothing. */
static struct anl_reach anl_call_reach(void)
{
	return (struct anl_reach){ .naps = current->flags & PF_MEMALLOC ? 0 : ANL_CALL_NAPS };
}

/* Memory for a batch of up to @cnt slots, or the caller's few spans on the stack. */
static struct anl_batch *anl_batch_get(struct anl_batch *fallback, u32 cnt)
{
	struct anl_batch *batch = NULL;

	/* Every other slot is a span at most. */
	if (cnt > 2 * ANL_STACK_SPANS)
		batch = kmalloc(PAGE_SIZE, GFP_KERNEL | __GFP_NORETRY | __GFP_NOMEMALLOC |
				__GFP_NOWARN);
	if (!batch) {
		*fallback = (struct anl_batch){ .cap = ANL_STACK_SPANS };
		return fallback;
	}
	*batch = (struct anl_batch){ .cap = ANL_BATCH_CAP };

	return batch;
}

static void anl_batch_put(struct anl_batch *batch, struct anl_batch *fallback)
{
	if (batch != fallback)
		kfree(batch);
}

/**
 * anl_drain_now() - retire the queue on behalf of a caller that needs room
 * @arena: the arena
 *
 * What another drain is working on is waited for as well, for a bounded time,
 * since that drain may be preempted, or may be further up our own stack.
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
		anl_kick(arena, ANL_KICK_DRAIN);
	for (; atomic_read(&arena->draining) && reach.naps > 0; reach.naps--)
		anl_nap(50, 500);
}

/**
 * anl_drain_reached() - retire the queue for a caller that has got an mmap_lock
 * @arena: the arena
 * @mm: address space whose mmap_lock the caller holds for read
 *
 * Context: process context, may sleep. Waits for nothing.
 */
void anl_drain_reached(struct anl_arena *arena, struct mm_struct *mm)
{
	DEFINE_RAW_FLEX(struct anl_batch, batch, spans, ANL_STACK_SPANS);
	struct anl_reach reach = { .held = mm };

	*batch = (struct anl_batch){ .cap = ANL_STACK_SPANS };
	anl_drain(arena, batch, &reach);
	/* What is stuck has been so before, so the worker is going to look again. */
}

/**
 * anl_free_now() - free from a context that may sleep
 * @arena: the arena
 * @pgoff: first slot
 * @cnt: number of slots, not 0, inside the arena
 *
 * On return the slots that were live are free, unless user space maps one of them
 * through a process whose mmap_lock could not be had, or a fault on one is in flight,
 * for some 10 ms; then these slots are in the queue.
 *
 * Context: process context, may sleep, and may hold mmap_lock.
 * Return: how many slots there were to free.
 */
u32 anl_free_now(struct anl_arena *arena, u32 pgoff, u32 cnt)
{
	DEFINE_RAW_FLEX(struct anl_batch, fallback, spans, ANL_STACK_SPANS);
	struct anl_batch *batch = anl_batch_get(fallback, cnt);
	struct anl_reach reach = anl_call_reach();
	u32 w, found = 0;

	for (w = BIT_WORD(pgoff); w <= BIT_WORD(pgoff + cnt - 1); w++) {
		unsigned long bits = anl_take_live(arena, w, anl_word_mask(w, pgoff, cnt));

		found += hweight_long(bits);
		while ((bits = anl_batch_add(batch, w, bits)))
			anl_retire(arena, batch, &reach);
		if (!(w % 1024))
			cond_resched();
	}
	anl_retire(arena, batch, &reach);
	anl_batch_put(batch, fallback);
	anl_queued(arena, pgoff, cnt, reach.stuck);

	return found;
}

/**
 * anl_free_init() - an empty queue
 * @arena: the arena; @arena->nr_slots is known
 *
 * Context: process context, may sleep.
 * Return: 0 or -ENOMEM, with what was done left to anl_free_exit().
 */
int anl_free_init(struct anl_arena *arena)
{
	size_t words = BITS_TO_LONGS(arena->nr_slots);

	arena->kick = IRQ_WORK_INIT_HARD(anl_kick_handler);
	anl_timer_setup(&arena->pause, anl_pause_over);
	INIT_DELAYED_WORK(&arena->drain_work, anl_drain_work);
	arena->retry = ANL_RETRY_MIN;

	arena->live = anl_zalloc(arena, words * sizeof(*arena->live));
	arena->dying = anl_zalloc(arena, words * sizeof(*arena->dying));
	arena->dying_sum = anl_zalloc(arena, BITS_TO_LONGS(words) * sizeof(*arena->dying_sum));
	arena->drain_batch = anl_zalloc(arena, PAGE_SIZE);
	if (!arena->live || !arena->dying || !arena->dying_sum || !arena->drain_batch)
		return -ENOMEM;
	arena->drain_batch->cap = ANL_BATCH_CAP;

	return 0;
}

/* Undo anl_free_init(), also half of it. Nobody uses the arena any more. */
void anl_free_exit(struct anl_arena *arena)
{
	kvfree(arena->live);
	kvfree(arena->dying);
	kvfree(arena->dying_sum);
	kvfree(arena->drain_batch);
}
