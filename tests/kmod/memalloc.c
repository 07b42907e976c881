// SPDX-License-Identifier: GPL-2.0
/*
 * A softirq or a hard interrupt that may use the emergency reserves, as the network
 * stack's softirq may when it receives for a socket that is swapped over. Writing 0 (a
 * softirq) or 1 (a hard interrupt) to the parameter memalloc produces one: it sets
 * PF_MEMALLOC in the task that it interrupts and calls timer_setup(), whose tracepoint
 * starts the program of the test. The write returns when that is over.
 */
#include <linux/completion.h>
#include <linux/irq_work.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/timer.h>

#include "anl_test.h"

static DECLARE_COMPLETION(memalloc_done);

/* Never started. */
static struct timer_list memalloc_probe;

static void memalloc_unused(struct timer_list *timer)
{
}

static void memalloc_touch(void)
{
	unsigned int flags = memalloc_noreclaim_save();

	timer_setup(&memalloc_probe, memalloc_unused, 0);
	memalloc_noreclaim_restore(flags);
	complete(&memalloc_done);
}

static void memalloc_timer_fn(struct timer_list *timer)
{
	memalloc_touch();
}

static void memalloc_work_fn(struct irq_work *work)
{
	memalloc_touch();
}

static DEFINE_TIMER(memalloc_timer, memalloc_timer_fn);
static struct irq_work memalloc_work = IRQ_WORK_INIT_HARD(memalloc_work_fn);

static int memalloc_set(const char *val, const struct kernel_param *kp)
{
	bool hard;
	int err = kstrtobool(val, &hard);

	if (err)
		return err;
	reinit_completion(&memalloc_done);
	if (hard)
		irq_work_queue(&memalloc_work);
	else
		mod_timer(&memalloc_timer, jiffies + 1);
	wait_for_completion(&memalloc_done);

	return 0;
}

static const struct kernel_param_ops memalloc_ops = { .set = memalloc_set };
module_param_cb(memalloc, &memalloc_ops, NULL, 0200);
