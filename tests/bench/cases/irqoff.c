// SPDX-License-Identifier: GPL-2.0
/* The longest delay of a timer interrupt during one call. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core.h"

#define LATE_US 50

struct lateness {
	double worst, mean, wait;	/* us */
};

static void late_begin(void)
{
	write_text(INSTRUMENT "timer", icount ? "0 50" : "0 200");
}

static struct lateness late_end(void)
{
	double fired, worst = 0, mean = 0, wait = 0;

	sscanf(read_text(INSTRUMENT "timer"), "%lf %lf %lf %lf", &fired, &worst, &mean, &wait);
	write_text(INSTRUMENT "timer", "off");

	return (struct lateness){ worst / 1e3, mean / 1e3, wait / 1e3 };
}

struct late_samples {
	struct sample worst[SIDES], wait[SIDES], control, control_wait;
};

/* The delay above that of the control, and no less than a timer varies by itself. */
static double above(struct late_samples *l, int side)
{
	return fmax(smallest(&l->worst[side]) - smallest(&l->control), LATE_US);
}

/*
 * The host stops an emulated CPU now and then for milliseconds, at changing places. So
 * the time with interrupts off is at most the shortest of several longest delays. The
 * control shows the host's part of it.
 */
static void late_result(const char *what, const char *kind, int cnt, struct late_samples *l)
{
	double intree = smallest(&l->worst[INTREE]), module = smallest(&l->worst[MODULE]);
	double control = smallest(&l->control);
	char name[64], plot[64];
	const char *target;

	snprintf(name, sizeof(name), "irqoff.%s%s.%dk", what, kind, cnt / 1024);
	target = cnt == 32768 && intree_atomic ? "x100" : NULL;
	if (icount) {
		/* However many pages there are. */
		if (!target)
			target = "max25000";
		result(name, (struct result){ "ns", "less", target,
					      { intree * 1000, module * 1000 } },
		       "longest delay of a timer interrupt; control %s", num(control * 1000));
		return;
	}
	result(name, (struct result){ "us", "less", NULL, { intree, module } },
	       "longest delay, best of %d; control %s; median %s / %s, control %s; expected at a random moment %s / %s, control %s",
	       l->worst[MODULE].n, num(control), num(median(&l->worst[INTREE])),
	       num(median(&l->worst[MODULE])), num(median(&l->control)),
	       num(median(&l->wait[INTREE])), num(median(&l->wait[MODULE])),
	       num(median(&l->control_wait)));
	if (target) {
		snprintf(name, sizeof(name), "irqoff.%s%s.%dk.above", what, kind, cnt / 1024);
		result(name, (struct result){ "us", "less", target,
			{ above(l, INTREE), above(l, MODULE) } },
		       "what stands above the control, and no less than %d, which a timer varies by",
		       LATE_US);
	}
	snprintf(plot, sizeof(plot), "irqoff_%s%s", what, *kind ? "_atomic" : "");
	point(plot, cnt, intree, module);
	if (!*kind && *what == 'a')
		point("irqoff_control", cnt, NONE, control);
}

static void run_irqoff(void)
{
	static const int sizes[] = { 1024, 8192, 32768, 131072 };
	static const struct {
		int prog;
		const char *name;
	} kinds[] = { { SLEEPABLE, "" }, { UNDER_RCU, ".rcu" } };
	int nr_sizes = quick ? 2 : 4, i, k, n, side, first;
	static struct late_samples al, fr;
	struct arena a[SIDES];

	for (k = 0; k < (quick ? 1 : 2); k++) {
		first = arenas_open(a, quick ? 1 << 16 : 1 << 18, kinds[k].prog);
		for (n = 0; n < nr_sizes; n++) {
			int rounds = quick || icount ? 2 : n < 3 ? 15 : 5;

			memset(&al, 0, sizeof(al));
			memset(&fr, 0, sizeof(fr));
			for (i = 0; i < rounds; i++) {
				for (side = first; side < SIDES; side++) {
					volatile struct bench_slot *s;
					struct lateness late;
					double t;

					settle();
					late_begin();
					t = now_us();
					s = run(&a[side], kinds[k].prog, (struct todo){
						.op = OP_ALLOC, .cnt = sizes[n] });
					t = now_us() - t;
					late = late_end();
					if (s->failed) {
						note("%s: no %d pages, %s", side_names[side],
						     sizes[n], prog_names[kinds[k].prog]);
						continue;
					}
					add(&al.worst[side], late.worst);
					add(&al.wait[side], late.wait);

					settle();
					late_begin();
					run(&a[side], kinds[k].prog, (struct todo){
						.op = OP_RANGE, .cnt = sizes[n],
						.addr = a[side].sh->pages[0][0] });
					if (kinds[k].prog != SLEEPABLE)
						settle();
					late = late_end();
					add(&fr.worst[side], late.worst);
					add(&fr.wait[side], late.wait);

					/* The control: a spin of the same length. */
					if (side != MODULE)
						continue;
					settle();
					late_begin();
					run(&a[side], kinds[k].prog, (struct todo){
						.op = OP_SPIN, .addr = t * 1000 });
					late = late_end();
					add(&al.control, late.worst);
					add(&fr.control, late.worst);
					add(&al.control_wait, late.wait);
					add(&fr.control_wait, late.wait);
				}
			}
			late_result("alloc", kinds[k].name, sizes[n], &al);
			late_result("free", kinds[k].name, sizes[n], &fr);
		}
		arenas_close(a, first);
	}
}

const struct bench_case case_irqoff = {
	.name = "irqoff",
	.desc = "how long interrupts are off",
	.run = run_irqoff,
};
