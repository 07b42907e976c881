// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of src/anl_lock.c, the lock for kernels without rqspinlock. Threads play
 * CPUs; a second attempt by the holder plays the NMI.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "lock_shim.h"
#include "anl_lock.h"

#define NR_CPUS		4
#define NR_ROUNDS	50000

_Thread_local struct cpu this_cpu;

static anl_lock_t lock;
static unsigned long counter, late;
static bool held;

static bool untouched(bool irqs_off)
{
	return this_cpu.irqs_off == irqs_off && !this_cpu.preempt;
}

static double seconds(void)
{
	return ktime_get_mono_fast_ns() / 1e9;
}

static void take_and_give_back(void **state)
{
	unsigned long flags;
	int irqs_off;

	anl_lock_init(&lock);
	for (irqs_off = 0; irqs_off < 2; irqs_off++) {
		this_cpu = (struct cpu){ .irqs_off = irqs_off };
		assert_int_equal(anl_lock_irqsave(&lock, &flags), 0);
		assert_true(this_cpu.irqs_off && this_cpu.preempt);
		anl_unlock_irqrestore(&lock, flags);
		assert_true(untouched(irqs_off));
		/* A free lock costs no clock. */
		assert_int_equal(this_cpu.clock_reads, 0);
	}
}

/* On CPU 0 too, whose number could be taken for "free". */
static void reentry(void **state)
{
	unsigned long flags, unused;
	int id;

	for (id = 0; id < NR_CPUS; id++) {
		anl_lock_init(&lock);
		this_cpu = (struct cpu){ .id = id };
		assert_int_equal(anl_lock_irqsave(&lock, &flags), 0);
		assert_int_equal(anl_lock_irqsave(&lock, &unused), -EDEADLK);
		assert_int_equal(anl_lock_irqsave(&lock, &unused), -EDEADLK);
		/* At once, and the holder still holds it. */
		assert_int_equal(this_cpu.clock_reads, 0);
		assert_true(this_cpu.irqs_off && this_cpu.preempt == 1);
		anl_unlock_irqrestore(&lock, flags);
		assert_true(untouched(false));
		assert_int_equal(anl_lock_irqsave(&lock, &flags), 0);
		anl_unlock_irqrestore(&lock, flags);
	}
}

static void *hold(void *usec)
{
	unsigned long flags;

	this_cpu = (struct cpu){ .id = 1 };
	if (anl_lock_irqsave(&lock, &flags))
		return "the holder did not get the lock";
	__atomic_store_n(&held, true, __ATOMIC_RELEASE);
	usleep((uintptr_t)usec);
	anl_unlock_irqrestore(&lock, flags);

	return NULL;
}

static void hold_elsewhere(pthread_t *holder, uintptr_t usec)
{
	anl_lock_init(&lock);
	held = false;
	assert_int_equal(pthread_create(holder, NULL, hold, (void *)usec), 0);
	while (!__atomic_load_n(&held, __ATOMIC_ACQUIRE))
		sched_yield();
	this_cpu = (struct cpu){ .id = 0 };
}

static void timeout(void **state)
{
	unsigned long flags;
	pthread_t holder;
	double start;
	void *wrong;

	hold_elsewhere(&holder, 2000000);
	start = seconds();
	assert_int_equal(anl_lock_irqsave(&lock, &flags), -ETIMEDOUT);
	assert_true(seconds() - start > 0.2);
	assert_true(seconds() - start < 1.5);
	assert_true(untouched(false));
	pthread_join(holder, &wrong);
	assert_null(wrong);
	assert_int_equal(anl_lock_irqsave(&lock, &flags), 0);
	anl_unlock_irqrestore(&lock, flags);
}

static void waiting(void **state)
{
	unsigned long flags;
	pthread_t holder;
	void *wrong;

	hold_elsewhere(&holder, 30000);
	assert_int_equal(anl_lock_irqsave(&lock, &flags), 0);
	anl_unlock_irqrestore(&lock, flags);
	assert_true(untouched(false));
	pthread_join(holder, &wrong);
	assert_null(wrong);
}

static void *count(void *id)
{
	unsigned long flags, unused;
	int i, err;

	this_cpu = (struct cpu){ .id = (uintptr_t)id };
	for (i = 0; i < NR_ROUNDS; i++) {
		while ((err = anl_lock_irqsave(&lock, &flags))) {
			if (err != -ETIMEDOUT)
				return "an error that nobody caused";
			__atomic_fetch_add(&late, 1, __ATOMIC_RELAXED);
		}
		counter++;
		if (i % 64 == 0 && anl_lock_irqsave(&lock, &unused) != -EDEADLK)
			return "re-entry was not seen";
		anl_unlock_irqrestore(&lock, flags);
	}

	return untouched(false) ? NULL : "interrupts or preemption stayed off";
}

static void exclusion(void **state)
{
	pthread_t cpus[NR_CPUS];
	void *wrong;
	uintptr_t i;

	anl_lock_init(&lock);
	counter = 0;
	for (i = 0; i < NR_CPUS; i++)
		assert_int_equal(pthread_create(&cpus[i], NULL, count, (void *)i), 0);
	for (i = 0; i < NR_CPUS; i++) {
		pthread_join(cpus[i], &wrong);
		if (wrong)
			fail_msg("CPU %d: %s", (int)i, (char *)wrong);
	}
	assert_int_equal(counter, NR_CPUS * NR_ROUNDS);
	print_message("%lu timeouts\n", late);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(take_and_give_back),
		cmocka_unit_test(reentry),
		cmocka_unit_test(timeout),
		cmocka_unit_test(waiting),
		cmocka_unit_test(exclusion),
	};

	return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
