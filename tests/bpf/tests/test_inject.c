// SPDX-License-Identifier: GPL-2.0
/*
 * Allocations that fail, one at a time or a share of them, on kernels with fault injection.
 *
 * A walk repeats one operation. The n-th repetition makes the n-th allocation of this task
 * fail, until an operation has fewer than n. After each step the arena is unchanged or as
 * after success, the error is the documented one, and a retry works. Allocations of workers
 * and interrupts have no number; they fail with a probability. The runner looks for leaks
 * with kmemleak at the end.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "oracle.h"
#include "runner.h"
#include "arena.h"
#include "numbers.h"
#include "stock.skel.h"

#define DEBUGFS		"/sys/kernel/debug/"
#define PARAMETERS	"/sys/module/arena_nolock/parameters/"

/* A walk that does not end by then never will. */
#define STEPS_MAX	4000

/*
 * Fault injection
 */

static const char *const kinds[] = { "failslab", "fail_page_alloc" };

enum kind { SLAB, PAGES };

/* Open all the time, since opening a file is one of the things that can fail. */
static int nth_fd = -1, probability_fd[] = { -1, -1 };

static void inject_knob(enum kind kind, const char *knob, const char *val)
{
	char path[128];

	snprintf(path, sizeof(path), DEBUGFS "%s/%s", kinds[kind], knob);
	if (!write_file(path, val))
		test_fail(__FILE__, __LINE__, "%s: cannot write %s", path, val);
}

static void inject_probability(enum kind kind, const char *percent)
{
	ssize_t len = strlen(percent);

	if (write(probability_fd[kind], percent, len) != len)
		test_fail(__FILE__, __LINE__, "cannot write %s: %s", percent, strerror(errno));
}

#define TIMES		1000000
#define TIMES_TEXT	"1000000"

/* How many have failed. */
static long inject_failed(enum kind kind)
{
	char path[128], *text = NULL;

	snprintf(path, sizeof(path), DEBUGFS "%s/times", kinds[kind]);
	if (!wait_for(text = read_file(path), 10000)) {
		test_fail(__FILE__, __LINE__, "cannot read %s", path);
		return -1;
	}

	return TIMES - atol(text);
}

static void inject_off(void)
{
	inject_probability(SLAB, "0");
	inject_probability(PAGES, "0");
	write_file(PARAMETERS "pool_pages", "0");
	write_file(PARAMETERS "pool_max", "4096");
	write_file("/dev/kmsg", "anl_test: expect allocation failures end");
}

/* Nothing fails yet, but everything could. The kernel does not report each fault. */
static void inject_open(const char *pool_pages)
{
	char path[128];
	glob_t paths;
	size_t i;

	if (access("/proc/self/fail-nth", F_OK) || access(DEBUGFS "failslab", F_OK) ||
	    access(DEBUGFS "fail_page_alloc", F_OK))
		SKIP("the kernel has no fault injection, a debug kernel has");
	if (!glob(DEBUGFS "fail*/verbose", 0, NULL, &paths))
		for (i = 0; i < paths.gl_pathc; i++)
			write_file(paths.gl_pathv[i], "0");
	for (i = SLAB; i <= PAGES; i++) {
		inject_knob(i, "probability", "0");
		inject_knob(i, "interval", "1");
		inject_knob(i, "space", "0");
		inject_knob(i, "times", TIMES_TEXT);
		inject_knob(i, "task-filter", "Y");
		inject_knob(i, "ignore-gfp-wait", "N");
		snprintf(path, sizeof(path), DEBUGFS "%s/probability", kinds[i]);
		probability_fd[i] = open(path, O_RDWR | O_CLOEXEC);
		ASSERT(probability_fd[i] >= 0, "%s: %s", path, strerror(errno));
	}
	inject_knob(PAGES, "ignore-gfp-highmem", "N");
	inject_knob(PAGES, "min-order", "0");
	nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	ASSERT(nth_fd >= 0, "fail-nth: %s", strerror(errno));
	ASSERT(write_file(PARAMETERS "pool_pages", pool_pages), "pool_pages");
	write_file("/dev/kmsg", "anl_test: expect allocation failures begin");
	atexit(inject_off);
}

static void nth_arm(int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", n);

	if (pwrite(nth_fd, text, len, 0) != len)
		test_fail(__FILE__, __LINE__, "fail-nth takes no %d", n);
}

/* Was there an n-th allocation, and has it failed? From here on nothing fails. */
static bool nth_hit(void)
{
	char text[16] = {};
	bool hit;

	if (pread(nth_fd, text, sizeof(text) - 1, 0) <= 0) {
		test_fail(__FILE__, __LINE__, "fail-nth cannot be read");
		return false;
	}
	hit = !atoi(text);
	if (!hit)
		nth_arm(0);

	return hit;
}

/* Workers, and with @self this task and those that it starts, are those that fail. */
static void inject_tasks(bool self)
{
	struct dirent *d;
	char path[64];
	DIR *proc = opendir("/proc");

	if (self)
		write_file("/proc/self/make-it-fail", "1");
	while (proc && (d = readdir(proc))) {
		char *comm;

		snprintf(path, sizeof(path), "/proc/%.16s/comm", d->d_name);
		comm = atoi(d->d_name) > 0 ? read_file(path) : NULL;
		if (!comm || strncmp(comm, "kworker/", 8))
			continue;
		snprintf(path, sizeof(path), "/proc/%.16s/make-it-fail", d->d_name);
		write_file(path, "1");
	}
	if (proc)
		closedir(proc);
}

/* @percent of the page allocations fail: of those tasks, or all that cannot wait. */
static void inject_pages(const char *percent, bool tasks_only)
{
	inject_knob(PAGES, "ignore-gfp-wait", tasks_only ? "N" : "Y");
	inject_knob(PAGES, "task-filter", tasks_only ? "Y" : "N");
	inject_knob(PAGES, "times", TIMES_TEXT);
	inject_probability(PAGES, percent);
}

/* Ends that. Returns how many have failed. */
static long inject_pages_end(void)
{
	inject_probability(PAGES, "0");

	return inject_failed(PAGES);
}

/*
 * A program that is loaded with one system call, with nothing in it but a call to
 * allocate a page.
 */

static int one_kfunc, one_btf_fd = -1;

static void one_open(void)
{
	struct btf *vmlinux = btf__load_vmlinux_btf();
	struct btf *mod = btf__load_module_btf("arena_nolock", vmlinux);
	struct bpf_btf_info info;
	char name[64];
	__u32 id = 0, len;

	ASSERT(vmlinux && mod, "BTF");
	one_kfunc = btf__find_by_name_kind(mod, "bpf_arena_nolock_alloc_pages", BTF_KIND_FUNC);
	ASSERT(one_kfunc > 0, "no kfunc in the module's BTF");
	while (one_btf_fd < 0 && !bpf_btf_get_next_id(id, &id)) {
		int fd = bpf_btf_get_fd_by_id(id);

		memset(&info, 0, sizeof(info));
		info.name = (__u64)name;
		info.name_len = sizeof(name);
		len = sizeof(info);
		if (fd >= 0 && !bpf_btf_get_info_by_fd(fd, &info, &len) &&
		    !strcmp(name, "arena_nolock"))
			one_btf_fd = fd;
		else
			close(fd);
	}
	ASSERT(one_btf_fd >= 0, "no file descriptor of the module's BTF");
	btf__free(mod);
	btf__free(vmlinux);
}

/* The program, or -errno. */
static int one_load(int map_fd)
{
	int fds[] = { 0, one_btf_fd };
	struct bpf_insn insns[] = {
		{ .code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = BPF_REG_1,
		  .src_reg = BPF_PSEUDO_MAP_FD, .imm = map_fd },
		{ },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3, .imm = 1 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_4, .imm = -1 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_5 },
		{ .code = BPF_JMP | BPF_CALL, .src_reg = BPF_PSEUDO_KFUNC_CALL, .off = 1,
		  .imm = one_kfunc },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_SYSCALL,
		.prog_flags = BPF_F_SLEEPABLE,
		.insns = (__u64)insns,
		.insn_cnt = sizeof(insns) / sizeof(*insns),
		.license = (__u64)"GPL",
		.fd_array = (__u64)fds,
	};
	int fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));

	return fd < 0 ? -errno : fd;
}

static bool one_run(int prog)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	return !bpf_prog_test_run_opts(prog, &opts);
}

/*
 * Adoption
 */

/* The kernel's own kfuncs allocate and free on it, and user faults bring pages in. */
static void stock_works(struct arena *raw)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	struct stock_bpf *skel = stock_bpf__open();
	long pages = map_pages(raw->fd);
	char *p;

	ASSERT(skel, "open");
	bpf_program__set_autoload(skel->progs.stock_under_rcu, false);
	ASSERT(!bpf_map__reuse_fd(skel->maps.arena, raw->fd), "reuse");
	ASSERT(!stock_bpf__load(skel), "load of the stock program");
	skel->bss->req = (struct arena_req){ .op = REQ_ALLOC, .cnt = 2, .node = -1 };
	ASSERT(!bpf_prog_test_run_opts(bpf_program__fd(skel->progs.stock_sleepable), &opts), "run");
	p = (char *)*(volatile __u64 *)&skel->bss->req.ret;
	ASSERT(p >= raw->base && p < arena_page(raw, raw->pages - 1), "stock alloc: %p", p);
	ASSERT_EQ(user_write_sig(p, 5), 0, "signal on a stock page");
	ASSERT_EQ(user_write_sig(arena_page(raw, raw->pages - 1), 6), 0, "signal in a stock fault");
	skel->bss->req = (struct arena_req){ .op = REQ_FREE, .addr = (__u64)p, .cnt = 2 };
	ASSERT(!bpf_prog_test_run_opts(bpf_program__fd(skel->progs.stock_sleepable), &opts), "run");
	skel->bss->req = (struct arena_req){
		.op = REQ_FREE, .addr = (__u64)arena_page(raw, raw->pages - 1), .cnt = 1,
	};
	ASSERT(!bpf_prog_test_run_opts(bpf_program__fd(skel->progs.stock_sleepable), &opts), "run");
	/* Kernels that do not count the pages of a stock arena say 0. */
	ASSERT(!pages || wait_for(map_pages(raw->fd) == pages, 10000),
	       "%ld pages, there were %ld", map_pages(raw->fd), pages);
	stock_bpf__destroy(skel);
}

/* A way to make allocations fail, beginning with the n-th. */
struct faults {
	void (*arm)(int n);
	bool (*hit)(void);
};

static const struct faults one_fault = { nth_arm, nth_hit };

/* All of this task's after some: pages, or bytes of the slab. */
static void starve(enum kind kind, int space)
{
	char text[32];

	snprintf(text, sizeof(text), "%d", space);
	inject_knob(kind, "times", TIMES_TEXT);
	inject_knob(kind, "space", text);
	inject_probability(kind, "100");
}

static void pages_arm(int n)
{
	starve(PAGES, n - 1);
}

static bool pages_hit(void)
{
	return inject_pages_end();
}

static void slab_arm(int n)
{
	starve(SLAB, (n - 1) * 128);
}

static bool slab_hit(void)
{
	inject_probability(SLAB, "0");

	return inject_failed(SLAB);
}

static const struct faults no_pages = { pages_arm, pages_hit };
static const struct faults no_slab = { slab_arm, slab_hit };

struct adopt_walk {
	const struct faults *faults;
	int stock;	/* loads that failed, and the arena was not adopted */
	int after;	/* loads that failed, and the arena was adopted */
	int loaded;	/* loads that did without what failed */
};

/* Sixteen PTE tables, in a range of addresses that no arena has had before. */
#define ADOPT_PAGES	8192

/* One step. The arena stays, so that the next one gets another range. */
static bool adopt_step(struct adopt_walk *w, int n, int *map_fd)
{
	enum oracle_verdict v;
	struct arena raw;
	bool hit;
	int prog;

	if (!arena_stock(&raw, "inject", ADOPT_PAGES, 0)) {
		test_fail(__FILE__, __LINE__, "arena");
		return false;
	}
	*map_fd = raw.fd;
	user_mark(arena_page(&raw, 3), 2, n);
	user_mark(arena_page(&raw, 5000), 1, n);
	w->faults->arm(n);
	prog = one_load(raw.fd);
	hit = w->faults->hit();
	v = oracle_ask(raw.fd, true);
	if (v == ORACLE_BAD)
		v = oracle_rest(raw.fd) ? ORACLE_OK : ORACLE_BAD;
	/* The verifier asks several times, and does not mind the first answer. */
	if (prog >= 0 ? v != ORACLE_OK : !hit || (v != ORACLE_OK && v != ORACLE_STOCK)) {
		test_fail(__FILE__, __LINE__, "load: %s, a fault: %d, the oracle says: %s",
			  prog < 0 ? strerror(-prog) : "done", hit, oracle_text());
		return false;
	}
	if (user_unmarked(arena_page(&raw, 3), 2, n) || user_unmarked(arena_page(&raw, 5000), 1, n))
		test_fail(__FILE__, __LINE__, "pages that user space had brought in have changed");
	w->loaded += prog >= 0 && hit;
	w->stock += prog < 0 && v == ORACLE_STOCK;
	w->after += prog < 0 && v == ORACLE_OK;
	if (v == ORACLE_STOCK && (w->faults != &no_slab || !(n % 8)))
		stock_works(&raw);

	/* And the next load works, whatever this one left behind. */
	if (prog < 0)
		prog = one_load(raw.fd);
	if (prog < 0 || map_pages(raw.fd) != 3 || !one_run(prog) || map_pages(raw.fd) != 4)
		test_fail(__FILE__, __LINE__, "afterwards: program %d, %ld pages", prog,
			  map_pages(raw.fd));
	if (user_unmarked(arena_page(&raw, 3), 2, n) ||
	    user_unmarked(arena_page(&raw, 5000), 1, n) ||
	    user_diff(raw.base, 1, 0))
		test_fail(__FILE__, __LINE__, "pages have changed in adoption");
	if (!test_failed())
		oracle_rest(raw.fd);
	close(prog);
	munmap(raw.base, ADOPT_PAGES * PAGE);

	return hit;
}

/* The log says so each time, as far as it may. */
static bool adoption_failed(long mark)
{
	return strstr(klog_since(mark), "'inject': not adopted, error -12");
}

static void adopt_walk(struct adopt_walk *w, const struct faults *faults)
{
	static int fds[STEPS_MAX];
	long mark = klog_mark();
	bool hit = true;
	int n;

	inject_open("4");
	ASSERT_OK();
	write_file("/proc/self/make-it-fail", "1");
	one_open();
	ASSERT_OK();
	oracle_pause(true);
	w->faults = faults;
	for (n = 1; n < STEPS_MAX && hit && !test_failed(); n++)
		hit = adopt_step(w, n, &fds[n]);
	printf("# %d steps: %d loads failed and left a stock arena, %d an adopted one, %d did without\n",
	       n - 1, w->stock, w->after, w->loaded);
	ASSERT_OK();
	/* Kernels that fill in page tables themselves leave hardly a page to miss. */
	ASSERT(adoption_failed(mark) || (faults == &no_pages && kver >= 70000),
	       "adoption never failed");
	ASSERT(!hit, "no end after %d steps", n);
	while (--n)
		close(fds[n]);
}

TEST_LONG(inject, adopt, 300,
	  "if any one allocation of a load fails, the arena is adopted or a working stock arena")
{
	struct adopt_walk w = {};

	adopt_walk(&w, &one_fault);
	ASSERT_OK();
	/* What fails in adoption once, works when the verifier asks again. */
	ASSERT(w.stock && w.loaded > 8, "hardly anything failed");
}

TEST_LONG(inject, adopt_no_pages, 300,
	  "if a load runs out of pages at any point, the arena is adopted or a working stock arena")
{
	struct adopt_walk w = {};

	adopt_walk(&w, &no_pages);
	ASSERT_OK();
	ASSERT(w.stock > (kver < 70000 ? ADOPT_PAGES / 512 : 0), "%d loads failed", w.stock);
}

TEST_LONG(inject, adopt_no_slab, 300,
	  "if a load runs out of slab objects at any point, the arena is adopted or a working stock arena")
{
	struct adopt_walk w = {};

	adopt_walk(&w, &no_slab);
	ASSERT_OK();
	ASSERT(w.stock, "no load failed");
}

TEST_LONG(inject, adopt_again, 120,
	  "adoption succeeds after it has failed for the same arena in many ways")
{
	struct arena raw, a;
	const struct faults *faults = kver < 70000 ? &no_pages : &no_slab;
	int n, prog = -1;
	long mark = klog_mark();
	bool hit = true;

	inject_open("4");
	ASSERT_OK();
	write_file("/proc/self/make-it-fail", "1");
	one_open();
	ASSERT_OK();
	ASSERT(arena_stock(&raw, "inject", ADOPT_PAGES, 0), "arena");
	user_mark(raw.base, 40, 7);
	for (n = 1; n < STEPS_MAX && oracle_ask(raw.fd, true) == ORACLE_STOCK; n++) {
		faults->arm(n);
		prog = one_load(raw.fd);
		hit = faults->hit();
		ASSERT(prog >= 0 || hit, "load: %s", strerror(-prog));
	}
	printf("# adopted in step %d\n", n - 1);
	ASSERT(n < STEPS_MAX, "no end after %d steps", n);
	ASSERT(n > 4 && adoption_failed(mark), "adoption hardly failed");
	if (prog >= 0)
		close(prog);
	ASSERT(oracle_rest(raw.fd), "after %d steps", n);
	ASSERT(arena_attach(&a, raw.fd, raw.base, ADOPT_PAGES), "load");
	ASSERT_EQ(arena_pages(&a), 40, "populated pages");
	ASSERT_EQ(arena_unmarked(&a, SLEEPABLE, a.base, 40, 7), 0, "pages that differ for BPF");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, ADOPT_PAGES - 40) == arena_page(&a, 40),
	       "all the rest");
	arena_free(&a, SLEEPABLE, a.base, ADOPT_PAGES);
	ASSERT_EQ(arena_pages(&a), 0, "populated pages");
	arena_close(&a);
}

/*
 * In use
 */

/* The arena of a walk, with a pool that is too small for it. */
static bool walk_open(struct arena *a, __u32 pages)
{
	inject_open("16");

	return !test_failed() && arena_open(a, pages, 0);
}

/* Allocations of @cnt pages, each time with another allocation of the kernel's failing. */
static void alloc_walk(struct arena *a, enum context ctx, void *addr, __u32 cnt, int *nulls)
{
	long before = arena_pages(a);
	bool hit = true, ran;
	int n;

	for (n = 1; n < STEPS_MAX && hit; n++) {
		struct arena_req r = {
			.op = REQ_ALLOC, .addr = (__u64)addr, .cnt = cnt, .node = -1,
		};

		nth_arm(n);
		ran = arena_run(a, ctx, 0, &r);
		hit = nth_hit();
		ASSERT(ran || hit, "the program did not run");
		if (ran && r.ret) {
			char *p = (char *)r.ret;

			ASSERT(!addr || p == addr, "%p instead of %p", p, addr);
			ASSERT_EQ(arena_pages(a), before + cnt, "populated pages");
			ASSERT_EQ(user_diff(p, cnt, 0), 0, "words that are not zero");
			user_fill(p, cnt, ~0ULL);
			arena_free(a, SLEEPABLE, p, cnt);
		} else {
			/* Without a fault, a caller that can sleep gets what it wants. */
			ASSERT(hit || ctx != SLEEPABLE, "NULL in step %d", n);
			*nulls += ran;
		}
		ASSERT(arena_settle(a, before), "%ld pages after step %d, there were %ld",
		       arena_pages(a), n, before);
		ASSERT(oracle_rest(a->fd), "step %d, %u pages", n, cnt);
	}
	ASSERT(!hit, "no end after %d steps", n);
	printf("# context %d, %u pages%s: %d steps, NULL %d times\n", ctx, cnt,
	       addr ? " at an address" : "", n - 1, *nulls);
}

static void alloc_walks(enum context ctx)
{
	static const __u32 cnts[] = { 1, 37, 64 };
	int nulls = 0;
	struct arena a;
	size_t i;

	ASSERT(walk_open(&a, 2048), "load");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 10) == a.base, "alloc");
	arena_mark(&a, SLEEPABLE, a.base, 10, 3);
	for (i = 0; i < sizeof(cnts) / sizeof(*cnts); i++) {
		alloc_walk(&a, ctx, NULL, cnts[i], &nulls);
		ASSERT_OK();
		alloc_walk(&a, ctx, arena_page(&a, 1000), cnts[i], &nulls);
		ASSERT_OK();
	}
	/* Others have more than one place to get pages from. */
	ASSERT(nulls || ctx != SLEEPABLE, "no fault was ever noticed");
	ASSERT_EQ(arena_unmarked(&a, SLEEPABLE, a.base, 10, 3), 0, "other pages that differ");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 2000), "2000 pages afterwards");
	arena_close(&a);
}

TEST_LONG(inject, alloc_sleepable, 180,
	  "if any one allocation of a sleepable call fails, it returns NULL and loses nothing, or pages")
{
	alloc_walks(SLEEPABLE);
}

TEST_LONG(inject, alloc_rcu, 180,
	  "if any one allocation of a call under RCU fails, it returns NULL and loses nothing, or pages")
{
	alloc_walks(UNDER_RCU);
}

TEST_LONG(inject, alloc_softirq_off, 180,
	  "if any one allocation of a call with bottom halves off fails, it returns NULL and loses nothing, or pages")
{
	alloc_walks(BH_OFF);
}

/* How often a program is run that gets no memory for itself. */
#define RUN_TRIES 50

/*
 * One allocation while all page allocations of this task fail. A run just before has
 * left the memory that a run needs on the free lists. KASAN delays such memory, so at
 * times the run needs a new page and fails; then try again.
 */
static char *starved_alloc(struct arena *a, enum context ctx, void *addr, __u32 cnt)
{
	int tries = RUN_TRIES;
	struct arena_req r;
	bool ran;

	do {
		r = (struct arena_req){ .op = REQ_FREE };
		arena_run(a, ctx, 0, &r);
		r = (struct arena_req){
			.op = REQ_ALLOC, .addr = (__u64)addr, .cnt = cnt, .node = -1,
		};
		inject_probability(PAGES, "100");
		ran = arena_run(a, ctx, 0, &r);
		inject_probability(PAGES, "0");
	} while (!ran && --tries);
	if (!ran)
		test_fail(__FILE__, __LINE__, "the program did not run");

	return (char *)r.ret;
}

/*
 * Is the pool the only source of pages? On 7.x callers that cannot sleep have the no-lock
 * allocator, which is exempt from fault injection.
 */
static bool always_starves(enum context ctx)
{
	return ctx == SLEEPABLE || !has_intree_nonsleepable;
}

TEST_LONG(inject, starved, 60, "without free pages, callers get NULL or pages of the pool")
{
	struct arena a;
	int ctx, round;
	char *p;

	inject_open("16");
	ASSERT_OK();
	ASSERT(write_file(PARAMETERS "pool_max", "16"), "pool_max");
	ASSERT(arena_open(&a, 2048, 0), "load");
	inject_tasks(true);
	inject_pages("0", true);
	for (ctx = SLEEPABLE; ctx <= BH_OFF; ctx++) {
		bool none = always_starves(ctx);

		for (round = 0; round < 10; round++) {
			ASSERT(oracle_rest(a.fd), "before round %d in context %d", round, ctx);
			p = starved_alloc(&a, ctx, NULL, 100);
			ASSERT(p == (none ? NULL : a.base), "100 pages in context %d: %p", ctx, p);
			arena_free(&a, ctx, a.base, 2048);
			p = starved_alloc(&a, ctx, arena_page(&a, 1000), 100);
			ASSERT(p == (none ? NULL : arena_page(&a, 1000)),
			       "100 pages at an address in context %d: %p", ctx, p);
			arena_free(&a, ctx, a.base, 2048);
			ASSERT_OK();
			ASSERT(arena_settle(&a, 0), "%ld pages", arena_pages(&a));
			ASSERT(oracle_rest(a.fd), "round %d in context %d", round, ctx);

			/* Only callers that cannot sleep get pages of the pool. */
			p = starved_alloc(&a, ctx, NULL, 8);
			ASSERT(ctx == SLEEPABLE ? !p : p == a.base, "8 pages in context %d: %p",
			       ctx, p);
			ASSERT_EQ(arena_pages(&a), p ? 8 : 0, "populated pages");
			arena_free(&a, ctx, a.base, 2048);
			ASSERT(arena_settle(&a, 0), "%ld pages", arena_pages(&a));
		}
	}
	printf("# %ld page allocations failed\n", inject_pages_end());
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 2048) == a.base, "the whole arena afterwards");
	arena_close(&a);
}

static void free_walk(enum context ctx)
{
	bool hit = true, ran;
	struct arena a;
	int n, i;

	ASSERT(walk_open(&a, 2048), "load");
	for (n = 1; n < STEPS_MAX && hit; n++) {
		struct arena_req r = { .op = REQ_FREE, .addr = (__u64)a.base, .cnt = 2048 };

		/* As many runs of pages as no stack holds. */
		ASSERT(arena_alloc(&a, SLEEPABLE, a.base, 400) == a.base, "alloc");
		user_mark(a.base, 400, n);
		for (i = 0; i < 400; i += 4)
			arena_free(&a, SLEEPABLE, arena_page(&a, i), 1);
		ASSERT_EQ(arena_reserve(&a, SLEEPABLE, arena_page(&a, 500), 10), 0, "reserve");

		nth_arm(n);
		ran = arena_run(&a, ctx, 0, &r);
		hit = nth_hit();
		ASSERT(ran || hit, "the program did not run");
		if (!ran)
			arena_free(&a, ctx, a.base, 2048);
		if (ctx == SLEEPABLE)
			ASSERT_EQ(arena_pages(&a), 0, "pages on return");
		ASSERT(arena_freed(&a, ctx, a.base, 2048), "free not finished in step %d", n);
		ASSERT_EQ(arena_pages(&a), 0, "populated pages");
		ASSERT_EQ(user_diff(a.base, 400, 0), 0, "words that are not zero");
		arena_free(&a, SLEEPABLE, a.base, 2048);
		ASSERT(oracle_rest(a.fd), "step %d", n);
	}
	ASSERT(!hit, "no end after %d steps", n);
	printf("# %d steps\n", n - 1);
	arena_close(&a);
}

TEST_LONG(inject, free_sleepable, 120,
	  "a sleepable free is complete on return, whichever allocation fails")
{
	free_walk(SLEEPABLE);
}

TEST_LONG(inject, free_softirq_off, 120, "a deferred free completes, whichever allocation fails")
{
	free_walk(BH_OFF);
}

TEST_LONG(inject, reserve, 120,
	  "a reservation succeeds or changes nothing, whichever allocation fails")
{
	bool hit = true, ran;
	struct arena a;
	int n, ctx;

	ASSERT(walk_open(&a, 1024), "load");
	for (ctx = SLEEPABLE; ctx <= BH_OFF; ctx++) {
		for (n = 1, hit = true; n < STEPS_MAX && hit; n++) {
			struct arena_req r = {
				.op = REQ_RESERVE, .addr = (__u64)arena_page(&a, 100), .cnt = 300,
			};

			nth_arm(n);
			ran = arena_run(&a, ctx, 0, &r);
			hit = nth_hit();
			ASSERT(ran || hit, "the program did not run");
			if (ran)
				ASSERT_EQ((int)r.ret, 0, "reserve");
			ASSERT(oracle_rest(a.fd), "step %d", n);
			arena_free(&a, SLEEPABLE, a.base, 1024);
		}
		ASSERT(!hit, "no end after %d steps", n);
	}
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 1024) == a.base, "the whole arena");
	arena_close(&a);
}

TEST_LONG(inject, fault, 120,
	  "if any one allocation of a user fault fails, the access raises SIGBUS and loses nothing, or works")
{
	int n, sig, sigbus = 0;
	bool hit = true;
	struct arena a;
	__u64 val;

	ASSERT(walk_open(&a, 2048), "load");
	for (n = 1; n < STEPS_MAX && hit; n++) {
		/* A mapping without page tables, and a page behind which there is nothing. */
		ASSERT(!munmap(a.base, 2048 * PAGE), "munmap");
		ASSERT(map_at(a.fd, a.base, 2048), "mmap");
		nth_arm(n);
		sig = user_read_sig(arena_page(&a, 700), &val);
		hit = nth_hit();
		ASSERT(!sig || (sig == SIGBUS && hit), "signal %d in step %d", sig, n);
		sigbus += sig == SIGBUS;
		ASSERT_EQ(arena_pages(&a), !sig, "populated pages");
		ASSERT(oracle_rest(a.fd), "step %d", n);
		ASSERT_EQ(user_read_sig(arena_page(&a, 700), &val), 0, "signal afterwards");
		ASSERT_EQ(val, 0, "word");
		user_fill(arena_page(&a, 700), 1, ~0ULL);
		arena_free(&a, SLEEPABLE, a.base, 2048);
		ASSERT_EQ(arena_pages(&a), 0, "populated pages");
	}
	ASSERT(!hit, "no end after %d steps", n);
	ASSERT(sigbus, "no fault was ever noticed");
	printf("# %d steps, SIGBUS %d times\n", n - 1, sigbus);

	/* The same for a page that is there. */
	ASSERT(arena_alloc(&a, SLEEPABLE, arena_page(&a, 700), 1), "alloc");
	arena_write(&a, SLEEPABLE, arena_page(&a, 700), 33);
	for (n = 1, hit = true; n < STEPS_MAX && hit; n++) {
		ASSERT(!munmap(a.base, 2048 * PAGE), "munmap");
		ASSERT(map_at(a.fd, a.base, 2048), "mmap");
		nth_arm(n);
		sig = user_read_sig(arena_page(&a, 700), &val);
		hit = nth_hit();
		ASSERT(!sig && val == 33, "signal %d, word %llu in step %d", sig, val, n);
		ASSERT(oracle_rest(a.fd), "step %d", n);
	}
	ASSERT(!hit, "no end after %d steps", n);
	arena_close(&a);
}

/* An mmap for each of its allocations, which fails. Counts steps, and errors of mmap. */
static void walk_mmap(struct arena *a, int *steps, int *failed)
{
	bool hit = true, ok;
	int n, err;

	for (n = 1; n < STEPS_MAX && hit; n++) {
		user_unmarked(a->base, 20, 8);
		ASSERT(!munmap(a->base, 2048 * PAGE), "munmap");
		nth_arm(n);
		ok = map_at(a->fd, a->base, 2048);
		err = errno;
		hit = nth_hit();
		ASSERT(ok || hit, "mmap: %s", strerror(err));
		if (!ok) {
			ASSERT_EQ(err, ENOMEM, "error");
			++*failed;
			ASSERT(oracle_rest(a->fd), "step %d", n);
			ASSERT(map_at(a->fd, a->base, 2048), "mmap afterwards");
		}
		ASSERT(oracle_rest(a->fd), "step %d", n);
		ASSERT_EQ(user_unmarked(a->base, 20, 8), 0, "pages that differ");
	}
	ASSERT(!hit, "no end after %d steps", n);
	*steps += n - 1;
}

TEST_LONG(inject, mmap, 240,
	  "if any one allocation of an mmap fails, it returns ENOMEM, and the next mmap works")
{
	int steps = 0, failed = 0, i;
	struct arena a;

	ASSERT(walk_open(&a, 2048), "load");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 20) == a.base, "alloc");
	arena_mark(&a, SLEEPABLE, a.base, 20, 8);
	/* Kernel caches that run empty between two steps make a walk pass over an allocation. */
	for (i = 0; i < 4; i++) {
		walk_mmap(&a, &steps, &failed);
		ASSERT_OK();
	}
	ASSERT(failed, "no fault was ever noticed");
	printf("# %d steps, ENOMEM %d times\n", steps, failed);
	arena_close(&a);
}

TEST_LONG(inject, refill, 60,
	  "callers get NULL while the worker gets no pages, and pages once it does")
{
	struct arena a;
	long failed;
	int i;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(walk_open(&a, 4096), "load");
	inject_pages("100", true);
	/* Each burst takes what is there, and the worker tries to get more. */
	for (i = 0; i < 200 && inject_failed(PAGES) < 10; i++) {
		struct arena_req r = { .op = REQ_ALLOC_EACH, .cnt = 16, .node = -1 };

		/* There may be other workers by now. */
		if (!(i % 8))
			inject_tasks(false);
		if (!arena_run(&a, HARDIRQ, 0, &r))
			continue;
		ASSERT(r.ret <= 16, "%llu pages", r.ret);
		usleep(10000);
		arena_free(&a, HARDIRQ, a.base, 4096);
	}
	failed = inject_pages_end();
	printf("# %d bursts, %ld page allocations failed\n", i, failed);
	ASSERT(failed, "no page allocation failed");
	ASSERT(arena_settle(&a, 0), "%ld pages at the end", arena_pages(&a));
	ASSERT(oracle_rest(a.fd), "afterwards");
	ASSERT(arena_alloc(&a, HARDIRQ, NULL, 16), "16 pages in an interrupt afterwards");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 4000), "4000 pages afterwards");
	arena_close(&a);
}

#define LEAK_ROUNDS 15
#define LEAK_REPEAT 100
#define LEAK_TRIES (10 * LEAK_REPEAT)

/*
 * A page that is lost is in no book; only the kernel has one less. Slabs count as free,
 * since KASAN keeps what was in them for a while; kmemleak looks after those.
 */
static void leak_rounds(struct arena *a, bool (*fail)(struct arena *a, int n), int n)
{
	const long limit = LEAK_REPEAT * 2;	/* one page each time would be twice that */
	long lost[LEAK_ROUNDS], before, sum = 0;
	int round, i, tries;

	for (round = 0; round < LEAK_ROUNDS; round++) {
		before = free_kib() + read_meminfo("Slab");
		/* At times the kernel needs memory for the run itself, which counts as well. */
		for (i = 0, tries = LEAK_TRIES; i < LEAK_REPEAT && tries; tries--)
			i += fail(a, n);
		ASSERT_EQ(i, LEAK_REPEAT, "failures");
		ASSERT(oracle_rest(a->fd), "round %d", round);
		lost[round] = before - free_kib() - read_meminfo("Slab");
		sum += lost[round];
	}
	sort_longs(lost, LEAK_ROUNDS);
	printf("# lost in a round: %ld to %ld KiB, typically %ld, in all %ld\n", lost[0],
	       lost[LEAK_ROUNDS - 1], lost[LEAK_ROUNDS / 2], sum);
	/* What is lost shows in most rounds and in the end; the kernel's own ups and downs do not. */
	ASSERT(lost[LEAK_ROUNDS / 2] < limit || sum < limit * LEAK_ROUNDS,
	       "a round typically loses %ld KiB, and all of them %ld", lost[LEAK_ROUNDS / 2], sum);
	ASSERT_EQ(arena_pages(a), 0, "populated pages");
}

/* The last of 16 + 16 + 4 + 1 pages. */
static bool fail_nth(struct arena *a, int n)
{
	struct arena_req r = { .op = REQ_ALLOC, .cnt = 37, .node = -1 };
	bool ran;

	nth_arm(n);
	ran = arena_run(a, SLEEPABLE, 0, &r);
	nth_hit();
	if (ran && !r.ret)
		return true;
	arena_free(a, SLEEPABLE, a->base, a->pages);

	return false;
}

/* Rather than once, because the kernel happened to need a page for itself? */
static bool fails_often(struct arena *a, int n)
{
	int i, failed = 0;

	for (i = 0; i < 16; i++)
		failed += fail_nth(a, n);

	return failed >= 3;
}

static bool fail_starved(struct arena *a, int n)
{
	return !starved_alloc(a, BH_OFF, NULL, n);
}

TEST_LONG(inject, pages_come_back, 120,
	  "an allocation that fails half-way many times leaks no memory")
{
	struct arena a;
	int n;

	inject_open("16");
	ASSERT_OK();
	ASSERT(write_file(PARAMETERS "pool_max", "16"), "pool_max");
	ASSERT(arena_open(&a, 1024, 0), "load");
	for (n = 1; n < 100 && !fails_often(&a, n); n++)
		;
	ASSERT(n < 100, "the allocation fails with none of its pages");
	leak_rounds(&a, fail_nth, n);
	ASSERT_OK();
	if (always_starves(BH_OFF)) {
		inject_tasks(true);
		inject_pages("0", true);
		leak_rounds(&a, fail_starved, 100);
		ASSERT_OK();
	}
	arena_close(&a);
}

/*
 * A part of the allocations fails, in all contexts at once
 */

struct churn {
	struct arena *arena;
	enum context ctx;
	int slot;
	atomic_bool *stop;
	unsigned long ran, failed, bad;
};

static void *churn_bpf(void *arg)
{
	struct churn *c = arg;

	while (!atomic_load(c->stop)) {
		struct arena_req r = {
			.op = REQ_CHURN, .addr = (__u64)arena_page(c->arena, 1024), .cnt = 40,
			.node = -1, .val = c->slot,
		};

		if (!arena_run(c->arena, c->ctx, c->slot, &r))
			continue;
		c->ran += 40;
		c->failed += r.addr;
		c->bad += r.ret;
	}

	return NULL;
}

/* The frame of a signal goes to the stack; if that cannot grow, it is another signal. */
static void churn_stack(void)
{
	volatile char deep[64 * 1024];
	size_t i;

	for (i = 0; i < sizeof(deep); i += PAGE)
		deep[i] = 1;
}

/* Blocks in the upper half, from a caller that can sleep, and their frees. */
static void *churn_blocks(void *arg)
{
	struct churn *c = arg;
	int i;

	churn_stack();
	for (i = 0; !atomic_load(c->stop); i++) {
		char *p = arena_page(c->arena, 1024 + i % 8 * 64);
		struct arena_req r = {
			.op = REQ_ALLOC, .addr = (__u64)p, .cnt = 60, .node = -1,
		};

		if (!arena_run(c->arena, SLEEPABLE, c->slot, &r))
			continue;
		c->ran++;
		/* A page of another thread may be in the way. */
		if (!r.ret) {
			c->failed++;
			continue;
		}
		c->bad += user_read_sig(p + 59 * PAGE, &r.val) == SIGSEGV || r.val;
		user_write_sig(p + 59 * PAGE, ~0ULL);
		r = (struct arena_req){ .op = REQ_FREE, .addr = (__u64)p, .cnt = 60 };
		arena_run(c->arena, i % 2 ? BH_OFF : SLEEPABLE, c->slot, &r);
	}

	return NULL;
}

static void *churn_fault(void *arg)
{
	struct churn *c = arg;
	int i, sig;

	churn_stack();
	for (i = 0; !atomic_load(c->stop); i++) {
		char *p = arena_page(c->arena, 1600 + i % 256);

		sig = user_write_sig(p, i);
		c->ran++;
		c->failed += sig == SIGBUS;
		c->bad += sig && sig != SIGBUS;
		if (i % 256 == 255) {
			struct arena_req r = {
				.op = REQ_FREE, .addr = (__u64)arena_page(c->arena,
									  1600), .cnt = 256,
			};

			arena_run(c->arena, SLEEPABLE, c->slot, &r);
		}
	}

	return NULL;
}

#define CHURN_ASKED 100

static void churn(const char *percent, bool tasks_only)
{
	static void *(*const fns[])(void *) = {
		churn_bpf, churn_bpf, churn_bpf, churn_bpf, churn_blocks, churn_fault,
	};
	struct churn c[6] = {
		{ .ctx = SLEEPABLE }, { .ctx = UNDER_RCU }, { .ctx = BH_OFF }, { .ctx = HARDIRQ },
	};
	atomic_bool stop = false;
	pthread_t threads[6];
	unsigned long bad = 0;
	struct arena a;
	long failed;
	int i;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(walk_open(&a, 2048), "load");
	if (tasks_only)
		inject_tasks(true);
	inject_pages(percent, tasks_only);
	for (i = 0; i < 6; i++) {
		c[i].arena = &a;
		c[i].slot = i + 1;
		c[i].stop = &stop;
		/* Stacks are allocated as well. */
		while (!thread_on(&threads[i], i % nr_cpus, fns[i], &c[i]))
			usleep(1000);
	}
	for (i = 0; i < CHURN_ASKED && !test_failed(); i++) {
		/* The oracle's own memory may be what fails; then it has not been asked. */
		if (oracle_ask(a.fd, false) == ORACLE_BAD)
			test_fail(__FILE__, __LINE__, "the oracle says: %s", oracle_text());
		usleep(20000);
	}
	atomic_store(&stop, true);
	for (i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
	failed = inject_pages_end();
	for (i = 0; i < 6; i++) {
		printf("# thread %d: %lu rounds, %lu without memory, %lu wrong\n", i, c[i].ran,
		       c[i].failed, c[i].bad);
		bad += c[i].bad;
	}
	printf("# %ld page allocations failed\n", failed);
	ASSERT(failed, "no page allocation failed");
	ASSERT_EQ(bad, 0, "rounds that went wrong");
	ASSERT_OK();
	ASSERT(arena_reset(&a), "the arena does not get empty");
	ASSERT(oracle_rest(a.fd), "at the end");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 2048) == a.base, "the whole arena");
	ASSERT_EQ(user_diff(a.base, 2048, 0), 0, "words that are not zero");
	arena_close(&a);
}

TEST_LONG(inject, churn, 120,
	  "no page is lost while a third of the page allocations of sleepable callers and workers fails")
{
	churn("30", true);
}

TEST_LONG(inject, churn_atomic, 120,
	  "no page is lost while half of the allocations that cannot wait fail")
{
	churn("50", false);
}
