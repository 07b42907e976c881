// SPDX-License-Identifier: GPL-2.0
/*
 * Who pays for the pages of an arena, and what happens when that one has no
 * more: the memory cgroup that created the map is charged, whoever allocates. Also
 * what is kept ready for callers that cannot sleep, which is charged as well.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "runner.h"
#include "arena.h"
#include "cgroup.h"

#define MIB (1024 * 1024L)

/* Charges are made in batches per CPU; this is more than that. */
#define SLACK (2 * MIB)

static void charged(const char *name, enum context ctx)
{
	struct arena a;
	long before;
	char *p;

	ASSERT(cg_make("caller"), "cgroup");
	ASSERT(arena_open_in(name, &a, 4096), "load");
	ASSERT(cg_enter("caller"), "enter");
	before = cg_get(name, "memory.current");
	ASSERT(before > 0, "memory.current");
	p = arena_alloc(&a, ctx, NULL, 2048);
	ASSERT(p == a.base, "alloc");
	ASSERT(cg_get(name, "memory.current") - before > 8 * MIB - SLACK,
	       "the creator pays %ld bytes for 8 MiB", cg_get(name, "memory.current") - before);
	ASSERT(cg_get("caller", "memory.current") < 8 * MIB - SLACK,
	       "the caller pays %ld bytes", cg_get("caller", "memory.current"));

	before = cg_get(name, "memory.current");
	arena_free(&a, ctx, p, 2048);
	ASSERT(arena_settle(&a, 0), "free not finished");
	/* What a reserve has grown to it gives back in steps of two seconds. */
	ASSERT(wait_for(before - cg_get(name, "memory.current") > 8 * MIB - SLACK, 20000),
	       "the creator gets back %ld bytes of 8 MiB",
	       before - cg_get(name, "memory.current"));
	arena_close(&a);
}

TEST(limits, charged_sleepable, "pages are charged to the cgroup that created the map, sleepable")
{
	charged("charged_sys", SLEEPABLE);
}

TEST(limits, charged_rcu, "pages are charged to the cgroup that created the map, under rcu")
{
	charged("charged_rcu", UNDER_RCU);
}

TEST(limits, charged_fault, "user faults are charged to the cgroup that created the map")
{
	struct arena a;
	long before;

	ASSERT(cg_make("fault_caller"), "cgroup");
	ASSERT(arena_open_in("fault", &a, 2048), "load");
	ASSERT(cg_enter("fault_caller"), "enter");
	before = cg_get("fault", "memory.current");
	user_mark(a.base, 2048, 1);
	ASSERT(cg_get("fault", "memory.current") - before > 8 * MIB - SLACK,
	       "the creator pays %ld bytes for 8 MiB", cg_get("fault", "memory.current") - before);
	ASSERT(cg_get("fault_caller", "memory.current") < 8 * MIB - SLACK,
	       "the caller pays %ld bytes", cg_get("fault_caller", "memory.current"));
	arena_close(&a);
}

static void limited(const char *name, enum context ctx)
{
	struct arena_req r = { .op = REQ_ALLOC_EACH, .cnt = 8192, .node = -1 };
	/* There may be no more than what is kept ready. */
	__u32 some = ctx == HARDIRQ || (ctx == UNDER_RCU && is_rt()) ? 64 : 512;
	struct arena a;

	ASSERT(arena_open_in(name, &a, 16384), "load");
	ASSERT(cg_limit(name, 8 * MIB), "limit");

	/* All at once: nothing stays behind. */
	ASSERT(!arena_alloc_once(&a, ctx, NULL, 4096), "16 MiB with 8 MiB left");
	ASSERT(arena_settle(&a, 0), "%ld pages after the failure", arena_pages(&a));
	ASSERT(arena_alloc(&a, ctx, NULL, some) == a.base, "%u pages afterwards", some);
	ASSERT_EQ(user_diff(a.base, some, 0), 0, "words that are not zero");

	/* Page by page: it ends somewhere, and what was given is there. */
	ASSERT(arena_run(&a, ctx, 0, &r), "run");
	ASSERT(r.ret > some && r.ret < 4096, "%llu pages given", r.ret);
	ASSERT_EQ(arena_pages(&a), some + r.ret, "populated pages");
	user_mark(a.base, some + r.ret, 1);
	ASSERT_EQ(arena_unmarked(&a, SLEEPABLE, a.base, some + r.ret, 1), 0, "pages that differ");

	ASSERT_EQ(cg_event(name, "oom_kill"), 0, "processes killed");
	arena_free(&a, ctx, a.base, 16384);
	ASSERT(arena_settle(&a, 0), "free not finished");
	ASSERT(arena_alloc(&a, ctx, NULL, some), "%u pages after the free", some);
	arena_close(&a);
}

TEST(limits, null_sleepable, "a cgroup at its limit gives NULL and kills nobody, sleepable")
{
	limited("null_sys", SLEEPABLE);
}

TEST(limits, null_rcu, "a cgroup at its limit gives NULL and kills nobody, under rcu")
{
	limited("null_rcu", UNDER_RCU);
}

TEST(limits, null_irq, "a cgroup at its limit gives NULL and kills nobody, in interrupts")
{
	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	limited("null_irq", HARDIRQ);
}

static void without_reserve(void)
{
	struct arena a;

	ASSERT(arena_open_in("no_reserve", &a, 16384), "load");
	ASSERT(cg_limit("no_reserve", 8 * MIB), "limit");
	/* Half of them are there, and have to go somewhere. */
	ASSERT(!arena_alloc_once(&a, UNDER_RCU, NULL, 4096), "16 MiB with 8 MiB left");
	ASSERT(!arena_alloc_once(&a, BH_OFF, NULL, 4096), "16 MiB with 8 MiB left");
	ASSERT(arena_settle(&a, 0), "%ld pages after the failure", arena_pages(&a));
	/* They come back once a worker has run, not to a caller that does not wait. */
	ASSERT(arena_alloc_wait(&a, UNDER_RCU, NULL, is_rt() ? 1 : 512) == a.base || is_rt(),
	       "no pages afterwards");
	ASSERT(arena_alloc_wait(&a, SLEEPABLE, a.base + 1024 * PAGE, 512), "no pages afterwards");
	arena_close(&a);
	munmap(a.base, 16384 * PAGE);
}

TEST(limits, without_reserve, "without any reserve, what a failed call has got is given back")
{
	ASSERT(wait_for(!mod_unload(), 10000), "not removed");
	ASSERT_EQ(mod_load("pool_pages=0 pool_max=0"), 0, "load");
	without_reserve();
	wait_for(!mod_unload(), 10000);
	mod_load("");
}

/* Touches pages; the exit code is the signal that ended it, or 0. */
static pid_t toucher(struct arena *a, const char *cgroup)
{
	pid_t pid;
	__u32 i;
	int sig = 0;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!cg_enter(cgroup) || !map_at(a->fd, a->base, a->pages))
		_exit(100);
	for (i = 0; i < a->pages && !sig; i++)
		sig = user_write_sig(arena_page(a, i), i);
	_exit(sig);
}

static void fault_limited(const char *name, const char *cgroup)
{
	int status = 0;
	struct arena a;
	pid_t pid;

	ASSERT(arena_open_in(name, &a, 4096), "load");
	ASSERT(cg_limit(name, 4 * MIB), "limit");
	oom_expected(true);
	pid = toucher(&a, cgroup);
	ASSERT(pid > 0, "fork");
	waitpid(pid, &status, 0);
	oom_expected(false);
	printf("# status %#x, %ld pages\n", status, arena_pages(&a));
	ASSERT(arena_pages(&a) > 256 && arena_pages(&a) < 2048, "%ld pages", arena_pages(&a));
	ASSERT(WIFSIGNALED(status) || WEXITSTATUS(status), "all of 16 MiB fit into 4 MiB");
	if (WIFSIGNALED(status))
		ASSERT_EQ(WTERMSIG(status), SIGKILL, "signal that ended the process");
	else
		ASSERT_EQ(WEXITSTATUS(status), SIGBUS, "signal that the access raised");

	/* With room again, all goes on. */
	ASSERT(cg_set(name, "memory.max", 64 * MIB), "limit");
	arena_free(&a, SLEEPABLE, a.base, 4096);
	ASSERT(arena_settle(&a, 0), "free not finished");
	ASSERT_EQ(user_write_sig(arena_page(&a, 100), 1), 0, "signal");
	arena_close(&a);
}

TEST(limits, fault_inside,
     "a user fault over the limit: the process is killed or gets SIGBUS, not SIGSEGV")
{
	fault_limited("fault_in", "fault_in");
}

TEST(limits, fault_outside,
     "a user fault over the limit of somebody else's cgroup is SIGBUS, not SIGSEGV")
{
	fault_limited("fault_out", "");
}

TEST(limits, fault_spares_creator,
     "faults of a task elsewhere have no process of the creator's cgroup killed")
{
	int status = 0, victim_status = 0;
	pid_t pid, victim;
	struct arena a;

	ASSERT(cg_make("intruder"), "cgroup");
	ASSERT(arena_open_in("victim", &a, 4096), "load");
	fflush(stdout);
	victim = fork();
	if (!victim) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!cg_enter("victim"))
			_exit(1);
		for (;;)
			pause();
	}
	ASSERT(victim > 0, "fork");
	ASSERT(wait_for(cg_get("victim", "cgroup.procs") == victim, 5000), "victim");
	ASSERT(cg_limit("victim", 4 * MIB), "limit");
	/* On code that kills, the kernel says so. */
	oom_expected(true);
	pid = toucher(&a, "intruder");
	ASSERT(pid > 0, "fork");
	waitpid(pid, &status, 0);
	oom_expected(false);
	ASSERT(arena_pages(&a) > 256 && arena_pages(&a) < 2048, "%ld pages", arena_pages(&a));
	ASSERT(WIFEXITED(status), "status %#x", status);
	ASSERT_EQ(WEXITSTATUS(status), SIGBUS, "signal that the access raised");
	ASSERT_EQ(cg_event("victim", "oom_kill"), 0, "processes killed");
	ASSERT_EQ(waitpid(victim, &victim_status, WNOHANG), 0, "the creator's process ended");
	kill(victim, SIGKILL);
	waitpid(victim, NULL, 0);
	arena_close(&a);
}

/*
 * Bursts in interrupts, until the memory kept ready has grown by @bytes over
 * @before. Each takes all that is ready, and gives it back.
 */
static bool grow_reserve(struct arena *a, const char *name, long before, long bytes)
{
	int i;

	for (i = 0; i < 20 && cg_get(name, "memory.current") - before < bytes; i++) {
		struct arena_req r = { .op = REQ_ALLOC_EACH, .cnt = 4096, .node = -1 };

		if (!arena_run(a, HARDIRQ, 0, &r))
			return false;
		arena_free(a, HARDIRQ, a->base, a->pages);
		if (!arena_settle(a, 0))
			return false;
		usleep(50000);
	}
	printf("# %d bursts, %ld KiB more\n", i, (cg_get(name, "memory.current") - before) / 1024);

	return cg_get(name, "memory.current") - before >= bytes;
}

/* Single pages that a burst in interrupts gets, beginning now. */
static long burst(struct arena *a, __u32 cnt)
{
	struct arena_req r = { .op = REQ_ALLOC_EACH, .cnt = cnt, .node = -1 };

	return arena_run(a, HARDIRQ, 0, &r) ? (long)r.ret : -1;
}

TEST(limits, reserve_grows, "pages kept ready follow the demand, and give way when memory is short")
{
	struct arena a;
	long before;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(arena_open_in("grows", &a, 8192), "load");
	before = cg_get("grows", "memory.current");
	ASSERT(grow_reserve(&a, "grows", before, 6 * MIB), "it stayed small");
	ASSERT(burst(&a, 1024) == 1024, "a burst like those before");
	arena_free(&a, HARDIRQ, a.base, a.pages);
	ASSERT(arena_settle(&a, 0), "free not finished");

	/* This has all shrinkers give back what they can. */
	ASSERT(wait_for(write_file("/proc/sys/vm/drop_caches", "2") &&
			cg_get("grows", "memory.current") - before < SLACK, 5000),
	       "%ld bytes more than at first", cg_get("grows", "memory.current") - before);
	ASSERT(burst(&a, 256) == 256, "the pages that were promised");
	arena_close(&a);
}

TEST(limits, reserve_lent,
     "a caller without memory of its own gets what is ready beyond the promise")
{
	struct arena a;
	long before;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(arena_open_in("lent", &a, 8192), "load");
	before = cg_get("lent", "memory.current");
	ASSERT(grow_reserve(&a, "lent", before, 6 * MIB), "it stayed small");
	ASSERT(cg_limit("lent", 0), "limit");
	ASSERT(arena_alloc_once(&a, SLEEPABLE, NULL, 768) == a.base, "alloc at the limit");
	ASSERT_EQ(user_diff(a.base, 768, 0), 0, "words that are not zero");
	ASSERT(!arena_alloc_once(&a, SLEEPABLE, NULL, 4096), "16 MiB at the limit");
	ASSERT(burst(&a, 192) == 192, "the pages that were promised");
	arena_close(&a);
}

TEST(limits, reserve_shrinks, "pages kept ready that nobody needs are given back after a while")
{
	struct arena a;
	long before, most;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(arena_open_in("shrinks", &a, 8192), "load");
	before = cg_get("shrinks", "memory.current");
	ASSERT(grow_reserve(&a, "shrinks", before, 6 * MIB), "it stayed small");
	most = cg_get("shrinks", "memory.current") - before;
	ASSERT(wait_for(cg_get("shrinks", "memory.current") - before < most / 4 * 3, 15000),
	       "%ld KiB of %ld are still there",
	       (cg_get("shrinks", "memory.current") - before) / 1024, most / 1024);
	arena_close(&a);
}

TEST(limits, reserve_reclaimed,
     "pages kept ready beyond the promise are reclaimed for their cgroup alone")
{
	struct arena a, other;
	long before, most, others, left;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(arena_open_in("reclaimed", &a, 8192), "load");
	ASSERT(arena_open_in("not_reclaimed", &other, 8192), "load");
	before = cg_get("reclaimed", "memory.current");
	others = cg_get("not_reclaimed", "memory.current");
	ASSERT(grow_reserve(&other, "not_reclaimed", others, 6 * MIB), "it stayed small");
	ASSERT(grow_reserve(&a, "reclaimed", before, 6 * MIB), "it stayed small");
	most = cg_get("reclaimed", "memory.current");
	others = arena_stat(&other, "pool_nr", NULL);
	ASSERT(others > 1024, "%ld pages ready in the other arena", others);

	/* The kernel says whether it got all of that; what it got has to be enough. */
	cg_set("reclaimed", "memory.reclaim", 8 * MIB);
	ASSERT(cg_get("reclaimed", "memory.current") < most - 4 * MIB,
	       "%ld KiB of %ld are still there", cg_get("reclaimed", "memory.current") / 1024,
	       most / 1024);
	left = arena_stat(&other, "pool_nr", NULL);
	ASSERT(left >= others / 2, "%ld pages of %ld left in the other arena", left, others);
	ASSERT(burst(&a, 192) == 192, "the pages that were promised");
	arena_close(&a);
	arena_close(&other);
}

/* How long a test lets a program fail, and how many calls fail at least. */
#define FAIL_MS 3000
#define FAIL_CALLS 100

TEST(limits, refill_backoff, "a program that fails at the limit does not start a refill each time")
{
	long refills, calls = 0, got = 0, begin, ms;
	struct arena a;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(arena_open_in("backoff", &a, 16384), "load");
	ASSERT(cg_limit("backoff", 0), "limit");
	/* Until nothing is left, neither ready nor below the limit. */
	ASSERT(wait_for(!arena_alloc_once(&a, HARDIRQ, NULL, 1) &&
			!arena_alloc_once(&a, SLEEPABLE, NULL, 1), 20000), "no limit");

	refills = arena_stat(&a, "refills", NULL);
	begin = now_ms();
	while (now_ms() - begin < FAIL_MS || calls < FAIL_CALLS) {
		if (arena_alloc_once(&a, HARDIRQ, NULL, 1))
			got++;
		else
			calls++;
		usleep(2000);
	}
	/* What was charged in advance on another CPU, or is freed in the cgroup meanwhile. */
	ASSERT(got < 128, "%ld pages at the limit", got);
	ms = now_ms() - begin;
	refills = arena_stat(&a, "refills", NULL) - refills;
	printf("# %ld calls, %ld refills in %ld ms\n", calls, refills, ms);
	/* Eight that double the time between two, and then one a second. */
	ASSERT(refills <= 10 + ms / 1000, "%ld refills in %ld ms", refills, ms);
	ASSERT(refills > 0, "no refill at all");

	/* At most a second later, and the time that it takes to run. */
	ASSERT(cg_set("backoff", "memory.max", 64 * MIB), "limit");
	begin = now_ms();
	ASSERT(wait_for(arena_alloc_once(&a, HARDIRQ, NULL, 1), 1000 + 1000), "no page again");
	printf("# a page after %ld ms\n", now_ms() - begin);
	/* And from then on without any delay: each burst finds what was promised. */
	ASSERT(wait_for(arena_stat(&a, "pool_nr", NULL) >= 256, 2000), "not filled again");
	ASSERT(burst(&a, 192) == 192, "the pages that were promised");
	ASSERT(wait_for(arena_stat(&a, "pool_nr", NULL) >= 256, 1000), "not filled at once");
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

TEST(limits, refill_spares_cache,
     "a program that fails at the limit does not replace the creator's cache")
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
	/* Memory that is given up like clean page cache, which needs a file system. */
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

	/* More than the cgroup has. All that is ready is taken, and put back. */
	for (i = 0; i < 100; i++) {
		ASSERT(!arena_alloc_once(&a, HARDIRQ, NULL, 15000), "58 MiB");
		usleep(10000);
	}
	left = kept(cache, pages);
	printf("# %ld pages of %ld left, %ld ready\n", left, pages, (long)arena_stat(&a, "pool_nr", NULL));
	ASSERT(left * PAGE > pages * PAGE - 6 * MIB, "%ld pages of %ld left", left, pages);

	/* What is promised is worth it. */
	ASSERT(burst(&a, 192) == 192, "the pages that were promised");
	ASSERT(wait_for(arena_stat(&a, "pool_nr", NULL) >= 256, 5000), "not filled again");
	munmap(cache, pages * PAGE);
	arena_close(&a);
}

TEST(limits, reserve_parameters, "the parameters of the reserve take what is documented")
{
	static const char *const names[] = { "pool_pages", "pool_max" };
	char path[96], old[16];
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "/sys/module/arena_nolock/parameters/%s", names[i]);
		snprintf(old, sizeof(old), "%s", read_file(path) ?: "");
		ASSERT(*old, "%s is missing", names[i]);
		ASSERT(!write_file(path, "4097"), "%s took 4097", names[i]);
		ASSERT(!write_file(path, "-1"), "%s took -1", names[i]);
		ASSERT(!write_file(path, "many"), "%s took a word", names[i]);
		ASSERT(!strcmp(read_file(path), old), "%s has changed", names[i]);
		ASSERT(write_file(path, "0") && write_file(path, "4096"), "%s took no 0", names[i]);
		ASSERT(write_file(path, old), "%s not restored", names[i]);
	}
}
