// SPDX-License-Identifier: GPL-2.0
/*
 * The standby: ready pages that the arenas of a memory cgroup share, for callers that can have
 * pages from nowhere else. An idle arena keeps few pages of its own.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "runner.h"
#include "arena.h"
#include "cgroup.h"

#define STANDBY_PAGES "/sys/module/arena_nolock/parameters/standby_pages"

/* What an idle arena has ready: nothing for itself. */
#define BURST STANDBY_DEFAULT

static long long standby(struct arena *a)
{
	return arena_stat(a, "standby_nr", NULL);
}

static void need_two_cpus(void)
{
	if (nr_cpus < 2)
		SKIP("needs two CPUs");
}

TEST(standby, first, "the first interrupt in an idle arena gets what the standby has, at once")
{
	struct arena a;

	need_two_cpus();
	ASSERT(arena_open_in("first", &a, 4096), "load");
	ASSERT(pool_ready(&a), "not filled");
	ASSERT_EQ(arena_stat(&a, "pool_nr", NULL), 0, "pages of its own");
	ASSERT(arena_alloc_once(&a, HARDIRQ, NULL, BURST) == a.base, "%u pages in one call", BURST);
	ASSERT_EQ(user_diff(a.base, BURST, 0), 0, "words that are not zero");
	ASSERT(pool_ready(&a), "not filled again");
	arena_close(&a);
}

TEST(standby, singles, "single allocations in a row get as many")
{
	struct arena a;

	need_two_cpus();
	ASSERT(arena_open_in("singles", &a, 4096), "load");
	ASSERT(pool_ready(&a), "not filled");
	ASSERT_EQ(arena_burst(&a, BURST), BURST, "pages in a row");
	ASSERT(has_intree_nonsleepable || arena_stat(&a, "standby_pages", NULL) > 0,
	       "no page came from the standby");
	ASSERT(pool_ready(&a), "not filled again");
	arena_close(&a);
}

TEST(standby, shared, "arenas of one cgroup share it, arenas of others do not")
{
	struct arena a, same, other;

	need_two_cpus();
	ASSERT(arena_open_in("shared", &a, 8192) && arena_open_in("shared", &same, 8192) &&
	       arena_open_in("not_shared", &other, 8192), "load");
	ASSERT(pool_ready(&a) && pool_ready(&same) && pool_ready(&other), "not filled");
	/* Nothing is left for the worker to fill it with. */
	ASSERT(cg_limit("shared", 0), "limit");
	ASSERT(arena_exhaust(&a), "no limit");
	ASSERT(wait_for(standby(&same) == standby(&a), 1000),
	       "%lld pages in the standby, %lld in that of the arena beside it", standby(&a),
	       standby(&same));
	ASSERT(arena_burst(&same, BURST) < BURST / 2, "the arena beside it has pages of its own");
	ASSERT_EQ(standby(&other), STANDBY_DEFAULT, "pages in the standby of the other cgroup");
	ASSERT_EQ(arena_burst(&other, BURST), BURST, "pages in the other cgroup");
	ASSERT_EQ(cg_event("shared", "oom_kill"), 0, "processes killed");
	ASSERT(cg_set("shared", "memory.max", CG_MAX), "limit");
	ASSERT(wait_for(arena_burst(&same, 1) == 1, 5000) && pool_ready(&same), "not filled again");
	arena_close(&a);
	arena_close(&same);
	arena_close(&other);
}

TEST(standby, spared, "callers that may try an allocation leave it to those that may not")
{
	struct arena a;

	need_two_cpus();
	if (pool_only(UNDER_RCU))
		SKIP("no caller of this kernel that cannot sleep can try an allocation");
	ASSERT(arena_open_in("spared", &a, 8192), "load");
	ASSERT(pool_ready(&a), "not filled");
	ASSERT(cg_limit("spared", 0), "limit");
	ASSERT(wait_for(!arena_alloc_once(&a, UNDER_RCU, NULL, 16) &&
			!arena_alloc_once(&a, SLEEPABLE, NULL, 16), 20000), "no limit");
	ASSERT_EQ(standby(&a), STANDBY_DEFAULT, "pages in the standby");
	ASSERT(arena_alloc_once(&a, HARDIRQ, NULL, STANDBY_DEFAULT), "an interrupt at the limit");
	ASSERT_EQ(cg_event("spared", "oom_kill"), 0, "processes killed");
	ASSERT(cg_set("spared", "memory.max", CG_MAX), "limit");
	arena_close(&a);
}

TEST(standby, too_large, "a call that wants more than there is takes nothing")
{
	struct arena a;
	int i;

	need_two_cpus();
	ASSERT(arena_open_in("too_large", &a, 16384), "load");
	ASSERT(pool_ready(&a), "not filled");
	ASSERT(cg_limit("too_large", 0), "limit");
	for (i = 0; i < 10; i++)
		ASSERT(!arena_alloc_once(&a, HARDIRQ, NULL, 8192), "8192 pages at the limit");
	ASSERT_EQ(arena_stat(&a, "standby_pages", NULL), 0, "pages of the standby taken");
	ASSERT_EQ(standby(&a), STANDBY_DEFAULT, "pages in the standby");
	ASSERT(cg_set("too_large", "memory.max", CG_MAX), "limit");
	arena_close(&a);
}

TEST(standby, resized, "its size applies to arenas adopted after the change")
{
	struct arena a, none, some;
	char old[16];

	need_two_cpus();
	ASSERT(arena_open_in("resized", &a, 4096), "load");
	snprintf(old, sizeof(old), "%u", STANDBY_DEFAULT);
	ASSERT(write_file(STANDBY_PAGES, "0"), "parameter");
	ASSERT(arena_open_in("resized", &none, 4096), "load");
	ASSERT(write_file(STANDBY_PAGES, "16"), "parameter");
	ASSERT(arena_open_in("resized", &some, 4096), "load");
	ASSERT(write_file(STANDBY_PAGES, old), "parameter");
	ASSERT(pool_ready(&a) && pool_ready(&none) && pool_ready(&some), "not filled");
	ASSERT_EQ(standby(&a), STANDBY_DEFAULT, "pages for the first arena");
	ASSERT_EQ(standby(&none), 0, "pages for the second arena");
	ASSERT_EQ(standby(&some), 16, "pages for the third arena");
	/* 6.12 has no other source of pages for an interrupt. */
	if (!has_intree_nonsleepable)
		ASSERT(!arena_alloc_once(&none, HARDIRQ, NULL, 1), "no standby");
	ASSERT(arena_alloc_wait(&none, HARDIRQ, NULL, 8), "its pool does not grow");
	ASSERT(arena_alloc_once(&some, HARDIRQ, NULL, 16), "a standby of 16 pages");
	arena_close(&a);
	arena_close(&none);
	arena_close(&some);
}

TEST(standby, small, "it has no more pages than its arenas together")
{
	struct arena a, b;

	ASSERT(arena_open_in("small", &a, 16), "load");
	ASSERT(pool_ready(&a), "not filled");
	ASSERT_EQ(arena_stat(&a, "standby_max", NULL), 16, "size with one arena");
	ASSERT_EQ(standby(&a), 16, "pages with one arena");
	ASSERT(arena_open_in("small", &b, 32), "load");
	ASSERT(pool_ready(&b), "not filled");
	ASSERT_EQ(standby(&a), 48, "pages with two arenas");
	arena_close(&b);
	ASSERT(wait_for(standby(&a) == 16, 5000), "%lld pages with one arena again", standby(&a));
	ASSERT_EQ(arena_stat(&a, "standby_max", NULL), 16, "size with one arena again");
	arena_close(&a);
}
