// SPDX-License-Identifier: GPL-2.0
/*
 * The lock of anl_lock.h for kernels that do not export rqspinlock.
 *
 * The lock word is 0, or the number of the CPU that holds it plus 1. One
 * instruction takes the lock and names the owner, so there is no moment at
 * which an NMI could find the lock taken by its own CPU and not see it. The
 * sections it protects are short and do not nest, so there is neither a queue
 * nor fairness, only a bound on waiting.
 *
 * Context: any.
 */
#include <linux/errno.h>
#include <linux/preempt.h>
#include <linux/processor.h>
#include <linux/smp.h>
#include <linux/timekeeping.h>

#include "anl_lock.h"

#ifndef ANL_HAVE_RQSPINLOCK

#define ANL_LOCK_TIMEOUT_NS	(250 * NSEC_PER_MSEC)

int anl_lock_irqsave(anl_lock_t *lock, unsigned long *flags)
{
	u64 deadline = 0;
	unsigned long f;
	u32 spins = 0;
	int me, owner;

	preempt_disable();
	local_irq_save(f);
	me = smp_processor_id() + 1;

	while ((owner = atomic_read(&lock->owner)) ||
	       atomic_cmpxchg_acquire(&lock->owner, 0, me)) {
		int err = 0;

		if (owner == me) {
			err = -EDEADLK;
		} else if (!(++spins % 128)) {
			/* The clock is one that may be read in NMI. */
			u64 now = ktime_get_mono_fast_ns();

			if (!deadline)
				deadline = now + ANL_LOCK_TIMEOUT_NS;
			else if (now > deadline)
				err = -ETIMEDOUT;
		}
		if (err) {
			local_irq_restore(f);
			preempt_enable();
			return err;
		}
		cpu_relax();
	}
	*flags = f;

	return 0;
}

void anl_unlock_irqrestore(anl_lock_t *lock, unsigned long flags)
{
	atomic_set_release(&lock->owner, 0);
	local_irq_restore(flags);
	preempt_enable();
}

#endif
