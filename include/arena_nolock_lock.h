/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A lock for programs in any context, for Linux 6.12 and 7.x. It is a word in arena memory or
 * in a global variable that holds the CPU of its holder, so a waiter knows whether the holder
 * can make progress:
 *
 *	struct arena_nolock_lock lock;
 *
 *	if (arena_nolock_lock(&lock))
 *		return 0;
 *	...
 *	arena_nolock_unlock(&lock);
 *
 * Locking can fail, so a program cannot hang. It fails at once if the lock is held on the
 * caller's own CPU: the caller is an interrupt or an NMI on top of the holder, or a task that
 * preempted it, and the holder cannot run before the caller ends. A holder on another CPU is
 * waited for up to ARENA_NOLOCK_LOCK_NS. In an NMI prefer arena_nolock_lock_try().
 *
 * The kernel keeps a running program on its CPU, so the holder's CPU does not change. But most
 * programs of tasks can be preempted, and waiters on other CPUs then see -ETIMEDOUT. A program
 * prevents this with bpf_preempt_disable() before it locks, and bpf_preempt_enable() after it
 * has unlocked or failed to lock.
 *
 * A program that ends without unlocking leaves the lock held: bpf_throw() does that, and a
 * return in between. Later callers then get -EDEADLK on that CPU and -ETIMEDOUT on others. A
 * process that maps the arena can write the word as well. That can let two programs in at a
 * time, or make callers fail, and no more. Two locks that are taken in different orders end in
 * -ETIMEDOUT.
 *
 * User space includes this header for the structure.
 */
#ifndef ARENA_NOLOCK_LOCK_H
#define ARENA_NOLOCK_LOCK_H

#ifdef __bpf__
#include "arena_nolock.h"
#else
#include <linux/types.h>
#endif

/* Longest wait of arena_nolock_lock(), in ns, up to some 100 ms. */
#ifndef ARENA_NOLOCK_LOCK_NS
#define ARENA_NOLOCK_LOCK_NS 1000000
#endif

/**
 * struct arena_nolock_lock - a lock
 * @owner: number of the holder's CPU, plus 1; 0 if the lock is not held
 */
struct arena_nolock_lock {
	__u32 owner;
};

#ifdef __bpf__

/* Turns of a waiter, as many as bpf_for() allows. The time ends the wait before. */
#define ARENA_NOLOCK_LOCK_TURNS (1 << 23)

static __always_inline int arena_nolock_lock_error(__u32 owner, __u32 me)
{
	if (!owner)
		return 0;

	return owner == me ? -35 /* -EDEADLK */ : -16 /* -EBUSY */;
}

/*
 * These are macros, as pointers to arena memory and to globals differ in type.
 */

/**
 * arena_nolock_lock_try() - lock, without waiting
 * @lock: pointer to the lock
 *
 * Memory accesses after a successful call are not reordered before it.
 *
 * Context: any, NMI included.
 * Return: 0; -EBUSY if the lock is held on another CPU; -EDEADLK if it is held on this CPU.
 */
#define arena_nolock_lock_try(lock)						\
({										\
	__u32 me_ = bpf_get_smp_processor_id() + 1;				\
										\
	arena_nolock_lock_error(__sync_val_compare_and_swap(&(lock)->owner, 0, me_), me_); \
})

/**
 * arena_nolock_lock() - lock
 * @lock: pointer to the lock
 *
 * Memory accesses after a successful call are not reordered before it.
 *
 * Context: any, NMI included. Spins for up to ARENA_NOLOCK_LOCK_NS.
 * Return: 0; -EDEADLK if the lock is held on this CPU; -ETIMEDOUT if it was held on other CPUs
 * all the time.
 */
#define arena_nolock_lock(lock)							\
({										\
	__typeof__(lock) lock_ = (lock);					\
	int ret_ = arena_nolock_lock_try(lock_);				\
										\
	if (ret_ == -16)							\
		ret_ = arena_nolock_lock_wait(lock_);				\
	ret_;									\
})

/* Waiters read the word until it changes, which leaves the holder its cache line. */
#define arena_nolock_lock_wait(lock)						\
({										\
	__u64 begin_ = bpf_ktime_get_ns();					\
	int err_ = -16, turn_;							\
										\
	bpf_for(turn_, 0, ARENA_NOLOCK_LOCK_TURNS) {				\
		err_ = arena_nolock_lock_error(					\
			*(volatile __typeof__((lock)->owner) *)&(lock)->owner,	\
			bpf_get_smp_processor_id() + 1);			\
		if (!err_)							\
			err_ = arena_nolock_lock_try(lock);			\
		if (err_ != -16 || bpf_ktime_get_ns() - begin_ > ARENA_NOLOCK_LOCK_NS) \
			break;							\
	}									\
	err_ == -16 ? -110 /* -ETIMEDOUT */ : err_;				\
})

/**
 * arena_nolock_unlock() - unlock
 * @lock: pointer to the lock, which the caller holds
 *
 * Memory accesses before the call are not reordered after it. An exchange does that on every
 * architecture; the release store of -mcpu=v4 is unknown to Linux 6.12.
 *
 * Context: any, NMI included.
 */
#define arena_nolock_unlock(lock) \
	((void)__atomic_exchange_n(&(lock)->owner, 0, __ATOMIC_SEQ_CST))

#endif

#endif
