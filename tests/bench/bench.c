// SPDX-License-Identifier: GPL-2.0
/*
 * The bench, as it runs in a guest: the kernel's own arena against one that the
 * module has adopted, taking turns in one boot, with the same program text.
 *
 * On stdout, fields separated by tabs, "-" for what there is none of:
 *	RESULT name unit better in-tree module target remark
 *	POINT plot x in-tree module
 * "better" is less or more; "target" is x5 (that many times better than in tree),
 * max2 or min99.9 (of the module's own figure). Lines with "# " are for people.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <getopt.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bench.h"
#include "bench_intree.skel.h"
#include "bench_module.skel.h"

#define PAGE 4096ULL
#define MAX_RUNS 64
#define NONE NAN
#define INSTRUMENT "/sys/module/anl_bench/parameters/"
/* Of the test module. */
#define NMI_SOURCE "/sys/module/anl_test/parameters/nmi"
#define PARAM "/sys/module/arena_nolock/parameters/"

enum { INTREE, MODULE, SIDES };
enum { SLEEPABLE, UNDER_RCU, ATOMIC, TOUCH, PROGS };

static const char *const side_names[SIDES] = { "in tree", "module" };

static bool quick, icount, intree_atomic;
static int runs, nr_cpus;
static double zero_ns;

/*
 * Output
 */

__attribute__((format(printf, 1, 2)))
static void note(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

__attribute__((noreturn, format(printf, 1, 2)))
static void die(const char *fmt, ...)
{
	va_list ap;

	printf("# FAILED: ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	exit(1);
}

static const char *num(double v)
{
	static char bufs[8][32];
	static int next;
	char *buf = bufs[next++ % 8];

	if (isnan(v) || isinf(v))
		return "-";
	snprintf(buf, sizeof(bufs[0]), fabs(v) < 100 ? "%.3g" : "%.0f", v);

	return buf;
}

struct result {
	const char *unit;
	const char *better;
	const char *target;
	double v[SIDES];
};

/* The format is that of the remark. */
__attribute__((format(printf, 3, 4)))
static void result(const char *name, struct result r, const char *fmt, ...)
{
	char remark[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(remark, sizeof(remark), fmt, ap);
	va_end(ap);
	printf("RESULT\t%s%s\t%s\t%s\t%s\t%s\t%s\t%s\n", icount ? "icount." : "", name,
	       icount && !strcmp(r.unit, "ns") ? "instructions" : r.unit,
	       r.better ?: "less", num(r.v[INTREE]), num(r.v[MODULE]),
	       r.target ?: "-", remark[0] ? remark : "-");
}

static void point(const char *plot, double x, double intree, double module)
{
	printf("POINT\t%s\t%s\t%s\t%s\n", plot, num(x), num(intree), num(module));
}

/*
 * What the kernel tells
 */

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

static char *read_text(const char *path)
{
	static __thread char buf[1 << 16];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	if (fd >= 0)
		close(fd);
	if (n < 0)
		die("%s: %s", path, strerror(errno));
	buf[n] = 0;

	return buf;
}

__attribute__((format(printf, 2, 3)))
static void write_text(const char *path, const char *fmt, ...)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), n;
	char buf[64];
	va_list ap;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if (fd < 0 || write(fd, buf, n) < 0)
		die("%s: %s", path, strerror(errno));
	close(fd);
}

static double read_num(const char *path)
{
	return atof(read_text(path));
}

/* Time that all CPUs together have not been idle. */
static double busy_us(void)
{
	double idle = read_num(INSTRUMENT "idle_us");

	return nr_cpus * now_us() - idle;
}

static double meminfo_kib(const char *key)
{
	char *p = strstr(read_text("/proc/meminfo"), key);

	return p ? atof(p + strlen(key) + 1) : NONE;
}

/* Function calls sent to other CPUs, as TLB flushes of kernel addresses are. */
static double ipis(void)
{
	char *p = strstr(read_text("/proc/interrupts"), "CAL:"), *end;
	double sum = 0;

	for (p = p ? p + 4 : ""; *p && *p != '\n'; p = end) {
		double v = strtod(p, &end);

		if (end == p)
			break;
		sum += v;
	}

	return sum;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity: %s", strerror(errno));
}

/* Until all CPUs are idle, so that nothing is left of what was before. */
static void settle(void)
{
	double end = now_us() + 60e6, t, b;

	usleep(2000);
	do {
		t = now_us();
		b = busy_us();
		usleep(5000);
		t = now_us() - t;
		b = busy_us() - b;
	} while (b > t * 0.2 && now_us() < end);
	if (now_us() >= end)
		note("the system has not come to rest in a minute");
}

/*
 * Numbers
 */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

struct sample {
	double v[MAX_RUNS];
	int n;
};

static void add(struct sample *s, double v)
{
	if (s->n < MAX_RUNS)
		s->v[s->n++] = v;
}

static double median(struct sample *s)
{
	qsort(s->v, s->n, sizeof(s->v[0]), by_value);
	return s->n ? s->v[s->n / 2] : NONE;
}

static double smallest(struct sample *s)
{
	qsort(s->v, s->n, sizeof(s->v[0]), by_value);
	return s->n ? s->v[0] : NONE;
}

/* What zeroing takes changes with what else the host does; so it is asked often. */
static void zero_measure(void)
{
	struct sample s = {};
	int i;

	for (i = 0; i < 5; i++)
		add(&s, read_num(INSTRUMENT "zero_ns"));
	zero_ns = median(&s);
}

/* Without the time that zeroing pages takes, as far as that was in it. */
static double unzeroed(double ns, double pages)
{
	return isnan(ns) ? NONE : fmax(ns - pages * zero_ns, 1);
}

/*
 * Arenas
 */

struct arena {
	int side;
	struct bpf_object *obj;
	volatile struct bench_shared *sh;
	__u64 base;
	int map_fd;
	int fds[PROGS];
	struct bpf_link *link;
};

static const char *const prog_names[PROGS] = {
	"sleepable", "under_rcu", "atomic", "touch",
};

/* In which contexts are there kfuncs to be measured? */
static bool runs_in(int side, int prog)
{
	return side == MODULE || prog == SLEEPABLE || prog == TOUCH || intree_atomic;
}

static struct bpf_object *open_object(int side)
{
	struct bpf_object *obj;
	const void *elf;
	size_t size;

	elf = side == INTREE ? bench_intree_bpf__elf_bytes(&size) :
			       bench_module_bpf__elf_bytes(&size);
	obj = bpf_object__open_mem(elf, size, NULL);
	if (!obj)
		die("the BPF object: %s", strerror(errno));

	return obj;
}

static void arena_open(struct arena *a, int side, __u32 pages)
{
	struct bpf_program *p;
	struct bpf_map *map;
	size_t size;
	int i;

	memset(a, 0, sizeof(*a));
	a->side = side;
	a->obj = open_object(side);
	map = bpf_object__find_map_by_name(a->obj, "arena");
	bpf_map__set_max_entries(map, pages);
	bpf_object__for_each_program(p, a->obj)
		if (!runs_in(side, ATOMIC) && strcmp(bpf_program__name(p), "sleepable") &&
		    strcmp(bpf_program__name(p), "touch"))
			bpf_program__set_autoload(p, false);
	if (bpf_object__load(a->obj))
		die("load, %s: %s", side_names[side], strerror(errno));
	a->map_fd = bpf_map__fd(map);
	a->base = (__u64)bpf_map__initial_value(map, &size);
	a->sh = bpf_map__initial_value(bpf_object__find_map_by_name(a->obj, ".bss"), &size);
	if (!a->base || !a->sh)
		die("no memory map");
	for (i = 0; i < PROGS; i++) {
		p = bpf_object__find_program_by_name(a->obj, prog_names[i]);
		a->fds[i] = bpf_program__fd(p);
	}
}

static void arena_close(struct arena *a)
{
	bpf_link__destroy(a->link);
	bpf_object__close(a->obj);
	memset(a, 0, sizeof(*a));
}

static void arena_attach(struct arena *a, const char *prog)
{
	a->link = bpf_program__attach(bpf_object__find_program_by_name(a->obj, prog));
	if (!a->link)
		die("attach %s: %s", prog, strerror(errno));
}

/* Both, or the module's alone where the kernel's has nothing to show. */
static int arenas_open(struct arena *a, __u32 pages, int prog)
{
	int side, first = runs_in(INTREE, prog) ? INTREE : MODULE;

	for (side = first; side < SIDES; side++)
		arena_open(&a[side], side, pages);
	settle();

	return first;
}

static void arenas_close(struct arena *a, int first)
{
	int side;

	for (side = first; side < SIDES; side++)
		arena_close(&a[side]);
	settle();
}

/* Pages in the arena, as bpftool map show tells them. */
static long arena_pages(struct arena *a)
{
	char path[64], *p;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", a->map_fd);
	p = strstr(read_text(path), "memlock:");

	return p ? atol(p + strlen("memlock:")) / (long)PAGE : -1;
}

static void run_prog(struct arena *a, int prog, __u64 slot)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &slot, .ctx_size_in = sizeof(slot));

	if (bpf_prog_test_run_opts(a->fds[prog], &opts))
		die("%s of %s: %s", prog_names[prog], side_names[a->side], strerror(errno));
}

struct todo {
	__u32 op, n, cnt, step;
	__u64 addr;
};

static volatile struct bench_slot *set_slot(struct arena *a, int slot, struct todo t)
{
	volatile struct bench_slot *s = &a->sh->slot[slot];

	s->n = t.n ?: 1;
	s->cnt = t.cnt ?: 1;
	s->step = t.step ?: 1;
	s->addr = t.addr;
	s->alloc_ns = s->free_ns = s->done = s->failed = s->before = 0;
	s->hits = s->hits_failed = 0;
	__atomic_store_n(&s->op, t.op, __ATOMIC_SEQ_CST);

	return s;
}

/* On CPU 0, where the caller is. */
static volatile struct bench_slot *run(struct arena *a, int prog, struct todo t)
{
	volatile struct bench_slot *s = set_slot(a, 0, t);

	run_prog(a, prog, 0);

	return s;
}

/*
 * Cases
 */

struct times {
	struct sample alloc[SIDES], free[SIDES];
	double done[SIDES], failed[SIDES];
};

/* Bursts of single calls from a reserve that has had time to fill; ns for a call. */
static int measure_bursts(struct times *t, struct arena *a, int prog, int rounds, int cnt)
{
	int first = runs_in(INTREE, prog) ? INTREE : MODULE, i, side;

	memset(t, 0, sizeof(*t));
	for (i = 0; i < rounds + 2; i++) {
		for (side = first; side < SIDES; side++) {
			volatile struct bench_slot *s;

			settle();
			s = run(&a[side], prog, (struct todo){ .op = OP_BURST, .cnt = cnt });
			t->failed[side] += s->failed;
			if (i < 2)
				continue;
			add(&t->alloc[side], s->alloc_ns / (double)BENCH_BURST);
			add(&t->free[side], s->free_ns / (double)BENCH_BURST);
		}
	}

	return first;
}

static void case_single(void)
{
	static const struct {
		int prog;
		const char *name, *alloc_target, *free_target;
		int zeroed;	/* by the module's call, not by its worker */
	} kinds[] = {
		{ ATOMIC, "", "x5", "x2", 0 },
		{ SLEEPABLE, ".sleepable", "-", "-", 1 },
	};
	struct arena a[SIDES];
	struct sample empty = {};
	struct times t;
	size_t k;
	int i, first;

	for (k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
		double alloc[SIDES], freed[SIDES], none;
		char name[64];

		first = arenas_open(a, 1 << 16, kinds[k].prog);
		measure_bursts(&t, a, kinds[k].prog, runs * 3, 1);
		for (i = 0, empty.n = 0; i < 5; i++)
			add(&empty, run(&a[MODULE], kinds[k].prog, (struct todo){ .op = OP_EMPTY })
				    ->alloc_ns / (double)BENCH_BURST);
		arenas_close(a, first);
		none = median(&empty);
		for (i = 0; i < SIDES; i++) {
			alloc[i] = median(&t.alloc[i]);
			freed[i] = median(&t.free[i]);
		}
		snprintf(name, sizeof(name), "alloc1%s", kinds[k].name);
		result(name, (struct result){ "ns", "less", kinds[k].alloc_target,
					      { alloc[INTREE], alloc[MODULE] } },
		       "zeroing %s%% / %s%%; fastest burst %s / %s; loop and clock %s; failed %s / %s",
		       num(100 * zero_ns / alloc[INTREE]),
		       num(100 * zero_ns * kinds[k].zeroed / alloc[MODULE]),
		       num(smallest(&t.alloc[INTREE])), num(smallest(&t.alloc[MODULE])),
		       num(none), num(t.failed[INTREE]), num(t.failed[MODULE]));
		snprintf(name, sizeof(name), "alloc1%s.unzeroed", kinds[k].name);
		result(name, (struct result){ "ns", "less", NULL,
					      { unzeroed(alloc[INTREE], 1),
						unzeroed(alloc[MODULE], kinds[k].zeroed) } },
		       "zeroing subtracted");
		snprintf(name, sizeof(name), "free1%s", kinds[k].name);
		result(name, (struct result){ "ns", "less", kinds[k].free_target,
					      { freed[INTREE], freed[MODULE] } },
		       "the call alone; fastest burst %s / %s", num(smallest(&t.free[INTREE])),
		       num(smallest(&t.free[MODULE])));
	}
}

/*
 * An arena for loops is not larger than memory: what is freed may wait for long, and
 * while there is room nothing bounds that. Who finds none waits too.
 */
#define LOOP_PAGES (1 << 15)
#define BACK_OFF_US 200

static void case_loop(void)
{
	double seconds = quick ? 0.5 : icount ? 0.05 : 3, per_cpu[SIDES], per_s[SIDES];
	struct sample cpu[SIDES] = {}, wall[SIDES] = {};
	double failed[SIDES] = { NONE, NONE };
	struct arena a[SIDES];
	int first, side, i;

	first = arenas_open(a, LOOP_PAGES, ATOMIC);
	/* Is the measure right? The first should be none, the second one. */
	{
		double t = now_us(), b = busy_us();

		usleep(500000);
		note("doing nothing keeps %s CPUs busy", num((busy_us() - b) / (now_us() - t)));
		t = now_us();
		b = busy_us();
		run(&a[MODULE], SLEEPABLE, (struct todo){ .op = OP_SPIN, .addr = 500000000 });
		note("one CPU's work keeps %s CPUs busy", num((busy_us() - b) / (now_us() - t)));
	}
	for (i = 0; i < (quick ? 1 : 3); i++) {
		for (side = first; side < SIDES; side++) {
			double begin, busy, t, b, done = 0;

			failed[side] = 0;
			settle();
			begin = now_us();
			busy = busy_us();
			while (now_us() - begin < seconds * 1e6) {
				volatile struct bench_slot *s;

				s = run(&a[side], ATOMIC, (struct todo){ .op = OP_LOOP, .n = 500 });
				done += s->done;
				if (s->failed)
					usleep(BACK_OFF_US);
				failed[side] += s->failed;
			}
			t = now_us();
			b = busy_us();
			add(&wall[side], done / (t - begin) * 1e6);
			/* What was put off has to be paid for as well. */
			settle();
			add(&cpu[side], done / (busy_us() - busy) * 1e6);
			note("%s: %s CPUs busy during the loop, %s s of CPU in %s s afterwards",
			     side_names[side], num((b - busy) / (t - begin)),
			     num((busy_us() - b) / 1e6), num((now_us() - t) / 1e6));
		}
	}
	arenas_close(a, first);
	for (side = 0; side < SIDES; side++) {
		per_cpu[side] = median(&cpu[side]);
		per_s[side] = median(&wall[side]);
	}
	result("loop1", (struct result){ "1/s of CPU", "more", "x1.5",
					 { per_cpu[INTREE], per_cpu[MODULE] } },
	       "all CPUs' time, workers included; zeroing %s%% / %s%%; no room %s / %s times",
	       num(zero_ns * per_cpu[INTREE] / 1e7), num(zero_ns * per_cpu[MODULE] / 1e7),
	       num(failed[INTREE]), num(failed[MODULE]));
	result("loop1.unzeroed", (struct result){ "1/s of CPU", "more", NULL,
		{ 1e9 / unzeroed(1e9 / per_cpu[INTREE], 1),
		  1e9 / unzeroed(1e9 / per_cpu[MODULE], 1) } }, "zeroing subtracted");
	result("loop1.wall", (struct result){ "1/s", "more", NULL,
					      { per_s[INTREE], per_s[MODULE] } },
	       "by the clock on the wall");
}

/* One call for many pages. */
static int measure_bulk(struct times *t, struct arena *a, int prog, int rounds, int cnt)
{
	int first = runs_in(INTREE, prog) ? INTREE : MODULE, i, side;

	memset(t, 0, sizeof(*t));
	for (i = 0; i < rounds + 1; i++) {
		for (side = first; side < SIDES; side++) {
			volatile struct bench_slot *s;
			double ns;

			settle();
			s = run(&a[side], prog, (struct todo){ .op = OP_ALLOC, .cnt = cnt });
			ns = s->alloc_ns;
			t->failed[side] += s->failed;
			if (s->failed)
				continue;
			settle();
			s = run(&a[side], prog, (struct todo){ .op = OP_RANGE, .cnt = cnt,
				.addr = a[side].sh->pages[0][0] });
			if (!i && rounds > 1)
				continue;
			add(&t->alloc[side], ns);
			add(&t->free[side], s->free_ns);
		}
	}

	return first;
}

static void case_bulk(void)
{
	static const int sizes[] = { 2051, 32768 };
	struct arena a[SIDES];
	struct times t;
	size_t k;
	int first, i;

	first = arenas_open(a, 1 << 16, SLEEPABLE);
	for (k = 0; k < (quick || icount ? 1 : 2); k++) {
		double alloc[SIDES], freed[SIDES], both[SIDES], cnt = sizes[k];
		char name[64];

		measure_bulk(&t, a, SLEEPABLE, quick || icount ? 2 : k ? 5 : 9, cnt);
		zero_measure();
		for (i = 0; i < SIDES; i++) {
			alloc[i] = median(&t.alloc[i]) / cnt;
			freed[i] = median(&t.free[i]) / cnt;
			both[i] = alloc[i] + freed[i];
		}
		snprintf(name, sizeof(name), "bulk%d.alloc", sizes[k]);
		result(name, (struct result){ "ns", "less", "x1.5",
					      { alloc[INTREE], alloc[MODULE] } },
		       "a page; sleepable, one call; zeroing %s%% / %s%%",
		       num(100 * zero_ns / alloc[INTREE]), num(100 * zero_ns / alloc[MODULE]));
		snprintf(name, sizeof(name), "bulk%d.alloc.unzeroed", sizes[k]);
		result(name, (struct result){ "ns", "less", NULL, { unzeroed(alloc[INTREE], 1),
								    unzeroed(alloc[MODULE], 1) } },
		       "zeroing subtracted");
		snprintf(name, sizeof(name), "bulk%d.free", sizes[k]);
		result(name, (struct result){ "ns", "less", "x1.5",
					      { freed[INTREE], freed[MODULE] } },
		       "a page; complete on return");
		snprintf(name, sizeof(name), "bulk%d.both", sizes[k]);
		result(name, (struct result){ "ns", "less", "x1.5",
					      { both[INTREE], both[MODULE] } },
		       "a page; alloc and free");
		snprintf(name, sizeof(name), "bulk%d.both.unzeroed", sizes[k]);
		result(name, (struct result){ "ns", "less", NULL, { unzeroed(both[INTREE], 1),
								    unzeroed(both[MODULE], 1) } },
		       "zeroing subtracted");
	}
	arenas_close(a, first);
}

/* The plot of latency by page_cnt. */
static void case_sizes(void)
{
	static const int sizes[] = { 1, 4, 16, 64, 256, 1024, 4096, 16384, 32768 };
	static const struct {
		int prog;
		const char *name;
	} kinds[] = { { UNDER_RCU, "atomic" }, { SLEEPABLE, "sleepable" } };
	size_t n = sizeof(sizes) / sizeof(*sizes) - (quick ? 3 : 0), i, k;
	struct arena a[SIDES];
	struct times t;
	char name[64];
	int first;

	for (k = 0; k < 2; k++) {
		first = arenas_open(a, 1 << 16, kinds[k].prog);
		for (i = 0; i < n; i++) {
			measure_bulk(&t, a, kinds[k].prog, quick ? 3 : 5, sizes[i]);
			snprintf(name, sizeof(name), "alloc_by_pages_%s", kinds[k].name);
			point(name, sizes[i], median(&t.alloc[INTREE]), median(&t.alloc[MODULE]));
			snprintf(name, sizeof(name), "free_by_pages_%s", kinds[k].name);
			point(name, sizes[i], median(&t.free[INTREE]), median(&t.free[MODULE]));
			if (t.failed[INTREE] || t.failed[MODULE])
				note("%d pages, %s: failures %s in tree, %s module", sizes[i],
				     kinds[k].name, num(t.failed[INTREE]), num(t.failed[MODULE]));
		}
		arenas_close(a, first);
	}
}

#define LATE_US 50

struct lateness {
	double worst, mean, wait;	/* us */
};

static void late_begin(void)
{
	write_text(INSTRUMENT "timer", icount ? "0 50" : "0 200");
}

static struct lateness late_end(void)
{
	double fired, worst = 0, mean = 0, wait = 0;

	sscanf(read_text(INSTRUMENT "timer"), "%lf %lf %lf %lf", &fired, &worst, &mean, &wait);
	write_text(INSTRUMENT "timer", "off");

	return (struct lateness){ worst / 1e3, mean / 1e3, wait / 1e3 };
}

struct late_samples {
	struct sample worst[SIDES], wait[SIDES], control, control_wait;
};

/* What stands above the control, and no less than what a timer varies by anyhow. */
static double above(struct late_samples *l, int side)
{
	return fmax(smallest(&l->worst[side]) - smallest(&l->control), icount ? 1 : LATE_US);
}

/*
 * An emulated CPU is stopped by its host now and then, for milliseconds, but not
 * each time in the same place: what interrupts are off for is no longer than the
 * shortest of several longest delays. The control tells what of that is the host's.
 */
static void late_result(const char *what, const char *kind, int cnt, struct late_samples *l)
{
	double intree = smallest(&l->worst[INTREE]), module = smallest(&l->worst[MODULE]);
	double control = smallest(&l->control);
	char name[64], plot[64];
	const char *target;

	snprintf(name, sizeof(name), "irqoff.%s%s.%dk", what, kind, cnt / 1024);
	target = cnt == 32768 && intree_atomic ? "x100" : NULL;
	if (icount) {
		result(name, (struct result){ "ns", "less", target,
					      { intree * 1000, module * 1000 } },
		       "longest delay of a timer interrupt; control %s", num(control * 1000));
		return;
	}
	result(name, (struct result){ "us", "less", NULL, { intree, module } },
	       "longest delay, best of %d; control %s; median %s / %s, control %s; expected at a random moment %s / %s, control %s",
	       l->worst[MODULE].n, num(control), num(median(&l->worst[INTREE])),
	       num(median(&l->worst[MODULE])), num(median(&l->control)),
	       num(median(&l->wait[INTREE])), num(median(&l->wait[MODULE])),
	       num(median(&l->control_wait)));
	if (target) {
		snprintf(name, sizeof(name), "irqoff.%s%s.%dk.above", what, kind, cnt / 1024);
		result(name, (struct result){ "us", "less", target,
			{ above(l, INTREE), above(l, MODULE) } },
		       "what stands above the control, and no less than %d, which a timer varies by",
		       LATE_US);
	}
	snprintf(plot, sizeof(plot), "irqoff_%s%s", what, *kind ? "_atomic" : "");
	point(plot, cnt, intree, module);
	if (!*kind && *what == 'a')
		point("irqoff_control", cnt, NONE, control);
}

static void case_irqoff(void)
{
	static const int sizes[] = { 1024, 8192, 32768, 131072 };
	static const struct {
		int prog;
		const char *name;
	} kinds[] = { { SLEEPABLE, "" }, { UNDER_RCU, ".rcu" } };
	int nr_sizes = quick ? 2 : 4, i, k, n, side, first;
	static struct late_samples al, fr;
	struct arena a[SIDES];

	for (k = 0; k < (quick ? 1 : 2); k++) {
		double grow[2][4];

		first = arenas_open(a, quick ? 1 << 16 : 1 << 18, kinds[k].prog);
		for (n = 0; n < nr_sizes; n++) {
			int rounds = quick || icount ? 2 : n < 3 ? 15 : 5;

			memset(&al, 0, sizeof(al));
			memset(&fr, 0, sizeof(fr));
			for (i = 0; i < rounds; i++) {
				for (side = first; side < SIDES; side++) {
					volatile struct bench_slot *s;
					struct lateness late;
					double t;

					settle();
					late_begin();
					t = now_us();
					s = run(&a[side], kinds[k].prog, (struct todo){
						.op = OP_ALLOC, .cnt = sizes[n] });
					t = now_us() - t;
					late = late_end();
					if (s->failed) {
						note("%s: no %d pages, %s", side_names[side],
						     sizes[n], prog_names[kinds[k].prog]);
						continue;
					}
					add(&al.worst[side], late.worst);
					add(&al.wait[side], late.wait);

					settle();
					late_begin();
					run(&a[side], kinds[k].prog, (struct todo){
						.op = OP_RANGE, .cnt = sizes[n],
						.addr = a[side].sh->pages[0][0] });
					if (kinds[k].prog != SLEEPABLE)
						settle();
					late = late_end();
					add(&fr.worst[side], late.worst);
					add(&fr.wait[side], late.wait);

					/* As long as that, and nothing. */
					if (side != MODULE)
						continue;
					settle();
					late_begin();
					run(&a[side], kinds[k].prog, (struct todo){
						.op = OP_SPIN, .addr = t * 1000 });
					late = late_end();
					add(&al.control, late.worst);
					add(&fr.control, late.worst);
					add(&al.control_wait, late.wait);
					add(&fr.control_wait, late.wait);
				}
			}
			late_result("alloc", kinds[k].name, sizes[n], &al);
			late_result("free", kinds[k].name, sizes[n], &fr);
			grow[0][n] = above(&al, MODULE);
			grow[1][n] = above(&fr, MODULE);
		}
		arenas_close(a, first);
		/* Elsewhere a longer time has more of the host's hiccups. */
		for (i = 0; i < 2 && icount && nr_sizes > 2; i++) {
			char name[64];

			snprintf(name, sizeof(name), "irqoff.%s%s.growth", i ? "free" : "alloc",
				 kinds[k].name);
			result(name, (struct result){ "ratio", "less", "max2",
				{ NONE, grow[i][nr_sizes - 1] / grow[i][1] } },
			       "128k to 8k pages, what stands above the control; 1k to 128k: %s, %s, %s, %s us",
			       num(grow[i][0]), num(grow[i][1]), num(grow[i][2]), num(grow[i][3]));
		}
	}
}

static void case_frag(void)
{
	static const int ranges[] = { 1, 1000, 100000, 500000 };
	int nr = quick ? 3 : 4, n, side, have = 0, first;
	double alloc[SIDES][4], two[SIDES][4];
	struct arena a[SIDES];
	char name[64];

	first = arenas_open(a, 1 << 20, ATOMIC);
	for (n = 0; n < nr; n++) {
		struct times t;

		/* Every second page is taken, without the memory that it would need. */
		for (side = first; side < SIDES; side++) {
			volatile struct bench_slot *s;

			if (ranges[n] == 1)
				break;
			s = run(&a[side], SLEEPABLE, (struct todo){ .op = OP_RESERVE,
				.n = ranges[n] - 1 - have, .step = 2,
				.addr = a[side].base + (2ULL * have + 1) * PAGE });
			if (s->failed)
				note("%s: %llu reservations failed", side_names[side], s->failed);
		}
		have = ranges[n] - 1;
		measure_bursts(&t, a, ATOMIC, runs, 1);
		for (side = 0; side < SIDES; side++)
			alloc[side][n] = median(&t.alloc[side]);
		measure_bursts(&t, a, ATOMIC, runs, 2);
		for (side = 0; side < SIDES; side++)
			two[side][n] = median(&t.alloc[side]);
		snprintf(name, sizeof(name), "frag%d", ranges[n]);
		result(name, (struct result){ "ns", "less", NULL,
					      { alloc[INTREE][n], alloc[MODULE][n] } },
		       "alloc of one page; of two pages, which no hole holds: %s / %s",
		       num(two[INTREE][n]), num(two[MODULE][n]));
		point("frag", ranges[n], alloc[INTREE][n], alloc[MODULE][n]);
		point("frag_two", ranges[n], two[INTREE][n], two[MODULE][n]);
	}
	arenas_close(a, first);
	result("frag.growth", (struct result){ "ratio", "less", "max2",
		{ alloc[INTREE][nr - 1] / alloc[INTREE][0],
		  alloc[MODULE][nr - 1] / alloc[MODULE][0] } },
	       "last to first; for two pages %s / %s", num(two[INTREE][nr - 1] / two[INTREE][0]),
	       num(two[MODULE][nr - 1] / two[MODULE][0]));
}

#define SCATTERED 4096

static void case_scatter(void)
{
	struct sample reuse[SIDES] = {}, calls[SIDES] = {}, cpu[SIDES] = {}, call[SIDES] = {};
	int rounds = quick ? 1 : 5, i, side, first;
	double m[4][SIDES], lost[SIDES] = { NONE, NONE };
	struct arena a[SIDES];

	first = arenas_open(a, 1 << 16, ATOMIC);
	for (i = 0; i < rounds; i++) {
		for (side = first; side < SIDES; side++) {
			double begin, t, busy, n, idle, idle_t;
			volatile struct bench_slot *s;
			__u64 addr;

			s = run(&a[side], SLEEPABLE, (struct todo){ .op = OP_ALLOC,
				.cnt = 2 * SCATTERED });
			if (s->failed)
				die("no %d pages, %s", 2 * SCATTERED, side_names[side]);
			addr = a[side].sh->pages[0][0];
			settle();
			idle = ipis();
			idle_t = now_us();
			usleep(200000);
			idle = (ipis() - idle) / (now_us() - idle_t);

			n = ipis();
			busy = busy_us();
			begin = now_us();
			s = run(&a[side], ATOMIC, (struct todo){ .op = OP_SCATTER,
				.n = SCATTERED, .step = 2, .addr = addr });
			add(&call[side], s->free_ns / (double)SCATTERED);
			while (arena_pages(&a[side]) > SCATTERED && now_us() - begin < 60e6)
				usleep(500);
			t = now_us();
			add(&reuse[side], (t - begin) / 1e3);
			settle();
			t = now_us();
			add(&cpu[side], (busy_us() - busy) / 1e3);
			add(&calls[side], fmax(ipis() - n - idle * (t - begin), 0));

			/* All of them, really? */
			s = run(&a[side], SLEEPABLE, (struct todo){ .op = OP_CLAIM,
				.n = SCATTERED, .step = 2, .addr = addr });
			lost[side] = fmax(s->failed, isnan(lost[side]) ? 0 : lost[side]);
			run(&a[side], SLEEPABLE, (struct todo){ .op = OP_RANGE,
				.cnt = 2 * SCATTERED, .addr = addr });
			settle();
		}
	}
	arenas_close(a, first);
	for (side = 0; side < SIDES; side++) {
		m[0][side] = median(&calls[side]);
		m[1][side] = median(&reuse[side]);
		m[2][side] = median(&cpu[side]);
		m[3][side] = median(&call[side]);
	}
	result("scatter.ipis", (struct result){ "IPIs", "less", "x20",
						{ m[0][INTREE], m[0][MODULE] } },
	       "%d single pages; %d CPUs; what an idle system has is subtracted", SCATTERED,
	       nr_cpus);
	result("scatter.reusable", (struct result){ "ms", "less", NULL,
						    { m[1][INTREE], m[1][MODULE] } },
	       "until the last is; not reusable then: %s / %s", num(lost[INTREE]),
	       num(lost[MODULE]));
	result("scatter.cpu", (struct result){ "ms of CPU", "less", NULL,
					       { m[2][INTREE], m[2][MODULE] } },
	       "all CPUs, call and after");
	result("scatter.call", (struct result){ "ns", "less", NULL,
						{ m[3][INTREE], m[3][MODULE] } },
	       "a free, the call alone");
	point("ipis", 4096, m[0][INTREE], m[0][MODULE]);
}

struct worker {
	pthread_t thread;
	struct arena *a;
	int cpu;
	volatile bool *stop;
	double done, failed, full;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	volatile struct bench_slot *s;

	pin(w->cpu);
	while (!*w->stop) {
		s = set_slot(w->a, w->cpu, (struct todo){ .op = OP_LOOP, .n = 200 });
		run_prog(w->a, ATOMIC, w->cpu);
		w->done += s->done;
		if (!s->failed)
			continue;
		/* An arena that is full is a reason; nothing else is. */
		if (arena_pages(w->a) > LOOP_PAGES / 2)
			w->full += s->failed;
		else
			w->failed += s->failed;
		usleep(BACK_OFF_US);
	}

	return NULL;
}

static void case_cpus(void)
{
	int rounds = quick ? 1 : 3, n, i, side, first, cpu;
	double failed[SIDES] = { NONE, NONE }, full[SIDES] = {};
	struct arena a[SIDES];

	first = arenas_open(a, LOOP_PAGES, ATOMIC);
	for (n = 1; n <= nr_cpus && n <= BENCH_CPUS; n *= 2) {
		struct sample rate[SIDES] = {};
		double m[SIDES];
		char name[64];

		for (i = 0; i < rounds; i++) {
			for (side = first; side < SIDES; side++) {
				struct worker w[BENCH_CPUS] = {};
				bool stop = false;
				double begin, done = 0;

				settle();
				if (isnan(failed[side]))
					failed[side] = 0;
				begin = now_us();
				for (cpu = 0; cpu < n; cpu++) {
					w[cpu].a = &a[side];
					w[cpu].cpu = cpu;
					w[cpu].stop = &stop;
					pthread_create(&w[cpu].thread, NULL, work, &w[cpu]);
				}
				usleep(quick ? 200000 : 3000000);
				__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
				for (cpu = 0; cpu < n; cpu++) {
					pthread_join(w[cpu].thread, NULL);
					done += w[cpu].done;
					failed[side] += w[cpu].failed;
					full[side] += w[cpu].full;
				}
				add(&rate[side], done / (now_us() - begin) * 1e6);
			}
		}
		m[INTREE] = median(&rate[INTREE]);
		m[MODULE] = median(&rate[MODULE]);
		snprintf(name, sizeof(name), "cpus%d", n);
		result(name, (struct result){ "1/s", "more", n == 4 ? "x3" : NULL,
					      { m[INTREE], m[MODULE] } },
		       "alloc, use, free on %d CPUs, one arena", n);
		point("cpus", n, m[INTREE], m[MODULE]);
	}
	arenas_close(a, first);
	result("cpus.failures", (struct result){ "failures", "less", "max0",
						 { failed[INTREE], failed[MODULE] } },
	       "with room in the arena, of all runs; without %s / %s, then the caller waits %d us",
	       num(full[INTREE]), num(full[MODULE]), BACK_OFF_US);
}

static void case_nmi(void)
{
	double share[SIDES] = { NONE, NONE }, inside[SIDES] = { NONE, NONE };
	double left[SIDES] = { NONE, NONE }, nmis[SIDES] = { NONE, NONE }, hits[SIDES] = { NONE, NONE };
	struct arena a[SIDES];
	int side, first;

	first = arenas_open(a, 1 << 16, ATOMIC);
	for (side = first; side < SIDES; side++) {
		volatile struct bench_slot *s;
		double begin, done = 0, failed = 0;

		arena_attach(&a[side], "in_nmi");
		settle();
		s = set_slot(&a[side], BENCH_NMI, (struct todo){ .op = OP_LOOP });
		write_text(NMI_SOURCE, "0 100");
		begin = now_us();
		while (now_us() - begin < (quick ? 2e6 : 20e6)) {
			volatile struct bench_slot *l;

			l = run(&a[side], ATOMIC, (struct todo){ .op = OP_LOOP, .n = 200 });
			done += l->done;
			failed += l->failed;
			/* There is room, always. */
			while (arena_pages(&a[side]) > 1 << 14)
				usleep(1000);
		}
		write_text(NMI_SOURCE, "off");
		usleep(1000);
		s->op = OP_NONE;
		nmis[side] = read_num(NMI_SOURCE);
		share[side] = 100.0 * s->done / (s->done + s->failed);
		hits[side] = s->hits;
		inside[side] = 100.0 * (s->hits - s->hits_failed) / s->hits;
		settle();
		left[side] = arena_pages(&a[side]);
		note("%s: %s NMIs, %llu allocations in them, %llu failed; %u interrupted an allocation, %u of these failed; the interrupted had %s and failed %s times",
		     side_names[side], num(nmis[side]), s->done + s->failed, s->failed, s->hits,
		     s->hits_failed, num(done), num(failed));
		bpf_link__destroy(a[side].link);
		a[side].link = NULL;
	}
	arenas_close(a, first);
	result("nmi.success", (struct result){ "%", "more", "min99.9",
					       { share[INTREE], share[MODULE] } },
	       "of single pages, in %s / %s NMIs", num(nmis[INTREE]), num(nmis[MODULE]));
	result("nmi.inside", (struct result){ "%", "more", NULL,
					      { inside[INTREE], inside[MODULE] } },
	       "the same, of the %s / %s NMIs that interrupted an allocation",
	       num(hits[INTREE]), num(hits[MODULE]));
	result("nmi.left", (struct result){ "pages", "less", "max0",
					    { left[INTREE], left[MODULE] } },
	       "still there after all were freed, half of them in an NMI");
}

/* How many single pages there are in a row, with interrupts off. */
static double hook_burst(struct arena *a, int n, const char *how)
{
	volatile struct bench_slot *s;
	double got;

	s = set_slot(a, BENCH_HOOK, (struct todo){ .op = OP_ALLOC, .n = n });
	write_text(how, "1");
	got = s->failed ? s->before : s->done;
	set_slot(a, BENCH_HOOK, (struct todo){ .op = OP_FREE, .n = n });
	write_text(INSTRUMENT "hook", "1");
	set_slot(a, BENCH_HOOK, (struct todo){ .op = OP_NONE });

	return got;
}

static void case_lowmem(void)
{
	double got[SIDES] = { NONE, NONE }, hog[SIDES] = { NONE, NONE };
	double promised = read_num(PARAM "pool_pages");
	struct arena a[SIDES];
	char target[32];
	int side, first;

	first = arenas_open(a, 1 << 16, ATOMIC);
	for (side = first; side < SIDES; side++) {
		arena_attach(&a[side], "in_hook");
		settle();
		got[side] = hook_burst(&a[side], 2 * promised, INSTRUMENT "hog");
		hog[side] = read_num(INSTRUMENT "hog");
	}
	arenas_close(a, first);
	snprintf(target, sizeof(target), "min%.0f", promised);
	result("lowmem", (struct result){ "pages", "more", target, { got[INTREE], got[MODULE] } },
	       "in a row, interrupts off, after %s / %s pages were taken down to the minimum watermark; %.0f asked for",
	       num(hog[INTREE]), num(hog[MODULE]), 2 * promised);
}

static void case_burst(void)
{
	double got[SIDES] = { NONE, NONE }, grown[SIDES] = { NONE, NONE };
	struct arena a[SIDES];
	int side, first, i;

	first = arenas_open(a, 1 << 16, ATOMIC);
	for (side = first; side < SIDES; side++) {
		arena_attach(&a[side], "in_hook");
		for (i = 0; i < (quick ? 3 : 8); i++) {
			settle();
			grown[side] = hook_burst(&a[side], BENCH_PAGES, INSTRUMENT "hook");
			if (!i)
				got[side] = grown[side];
		}
	}
	arenas_close(a, first);
	result("burst.first", (struct result){ "pages", "more", NULL, { got[INTREE], got[MODULE] } },
	       "in a row, interrupts off, from a reserve in its default state; %d asked for",
	       BENCH_PAGES);
	result("burst.later", (struct result){ "pages", "more", NULL,
						{ grown[INTREE], grown[MODULE] } },
	       "the %s such burst", quick ? "third" : "eighth");
}

/* The program "touch", to be loaded again and again, each time with another arena. */
static struct {
	struct bpf_insn *insns;
	size_t cnt;
	int fds[4];
} touch;

static int module_btf(const char *name)
{
	struct bpf_btf_info info;
	char got[64];
	__u32 id = 0, len;
	int fd;

	while (!bpf_btf_get_next_id(id, &id)) {
		fd = bpf_btf_get_fd_by_id(id);
		memset(&info, 0, sizeof(info));
		info.name = (__u64)got;
		info.name_len = sizeof(got);
		len = sizeof(info);
		if (fd >= 0 && !bpf_btf_get_info_by_fd(fd, &info, &len) && !strcmp(got, name))
			return fd;
		close(fd);
	}
	die("no BTF of %s", name);
}

static void touch_prepare(void)
{
	struct bpf_object *obj = open_object(MODULE);
	struct bpf_program *p, *prog = bpf_object__find_program_by_name(obj, "touch");
	size_t i;

	bpf_object__for_each_program(p, obj)
		bpf_program__set_autoload(p, p == prog);
	if (bpf_object__load(obj))
		die("load: %s", strerror(errno));
	touch.cnt = bpf_program__insn_cnt(prog);
	touch.insns = calloc(touch.cnt, sizeof(*touch.insns));
	if (!touch.insns)
		die("no memory");
	memcpy(touch.insns, bpf_program__insns(prog), touch.cnt * sizeof(*touch.insns));
	for (i = 0; i < sizeof(touch.fds) / sizeof(*touch.fds); i++)
		touch.fds[i] = module_btf("arena_nolock");
	bpf_object__close(obj);
}

/* Load it. Returns microseconds; the first time for an arena adopts that. */
static double adopt(int map_fd)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .fd_array = touch.fds,
		    .prog_flags = BPF_F_SLEEPABLE);
	size_t i;
	double t;
	int fd;

	for (i = 0; i < touch.cnt; i++)
		if (touch.insns[i].code == (BPF_LD | BPF_IMM | BPF_DW) &&
		    touch.insns[i].src_reg == BPF_PSEUDO_MAP_FD)
			touch.insns[i].imm = map_fd;
	t = now_us();
	fd = bpf_prog_load(BPF_PROG_TYPE_SYSCALL, "touch", "GPL", touch.insns, touch.cnt, &opts);
	t = now_us() - t;
	if (fd < 0)
		die("adoption: %s", strerror(errno));
	close(fd);

	return t;
}

static int arena_map(__u32 pages)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARENA, "arena", 0, 0, pages, &opts);

	void *p = fd < 0 ? MAP_FAILED : mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
					     MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		die("an arena of %u pages: %s", pages, strerror(errno));
	/* The kernel remembers where it was, and that is all that it needs. */
	munmap(p, pages * PAGE);

	return fd;
}

/* Free memory in KiB, with what each CPU has at hand. */
static double mem_free(void)
{
	double free = 0;
	char *p;

	settle();
	usleep(200000);
	settle();
	for (p = read_text("/proc/zoneinfo"); (p = strstr(p, "count:")); )
		free += atof(p += strlen("count:")) * PAGE / 1024;

	return free + meminfo_kib("MemFree:");
}

static void measure_fixed(__u32 pages, int n, double *made, double *adopted)
{
	int fds[64], i;
	double before;

	/* The first one pays for what all share. */
	fds[0] = arena_map(pages);
	adopt(fds[0]);

	before = mem_free();
	for (i = 1; i < n + 1; i++)
		fds[i] = arena_map(pages);
	*made = (before - mem_free()) / n;
	/* Programs come and go, and what they leave behind comes first. */
	adopt(fds[1]);
	before = mem_free();
	for (i = 2; i < n + 1; i++)
		adopt(fds[i]);
	*adopted = (before - mem_free()) / (n - 1);
	for (i = 0; i < n + 1; i++)
		close(fds[i]);
	settle();
}

static void case_fixed(void)
{
	static const __u32 sizes[] = { 1000, 100 << 8, 1 << 18, 1 << 20 };
	static const char *const names[] = { "1000", "100M", "1G", "4G" };
	double reserve = read_num(PARAM "pool_pages"), max = read_num(PARAM "pool_max");
	bool lazy = !intree_atomic;
	double made, adopted, tables;
	char name[64], target[32];
	size_t k;
	int i;

	touch_prepare();
	usleep(1000000);
	write_text(PARAM "pool_max", "0");
	write_text(PARAM "pool_pages", "0");
	measure_fixed(1000, quick ? 17 : 49, &made, &adopted);
	result("fixed.1000", (struct result){ "KiB", "less", "max64", { made, adopted } },
	       "an arena of 1000 pages: made, and added by adoption, page tables included, without the reserve");
	measure_fixed(1 << 20, quick ? 4 : 9, &made, &adopted);
	/* Where the kernel makes page tables on demand, the module's are in this. */
	tables = lazy ? (1 << 20) / 512 * 4 + 4 * 4 : 0;
	result("fixed.4G", (struct result){ "KiB", "less", "max768", { made, adopted - tables } },
	       "an arena of 4 GiB: the same, without the module's page tables (%s KiB)",
	       num(tables));
	write_text(PARAM "pool_pages", "%.0f", reserve);
	write_text(PARAM "pool_max", "%.0f", max);

	for (k = 0; k < sizeof(sizes) / sizeof(*sizes); k += quick ? 3 : 1) {
		struct sample first = {}, second = {};
		double cost, limit = 50 + sizes[k] / 256.0 / 100;

		for (i = 0; i < (quick ? 3 : 9); i++) {
			int fd = arena_map(sizes[k]);

			settle();
			add(&first, adopt(fd));
			settle();
			add(&second, adopt(fd));
			close(fd);
			settle();
		}
		cost = (median(&first) - median(&second)) / 1e3;
		snprintf(name, sizeof(name), "adopt.%s", names[k]);
		snprintf(target, sizeof(target), "max%.0f", limit);
		result(name, (struct result){ "ms", "less", target, { NONE, cost } },
		       "first program of an arena against the second: %s and %s ms",
		       num(median(&first) / 1e3), num(median(&second) / 1e3));
	}
}

static const struct bench_case {
	const char *name;
	void (*fn)(void);
	const char *desc;
} cases[] = {
	/* First, while the kernel has no page tables left of other arenas. */
	{ "fixed", case_fixed, "memory and time that an adopted arena costs" },
	{ "single", case_single, "alloc and free of a page, the calls" },
	{ "loop", case_loop, "alloc, use and free, sustained" },
	{ "bulk", case_bulk, "2051 and 32768 pages in one call" },
	{ "sizes", case_sizes, "latency by page_cnt" },
	{ "irqoff", case_irqoff, "how long interrupts are off" },
	{ "frag", case_frag, "allocation among many free ranges" },
	{ "scatter", case_scatter, "4096 scattered frees" },
	{ "cpus", case_cpus, "throughput on several CPUs" },
	{ "nmi", case_nmi, "pages for NMIs" },
	{ "burst", case_burst, "pages in a row with interrupts off" },
	{ "lowmem", case_lowmem, "the same without free memory" },
};

static void load_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
		die("insmod %s: %s", path, strerror(errno));
	close(fd);
}

static void usage(const char *self)
{
	printf("usage: %s [--quick] [--case GLOB] [--runs N] [--list] [--icount] [--module FILE]...\n"
	       "  --quick   few runs, small sizes\n"
	       "  --case    only cases whose name matches\n"
	       "  --runs    how often what is short is measured\n"
	       "  --icount  the guest's clock counts instructions\n"
	       "  --module  to be loaded first\n", self);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "quick", no_argument, NULL, 'q' },
		{ "case", required_argument, NULL, 'c' },
		{ "runs", required_argument, NULL, 'r' },
		{ "list", no_argument, NULL, 'l' },
		{ "icount", no_argument, NULL, 'i' },
		{ "module", required_argument, NULL, 'm' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	const char *glob = "*";
	struct utsname uts;
	size_t i;
	int opt;

	while ((opt = getopt_long(argc, argv, "qc:r:lim:h", options, NULL)) != -1) {
		switch (opt) {
		case 'q':
			quick = true;
			break;
		case 'c':
			glob = optarg;
			break;
		case 'r':
			runs = atoi(optarg);
			break;
		case 'l':
			for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
				printf("%-8s %s\n", cases[i].name, cases[i].desc);
			return 0;
		case 'i':
			icount = true;
			break;
		case 'm':
			load_module(optarg);
			break;
		default:
			usage(argv[0]);
			return opt == 'h' ? 0 : 2;
		}
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (runs < 1)
		runs = quick || icount ? 5 : 11;
	if (runs * 3 > MAX_RUNS)
		runs = MAX_RUNS / 3;
	mlockall(MCL_CURRENT);
	uname(&uts);
	intree_atomic = atoi(uts.release) >= 7;
	nr_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	pin(0);
	settle();
	zero_measure();
	note("%s, %d CPUs; clock %s", uts.release, nr_cpus,
	     strtok(read_text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
		    "\n"));
	result("zero1", (struct result){ "ns", "less", NULL, { zero_ns, zero_ns } },
	       "zeroing a page, for comparison");
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		double t = now_us();

		if (fnmatch(glob, cases[i].name, FNM_EXTMATCH))
			continue;
		zero_measure();
		cases[i].fn();
		note("%s took %s s", cases[i].name, num((now_us() - t) / 1e6));
	}
	printf("DONE\n");

	return 0;
}
