// SPDX-License-Identifier: GPL-2.0
/*
 * Storms: random operations from every context, for the given time. In rounds of some
 * seconds, programs in all contexts use arenas, with NMIs throughout, and processes fault,
 * map, unmap, fork and get killed. Meanwhile CPUs go offline and come back, memory gets
 * short, limits change, and programs and arenas come and go, and the oracle checks. Each
 * round ends with everything closed, the module removed, and the memory back.
 *
 * In a wild arena every program frees any page. In an owned arena each page has an owner and
 * must keep what the owner wrote. See storm.h.
 *
 * Each process derives its numbers from the seed; the scheduler still makes runs differ.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "oracle.h"
#include "runner.h"
#include "arena.h"
#include "cgroup.h"
#include "frames.h"
#include "numbers.h"
#include "storm.h"
#include "storm.skel.h"
#include "storm_hold.skel.h"

#define CGROUP "storm"
#define CGROUP_HIGH "storm_high"
#define CGROUP_RECLAIM "storm_reclaim"
#define MIB (1024 * 1024L)

/* What the third arena may cost at first, a quarter of what it requests. */
#define LIMIT (8 * MIB)

/* Length of a round, and how many there are unless --minutes says how long. */
#define ROUND_MS ((soak_minutes ? 3000L : 1500L) * patience)
#define ROUNDS (patience > 1 ? 2 : 3)

/* Pages that the machine loses to memory errors in a round. */
#define POISONED 2

enum { WILD, OWNED, LIMITED, ARENAS };

static const struct {
	__u32 pages, flags, every;
} kinds[ARENAS] = {
	[WILD] = { 4096, 0, 16 },
	[OWNED] = { 2048, BPF_F_SEGV_ON_FAULT, 16 },
	[LIMITED] = { 8192, 0, 64 },
};

struct storm_arena {
	struct storm_bpf *skel;
	volatile struct storm_shared *sh;
	char *base;
	__u32 pages;
	int fd;
};

static struct storm_arena arenas[ARENAS];
static bool has_lsm;
static long round_end;
static long limit;
static unsigned long long in_reclaim;

static bool over(void)
{
	return test_failed() || now_ms() >= round_end;
}

/*
 * Arenas
 */

static bool storm_open(struct storm_arena *a, int kind)
{
	struct storm_bpf *skel = storm_bpf__open();
	size_t len;
	int i;

	memset(a, 0, sizeof(*a));
	if (!skel)
		return false;
	if (bpf_map__set_max_entries(skel->maps.arena, kinds[kind].pages) ||
	    bpf_map__set_map_flags(skel->maps.arena, BPF_F_MMAPABLE | kinds[kind].flags) ||
	    bpf_program__set_autoload(skel->progs.storm_reclaim, has_lsm) ||
	    storm_bpf__load(skel)) {
		storm_bpf__destroy(skel);
		return false;
	}
	a->skel = skel;
	a->sh = &skel->bss->sh;
	a->fd = bpf_map__fd(skel->maps.arena);
	a->base = bpf_map__initial_value(skel->maps.arena, &len);
	a->pages = kinds[kind].pages;
	for (i = 0; i < STORM_CPUS; i++)
		a->sh->rng[i] = rnd() | 1;
	a->sh->base = (uintptr_t)a->base;
	a->sh->owned = kind == OWNED;
	/*
	 * The kernel of arm64 warns about a fault of its own code if another CPU has mapped a page
	 * there before the fault is handled. scratch.* touch what nothing else maps.
	 */
#ifndef __aarch64__
	a->sh->scratch = has_intree_nonsleepable;
#endif
	a->sh->every = kinds[kind].every;
	a->sh->pages = a->pages;

	return true;
}

static int run_sleepable(struct bpf_program *prog, __u32 n)
{
	struct { __u32 n; } ctx = { n };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));

	return bpf_prog_test_run_opts(bpf_program__fd(prog), &opts);
}

/* On the CPU that is told, by an interrupt if it is another one. */
static int run_raw(struct storm_arena *a, __u32 n, int cpu)
{
	__u64 args[1] = { n };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = args, .ctx_size_in = sizeof(args));

	if (cpu >= 0) {
		opts.flags = BPF_F_TEST_RUN_ON_CPU;
		opts.cpu = cpu;
	}

	return bpf_prog_test_run_opts(bpf_program__fd(a->skel->progs.storm_raw), &opts);
}

/* User space finds what the table of an owned arena says. */
static void check_owned(struct storm_arena *a)
{
	__u32 i, j;

	for (i = 0; i < STORM_ENTRIES; i++) {
		__u64 e = a->sh->entry[i], val;

		for (j = 0; e && j < STORM_CNT(e); j++) {
			char *page = a->base + (STORM_PGOFF(e) + j) * PAGE;
			int sig = user_read_sig(page, &val);

			ASSERT(!sig, "signal %d at an allocated page", sig);
			ASSERT_EQ(val, e + j, "what user space reads in an allocated page");
		}
	}
}

static void storm_check(struct storm_arena *a)
{
	ASSERT_EQ(a->sh->outside, 0, "allocations outside of the arena");
	ASSERT_EQ(a->sh->dirty, 0, "new pages that were not zero");
	ASSERT(!a->sh->wrong, "%llu pages did not keep what was written there, first %#llx",
	       (unsigned long long)a->sh->wrong, (unsigned long long)a->sh->bad_entry);
}

/*
 * Processes, each of which does one sort of thing
 */

/* Operations of a program that can sleep, and of one that is interrupted. */
static void work_sys(void)
{
	while (!over()) {
		struct storm_arena *a = &arenas[rnd() % ARENAS];

		run_sleepable(a->skel->progs.storm_sys, 1 + rnd() % 64);
	}
}

static void work_raw(void)
{
	while (!over())
		run_raw(&arenas[rnd() % ARENAS], 1 + rnd() % 16, (int)(rnd() % (nr_cpus + 1)) - 1);
}

/* The mapping is not inherited: each process makes its own, and unmaps it at times. */
static void work_user(void)
{
	struct storm_arena *a = &arenas[rnd() % 2 ? WILD : OWNED];
	bool owned = a == &arenas[OWNED], mapped = map_at(a->fd, a->base, a->pages);
	unsigned int i;

	while (!over()) {
		for (i = 0; i < 64 && mapped; i++) {
			char *page = a->base + rnd() % a->pages * PAGE;

			if (owned || rnd() % 2)
				user_read_sig(page + rnd() % 512 * 8, NULL);
			else
				user_write_sig(page + rnd() % 512 * 8, rnd());
		}
		switch (rnd() % 8) {
		case 0:
			munmap(a->base, a->pages * PAGE);
			mapped = false;
			break;
		case 1:
			madvise(a->base, a->pages * PAGE, MADV_DONTNEED);
			break;
		case 2:
			mprotect(a->base, a->pages * PAGE,
				 rnd() % 2 ? PROT_READ : PROT_READ | PROT_WRITE);
			break;
		default:
			if (!mapped)
				mapped = map_at(a->fd, a->base, a->pages);
		}
	}
}

/* Children that touch an arena until they are killed. */
static void work_fork(void)
{
	while (!over()) {
		struct storm_arena *a = &arenas[rnd() % 2 ? WILD : OWNED];
		pid_t pid = fork();
		uint64_t r = rnd();

		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			map_at(a->fd, a->base, a->pages);
			for (;;) {
				user_read_sig(a->base + rnd() % a->pages * PAGE, NULL);
				run_raw(a, 2, -1);
			}
		}
		usleep(1000 + r % 30000);
		if (pid > 0) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
		}
	}
}

/* Arenas and programs that are closed or killed in the middle of their work. */
static void work_life(void)
{
	while (!over()) {
		pid_t pid = fork();
		uint64_t r = rnd();
		struct arena a;

		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			oracle_pause(true);
			if (!arena_open(&a, 64 + r % 2048, 0))
				_exit(1);
			arena_alloc_once(&a, SLEEPABLE, NULL, 1 + r % 64);
			user_mark(a.base, 32, r);
			arena_free(&a, UNDER_RCU, a.base + 16 * PAGE, 32);
			if (r & 1 << 20)
				arena_attach(&(struct arena){}, a.fd, a.base, a.pages);
			if (r & 1 << 21)
				arena_close(&a);
			while (r & 1 << 22)
				arena_free(&a, UNDER_RCU, arena_alloc_once(&a, UNDER_RCU, NULL, 1),
					   1);
			_exit(0);
		}
		if (pid > 0) {
			if (r & 3 << 22) {
				usleep(r >> 30 & 0x3ffff);
				kill(pid, SIGKILL);
			}
			waitpid(pid, NULL, 0);
		}
	}
}

static void work_cpus(void)
{
	char path[64];

	while (!over() && nr_cpus > 1) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online",
			 (int)(1 + rnd() % (nr_cpus - 1)));
		write_file(path, rnd() % 2 ? "1" : "0");
		usleep(20000 + rnd() % 200000);
	}
}

/*
 * The limit of the third arena only rises: below the cgroup's usage the kernel would
 * start the OOM killer. With KASAN the usage may be more than the arena costs.
 */
static bool set_limit(long bytes)
{
	limit = bytes;

	return cg_set(CGROUP, "memory.max", limit);
}

static bool first_limit(void)
{
	long bytes = cg_get(CGROUP, "memory.current") + 2 * MIB;

	return set_limit(bytes > LIMIT ? bytes : LIMIT);
}

/* Take memory from the arenas, run shrinkers, and raise a limit that they reach. */
static void work_memory(void)
{
	while (!over()) {
		long size = read_meminfo("MemAvailable") / 4 * 1024L * (rnd() % 3);
		char *p;

		set_limit(limit + rnd() % MIB);
		if (rnd() % 2)
			write_file("/proc/sys/vm/drop_caches", "2");
		if (size) {
			p = mmap(NULL, size, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
			for (long i = 0; p != MAP_FAILED && i < size && !over(); i += PAGE)
				p[i] = 1;
			munmap(p, size);
		}
		usleep(rnd() % 100000);
	}
	cg_set(CGROUP, "memory.max", CG_MAX);
}

/* Inodes that belong to our cgroup, and that it can reclaim. */
static void make_inodes(const char *dir)
{
	struct dirent *de;
	char path[300];
	struct stat st;
	DIR *d = opendir(dir);

	while (d && !over() && (de = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s", dir, de->d_name);
		lstat(path, &st);
	}
	if (d)
		closedir(d);
}

/*
 * A process that the kernel throttles in its faults, and makes reclaim: page tables and
 * inodes are charged to it.
 */
static void work_throttled(void)
{
	struct storm_arena *a = &arenas[rnd() % 2 ? WILD : OWNED];
	int i;

	ASSERT(cg_enter(CGROUP_HIGH), "cgroup");
	while (!over()) {
		static const char *const dirs[] = {
			"/sys/module", "/sys/class/tty", "/proc/sys/vm", "/proc/sys/kernel",
		};

		make_inodes(dirs[rnd() % 4]);
		if (!map_at(a->fd, a->base, a->pages))
			continue;
		for (i = 0; i < 32 && !over(); i++)
			user_read_sig(a->base + rnd() % a->pages * PAGE, NULL);
		munmap(a->base, a->pages * PAGE);
	}
}

/* A process whose inodes are reclaimed, in itself, so that LSM programs run in reclaim. */
static void work_reclaim(void)
{
	ASSERT(cg_enter(CGROUP_RECLAIM), "cgroup");
	while (!over()) {
		make_inodes("/sys/module");
		make_inodes("/sys/class/tty");
		make_inodes("/sys/kernel/slab");
		make_inodes("/proc/sys/net/ipv4");
		make_inodes("/proc/sys/kernel");
		cg_set(CGROUP_RECLAIM, "memory.reclaim", 4 * MIB);
	}
}

/*
 * A memory error in a page of the wild arena. A pipe refers to the page meanwhile: a
 * program may free it, but it stays the same page.
 */
static void poison(struct storm_arena *a)
{
	char *page = a->base + rnd() % a->pages * PAGE;
	struct iovec iov = { page, PAGE };
	uint64_t pfn;
	int p[2];

	if (pipe(p))
		return;
	if (!user_write_sig(page, 1)) {
		pfn = pfn_of(page);
		if (pfn && vmsplice(p[1], &iov, 1, 0) == (ssize_t)PAGE && pfn_of(page) == pfn)
			offline(HARD_OFFLINE, pfn);
	}
	close(p[0]);
	close(p[1]);
}

static void work_poison(void)
{
	struct storm_arena *a = &arenas[WILD];
	int n;

	if (access(HARD_OFFLINE, W_OK) || !map_at(a->fd, a->base, a->pages))
		return;
	for (n = 0; n < POISONED && !over(); n++) {
		usleep(rnd() % (ROUND_MS * 300));
		poison(a);
	}
}

/* rmmod must fail while there are arenas. */
static void work_module(void)
{
	while (!over()) {
		int err = mod_unload();

		ASSERT(err, "the module was removed in the middle of it all");
		usleep(rnd() % 20000);
	}
}

static void (*const workers[])(void) = {
	work_sys, work_raw, work_user, work_user, work_fork, work_life, work_cpus, work_memory,
	work_module, work_throttled, work_reclaim, work_poison,
};

#define WORKERS (int)(sizeof(workers) / sizeof(*workers))

/*
 * Rounds
 */

static bool make_cgroups(void)
{
	return cg_make(CGROUP) && cg_set(CGROUP, "memory.max", CG_MAX) &&
	       cg_make(CGROUP_RECLAIM) && cg_make(CGROUP_HIGH) &&
	       cg_set(CGROUP_HIGH, "memory.high", PAGE);
}

static void open_all(void)
{
	int i;

	ASSERT(make_cgroups(), "cgroups");
	for (i = 0; i < ARENAS; i++) {
		if (i == LIMITED)
			ASSERT(cg_enter(CGROUP), "cgroup");
		ASSERT(storm_open(&arenas[i], i), "arena %d: %s", i, strerror(errno));
	}
	ASSERT(cg_enter(""), "cgroup");
	/* No program allocates yet. */
	ASSERT(first_limit(), "limit");
	for (i = 0; i < ARENAS; i++) {
		ASSERT(!storm_bpf__attach(arenas[i].skel), "attach to arena %d", i);
		if (!has_nmis())
			continue;
		arenas[i].skel->links.storm_nmi = attach_nmis(arenas[i].skel->progs.storm_nmi);
		ASSERT(arenas[i].skel->links.storm_nmi, "NMIs of arena %d", i);
	}
}

static void all_cpus_online(void)
{
	char path[64];
	int i;

	for (i = 1; i < nr_cpus; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", i);
		write_file(path, "1");
	}
}

static void blow(void)
{
	pid_t pids[WORKERS];
	int i, status, slowest = 0;
	long begin = now_ms(), late = 0;

	round_end = begin + ROUND_MS;
	fflush(stdout);
	for (i = 0; i < WORKERS; i++) {
		rnd();
		pids[i] = fork();
		if (!pids[i]) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			rng_state ^= (uint64_t)(i + 1) << 56;
			workers[i]();
			_exit(0);
		}
	}
	while (!over()) {
		for (i = 0; i < ARENAS && !over(); i++)
			oracle_load(arenas[i].fd);
		usleep(50000);
	}
	/* Nothing is won by waiting until the kernel lets the throttled one go on. */
	cg_set(CGROUP_HIGH, "memory.high", CG_MAX);
	for (i = 0; i < WORKERS; i++) {
		bool ended = wait_for(waitpid(pids[i], &status, WNOHANG) == pids[i], 20000);

		if (now_ms() - round_end > late + 100) {
			late = now_ms() - round_end;
			slowest = i;
		}
		if (!ended) {
			test_fail(__FILE__, __LINE__, "worker %d does not end", i);
			kill(pids[i], SIGKILL);
			waitpid(pids[i], &status, 0);
		} else if (status) {
			test_fail(__FILE__, __LINE__, "worker %d ended with %#x", i, status);
		}
	}
	if (late)
		printf("# storm: worker %d ended %ld ms after the round\n", slowest, late);
	all_cpus_online();
}

static const char *const cx_names[STORM_CXS] = {
	[STORM_SYS] = "sleepable", [STORM_RAW] = "test run", [STORM_ENTER] = "sys_enter",
	[STORM_SWITCH] = "sched_switch", [STORM_TIMER] = "hrtimer",
	[STORM_SOFTIRQ] = "softirq", [STORM_NMI] = "NMI", [STORM_RECLAIM] = "reclaim",
};

/* The storm was one: programs ran in each context, and got pages. */
static void check_force(int round)
{
	unsigned long long ops = 0, got = 0, none = 0, nmi = 0, reclaim = 0;
	int i, ctx;

	for (ctx = 0; ctx < STORM_CXS; ctx++) {
		unsigned long long here = 0;

		for (i = 0; i < ARENAS; i++) {
			const volatile struct storm_count *c = &arenas[i].sh->count[ctx];

			here += c->ops;
			got += c->got;
			none += c->none;
		}
		ops += here;
		nmi = ctx == STORM_NMI ? here : nmi;
		ASSERT(here || (ctx == STORM_NMI && (nr_cpus < 2 || !has_nmis())) ||
		       ctx == STORM_RECLAIM, "nothing was done in context %s", cx_names[ctx]);
	}
	for (i = 0; i < ARENAS; i++)
		reclaim += arenas[i].sh->in_reclaim;
	printf("# storm: round %d: %llu operations, %llu in NMIs; %llu allocations, %llu had nothing; %llu runs in reclaim\n",
	       round + 1, ops, nmi, got, none, reclaim);
	in_reclaim += reclaim;
	ASSERT(got > 100, "%llu allocations", got);
}

static void calm(int round)
{
	int i;

	for (i = 0; i < ARENAS; i++) {
		storm_bpf__detach(arenas[i].skel);
		storm_check(&arenas[i]);
		ASSERT_OK();
	}
	check_owned(&arenas[OWNED]);
	ASSERT_OK();
	check_force(round);
	ASSERT_OK();
	run_sleepable(arenas[OWNED].skel->progs.storm_end, 0);
	storm_check(&arenas[OWNED]);
	ASSERT_OK();
	ASSERT(wait_for(!map_pages(arenas[OWNED].fd), 10000),
	       "%ld pages left, though all were freed", map_pages(arenas[OWNED].fd));
	for (i = 0; i < ARENAS; i++) {
		oracle_rest(arenas[i].fd);
		ASSERT_OK();
	}
}

static void close_all(void)
{
	int i;

	for (i = 0; i < ARENAS; i++) {
		void *base = arenas[i].base;

		storm_bpf__destroy(arenas[i].skel);
		if (base)
			munmap(base, arenas[i].pages * PAGE);
	}
	memset(arenas, 0, sizeof(arenas));
}

/* Memory that must come back, in KiB. */
struct usage {
	long rest, slab, stacks, percpu, cgroup;
};

/*
 * Stacks of tasks. /proc/meminfo does not count those that each CPU keeps for its next task,
 * which are up to two.
 */
static long stacks_kib(void)
{
	static const char *const callers[] = {
		" kernel_clone+", " copy_process+", " dup_task_struct+", " fork_idle+",
	};
	long counted = read_meminfo("KernelStack"), pages = 0;
	FILE *f = fopen("/proc/vmallocinfo", "r");
	char line[512];
	size_t i;

	while (f && fgets(line, sizeof(line), f)) {
		const char *p = strstr(line, " pages=");

		for (i = 0; p && i < sizeof(callers) / sizeof(*callers); i++)
			if (strstr(line, callers[i]))
				pages += atol(p + 7);
	}
	if (f)
		fclose(f);
	pages *= PAGE / 1024;

	return pages > counted ? pages : counted;
}

/*
 * Memory that is neither free nor explained by /proc/meminfo: pages that code of the kernel
 * has allocated for itself, among them page tables. What is subtracted grows without the module
 * too: the kernel keeps idle kworkers for five minutes, each with a stack, and pages with memory
 * errors permanently. On x86 it splits the direct map where a page has other permissions,
 * with a page table for each 2 MiB.
 */
static long rest_kib(void)
{
	static const char *const explained[] = {
		"AnonPages", "Cached", "Buffers", "Slab", "Percpu", "HardwareCorrupted",
	};
	long kib, split;
	size_t i;

	/* CPUs count for themselves at first. */
	write_file("/proc/sys/vm/stat_refresh", "1");
	kib = read_meminfo("MemTotal") - free_kib() - stacks_kib();
	split = read_meminfo("DirectMap4k");
	for (i = 0; i < sizeof(explained) / sizeof(*explained); i++)
		kib -= read_meminfo(explained[i]);
	if (split > 0)
		kib -= split / 512;

	return kib;
}

/* Slab caches keep free objects and empty slabs for later. */
static void shrink_slabs(void)
{
	DIR *d = opendir("/sys/kernel/slab");
	char path[300];
	struct dirent *de;

	while (d && (de = readdir(d))) {
		if (de->d_type != DT_DIR || de->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", de->d_name);
		write_file(path, "1");
	}
	if (d)
		closedir(d);
}

/* Some memory is freed after a grace period, or by a worker, so wait if there is much of it. */
static void read_usage(struct usage *u, const struct usage *before)
{
	long most = before ? before->rest + 32 : LONG_MAX;

	write_file("/proc/sys/vm/drop_caches", "3");
	wait_for(rest_kib() <= most, 3000);
	shrink_slabs();
	u->rest = rest_kib();
	u->slab = read_meminfo("Slab");
	u->stacks = stacks_kib();
	u->percpu = read_meminfo("Percpu");
	u->cgroup = cg_get(CGROUP, "memory.current") / 1024;
}

static void one_round(int round, struct usage *u)
{
	long begin = now_ms(), opened, calmed;

	open_all();
	opened = now_ms();
	if (!test_failed()) {
		write_file(NMI_SOURCE, "-1 1000");
		blow();
		write_file(NMI_SOURCE, "");
		if (!test_failed())
			calm(round);
	}
	calmed = now_ms();
	close_all();
	ASSERT_OK();
	ASSERT(wait_for(!mod_unload(), 20000), "the module cannot be removed after the storm");
	read_usage(u, round ? u - 1 : NULL);
	ASSERT_EQ(mod_load(""), 0, "load");
	printf("# storm: round %d: %ld ms to open, %ld ms of storm, %ld ms to close; %ld KiB, %ld of slab, %ld of stacks\n",
	       round + 1, opened - begin, calmed - opened, now_ms() - calmed, u->rest, u->slab,
	       u->stacks);
}

/*
 * What the lower quartile of the last third of @n values, at least two, is above that of the
 * first third. Memory that is freed late makes single values too high. Sorts both thirds.
 */
static long growth(long *v, long n)
{
	long third = n / 3 ? n / 3 : 1;

	sort_longs(v, third);
	sort_longs(v + n - third, third);

	return v[n - third + third / 4] - v[third / 4];
}

/*
 * A leak shows in each round. The first round fills caches that the kernel keeps. The number of
 * kworkers rises for some ten rounds, and their slab objects with it. With few rounds the bounds
 * are higher. The kernel keeps pages, and charges in advance, so the bounds grow with the size of
 * pages.
 */
static void check_usage(const struct usage *u, int rounds)
{
	const struct usage *first = &u[1], *last = &u[rounds - 1];
	const long unit = PAGE / 4096;
	static long rest[4096], slab[4096];
	int from = rounds > 20 ? rounds / 2 : 1, i;
	long lost, slabs;

	if (rounds < 3)
		return;
	for (i = 0; i < rounds; i++) {
		rest[i] = u[i].rest;
		slab[i] = u[i].slab;
	}
	lost = growth(rest + 1, rounds - 1);
	slabs = growth(slab + from, rounds - from);
	printf("# storm: %d rounds lost %ld KiB, and %ld KiB of slab; the kernel has %ld KiB more of stacks\n",
	       rounds, lost, slabs, last->stacks - first->stacks);
	ASSERT(lost < (rounds > 20 ? 64 : 2048) * unit, "%ld KiB are lost", lost);
	ASSERT(slabs < (rounds > 20 ? 512 : 2048) * unit, "%ld KiB of slab are lost", slabs);
	ASSERT(last->percpu - first->percpu < 1024, "percpu grew by %ld KiB",
	       last->percpu - first->percpu);
	ASSERT(last->cgroup - first->cgroup < 1024 * unit, "the cgroup pays %ld KiB more",
	       last->cgroup - first->cgroup);
}

/*
 * The kernel does not free its page tables: 7.x builds those of 4 GiB when an arena gets
 * addresses that no arena had before, which are 8 MiB with pages of 4 KiB. So use more
 * addresses than the rounds do before memory is measured.
 */
static void first_arenas(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int fds[2 * ARENAS + 2], n = sizeof(fds) / sizeof(*fds), i;

	for (i = 0; i < n; i++) {
		fds[i] = bpf_map_create(BPF_MAP_TYPE_ARENA, "storm_first", 0, 0, 1, &opts);
		ASSERT(fds[i] >= 0, "arena %d: %s", i, strerror(errno));
	}
	for (i = 0; i < n; i++)
		close(fds[i]);
}

TEST_LONG(storm, all, 300,
	  "random operations from every context at once break nothing and leak nothing")
{
	struct storm_hold_bpf *hold[2];
	static struct usage u[4096];
	long end = now_ms() + soak_minutes * 60000L;
	int round, i;

	if (!has_nmis())
		printf("# storm: without NMIs on this kernel\n");
	for (i = 0; i < 2; i++) {
		hold[i] = storm_hold_bpf__open();
		ASSERT(hold[i] && !storm_hold_bpf__load(hold[i]) && !storm_hold_bpf__attach(hold[i]),
		       "hold the tracepoints");
		if (has_nmis())
			hold[i]->links.hold_nmi = attach_nmis(hold[i]->progs.hold_nmi);
	}
	/* lockdep takes any sleepable program under mmap_lock for a deadlock. */
	has_lsm = has_bpf_lsm() && !has_lockdep();
	if (!has_lsm)
		printf("# storm: without LSM programs on this kernel\n");
	printf("# storm: seed %llu\n", storm_seed);
	first_arenas();
	for (round = 0; round < 4096 && !test_failed(); round++) {
		if (soak_minutes ? now_ms() >= end : round >= ROUNDS)
			break;
		rng_state = storm_seed + (uint64_t)round * 0x5851f42d4c957f2dULL;
		one_round(round, &u[round]);
	}
	all_cpus_online();
	write_file(NMI_SOURCE, "");
	for (i = 0; i < 2; i++)
		storm_hold_bpf__destroy(hold[i]);
	if (!mod_loaded())
		mod_load("");
	ASSERT_OK();
	/* In a few rounds there may be no reclaim at all. */
	ASSERT(in_reclaim || !has_lsm || !soak_minutes, "no program ran in reclaim");
	check_usage(u, round);
}
