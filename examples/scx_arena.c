// SPDX-License-Identifier: GPL-2.0
/*
 * scx_arena: loads the scheduler of scx_arena.bpf.c, and shows who runs and who waits,
 * from the scheduler's own memory.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/libbpf.h>
#include <linux/types.h>

#include "arena_nolock_slab.h"
#include "scx_arena.h"
#include "scx_arena.skel.h"

static volatile sig_atomic_t stop;

static const char help[] =
"usage: scx_arena [options]\n"
"\n"
"Schedules all tasks of this machine by weighted virtual time, as long as it runs, and\n"
"shows those that ran the most. The kernel's own scheduler takes over again when this\n"
"program ends, in whatever way.\n"
"\n"
"  -i, --interval SECONDS  between two tables (default 2)\n"
"  -c, --count N           end after so many tables (default: Ctrl-C)\n"
"  -n, --lines N           tasks in a table (default 10)\n"
"  -h, --help\n"
"\n"
"Needs root, and Linux 7.0 with sched_ext; the module arena_nolock is used if loaded.\n";

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static int by_time(const void *a, const void *b)
{
	const struct task_state *x = a, *y = b;

	return x->run_ns < y->run_ns ? 1 : x->run_ns > y->run_ns ? -1 : 0;
}

static bool print_table(struct scx_arena_bpf *skel, unsigned int lines)
{
	size_t n = 0, room = skel->data->tasks.objects + 1024, i;
	struct task_state *table = malloc(room * sizeof(*table));
	__u64 pages = skel->data->tasks.pages;
	int d, s;

	if (!table)
		return false;
	for (d = 0; d < TASK_DIRS; d++) {
		const __u64 *slots = (const __u64 *)skel->bss->dirs[d];

		pages += !!slots;
		for (s = 0; slots && s < TASK_SLOTS && n < room; s++) {
			__u64 t = __atomic_load_n(&slots[s], __ATOMIC_ACQUIRE);

			if (t)
				table[n++] = *(const struct task_state *)t;
		}
	}
	qsort(table, n, sizeof(*table), by_time);
	printf("%zu tasks in %llu pages, %llu scheduled without memory\n", n,
	       (unsigned long long)pages,
	       (unsigned long long)skel->bss->without);
	printf("%8s %-16s %10s %12s %12s\n", "PID", "NAME", "RUNS", "RAN/ms", "WAITED/ms");
	for (i = 0; i < n && i < lines; i++)
		printf("%8llu %-16.16s %10llu %12.1f %12.1f\n",
		       (unsigned long long)table[i].pid, table[i].comm,
		       (unsigned long long)table[i].runs, table[i].run_ns / 1e6,
		       table[i].wait_ns / 1e6);
	printf("\n");
	fflush(stdout);
	free(table);

	return true;
}

static unsigned long number(const char *what, const char *text, unsigned long max)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || !n || n > max) {
		fprintf(stderr, "scx_arena: %s has to be a number from 1 to %lu, not '%s'\n",
			what, max, text);
		exit(2);
	}

	return n;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "interval", required_argument, NULL, 'i' },
		{ "count", required_argument, NULL, 'c' },
		{ "lines", required_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	unsigned long interval = 2, count = 0, lines = 10, shown = 0;
	struct bpf_link *link = NULL;
	struct scx_arena_bpf *skel;
	int c, ret = 1;

	while ((c = getopt_long(argc, argv, "i:c:n:h", options, NULL)) != -1) {
		switch (c) {
		case 'i':
			interval = number("the interval", optarg, 86400);
			break;
		case 'c':
			count = number("the count", optarg, 1000000000);
			break;
		case 'n':
			lines = number("the number of lines", optarg, 1000000);
			break;
		case 'h':
			fputs(help, stdout);
			return 0;
		default:
			fputs(help, stderr);
			return 2;
		}
	}
	skel = scx_arena_bpf__open_and_load();
	if (!skel)
		return 1;
	link = bpf_map__attach_struct_ops(skel->maps.arena_ops);
	if (!link) {
		fprintf(stderr, "scx_arena: cannot take over scheduling: %s\n", strerror(errno));
		goto out;
	}
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	while (!stop && !skel->bss->ended) {
		sleep(interval);
		if (!print_table(skel, lines))
			goto out;
		if (count && ++shown == count)
			break;
	}
	ret = skel->bss->ended ? 1 : 0;
	if (ret)
		fprintf(stderr, "scx_arena: the kernel has ended it, reason %llu; see dmesg\n",
			(unsigned long long)skel->bss->ended);
out:
	bpf_link__destroy(link);
	scx_arena_bpf__destroy(skel);

	return ret;
}
