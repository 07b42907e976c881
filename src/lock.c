// SPDX-License-Identifier: GPL-2.0
/*
 * The lock of lock.h for kernels that do not export rqspinlock.
 *
 * The lock is one word: the owner (a CPU number plus 1, or 0) and the tail of a queue. Fast
 * path: one instruction takes a free lock without a queue and stores the owner, so an NMI
 * always sees that its own CPU holds the lock. All other callers append a waiter to the
 * queue. Only the head of the queue spins on the lock word, so the lock is FIFO.
 *
 * Waiters are per CPU and shared by all locks. A CPU has several, because an NMI or a
 * traced function can request a second lock while its CPU waits for a first. A waiter in
 * use is in one of these states:
 *
 * WAITING	its context spins until the head before it makes it the head
 * HEAD		first in the queue; its context removes it
 * GONE		its context timed out, or took the lock out of order. The waiter stays in the
 *		queue until the head reaches and removes it.
 *
 * A waiter leaves WAITING by cmpxchg, so exactly one of the time-out and the hand-over
 * succeeds. If the hand-over does, the context that timed out is the head, and makes the
 * next waiter the head before it returns. Before a GONE waiter there is always a context
 * that still waits, so the queue is empty when no context uses the lock.
 *
 * No context waits for a link of the queue. A head that leaves before its successor has set
 * @next stores ANL_LEFT there. The successor finds ANL_LEFT, becomes the head, and frees the
 * waiter of the old head.
 *
 * A head can be delayed (a preempted vCPU, an NMI on top of it). Therefore a waiter that has
 * been in the queue for ANL_LOCK_PATIENCE_NS also takes a lock that it finds free. So does a
 * context whose CPU has no idle waiter.
 *
 * Context: any.
 */
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/processor.h>
#include <linux/smp.h>
#include <linux/threads.h>
#include <linux/timekeeping.h>

#include "lock.h"

#ifndef ANL_HAVE_RQSPINLOCK

#define ANL_LOCK_TIMEOUT_NS	(250 * NSEC_PER_MSEC)
#define ANL_LOCK_PATIENCE_NS	(10 * NSEC_PER_MSEC)

/* Per CPU: a task, a program that traces a function of the module, an NMI, a GONE waiter. */
#define ANL_NR_WAITERS	4

#define ANL_OWNER_MASK	0xffffu
#define ANL_TAIL_SHIFT	16

static_assert(CONFIG_NR_CPUS * ANL_NR_WAITERS < ANL_OWNER_MASK);

enum anl_waiter_state {
	ANL_IDLE,
	ANL_WAITING,
	ANL_HEAD,
	ANL_GONE,
};

/* @next of a waiter that left the queue before it had a successor. No waiter has this number. */
#define ANL_LEFT	0xffff

/**
 * struct anl_waiter - a place in the queue of a lock
 * @state: enum anl_waiter_state; its own CPU claims an idle waiter, and the context that
 *	   removes the waiter from the queue makes it idle again
 * @next: number of its successor, 0 if it has none yet, or ANL_LEFT
 * @lock: the lock that a context of this CPU waits for, or NULL; only this CPU accesses it
 */
struct anl_waiter {
	atomic_t state;
	atomic_t next;
	anl_lock_t *lock;
};

struct anl_waiters {
	struct anl_waiter waiter[ANL_NR_WAITERS];
};

static DEFINE_PER_CPU_ALIGNED(struct anl_waiters, anl_waiters);

static struct anl_waiter *anl_waiter_of(u32 nr)
{
	nr--;

	return &per_cpu_ptr(&anl_waiters, nr / ANL_NR_WAITERS)->waiter[nr % ANL_NR_WAITERS];
}

static void anl_waiter_free(struct anl_waiter *w)
{
	/*
	 * Orders our access to @next before its initialization for the next use. Pairs with
	 * atomic_cmpxchg_acquire() in anl_waiter_claim().
	 */
	atomic_set_release(&w->state, ANL_IDLE);
}

/* Claim a waiter of this CPU. Returns its number, or 0. An NMI can claim another at any point. */
static u32 anl_waiter_claim(anl_lock_t *lock, u32 me)
{
	struct anl_waiter *w = this_cpu_ptr(&anl_waiters)->waiter;
	int i;

	for (i = 0; i < ANL_NR_WAITERS; i++, w++) {
		/* A context that we interrupted still uses the waiter, even if it is idle. */
		if (READ_ONCE(w->lock))
			continue;
		/* Pairs with atomic_set_release() in anl_waiter_free(). */
		if (atomic_cmpxchg_acquire(&w->state, ANL_IDLE, ANL_WAITING) != ANL_IDLE)
			continue;
		atomic_set(&w->next, 0);
		WRITE_ONCE(w->lock, lock);

		return (me - 1) * ANL_NR_WAITERS + i + 1;
	}

	return 0;
}

/* Did we interrupt a context that is in the queue of @lock? */
static bool anl_lock_waits(anl_lock_t *lock)
{
	struct anl_waiter *w = this_cpu_ptr(&anl_waiters)->waiter;
	int i;

	for (i = 0; i < ANL_NR_WAITERS; i++)
		if (READ_ONCE(w[i].lock) == lock)
			return true;

	return false;
}

/* Become the last in the queue. */
static void anl_lock_enqueue(anl_lock_t *lock, u32 nr)
{
	struct anl_waiter *w = anl_waiter_of(nr);
	u32 old = atomic_read(&lock->val), val, prev;

	/*
	 * Orders the initialization of @w before its publication as the tail. Pairs with this
	 * cmpxchg in our successor, which sets @next of @w afterwards.
	 */
	while ((val = atomic_cmpxchg(&lock->val, old,
				     (old & ANL_OWNER_MASK) | nr << ANL_TAIL_SHIFT)) != old)
		old = val;

	prev = old >> ANL_TAIL_SHIFT;
	if (prev) {
		/*
		 * Pairs with atomic_xchg() in anl_lock_pass_head(). The second one of the two
		 * sees the first: the head sees our number, or we see ANL_LEFT.
		 */
		if (atomic_xchg(&anl_waiter_of(prev)->next, nr) != ANL_LEFT)
			return;
		anl_waiter_free(anl_waiter_of(prev));
	}
	atomic_set(&w->state, ANL_HEAD);
}

/* Remove the head @nr from the queue, and make the first WAITING waiter the head. */
static void anl_lock_pass_head(anl_lock_t *lock, u32 nr)
{
	struct anl_waiter *w;
	u32 val, old;

	do {
		w = anl_waiter_of(nr);
		old = atomic_read(&lock->val);
		while (old >> ANL_TAIL_SHIFT == nr) {
			val = atomic_cmpxchg(&lock->val, old, old & ANL_OWNER_MASK);
			if (val == old) {
				anl_waiter_free(w);
				return;
			}
			old = val;
		}

		/*
		 * Orders the link before our access to the successor. Pairs with atomic_xchg()
		 * in anl_lock_enqueue(). A successor that finds ANL_LEFT frees @w.
		 */
		nr = atomic_xchg(&w->next, ANL_LEFT);
		if (!nr)
			return;
		anl_waiter_free(w);
		/* Pairs with atomic_read_acquire() in anl_lock_slow(). */
	} while (atomic_cmpxchg(&anl_waiter_of(nr)->state, ANL_WAITING, ANL_HEAD) != ANL_WAITING);
}

/* Leave the queue as its head, or let the head remove the waiter later. */
static void anl_lock_leave(anl_lock_t *lock, u32 nr)
{
	struct anl_waiter *w = anl_waiter_of(nr);

	if (atomic_cmpxchg(&w->state, ANL_WAITING, ANL_GONE) != ANL_WAITING)
		anl_lock_pass_head(lock, nr);
	/* Last: an NMI that queued for @lock earlier would wait for us until its time-out. */
	WRITE_ONCE(w->lock, NULL);
}

/* Take @lock if it is free, even if it has a queue. */
static bool anl_lock_try(anl_lock_t *lock, u32 me)
{
	int old = atomic_read(&lock->val);

	/* Pairs with smp_store_release() in anl_unlock_irqrestore(). */
	return !(old & ANL_OWNER_MASK) &&
	       atomic_cmpxchg_acquire(&lock->val, old, old | me) == old;
}

static noinline int anl_lock_slow(anl_lock_t *lock, u32 me)
{
	u64 start = 0, now;
	u32 spins = 0, nr;
	int err = 0;

	if ((atomic_read(&lock->val) & ANL_OWNER_MASK) == me || anl_lock_waits(lock))
		return -EDEADLK;

	nr = anl_waiter_claim(lock, me);
	if (nr)
		anl_lock_enqueue(lock, nr);

	for (;;) {
		/* Pairs with atomic_cmpxchg() in anl_lock_pass_head(). */
		if (!nr || atomic_read_acquire(&anl_waiter_of(nr)->state) == ANL_HEAD)
			if (anl_lock_try(lock, me))
				break;
		if (!(++spins % 128)) {
			/* This clock is safe in NMI, where it can go back a little. */
			now = ktime_get_mono_fast_ns();
			if (!start)
				start = now;
			if (now > start + ANL_LOCK_PATIENCE_NS && anl_lock_try(lock, me))
				break;
			if (now > start + ANL_LOCK_TIMEOUT_NS) {
				err = -ETIMEDOUT;
				break;
			}
		}
		cpu_relax();
	}
	if (nr)
		anl_lock_leave(lock, nr);

	return err;
}

/**
 * anl_lock_irqsave() - take a lock and disable interrupts
 * @lock: the lock
 * @flags: where to store whether interrupts were on
 *
 * Context: any. Waits for at most 250 ms; callers get the lock in FIFO order.
 * Return: 0 with the lock held; -EDEADLK if an interrupted context of this CPU holds the
 * lock or waits for it; -ETIMEDOUT.
 */
int anl_lock_irqsave(anl_lock_t *lock, unsigned long *flags)
{
	unsigned long f;
	u32 me;
	int err;

	preempt_disable();
	local_irq_save(f);
	me = smp_processor_id() + 1;

	/* Pairs with smp_store_release() in anl_unlock_irqrestore(). */
	if (atomic_cmpxchg_acquire(&lock->val, 0, me)) {
		err = anl_lock_slow(lock, me);
		if (err) {
			local_irq_restore(f);
			preempt_enable();
			return err;
		}
	}
	*flags = f;

	return 0;
}

/**
 * anl_unlock_irqrestore() - release a lock and restore interrupts
 * @lock: the lock, held by this CPU
 * @flags: what anl_lock_irqsave() stored
 *
 * Context: any.
 */
void anl_unlock_irqrestore(anl_lock_t *lock, unsigned long flags)
{
	/*
	 * Orders the critical section before the release. Pairs with atomic_cmpxchg_acquire()
	 * in anl_lock_irqsave() and anl_lock_try(). The tail belongs to the waiters.
	 */
	smp_store_release(&lock->owner, 0);
	local_irq_restore(flags);
	preempt_enable();
}

#endif
