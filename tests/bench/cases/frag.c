// SPDX-License-Identifier: GPL-2.0
/* Allocation in an arena with many free ranges. */
#include <stdio.h>

#include "core.h"

static void run_frag(void)
{
	static const int ranges[] = { 1, 1000, 100000, 500000 };
	int nr = quick ? 3 : 4, n, side, have = 0, first;
	double alloc[SIDES][4], two[SIDES][4];
	struct arena a[SIDES];
	char name[64];

	first = arenas_open(a, 1 << 20, ATOMIC);
	for (n = 0; n < nr; n++) {
		struct times t;

		/* Take every second page, by reservations, which need no memory. */
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

const struct bench_case case_frag = {
	.name = "frag",
	.desc = "allocation among many free ranges",
	.run = run_frag,
};
