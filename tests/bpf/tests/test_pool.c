// SPDX-License-Identifier: GPL-2.0
/*
 * The pool: pages kept ready for callers that cannot sleep. It is charged to the memory
 * cgroup that created the map, grows with demand beyond the number that the parameter
 * pool_pages promises, and shrinks when demand or free memory does.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>

#include "runner.h"
#include "arena.h"
#include "cgroup.h"
#include "oracle.h"

#define MIB (1024 * 1024L)
#define PAGES(bytes) ((__u32)((bytes) / PAGE))
/* Pages that a burst must get from a standby that is not quite full. */
#define PROMISED (STANDBY_DEFAULT / 4 * 3)
#define POOL_PAGES "/sys/module/arena_nolock/parameters/pool_pages"

/* Charges are made in batches per CPU; this is more than that. */
#define SLACK (2 * MIB)

/*
 * Bursts in interrupts, until the pool has grown by @bytes over @before. Each burst takes
 * the whole pool and frees it.
 */
static bool grow_pool(struct arena *a, const char *name, long before, long bytes)
{
	long more;
	int i;

	/* It shrinks again if the next step takes seconds. */
	for (i = 0; (more = cg_get(name, "memory.current") - before) < bytes && i < 20; i++) {
		struct arena_req r = { .op = REQ_ALLOC_EACH, .cnt = POOL_MOST, .node = -1 };

		if (!arena_run(a, HARDIRQ, 0, &r))
			return false;
		arena_free(a, HARDIRQ, a->base, a->pages);
		if (!arena_settle(a, 0))
			return false;
		usleep(50000);
	}
	printf("# %d bursts, %ld KiB more\n", i, more / 1024);

	return more >= bytes;
}

TEST(pool, grows, "the pool grows with demand and shrinks when memory is short")
{
	struct arena a;
	long before;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(arena_open_in("grows", &a, 8192), "load");
	before = cg_get("grows", "memory.current");
	ASSERT(grow_pool(&a, "grows", before, 6 * MIB), "it stayed small");
	ASSERT(arena_burst(&a, PAGES(4 * MIB)) == PAGES(4 * MIB), "a burst like those before");
	arena_free(&a, HARDIRQ, a.base, a.pages);
	ASSERT(arena_settle(&a, 0), "free not finished");

	/* Run all shrinkers. */
	ASSERT(wait_for(write_file("/proc/sys/vm/drop_caches", "2") &&
			cg_get("grows", "memory.current") - before < SLACK, 5000),
	       "%ld bytes more than at first", cg_get("grows", "memory.current") - before);
	ASSERT(arena_burst(&a, STANDBY_DEFAULT) == STANDBY_DEFAULT, "the pages that were promised");
	arena_close(&a);
}

TEST(pool, lent, "an allocation at the limit gets the pool's pages beyond the promised number")
{
	struct arena a;
	long before;
	char *p;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(arena_open_in("lent", &a, 8192), "load");
	before = cg_get("lent", "memory.current");
	ASSERT(grow_pool(&a, "lent", before, 6 * MIB), "it stayed small");
	ASSERT(cg_limit("lent", 0), "limit");
	p = arena_alloc_once(&a, SLEEPABLE, NULL, PAGES(3 * MIB));
	ASSERT(p, "alloc at the limit");
	ASSERT_EQ(user_diff(p, PAGES(3 * MIB), 0), 0, "words that are not zero");
	ASSERT(!arena_alloc_once(&a, SLEEPABLE, NULL, POOL_MOST), "16 MiB at the limit");
	ASSERT(arena_burst(&a, PROMISED) == PROMISED, "the pages that were promised");
	arena_close(&a);
}

/* What others could have taken is left for callers that have no other memory. */
TEST(pool, last, "an allocation under RCU at the limit gets the last pages of the pool")
{
	struct arena a;
	bool opened;

	ASSERT(write_file(POOL_PAGES, "256"), "parameter");
	opened = arena_open_in("last", &a, 8192);
	ASSERT(write_file(POOL_PAGES, "0") && opened, "load");
	ASSERT(pool_ready(&a), "the pool is not filled");
	ASSERT(cg_limit("last", 0), "limit");
	ASSERT(arena_alloc_once(&a, UNDER_RCU, NULL, 240) == a.base, "alloc at the limit");
	ASSERT(cg_set("last", "memory.max", CG_MAX), "limit");
	arena_close(&a);
}

TEST(pool, shrinks, "the pool releases its excess some time after the demand has ended")
{
	struct arena a;
	long before, most;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(arena_open_in("shrinks", &a, 8192), "load");
	before = cg_get("shrinks", "memory.current");
	ASSERT(grow_pool(&a, "shrinks", before, 6 * MIB), "it stayed small");
	most = cg_get("shrinks", "memory.current") - before;
	ASSERT(wait_for(cg_get("shrinks", "memory.current") - before < most / 4 * 3, 15000),
	       "%ld KiB of %ld are still there",
	       (cg_get("shrinks", "memory.current") - before) / 1024, most / 1024);
	arena_close(&a);
}

TEST(pool, reclaimed, "reclaim of a cgroup takes the excess of that cgroup's pools alone")
{
	struct arena a, other;
	long before, most, others, left;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(arena_open_in("reclaimed", &a, 8192), "load");
	ASSERT(arena_open_in("not_reclaimed", &other, 8192), "load");
	before = cg_get("reclaimed", "memory.current");
	others = cg_get("not_reclaimed", "memory.current");
	ASSERT(grow_pool(&other, "not_reclaimed", others, 6 * MIB), "it stayed small");
	ASSERT(grow_pool(&a, "reclaimed", before, 6 * MIB), "it stayed small");
	most = cg_get("reclaimed", "memory.current");
	/* While the first pool grew, this one may have shrunk for lack of demand. */
	ASSERT(grow_pool(&other, "not_reclaimed", others, 6 * MIB), "it stayed small");
	others = arena_stat(&other, "pool_nr", NULL);
	ASSERT(others > PAGES(1 * MIB), "%ld pages ready in the other arena", others);

	/* The kernel may reclaim less than requested; 4 MiB are enough. */
	ASSERT(wait_for((cg_set("reclaimed", "memory.reclaim", 8 * MIB),
			 cg_get("reclaimed", "memory.current") < most - 4 * MIB), 1000),
	       "%ld KiB of %ld are still there", cg_get("reclaimed", "memory.current") / 1024,
	       most / 1024);
	left = arena_stat(&other, "pool_nr", NULL);
	ASSERT(left >= others / 2, "%ld pages of %ld left in the other arena", left, others);
	ASSERT(arena_burst(&a, PROMISED) == PROMISED, "the pages that were promised");
	arena_close(&a);
	arena_close(&other);
}

/* How long a program keeps failing, and in how many calls at least. */
#define FAIL_MS 3000
#define FAIL_CALLS 100

TEST(pool, refill_backoff, "a program that fails at the limit does not start a refill with each call")
{
	long refills, calls = 0, got = 0, begin, ms;
	struct arena a;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(arena_open_in("backoff", &a, 16384), "load");
	ASSERT(cg_limit("backoff", 0), "limit");
	ASSERT(arena_exhaust(&a), "no limit");

	refills = arena_stat(&a, "refills", NULL);
	begin = now_ms();
	while (now_ms() - begin < FAIL_MS || calls < FAIL_CALLS) {
		if (arena_alloc_once(&a, HARDIRQ, NULL, 1))
			got++;
		else
			calls++;
		usleep(2000);
	}
	/* Charges in advance on another CPU, and frees in the cgroup, allow a few. */
	ASSERT(got < 128, "%ld pages at the limit", got);
	ms = now_ms() - begin;
	refills = arena_stat(&a, "refills", NULL) - refills;
	printf("# %ld calls, %ld refills in %ld ms\n", calls, refills, ms);
	/* The interval doubles eight times, then there is one refill a second. */
	ASSERT(refills <= 10 + ms / 1000, "%ld refills in %ld ms", refills, ms);
	ASSERT(refills > 0, "no refill at all");

	/* The next refill comes within a second, plus the time to run. */
	ASSERT(cg_set("backoff", "memory.max", 64 * MIB), "limit");
	begin = now_ms();
	ASSERT(wait_for(arena_alloc_once(&a, HARDIRQ, NULL, 1), 1000 + 1000), "no page again");
	printf("# a page after %ld ms\n", now_ms() - begin);
	/* From then on without delay: each burst gets the promised pages. */
	ASSERT(pool_ready(&a), "not filled again");
	ASSERT(arena_burst(&a, PROMISED) == PROMISED, "the pages that were promised");
	ASSERT(pool_ready(&a), "not filled at once");
	ASSERT_EQ(cg_event("backoff", "oom_kill"), 0, "processes killed");
	arena_close(&a);
}

/* Pages of @p that the kernel has not dropped. */
static long kept(const char *p, long pages)
{
	long n = 0, i;

	for (i = 0; i < pages; i++)
		n += *(const volatile char *)(p + i * PAGE);

	return n;
}

TEST(pool, refill_spares_cache, "a program that fails at the limit does not replace the creator's cache")
{
	const long pages = 24 * MIB / PAGE;
	struct arena a;
	char *cache;
	long left;
	int i;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(arena_open_in("cache", &a, 16384), "load");
	ASSERT(cg_enter("cache"), "enter");
	/* Memory that the kernel drops like clean page cache, without a filesystem. */
	cache = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0);
	ASSERT(cache != MAP_FAILED, "mmap");
	madvise(cache, pages * PAGE, MADV_NOHUGEPAGE);
	for (i = 0; i < pages; i++)
		cache[i * PAGE] = 1;
	ASSERT(!madvise(cache, pages * PAGE, MADV_FREE), "MADV_FREE");
	ASSERT(cg_enter(""), "leave");
	ASSERT_EQ(kept(cache, pages), pages, "pages at first");
	ASSERT(cg_limit("cache", 0), "limit");

	/* More than the cgroup has: each call takes the whole pool and puts it back. */
	for (i = 0; i < 100; i++) {
		ASSERT(!arena_alloc_once(&a, HARDIRQ, NULL, PAGES(58 * MIB)), "58 MiB");
		usleep(10000);
	}
	left = kept(cache, pages);
	printf("# %ld pages of %ld left, %ld ready\n", left, pages, (long)arena_stat(&a, "pool_nr", NULL));
	ASSERT(left * PAGE > pages * PAGE - 6 * MIB, "%ld pages of %ld left", left, pages);

	/* For the promised pages, reclaim is justified. */
	ASSERT(arena_burst(&a, PROMISED) == PROMISED, "the pages that were promised");
	ASSERT(pool_ready(&a), "not filled again");
	munmap(cache, pages * PAGE);
	arena_close(&a);
}

TEST(pool, small, "the worker ends if a small pool is full of pages that CPUs have credit for")
{
	struct arena_req singles = { .op = REQ_ALLOC_EACH, .cnt = 8, .node = -1 };
	struct arena a;
	long refills;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(arena_open(&a, 32, 0), "load");
	/* More than is ready makes the pool grow to all that the arena can hold. */
	ASSERT(arena_alloc_wait(&a, HARDIRQ, NULL, 24), "24 pages");
	arena_free(&a, SLEEPABLE, a.base, a.pages);
	ASSERT(wait_for(arena_stat(&a, "pool_nr", NULL) >= 30, 5000), "%lld pages ready",
	       arena_stat(&a, "pool_nr", NULL));
	/* Single pages give credit for others, which are in the pool, but not in its count. */
	ASSERT(arena_run(&a, UNDER_RCU, 0, &singles), "run");
	arena_free(&a, SLEEPABLE, a.base, a.pages);
	ASSERT(arena_settle(&a, 0), "free not finished");
	/* A pool that has grown is looked at every two seconds. */
	refills = arena_stat(&a, "refills", NULL);
	ASSERT(wait_for(arena_stat(&a, "refills", NULL) > refills + 1, 15000), "it has not ended");
	arena_close(&a);
}

static void reload(void)
{
	if (!mod_loaded())
		mod_load("");
}

TEST(pool, idle, "a pool that nobody needs any more keeps nothing")
{
	struct arena_req singles = { .op = REQ_ALLOC_EACH, .cnt = 2, .node = -1 };
	struct arena a;

	ASSERT(wait_for(!mod_unload(), 10000), "not removed");
	ASSERT_EQ(mod_load("pool_max=8"), 0, "load");
	ASSERT(arena_open(&a, 4096, 0), "load");
	ASSERT(arena_alloc(&a, UNDER_RCU, NULL, 1), "alloc");
	ASSERT(wait_for(arena_stat(&a, "pool_nr", NULL) == 8, 5000), "it does not grow");
	/* The CPU gets credit for others. */
	ASSERT(arena_run(&a, UNDER_RCU, 0, &singles), "run");
	/* Halved every two seconds. */
	ASSERT(wait_for(!arena_stat(&a, "pool_target", NULL) &&
			!arena_stat(&a, "pool_nr", NULL), 20000), "target %lld, %lld pages",
	       arena_stat(&a, "pool_target", NULL), arena_stat(&a, "pool_nr", NULL));
	ASSERT(arena_run(&a, UNDER_RCU, 0, &singles), "run");
	ASSERT_EQ(arena_pages(&a), 5, "pages");
	ASSERT(wait_for(arena_stat(&a, "pool_nr", NULL) > 4, 5000), "it does not grow again");
	ASSERT(oracle_rest(a.fd), "oracle");
	arena_close(&a);
	munmap(a.base, 4096 * PAGE);
	ASSERT(wait_for(!mod_unload(), 10000), "not removed");
	reload();
}

TEST(pool, parameters, "the parameters of the pool accept the documented range and nothing else")
{
	static const char *const names[] = { "pool_pages", "pool_max", "standby_pages" };
	char path[96], old[16], most[16], more[16];
	size_t i;

	snprintf(most, sizeof(most), "%u", POOL_MOST);
	snprintf(more, sizeof(more), "%u", POOL_MOST + 1);

	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "/sys/module/arena_nolock/parameters/%s", names[i]);
		snprintf(old, sizeof(old), "%s", read_file(path) ?: "");
		ASSERT(*old, "%s is missing", names[i]);
		ASSERT(!write_file(path, more), "%s took %s", names[i], more);
		ASSERT(!write_file(path, "-1"), "%s took -1", names[i]);
		ASSERT(!write_file(path, "many"), "%s took a word", names[i]);
		ASSERT(!strcmp(read_file(path), old), "%s has changed", names[i]);
		ASSERT(write_file(path, "0") && write_file(path, most), "%s took no 0", names[i]);
		ASSERT(write_file(path, old), "%s not restored", names[i]);
	}
}

static void without_pool(void)
{
	struct arena a;
	__u32 some;

	ASSERT(arena_open_in("no_pool", &a, 16384), "load");
	ASSERT(cg_limit("no_pool", 8 * MIB), "limit");
	/* Half of them are there, and must be released. */
	ASSERT(!arena_alloc_once(&a, UNDER_RCU, NULL, PAGES(16 * MIB)), "16 MiB with 8 MiB left");
	ASSERT(!arena_alloc_once(&a, BH_OFF, NULL, PAGES(16 * MIB)), "16 MiB with 8 MiB left");
	ASSERT(arena_settle(&a, 0), "%ld pages after the failure", arena_pages(&a));
	/* They are available once a worker has run. */
	some = is_rt() ? 1 : PAGES(2 * MIB);
	ASSERT(arena_alloc_wait(&a, UNDER_RCU, NULL, some) == a.base || is_rt(),
	       "no pages afterwards");
	ASSERT(arena_alloc_wait(&a, SLEEPABLE, a.base + 1024 * PAGE, PAGES(2 * MIB)),
	       "no pages afterwards");
	arena_close(&a);
	munmap(a.base, 16384 * PAGE);
}

TEST(pool, none, "without a pool, a failed call releases the pages that it got")
{
	ASSERT(wait_for(!mod_unload(), 10000), "not removed");
	ASSERT_EQ(mod_load("pool_pages=0 pool_max=0 standby_pages=0"), 0, "load");
	without_pool();
	wait_for(!mod_unload(), 10000);
	mod_load("");
}

/* Without a pool, the kernel decides what a caller that cannot sleep gets. */
static void with_pool(const char *params, __u32 pages, __u32 standby)
{
	__u32 ready = pages + standby;
	struct arena a;
	char *text;

	ASSERT(wait_for(!mod_unload(), 10000), "not removed");
	ASSERT_EQ(mod_load(params), 0, "load");
	text = read_file(POOL_PAGES);
	ASSERT(text && atol(text) == pages, "parameter is %s", text ? text : "not there");
	ASSERT(arena_open(&a, 8192, 0), "load");
	ASSERT(wait_for(arena_stat(&a, "standby_nr", NULL) >= standby, 5000), "standby");
	if (ready && nr_cpus > 1)
		ASSERT(arena_alloc(&a, HARDIRQ, NULL, ready) == a.base, "%u pages in an interrupt",
		       ready);
	/* 6.12 has no other source of pages for an interrupt. */
	if (kver < 70000 && nr_cpus > 1)
		ASSERT(!arena_alloc_once(&a, HARDIRQ, NULL, 5000), "5000 pages in an interrupt");
	ASSERT(arena_alloc(&a, UNDER_RCU, NULL, 8), "8 pages under rcu");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 1000), "1000 pages");
	arena_close(&a);
	munmap(a.base, 8192 * PAGE);
	ASSERT(wait_for(!mod_unload(), 10000), "not removed");
}

TEST(pool, pages_default, "a burst gets 256 pages of 4 KiB by default, or as many bytes")
{
	with_pool("", 0, STANDBY_DEFAULT);
	reload();
}

TEST(pool, pages_0, "the module works with an empty pool")
{
	with_pool("pool_pages=0 standby_pages=0", 0, 0);
	reload();
}

TEST(pool, pages_most, "the pool can have 4096 pages of 4 KiB, or as many bytes")
{
	char params[48];

	snprintf(params, sizeof(params), "pool_pages=%u standby_pages=0", POOL_MOST);
	with_pool(params, POOL_MOST, 0);
	reload();
}

TEST(pool, pages_bad, "the module refuses an invalid number of pages for the pool")
{
	char param[64], range[64], more[16];
	const char *const bad[] = { more, "-1", "many", "4294967296", "" };
	size_t i, said = 0;
	long mark;

	snprintf(more, sizeof(more), "%u", POOL_MOST + 1);
	snprintf(range, sizeof(range), "must be a number of pages from 0 to %u", POOL_MOST);
	ASSERT(wait_for(!mod_unload(), 10000), "not removed");
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(param, sizeof(param), "pool_pages=%s", bad[i]);
		mark = klog_mark();
		if (!mod_load(param)) {
			mod_unload();
			mod_load("");
			ASSERT(false, "loaded with %s", param);
		}
		said += strstr(klog_since(mark), param) && strstr(klog_since(mark), range);
	}
	ASSERT_EQ(mod_load("pool_pages=16"), 0, "load");
	ASSERT_EQ(said, i, "times that the log named the value and the range");
	mark = klog_mark();
	ASSERT(!write_file(POOL_PAGES, more), "%s written", more);
	snprintf(param, sizeof(param), "pool_pages=%s", more);
	ASSERT(strstr(klog_since(mark), param) && strstr(klog_since(mark), range),
	       "the log has: %s", klog_since(mark));
	ASSERT(!write_file(POOL_PAGES, "-1"), "-1 written");
	ASSERT(!strcmp(read_file(POOL_PAGES), "16\n"), "parameter is %s", read_file(POOL_PAGES));
	snprintf(param, sizeof(param), "%u", POOL_DEFAULT);
	ASSERT(write_file(POOL_PAGES, param), "%s not written", param);
	ASSERT(atol(read_file(POOL_PAGES)) == POOL_DEFAULT, "parameter is %s",
	       read_file(POOL_PAGES));
}

TEST(pool, contradiction, "the log says so if pool_max is less than pool_pages")
{
	long mark;

	ASSERT(wait_for(!mod_unload(), 10000), "not removed");
	mark = klog_mark();
	ASSERT_EQ(mod_load("pool_max=64 pool_pages=32"), 0, "load");
	ASSERT(!strstr(klog_since(mark), "is less than"), "the log has: %s", klog_since(mark));
	ASSERT(write_file(POOL_PAGES, "65"), "not written");
	ASSERT(strstr(klog_since(mark), "pool_max=64 is less than pool_pages=65: pools hold 65 pages"),
	       "the log has: %s", klog_since(mark));
	ASSERT(wait_for(!mod_unload(), 10000), "not removed");
	mark = klog_mark();
	ASSERT_EQ(mod_load("pool_max=63 pool_pages=64"), 0, "load");
	ASSERT(strstr(klog_since(mark), "pool_max=63 is less than pool_pages=64"),
	       "the log has: %s", klog_since(mark));
	ASSERT(wait_for(!mod_unload(), 10000), "not removed");
	reload();
}
