// SPDX-License-Identifier: GPL-2.0
/*
 * Memory nodes. The guest of `run_qemu.sh --numa` has three: node 0 with CPU 0 and memory,
 * node 1 with the other CPUs and no memory, and node 2 with memory and no CPU. Node 2 is the
 * nearest to node 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "runner.h"
#include "arena.h"
#include "numa.skel.h"

#define PARAMETERS "/sys/module/arena_nolock/parameters/"
#define NODES "/sys/devices/system/node/"
/* More than a node's share of what is kept ready. */
#define MANY 400

static bool is_list(const char *file, const char *list)
{
	const char *text = read_file(file);

	return text && !strncmp(text, list, strlen(list)) && text[strlen(list)] == '\n';
}

static void needs_nodes(void)
{
	if (!is_list(NODES "has_memory", "0,2") && !is_list(NODES "has_normal_memory", "0,2"))
		SKIP("needs the guest of run_qemu.sh --numa");
}

/* Node of a page of the arena, which is mapped on the way; negative: an error. */
static int node_of(void *p)
{
	int status = -EFAULT;

	if (!p || user_read_sig(p, NULL) || syscall(SYS_move_pages, 0, 1UL, &p, NULL, &status, 0))
		return -errno ?: -EFAULT;

	return status;
}

/* Pages in a row, of which none must be of another node. */
static int others(void *p, __u32 cnt, int node)
{
	int n = 0, got;
	__u32 i;

	for (i = 0; i < cnt; i++) {
		got = node_of((char *)p + i * PAGE);
		if (got != node && !n++)
			printf("# page %u of %u: node %d, not %d\n", i, cnt, got, node);
	}

	return n;
}

/* One page of @node, retried until the pool has one. */
static bool one_page(struct arena *a, enum context ctx, int ask, int node)
{
	void *p = arena_alloc_args(a, ctx, NULL, 1, ask, 0);
	bool ok = p && node_of(p) == node;

	if (p)
		arena_free(a, ctx, p, 1);

	return ok;
}

/* Single pages for @ask are of @node. */
static void check_node(struct arena *a, enum context ctx, int ask, int node)
{
	int i, wrong = 0, nulls = 0;
	void *p;

	/* The worker fills the pool for that node first. */
	ASSERT(pool_only(ctx) ? wait_for(one_page(a, ctx, ask, node), 10000) :
	       one_page(a, ctx, ask, node), "no page of node %d for %d", node, ask);
	for (i = 0; i < 100; i++) {
		p = arena_alloc_args(a, ctx, NULL, 1, ask, 0);
		nulls += !p;
		wrong += p && node_of(p) != node;
		/* Give the worker time to refill the pool. */
		if (pool_only(ctx) && i % 16 == 15)
			usleep(20000);
	}
	ASSERT_EQ(nulls, 0, "failures");
	ASSERT(!wrong, "%d of %d pages for node %d are not of node %d", wrong, i, ask, node);
}

static void named(struct arena *a, enum context ctx)
{
	check_node(a, ctx, 0, 0);
	ASSERT_OK();
	check_node(a, ctx, 2, 2);
	ASSERT_OK();
	check_node(a, ctx, 0, 0);
	ASSERT_OK();
	/* The nearest node with memory. */
	check_node(a, ctx, 1, 2);
}

TEST_LONG(numa, named, 120, "an allocation gets a page of the node that the caller names")
{
	needs_nodes();
	run_in_contexts(4096, 0, ALL_CONTEXTS, named);
}

/* How often the pool was filled, or -1. */
static long refills(const struct arena *a)
{
	return arena_stat(a, "refills", NULL);
}

TEST(numa, ready, "the pool has pages of a node once a caller has requested one")
{
	struct arena a;
	long before;
	bool opened;
	int i;

	needs_nodes();
	/* All that is ready at first is of the loader's node. The standby has pages of all. */
	ASSERT(pin_cpu(0), "pin");
	ASSERT(write_file(PARAMETERS "pool_pages", "256") &&
	       write_file(PARAMETERS "standby_pages", "0"), "parameters");
	opened = arena_open(&a, 4096, 0);
	ASSERT(write_file(PARAMETERS "pool_pages", "0") &&
	       write_file(PARAMETERS "standby_pages", "256") && opened, "no arena");
	/* The interrupts come to CPU 0 then, and the worker runs there. */
	ASSERT(pin_cpu(1), "pin");
	before = refills(&a);
	ASSERT(before > 0, "refills");
	ASSERT(arena_alloc_args(&a, HARDIRQ, NULL, 1, 2, 0), "the first page");
	ASSERT(wait_for(refills(&a) > before, 10000), "the worker has not come");
	for (i = 0; i < 48; i++) {
		void *p = arena_alloc_args(&a, HARDIRQ, NULL, 1, 2, 0);

		ASSERT(p, "page %d", i);
		ASSERT_EQ(node_of(p), 2, "node of a page");
	}
	arena_close(&a);
}

TEST(numa, standby, "the first burst in an idle arena gets pages of its node")
{
	struct arena a;
	int node;
	void *p;

	needs_nodes();
	for (node = 0; node <= 2; node += 2) {
		ASSERT(arena_open(&a, 4096, 0), "no arena");
		ASSERT(pool_ready(&a), "not filled");
		p = arena_alloc_args(&a, HARDIRQ, NULL, STANDBY_DEFAULT / 2, node, 0);
		ASSERT(p, "no pages");
		ASSERT_EQ(others(p, STANDBY_DEFAULT / 2, node), 0, "pages of another node");
		arena_close(&a);
	}
}

TEST(numa, full, "the worker ends if a node lacks pages and the pool has no place for more")
{
	struct arena a;
	long before;
	bool opened;
	int i;

	needs_nodes();
	/* The pool has all pages that it can hold from the beginning. */
	ASSERT(pin_cpu(0), "pin");
	ASSERT(write_file(PARAMETERS "pool_pages", "128"), "parameter");
	opened = arena_open(&a, 128, 0);
	ASSERT(write_file(PARAMETERS "pool_pages", "0") && opened, "no arena");
	/* The CPU has credit for pages of node 0 afterwards, which are in the pool still. */
	for (i = 0; i < 4; i++)
		ASSERT(arena_alloc_args(&a, UNDER_RCU, NULL, 1, 0, 0), "page %d", i);
	ASSERT(arena_settle(&a, 4), "not settled");
	before = refills(&a);
	ASSERT(before > 0, "refills");
	ASSERT(arena_alloc_args(&a, UNDER_RCU, NULL, 1, 2, 0), "a page for node 2");
	ASSERT(wait_for(refills(&a) > before, 10000), "the worker does not end");
	arena_close(&a);
}

TEST(numa, reuse, "a freed page is not reused for another node")
{
	struct arena a;
	void *p;
	int i;

	needs_nodes();
	if (pool_only(UNDER_RCU))
		SKIP("a page of the pool may be of any node");
	ASSERT(pin_cpu(0), "pin");
	ASSERT(arena_open(&a, 4096, 0), "no arena");
	for (i = 0; i < 50; i++) {
		p = arena_alloc_args(&a, UNDER_RCU, NULL, 1, 0, 0);
		ASSERT(p, "alloc");
		arena_free(&a, UNDER_RCU, p, 1);
		p = arena_alloc_args(&a, UNDER_RCU, NULL, 1, 2, 0);
		ASSERT(p, "alloc");
		ASSERT_EQ(node_of(p), 2, "node of a page");
		arena_free(&a, SLEEPABLE, p, 1);
	}
	arena_close(&a);
}

static void local(struct arena *a, enum context ctx)
{
	int cpu, runs_on;

	for (cpu = 0; cpu < 2; cpu++) {
		pin_cpu(cpu);
		/* That context is another CPU's interrupt. */
		runs_on = ctx == HARDIRQ ? !cpu : cpu;
		check_node(a, ctx, -1, runs_on ? 2 : 0);
		ASSERT_OK();
	}
}

TEST_LONG(numa, local, 120,
	  "an allocation without a node gets a page of the node nearest to its CPU")
{
	needs_nodes();
	run_in_contexts(4096, 0, ALL_CONTEXTS, local);
}

static void many(struct arena *a, enum context ctx)
{
	int node;
	void *p;

	for (node = 0; node <= 2; node += 2) {
		p = arena_alloc_args(a, ctx, NULL, MANY, node, 0);
		ASSERT(p, "%d pages of node %d", MANY, node);
		ASSERT_EQ(others(p, MANY, node), 0, "pages of another node");
		arena_free(a, ctx, p, MANY);
		ASSERT(arena_settle(a, 0), "free not finished");
	}
}

TEST(numa, many, "an allocation of many pages gets them from the node that the caller names")
{
	needs_nodes();
	run_in_contexts(4096, 0, 1U << SLEEPABLE | (pool_only(UNDER_RCU) ? 0 : 1U << UNDER_RCU), many);
}

/* Pages of node 0 that CPU 1, on node 1, frees; some of them in each round. */
static void recycle_far(struct numa_bpf *skel)
{
	struct arena a;
	int i, round;

	ASSERT(arena_open(&a, 4096, 0), "no arena");
	ASSERT(pin_cpu(1), "pin");
	for (round = 0; round < 100 && !test_failed(); round++) {
		for (i = 0; i < 64; i++) {
			void *p = arena_alloc_args(&a, UNDER_RCU, NULL, 1, 0, 0);

			ASSERT(p, "alloc");
			ASSERT(pool_only(UNDER_RCU) || !node_of(p), "a page of node %d", node_of(p));
		}
		arena_free(&a, UNDER_RCU, a.base, a.pages);
		ASSERT(arena_settle(&a, 0), "free not finished");
		if (skel->bss->at_home > 256)
			break;
	}
	printf("# %d rounds: %llu pages zeroed by their node, %llu not\n", round,
	       skel->bss->at_home, skel->bss->elsewhere);
	arena_close(&a);
}

TEST_LONG(numa, recycled, 120,
	  "a page that a CPU of another node frees is zeroed for the pool by a CPU of its own node")
{
	struct numa_bpf *skel;

	needs_nodes();
	skel = numa_bpf__open_and_load();
	ASSERT(skel && !numa_bpf__attach(skel), "attach: %s", strerror(errno));
	recycle_far(skel);
	if (!test_failed()) {
		ASSERT(skel->bss->at_home > 256, "%llu pages", skel->bss->at_home);
		ASSERT(skel->bss->elsewhere <= skel->bss->at_home / 16, "%llu pages elsewhere",
		       skel->bss->elsewhere);
	}
	numa_bpf__destroy(skel);
}

TEST(numa, no_such_node, "an allocation from a node that does not exist or is offline returns NULL")
{
	static const int nodes[] = { 3, 1023, 1 << 20, -2, -1000, -1 };
	enum context ctx;
	struct arena a;
	size_t i;

	needs_nodes();
	ASSERT(arena_open(&a, 64, 0), "no arena");
	for (ctx = SLEEPABLE; ctx <= HARDIRQ; ctx++)
		for (i = 0; nodes[i] != -1; i++)
			ASSERT(!arena_alloc_args(&a, ctx, NULL, 1, nodes[i], 0), "node %d",
			       nodes[i]);
	arena_close(&a);
}

static long node_free_kib(int node)
{
	char path[64], *text;

	snprintf(path, sizeof(path), NODES "node%d/meminfo", node);
	text = read_file(path);
	text = text ? strstr(text, "MemFree:") : NULL;

	return text ? atol(text + 8) : -1;
}

/* A process that holds memory of @node until @kib are free there. */
static pid_t node_ballast(int node, long kib)
{
	unsigned long mask = 1UL << node;
	long free, take;
	int fds[2];
	pid_t pid;
	char c;

	if (pipe(fds))
		return -1;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (syscall(SYS_set_mempolicy, MPOL_BIND, &mask, 64))
			_exit(1);
		while ((free = node_free_kib(node)) > kib) {
			take = (free - kib) / 2 > 256 ? (free - kib) / 2 : 256;
			if (mmap(NULL, take * 1024, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0) == MAP_FAILED)
				break;
		}
		if (write(fds[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(fds[1]);
	if (pid > 0 && read(fds[0], &c, 1) != 1)
		printf("# no process holds the memory\n");
	close(fds[0]);

	return pid;
}

/* Pages of @node one after the other until one is of another node. */
static int use_up(struct arena *a, enum context ctx, int node)
{
	__u32 i;

	for (i = 0; i < a->pages; i++) {
		void *p = arena_alloc_args(a, ctx, NULL, 1, node, 0);

		if (!p)
			return -1;
		if (i % 64 == 0 && node_of(p) != node)
			return i;
	}

	return a->pages;
}

TEST_LONG(numa, fallback, 180,
	  "an allocation from a node without free memory gets pages of other nodes")
{
	long kib = read_meminfo("MemTotal") / 16;
	struct arena a;
	pid_t pid;
	int n;

	needs_nodes();
	if (pool_only(UNDER_RCU))
		SKIP("there is only the pool, which takes pages of a node that has none from others");
	ASSERT(arena_open(&a, 1 << 17, 0), "no arena");
	pid = node_ballast(2, kib);
	n = use_up(&a, UNDER_RCU, 2);
	printf("# %ld KiB of node 2 were free, %d pages, then %ld KiB\n", kib, n, node_free_kib(2));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ASSERT(n >= 0, "NULL");
	ASSERT(n < (int)a.pages, "the node has no end");
	ASSERT(n > 1024, "only %d pages of the node were used", n);
	/* With memory again, the node is back. */
	ASSERT(wait_for(one_page(&a, UNDER_RCU, 2, 2), 10000), "no page of the node afterwards");
	arena_close(&a);
}
