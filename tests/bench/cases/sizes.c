// SPDX-License-Identifier: GPL-2.0
/* Latency by page_cnt, for the plots. */
#include <stdio.h>

#include "core.h"

/* The plot of latency by page_cnt. */
static void run_sizes(void)
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

const struct bench_case case_sizes = {
	.name = "sizes",
	.desc = "latency by page_cnt",
	.run = run_sizes,
};
