/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What src/anl_lock.c needs of the kernel, for user space, included before it. A
 * thread plays a CPU; whether its interrupts are off is a flag.
 */
#ifndef ANL_LOCK_SHIM_H
#define ANL_LOCK_SHIM_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

typedef uint32_t u32;
typedef uint64_t u64;

typedef struct {
	int counter;
} atomic_t;

struct cpu {
	int id;
	bool irqs_off;
	int preempt;
	int clock_reads;
};

extern _Thread_local struct cpu this_cpu;

#define NSEC_PER_MSEC	1000000ull

#define atomic_read(v)			__atomic_load_n(&(v)->counter, __ATOMIC_RELAXED)
#define atomic_set(v, i)		__atomic_store_n(&(v)->counter, i, __ATOMIC_RELAXED)
#define atomic_set_release(v, i)	__atomic_store_n(&(v)->counter, i, __ATOMIC_RELEASE)

static inline int atomic_cmpxchg_acquire(atomic_t *v, int old, int new)
{
	__atomic_compare_exchange_n(&v->counter, &old, new, false, __ATOMIC_ACQUIRE,
				    __ATOMIC_RELAXED);

	return old;
}

#define local_irq_save(flags)	((flags) = this_cpu.irqs_off, this_cpu.irqs_off = true)
#define local_irq_restore(flags)	(this_cpu.irqs_off = (flags))
#define preempt_disable()	((void)this_cpu.preempt++)
#define preempt_enable()	((void)this_cpu.preempt--)
#define smp_processor_id()	(this_cpu.id)
#define cpu_relax()		sched_yield()

static inline u64 ktime_get_mono_fast_ns(void)
{
	struct timespec ts;

	this_cpu.clock_reads++;
	clock_gettime(CLOCK_MONOTONIC, &ts);

	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

#endif
