// SPDX-License-Identifier: GPL-2.0
/* Pages in a row with interrupts off, and how that grows with demand. */
#include "core.h"

static void run_burst(void)
{
	double got[SIDES] = { NONE, NONE }, grown[SIDES] = { NONE, NONE };
	struct arena a[SIDES];
	int side, first, i;

	first = arenas_open(a, 1 << 16, ATOMIC);
	for (side = first; side < SIDES; side++) {
		arena_attach(&a[side], "in_hook");
		for (i = 0; i < (quick ? 3 : 8); i++) {
			settle();
			grown[side] = hook_burst(&a[side], BENCH_PAGES, INSTRUMENT "hook");
			if (!i)
				got[side] = grown[side];
		}
	}
	arenas_close(a, first);
	result("burst.first", (struct result){ "pages", "more", NULL, { got[INTREE], got[MODULE] } },
	       "in a row, interrupts off, from a pool in its default state; %d asked for",
	       BENCH_PAGES);
	result("burst.later", (struct result){ "pages", "more", NULL,
						{ grown[INTREE], grown[MODULE] } },
	       "the %s such burst", quick ? "third" : "eighth");
}

const struct bench_case case_burst = {
	.name = "burst",
	.desc = "pages in a row with interrupts off",
	.run = run_burst,
};
