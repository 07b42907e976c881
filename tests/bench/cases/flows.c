// SPDX-License-Identifier: GPL-2.0
/*
 * The flow table of the example flows: how many new flows it takes in a second, on 1, 2 and 4 CPUs.
 * Each CPU has flows of its own; the table and the heap that they come from are shared.
 */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "arena_nolock_heap.h"
#include "core.h"
#include "new_flows.h"
#include "new_flows.skel.h"

/* As many flows in the table at the end as it has buckets, on however many CPUs. */
#define FLOWS (quick ? 8192 : 131072)
#define CHUNK 1024

struct worker {
	pthread_t thread;
	struct new_flows_bpf *skel;
	pthread_barrier_t *start;
	int cpu, flows;
	double begin, end;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct new_flows_ctx ctx = { .slot = w->cpu, .n = CHUNK };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));

	pin(w->cpu);
	pthread_barrier_wait(w->start);
	w->begin = now_us();
	for (; (int)ctx.first < w->flows; ctx.first += CHUNK)
		if (bpf_prog_test_run_opts(bpf_program__fd(w->skel->progs.new_flows), &opts))
			die("flows: %s", strerror(errno));
	w->end = now_us();

	return NULL;
}

/* New flows in a second, into an empty table. */
static double rate(int n, int *page_flows)
{
	struct new_flows_bpf *skel = new_flows_bpf__open_and_load();
	struct arena_nolock_heap_stats s;
	struct worker w[NEW_FLOWS_CPUS] = {};
	double begin = INFINITY, end = 0, done = 0, pages = 0;
	pthread_barrier_t start;
	int cpu, i;

	if (!skel)
		die("flows: %s", strerror(errno));
	pthread_barrier_init(&start, NULL, n);
	settle();
	for (cpu = 0; cpu < n; cpu++) {
		w[cpu] = (struct worker){ .skel = skel, .start = &start, .cpu = cpu,
					  .flows = FLOWS / n };
		pthread_create(&w[cpu].thread, NULL, work, &w[cpu]);
	}
	for (cpu = 0; cpu < n; cpu++) {
		pthread_join(w[cpu].thread, NULL);
		begin = fmin(begin, w[cpu].begin);
		end = fmax(end, w[cpu].end);
		done += skel->bss->slots[cpu].done;
	}
	pthread_barrier_destroy(&start);
	if (done != FLOWS)
		note("%.0f of %d flows were lost", FLOWS - done, FLOWS);
	for (i = 0; i < ARENA_NOLOCK_HEAP_CLASSES; i++) {
		arena_nolock_heap_stats(&skel->bss->heap, i, &s);
		pages += s.pages;
	}
	*page_flows = done / pages;
	new_flows_bpf__destroy(skel);

	return done / (end - begin) * 1e6;
}

static void run_flows(void)
{
	double one = NONE, m;
	int n, i, page_flows;
	char name[64];

	for (n = 1; n <= nr_cpus && n <= NEW_FLOWS_CPUS; n *= 2) {
		struct sample rates = {};

		for (i = 0; i < (quick ? 1 : 5); i++)
			add(&rates, rate(n, &page_flows));
		m = median(&rates);
		if (n == 1)
			one = m;
		snprintf(name, sizeof(name), "flows.%d", n);
		result(name, (struct result){ "1/s", "more", NULL, { NONE, m } },
		       "new flows of the example, CPUs: %d; %s times those of one, %d flows a page",
		       n, num(m / one), page_flows);
		point("flows", n, NONE, m);
	}
	settle();
}

const struct bench_case case_flows = {
	.name = "flows",
	.desc = "new flows in the table of the example flows",
	.run = run_flows,
};
