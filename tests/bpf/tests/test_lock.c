// SPDX-License-Identifier: GPL-2.0
/*
 * The lock of include/arena_nolock_lock.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>
#include <sys/syscall.h>

#include "arena_nolock_lock.h"
#include "lock.h"
#include "runner.h"
#include "arena.h"
#include "lock.skel.h"

#define ELSEWHERE 4000		/* the CPU of a holder that never unlocks, plus 1 */
#define MS 1000000ull

static struct lock_bpf *skel;
static volatile struct lock_status *st;
static volatile __u32 *owners[2];	/* of the global lock and of that in the arena */
static volatile bool stop;

static bool run(struct bpf_program *prog)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	return !bpf_prog_test_run_opts(bpf_program__fd(prog), &opts);
}

static void open_lock(void)
{
	skel = lock_bpf__open_and_load();
	ASSERT(skel, "load: %s", strerror(errno));
	st = &skel->bss->st;
	st->tgid = getpid();
	ASSERT(run(skel->progs.lock_setup) && st->page, "no page");
	owners[0] = &skel->bss->global.lock.owner;
	owners[1] = &((struct lock_data *)st->page)->lock.owner;
}

TEST(lock, try, "a lock is held by one CPU at a time, and its holder is told so")
{
	int i;

	open_lock();
	ASSERT_OK();
	for (i = 0; i < 2; i++) {
		st->in_arena = i;
		st->got_free = 1;
		ASSERT(run(skel->progs.lock_try), "run");
		ASSERT_EQ(st->tried, 0, "try");
		ASSERT_EQ(st->tried_again, -EDEADLK, "try again");
		ASSERT_EQ(st->got, -EDEADLK, "lock again");
		ASSERT_EQ(st->got_free, 0, "word after unlock");
		*owners[i] = ELSEWHERE;
		ASSERT(run(skel->progs.lock_try), "run");
		ASSERT_EQ(st->tried, -EBUSY, "try what is held elsewhere");
		ASSERT_EQ(*owners[i], ELSEWHERE, "word");
	}
	lock_bpf__destroy(skel);
}

TEST(lock, timeout, "waiting for a holder that does not unlock ends after the time that was set")
{
	static const __u64 limits[] = { 0, MS, 50 * MS };
	size_t i, k;

	open_lock();
	ASSERT_OK();
	for (i = 0; i < 2; i++) {
		st->in_arena = i;
		*owners[i] = ELSEWHERE;
		for (k = 0; k < sizeof(limits) / sizeof(limits[0]); k++) {
			skel->data->wait_ns = limits[k];
			ASSERT(run(skel->progs.lock_wait), "run");
			ASSERT_EQ(st->got, -ETIMEDOUT, "lock");
			ASSERT(st->ns >= limits[k] && st->ns < limits[k] + 1000 * MS * patience,
			       "%llu ns, the limit was %llu", (unsigned long long)st->ns,
			       (unsigned long long)limits[k]);
			ASSERT_EQ(*owners[i], ELSEWHERE, "word");
		}
	}
	lock_bpf__destroy(skel);
}

static void *unlock_later(void *owner)
{
	usleep(100000);
	__atomic_store_n((__u32 *)owner, 0, __ATOMIC_RELEASE);

	return NULL;
}

TEST(lock, handover, "a waiter gets the lock when the holder unlocks")
{
	pthread_t thread;
	int i;

	open_lock();
	ASSERT_OK();
	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	skel->data->wait_ns = 20000 * MS;
	for (i = 0; i < 2; i++) {
		st->in_arena = i;
		*owners[i] = ELSEWHERE;
		ASSERT(!pthread_create(&thread, NULL, unlock_later, (void *)owners[i]), "thread");
		ASSERT(run(skel->progs.lock_wait), "run");
		pthread_join(thread, NULL);
		ASSERT_EQ(st->got, 0, "lock");
		ASSERT(st->ns > 10 * MS, "%llu ns", (unsigned long long)st->ns);
		ASSERT_EQ(*owners[i], 0, "word after unlock");
	}
	lock_bpf__destroy(skel);
}

static void *hold(void *arg)
{
	(void)arg;
	while (!stop)
		run(skel->progs.lock_hold);

	return NULL;
}

TEST(lock, nmi, "an NMI on top of the holder gets -EDEADLK at once")
{
	pthread_t thread;
	int i;

	NEED_NMIS();
	open_lock();
	ASSERT_OK();
	/* A wait would end the test. */
	skel->data->wait_ns = 100000 * MS;
	ASSERT(attach_nmis(skel->progs.lock_in_nmi), "attach: %s", strerror(errno));
	ASSERT(!pthread_create(&thread, NULL, hold, NULL), "thread");
	for (i = 0; i < 20; i++) {
		st->nmi_err = 1;
		st->hold = 1;
		ASSERT(wait_for((send_nmis(), !st->hold), 10000), "no NMI on the holder");
		ASSERT_EQ(st->nmi_err, -EDEADLK, "lock in an NMI on the holder");
		ASSERT(st->nmi_ns < 1000 * MS * patience, "%llu ns", (unsigned long long)st->nmi_ns);
	}
	stop = true;
	pthread_join(thread, NULL);
	ASSERT_EQ(*owners[0], 0, "word at the end");
	lock_bpf__destroy(skel);
}

static void *calls(void *arg)
{
	(void)arg;
	while (!stop)
		syscall(LOCK_SYSCALL);

	return NULL;
}

static void storm(void)
{
	bool nmis = has_nmis();
	long end = now_ms() + 2000 * patience;
	volatile struct lock_data *d;
	pthread_t thread[4];
	int i;

	open_lock();
	ASSERT_OK();
	ASSERT(attach_clocks(skel->progs.lock_in_timer), "perf events: %s", strerror(errno));
	ASSERT(bpf_program__attach(skel->progs.lock_in_task) &&
	       bpf_program__attach(skel->progs.lock_in_softirq) &&
	       (!nmis || attach_nmis(skel->progs.lock_in_nmi)), "attach: %s",
	       strerror(errno));
	st->storm = 1;
	for (i = 0; i < 4; i++)
		ASSERT(!pthread_create(&thread[i], NULL, calls, NULL), "thread");
	while (now_ms() < end || st->rounds[LOCK_HARDIRQ] < 50) {
		if (nmis)
			ASSERT(send_nmis(), "NMIs: %s", strerror(errno));
		else
			usleep(1000);
	}
	stop = true;
	for (i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	st->storm = 0;
	ASSERT(wait_for(!*owners[0] && !*owners[1], 5000), "held at the end: %u %u", *owners[0],
	       *owners[1]);
	printf("# rounds: %llu in tasks, %llu in softirqs, %llu in timers, %llu in NMIs\n",
	       (unsigned long long)st->rounds[LOCK_TASK],
	       (unsigned long long)st->rounds[LOCK_SOFTIRQ],
	       (unsigned long long)st->rounds[LOCK_HARDIRQ],
	       (unsigned long long)st->rounds[LOCK_NMI]);
	printf("# locked %llu times, %llu times -EDEADLK, %llu times -ETIMEDOUT\n",
	       (unsigned long long)(st->locked[0] + st->locked[1]),
	       (unsigned long long)st->deadlock, (unsigned long long)st->timeout);
	d = (volatile struct lock_data *)st->page;
	ASSERT(st->rounds[LOCK_TASK] > 100 && (!nmis || st->rounds[LOCK_NMI] > 20),
	       "not enough of each");
	ASSERT_EQ(st->other, 0, "other errors");
	ASSERT_EQ(st->unequal, 0, "times that the words differed under the lock");
	ASSERT_EQ(skel->bss->global.first, st->locked[0], "count under the global lock");
	ASSERT_EQ(skel->bss->global.second, st->locked[0], "second count under the global lock");
	ASSERT_EQ(d->first, st->locked[1], "count under the lock in the arena");
	ASSERT_EQ(d->second, st->locked[1], "second count under the lock in the arena");
	lock_bpf__destroy(skel);
}

TEST_LONG(lock, storm, 120,
	  "a lock excludes tasks, softirqs, timers and NMIs on all CPUs from each other")
{
	storm();
}

TEST_LONG(nomod, lock, 120, "on 7.x the lock works without the module")
{
	if (!has_intree_nonsleepable)
		SKIP("the kernel's own kfuncs may sleep");
	storm();
}
