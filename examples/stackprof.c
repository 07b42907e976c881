// SPDX-License-Identifier: GPL-2.0
/*
 * stackprof: a profiler whose stack table grows in the NMIs that take the samples. This
 * program reads the table through shared memory, without a system call, and prints folded
 * stacks for flamegraph.pl.
 */
#include <string.h>
#include <unistd.h>
#include <bpf/libbpf.h>
#include <linux/membarrier.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>

#include "arena_nolock_slab.h"
#include "cli.h"
#include "stackprof.h"
#include "stackprof.skel.h"

#define CPUS 512

struct symbol {
	unsigned long addr;
	char name[64];
};

static struct symbol *symbols;
static size_t nr_symbols;
static const char help[] =
"usage: stackprof [options]\n"
"\n"
"Samples the stacks of all CPUs and prints folded stacks for flamegraph.pl: one stack a\n"
"line, its frames separated by semicolons, then its number of samples.\n"
"\n"
"  -d, --duration SECONDS  how long to sample (default 10, or until Ctrl-C)\n"
"  -F, --frequency HZ      samples per second and CPU (default 99)\n"
"  -p, --pid PID           sample this process only\n"
"  -u, --user              also print user stacks, as addresses\n"
"  -n, --nmi               take a sample in each NMI, instead of by a clock\n"
"  -h, --help\n"
"\n"
"Needs root, and the module arena_nolock or Linux 7.0. The clock is the CPU's cycle\n"
"counter, which samples in NMIs. A CPU without one, as in most guests, uses a timer.\n";

static int by_addr(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static void read_symbols(void)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	size_t room = 0;
	struct symbol s;
	char type;

	while (f && fscanf(f, "%lx %c %63s%*[^\n]", &s.addr, &type, s.name) == 3) {
		if (!s.addr || !strchr("tTwW", type))
			continue;
		if (nr_symbols == room) {
			room = room ? 2 * room : 65536;
			symbols = realloc(symbols, room * sizeof(s));
			if (!symbols)
				exit(1);
		}
		symbols[nr_symbols++] = s;
	}
	if (f)
		fclose(f);
	if (nr_symbols)
		qsort(symbols, nr_symbols, sizeof(s), by_addr);
}

static void print_frame(__u64 ip, bool kernel)
{
	size_t lo = 0, hi = nr_symbols;

	while (kernel && lo + 1 < hi) {
		size_t mid = (lo + hi) / 2;

		if (symbols[mid].addr <= ip)
			lo = mid;
		else
			hi = mid;
	}
	if (kernel && lo < hi && symbols[lo].addr <= ip)
		printf(";%s", symbols[lo].name);
	else
		printf(";0x%llx", (unsigned long long)ip);
}

/* A stack has its innermost frame first. Folded stacks have it last. */
static void print_stack(const struct stack *s)
{
	int i;

	printf("%s", s->comm[0] ? s->comm : "?");
	for (i = s->user - 1; i >= 0; i--)
		print_frame(s->ip[STACK_DEPTH / 2 + i], false);
	for (i = s->kernel - 1; i >= 0; i--)
		print_frame(s->ip[i], true);
	/* A sample in the kernel has at least one frame, so this one is in user space. */
	if (!s->user && !s->kernel)
		printf(";[user]");
	printf(" %llu\n", (unsigned long long)s->count);
}

/* The arena has the same address here as in the BPF program, so its pointers are valid. */
static unsigned long print_table(struct stackprof_bpf *skel, unsigned long *dir_pages)
{
	unsigned long n = 0;
	int d, h;

	for (d = 0; d < STACK_DIRS; d++) {
		const __u64 *heads = (const __u64 *)skel->bss->dirs[d];

		*dir_pages += !!heads;
		for (h = 0; heads && h < STACK_HEADS; h++) {
			const struct stack *s = (const struct stack *)heads[h];

			for (; s; s = (const struct stack *)s->next, n++)
				print_stack(s);
		}
	}

	return n;
}

static int open_clock(int cpu, int hz)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.config = PERF_COUNT_HW_CPU_CYCLES,
		.size = sizeof(attr),
		.freq = 1,
		.sample_freq = hz,
	};
	int fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd >= 0)
		return fd;
	attr.type = PERF_TYPE_SOFTWARE;
	attr.config = PERF_COUNT_SW_CPU_CLOCK;

	return syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
}

static int attach_clocks(struct stackprof_bpf *skel, struct bpf_link **links, int hz)
{
	int cpu, n = libbpf_num_possible_cpus(), got = 0;

	for (cpu = 0; cpu < n && cpu < CPUS; cpu++) {
		int fd = open_clock(cpu, hz);

		if (fd < 0)
			continue;	/* the CPU is offline */
		links[cpu] = bpf_program__attach_perf_event(skel->progs.on_clock, fd);
		if (links[cpu])
			got++;
		else
			close(fd);
	}

	return got;
}

int main(int argc, char **argv)
{
	unsigned long seconds = 10, hz = 0, pid = 0, dir_pages = 0, printed;
	bool user = false, nmi = false;
	const struct cli_option options[] = {
		{ "duration", 'd', NULL, &seconds, 86400 },
		{ "frequency", 'F', NULL, &hz, 10000 },
		{ "pid", 'p', NULL, &pid, 4194304 },
		{ "user", 'u', &user, NULL, 0 },
		{ "nmi", 'n', &nmi, NULL, 0 },
		{}
	};
	struct bpf_link *links[CPUS] = {};
	struct stackprof_bpf *skel;
	int i, ret = 1;

	cli_parse(argc, argv, "stackprof", help, options, 0);
	if (nmi && hz) {
		fprintf(stderr, "stackprof: --nmi and --frequency exclude each other\n");
		return 2;
	}
	if (pid && kill(pid, 0) && errno == ESRCH) {
		fprintf(stderr, "stackprof: there is no process %lu\n", pid);
		return 2;
	}
	skel = stackprof_bpf__open();
	if (!skel)
		return 1;
	skel->rodata->only_pid = pid;
	skel->rodata->with_user = user;
	if (stackprof_bpf__load(skel))
		goto out;
	cli_catch_signals();
	if (nmi) {
		links[0] = bpf_program__attach(skel->progs.on_nmi);
		if (!links[0])
			goto out;
	} else if (!attach_clocks(skel, links, hz ?: 99)) {
		fprintf(stderr, "stackprof: cannot attach to a clock on any CPU: %s\n",
			strerror(errno));
		goto out;
	}
	fprintf(stderr, "sampling...\n");
	for (i = 0; !cli_stop && i < (int)seconds; i++)
		sleep(1);
	for (i = 0; i < CPUS; i++)
		bpf_link__destroy(links[i]);
	/* membarrier() waits for an RCU grace period, so for all samples in progress. */
	syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	read_symbols();
	printed = print_table(skel, &dir_pages);
	fflush(stdout);
	fprintf(stderr, "%llu samples, %lu stacks in %llu pages, %llu samples lost\n",
		(unsigned long long)skel->bss->samples, printed,
		(unsigned long long)(skel->data->stacks.pages + dir_pages),
		(unsigned long long)skel->bss->lost);
	ret = 0;
out:
	stackprof_bpf__destroy(skel);
	free(symbols);

	return ret;
}
