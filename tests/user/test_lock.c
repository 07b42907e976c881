// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of src/lock.c, the lock for kernels without rqspinlock. Threads play
 * CPUs, and the main thread plays several of them in turn. A call of the lock from a
 * hook of lock_shim.h plays the NMI.
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
/* Not only the header: all waiters have to be idle after each test. */
#include "lock.c"

#define NR_THREADS	4
#define NR_ROUNDS	50000
#define NR_STRESS	20000
/* A lock in turns costs a time slice per turn where others want the processors too. */
#define ROUNDS_SECONDS	15

/* Ticks of a clock: a CPU that never, soon, or at once has waited for too long. */
#define PATIENT		1
#define IMPATIENT	(11 * NSEC_PER_MSEC)
#define TIMES_OUT	(300 * NSEC_PER_MSEC)

_Thread_local struct cpu this_cpu;

static anl_lock_t lock, other;
static unsigned long counter, late;
static bool held, let_go;

#define LOAD(x)		__atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define STORE(x, val)	__atomic_store_n(&(x), val, __ATOMIC_RELEASE)

static bool untouched(bool irqs_off)
{
	return this_cpu.irqs_off == irqs_off && !this_cpu.preempt;
}

static double seconds(void)
{
	return real_ns() / 1e9;
}

/* What this thread has had of a CPU: a busy machine may keep it waiting for one. */
static double cpu_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);

	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void await(const bool *flag)
{
	double start = seconds();

	while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE)) {
		if (seconds() - start > 20)
			fail_msg("another CPU hangs");
		usleep(100);
	}
}

static void as_cpu(int id, u64 tick)
{
	this_cpu = (struct cpu){ .id = id, .tick = tick };
}

static int init(void **state)
{
	anl_lock_init(&lock);
	anl_lock_init(&other);
	as_cpu(0, 0);
	/* A lock that hangs ends the test. */
	alarm(100);

	return 0;
}

/* A queue that is empty, and no waiter that is lost to its CPU. */
static int idle(void **state)
{
	int i;

	alarm(0);
	if (lock.val.counter || other.val.counter) {
		print_error("lock %#x, other %#x\n", lock.val.counter, other.val.counter);
		return -1;
	}
	for (i = 0; i < CONFIG_NR_CPUS * ANL_NR_WAITERS; i++) {
		struct anl_waiter *w = anl_waiter_of(i + 1);

		if (w->state.counter != ANL_IDLE || w->lock) {
			print_error("waiter %d is in state %d\n", i + 1, w->state.counter);
			return -1;
		}
	}

	return 0;
}

/* A CPU that takes the lock once. */
struct taker {
	pthread_t thread;
	int id;
	u64 tick;
	void (*step)(void);
	void (*nmi)(void);	/* in cpu_relax() */
	bool waits;		/* has been in cpu_relax() */
	bool stop;		/* is to stop there, or where @step says */
	bool stops;
	bool done;
	int err;
	int turn;		/* its position among those that got the lock */
};

static struct taker taker[CONFIG_NR_CPUS];
static int turns;
static _Thread_local struct taker *me;

static void stop_here(void)
{
	while (LOAD(me->stop)) {
		STORE(me->stops, true);
		usleep(100);
	}
}

static void wait_here(void)
{
	if (me->nmi)
		me->nmi();
	this_cpu.tick = LOAD(me->tick);
	STORE(me->waits, true);
	if (!me->step)
		stop_here();
}

static void *take(void *t)
{
	unsigned long flags;

	me = t;
	this_cpu = (struct cpu){ .id = me->id, .tick = me->tick, .step = me->step,
				 .relax = wait_here };
	me->err = anl_lock_irqsave(&lock, &flags);
	if (!me->err) {
		me->turn = ++turns;
		anl_unlock_irqrestore(&lock, flags);
	}
	STORE(me->done, true);

	return untouched(false) ? NULL : "interrupts or preemption stayed off";
}

static void start(int id, struct taker t)
{
	t.id = id;
	taker[id] = t;
	assert_int_equal(pthread_create(&taker[id].thread, NULL, take, &taker[id]), 0);
	await(t.stop ? &taker[id].stops : &taker[id].waits);
}

static struct taker *finish(int id)
{
	void *wrong;

	await(&taker[id].done);
	pthread_join(taker[id].thread, &wrong);
	if (wrong)
		fail_msg("CPU %d: %s", id, (char *)wrong);

	return &taker[id];
}

static unsigned long hold_as_cpu_0(void)
{
	unsigned long flags;

	turns = 0;
	as_cpu(0, PATIENT);
	assert_int_equal(anl_lock_irqsave(&lock, &flags), 0);

	return flags;
}

static void release_as_cpu_0(unsigned long flags)
{
	as_cpu(0, PATIENT);
	this_cpu.preempt = 1;
	anl_unlock_irqrestore(&lock, flags);
}

static void times_out(int id)
{
	unsigned long flags;

	as_cpu(id, TIMES_OUT);
	assert_int_equal(anl_lock_irqsave(&lock, &flags), -ETIMEDOUT);
	assert_true(untouched(false));
}

static void take_and_give_back(void **state)
{
	unsigned long flags;
	int irqs_off;

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

	for (id = 0; id < CONFIG_NR_CPUS; id++) {
		as_cpu(id, 0);
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

static int nmis, nmi_errors, nmi_clock_reads;

static void nmi_takes_both(void)
{
	unsigned long flags;
	int reads = this_cpu.clock_reads;

	this_cpu.tick = TIMES_OUT;
	nmi_errors += anl_lock_irqsave(&lock, &flags) != -EDEADLK;
	nmi_clock_reads += this_cpu.clock_reads - reads;
	if (anl_lock_irqsave(&other, &flags))
		nmi_errors++;
	else
		anl_unlock_irqrestore(&other, flags);
	nmis++;
}

/* An NMI must not wait for the context that it interrupted, be that the head or not. */
static void reentry_of_waiter(void **state)
{
	unsigned long flags = hold_as_cpu_0();

	nmis = 0;
	nmi_errors = 0;
	nmi_clock_reads = 0;
	start(1, (struct taker){ .tick = PATIENT, .nmi = nmi_takes_both, .stop = true });
	assert_int_equal(nmis, 1);
	assert_int_equal(nmi_errors, 0);
	start(2, (struct taker){ .tick = PATIENT, .nmi = nmi_takes_both, .stop = true });
	assert_int_equal(nmis, 2);
	assert_int_equal(nmi_errors, 0);
	assert_int_equal(nmi_clock_reads, 0);
	STORE(taker[1].stop, false);
	STORE(taker[2].stop, false);
	release_as_cpu_0(flags);
	assert_int_equal(finish(1)->turn, 1);
	assert_int_equal(finish(2)->turn, 2);
}

static bool went_back;

static void clock_goes_back(void)
{
	this_cpu.now = this_cpu.clock_reads ? 0 : NSEC_PER_MSEC;
	if (this_cpu.clock_reads > 1)
		STORE(went_back, true);
}

/* The clock can do that in an NMI. */
static void clock_back(void **state)
{
	unsigned long flags = hold_as_cpu_0();

	went_back = false;
	start(1, (struct taker){ .tick = PATIENT, .nmi = clock_goes_back });
	await(&went_back);
	release_as_cpu_0(flags);
	assert_int_equal(finish(1)->turn, 1);
}

/* For a time, or until @let_go is set. */
static void *hold(void *usec)
{
	unsigned long flags;

	this_cpu = (struct cpu){ .id = 1 };
	if (anl_lock_irqsave(&lock, &flags))
		return "the holder did not get the lock";
	STORE(held, true);
	usleep((uintptr_t)usec);
	while (!usec && !LOAD(let_go))
		usleep(1000);
	anl_unlock_irqrestore(&lock, flags);

	return NULL;
}

static void hold_elsewhere(pthread_t *holder, uintptr_t usec)
{
	held = false;
	let_go = false;
	assert_int_equal(pthread_create(holder, NULL, hold, (void *)usec), 0);
	await(&held);
}

static void timeout(void **state)
{
	unsigned long flags;
	pthread_t holder;
	double start, took, cpu;
	void *wrong;
	int err;

	hold_elsewhere(&holder, 0);
	start = seconds();
	cpu = cpu_seconds();
	err = anl_lock_irqsave(&lock, &flags);
	took = seconds() - start;
	cpu = cpu_seconds() - cpu;
	STORE(let_go, true);
	assert_int_equal(err, -ETIMEDOUT);
	assert_true(took > 0.2);
	assert_true(cpu < 5);
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

	/* The wait is not to end because the machine is busy. */
	as_cpu(0, PATIENT);
	hold_elsewhere(&holder, 30000);
	assert_int_equal(anl_lock_irqsave(&lock, &flags), 0);
	anl_unlock_irqrestore(&lock, flags);
	assert_true(untouched(false));
	pthread_join(holder, &wrong);
	assert_null(wrong);
}

static void order(void **state)
{
	unsigned long flags = hold_as_cpu_0();
	int id;

	for (id = CONFIG_NR_CPUS - 1; id; id--)
		start(id, (struct taker){ .tick = PATIENT });
	release_as_cpu_0(flags);
	for (id = CONFIG_NR_CPUS - 1; id; id--)
		assert_int_equal(finish(id)->turn, CONFIG_NR_CPUS - id);
}

/* In the middle of the queue and at its end. Those behind and before still get the lock. */
static void timeout_in_queue(void **state)
{
	unsigned long flags = hold_as_cpu_0();

	start(1, (struct taker){ .tick = PATIENT });
	times_out(2);
	times_out(4);
	start(3, (struct taker){ .tick = PATIENT });
	/* Its turn is that of its second attempt. */
	start(2, (struct taker){ .tick = PATIENT });
	times_out(4);
	release_as_cpu_0(flags);
	assert_int_equal(finish(1)->turn, 1);
	assert_int_equal(finish(3)->turn, 2);
	assert_int_equal(finish(2)->turn, 3);
	as_cpu(4, PATIENT);
	assert_int_equal(anl_lock_irqsave(&lock, &flags), 0);
	anl_unlock_irqrestore(&lock, flags);
}

static void timeout_of_head(void **state)
{
	unsigned long flags = hold_as_cpu_0();

	start(1, (struct taker){ .tick = PATIENT });
	times_out(3);
	start(2, (struct taker){ .tick = PATIENT });
	STORE(taker[1].tick, TIMES_OUT);
	assert_int_equal(finish(1)->err, -ETIMEDOUT);
	assert_false(LOAD(taker[2].done));
	start(1, (struct taker){ .tick = PATIENT });
	release_as_cpu_0(flags);
	assert_int_equal(finish(2)->turn, 1);
	assert_int_equal(finish(1)->turn, 2);
}

static void stop_after_timeout(void)
{
	if (this_cpu.clock_reads == 2)
		stop_here();
}

/* A waiter becomes the head when it has given up, but is still in the queue. */
static void timeout_when_handed_over(void **state)
{
	unsigned long flags = hold_as_cpu_0();

	start(1, (struct taker){ .tick = PATIENT });
	start(2, (struct taker){ .tick = TIMES_OUT, .step = stop_after_timeout, .stop = true });
	start(3, (struct taker){ .tick = PATIENT });
	STORE(taker[1].tick, TIMES_OUT);
	assert_int_equal(finish(1)->err, -ETIMEDOUT);
	assert_false(LOAD(taker[2].done));
	STORE(taker[2].stop, false);
	assert_int_equal(finish(2)->err, -ETIMEDOUT);
	release_as_cpu_0(flags);
	assert_int_equal(finish(3)->turn, 1);
}

/* When it has become the tail, before the waiter in front of it knows. */
static void stop_before_link(void)
{
	if (__atomic_load_n(&lock.tail, __ATOMIC_RELAXED) == me->id * ANL_NR_WAITERS + 1)
		stop_here();
}

/* The head leaves meanwhile, and does not wait. */
static void late_link(void **state)
{
	unsigned long flags = hold_as_cpu_0();

	start(1, (struct taker){ .tick = PATIENT });
	start(2, (struct taker){ .tick = PATIENT, .step = stop_before_link, .stop = true });
	start(3, (struct taker){ .tick = PATIENT });
	release_as_cpu_0(flags);
	assert_int_equal(finish(1)->turn, 1);
	assert_false(LOAD(taker[2].done) || LOAD(taker[3].done));
	STORE(taker[2].stop, false);
	assert_int_equal(finish(2)->turn, 2);
	assert_int_equal(finish(3)->turn, 3);
}

/* A head that does not run keeps a free lock from those behind it, but not for long. */
static void delayed_head(void **state)
{
	unsigned long flags = hold_as_cpu_0();

	start(1, (struct taker){ .tick = PATIENT, .stop = true });
	release_as_cpu_0(flags);
	as_cpu(2, IMPATIENT);
	assert_int_equal(anl_lock_irqsave(&lock, &flags), 0);
	assert_false(LOAD(taker[1].done));
	turns = 1;
	STORE(taker[1].stop, false);
	anl_unlock_irqrestore(&lock, flags);
	assert_int_equal(finish(1)->turn, 2);
}

/* All waiters of a CPU are in queues: it is without a place, but not without the lock. */
static void no_waiter_left(void **state)
{
	unsigned long flags = hold_as_cpu_0();
	int i;

	start(1, (struct taker){ .tick = PATIENT, .stop = true });
	for (i = 0; i < ANL_NR_WAITERS + 2; i++)
		times_out(2);
	release_as_cpu_0(flags);
	as_cpu(2, PATIENT);
	assert_int_equal(anl_lock_irqsave(&lock, &flags), 0);
	assert_false(LOAD(taker[1].done));
	turns = 1;
	anl_unlock_irqrestore(&lock, flags);
	STORE(taker[1].stop, false);
	assert_int_equal(finish(1)->turn, 2);
}

static void nested(void **state)
{
	unsigned long flags, flags2, unused;

	assert_int_equal(anl_lock_irqsave(&lock, &flags), 0);
	assert_int_equal(anl_lock_irqsave(&other, &flags2), 0);
	assert_int_equal(anl_lock_irqsave(&lock, &unused), -EDEADLK);
	assert_int_equal(anl_lock_irqsave(&other, &unused), -EDEADLK);
	anl_unlock_irqrestore(&other, flags2);
	assert_int_equal(anl_lock_irqsave(&lock, &unused), -EDEADLK);
	assert_true(this_cpu.irqs_off && this_cpu.preempt == 1);
	anl_unlock_irqrestore(&lock, flags);
	assert_true(untouched(false));
}

static double rounds_end;

static bool time_left(void)
{
	return seconds() < rounds_end;
}

static unsigned long counted;

static void *count(void *id)
{
	unsigned long flags, unused;
	int i, err;

	this_cpu = (struct cpu){ .id = (uintptr_t)id };
	for (i = 0; i < NR_ROUNDS && time_left(); i++) {
		while ((err = anl_lock_irqsave(&lock, &flags))) {
			if (err != -ETIMEDOUT)
				return "an error without a reason";
			__atomic_fetch_add(&late, 1, __ATOMIC_RELAXED);
		}
		counter++;
		if (i % 64 == 0 && anl_lock_irqsave(&lock, &unused) != -EDEADLK)
			return "re-entry was not seen";
		anl_unlock_irqrestore(&lock, flags);
	}
	__atomic_fetch_add(&counted, i, __ATOMIC_RELAXED);

	return untouched(false) ? NULL : "interrupts or preemption stayed off";
}

static void on_all_cpus(void *(*func)(void *))
{
	pthread_t cpus[NR_THREADS];
	void *wrong;
	uintptr_t i;

	rounds_end = seconds() + ROUNDS_SECONDS;
	for (i = 0; i < NR_THREADS; i++)
		assert_int_equal(pthread_create(&cpus[i], NULL, func, (void *)i), 0);
	for (i = 0; i < NR_THREADS; i++) {
		pthread_join(cpus[i], &wrong);
		if (wrong)
			fail_msg("CPU %d: %s", (int)i, (char *)wrong);
	}
}

static void exclusion(void **state)
{
	counter = 0;
	counted = 0;
	late = 0;
	on_all_cpus(count);
	assert_int_equal(counter, counted);
	print_message("%lu rounds, %lu timeouts\n", counted, late);
}

static unsigned long served, bypassed_max;
static _Thread_local unsigned long served_before;
static _Thread_local bool asked;

/* A context that spins has its place. What was served before it does not count. */
static void note_served(void)
{
	if (!asked)
		served_before = __atomic_load_n(&served, __ATOMIC_RELAXED);
	asked = true;
}

static void *take_turns(void *id)
{
	unsigned long flags, bypassed;

	this_cpu = (struct cpu){ .id = (uintptr_t)id, .tick = PATIENT, .relax = note_served };
	for (;;) {
		asked = false;
		if (anl_lock_irqsave(&lock, &flags))
			return "an error without a reason";
		bypassed = asked ? served - served_before : 0;
		if (bypassed > bypassed_max)
			bypassed_max = bypassed;
		__atomic_store_n(&served, served + 1, __ATOMIC_RELAXED);
		if (served % 16 == 0)
			sched_yield();
		if (served > NR_THREADS * NR_ROUNDS || !time_left()) {
			anl_unlock_irqrestore(&lock, flags);
			return NULL;
		}
		anl_unlock_irqrestore(&lock, flags);
	}
}

/* Each other CPU at most once between asking for the lock and getting it. */
static void fairness(void **state)
{
	served = 0;
	bypassed_max = 0;
	on_all_cpus(take_turns);
	print_message("%lu critical sections of others while a CPU waited\n", bypassed_max);
	assert_in_range(bypassed_max, 0, NR_THREADS - 1);
}

/* Everything at once, with NMIs and pauses between any two steps. */
static anl_lock_t *const locks[] = { &lock, &other };
static unsigned long counters[2], taken[2];
static _Thread_local int calls[2];
static _Thread_local bool holds[2];
static _Thread_local const char *nmi_wrong;
static _Thread_local u64 rnd;

static u64 rand_below(u64 n)
{
	rnd ^= rnd << 13;
	rnd ^= rnd >> 7;
	rnd ^= rnd << 17;

	return rnd % n;
}

static void pause_sometimes(void)
{
	if (!rand_below(16))
		sched_yield();
}

/* A call on top of others, which may hold what other CPUs wait for: it has to time out. */
static void take_on_top(int i)
{
	u64 tick = this_cpu.tick, now = this_cpu.now;
	unsigned long flags;
	int err;

	this_cpu.tick = IMPATIENT * (1 + rand_below(30));
	calls[i]++;
	err = anl_lock_irqsave(locks[i], &flags);
	if (!err) {
		if (holds[i])
			nmi_wrong = "an NMI got a lock of its own CPU";
		counters[i]++;
		__atomic_fetch_add(&taken[i], 1, __ATOMIC_RELAXED);
		anl_unlock_irqrestore(locks[i], flags);
	} else if (err == -EDEADLK) {
		if (calls[i] == 1)
			nmi_wrong = "an NMI met a deadlock that is none";
	} else if (holds[i]) {
		nmi_wrong = "an NMI waited for its own CPU";
	}
	calls[i]--;
	/* Whatever that took, the interrupted context has not waited itself. */
	this_cpu.tick = tick;
	this_cpu.now = now;
}

static void nmi_sometimes(void)
{
	pause_sometimes();
	if (rand_below(64))
		return;
	this_cpu.step = pause_sometimes;
	take_on_top(rand_below(2));
	this_cpu.step = NULL;
}

static void *stress_cpu(void *id)
{
	static const u64 ticks[] = { PATIENT, PATIENT, PATIENT, IMPATIENT, TIMES_OUT };
	unsigned long flags;
	int n, i, err;

	rnd = 88172645463325252ull + (uintptr_t)id;
	this_cpu = (struct cpu){ .id = (uintptr_t)id, .step = nmi_sometimes };
	for (n = 0; n < NR_STRESS && !nmi_wrong && time_left(); n++) {
		this_cpu.tick = ticks[rand_below(5)];
		i = rand_below(2);
		calls[i]++;
		err = anl_lock_irqsave(locks[i], &flags);
		if (!err) {
			holds[i] = true;
			counters[i]++;
			__atomic_fetch_add(&taken[i], 1, __ATOMIC_RELAXED);
			if (!rand_below(4))
				take_on_top(rand_below(2));
			anl_unlock_irqrestore(locks[i], flags);
			holds[i] = false;
		} else {
			if (err != -ETIMEDOUT || this_cpu.tick == PATIENT)
				return "an error without a reason";
			__atomic_fetch_add(&late, 1, __ATOMIC_RELAXED);
		}
		calls[i]--;
	}
	if (nmi_wrong)
		return (void *)nmi_wrong;

	return untouched(false) ? NULL : "interrupts or preemption stayed off";
}

static void stress(void **state)
{
	int i;

	late = 0;
	on_all_cpus(stress_cpu);
	for (i = 0; i < 2; i++)
		assert_int_equal(counters[i], taken[i]);
	print_message("%lu timeouts\n", late);
}

#define TEST(f)	cmocka_unit_test_setup_teardown(f, init, idle)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(take_and_give_back),
		TEST(reentry),
		TEST(reentry_of_waiter),
		TEST(timeout),
		TEST(waiting),
		TEST(clock_back),
		TEST(order),
		TEST(timeout_in_queue),
		TEST(timeout_of_head),
		TEST(timeout_when_handed_over),
		TEST(late_link),
		TEST(delayed_head),
		TEST(no_waiter_left),
		TEST(nested),
		TEST(exclusion),
		TEST(fairness),
		TEST(stress),
	};

	return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
