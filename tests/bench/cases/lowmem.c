// SPDX-License-Identifier: GPL-2.0
/* Pages in a row with interrupts off, with free memory at the minimum watermark. */
#include <stdio.h>

#include "core.h"

static void run_lowmem(void)
{
	double got[SIDES] = { NONE, NONE }, hog[SIDES] = { NONE, NONE };
	double promised = read_num(PARAM "pool_pages") + read_num(PARAM "standby_pages");
	struct arena a[SIDES];
	char target[32];
	int side, first;

	first = arenas_open(a, 1 << 16, ATOMIC);
	for (side = first; side < SIDES; side++) {
		arena_attach(&a[side], "in_hook");
		settle();
		got[side] = hook_burst(&a[side], 2 * promised, INSTRUMENT "hog");
		hog[side] = read_num(INSTRUMENT "hog");
	}
	arenas_close(a, first);
	snprintf(target, sizeof(target), "min%.0f", promised);
	result("lowmem", (struct result){ "pages", "more", target, { got[INTREE], got[MODULE] } },
	       "in a row, interrupts off, after %s / %s pages were taken down to the minimum watermark; %.0f asked for",
	       num(hog[INTREE]), num(hog[MODULE]), 2 * promised);
}

const struct bench_case case_lowmem = {
	.name = "lowmem",
	.desc = "the same without free memory",
	.run = run_lowmem,
};
