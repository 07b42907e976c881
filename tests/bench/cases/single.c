// SPDX-License-Identifier: GPL-2.0
/* alloc and free of one page: the calls alone. */
#include <stdio.h>

#include "core.h"

static void run_single(void)
{
	const struct {
		int prog;
		const char *name, *alloc_target, *free_target;
		int zeroed;	/* by the module's call, not by its worker */
	} kinds[] = {
		{ ATOMIC, "", "x5", "x2", 0 },
		/* The clock shows the flush on the other CPUs, which is the same for both. */
		{ SLEEPABLE, ".sleepable", "-", icount ? "x1.43" : "-", 1 },
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

const struct bench_case case_single = {
	.name = "single",
	.desc = "alloc and free of a page, the calls",
	.run = run_single,
};
