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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "core.h"

bool quick, icount, intree_atomic;
int runs, nr_cpus;

static const struct bench_case *const cases[] = {
	/* First, before the kernel keeps page tables of other arenas. */
	&case_fixed,
	&case_single,
	&case_loop,
	&case_bulk,
	&case_sizes,
	&case_irqoff,
	&case_frag,
	&case_scatter,
	&case_cpus,
	&case_crowd,
	&case_nmi,
	&case_burst,
	&case_objects,
	&case_flows,
	&case_lowmem,
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
				printf("%-8s %s\n", cases[i]->name, cases[i]->desc);
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

		if (fnmatch(glob, cases[i]->name, FNM_EXTMATCH))
			continue;
		zero_measure();
		cases[i]->run();
		note("%s took %s s", cases[i]->name, num((now_us() - t) / 1e6));
	}
	printf("DONE\n");

	return 0;
}
