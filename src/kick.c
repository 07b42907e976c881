// SPDX-License-Identifier: GPL-2.0
/*
 * From any context to the workqueues.
 *
 * A workqueue cannot be used from an NMI, or by a program that interrupted the workqueue
 * code. So a request sets a bit and queues an irq_work, which starts the work from a hard
 * interrupt. A bit that is set already suppresses further requests, so a stream of them
 * costs one interrupt.
 *
 * A CPU that goes offline still runs programs after the kernel has run its irq_works for the
 * last time: schedulers, traced functions, NMIs. An irq_work that is queued then stays on the
 * CPU's list. When the CPU is online again, the kernel raises no interrupt for later ones,
 * since the list is not empty, and none of them runs. So a CPU that is not online only notes
 * the request. A callback of CPU hotplug makes it on another CPU when this one is dead, or
 * here when it is online. That callback also runs what others have left on the list, since
 * our requests would wait behind it.
 *
 * Owns: struct anl_kick, the workqueues, and the list of requests of offline CPUs:
 * llist_add() in any context, removal under anl_offline_lock. The work functions belong to
 * refill.c and arena_free_deferred.c; both clear their bit with anl_kick_ack().
 */
#include <linux/cpuhotplug.h>
#include <linux/cpumask.h>
#include <linux/mutex.h>

#include "arena.h"
#include "compat.h"

/*
 * WQ_HIGHPRI: atomic callers depend on refills and drains. A drain frees memory, so it
 * needs a rescuer (WQ_MEM_RECLAIM). Works that wait for mmap_lock, which may take any
 * time, have a workqueue of their own, so that drains never wait behind them.
 */
struct workqueue_struct *anl_refill_wq, *anl_drain_wq, *anl_wait_wq;

static LLIST_HEAD(anl_offline_kicks);
static DEFINE_MUTEX(anl_offline_lock);
static int anl_cpu_dead_state, anl_cpu_online_state;

/*
 * The slow path of anl_kick(): the work may have to be started. Any context. A CPU cannot go
 * offline between the check and irq_work_queue(): stop_machine() waits for code that is not
 * preemptible, and other code is moved to a CPU that is online.
 */
void anl_kick_queue(struct anl_kick *kick, int what)
{
	if (what & ~atomic_read(&kick->pending) & ANL_KICK_DRAIN)
		WRITE_ONCE(kick->drain_since, ktime_get_mono_fast_ns());
	if ((atomic_fetch_or(what, &kick->pending) & what) == what)
		return;
	if (!cpu_is_offline(raw_smp_processor_id()))
		irq_work_queue(&kick->irq_work);
	else if (!(atomic_fetch_or(ANL_KICK_OFFLINE, &kick->pending) & ANL_KICK_OFFLINE))
		llist_add(&kick->offline, &anl_offline_kicks);
}

/* Make the requests of CPUs that were offline. Process context on a CPU that is online. */
static void anl_kick_offline(void)
{
	struct anl_kick *kick, *next;

	mutex_lock(&anl_offline_lock);
	llist_for_each_entry_safe(kick, next, llist_del_all(&anl_offline_kicks), offline) {
		/*
		 * Orders the read of @next before another CPU adds @kick again. Pairs with
		 * atomic_fetch_or() in anl_kick_queue().
		 */
		atomic_fetch_andnot_release(ANL_KICK_OFFLINE, &kick->pending);
		irq_work_queue(&kick->irq_work);
	}
	mutex_unlock(&anl_offline_lock);
}

/* CPU hotplug, on a CPU that is online now. */
static int anl_cpu_online(unsigned int cpu)
{
	local_irq_disable();
	irq_work_run();
	local_irq_enable();
	anl_kick_offline();

	return 0;
}

/* CPU hotplug, on another CPU: @cpu runs nothing any more. */
static int anl_cpu_dead(unsigned int cpu)
{
	anl_kick_offline();

	return 0;
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
	/* A CPU that goes offline has no timers by now. */
	if (!anl_has_room(arena) || cpu_is_offline(smp_processor_id()))
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
	anl_kick_offline();
	irq_work_sync(&kick->irq_work);
	hrtimer_cancel(&kick->pause);
}

/**
 * anl_kick_setup() - create the workqueues, and follow CPU hotplug
 *
 * Context: module init.
 * Return: 0 or a negative error.
 */
int __init anl_kick_setup(void)
{
	int err = -ENOMEM;

	anl_refill_wq = alloc_workqueue("arena_nolock_refill", WQ_UNBOUND | WQ_HIGHPRI, 0);
	if (!anl_refill_wq)
		return err;
	anl_drain_wq = alloc_workqueue("arena_nolock_drain",
				       WQ_UNBOUND | WQ_HIGHPRI | WQ_MEM_RECLAIM, 0);
	if (!anl_drain_wq)
		goto no_drain;
	anl_wait_wq = alloc_workqueue("arena_nolock_wait", WQ_UNBOUND, WQ_MAX_ACTIVE);
	if (!anl_wait_wq)
		goto no_wait;
	err = cpuhp_setup_state_nocalls(CPUHP_BP_PREPARE_DYN, "arena_nolock:dead", NULL,
					anl_cpu_dead);
	if (err < 0)
		goto no_dead;
	anl_cpu_dead_state = err;
	err = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "arena_nolock:online",
					anl_cpu_online, NULL);
	if (err < 0)
		goto no_online;
	anl_cpu_online_state = err;

	return 0;

no_online:
	cpuhp_remove_state_nocalls(anl_cpu_dead_state);
no_dead:
	destroy_workqueue(anl_wait_wq);
no_wait:
	destroy_workqueue(anl_drain_wq);
no_drain:
	destroy_workqueue(anl_refill_wq);

	return err;
}

/* Undo anl_kick_setup(). Module init or exit. */
void anl_kick_cleanup(void)
{
	cpuhp_remove_state_nocalls(anl_cpu_online_state);
	cpuhp_remove_state_nocalls(anl_cpu_dead_state);
	destroy_workqueue(anl_wait_wq);
	destroy_workqueue(anl_drain_wq);
	destroy_workqueue(anl_refill_wq);
}
