// SPDX-License-Identifier: GPL-2.0
/*
 * Single pages for callers that cannot sleep: each CPU takes them from slots that it keeps
 * for itself. Nobody else must notice.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

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

static long long reused(const struct arena *a)
{
	return arena_stat(a, "reused_pages", NULL);
}

TEST(magazine, reuse, "a page that was freed is the next one on its CPU, zeroed, without a drain")
{
	struct arena_req r = { .op = REQ_CHURN, .cnt = 1000, .node = -1 };
	long long before;
	struct arena a;
	char *p;

	ASSERT(pin_cpu(0), "pin");
	ASSERT(arena_open(&a, PAGES, 0), "load");
	p = take(&a, 0);
	ASSERT(p, "alloc");
	before = reused(&a);
	ASSERT_EQ(before, 0, "pages reused without a free");
	ASSERT(arena_run(&a, UNDER_RCU, 0, &r), "churn");
	ASSERT_EQ(r.ret, 0, "rounds gone wrong");
	/* The drain takes some in between. */
	ASSERT(reused(&a) > 250, "%lld of 1000 pages were reused", reused(&a));
	ASSERT(oracle_rest(a.fd), "oracle");
	arena_close(&a);
}

TEST(magazine, reuse_mapped, "a freed page is not reused while user space maps it")
{
	struct arena a;
	char *p;
	int i;

	ASSERT(pin_cpu(0), "pin");
	ASSERT(arena_open(&a, PAGES, 0), "load");
	for (i = 0; i < 50; i++) {
		p = take(&a, 0);
		ASSERT(p, "alloc");
		ASSERT_EQ(user_diff(p, 1, 0), 0, "words with old contents");
		user_fill(p, 1, 0x5ec7e7);
		arena_free(&a, UNDER_RCU, p, 1);
	}
	ASSERT_EQ(reused(&a), 0, "pages that were reused");
	ASSERT(arena_settle(&a, 0), "settle");
	ASSERT(oracle_rest(a.fd), "oracle");
	arena_close(&a);
}

TEST(magazine, reuse_pinned, "a freed page is not reused while the kernel holds it for user space")
{
	unsigned long long word;
	struct iovec iov;
	long long before;
	struct arena a;
	int i, fds[2];
	char *p;

	ASSERT(pin_cpu(0), "pin");
	ASSERT(arena_open(&a, PAGES, 0), "load");
	for (i = 0; i < 20; i++) {
		p = take(&a, 0);
		ASSERT(p && !pipe(fds), "alloc");
		user_fill(p, 1, 0x5ec7e7);
		iov = (struct iovec){ p, 8 };
		ASSERT_EQ(vmsplice(fds[1], &iov, 1, 0), 8, "vmsplice");
		ASSERT(!madvise(p, PAGE, MADV_DONTNEED), "madvise");
		arena_free(&a, UNDER_RCU, p, 1);
		before = reused(&a);
		ASSERT(take(&a, 0), "alloc");
		ASSERT_EQ(reused(&a) - before, 0, "pages that were reused");
		ASSERT_EQ(read(fds[0], &word, 8), 8, "read");
		ASSERT_EQ(word, 0x5ec7e7, "what the pipe holds");
		close(fds[0]);
		close(fds[1]);
	}
	ASSERT(oracle_rest(a.fd), "oracle");
	arena_close(&a);
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
