// SPDX-License-Identifier: GPL-2.0
/*
 * Single pages for callers that cannot sleep: each CPU takes them from slots that it keeps
 * for itself. Nobody else must notice.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "runner.h"
#include "arena.h"
#include "oracle.h"

/* Large enough for magazines on all CPUs that a test machine has. */
#define PAGES 65536

/* Pages that the module may keep for NMIs. */
#define SPARES 16

/* A page from the magazine of a CPU. */
static char *take(struct arena *a, int cpu)
{
	if (!pin_cpu(cpu))
		return NULL;

	return arena_alloc(a, UNDER_RCU, NULL, 1);
}

TEST(magazine, ascending, "all allocations on one CPU of a new arena get ascending addresses")
{
	struct arena a;
	int i, next = 0;
	long long free;

	ASSERT(pin_cpu(0), "pin");
	ASSERT(arena_open(&a, PAGES, 0), "load");
	for (i = 0; i < 200; i++) {
		enum context ctx = i % 7 == 3 ? SLEEPABLE : UNDER_RCU;
		int cnt = i % 5 == 4 ? 3 : 1;
		char *p = arena_alloc(&a, ctx, NULL, cnt);

		ASSERT(p == arena_page(&a, next), "page %ld instead of %d",
		       (p - a.base) / (long)PAGE, next);
		next += cnt;
	}
	free = arena_stat(&a, "free_pages", NULL);
	ASSERT(free <= PAGES - next && free >= PAGES - next - SPARES, "%lld free pages", free);
	ASSERT(oracle_rest(a.fd), "oracle");
	arena_close(&a);
}

TEST(magazine, apart, "two CPUs get their pages from different words of 64")
{
	char *p[2];
	struct arena a;
	int i;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(arena_open(&a, PAGES, 0), "load");
	p[0] = take(&a, 0);
	p[1] = take(&a, 1);
	ASSERT(p[0] && p[1], "alloc");
	ASSERT((p[0] - a.base) / (64 * (long)PAGE) != (p[1] - a.base) / (64 * (long)PAGE),
	       "%p and %p", p[0], p[1]);
	for (i = 1; i < 10; i++) {
		ASSERT(take(&a, 0) == p[0] + i * PAGE, "CPU 0, page %d", i);
		ASSERT(take(&a, 1) == p[1] + i * PAGE, "CPU 1, page %d", i);
	}
	ASSERT(oracle_rest(a.fd), "oracle");
	arena_close(&a);
}

TEST_EACH(magazine, fixed, PAGES, 0,
	  "what a CPU keeps can be had at its address: allocated, reserved, or by a user fault")
{
	char *p = take(a, 0);
	long long free;
	__u64 val;

	ASSERT(p, "alloc");
	ASSERT(pin_cpu(nr_cpus > 1), "pin");
	ASSERT(arena_alloc(a, ctx, p + 5 * PAGE, 1) == p + 5 * PAGE, "at a fixed address");
	ASSERT(arena_alloc(a, ctx, p + 8 * PAGE, 70) == p + 8 * PAGE, "70 pages, two words");
	ASSERT_EQ(arena_reserve(a, ctx, p + 7 * PAGE, 1), 0, "reserve");
	ASSERT_EQ(user_read_sig(p + 6 * PAGE, &val), 0, "user fault");
	ASSERT_EQ(val, 0, "what user space reads");
	ASSERT_EQ(user_read_sig(p + 7 * PAGE, &val), SIGSEGV, "user fault on the reserved page");
	ASSERT_EQ(arena_pages(a), 73, "pages");
	free = arena_stat(a, "free_pages", NULL);
	ASSERT(free <= PAGES - 74 && free >= PAGES - 74 - SPARES, "%lld free pages", free);

	/* The CPU goes on with what is left. */
	ASSERT(take(a, 0) == p + 1 * PAGE, "the next page of CPU 0");
	ASSERT(oracle_rest(a->fd), "oracle");
}

TEST_EACH(magazine, last_pages, 4096, 0,
	  "all pages can be allocated from one CPU, whichever others keep some, one by one or at once")
{
	int cpu, nr;

	for (cpu = 0; cpu < nr_cpus; cpu++) {
		char *p = take(a, cpu);

		ASSERT(p, "CPU %d", cpu);
		arena_free(a, SLEEPABLE, p, 1);
	}
	ASSERT(pin_cpu(0), "pin");
	ASSERT(arena_settle(a, 0), "settle");
	ASSERT(arena_alloc(a, ctx, NULL, 4096) == a->base, "all at once");
	arena_free(a, ctx, a->base, 4096);
	ASSERT(arena_freed(a, ctx, a->base, 4096), "free not finished");

	for (cpu = 0; cpu < nr_cpus; cpu++)
		ASSERT(take(a, cpu), "CPU %d", cpu);
	ASSERT(pin_cpu(0), "pin");
	for (nr = nr_cpus; nr < 4096; nr++)
		ASSERT(arena_alloc(a, ctx, NULL, 1), "page %d", nr);
	ASSERT(!arena_alloc_once(a, ctx, NULL, 1), "one too many");
	ASSERT_EQ(arena_pages(a), 4096, "pages");
	ASSERT_EQ(arena_stat(a, "free_pages", NULL), 0, "free pages");
}

TEST(magazine, small, "in a small arena no CPU keeps slots for itself")
{
	struct arena a;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(arena_open(&a, 512, 0), "load");
	ASSERT(take(&a, 0) == a.base, "CPU 0");
	ASSERT(take(&a, 1) == arena_page(&a, 1), "CPU 1");
	ASSERT(take(&a, 0) == arena_page(&a, 2), "CPU 0 again");
	arena_close(&a);
}
