// SPDX-License-Identifier: GPL-2.0
/*
 * Which cache lines allocations and frees write, and which of them another CPU writes as well.
 * A plugin for QEMU records the accesses of each CPU in the kfuncs, see tests/lines/plugin.c. Two
 * CPUs work on one arena and take turns, one call each, with interrupts off in the call.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>
#include <sys/mman.h>

#include "lines.h"
#include "lines_shm.h"
#include "runner.h"
#include "arena.h"
#include "lines.skel.h"
#include "lines_intree.skel.h"

#define CPUS 2
#define PARTS 1024
#define ELSEWHERE "elsewhere"

/* A function of the kernel. */
struct sym {
	__u64 addr;
	char name[48];
};

/* Data of the arena, as tests/kmod/lines.c names it. */
struct part {
	__u64 first, end;
	char name[32];
};

struct lines {
	struct lines_bpf *mod;
	struct lines_intree_bpf *intree;
	int prog;
	struct arena a;		/* nothing but its descriptor */
	__u64 *failed;
	struct lines_shm *shm;
	struct sym *syms;
	int nr_syms;
	struct part parts[PARTS];
	int nr_parts;
};

/* A part with lines that both CPUs may write: each CPU once in @calls calls, or at any time if 0. */
struct allowed {
	const char *part;
	int calls;
};

/* On a CPU with a magazine and credit. */
static const struct allowed alloc_few[] = { { } };

static const struct allowed free_few[] = {
	{ "slots.dying_sum", 0 },	/* the first free of a group after a pass of the drain */
	{ "kick", 0 },			/* the first free after a pass */
	{ }
};

/* At addresses that were not used before. */
static const struct allowed alloc_many[] = {
	{ "slots.tree", 4 },		/* a fill of the magazine, every 64th call, and its lock */
	{ "slots.tree_mem", 4 },
	{ "pte", 4 },			/* at both ends of a magazine */
	{ "pgtable.nr_populated", 32 },
	{ "pool.nr", 16 },		/* every 32nd, unless the refill is late */
	{ "pool.map", 0 },		/* words that a worker has filled again */
	{ "pool.pages", 0 },
	{ "pool.node", 0 },
	{ "kick", 0 },			/* to request the refill */
	{ }
};

/* At addresses that another CPU may have used before. */
static const struct allowed reuse[] = {
	{ "slots.tree", 4 },
	{ "slots.tree_mem", 4 },
	{ "slots.groups", 0 },
	{ "slots.dying_sum", 0 },
	{ "pte", 0 },
	{ "pgtable.nr_populated", 32 },
	{ "pool.nr", 4 },
	{ "pool.map", 0 },
	{ "pool.pages", 0 },
	{ "pool.node", 0 },
	{ "kick", 0 },
	{ }
};

/* What a thread does on its CPU. */
struct work {
	pthread_t thread;
	struct lines *l;
	enum lines_op op;
	int cnt, runs;
	bool ok;
};

static pthread_barrier_t barrier;

/* The memory that the plugin writes, or NULL. */
static struct lines_shm *shm_map(void)
{
	static const char bus[] = "/sys/bus/pci/devices";
	DIR *d = opendir(bus);
	struct dirent *de;
	char path[512];
	void *p = NULL;
	int fd;

	while (d && (de = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s/device", bus, de->d_name);
		if (!strstr(read_file(path) ?: "", "0x1110"))
			continue;
		snprintf(path, sizeof(path), "%s/%s/enable", bus, de->d_name);
		write_file(path, "1");
		snprintf(path, sizeof(path), "%s/%s/resource2", bus, de->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC);
		p = mmap(NULL, sizeof(struct lines_shm), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
		break;
	}
	if (d)
		closedir(d);

	return p && p != MAP_FAILED && ((struct lines_shm *)p)->ready == LINES_READY ? p : NULL;
}

static int by_address(const void *a, const void *b)
{
	const struct sym *s = a, *t = b;

	return s->addr < t->addr ? -1 : s->addr > t->addr;
}

static void read_syms(struct lines *l)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	char line[512], type;
	struct sym s;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx %c %47s", &s.addr, &type, s.name) != 3 || !strchr("tTwW", type))
			continue;
		if (!(l->nr_syms & (l->nr_syms + 1)))
			l->syms = realloc(l->syms, (2 * l->nr_syms + 2) * sizeof(s));
		l->syms[l->nr_syms++] = s;
	}
	if (f)
		fclose(f);
	qsort(l->syms, l->nr_syms, sizeof(*l->syms), by_address);
}

static const char *function_at(const struct lines *l, __u64 pc)
{
	int low = 0, high = l->nr_syms;

	while (low < high) {
		int mid = (low + high) / 2;

		if (l->syms[mid].addr <= pc)
			low = mid + 1;
		else
			high = mid;
	}

	return low ? l->syms[low - 1].name : "?";
}

static __u64 address_of(const struct lines *l, const char *name)
{
	int i;

	for (i = 0; i < l->nr_syms; i++)
		if (!strcmp(l->syms[i].name, name))
			return l->syms[i].addr;

	return 0;
}

static void read_parts(struct lines *l)
{
	FILE *f = fopen("/proc/anl_lines", "r+");
	struct part *p = l->parts;

	if (!f)
		return;
	setvbuf(f, NULL, _IOLBF, 0);
	fprintf(f, "%d\n", l->a.fd);
	fflush(f);
	rewind(f);
	while (p < l->parts + PARTS && fscanf(f, "%31s %llx %llx", p->name, &p->first, &p->end) == 3)
		p++;
	l->nr_parts = p - l->parts;
	fclose(f);
}

static const struct part *part_at(const struct lines *l, __u64 addr)
{
	static const struct part none = { .name = ELSEWHERE };
	int i;

	for (i = 0; i < l->nr_parts; i++)
		if (addr >= l->parts[i].first && addr < l->parts[i].end)
			return &l->parts[i];

	return &none;
}

static bool lines_open(struct lines *l, bool intree)
{
	memset(l, 0, sizeof(*l));
	l->shm = shm_map();
	if (!l->shm)
		SKIP("needs QEMU's plugin: run tests/run_qemu.sh --test 'lines.*'");
	if (nr_cpus < CPUS)
		SKIP("needs two CPUs");
	if (kver < 70000)
		SKIP("programs cannot switch interrupts off on this kernel");
	if (intree) {
		l->intree = lines_intree_bpf__open_and_load();
		if (!l->intree)
			return false;
		l->prog = bpf_program__fd(l->intree->progs.lines_run);
		l->a.fd = bpf_map__fd(l->intree->maps.arena);
		l->failed = &l->intree->bss->failed;
	} else {
		l->mod = lines_bpf__open_and_load();
		if (!l->mod)
			return false;
		l->prog = bpf_program__fd(l->mod->progs.lines_run);
		l->a.fd = bpf_map__fd(l->mod->maps.arena);
		l->failed = &l->mod->bss->failed;
	}
	read_syms(l);
	if (!intree) {
		read_parts(l);
		l->shm->entry[0] = address_of(l, "bpf_arena_nolock_alloc_pages");
		l->shm->entry[1] = address_of(l, "bpf_arena_nolock_free_pages");
	} else {
		l->shm->entry[0] = address_of(l, "bpf_arena_alloc_pages_non_sleepable");
		l->shm->entry[1] = address_of(l, "bpf_arena_free_pages_non_sleepable");
	}

	/* From now on, so that the plugin knows which CPU has which line. */
	l->shm->on = 1;

	return l->shm->entry[0] && l->shm->entry[1] && (intree || l->nr_parts);
}

static void lines_close(struct lines *l)
{
	l->shm->on = 0;
	lines_bpf__destroy(l->mod);
	lines_intree_bpf__destroy(l->intree);
	free(l->syms);
}

static void *work(void *arg)
{
	struct work *w = arg;
	__u64 args[2] = { w->op, w->cnt };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = args, .ctx_size_in = sizeof(args));
	int i;

	w->ok = true;
	for (i = 0; i < w->runs && w->ok; i++) {
		pthread_barrier_wait(&barrier);
		w->ok = !bpf_prog_test_run_opts(w->l->prog, &opts);
		pthread_barrier_wait(&barrier);
		/* For the workers. The file in debugfs would read the lines of all CPUs. */
		usleep(10000);
	}

	return NULL;
}

/* On both CPUs @runs times @cnt operations; the CPUs take turns. */
static bool run(struct lines *l, enum lines_op op, int cnt, int runs)
{
	struct work w[CPUS];
	bool ok = true;
	int i;

	pthread_barrier_init(&barrier, NULL, CPUS);
	for (i = 0; i < CPUS; i++) {
		w[i] = (struct work){ .l = l, .op = op, .cnt = cnt, .runs = runs };
		ok &= thread_on(&w[i].thread, i, work, &w[i]);
	}
	for (i = 0; i < CPUS; i++) {
		pthread_join(w[i].thread, NULL);
		ok &= w[i].ok;
	}
	pthread_barrier_destroy(&barrier);

	return ok;
}

static const struct lines_line *find_line(const struct lines *l, int cpu, __u64 line)
{
	static const struct lines_line none;
	const struct lines_line *v = &none;
	int i;

	for (i = 0; i < LINES_SLOTS; i++) {
		v = &l->shm->cpu[cpu].line[lines_slot(line, i)];
		if (!v->line || v->line == line)
			break;
	}

	return v->line == line ? v : &none;
}

/* Names of functions, each once. */
struct names {
	const char *name[16];
	int nr;
};

static void add_functions(const struct lines *l, struct names *n, const __u64 *pc)
{
	const char *name;
	int i, j;

	for (i = 0; i < LINES_PCS && pc[i]; i++) {
		name = function_at(l, pc[i]);
		for (j = 0; j < n->nr && strcmp(n->name[j], name); j++)
			;
		if (j == n->nr && n->nr < 16)
			n->name[n->nr++] = name;
	}
}

static void print_functions(const struct names *n)
{
	int i;

	for (i = 0; i < n->nr; i++)
		printf("%s%s", i ? ", " : " (", n->name[i]);
	printf("%s\n", n->nr ? ")" : "");
}

/**
 * struct sum - what CPUs did to the lines of a part
 * @shared: lines that both write
 * @writes: how often each CPU writes these
 * @transfers: how often it gets one of the part's lines from another CPU, or takes it away
 * @names: what does that
 */
struct sum {
	int shared;
	__u64 writes[CPUS];
	__u64 transfers[CPUS];
	struct names names;
};

static struct sum sum_part(const struct lines *l, const char *part)
{
	struct sum s = {};
	int cpu, i;

	for (cpu = 0; cpu < CPUS; cpu++) {
		for (i = 0; i < LINES_SLOTS; i++) {
			const struct lines_line *v = &l->shm->cpu[cpu].line[i];
			bool shared;

			if (!v->line || strcmp(part_at(l, v->vaddr)->name, part))
				continue;
			shared = v->writes && find_line(l, 1 - cpu, v->line)->writes;
			if (shared)
				s.writes[cpu] += v->writes;
			s.shared += shared && !cpu;
			s.transfers[cpu] += v->transfers;
			if (shared || v->transfers)
				add_functions(l, &s.names, v->pc);
		}
	}

	return s;
}

static void print_cpu(const struct lines *l, const char *what, int cpu)
{
	const struct lines_cpu *c = &l->shm->cpu[cpu];
	double calls = c->calls ?: 1;
	__u64 transfers = 0;
	int i, n = 0;

	for (i = 0; i < LINES_SLOTS; i++) {
		n += c->line[i].writes > 0;
		transfers += c->line[i].transfers;
	}
	printf("# %s: CPU %d: %llu calls, %.1f stores a call; %d lines written, %.2f a call; %llu transfers, %.2f a call\n",
	       what, cpu, (unsigned long long)c->calls, c->stores / calls, n, n / calls,
	       (unsigned long long)transfers, transfers / calls);
}

static void judge_part(const struct lines *l, const char *what, __u64 calls, const char *part,
		       const struct allowed *list)
{
	struct sum s = sum_part(l, part);
	int cpu;

	if (!s.shared && !s.transfers[0] && !s.transfers[1])
		return;
	printf("# %s: %s: both write %d lines, %llu and %llu times; %llu and %llu transfers", what,
	       part, s.shared, s.writes[0], s.writes[1], s.transfers[0], s.transfers[1]);
	print_functions(&s.names);
	if (!list || !s.shared)
		return;
	while (list->part && strcmp(list->part, part))
		list++;
	ASSERT(list->part, "both CPUs write %s", part);
	for (cpu = 0; cpu < CPUS && list->calls; cpu++)
		ASSERT(s.writes[cpu] <= calls / list->calls + 1,
		       "CPU %d writes lines of %s that the other CPU writes %llu times in %llu calls",
		       cpu, part, s.writes[cpu], calls);
}

/* Print what was recorded. With @list, a line that both write must be in it. */
static void judge(const struct lines *l, const char *what, __u64 calls, const struct allowed *list)
{
	int cpu, i, j;

	printf("# %s: %llu allocations failed\n", what, *l->failed);
	for (cpu = 0; cpu < CPUS; cpu++) {
		print_cpu(l, what, cpu);
		ASSERT_EQ(l->shm->cpu[cpu].lost, 0, "accesses not recorded");
		ASSERT_EQ(l->shm->cpu[cpu].calls, calls, "calls recorded");
	}
	judge_part(l, what, calls, ELSEWHERE, list);
	for (i = 0; i < l->nr_parts; i++) {
		for (j = 0; j < i && strcmp(l->parts[j].name, l->parts[i].name); j++)
			;
		if (j == i)
			judge_part(l, what, calls, l->parts[i].name, list);
	}
}

/* Both CPUs do it, are recorded, and judged. */
static void count(struct lines *l, const char *what, enum lines_op op, int cnt, int runs,
		  const struct allowed *list)
{
	memset(l->shm->cpu, 0, sizeof(l->shm->cpu));
	*l->failed = 0;
	ASSERT(run(l, op, cnt, runs), "run");
	judge(l, what, (__u64)cnt * runs * (op == LINES_BOTH ? 2 : 1), list);
}

/* The pool grows with the first allocation; the next one gives the CPU credit. */
static bool warm_up(struct lines *l)
{
	if (!run(l, LINES_ALLOC, 1, 1))
		return false;
	usleep(200000);

	return run(l, LINES_ALLOC, 4, 1);
}

TEST(lines, few, "with a magazine and credit, allocations write no cache line that another CPU writes")
{
	struct lines l;

	ASSERT(lines_open(&l, false) && warm_up(&l), "load");
	count(&l, "alloc", LINES_ALLOC, 24, 1, alloc_few);
	ASSERT_OK();
	count(&l, "free", LINES_FREE, 24, 1, free_few);
	lines_close(&l);
}

TEST_LONG(lines, many, 180, "of a thousand allocations and frees, few write the tree or a counter for all CPUs")
{
	struct lines l;

	ASSERT(lines_open(&l, false) && warm_up(&l), "load");
	count(&l, "alloc", LINES_ALLOC, 32, 32, alloc_many);
	ASSERT_OK();
	count(&l, "free", LINES_FREE, 32, 32, free_few);
	ASSERT_OK();
	count(&l, "both", LINES_BOTH, 32, 32, reuse);
	lines_close(&l);
}

/* For comparison. */
TEST_LONG(lines, intree, 180, "the accesses of the kernel's own arena are counted in the same way")
{
	struct lines l;

	ASSERT(lines_open(&l, true), "load");
	ASSERT(run(&l, LINES_ALLOC, 4, 1), "warm up");
	count(&l, "alloc", LINES_ALLOC, 24, 1, NULL);
	ASSERT_OK();
	count(&l, "free", LINES_FREE, 24, 1, NULL);
	ASSERT_OK();
	count(&l, "both", LINES_BOTH, 32, 4, NULL);
	lines_close(&l);
}
