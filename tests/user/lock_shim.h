/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What src/lock.c needs of the kernel, for user space, included before it. A
 * thread plays a CPU; whether its interrupts are off is a flag.
 *
 * A test can run code between any two steps of the lock: @step of a CPU is called before
 * each access to shared memory, @relax in each cpu_relax(). Both may call the lock again,
 * as an NMI would. A CPU with a @tick has a clock of its own, which advances by that much
 * with each reading.
 */
#ifndef ANL_LOCK_SHIM_H
#define ANL_LOCK_SHIM_H

#include <assert.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define CONFIG_NR_CPUS	8

typedef uint16_t u16;
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
	u64 tick;
	u64 now;
	void (*step)(void);
	void (*relax)(void);
};

extern _Thread_local struct cpu this_cpu;

#define NSEC_PER_MSEC	1000000ull
#define noinline	__attribute__((noinline))

static inline void shim_call(void (**hook)(void))
{
	void (*f)(void) = *hook;

	if (!f)
		return;
	/* Not from within itself. */
	*hook = NULL;
	f();
	*hook = f;
}

#define shim_step()	shim_call(&this_cpu.step)

static inline int atomic_read(atomic_t *v)
{
	shim_step();
	return __atomic_load_n(&v->counter, __ATOMIC_RELAXED);
}

static inline int atomic_read_acquire(atomic_t *v)
{
	shim_step();
	return __atomic_load_n(&v->counter, __ATOMIC_ACQUIRE);
}

static inline void atomic_set(atomic_t *v, int i)
{
	shim_step();
	__atomic_store_n(&v->counter, i, __ATOMIC_RELAXED);
}

static inline void atomic_set_release(atomic_t *v, int i)
{
	shim_step();
	__atomic_store_n(&v->counter, i, __ATOMIC_RELEASE);
}

static inline int atomic_xchg(atomic_t *v, int i)
{
	shim_step();
	return __atomic_exchange_n(&v->counter, i, __ATOMIC_SEQ_CST);
}

static inline int atomic_cmpxchg(atomic_t *v, int old, int new)
{
	shim_step();
	__atomic_compare_exchange_n(&v->counter, &old, new, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_RELAXED);

	return old;
}

static inline int atomic_cmpxchg_relaxed(atomic_t *v, int old, int new)
{
	shim_step();
	__atomic_compare_exchange_n(&v->counter, &old, new, false, __ATOMIC_RELAXED,
				    __ATOMIC_RELAXED);

	return old;
}

static inline int atomic_cmpxchg_acquire(atomic_t *v, int old, int new)
{
	shim_step();
	__atomic_compare_exchange_n(&v->counter, &old, new, false, __ATOMIC_ACQUIRE,
				    __ATOMIC_RELAXED);

	return old;
}

/* The lock comments its barriers; this only defines one. */
#define smp_store_release(p, val) \
	do { shim_step(); __atomic_store_n(p, val, __ATOMIC_RELEASE); } while (0)
#define READ_ONCE(x)		({ shim_step(); __atomic_load_n(&(x), __ATOMIC_RELAXED); })
#define WRITE_ONCE(x, val) \
	do { shim_step(); __atomic_store_n(&(x), val, __ATOMIC_RELAXED); } while (0)

#define DEFINE_PER_CPU_ALIGNED(type, name) \
	__attribute__((aligned(64))) __typeof__(type) name[CONFIG_NR_CPUS]
#define per_cpu_ptr(p, cpu)	(&(*(p))[cpu])
#define this_cpu_ptr(p)		per_cpu_ptr(p, this_cpu.id)

#define local_irq_save(flags)	((flags) = this_cpu.irqs_off, this_cpu.irqs_off = true)
#define local_irq_restore(flags)	(this_cpu.irqs_off = (flags))
#define preempt_disable()	((void)this_cpu.preempt++)
#define preempt_enable()	((void)this_cpu.preempt--)
#define smp_processor_id()	(this_cpu.id)

static inline void cpu_relax(void)
{
	shim_call(&this_cpu.relax);
	sched_yield();
}

static inline u64 real_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);

	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static inline u64 ktime_get_mono_fast_ns(void)
{
	this_cpu.clock_reads++;
	if (!this_cpu.tick)
		return real_ns();

	return this_cpu.now += this_cpu.tick;
}

#endif
