// SPDX-License-Identifier: GPL-2.0
/* Alloc, use and free in a loop, and all CPU time that it costs, workers included. */
#include <unistd.h>

#include "core.h"

static void run_loop(void)
{
	double seconds = quick ? 0.5 : icount ? 0.05 : 3, per_cpu[SIDES], per_s[SIDES];
	struct sample cpu[SIDES] = {}, wall[SIDES] = {};
	double failed[SIDES] = { NONE, NONE };
	struct arena a[SIDES];
	int first, side, i;

	first = arenas_open(a, LOOP_PAGES, ATOMIC);
	/* A check of busy_us(): about 0 CPUs idle, about 1 in the spin. */
	{
		double t = now_us(), b = busy_us();

		usleep(500000);
		note("doing nothing keeps %s CPUs busy", num((busy_us() - b) / (now_us() - t)));
		t = now_us();
		b = busy_us();
		run(&a[MODULE], SLEEPABLE, (struct todo){ .op = OP_SPIN, .addr = 500000000 });
		note("one CPU's work keeps %s CPUs busy", num((busy_us() - b) / (now_us() - t)));
	}
	for (i = 0; i < (quick ? 1 : 3); i++) {
		for (side = first; side < SIDES; side++) {
			double begin, busy, t, b, done = 0;

			failed[side] = 0;
			settle();
			begin = now_us();
			busy = busy_us();
			while (now_us() - begin < seconds * 1e6) {
				volatile struct bench_slot *s;

				s = run(&a[side], ATOMIC, (struct todo){ .op = OP_LOOP, .n = 500 });
				done += s->done;
				if (s->failed)
					usleep(BACK_OFF_US);
				failed[side] += s->failed;
			}
			t = now_us();
			b = busy_us();
			add(&wall[side], done / (t - begin) * 1e6);
			/* Deferred work counts too. */
			settle();
			add(&cpu[side], done / (busy_us() - busy) * 1e6);
			note("%s: %s CPUs busy during the loop, %s s of CPU in %s s afterwards",
			     side_names[side], num((b - busy) / (t - begin)),
			     num((busy_us() - b) / 1e6), num((now_us() - t) / 1e6));
		}
	}
	arenas_close(a, first);
	for (side = 0; side < SIDES; side++) {
		per_cpu[side] = median(&cpu[side]);
		per_s[side] = median(&wall[side]);
	}
	result("loop1", (struct result){ "1/s of CPU", "more", "x1.5",
					 { per_cpu[INTREE], per_cpu[MODULE] } },
	       "all CPUs' time, workers included; zeroing %s%% / %s%%; no room %s / %s times",
	       num(zero_ns * per_cpu[INTREE] / 1e7), num(zero_ns * per_cpu[MODULE] / 1e7),
	       num(failed[INTREE]), num(failed[MODULE]));
	result("loop1.unzeroed", (struct result){ "1/s of CPU", "more", NULL,
		{ 1e9 / unzeroed(1e9 / per_cpu[INTREE], 1),
		  1e9 / unzeroed(1e9 / per_cpu[MODULE], 1) } }, "zeroing subtracted");
	result("loop1.wall", (struct result){ "1/s", "more", NULL,
					      { per_s[INTREE], per_s[MODULE] } },
	       "by the clock on the wall");
}

const struct bench_case case_loop = {
	.name = "loop",
	.desc = "alloc, use and free, sustained",
	.run = run_loop,
};
