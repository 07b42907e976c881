/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the cases of the bench share. A case is one file in cases/ that defines a
 * struct bench_case; main.c has the list. Functions that fail end the bench.
 */
#ifndef BENCH_CORE_H
#define BENCH_CORE_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>
#include <linux/types.h>

#include "bench.h"

#define PAGE ((unsigned long long)sysconf(_SC_PAGESIZE))
#define NONE NAN	/* a figure that there is not */

/* Parameters of the instruments, of the test module and of the module. */
#define INSTRUMENT "/sys/module/anl_bench/parameters/"
#define NMI_SOURCE "/sys/module/anl_test/parameters/nmi"
#define NMI_TRACEPOINT "/sys/module/anl_test/parameters/nmi_tracepoint"
#define PARAM "/sys/module/arena_nolock/parameters/"

enum { INTREE, MODULE, SIDES };
enum { SLEEPABLE, UNDER_RCU, ATOMIC, TOUCH, PROGS };

extern const char *const side_names[SIDES];
extern const char *const prog_names[PROGS];

/* Options; programs that cannot sleep may call the kernel's own kfuncs; CPUs. */
extern bool quick, icount, intree_atomic;
extern int runs, nr_cpus;

struct bench_case {
	const char *name;
	const char *desc;
	void (*run)(void);
};

extern const struct bench_case case_fixed, case_single, case_loop, case_bulk, case_sizes,
	case_irqoff, case_frag, case_scatter, case_cpus, case_crowd, case_nmi, case_burst,
	case_objects, case_flows, case_lowmem;

/*
 * Output
 */

struct result {
	const char *unit;
	const char *better;
	const char *target;
	double v[SIDES];
};

/* A line for people. */
__attribute__((format(printf, 1, 2)))
void note(const char *fmt, ...);
__attribute__((noreturn, format(printf, 1, 2)))
void die(const char *fmt, ...);
/* @v as text, in one of eight static buffers. */
const char *num(double v);
/* The format is that of the remark. */
__attribute__((format(printf, 3, 4)))
void result(const char *name, struct result r, const char *fmt, ...);
void point(const char *plot, double x, double intree, double module);

/*
 * The system
 */

double now_us(void);
/* Contents of a small file, in a buffer of the thread. */
char *read_text(const char *path);
__attribute__((format(printf, 2, 3)))
void write_text(const char *path, const char *fmt, ...);
double read_num(const char *path);
/* Time that all CPUs together have not been idle. */
double busy_us(void);
double meminfo_kib(const char *key);
/* Function calls sent to other CPUs, as TLB flushes of kernel addresses are. */
double ipis(void);
void pin(int cpu);
/* Wait until all CPUs are idle, so that nothing is left of what was before. */
void settle(void);

/*
 * Samples
 */

#define MAX_RUNS 64

struct sample {
	double v[MAX_RUNS];
	int n;
};

void add(struct sample *s, double v);
double median(struct sample *s);
double smallest(struct sample *s);

/* What zeroing a page takes now: it changes with the load of the host. */
extern double zero_ns;
void zero_measure(void);
/* @ns without the time that zeroing @pages takes, as far as it was in it. */
double unzeroed(double ns, double pages);

/*
 * Arenas
 */

struct bpf_object;
struct bpf_link;

struct arena {
	int side;
	struct bpf_object *obj;
	volatile struct bench_shared *sh;
	__u64 base;
	int map_fd;
	int fds[PROGS];
	struct bpf_link *link;
};

/* Are there kfuncs on @side that @prog may call? */
bool runs_in(int side, int prog);
struct bpf_object *open_object(int side);
/*
 * Both sides, or the module's alone where the kernel's kfuncs are not for @prog.
 * Returns the first side that there is.
 */
int arenas_open(struct arena *a, __u32 pages, int prog);
void arenas_close(struct arena *a, int first);
void arena_attach(struct arena *a, const char *prog);
/* Pages in the arena, as bpftool map show tells them. */
long arena_pages(struct arena *a);

struct todo {
	__u32 op, n, cnt, step;
	__u64 addr;
};

/* Write @t into a slot; run_prog() runs a program on it. */
volatile struct bench_slot *set_slot(struct arena *a, int slot, struct todo t);
void run_prog(struct arena *a, int prog, __u64 slot);
/* Both, with the slot of CPU 0, where the caller is. */
volatile struct bench_slot *run(struct arena *a, int prog, struct todo t);

/*
 * An arena for loops is not larger than memory: frees may stay queued for long, and
 * while there is room nothing bounds that. A loop that finds no room waits.
 */
#define LOOP_PAGES (1 << 15)
#define BACK_OFF_US 200

struct times {
	struct sample alloc[SIDES], free[SIDES];
	double done[SIDES], failed[SIDES];
};

/* Bursts of calls for @cnt pages each, with time before each burst for the pool to fill. */
int measure_bursts(struct times *t, struct arena *a, int prog, int rounds, int cnt);
/* One call for @cnt pages. */
int measure_bulk(struct times *t, struct arena *a, int prog, int rounds, int cnt);
/* How many of @n single pages there are in a row with interrupts off: in hook @how. */
double hook_burst(struct arena *a, int n, const char *how);

#endif
