// SPDX-License-Identifier: GPL-2.0
/*
 * scx_arena: load the scheduler of scx_arena.bpf.c, and show how long tasks ran and waited,
 * read from the scheduler's own memory.
 */
#include <string.h>
#include <unistd.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>

#include "arena_nolock_slab.h"
#include "cli.h"
#include "scx_arena.h"
#include "scx_arena.skel.h"

static const char help[] =
"usage: scx_arena [options]\n"
"\n"
"Schedules all tasks of this machine by weighted virtual time, and shows those that ran\n"
"the most. When this program ends or is killed, the kernel's own scheduler schedules\n"
"again.\n"
"\n"
"  -i, --interval SECONDS  time between tables (default 2)\n"
"  -c, --count N           number of tables (default: until Ctrl-C)\n"
"  -n, --lines N           tasks per table (default 10)\n"
"  -h, --help\n"
"\n"
"Needs root, and Linux 7.0 with sched_ext. Uses the module arena_nolock if it is loaded.\n";

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

static bool has_cid_form(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	bool has = btf && btf__find_by_name_kind(btf, "sched_ext_ops_cid", BTF_KIND_STRUCT) > 0;

	btf__free(btf);

	return has;
}

/* Load the scheduler in the form that this kernel prefers, and enable it. */
static struct bpf_link *enable(struct scx_arena_bpf **skel)
{
	bool cid = has_cid_form();
	struct bpf_link *link;

	*skel = scx_arena_bpf__open();
	if (!*skel)
		return NULL;
	bpf_map__set_autocreate((*skel)->maps.cid_ops, cid);
	bpf_map__set_autocreate((*skel)->maps.cpu_ops, !cid);
	if (scx_arena_bpf__load(*skel))
		return NULL;
	link = bpf_map__attach_struct_ops(cid ? (*skel)->maps.cid_ops : (*skel)->maps.cpu_ops);
	if (link)
		printf("%s form, pages from %s\n\n", cid ? "cid" : "cpu",
		       (*skel)->bss->module ? "arena_nolock" : "the kernel's own arena");
	else
		fprintf(stderr, "scx_arena: cannot attach the scheduler: %s\n", strerror(errno));

	return link;
}

int main(int argc, char **argv)
{
	unsigned long interval = 2, count = 0, lines = 10, shown = 0;
	const struct cli_option options[] = {
		{ "interval", 'i', NULL, &interval, 86400 },
		{ "count", 'c', NULL, &count, 1000000000 },
		{ "lines", 'n', NULL, &lines, 1000000 },
		{}
	};
	struct scx_arena_bpf *skel = NULL;
	struct bpf_link *link;
	int ret = 1;

	cli_parse(argc, argv, "scx_arena", help, options, 0);
	link = enable(&skel);
	if (!link)
		goto out;
	cli_catch_signals();
	while (!cli_stop && !skel->bss->ended) {
		sleep(interval);
		if (!print_table(skel, lines))
			goto out;
		if (count && ++shown == count)
			break;
	}
	ret = skel->bss->ended ? 1 : 0;
	if (ret)
		fprintf(stderr, "scx_arena: the kernel disabled the scheduler, exit kind %llu; see dmesg\n",
			(unsigned long long)skel->bss->ended);
out:
	bpf_link__destroy(link);
	scx_arena_bpf__destroy(skel);

	return ret;
}
