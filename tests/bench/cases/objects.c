// SPDX-License-Identifier: GPL-2.0
/*
 * Objects of 64 bytes from arena_nolock_heap.h, against the kernel's bpf_obj_new(), the allocator
 * of the kernel's arena library, and arena_nolock_slab.h. In the results "in tree" is what the
 * heap is compared with. The library is in the guest if tests/clients was built for this kernel.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "arena_nolock_heap.h"
#include "arena_nolock_slab.h"
#include "core.h"
#include "objects.h"
#include "objects.skel.h"

/* bpf_obj_drop() returns memory after a grace period: this many fit into the CPU's cache. */
#define BURST 48

/* The library needs a newer libbpf than the bench has. */
#define LIBRARY_PAIRS "/clients/run_object pairs /clients/objects.bpf.o"

static struct objects_bpf *skel;

static double call(int cpu, __u64 op, __u64 n)
{
	__u64 ctx[2] = { cpu, op };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = ctx, .ctx_size_in = sizeof(ctx));
	volatile struct objects_slot *s = &skel->bss->slots[cpu];

	s->n = n;
	if (bpf_prog_test_run_opts(bpf_program__fd(skel->progs.objects), &opts))
		die("objects: %s", strerror(errno));
	if (s->failed)
		note("op %llu: %llu of %llu allocations failed", (unsigned long long)op,
		     (unsigned long long)s->failed, (unsigned long long)n);

	return s->ns;
}

struct worker {
	pthread_t thread;
	int cpu, op;
	volatile bool *stop;
	double done;
};

static void *work(void *arg)
{
	struct worker *w = arg;

	pin(w->cpu);
	while (!*w->stop) {
		call(w->cpu, w->op, 4096);
		w->done += 4096;
	}

	return NULL;
}

/* Objects in a second, on the first @n CPUs together. */
static double rate(int op, int n)
{
	struct worker w[OBJECTS_CPUS] = {};
	double begin, done = 0;
	bool stop = false;
	int cpu;

	settle();
	begin = now_us();
	for (cpu = 0; cpu < n; cpu++) {
		w[cpu].cpu = cpu;
		w[cpu].op = op;
		w[cpu].stop = &stop;
		pthread_create(&w[cpu].thread, NULL, work, &w[cpu]);
	}
	usleep(quick ? 50000 : 400000);
	__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
	for (cpu = 0; cpu < n; cpu++) {
		pthread_join(w[cpu].thread, NULL);
		done += w[cpu].done;
	}

	return done / (now_us() - begin) * 1e6;
}

static void two_cpus(const char *name, int op, const char *target, const char *what)
{
	struct sample one[2] = {}, two[2] = {}, scale[2] = {};
	int i, kind, kinds[2] = { OBJECTS_SLAB, OBJECTS_HEAP };
	double m[2];
	char full[64];

	for (i = 0; i < runs; i++) {
		for (kind = 0; kind < 2; kind++) {
			double a = rate(op + kinds[kind], 1), b = rate(op + kinds[kind], 2);

			add(&one[kind], a);
			add(&two[kind], b);
			add(&scale[kind], b / a);
		}
	}
	snprintf(full, sizeof(full), "objects.%s1", name);
	result(full, (struct result){ "1/s", "more", NULL, { median(&one[0]), median(&one[1]) } },
	       "slab, heap: %s on one CPU", what);
	snprintf(full, sizeof(full), "objects.%s2", name);
	result(full, (struct result){ "1/s", "more", NULL, { median(&two[0]), median(&two[1]) } },
	       "slab, heap: on two");
	snprintf(full, sizeof(full), "objects.%s.scale", name);
	/* median() sorts. */
	m[0] = median(&scale[0]);
	m[1] = median(&scale[1]);
	result(full, (struct result){ "times", "more", target, { m[0], m[1] } },
	       "slab, heap: two CPUs against one, if the host has them free; best %s, %s",
	       num(scale[0].v[runs - 1]), num(scale[1].v[runs - 1]));
}

static void library_pairs(double heap)
{
	struct sample ns = {};
	char line[128];
	double m;
	FILE *f;
	int i;

	if (access("/clients/objects.bpf.o", F_OK)) {
		note("the kernel's arena library is not in this guest");
		return;
	}
	settle();
	snprintf(line, sizeof(line), LIBRARY_PAIRS " %d %d", BURST, runs * 3 + 1);
	f = popen(line, "r");
	for (i = 0; f && fgets(line, sizeof(line), f); i++)
		if (i)
			add(&ns, atof(line));
	if (!f || pclose(f) || !ns.n)
		die("objects: %s: %s", LIBRARY_PAIRS, line);
	m = median(&ns);
	result("objects.pair_library", (struct result){ "ns", "less", "x1", { m, heap } },
	       "arena_malloc() and arena_free(), heap: allocate and free, warm; fastest %s",
	       num(smallest(&ns)));
}

static void run_objects(void)
{
	static const int kinds[] = { OBJECTS_HEAP, OBJECTS_SLAB, OBJECTS_KERNEL };
	struct sample ns[3] = {};
	int i, k;

	skel = objects_bpf__open_and_load();
	if (!skel)
		die("objects: %s", strerror(errno));
	for (i = 0; i < runs * 3 + 1; i++) {
		for (k = 0; k < 3; k++) {
			double t;

			settle();
			t = call(0, OBJECTS_PAIRS + kinds[k], BURST) / BURST;
			if (i)
				add(&ns[k], t);
		}
	}
	result("objects.pair", (struct result){ "ns", "less", "x0.667",
						{ median(&ns[2]), median(&ns[0]) } },
	       "bpf_obj_new() and bpf_obj_drop(), heap: allocate and free, warm; fastest %s, %s",
	       num(smallest(&ns[2])), num(smallest(&ns[0])));
	result("objects.pair_slab", (struct result){ "ns", "less", NULL,
						     { median(&ns[1]), median(&ns[0]) } },
	       "slab, heap: allocate and free, warm; fastest %s, %s",
	       num(smallest(&ns[1])), num(smallest(&ns[0])));
	library_pairs(median(&ns[0]));
	if (!icount && nr_cpus > 1) {
		two_cpus("pairs", OBJECTS_PAIRS, "min1.7", "allocate and free");
		two_cpus("flows", OBJECTS_TURNOVER, "min1.7", "replace one of 1024");
		two_cpus("waves", OBJECTS_WAVES, NULL, "allocate 1024, then free them,");
	}
	objects_bpf__destroy(skel);
	settle();
}

const struct bench_case case_objects = {
	.name = "objects",
	.desc = "objects of 64 bytes",
	.run = run_objects,
};
