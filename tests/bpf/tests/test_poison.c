// SPDX-License-Identifier: GPL-2.0
/*
 * Pages with memory errors. The kernel marks such a page and leaves it in the arena, whose
 * pages are not on its LRU lists. The module must not hand the page out again, a fault on it
 * raises the signal of a memory error, and everything else works as before. The guest loses
 * the pages of these tests.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>

#include "runner.h"
#include "arena.h"
#include "cgroup.h"
#include "frames.h"

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif

/* More than a new pool holds. */
#define MANY 700

static void need_memory_failure(void)
{
	if (access(HARD_OFFLINE, W_OK))
		SKIP("this kernel does not handle memory errors");
}

static sigjmp_buf bus_env;
static volatile int bus_code;

static void on_bus(int sig, siginfo_t *info, void *ctx)
{
	bus_code = info->si_code;
	siglongjmp(bus_env, 1);
}

/* The si_code of the SIGBUS that reading @addr raises, or 0. */
static int read_code(const void *addr)
{
	struct sigaction sa = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO }, old;

	sigaction(SIGBUS, &sa, &old);
	bus_code = 0;
	if (!sigsetjmp(bus_env, 1))
		(void)*(const volatile __u64 *)addr;
	sigaction(SIGBUS, &old, NULL);

	return bus_code;
}

/* A mapping without any page in it, as a process has that maps the arena now. */
static bool map_again(struct arena *a)
{
	return !munmap(a->base, a->pages * PAGE) && map_at(a->fd, a->base, a->pages);
}

static enum context pool_cx(void)
{
	return nr_cpus < 2 ? UNDER_RCU : HARDIRQ;
}

/*
 * Fill the arena, for the most part by a caller that only gets what is kept ready.
 * Returns how many pages of @bad, @nr of them, have come back.
 */
static long handed_out(struct arena *a, const __u64 *bad, int nr)
{
	long back = 0, pages, i;
	int k;

	for (i = 0; i < MANY; i++)
		if (!arena_alloc_wait(a, pool_cx(), NULL, 1))
			return -1;
	if (!arena_alloc_wait(a, SLEEPABLE, NULL, MANY))
		return -1;
	pages = arena_pages(a);
	for (i = 0; i < pages; i++) {
		__u64 pfn;

		/* A poisoned page raises a signal. */
		if (user_write_sig(arena_page(a, i), i)) {
			back++;
			continue;
		}
		pfn = pfn_of(arena_page(a, i));
		for (k = 0; k < nr; k++)
			back += pfn == bad[k];
	}
	arena_free(a, SLEEPABLE, a->base, a->pages);

	return arena_settle(a, 0) ? back : -1;
}

#define POOLED 64

/* Let the pool grow, and wait until it is full: what is taken now and freed comes back to it. */
static bool grown(struct arena *a)
{
	if (!arena_alloc_wait(a, pool_cx(), a->base, 1) ||
	    !wait_for(arena_stat(a, "pool_target", NULL) > 2 * POOLED &&
		      arena_stat(a, "pool_nr", NULL) >= arena_stat(a, "pool_target", NULL), 5000))
		return false;
	arena_free(a, SLEEPABLE, a->base, 1);

	return true;
}

static void poison_live(const char *how, bool by_madvise)
{
	struct arena a;
	__u64 pfn;
	char *p;
	int err;

	need_memory_failure();
	ASSERT(arena_open(&a, 4096, 0) && grown(&a), "load");
	/* A free in a pool that misses pages is what puts them there again. */
	p = arena_alloc_wait(&a, pool_cx(), NULL, 1);
	ASSERT(p && arena_alloc_wait(&a, pool_cx(), p + PAGE, 1) &&
	       arena_alloc_wait(&a, pool_cx(), p + 2 * PAGE, 1), "alloc");
	user_mark(p, 3, 41);
	pfn = pfn_of(p + PAGE);
	ASSERT(pfn, "no frame");
	if (by_madvise)
		err = madvise(p + PAGE, PAGE, MADV_HWPOISON) ? errno : 0;
	else
		err = offline(how, pfn);
	printf("# the kernel says %d (%s)\n", err, strerror(err));
	ASSERT(is_poisoned(pfn), "the page is not marked");

	/* A mapping that has the page keeps it. A new one does not get it. */
	ASSERT(map_again(&a), "map");
	ASSERT_EQ(read_code(p + PAGE), BUS_MCEERR_AR, "si_code of an access");
	ASSERT_EQ(arena_pages(&a), 3, "populated pages");
	ASSERT_EQ(user_unmarked(p, 1, 41), 0, "the page below");
	ASSERT_EQ(user_unmarked(p + 2 * PAGE, 1, 41 + 2), 0, "the page above");

	arena_free(&a, UNDER_RCU, p + PAGE, 1);
	ASSERT(arena_settle(&a, 2), "free not finished");
	ASSERT(arena_alloc(&a, SLEEPABLE, p + PAGE, 1) == p + PAGE, "alloc at the address again");
	ASSERT_EQ(user_write_sig(p + PAGE, 1), 0, "signal of an access to the new page");
	arena_free(&a, SLEEPABLE, p, 3);
	ASSERT(arena_settle(&a, 0), "free not finished");
	ASSERT_EQ(handed_out(&a, &pfn, 1), 0, "poisoned pages handed out");
	ASSERT(is_poisoned(pfn), "the page is not marked any more");
	arena_close(&a);
}

TEST(poison, live_hard, "an access to a page with a memory error raises SIGBUS, and the page is not reused")
{
	poison_live(HARD_OFFLINE, false);
}

TEST(poison, live_madvise, "an access to a page poisoned by madvise() raises SIGBUS, and the page is not reused")
{
	poison_live(NULL, true);
}

TEST(poison, live_soft, "an arena page cannot be taken offline softly, and keeps working")
{
	struct arena a;
	__u64 pfn;
	char *p;

	need_memory_failure();
	ASSERT(arena_open(&a, 64, 0), "load");
	p = arena_alloc(&a, UNDER_RCU, NULL, 1);
	ASSERT(p, "alloc");
	user_fill(p, 1, 43);
	pfn = pfn_of(p);
	ASSERT(offline(SOFT_OFFLINE, pfn), "the kernel says that it took the page");
	ASSERT(madvise(p, PAGE, MADV_SOFT_OFFLINE), "the kernel says that it took the page");
	ASSERT(!is_poisoned(pfn), "the page is marked");
	ASSERT(map_again(&a), "map");
	ASSERT_EQ(user_diff(p, 1, 43), 0, "words that differ");
	arena_free(&a, UNDER_RCU, p, 1);
	ASSERT(arena_settle(&a, 0), "free not finished");
	arena_close(&a);
}

/* Frames of pages that have just been freed; most are in the pool now. */
static bool pooled(struct arena *a, __u64 *pfn)
{
	int i;

	if (!grown(a))
		return false;
	for (i = 0; i < POOLED; i++)
		if (!arena_alloc_wait(a, pool_cx(), arena_page(a, i), 1))
			return false;
	for (i = 0; i < POOLED; i++) {
		user_write_sig(arena_page(a, i), 1);
		pfn[i] = pfn_of(arena_page(a, i));
	}
	arena_free(a, UNDER_RCU, a->base, POOLED);

	return arena_settle(a, 0);
}

TEST(poison, pooled, "an allocation gets no page of the pool that has a memory error")
{
	__u64 pfn[POOLED];
	struct arena a;
	int i;

	need_memory_failure();
	ASSERT(arena_open(&a, 4096, 0), "load");
	ASSERT(pooled(&a, pfn), "pages");
	for (i = 0; i < POOLED; i++) {
		offline(HARD_OFFLINE, pfn[i]);
		ASSERT(is_poisoned(pfn[i]), "page %d is not marked", i);
	}
	ASSERT_EQ(handed_out(&a, pfn, POOLED), 0, "poisoned pages handed out");
	arena_close(&a);
}

/* An arena of a cgroup that has room for @more pages more. */
static bool open_limited(struct arena *a, __u32 pages, long more)
{
	return arena_open_in("poison", a, pages) && cg_limit("poison", more * PAGE);
}

TEST(poison, unused, "a failed allocation returns no page with a memory error to the pool")
{
	__u64 pfn[POOLED];
	struct arena a;
	int i;

	need_memory_failure();
	ASSERT(open_limited(&a, 16384, 4096), "load");
	ASSERT(pooled(&a, pfn), "pages");
	for (i = 0; i < POOLED; i += 2)
		offline(HARD_OFFLINE, pfn[i]);
	/* This takes all that there is, and has to put it back. */
	for (i = 0; i < 3; i++) {
		ASSERT(!arena_alloc_once(&a, pool_cx(), NULL, 8192), "8192 pages with 4096 left");
		ASSERT(arena_settle(&a, 0), "%ld pages left", arena_pages(&a));
	}
	for (i = 1; i < POOLED; i += 2)
		pfn[i] = pfn[0];
	ASSERT_EQ(handed_out(&a, pfn, POOLED), 0, "poisoned pages handed out");
	arena_close(&a);
}

TEST(poison, queued, "a page that gets a memory error while its free is queued is not reused")
{
	__u64 pfn[POOLED];
	struct arena a;
	int i;

	need_memory_failure();
	ASSERT(arena_open(&a, 4096, 0), "load");
	for (i = 0; i < POOLED; i++)
		ASSERT(arena_alloc_wait(&a, pool_cx(), arena_page(&a, i), 1), "alloc %d", i);
	user_mark(a.base, POOLED, 1);
	for (i = 0; i < POOLED; i++)
		pfn[i] = pfn_of(arena_page(&a, i));
	/* Some of them are still in the queue, some in the pool, some are free. */
	for (i = 0; i < POOLED; i++) {
		arena_free(&a, pool_cx(), arena_page(&a, i), 1);
		offline(HARD_OFFLINE, pfn[i]);
	}
	ASSERT(arena_settle(&a, 0), "free not finished");
	for (i = 0; i < POOLED; i++)
		ASSERT(is_poisoned(pfn[i]), "page %d is not marked", i);
	ASSERT_EQ(handed_out(&a, pfn, POOLED), 0, "poisoned pages handed out");
	arena_close(&a);
}

TEST(poison, adopted, "a page that had a memory error before the adoption is not reused")
{
	struct arena a, own;
	__u64 pfn;

	need_memory_failure();
	ASSERT(arena_stock(&a, "poisoned", 4096, 0), "stock arena");
	user_mark(a.base, 3, 7);
	pfn = pfn_of(a.base + PAGE);
	ASSERT(pfn, "no frame");
	offline(HARD_OFFLINE, pfn);
	ASSERT(is_poisoned(pfn), "the page is not marked");
	ASSERT(arena_attach(&own, a.fd, a.base, a.pages), "adoption");
	ASSERT_EQ(arena_pages(&own), 3, "populated pages");
	ASSERT(map_again(&own), "map");
	ASSERT_EQ(read_code(own.base + PAGE), BUS_MCEERR_AR, "si_code of an access");
	ASSERT_EQ(user_unmarked(own.base, 1, 7), 0, "the page below");
	/* Room for it among the pages kept ready. */
	ASSERT(arena_alloc_wait(&own, pool_cx(), own.base + 3 * PAGE, 8), "alloc");
	arena_free(&own, UNDER_RCU, own.base, 3);
	ASSERT(arena_settle(&own, 8), "free not finished");
	arena_free(&own, UNDER_RCU, own.base, own.pages);
	ASSERT(arena_settle(&own, 0), "free not finished");
	ASSERT_EQ(handed_out(&own, &pfn, 1), 0, "poisoned pages handed out");
	arena_close(&own);
}
