// SPDX-License-Identifier: GPL-2.0
/* Scattered frees of single pages: TLB flushes, and when the pages are free again. */
#include <math.h>
#include <unistd.h>

#include "core.h"

#define SCATTERED 4096

static void run_scatter(void)
{
	struct sample reuse[SIDES] = {}, calls[SIDES] = {}, cpu[SIDES] = {}, call[SIDES] = {};
	int rounds = quick ? 1 : 5, i, side, first;
	double m[4][SIDES], lost[SIDES] = { NONE, NONE };
	struct arena a[SIDES];

	first = arenas_open(a, 1 << 16, ATOMIC);
	for (i = 0; i < rounds; i++) {
		for (side = first; side < SIDES; side++) {
			double begin, t, busy, n, idle, idle_t;
			volatile struct bench_slot *s;
			__u64 addr;

			s = run(&a[side], SLEEPABLE, (struct todo){ .op = OP_ALLOC,
				.cnt = 2 * SCATTERED });
			if (s->failed)
				die("no %d pages, %s", 2 * SCATTERED, side_names[side]);
			addr = a[side].sh->pages[0][0];
			settle();
			idle = ipis();
			idle_t = now_us();
			usleep(200000);
			idle = (ipis() - idle) / (now_us() - idle_t);

			n = ipis();
			busy = busy_us();
			begin = now_us();
			s = run(&a[side], ATOMIC, (struct todo){ .op = OP_SCATTER,
				.n = SCATTERED, .step = 2, .addr = addr });
			add(&call[side], s->free_ns / (double)SCATTERED);
			while (arena_pages(&a[side]) > SCATTERED && now_us() - begin < 60e6)
				usleep(500);
			t = now_us();
			add(&reuse[side], (t - begin) / 1e3);
			settle();
			t = now_us();
			add(&cpu[side], (busy_us() - busy) / 1e3);
			add(&calls[side], fmax(ipis() - n - idle * (t - begin), 0));

			/* Can each page be allocated again? */
			s = run(&a[side], SLEEPABLE, (struct todo){ .op = OP_CLAIM,
				.n = SCATTERED, .step = 2, .addr = addr });
			lost[side] = fmax(s->failed, isnan(lost[side]) ? 0 : lost[side]);
			run(&a[side], SLEEPABLE, (struct todo){ .op = OP_RANGE,
				.cnt = 2 * SCATTERED, .addr = addr });
			settle();
		}
	}
	arenas_close(a, first);
	for (side = 0; side < SIDES; side++) {
		m[0][side] = median(&calls[side]);
		m[1][side] = median(&reuse[side]);
		m[2][side] = median(&cpu[side]);
		m[3][side] = median(&call[side]);
	}
	result("scatter.ipis", (struct result){ "IPIs", "less", "x20",
						{ m[0][INTREE], m[0][MODULE] } },
	       "%d single pages; %d CPUs; what an idle system has is subtracted", SCATTERED,
	       nr_cpus);
	result("scatter.reusable", (struct result){ "ms", "less", NULL,
						    { m[1][INTREE], m[1][MODULE] } },
	       "until the last is; not reusable then: %s / %s", num(lost[INTREE]),
	       num(lost[MODULE]));
	result("scatter.cpu", (struct result){ "ms of CPU", "less", NULL,
					       { m[2][INTREE], m[2][MODULE] } },
	       "all CPUs, call and after");
	result("scatter.call", (struct result){ "ns", "less", NULL,
						{ m[3][INTREE], m[3][MODULE] } },
	       "a free, the call alone");
	point("ipis", 4096, m[0][INTREE], m[0][MODULE]);
}

const struct bench_case case_scatter = {
	.name = "scatter",
	.desc = "4096 scattered frees",
	.run = run_scatter,
};
