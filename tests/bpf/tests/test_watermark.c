// SPDX-License-Identifier: GPL-2.0
/*
 * The pages below the min watermark are for memory reclaim and for processes that are being
 * killed: the kernel lets those tasks ignore the watermark, and memory.max, too. A BPF
 * program can run in such a task. Its allocations must return NULL where those of other
 * tasks do.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "runner.h"
#include "arena.h"
#include "cgroup.h"
#include "watermark.h"
#include "watermark.skel.h"

#define CGROUP "watermark"
#define RECLAIM "/sys/fs/cgroup/memory.reclaim"
#define MIB (1024 * 1024L)
/* What charges in batches per CPU can hide. */
#define CHARGE_SLACK (2 * MIB)

#define MEMALLOC "/sys/module/anl_test/parameters/memalloc"

/* Sum over all zones of a watermark, in pages. */
static long watermark(const char *name)
{
	FILE *f = fopen("/proc/zoneinfo", "r");
	char line[256], key[32];
	long sum = 0, val;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " %31s %ld", key, &val) == 2 && !strcmp(key, name))
			sum += val;
	if (f)
		fclose(f);

	return sum;
}

/* Without the boost that the kernel gives it for a while, and that an atomic caller may use. */
static long min_watermark(void)
{
	return watermark("min") - watermark("boost");
}

/*
 * Other users of the kernel's memory take some while a program runs, and the count of
 * free pages lags behind by up to 125 pages for each CPU and zone.
 */
static long slack(long min)
{
	return min / 8 + nr_cpus * 3 * 125;
}

/*
 * The kernel reports what it does about a lack of memory, and which of the allocations of
 * a victim of the OOM killer have failed; the host has to know. The test is not what it
 * may kill.
 */
static void shortage_expected(bool begin)
{
	write_file(OOM_SCORE_ADJ, begin ? "-1000" : "0");
	oom_expected(begin);
	write_file("/dev/kmsg", begin ? "anl_test: expect allocation failures begin" :
		   "anl_test: expect allocation failures end");
}

static bool take(long pages)
{
	return mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0) != MAP_FAILED;
}

/* Take memory, little by little, until the program is done. */
static void take_all(volatile __u32 *state)
{
	while (*state != WM_DONE && take(16))
		;
}

static void end_process(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* A process with some memory, for the OOM killer if it finds no glutton. */
static pid_t scapegoat(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	write_file(OOM_SCORE_ADJ, "500");
	take(8 * MIB / PAGE);
	for (;;)
		pause();
}

/* What leaves few pages free. */
struct ballast {
	int fd;
	pid_t scapegoat;
};

static struct ballast ballast_begin(long target)
{
	struct ballast held = { .scapegoat = scapegoat() };
	char text[24];

	snprintf(text, sizeof(text), "%ld", target);
	held.fd = open("/proc/anl_ballast", O_WRONLY);
	if (held.fd < 0 || write(held.fd, text, strlen(text)) < 0)
		test_fail(__FILE__, __LINE__, "no ballast: %s", strerror(errno));

	return held;
}

static void ballast_end(struct ballast *held)
{
	close(held->fd);
	end_process(held->scapegoat);
}

/* A process that takes what is left, and is the first to be killed. */
static pid_t glutton(struct watermark_bpf *skel)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	write_file(OOM_SCORE_ADJ, "1000");
	take_all(&skel->bss->wm.state);
	for (;;)
		pause();
}

static struct watermark_bpf *load(void)
{
	struct watermark_bpf *skel = watermark_bpf__open_and_load();

	if (skel && watermark_bpf__attach(skel)) {
		watermark_bpf__destroy(skel);
		skel = NULL;
	}
	if (skel) {
		skel->bss->wm.max = WM_ARENA_PAGES / 2;
		skel->bss->wm.stop_at = min_watermark() / 4;
	}

	return skel;
}

/*
 * What the program saw. The kernel may have used some of its reserves before the program ran, as
 * when it kills a process; the program must not use more of them.
 */
static void judge(const struct wm *wm)
{
	long min = min_watermark(), floor = (long)wm->before < min ? (long)wm->before : min;

	printf("# free %llu, at least %llu, min watermark %ld; %llu pages, NULL %llu; %llu faults, failed %llu\n",
	       wm->before, wm->lowest, min, wm->got, wm->nulls, wm->faults, wm->faults_failed);
	ASSERT((long)wm->lowest >= floor - slack(min),
	       "%llu pages were left free of %llu, the min watermark is %ld", wm->lowest,
	       wm->before, min);
	ASSERT(wm->nulls == 1, "%llu pages, and no end", wm->got);
	ASSERT(!wm->lost_flag, "the task has lost PF_MEMALLOC");
}

/* Not so little that anything in the kernel notices, but soon. */
static long near_low(void)
{
	return watermark("high") + min_watermark() / 4 + 1024;
}

/* The memory comes back before anything is judged. */
static void finish(struct watermark_bpf *skel, struct ballast *held)
{
	ballast_end(held);
	shortage_expected(false);
	ASSERT_EQ(skel->bss->wm.state, WM_DONE, "state of the program");
	judge(&skel->bss->wm);
	watermark_bpf__destroy(skel);
}

/*
 * The kernel does not wake kswapd where it has reclaimed nothing for 16 times, as may be
 * after a storm, until a task reclaims something. Pages with MADV_FREE can be reclaimed
 * without swap.
 */
static bool kswapd_hopeless(void)
{
	return watermark("node_unreclaimable:") > 0;
}

static void give_kswapd_hope(void)
{
	size_t size = 16 * MIB;
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		return;
	madvise(p, size, MADV_FREE);
	write_file(RECLAIM, "8M");
	munmap(p, size);
}

TEST_LONG(watermark, kswapd, 180, "a program in kswapd does not use the emergency reserves")
{
	struct watermark_bpf *skel = load();
	struct ballast held;
	pid_t pid;
	int tries;

	ASSERT(skel, "load");
	ASSERT(cg_make(CGROUP), "cgroup");
	ASSERT(wait_for((give_kswapd_hope(), !kswapd_hopeless()), 10000), "kswapd has no hope");
	shortage_expected(true);
	held = ballast_begin(near_low());
	skel->bss->wm.armed = WM_KSWAPD;
	/* The OOM killer may be faster than kswapd. */
	for (tries = 0; tries < 20 && skel->bss->wm.state != WM_DONE; tries++) {
		pid = glutton(skel);
		wait_for(skel->bss->wm.state == WM_DONE, 3000);
		end_process(pid);
	}
	if (skel->bss->wm.state != WM_DONE)
		printf("# %ld pages free, low watermark %ld, kswapd has %shope\n",
		       watermark("nr_free_pages"), watermark("low"),
		       kswapd_hopeless() ? "no " : "");
	finish(skel, &held);
}

TEST_LONG(watermark, reclaim, 180,
	  "a program in direct reclaim does not use the emergency reserves")
{
	struct watermark_bpf *skel = load();
	struct ballast held;

	ASSERT(skel, "load");
	/* Mounts the hierarchy where the guest has not. */
	ASSERT(cg_make(CGROUP), "cgroup");
	ASSERT(!access(RECLAIM, W_OK), "no memory.reclaim: %s", strerror(errno));
	shortage_expected(true);
	held = ballast_begin(near_low());
	skel->bss->wm.tgid = getpid();
	skel->bss->wm.armed = WM_RECLAIM;
	wait_for((write_file(RECLAIM, "64K"), skel->bss->wm.state == WM_DONE), 60000);
	finish(skel, &held);
}

static void interrupt(const char *which)
{
	struct watermark_bpf *skel = load();
	struct ballast held;

	ASSERT(skel, "load");
	shortage_expected(true);
	held = ballast_begin(near_low());
	skel->bss->wm.armed = WM_INTERRUPT;
	write_file(MEMALLOC, which);
	finish(skel, &held);
}

TEST_LONG(watermark, softirq, 180,
	  "a program in a softirq with PF_MEMALLOC does not use the emergency reserves")
{
	interrupt("0");
}

TEST_LONG(watermark, hardirq, 180,
	  "a program in an interrupt with PF_MEMALLOC does not use the emergency reserves")
{
	interrupt("1");
}

static void *run_victim(void *arg)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	bpf_prog_test_run_opts(*(int *)arg, &opts);

	return NULL;
}

TEST_LONG(watermark, oom_victim, 180,
	  "a program and user faults in an OOM victim do not use the emergency reserves")
{
	struct watermark_bpf *skel = load();
	struct ballast held;
	pid_t pid;
	pthread_t t;
	size_t size;
	void *base;
	int fd;

	ASSERT(skel, "load");
	fd = bpf_program__fd(skel->progs.in_victim);
	base = bpf_map__initial_value(skel->maps.arena, &size);
	skel->bss->wm.fault_at = (unsigned long)base + (WM_ARENA_PAGES / 2) * PAGE;
	skel->bss->wm.fault_max = WM_ARENA_PAGES / 2;
	skel->bss->wm.armed = WM_VICTIM;
	shortage_expected(true);
	held = ballast_begin(near_low());
	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		write_file(OOM_SCORE_ADJ, "1000");
		/* All processes have to map an arena at the same address, by themselves. */
		if (!map_at(bpf_map__fd(skel->maps.arena), base, WM_ARENA_PAGES))
			_exit(1);
		if (!thread_on(&t, 1 % nr_cpus, run_victim, &fd))
			_exit(2);
		take_all(&skel->bss->wm.state);
		for (;;)
			pause();
	}
	wait_for(skel->bss->wm.state == WM_DONE, 90000);
	skel->bss->wm.cancel = 1;
	end_process(pid);
	ballast_end(&held);
	shortage_expected(false);
	ASSERT_EQ(skel->bss->wm.state, WM_DONE, "state of the program");
	ASSERT(skel->bss->wm.was_victim, "the process was not killed");
	judge(&skel->bss->wm);
	ASSERT_EQ(skel->bss->wm.faults_failed, 1, "faults that got no page");
	watermark_bpf__destroy(skel);
}

/* An arena of a cgroup that has 4 MiB left. */
static void limit(const char *which)
{
	struct watermark_bpf *skel;
	long max, current;

	ASSERT(cg_make(CGROUP) && cg_set(CGROUP, "memory.max", CG_MAX), "cgroup");
	ASSERT(cg_enter(CGROUP), "enter");
	skel = load();
	ASSERT(cg_enter(""), "leave");
	ASSERT(skel, "load");
	max = (cg_get(CGROUP, "memory.current") + 4 * MIB) & -PAGE;
	ASSERT(cg_set(CGROUP, "memory.max", max), "limit");
	skel->bss->wm.max = 16 * MIB / PAGE;
	skel->bss->wm.keep = 1;
	skel->bss->wm.tgid = getpid();
	skel->bss->wm.armed = which ? WM_INTERRUPT : WM_RECLAIM;
	shortage_expected(true);
	if (which)
		write_file(MEMALLOC, which);
	else
		wait_for((write_file(RECLAIM, "64K"),
			  skel->bss->wm.state == WM_DONE), 60000);
	shortage_expected(false);
	ASSERT_EQ(skel->bss->wm.state, WM_DONE, "state of the program");
	printf("# memory.max %ld; %llu pages\n", max, skel->bss->wm.got);
	ASSERT(skel->bss->wm.nulls == 1, "no end at memory.max after %llu pages",
	       skel->bss->wm.got);
	current = cg_get(CGROUP, "memory.current");
	ASSERT(current <= max, "memory.current is %ld, memory.max %ld", current, max);
	ASSERT(is_rt() || skel->bss->wm.got * PAGE > 4 * MIB - CHARGE_SLACK || which,
	       "only %llu pages fit", skel->bss->wm.got);
	ASSERT(!skel->bss->wm.lost_flag, "the task has lost PF_MEMALLOC");
	watermark_bpf__destroy(skel);
}

TEST(watermark, limit_reclaim, "a program in reclaim stays below memory.max of its arena's creator")
{
	limit(NULL);
}

TEST(watermark, limit_softirq, "a program in a softirq with PF_MEMALLOC stays below memory.max")
{
	limit("0");
}

TEST(watermark, limit_hardirq, "a program in an interrupt with PF_MEMALLOC stays below memory.max")
{
	limit("1");
}
