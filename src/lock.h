/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A spinlock for any context, NMI included.
 *
 * anl_lock_irqsave() waits for a bounded time. It returns 0 with the lock held and
 * interrupts off. On an error it leaves interrupts as they were:
 * -EDEADLK if the caller interrupted (as an NMI, or as a program that traces a function) a
 *	    context on this CPU that holds the lock or waits for it
 * -ETIMEDOUT if the lock could not be taken in that time
 *
 * Where the kernel exports rqspinlock, this is rqspinlock, which limits the wait to 250 ms
 * for the first waiter and to 500 ms for the head of its queue. On other kernels lock.c
 * implements the lock and limits each wait to 250 ms.
 */
#ifndef ANL_LOCK_H
#define ANL_LOCK_H

#include "anl_config.h"

#ifdef ANL_HAVE_RQSPINLOCK

#include <asm/rqspinlock.h>

typedef rqspinlock_t anl_lock_t;

static inline void anl_lock_init(anl_lock_t *lock)
{
	raw_res_spin_lock_init(lock);
}

static inline int anl_lock_irqsave(anl_lock_t *lock, unsigned long *flags)
{
	unsigned long f;
	int err = raw_res_spin_lock_irqsave(lock, f);

	*flags = f;

	return err;
}

static inline void anl_unlock_irqrestore(anl_lock_t *lock, unsigned long flags)
{
	raw_res_spin_unlock_irqrestore(lock, flags);
}

#else

#include <linux/atomic.h>
#include <linux/irqflags.h>
#include <linux/types.h>

/* @val is both halves: the CPU that holds the lock, and the last waiter of its queue. */
typedef union {
	atomic_t val;
	struct {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
		u16 owner, tail;
#else
		u16 tail, owner;
#endif
	};
} anl_lock_t;

static inline void anl_lock_init(anl_lock_t *lock)
{
	atomic_set(&lock->val, 0);
}

int anl_lock_irqsave(anl_lock_t *lock, unsigned long *flags);
void anl_unlock_irqrestore(anl_lock_t *lock, unsigned long flags);

#endif

#endif
