/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A spinlock for any context, NMI included.
 *
 * anl_lock_irqsave() never hangs. It returns 0 with the lock held and
 * interrupts off, or, with interrupts as they were, -EDEADLK if this CPU holds
 * the lock already (an NMI or a traced function came in between), or
 * -ETIMEDOUT if another CPU has held it for longer than 250 ms.
 *
 * This is the contract of the kernel's rqspinlock, which is used where it is
 * exported; elsewhere anl_lock.c has a lock of our own.
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

typedef struct {
	atomic_t owner;
} anl_lock_t;

static inline void anl_lock_init(anl_lock_t *lock)
{
	atomic_set(&lock->owner, 0);
}

int anl_lock_irqsave(anl_lock_t *lock, unsigned long *flags);
void anl_unlock_irqrestore(anl_lock_t *lock, unsigned long flags);

#endif

#endif
