// SPDX-License-Identifier: GPL-2.0
/* Alloc, use and free in a loop on several CPUs, in one arena. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "core.h"

struct worker {
	pthread_t thread;
	struct arena *a;
	int cpu;
	volatile bool *stop;
	double done, failed, full;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	volatile struct bench_slot *s;

	pin(w->cpu);
	while (!*w->stop) {
		s = set_slot(w->a, w->cpu, (struct todo){ .op = OP_LOOP, .n = 200 });
		run_prog(w->a, ATOMIC, w->cpu);
		w->done += s->done;
		if (!s->failed)
			continue;
		/* Only a full arena is a reason to fail. */
		if (arena_pages(w->a) > LOOP_PAGES / 2)
			w->full += s->failed;
		else
			w->failed += s->failed;
		usleep(BACK_OFF_US);
	}

	return NULL;
}

/* What the loops of all rounds came to: pages that were not to be had, with room and without. */
struct failures {
	double failed[SIDES], full[SIDES];
};

/* @n CPUs for a while. Returns pages a second. */
static double loops(struct arena *a, int n, double *failed, double *full)
{
	struct worker w[BENCH_CPUS] = {};
	double begin, done = 0;
	bool stop = false;
	int cpu;

	settle();
	if (isnan(*failed))
		*failed = 0;
	begin = now_us();
	for (cpu = 0; cpu < n; cpu++) {
		w[cpu].a = a;
		w[cpu].cpu = cpu;
		w[cpu].stop = &stop;
		pthread_create(&w[cpu].thread, NULL, work, &w[cpu]);
	}
	usleep(quick ? 200000 : 3000000);
	__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
	for (cpu = 0; cpu < n; cpu++) {
		pthread_join(w[cpu].thread, NULL);
		done += w[cpu].done;
		*failed += w[cpu].failed;
		*full += w[cpu].full;
	}

	return done / (now_us() - begin) * 1e6;
}

/* The median rate of each side with @n CPUs. */
static void measure(struct arena *a, int first, int n, double *m, struct failures *f)
{
	struct sample rate[SIDES] = {};
	int i, side;

	for (i = 0; i < (quick ? 1 : 3); i++)
		for (side = first; side < SIDES; side++)
			add(&rate[side], loops(&a[side], n, &f->failed[side], &f->full[side]));
	m[INTREE] = median(&rate[INTREE]);
	m[MODULE] = median(&rate[MODULE]);
}

static void report_failures(const char *name, const struct failures *f)
{
	result(name, (struct result){ "failures", "less", "max0",
				      { f->failed[INTREE], f->failed[MODULE] } },
	       "with room in the arena, of all runs; without %s / %s, then the caller waits %d us",
	       num(f->full[INTREE]), num(f->full[MODULE]), BACK_OFF_US);
}

static void run_cpus(void)
{
	struct failures f = { .failed = { NONE, NONE } };
	struct arena a[SIDES];
	double m[SIDES];
	char name[64];
	int n, first;

	first = arenas_open(a, LOOP_PAGES, ATOMIC);
	for (n = 1; n <= nr_cpus && n <= 4; n *= 2) {
		measure(a, first, n, m, &f);
		snprintf(name, sizeof(name), "cpus%d", n);
		result(name, (struct result){ "1/s", "more", n == 4 ? "x3" : NULL,
					      { m[INTREE], m[MODULE] } },
		       "alloc, use, free on %d CPUs, one arena", n);
		point("cpus", n, m[INTREE], m[MODULE]);
	}
	arenas_close(a, first);
	report_failures("cpus.failures", &f);
}

const struct bench_case case_cpus = {
	.name = "cpus",
	.desc = "throughput on several CPUs",
	.run = run_cpus,
};

/* Far more CPUs than the host has: those that do not run must not hold up those that do. */
static void run_crowd(void)
{
	struct failures f = { .failed = { NONE, NONE } };
	double two[SIDES], m[SIDES];
	struct arena a[SIDES];
	char name[64];
	int n, first;

	if (nr_cpus < 16)
		return note("needs 16 CPUs");
	first = arenas_open(a, LOOP_PAGES, ATOMIC);
	measure(a, first, 2, two, &f);
	result("crowd2", (struct result){ "1/s", "more", NULL, { two[INTREE], two[MODULE] } },
	       "alloc, use, free on 2 of %d CPUs, one arena", nr_cpus);
	for (n = 16; n <= nr_cpus && n <= BENCH_CPUS; n *= 2) {
		measure(a, first, n, m, &f);
		snprintf(name, sizeof(name), "crowd%d", n);
		result(name, (struct result){ "of 2 CPUs", "more", "min0.8",
					      { m[INTREE] / two[INTREE], m[MODULE] / two[MODULE] } },
		       "the same on %d CPUs, against 2; %s / %s a second", n, num(m[INTREE]),
		       num(m[MODULE]));
	}
	arenas_close(a, first);
	report_failures("crowd.failures", &f);
}

const struct bench_case case_crowd = {
	.name = "crowd",
	.desc = "throughput on many more CPUs than the host has",
	.run = run_crowd,
};
