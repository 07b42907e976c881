// SPDX-License-Identifier: GPL-2.0
/* Measurements that more than one case makes. */
#include <string.h>

#include "core.h"

int measure_bursts(struct times *t, struct arena *a, int prog, int rounds, int cnt)
{
	int first = runs_in(INTREE, prog) ? INTREE : MODULE, i, side;

	memset(t, 0, sizeof(*t));
	for (i = 0; i < rounds + 2; i++) {
		for (side = first; side < SIDES; side++) {
			volatile struct bench_slot *s;

			settle();
			s = run(&a[side], prog, (struct todo){ .op = OP_BURST, .cnt = cnt });
			t->failed[side] += s->failed;
			if (i < 2)
				continue;
			add(&t->alloc[side], s->alloc_ns / (double)BENCH_BURST);
			add(&t->free[side], s->free_ns / (double)BENCH_BURST);
		}
	}

	return first;
}

int measure_bulk(struct times *t, struct arena *a, int prog, int rounds, int cnt)
{
	int first = runs_in(INTREE, prog) ? INTREE : MODULE, i, side;

	memset(t, 0, sizeof(*t));
	for (i = 0; i < rounds + 1; i++) {
		for (side = first; side < SIDES; side++) {
			volatile struct bench_slot *s;
			double ns;

			settle();
			s = run(&a[side], prog, (struct todo){ .op = OP_ALLOC, .cnt = cnt });
			ns = s->alloc_ns;
			t->failed[side] += s->failed;
			if (s->failed)
				continue;
			settle();
			s = run(&a[side], prog, (struct todo){ .op = OP_RANGE, .cnt = cnt,
				.addr = a[side].sh->pages[0][0] });
			if (!i && rounds > 1)
				continue;
			add(&t->alloc[side], ns);
			add(&t->free[side], s->free_ns);
		}
	}

	return first;
}

double hook_burst(struct arena *a, int n, const char *how)
{
	volatile struct bench_slot *s;
	double got;

	s = set_slot(a, BENCH_HOOK, (struct todo){ .op = OP_ALLOC, .n = n });
	write_text(how, "1");
	got = s->failed ? s->before : s->done;
	set_slot(a, BENCH_HOOK, (struct todo){ .op = OP_FREE, .n = n });
	write_text(INSTRUMENT "hook", "1");
	set_slot(a, BENCH_HOOK, (struct todo){ .op = OP_NONE });

	return got;
}
