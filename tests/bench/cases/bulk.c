// SPDX-License-Identifier: GPL-2.0
/* Many pages in one call. */
#include <stdio.h>

#include "core.h"

static void run_bulk(void)
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

const struct bench_case case_bulk = {
	.name = "bulk",
	.desc = "2051 and 32768 pages in one call",
	.run = run_bulk,
};
