// SPDX-License-Identifier: GPL-2.0
/*
 * How long the operations of the range tree take, on a range of 2^20 pages and
 * without the cost of a lock.
 */
#include <stdio.h>
#include <time.h>

#include "model.h"

#define N	(1u << 20)

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);

	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

static void report(const char *what, double since, u32 ops)
{
	printf("%-44s %8.1f ns\n", what, (now() - since) / ops);
}

int main(void)
{
	u32 i, at = 1;
	struct pair p;
	double start;

	pair_init(&p, N);
	anl_tree_release(&p.rt, 0, N);

	start = now();
	for (i = 0; i < N; i++)
		if (anl_tree_alloc(&p.rt, 1) != i)
			return 1;
	report("alloc of 1 page, one after the other", start, N);

	start = now();
	for (i = 0; i < N; i++) {
		at = at * 1664525 + 1013904223;
		anl_tree_release(&p.rt, at % N, 1);
		if (anl_tree_alloc(&p.rt, 1) != at % N)
			return 1;
	}
	report("release of 1 page anywhere, alloc of it", start, N);

	for (i = 0; i < N; i += 2)
		anl_tree_release(&p.rt, i, 1);
	start = now();
	for (i = 0; i < N / 2; i++) {
		at = at * 1664525 + 1013904223;
		anl_tree_release(&p.rt, at % N | 1, 1);
		anl_tree_claim(&p.rt, at % N | 1, 1);
	}
	report("release and claim between holes", start, N / 2);
	start = now();
	for (i = 0; i < N; i += 2)
		if (anl_tree_alloc(&p.rt, 1) != i)
			return 1;
	report("alloc of 1 page, every other one", start, N / 2);

	anl_tree_release(&p.rt, 0, N);
	start = now();
	for (i = 0; i < 200; i++) {
		if (anl_tree_alloc(&p.rt, N))
			return 1;
		anl_tree_release(&p.rt, 0, N);
	}
	report("alloc and release of 2^20 pages", start, 200);
	start = now();
	for (i = 0; i < 20000; i++) {
		if (anl_tree_alloc(&p.rt, 2051))
			return 1;
		anl_tree_release(&p.rt, 0, 2051);
	}
	report("alloc and release of 2051 pages", start, 20000);
	pair_exit(&p);

	return 0;
}
