// SPDX-License-Identifier: GPL-2.0
/*
 * From any context to the workqueues.
 *
 * A workqueue cannot be used from an NMI, or by a program that interrupted the workqueue
 * code. So a request sets a bit and queues an irq_work, which starts the work from a hard
 * interrupt. A bit that is set already suppresses further requests, so a stream of them
 * costs one interrupt.
 *
 * Owns: struct anl_kick and the workqueues. The work functions belong to refill.c and
 * arena_free_deferred.c; both clear their bit with anl_kick_ack().
 */
#include "arena.h"
#include "compat.h"

/*
 * WQ_HIGHPRI: atomic callers depend on refills and drains. A drain frees memory, so it
 * needs a rescuer (WQ_MEM_RECLAIM). Works that wait for mmap_lock, which may take any
 * time, have a workqueue of their own, so that drains never wait behind them.
 */
struct workqueue_struct *anl_refill_wq, *anl_drain_wq, *anl_wait_wq;

/* The slow path of anl_kick(): the work may have to be started. Any context. */
void anl_kick_queue(struct anl_kick *kick, int what)
{
	if (what & ~atomic_read(&kick->pending) & ANL_KICK_DRAIN)
		WRITE_ONCE(kick->drain_since, ktime_get_mono_fast_ns());
	if ((atomic_fetch_or(what, &kick->pending) & what) == what)
		return;
	irq_work_queue(&kick->irq_work);
}

static enum hrtimer_restart anl_pause_over(struct hrtimer *timer)
{
	struct anl_kick *kick = container_of(timer, struct anl_kick, pause);

	mod_delayed_work(anl_drain_wq, &kick->drain, 0);

	return HRTIMER_NORESTART;
}

/*
 * Hard interrupt context. Frees come in bursts. A drain that started with the first free
 * of a burst would flush TLBs for a few slots at a time, interrupt the CPU that is
 * freeing, and run again for each of the others.
 */
static void anl_kick_handler(struct irq_work *work)
{
	struct anl_kick *kick = container_of(work, struct anl_kick, irq_work);
	struct anl_arena *arena = container_of(kick, struct anl_arena, kick);
	int what = atomic_read(&kick->pending);

	if (what & ANL_KICK_REFILL)
		mod_delayed_work(anl_refill_wq, &kick->refill, 0);
	if (!(what & ANL_KICK_DRAIN))
		return;
	if (!anl_has_room(arena))
		mod_delayed_work(anl_drain_wq, &kick->drain, 0);
	else if (!hrtimer_is_queued(&kick->pause))
		hrtimer_start(&kick->pause, ns_to_ktime(ANL_DRAIN_PAUSE_US * NSEC_PER_USEC),
			      HRTIMER_MODE_REL_HARD);
}

/**
 * anl_kick_init() - accept requests
 * @kick: of an arena, zeroed
 *
 * Context: process context.
 */
void anl_kick_init(struct anl_kick *kick)
{
	kick->irq_work = IRQ_WORK_INIT_HARD(anl_kick_handler);
	anl_timer_setup(&kick->pause, anl_pause_over);
}

/**
 * anl_kick_exit() - wait for the works
 * @kick: of an arena that no program, file or mapping uses
 *
 * Only the works themselves can still make requests, so they are stopped first.
 *
 * Context: process context, may sleep.
 */
void anl_kick_exit(struct anl_kick *kick)
{
	disable_delayed_work_sync(&kick->refill);
	disable_delayed_work_sync(&kick->drain);
	irq_work_sync(&kick->irq_work);
	hrtimer_cancel(&kick->pause);
}

/**
 * anl_kick_setup() - create the workqueues
 *
 * Context: module init.
 * Return: 0 or -ENOMEM.
 */
int __init anl_kick_setup(void)
{
	anl_refill_wq = alloc_workqueue("arena_nolock_refill", WQ_UNBOUND | WQ_HIGHPRI, 0);
	if (!anl_refill_wq)
		return -ENOMEM;
	anl_drain_wq = alloc_workqueue("arena_nolock_drain",
				       WQ_UNBOUND | WQ_HIGHPRI | WQ_MEM_RECLAIM, 0);
	if (!anl_drain_wq)
		goto no_drain;
	anl_wait_wq = alloc_workqueue("arena_nolock_wait", WQ_UNBOUND, WQ_MAX_ACTIVE);
	if (!anl_wait_wq)
		goto no_wait;

	return 0;

no_wait:
	destroy_workqueue(anl_drain_wq);
no_drain:
	destroy_workqueue(anl_refill_wq);

	return -ENOMEM;
}

/* Undo anl_kick_setup(). Module init or exit. */
void anl_kick_cleanup(void)
{
	destroy_workqueue(anl_wait_wq);
	destroy_workqueue(anl_drain_wq);
	destroy_workqueue(anl_refill_wq);
}
