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

static void run_cpus(void)
{
	int rounds = quick ? 1 : 3, n, i, side, first, cpu;
	double failed[SIDES] = { NONE, NONE }, full[SIDES] = {};
	struct arena a[SIDES];

	first = arenas_open(a, LOOP_PAGES, ATOMIC);
	for (n = 1; n <= nr_cpus && n <= BENCH_CPUS; n *= 2) {
		struct sample rate[SIDES] = {};
		double m[SIDES];
		char name[64];

		for (i = 0; i < rounds; i++) {
			for (side = first; side < SIDES; side++) {
				struct worker w[BENCH_CPUS] = {};
				bool stop = false;
				double begin, done = 0;

				settle();
				if (isnan(failed[side]))
					failed[side] = 0;
				begin = now_us();
				for (cpu = 0; cpu < n; cpu++) {
					w[cpu].a = &a[side];
					w[cpu].cpu = cpu;
					w[cpu].stop = &stop;
					pthread_create(&w[cpu].thread, NULL, work, &w[cpu]);
				}
				usleep(quick ? 200000 : 3000000);
				__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
				for (cpu = 0; cpu < n; cpu++) {
					pthread_join(w[cpu].thread, NULL);
					done += w[cpu].done;
					failed[side] += w[cpu].failed;
					full[side] += w[cpu].full;
				}
				add(&rate[side], done / (now_us() - begin) * 1e6);
			}
		}
		m[INTREE] = median(&rate[INTREE]);
		m[MODULE] = median(&rate[MODULE]);
		snprintf(name, sizeof(name), "cpus%d", n);
		result(name, (struct result){ "1/s", "more", n == 4 ? "x3" : NULL,
					      { m[INTREE], m[MODULE] } },
		       "alloc, use, free on %d CPUs, one arena", n);
		point("cpus", n, m[INTREE], m[MODULE]);
	}
	arenas_close(a, first);
	result("cpus.failures", (struct result){ "failures", "less", "max0",
						 { failed[INTREE], failed[MODULE] } },
	       "with room in the arena, of all runs; without %s / %s, then the caller waits %d us",
	       num(full[INTREE]), num(full[MODULE]), BACK_OFF_US);
}

const struct bench_case case_cpus = {
	.name = "cpus",
	.desc = "throughput on several CPUs",
	.run = run_cpus,
};
