// SPDX-License-Identifier: GPL-2.0
/*
 * An allocation by the module can make the kernel reclaim memory in the same task. Reclaim
 * destroys inodes, and thereby runs LSM programs, which may use the arena for which the
 * module allocates. So the module must not allocate where such a program would wait for its
 * own task.
 *
 * Each test makes one path of the module allocate in a process of its own, the victim, while
 * memory is short and there are inodes to reclaim. A program attached to the destruction of
 * inodes allocates, reserves and frees in two arenas, and frees the page that the victim is
 * about to get.
 *
 * A limit makes the kernel reclaim only for allocations that are charged to the cgroup. So
 * the module's own data, for a mapping (mmap, copies) or for a batch of spans, does not reach
 * reclaim here. The module holds nothing there. The kernel holds mmap_lock for write, and
 * reclaim.in_mmap runs a program with it.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oracle.h"
#include "reclaim.h"
#include "runner.h"
#include "arena.h"
#include "cgroup.h"
#include "reclaim.skel.h"

#define CGROUP "reclaim"
#define TABLE_PAGES 512L

/* A page table of user space for each of this many accesses. */
#define TABLES 128
#define PAGES (TABLES * TABLE_PAGES)

/* What a cgroup may still take before the kernel has to reclaim. */
#define SLACK (256 * 1024L)

/* How long a victim tries to get its path into reclaim, and may stand still. */
#define TRY_MS (10000L * patience)
#define STUCK_MS (15000L * patience)

/* Runs of the program that use the arenas, in each round. */
#define BUDGET 64

/* Enough runs inside the path under test. */
#define ENOUGH 64

/* The victim's. */
struct progress {
	volatile long steps;
	volatile long rounds;
	volatile long inodes;	/* some thousands a round, which take a minute on slow kernels */
};

struct stage {
	struct arena arena[2];	/* that of the path under test, and another one */
	struct reclaim_bpf *skel[2];	/* the program for each of them */
	struct progress *p;
};

typedef void act_fn(struct stage *st, int round);

static struct reclaim_shared *sh(struct stage *st, int i)
{
	return &st->skel[i]->bss->sh;
}

/* Runs inside the module, in either program: one inode runs both. */
static unsigned long long inside(struct stage *st)
{
	return *(volatile __u64 *)&sh(st, 0)->in_module;
}

/*
 * The kernel
 */

/* Where the module's code is. */
static bool module_text(__u64 *from, __u64 *to)
{
	const char *text = read_file("/proc/modules"), *p = text;
	unsigned long long size, base;

	while (p && strncmp(p, "arena_nolock ", 13))
		p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL;
	if (!p || sscanf(p, "%*s %llu %*s %*s %*s %llx", &size, &base) != 2 || !base)
		return false;
	*from = base;
	*to = base + size;

	return true;
}

/* The name of the module's function at @ip, in a static buffer. */
static const char *module_symbol(__u64 ip)
{
	static char best[64];
	unsigned long long addr, at = 0;
	char line[256], name[64];
	FILE *f = fopen("/proc/kallsyms", "r");

	snprintf(best, sizeof(best), "?");
	while (f && fgets(line, sizeof(line), f)) {
		if (!strstr(line, "[arena_nolock]") ||
		    sscanf(line, "%llx %*c %63s", &addr, name) != 2 || addr > ip || addr < at)
			continue;
		at = addr;
		snprintf(best, sizeof(best), "%s", name);
	}
	if (f)
		fclose(f);

	return best;
}

static void show_stack(pid_t pid)
{
	char path[64], *t;

	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	t = read_file(path);
	for (t = t ? strtok(t, "\n") : NULL; t; t = strtok(NULL, "\n"))
		printf("# %s\n", t);
}

/*
 * Memory that can be reclaimed, and none besides
 */

static int walk(struct stage *st, const char *dir, int depth, int most)
{
	struct dirent *de;
	char path[512];
	struct stat sb;
	int n = 0;
	DIR *d;

	d = depth < 6 ? opendir(dir) : NULL;
	while (d && n < most && (de = readdir(d))) {
		if (de->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, de->d_name);
		if (lstat(path, &sb))
			continue;
		n++;
		st->p->inodes++;
		if (S_ISDIR(sb.st_mode))
			n += walk(st, path, depth + 1, most - n);
	}
	if (d)
		closedir(d);

	return n;
}

/* Inodes that belong to our cgroup if they were not in memory before. */
static void make_inodes(struct stage *st)
{
	walk(st, "/sys/devices", 0, 4000);
	walk(st, "/sys/class", 0, 2000);
	walk(st, "/proc/sys", 0, 2000);
}

/* Fill our cgroup with inodes, and leave it @bytes. */
static void tighten(struct stage *st, long bytes)
{
	make_inodes(st);
	cg_limit(CGROUP, bytes);
}

static void loosen(void)
{
	cg_set(CGROUP, "memory.max", CG_MAX);
}

/*
 * The stage
 */

static bool stage_program(struct stage *st, int i)
{
	struct reclaim_bpf *skel = reclaim_bpf__open();

	st->skel[i] = skel;
	if (!skel || bpf_map__set_max_entries(skel->maps.arena, st->arena[i].pages) ||
	    bpf_map__reuse_fd(skel->maps.arena, st->arena[i].fd) || reclaim_bpf__load(skel))
		return false;
	sh(st, i)->hole = (__u64)arena_page(&st->arena[i], st->arena[i].pages - 1);

	return module_text(&sh(st, i)->text, &sh(st, i)->text_end) && !reclaim_bpf__attach(skel);
}

/*
 * Two arenas, and their programs. The cgroup pays for the first one, which may have no
 * pages at its limit: in reclaim nothing more can be reclaimed.
 */
static void stage_open(struct stage *st)
{
	int i;

	if (!has_bpf_lsm())
		SKIP("this kernel runs no LSM programs");
	memset(st, 0, sizeof(*st));
	st->p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT(st->p != MAP_FAILED, "mmap");
	ASSERT(cg_make(CGROUP) && cg_set(CGROUP, "memory.max", CG_MAX), "cgroup");
	ASSERT(arena_open_in(CGROUP, &st->arena[0], PAGES), "arena of the cgroup");
	ASSERT(arena_open(&st->arena[1], 1024, 0), "another arena");
	for (i = 0; i < 2; i++)
		ASSERT(stage_program(st, i), "program %d", i);
}

/* The program runs for this process from now on. */
static void become_victim(struct stage *st, bool workers)
{
	int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (i = 0; i < 2; i++) {
		sh(st, i)->workers = workers;
		sh(st, i)->target = getpid();
	}
}

static void spend(struct stage *st)
{
	sh(st, 0)->budget = BUDGET;
	sh(st, 1)->budget = BUDGET;
}

/* About to use a page of the first arena. */
static void step(struct stage *st, char *page)
{
	sh(st, 0)->addr = (__u64)page;
	st->p->steps++;
}

static void stage_victim(struct stage *st, act_fn *act, bool workers)
{
	long end = now_ms() + TRY_MS;
	int round;

	become_victim(st, workers);
	if (!cg_enter(CGROUP))
		_exit(101);
	for (round = 0; round < 2 || (now_ms() < end && inside(st) < ENOUGH); round++) {
		spend(st);
		act(st, round);
		st->p->rounds++;
	}
	_exit(0);
}

/* Wait for the victim as long as something happens. False if it had to be killed. */
static bool watch(struct stage *st, pid_t pid)
{
	long since = now_ms(), last = -1;
	int status = 0;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		long now = st->p->steps + st->p->inodes + sh(st, 0)->calls;

		if (now != last)
			since = now_ms();
		last = now;
		if (now_ms() - since > STUCK_MS) {
			test_fail(__FILE__, __LINE__, "no progress in round %ld, step %ld",
				  st->p->rounds, st->p->steps);
			show_stack(pid);
			kill(pid, SIGKILL);
			if (!wait_for(waitpid(pid, &status, WNOHANG) == pid, 5000))
				printf("# and it survives SIGKILL\n");
			return false;
		}
		usleep(20000);
	}
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		/* As its user faults may be, unlike all else that the module allocates. */
		printf("# the victim was killed with its cgroup full\n");
	else if (status)
		test_fail(__FILE__, __LINE__, "the victim ended with %#x", status);

	return !test_failed();
}

/* After all that, both arenas are as good as new. */
static void check_arena(struct arena *a)
{
	char *p;

	arena_free(a, SLEEPABLE, a->base, a->pages);
	ASSERT(arena_settle(a, 0), "%ld pages left", arena_pages(a));
	ASSERT(oracle_rest(a->fd), "books");
	/* The lowest free addresses may be in the magazine of the other CPU. */
	ASSERT(arena_alloc(a, SLEEPABLE, a->base, 4) == a->base, "alloc");
	p = arena_alloc(a, UNDER_RCU, arena_page(a, 4), 1);
	ASSERT(p == arena_page(a, 4), "alloc under rcu");
	ASSERT_EQ(user_write_sig(arena_page(a, 5), 1), 0, "signal at a fault");
	ASSERT_EQ(user_diff(a->base, 5, 0), 0, "words that are not zero");
	arena_free(a, UNDER_RCU, a->base, 6);
	ASSERT(arena_settle(a, 0), "free not finished");
}

static void report(struct stage *st)
{
	int i;

	printf("# %ld rounds, %ld steps; the program ran %llu times, %llu of them in reclaim, %llu of these inside the module\n",
	       st->p->rounds, st->p->steps, (unsigned long long)sh(st, 0)->calls,
	       (unsigned long long)sh(st, 0)->in_reclaim, inside(st));
	for (i = 0; i < 2; i++)
		printf("# arena %d: %llu allocations, %llu reservations, %llu frees\n", i,
		       (unsigned long long)sh(st, i)->allocs,
		       (unsigned long long)sh(st, i)->reserves,
		       (unsigned long long)sh(st, i)->frees);
	for (i = 0; i < RECLAIM_DEPTH && inside(st); i++)
		if (sh(st, 0)->stack[i] >= sh(st, 0)->text &&
		    sh(st, 0)->stack[i] < sh(st, 0)->text_end)
			printf("# inside %s\n", module_symbol(sh(st, 0)->stack[i]));
}

static void stage_close(struct stage *st)
{
	int i;

	for (i = 0; i < 2; i++)
		reclaim_bpf__detach(st->skel[i]);
	for (i = 0; i < 2 && !test_failed(); i++) {
		ASSERT_EQ(sh(st, i)->dirty, 0, "pages that were not zero");
		ASSERT(inside(st) < 8 || !i || sh(st, i)->allocs, "the program has got no page");
		check_arena(&st->arena[i]);
	}
	ASSERT_OK();
	for (i = 0; i < 2; i++) {
		reclaim_bpf__destroy(st->skel[i]);
		arena_close(&st->arena[i]);
	}
}

/* Run @act in a victim until it has been in reclaim often enough. */
static void in_reclaim(struct stage *st, act_fn *act, bool workers, const char *path)
{
	unsigned long long seen;
	static char why[128];
	pid_t pid;
	bool ok;

	oom_expected(true);
	fflush(stdout);
	pid = fork();
	if (!pid)
		stage_victim(st, act, workers);
	ok = watch(st, pid);
	oom_expected(false);
	loosen();
	report(st);
	if (!ok)
		return;
	seen = inside(st);
	stage_close(st);
	ASSERT_OK();
	snprintf(why, sizeof(why), "the kernel has not reclaimed inside of %s", path);
	if (!seen)
		SKIP(why);
}

/*
 * Paths
 */

/*
 * A user fault allocates a page, or a page table of the process, or both. In every
 * other round the pages are there, and only page tables are not.
 */
static char *fault_page(struct arena *a, int i, bool tables)
{
	return arena_page(a, tables ? i * TABLE_PAGES : i / 16 * TABLE_PAGES + i % 16);
}

static void act_fault(struct stage *st, int round)
{
	struct arena *a = &st->arena[0];
	int i;

	if (round % 2)
		for (i = 0; i < TABLES; i++)
			arena_alloc_once(a, SLEEPABLE, fault_page(a, i, true), 1);
	if (!map_at(a->fd, a->base, a->pages))
		_exit(102);
	tighten(st, SLACK);
	for (i = 0; i < TABLES; i++) {
		step(st, fault_page(a, i, round % 2));
		user_write_sig(fault_page(a, i, round % 2), i);
	}
	loosen();
	step(st, NULL);
	munmap(a->base, a->pages * PAGE);
	arena_free(a, SLEEPABLE, a->base, a->pages);
}

TEST_LONG(reclaim, fault, 120,
	  "an LSM program can use an arena in reclaim by a user fault on that arena")
{
	struct stage st;

	if (has_lockdep())
		SKIP("lockdep takes any sleepable program under mmap_lock for a deadlock");
	stage_open(&st);
	ASSERT_OK();
	in_reclaim(&st, act_fault, false, "user faults");
}

/* A sleepable allocation of many pages. */
static void act_populate(struct stage *st, int round)
{
	struct arena *a = &st->arena[0];
	int i;

	tighten(st, SLACK);
	for (i = 0; i < 8; i++) {
		step(st, arena_page(a, i * 64));
		arena_alloc_once(a, SLEEPABLE, arena_page(a, i * 64), round % 2 ? 1 : 48);
	}
	loosen();
	step(st, NULL);
	arena_free(a, SLEEPABLE, a->base, a->pages);
}

TEST_LONG(reclaim, populate, 120,
	  "an LSM program can use an arena in reclaim by an allocation from that arena")
{
	struct stage st;

	stage_open(&st);
	ASSERT_OK();
	in_reclaim(&st, act_populate, false, "sleepable allocations");
}

/* The worker refills the pool of ready pages. */
static void act_refill(struct stage *st, int round)
{
	struct arena_req r = { .op = REQ_ALLOC_EACH, .cnt = 1024, .node = -1 };
	struct arena *a = &st->arena[0];
	int i;

	tighten(st, SLACK);
	for (i = 0; i < 8; i++) {
		step(st, arena_page(a, i));
		arena_run(a, nr_cpus > 1 ? HARDIRQ : UNDER_RCU, 0, &r);
		usleep(20000);
	}
	loosen();
	step(st, NULL);
	arena_free(a, SLEEPABLE, a->base, a->pages);
}

TEST_LONG(reclaim, refill, 120,
	  "an LSM program can use an arena in reclaim by the worker that fills that arena's pool")
{
	struct stage st;

	stage_open(&st);
	ASSERT_OK();
	in_reclaim(&st, act_refill, true, "the worker");
}

/* Adoption allocates the module's own data and the first ready pages. */
static void act_adopt(struct stage *st, int round)
{
	static const long slack[5] = { 4 << 20, 1 << 18, 2 << 20, 1 << 20, 1 << 19 };
	struct arena a;

	oracle_pause(true);
	/* libbpf needs more memory than the module: at first that without a limit. */
	if (!round) {
		mallopt(M_MMAP_THRESHOLD, 1 << 30);
		mallopt(M_TRIM_THRESHOLD, 1 << 30);
	} else {
		/* The limit is to be hit in adoption, neither before nor afterwards. */
		tighten(st, slack[round % 5]);
	}
	step(st, st->arena[0].base);
	if (arena_open(&a, 4096, 0)) {
		step(st, st->arena[0].base);
		arena_close(&a);
		munmap(a.base, a.pages * PAGE);
	}
	loosen();
	step(st, NULL);
}

TEST_LONG(reclaim, adopt, 120,
	  "an LSM program can use arenas in reclaim by the adoption of another arena")
{
	struct stage st;

	stage_open(&st);
	ASSERT_OK();
	in_reclaim(&st, act_adopt, true, "adoption");
}

/* A page that user space has mapped, to be freed by the program. */
static bool in_mmap_prepare(struct stage *st, int i)
{
	char *p = arena_alloc(&st->arena[i], SLEEPABLE, NULL, 1);

	if (!p)
		return false;
	user_mark(p, 1, 7);
	sh(st, i)->addr = (__u64)p;

	return true;
}

static bool in_mmap_load(struct stage *st, int i)
{
	struct reclaim_bpf *skel = reclaim_bpf__open();

	st->skel[i] = skel;
	if (!skel)
		return false;
	bpf_program__set_autoload(skel->progs.inode_gone, false);
	bpf_program__set_autoload(skel->progs.in_mmap, true);
	if (bpf_map__set_max_entries(skel->maps.arena, st->arena[i].pages) ||
	    bpf_map__reuse_fd(skel->maps.arena, st->arena[i].fd) || reclaim_bpf__load(skel))
		return false;
	sh(st, i)->hole = (__u64)arena_page(&st->arena[i], st->arena[i].pages - 1);

	return true;
}

#define IN_MMAP_ROUNDS 20

TEST_LONG(reclaim, in_mmap, 120,
	  "a program can use arenas while mmap_lock is held for write, as in reclaim by mmap and fork")
{
	long worst = 0, took;
	struct stage st = {};
	int i, round;

	for (i = 0; i < 2; i++)
		ASSERT(arena_open(&st.arena[i], 64, 0) && in_mmap_load(&st, i), "arena %d", i);
	for (round = 0; round < IN_MMAP_ROUNDS; round++) {
		for (i = 0; i < 2; i++) {
			LIBBPF_OPTS(bpf_test_run_opts, opts);

			ASSERT(in_mmap_prepare(&st, i), "alloc");
			took = now_ms();
			ASSERT(!bpf_prog_test_run_opts(bpf_program__fd(st.skel[i]->progs.in_mmap),
						       &opts), "run");
			took = now_ms() - took;
			worst = took > worst ? took : worst;
			ASSERT(arena_settle(&st.arena[i], 0), "arena %d: %ld pages left", i,
			       arena_pages(&st.arena[i]));
		}
	}
	printf("# worst %ld ms\n", worst);
	ASSERT(worst < 1500 * patience, "the program took %ld ms", worst);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(sh(&st, i)->calls, IN_MMAP_ROUNDS, "runs of the program");
		ASSERT_EQ(sh(&st, i)->allocs, IN_MMAP_ROUNDS, "allocations of the program");
		ASSERT_EQ(sh(&st, i)->reserves, IN_MMAP_ROUNDS, "reservations of the program");
		reclaim_bpf__destroy(st.skel[i]);
		arena_close(&st.arena[i]);
	}
}
