// SPDX-License-Identifier: GPL-2.0
/*
 * Memory cgroups: an arena is charged to the cgroup that created the map, whichever task
 * allocates, and calls fail cleanly at that cgroup's limit.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <bpf/bpf.h>

#include "runner.h"
#include "arena.h"
#include "cgroup.h"
#include "oracle.h"
#include "bounded.skel.h"

#define BYTES(pages) ((long)((pages) * PAGE))

/* Charges are made in batches of 64 pages per CPU; this is more than that. */
#define SLACK BYTES(512)

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
	ASSERT(cg_get(name, "memory.current") - before > BYTES(2048) - SLACK,
	       "the creator pays %ld bytes for 2048 pages",
	       cg_get(name, "memory.current") - before);
	ASSERT(cg_get("caller", "memory.current") < BYTES(2048) - SLACK,
	       "the caller pays %ld bytes", cg_get("caller", "memory.current"));

	before = cg_get(name, "memory.current");
	arena_free(&a, ctx, p, 2048);
	ASSERT(arena_settle(&a, 0), "free not finished");
	/* The pool releases its excess in steps of two seconds. */
	ASSERT(wait_for(before - cg_get(name, "memory.current") > BYTES(2048) - SLACK, 20000),
	       "the creator gets back %ld bytes for 2048 pages",
	       before - cg_get(name, "memory.current"));
	arena_close(&a);
}

TEST(limits, charged_sleepable, "a sleepable allocation is charged to the cgroup that created the map")
{
	charged("charged_sys", SLEEPABLE);
}

TEST(limits, charged_rcu, "an allocation under RCU is charged to the cgroup that created the map")
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
	ASSERT(cg_get("fault", "memory.current") - before > BYTES(2048) - SLACK,
	       "the creator pays %ld bytes for 2048 pages",
	       cg_get("fault", "memory.current") - before);
	ASSERT(cg_get("fault_caller", "memory.current") < BYTES(2048) - SLACK,
	       "the caller pays %ld bytes", cg_get("fault_caller", "memory.current"));
	arena_close(&a);
}

static void limited(const char *name, enum context ctx)
{
	struct arena_req r = { .op = REQ_ALLOC_EACH, .cnt = 8192, .node = -1 };
	__u32 some = pool_only(ctx) ? STANDBY_DEFAULT / 4 : 512;
	struct arena a;

	ASSERT(arena_open_in(name, &a, 16384), "load");
	ASSERT(cg_limit(name, BYTES(2048)), "limit");

	/* All at once: nothing stays behind. */
	ASSERT(!arena_alloc_once(&a, ctx, NULL, 4096), "4096 pages with 2048 left");
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

TEST(limits, null_sleepable, "a sleepable allocation beyond the cgroup's limit returns NULL and kills no process")
{
	limited("null_sys", SLEEPABLE);
}

TEST(limits, null_rcu, "an allocation under RCU beyond the cgroup's limit returns NULL and kills no process")
{
	limited("null_rcu", UNDER_RCU);
}

TEST(limits, null_irq, "an allocation in an interrupt beyond the cgroup's limit returns NULL and kills no process")
{
	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	limited("null_irq", HARDIRQ);
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
	ASSERT(cg_limit(name, BYTES(1024)), "limit");
	oom_expected(true);
	pid = toucher(&a, cgroup);
	ASSERT(pid > 0, "fork");
	waitpid(pid, &status, 0);
	oom_expected(false);
	printf("# status %#x, %ld pages\n", status, arena_pages(&a));
	ASSERT(arena_pages(&a) > 256 && arena_pages(&a) < 2048, "%ld pages", arena_pages(&a));
	ASSERT(WIFSIGNALED(status) || WEXITSTATUS(status), "all of 4096 pages fit into 1024");
	if (WIFSIGNALED(status))
		ASSERT_EQ(WTERMSIG(status), SIGKILL, "signal that ended the process");
	else
		ASSERT_EQ(WEXITSTATUS(status), SIGBUS, "signal that the access raised");

	/* With room again, allocations succeed. */
	ASSERT(cg_set(name, "memory.max", BYTES(16384)), "limit");
	arena_free(&a, SLEEPABLE, a.base, 4096);
	ASSERT(arena_settle(&a, 0), "free not finished");
	ASSERT_EQ(user_write_sig(arena_page(&a, 100), 1), 0, "signal");
	arena_close(&a);
}

TEST(limits, fault_inside, "a user fault beyond the cgroup's limit kills the process or raises SIGBUS, not SIGSEGV")
{
	fault_limited("fault_in", "fault_in");
}

TEST(limits, fault_outside, "a user fault beyond the limit of a cgroup that the task is not in raises SIGBUS, not SIGSEGV")
{
	fault_limited("fault_out", "");
}

TEST(limits, fault_spares_creator, "a user fault kills no process of the creator's cgroup if the task is not in that cgroup")
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
	ASSERT(cg_limit("victim", BYTES(1024)), "limit");
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

/* Charges are made in batches, and what loading needs is charged, too. The mean tells. */
#define IDLE_ARENAS 32

/*
 * What arenas of @pages pages cost their cgroup before anything is allocated, in KiB: the first
 * one in *@first, and each of the others. It should be less than @limit.
 */
static long idle_cost(const char *name, __u32 pages, int nr, long limit, long *first)
{
	static struct arena a[1 + IDLE_ARENAS];
	long before, one, cost = 0;
	int i;

	if (!cg_make(name))
		return -1;
	before = cg_get(name, "memory.current");
	for (i = 0; i < 1 + nr; i++) {
		if (!arena_open_in(name, &a[i], pages) || !pool_ready(&a[i]))
			return -1;
		if (!i)
			one = cg_get(name, "memory.current");
	}
	/* What loading needed for a moment is freed after a grace period. */
	if (nr)
		wait_for((cost = (cg_get(name, "memory.current") - one) / nr / 1024) < limit, 10000);
	*first = (one - before) / 1024;
	printf("# idle arenas of %u pages: the first %ld KiB, each of %d others %ld KiB\n", pages,
	       *first, nr, cost);
	for (i = 0; i < 1 + nr; i++)
		arena_close(&a[i]);

	return cost;
}

TEST(limits, idle, "an arena costs its cgroup what the documents say, before anything is allocated")
{
	/* Each CPU can have charged this much in advance; the arenas share it. */
	const long batch = 64 * (long)PAGE / 1024;
	const long most_small = 256 + batch / 8, most_medium = 256 + batch / 8;
	const long most_first = 3072 + batch * 2;
	long small, medium, large, first[3] = {};

	/* A huge page of this process would be charged to the cgroup as well. */
	ASSERT(!prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), "prctl: %s", strerror(errno));
	small = idle_cost("idle_small", 16, IDLE_ARENAS, most_small, &first[0]);
	medium = idle_cost("idle_medium", 1000, IDLE_ARENAS, most_medium, &first[1]);
	large = idle_cost("idle_large", ARENA_MOST, 0, 0, &first[2]);
	prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
	ASSERT_OK();
	ASSERT(small >= 0 && medium >= 0 && large >= 0, "load");
	ASSERT(small < most_small, "16 pages: %ld KiB", small);
	ASSERT(medium < most_medium, "1000 pages: %ld KiB", medium);
	ASSERT(first[1] > 1024 - 128, "the standby and the first arena: %ld KiB", first[1]);
	ASSERT(first[2] < most_first, "4 GiB: %ld KiB", first[2]);
}

/*
 * A thousand arenas
 */

#define THOUSAND 1000
#define THOUSAND_PAGES 1000

static struct {
	int map, prog;
	char *base;
} many[THOUSAND];

/* Each has a program and a mapping. Returns how many there are. */
static int open_thousand(struct bounded_bpf *skel)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int i;

	for (i = 0; i < THOUSAND; i++) {
		many[i].map = bpf_map_create(BPF_MAP_TYPE_ARENA, "thousand", 0, 0, THOUSAND_PAGES,
					     &opts);
		if (many[i].map < 0)
			return i;
		many[i].base = mmap(NULL, THOUSAND_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
				    many[i].map, 0);
		if (many[i].base == MAP_FAILED)
			return i;
		many[i].prog = prog_for_arena(skel->progs.free_page, many[i].map);
		if (many[i].prog < 0)
			return i;
	}

	return i;
}

static void close_thousand(void)
{
	int i;

	for (i = 0; i < THOUSAND; i++) {
		if (many[i].base && many[i].base != MAP_FAILED)
			munmap(many[i].base, THOUSAND_PAGES * PAGE);
		close(many[i].prog);
		close(many[i].map);
	}
}

/* A page by a fault, and its free by the program. */
static bool use_one(int i)
{
	struct { __u64 addr; } ctx = { (__u64)many[i].base };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));

	return !user_write_sig(many[i].base, 1) && map_pages(many[i].map) == 1 &&
	       !bpf_prog_test_run_opts(many[i].prog, &opts);
}

TEST_LONG(limits, thousand, 120,
	  "a machine of 2 GiB has room for a thousand arenas of 1000 pages, with what they keep ready")
{
	struct rlimit files = { 4096, 4096 };
	long before, begin = now_ms(), each;
	struct bounded_bpf *skel;
	int i, used = 0;

	if (has_intree_nonsleepable)
		SKIP("this kernel itself spends 8 MiB of page tables on each arena");
	if (read_meminfo("MemAvailable") < 1600 * 1024 || PAGE > 4096)
		SKIP("needs 1600 MiB of free memory, and pages of 4 KiB");
	setrlimit(RLIMIT_NOFILE, &files);
	oracle_pause(true);
	skel = bounded_bpf__open_and_load();
	ASSERT(skel, "load");
	before = free_kib();
	i = open_thousand(skel);
	if (i == THOUSAND) {
		/* The pools are filled in the background. */
		wait_for(before - free_kib() > THOUSAND * 64L, 20000);
		each = (before - free_kib()) / THOUSAND;
		printf("# %d arenas in %ld ms, %ld KiB each, %ld MiB left\n", i, now_ms() - begin,
		       each, read_meminfo("MemAvailable") / 1024);
		/* The map, the program and the mapping included. */
		ASSERT(each < 112, "%ld KiB each", each);
		for (used = 0; used < THOUSAND && use_one(used); used++)
			;
	}
	close_thousand();
	bounded_bpf__destroy(skel);
	ASSERT_EQ(i, THOUSAND, "arenas made");
	ASSERT_EQ(used, THOUSAND, "arenas that work");
	ASSERT(wait_for(before - free_kib() < 32 * 1024, 30000), "%ld KiB did not come back",
	       before - free_kib());
}
