// SPDX-License-Identifier: GPL-2.0
/*
 * Freeing: from the call to the page being anybody's again.
 *
 * A free takes the live bits of its slots with one atomic operation per word
 * of the bitmap. Whoever gets a bit owns the slot, so double, overlapping and
 * racing frees sort themselves out, and slots that were never allocated, or
 * are just being allocated, have no bit to take.
 *
 * The queue is a second bitmap, @dying. Queueing a slot sets its bit: that
 * needs no memory, cannot fail, merges neighbours by itself, and is safe in
 * NMI. @dying_sum tells the drain which words to look at.
 *
 * Retiring a batch of spans, in this order, in process context with
 * interrupts on:
 *   1. wait for user faults that saw the slots live (fault_sem);
 *   2. clear the kernel PTEs, one TLB flush for the batch;
 *   3. zap the slots from every user mapping;
 *   4. give the slots back to the tree;
 *   5. drop the pages, or zero them for the reserve.
 * Only after 4 can a slot be handed out again, and only after 5 a page; by then
 * no CPU and no process can reach the old page through the slot.
 *
 * Step 3 takes mmap_lock. The worker just waits for it. A sleepable kfunc
 * cannot, since its caller may hold that lock already; it waits for a bounded
 * time, and then puts the slots into the queue.
 *
 * Locks: none held across steps. Drains run in parallel on disjoint slots.
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

/* How often a caller that needs room looks whether the drains have ended. */
#define ANL_DRAIN_TRIES 40

/**
 * anl_kick() - start work from any context
 * @a: the arena
 * @what: ANL_KICK_DRAIN, ANL_KICK_REFILL or both
 *
 * Context: any.
 */
void anl_kick(struct anl_arena *a, int what)
{
	/* Pairs with the barriers in the works, which clear the bit and then look. */
	smp_mb__after_atomic();
	/* Who finds the bit set knows that the work has yet to look. */
	if ((atomic_read(&a->kicked) & what) == what)
		return;
	if (what & ~atomic_read(&a->kicked) & ANL_KICK_DRAIN)
		WRITE_ONCE(a->kick_ns, ktime_get_mono_fast_ns());
	if ((atomic_fetch_or(what, &a->kicked) & what) == what)
		return;
	irq_work_queue(&a->kick);
}

/* Is there so much room that nobody misses what is in the queue for a moment? */
static bool anl_has_room(const struct anl_arena *a)
{
	return rtq_nr_free(&a->rt) >= a->nr_limit / 4;
}

static enum hrtimer_restart anl_pause_over(struct hrtimer *timer)
{
	struct anl_arena *a = container_of(timer, struct anl_arena, pause);

	queue_work(anl_drain_wq, &a->drain_work);

	return HRTIMER_NORESTART;
}

/*
 * Hard interrupt context. Frees come in bursts: a worker that began with the
 * first of them would flush TLBs for a few slots at a time, interrupt the very CPU
 * that is freeing, and have to be started again and again.
 */
static void anl_kick_handler(struct irq_work *work)
{
	struct anl_arena *a = container_of(work, struct anl_arena, kick);
	int what = atomic_read(&a->kicked);

	if (what & ANL_KICK_REFILL)
		mod_delayed_work(anl_refill_wq, &a->refill_work, 0);
	if (!(what & ANL_KICK_DRAIN))
		return;
	if (!anl_has_room(a))
		queue_work(anl_drain_wq, &a->drain_work);
	else if (!hrtimer_is_queued(&a->pause))
		hrtimer_start(&a->pause, ns_to_ktime(ANL_DRAIN_PAUSE_US * NSEC_PER_USEC),
			      HRTIMER_MODE_REL_HARD);
}

/**
 * anl_set_live() - hand claimed slots to the user of the arena
 * @a: the arena
 * @pgoff: first slot
 * @cnt: number of slots, not 0
 *
 * Context: any. The caller owns the slots and has mapped their pages.
 */
void anl_set_live(struct anl_arena *a, u32 pgoff, u32 cnt)
{
	u32 w;

	/* Whoever sees a slot live sees its PTE too: anl_fault_live(), the drain. */
	smp_mb__before_atomic();
	for (w = BIT_WORD(pgoff); w <= BIT_WORD(pgoff + cnt - 1); w++)
		atomic_long_or(anl_word_mask(w, pgoff, cnt), &a->live[w]);
}

/* Bits of @mask that were live in word @w; they are the caller's now. */
static unsigned long anl_take_live(struct anl_arena *a, u32 w, unsigned long mask)
{
	if (!(atomic_long_read(&a->live[w]) & mask))
		return 0;

	return atomic_long_fetch_andnot(mask, &a->live[w]) & mask;
}

static void anl_queue_word(struct anl_arena *a, u32 w, unsigned long bits)
{
	atomic_long_or(bits, &a->dying[w]);
	/* The drain clears the summary's bit before it reads the word. */
	smp_mb__after_atomic();
	if (!(atomic_long_read(&a->dying_sum[BIT_WORD(w)]) & BIT_MASK(w)))
		atomic_long_or(BIT_MASK(w), &a->dying_sum[BIT_WORD(w)]);
}

/* Of the slots [@pgoff, @pgoff + @cnt), @nr were put into the queue. */
static void anl_queued(struct anl_arena *a, u32 pgoff, u32 cnt, u32 nr)
{
	if (!nr)
		return;
	anl_count(a, queued_pages, nr);
	trace_arena_nolock_queue(a, pgoff, cnt, nr);
	anl_kick(a, ANL_KICK_DRAIN);
}

/**
 * anl_queue_slots() - put slots that the caller owns into the queue
 * @a: the arena
 * @pgoff: first slot
 * @cnt: number of slots, not 0
 *
 * Context: any.
 */
void anl_queue_slots(struct anl_arena *a, u32 pgoff, u32 cnt)
{
	u32 w;

	for (w = BIT_WORD(pgoff); w <= BIT_WORD(pgoff + cnt - 1); w++)
		anl_queue_word(a, w, anl_word_mask(w, pgoff, cnt));
	anl_queued(a, pgoff, cnt, cnt);
}

/**
 * anl_free_queued() - free from a context that cannot sleep
 * @a: the arena
 * @pgoff: first slot
 * @cnt: number of slots, not 0, inside the arena
 *
 * Context: any. Two atomic operations per 64 slots, no memory, cannot fail.
 * Return: how many slots there were to free.
 */
u32 anl_free_queued(struct anl_arena *a, u32 pgoff, u32 cnt)
{
	u32 w, found = 0;

	for (w = BIT_WORD(pgoff); w <= BIT_WORD(pgoff + cnt - 1); w++) {
		unsigned long bits = anl_take_live(a, w, anl_word_mask(w, pgoff, cnt));

		if (!bits)
			continue;
		anl_queue_word(a, w, bits);
		found += hweight_long(bits);
	}
	anl_queued(a, pgoff, cnt, found);

	return found;
}

/**
 * anl_release() - give slots back to the tree
 * @a: the arena
 * @pgoff: first slot
 * @cnt: number of slots; those beyond the limit came with an import, and are
 *	nobody's again
 *
 * The lock can only time out here, and then somebody else has held it for a
 * quarter of a second; the slots must not get lost for that.
 *
 * Context: process context, interrupts on.
 */
void anl_release(struct anl_arena *a, u32 pgoff, u32 cnt)
{
	u32 end = min(pgoff + cnt, a->nr_limit), n;

	for (; pgoff < end; pgoff += n) {
		n = min(end - pgoff, ANL_RELEASE_SLOTS);
		while (rtq_release(&a->rt, pgoff, n))
			cond_resched();
	}
}

/*
 * Wait until no user fault that saw one of our slots live is still at work. A
 * fault holds the semaphore around vm_insert_page() only and waits for nobody
 * in there, so this is safe whatever locks our caller holds.
 */
static void anl_wait_faults(struct anl_arena *a)
{
	down_write(&a->fault_sem);
	up_write(&a->fault_sem);
}

/*
 * Retire the batch and empty it. If that would need a lock that cannot be had,
 * whatever is left to do goes to the queue, and false is returned.
 */
static bool anl_retire(struct anl_arena *a, struct anl_batch *b, bool may_block)
{
	struct anl_unmapped u;
	bool done = true;
	u32 i;

	if (!b->nr)
		return true;

	anl_wait_faults(a);
	anl_unmap_spans(a, b->spans, b->nr, &u);
	if (u.user_mapped)
		done = anl_zap_spans(a, b->spans, b->nr, may_block);
	for (i = 0; i < b->nr; i++) {
		if (done)
			anl_release(a, b->spans[i].pgoff, b->spans[i].cnt);
		else
			anl_queue_slots(a, b->spans[i].pgoff, b->spans[i].cnt);
	}
	anl_count(a, drains, 1);
	anl_count(a, drain_pages, b->slots);
	trace_arena_nolock_drain(a, b->nr, b->slots, u.nr_pages, done);
	b->retired += b->nr;
	b->nr = 0;
	b->slots = 0;
	/*
	 * A user PTE that is left holds a reference of its own. Zeroing takes time,
	 * so pages are made use of only if nobody waits for what else is queued.
	 */
	if (may_block && anl_has_room(a))
		anl_reserve_recycle(a, &u.pages);
	anl_put_pages(&u.pages);

	return done;
}

/*
 * Append the runs in a word of bits to the batch. Bits for which there is no
 * room are returned.
 */
static unsigned long anl_batch_add(struct anl_batch *b, u32 w, unsigned long bits)
{
	while (bits) {
		u32 first = __ffs(bits);
		unsigned long rest = ~(bits >> first);
		u32 cnt = rest ? __ffs(rest) : BITS_PER_LONG;
		u32 pgoff = w * BITS_PER_LONG + first;
		struct anl_span *last = b->nr ? &b->spans[b->nr - 1] : NULL;

		cnt = min(cnt, BITS_PER_LONG - first);
		b->slots += cnt;
		if (last && last->pgoff + last->cnt == pgoff) {
			last->cnt += cnt;
		} else {
			if (b->nr == b->cap) {
				b->slots -= cnt;
				break;
			}
			b->spans[b->nr++] = (struct anl_span){ pgoff, cnt };
		}
		bits &= ~GENMASK(first + cnt - 1, first);
	}

	return bits;
}

/*
 * Leave the rest to the worker: @bits of word @w, and the words of @sum. To have
 * waited for a lock once is enough for who may hold it.
 */
static void anl_requeue(struct anl_arena *a, u32 w, unsigned long bits, unsigned long sum)
{
	if (bits)
		anl_queue_word(a, w, bits);
	atomic_long_or(sum, &a->dying_sum[BIT_WORD(w)]);
	anl_kick(a, ANL_KICK_DRAIN);
}

/* Retire what is in the queue now. False if something had to stay in it. */
static bool anl_drain_queue(struct anl_arena *a, struct anl_batch *b, bool may_block)
{
	u32 nr_sums = BITS_TO_LONGS(BITS_TO_LONGS(a->nr_slots));
	bool done = true;
	u32 i;

	for (i = 0; i < nr_sums; i++) {
		unsigned long sum = 0;

		if (atomic_long_read(&a->dying_sum[i]))
			sum = atomic_long_xchg(&a->dying_sum[i], 0);

		while (sum) {
			u32 w = i * BITS_PER_LONG + __ffs(sum);
			unsigned long bits = atomic_long_xchg(&a->dying[w], 0);

			sum &= sum - 1;
			while (done && (bits = anl_batch_add(b, w, bits)))
				done = anl_retire(a, b, may_block);
			if (done && b->slots >= ANL_DRAIN_SLOTS)
				done = anl_retire(a, b, may_block);
			if (!done) {
				anl_requeue(a, w, bits, sum);
				return false;
			}
		}
		cond_resched();
	}

	return anl_retire(a, b, may_block);
}

/* The same, and others can see that it is going on. */
static bool anl_drain(struct anl_arena *a, struct anl_batch *b, bool may_block)
{
	bool done;

	atomic_inc(&a->draining);
	done = anl_drain_queue(a, b, may_block);
	atomic_dec(&a->draining);

	return done;
}

static bool anl_queue_empty(const struct anl_arena *a)
{
	return find_first_bit((unsigned long *)a->dying_sum, BITS_TO_LONGS(a->nr_slots)) >=
	       BITS_TO_LONGS(a->nr_slots);
}

/* What a pass that ends now has retired was queued after @since. */
static void anl_note_latency(struct anl_arena *a, u64 since)
{
	u64 ns = ktime_get_mono_fast_ns() - since;

	if ((s64)ns > 0 && ns > a->drain_ns_max)
		WRITE_ONCE(a->drain_ns_max, ns);
}

/*
 * As long as a pass finds something the worker pauses and looks again, if the
 * arena has room to wait in. All that time frees need to do nothing but queue.
 */
static void anl_drain_work(struct work_struct *work)
{
	struct anl_arena *a = container_of(work, struct anl_arena, drain_work);
	struct anl_batch *b = a->drain_batch;
	u64 since = READ_ONCE(a->kick_ns), begin;

	do {
		for (;;) {
			begin = ktime_get_mono_fast_ns();
			b->retired = 0;
			anl_drain(a, b, true);
			if (!b->retired)
				break;
			anl_note_latency(a, since);
			since = begin;
			if (anl_has_room(a))
				usleep_range(ANL_DRAIN_PAUSE_US, 2 * ANL_DRAIN_PAUSE_US);
		}
		/* From here on a free asks for the next run itself. */
		atomic_andnot(ANL_KICK_DRAIN, &a->kicked);
		/* Who finds the bit still set has queued what is seen below. */
		smp_mb__after_atomic();
		since = begin;
	} while (!anl_queue_empty(a));
}

/* Memory for a batch of up to @cnt slots, or the caller's few spans on the stack. */
static struct anl_batch *anl_batch_get(struct anl_batch *fallback, u32 cnt)
{
	struct anl_batch *b = NULL;

	/* Every other slot is a span at most. */
	if (cnt > 2 * ANL_STACK_SPANS)
		b = kmalloc(PAGE_SIZE, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
	if (!b) {
		*fallback = (struct anl_batch){ .cap = ANL_STACK_SPANS };
		return fallback;
	}
	*b = (struct anl_batch){ .cap = ANL_BATCH_CAP };

	return b;
}

static void anl_batch_put(struct anl_batch *b, struct anl_batch *fallback)
{
	if (b != fallback)
		kfree(b);
}

/**
 * anl_drain_now() - retire the queue on behalf of a caller that needs room
 * @a: the arena
 *
 * What another drain is working on is waited for as well, for a bounded time,
 * since that drain may wait for a lock that our caller holds.
 *
 * Context: process context, may sleep, and may hold mmap_lock.
 */
void anl_drain_now(struct anl_arena *a)
{
	DEFINE_RAW_FLEX(struct anl_batch, fallback, spans, ANL_STACK_SPANS);
	struct anl_batch *b = anl_batch_get(fallback, a->nr_slots);
	int tries = ANL_DRAIN_TRIES;

	anl_drain(a, b, false);
	anl_batch_put(b, fallback);
	while (atomic_read(&a->draining) && tries--)
		anl_nap(50, 500);
}

/**
 * anl_free_now() - free from a context that may sleep
 * @a: the arena
 * @pgoff: first slot
 * @cnt: number of slots, not 0, inside the arena
 *
 * On return the slots that were live are free, unless a lock that the caller
 * may hold itself was in the way; then they are in the queue.
 *
 * Context: process context, may sleep, and may hold mmap_lock.
 * Return: how many slots there were to free.
 */
u32 anl_free_now(struct anl_arena *a, u32 pgoff, u32 cnt)
{
	DEFINE_RAW_FLEX(struct anl_batch, fallback, spans, ANL_STACK_SPANS);
	struct anl_batch *b = anl_batch_get(fallback, cnt);
	u32 w, found = 0, queued = 0;
	bool done = true;

	for (w = BIT_WORD(pgoff); w <= BIT_WORD(pgoff + cnt - 1); w++) {
		unsigned long bits = anl_take_live(a, w, anl_word_mask(w, pgoff, cnt));

		found += hweight_long(bits);
		while (done && (bits = anl_batch_add(b, w, bits)))
			done = anl_retire(a, b, false);
		/* To have waited for a lock once is enough for who may hold it. */
		if (bits) {
			anl_queue_word(a, w, bits);
			queued += hweight_long(bits);
		}
		if (!(w % 1024))
			cond_resched();
	}
	anl_retire(a, b, false);
	anl_batch_put(b, fallback);
	anl_queued(a, pgoff, cnt, queued);

	return found;
}

/**
 * anl_free_init() - an empty queue
 * @a: the arena; @a->nr_slots is known
 *
 * Context: process context, may sleep.
 * Return: 0 or -ENOMEM, with what was done left to anl_free_exit().
 */
int anl_free_init(struct anl_arena *a)
{
	size_t words = BITS_TO_LONGS(a->nr_slots);

	a->kick = IRQ_WORK_INIT_HARD(anl_kick_handler);
	anl_timer_setup(&a->pause, anl_pause_over);
	INIT_WORK(&a->drain_work, anl_drain_work);
	init_rwsem(&a->fault_sem);

	a->live = anl_zalloc(a, words * sizeof(*a->live));
	a->dying = anl_zalloc(a, words * sizeof(*a->dying));
	a->dying_sum = anl_zalloc(a, BITS_TO_LONGS(words) * sizeof(*a->dying_sum));
	a->drain_batch = anl_zalloc(a, PAGE_SIZE);
	if (!a->live || !a->dying || !a->dying_sum || !a->drain_batch)
		return -ENOMEM;
	a->drain_batch->cap = ANL_BATCH_CAP;

	return 0;
}

/* Undo anl_free_init(), also half of it. Nobody uses the arena any more. */
void anl_free_exit(struct anl_arena *a)
{
	kvfree(a->live);
	kvfree(a->dying);
	kvfree(a->dying_sum);
	kvfree(a->drain_batch);
}
