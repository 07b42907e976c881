/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_KICK_H
#define ANL_KICK_H

#include <linux/atomic.h>
#include <linux/hrtimer.h>
#include <linux/init.h>
#include <linux/irq_work.h>
#include <linux/llist.h>
#include <linux/workqueue.h>

struct anl_arena;

/* What can be requested: bits of @pending. */
#define ANL_KICK_DRAIN	BIT(0)
#define ANL_KICK_REFILL	BIT(1)
/* The request came on a CPU that is not online; @offline is in use. */
#define ANL_KICK_OFFLINE	BIT(2)

/* How long slots accumulate before a pass of the drain, at least. */
#define ANL_DRAIN_PAUSE_US 300

/**
 * struct anl_kick - requests for work, from any context
 * @pending: a refill that has not begun, a drain that has not ended
 * @irq_work: carries a request from any context to one that can use a workqueue
 * @offline: requests that have to wait until their CPU is online or dead
 * @pause: delays @drain, so that frees accumulate
 * @drain: retires dying slots; initialized by anl_drain_init()
 * @refill: fills the pool; initialized by anl_refill_init()
 * @drain_since: when @drain was last requested, in ns
 */
struct anl_kick {
	atomic_t pending;
	struct irq_work irq_work;
	struct llist_node offline;
	struct hrtimer pause;
	struct delayed_work drain;
	struct delayed_work refill;
	u64 drain_since;
};

extern struct workqueue_struct *anl_refill_wq, *anl_drain_wq, *anl_wait_wq;

int anl_kick_setup(void);
void anl_kick_cleanup(void);
void anl_kick_init(struct anl_kick *kick);
void anl_kick_exit(struct anl_kick *kick);
void anl_kick_queue(struct anl_kick *kick, int what);

/* anl_kick() for a caller whose change is followed by a full barrier. */
static inline void anl_kick_ordered(struct anl_kick *kick, int what)
{
	if ((atomic_read(&kick->pending) & what) != what)
		anl_kick_queue(kick, what);
}

/**
 * anl_kick() - request work from any context
 * @kick: of the arena
 * @what: ANL_KICK_DRAIN, ANL_KICK_REFILL or both
 *
 * Context: any.
 */
static inline void anl_kick(struct anl_kick *kick, int what)
{
	/*
	 * Orders the caller's change before the read of the bit. Pairs with
	 * smp_mb__after_atomic() in anl_kick_ack(). If the bit is set, the worker has not
	 * scanned yet and will see the change.
	 */
	smp_mb();
	anl_kick_ordered(kick, what);
}

/**
 * anl_kick_ack() - let further requests start the work again
 * @kick: of the arena
 * @what: ANL_KICK_DRAIN or ANL_KICK_REFILL
 *
 * Context: the worker, before it scans for what the requests are about.
 */
static inline void anl_kick_ack(struct anl_kick *kick, int what)
{
	atomic_andnot(what, &kick->pending);
	/*
	 * Orders the bit before the scan. Pairs with smp_mb() in anl_kick(): a caller that
	 * still saw the bit set made its change before this barrier, and the scan sees it.
	 */
	smp_mb__after_atomic();
}

#endif
