// SPDX-License-Identifier: GPL-2.0
/* Single pages for NMIs that interrupt allocations. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <bpf/libbpf.h>

#include "core.h"

/* The tracepoint that NMIs reach. */
static bool find_tracepoint(char name[32])
{
	return sscanf(read_text(NMI_TRACEPOINT), "%31s", name) == 1 && strcmp(name, "none");
}

static void attach(struct arena *a, const char *tracepoint)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(a->obj, "in_nmi");

	a->link = bpf_program__attach_raw_tracepoint(prog, tracepoint);
	if (!a->link)
		die("attach to %s", tracepoint);
}

static void run_nmi(void)
{
	double share[SIDES] = { NONE, NONE }, inside[SIDES] = { NONE, NONE };
	double left[SIDES] = { NONE, NONE }, nmis[SIDES] = { NONE, NONE }, hits[SIDES] = { NONE, NONE };
	struct arena a[SIDES];
	char tracepoint[32];
	int side, first;

	if (!find_tracepoint(tracepoint)) {
		note("this kernel has no NMIs");
		return;
	}
	first = arenas_open(a, 1 << 16, ATOMIC);
	for (side = first; side < SIDES; side++) {
		volatile struct bench_slot *s;
		double begin, done = 0, failed = 0;

		attach(&a[side], tracepoint);
		settle();
		s = set_slot(&a[side], BENCH_NMI, (struct todo){ .op = OP_LOOP });
		write_text(NMI_SOURCE, "0 100");
		begin = now_us();
		while (now_us() - begin < (quick ? 2e6 : 20e6)) {
			volatile struct bench_slot *l;

			l = run(&a[side], ATOMIC, (struct todo){ .op = OP_LOOP, .n = 200 });
			done += l->done;
			failed += l->failed;
			/* The arena must not get full. */
			while (arena_pages(&a[side]) > 1 << 14)
				usleep(1000);
		}
		write_text(NMI_SOURCE, "off");
		usleep(1000);
		s->op = OP_NONE;
		nmis[side] = read_num(NMI_SOURCE);
		share[side] = 100.0 * s->done / (s->done + s->failed);
		hits[side] = s->hits;
		inside[side] = 100.0 * (s->hits - s->hits_failed) / s->hits;
		settle();
		left[side] = arena_pages(&a[side]);
		note("%s: %s NMIs, %llu allocations in them, %llu failed; %u interrupted an allocation, %u of these failed; the interrupted had %s and failed %s times",
		     side_names[side], num(nmis[side]), s->done + s->failed, s->failed, s->hits,
		     s->hits_failed, num(done), num(failed));
		bpf_link__destroy(a[side].link);
		a[side].link = NULL;
	}
	arenas_close(a, first);
	result("nmi.success", (struct result){ "%", "more", "min99.9",
					       { share[INTREE], share[MODULE] } },
	       "of single pages, in %s / %s NMIs", num(nmis[INTREE]), num(nmis[MODULE]));
	result("nmi.inside", (struct result){ "%", "more", NULL,
					      { inside[INTREE], inside[MODULE] } },
	       "the same, of the %s / %s NMIs that interrupted an allocation",
	       num(hits[INTREE]), num(hits[MODULE]));
	result("nmi.left", (struct result){ "pages", "less", "max0",
					    { left[INTREE], left[MODULE] } },
	       "still there after all were freed, half of them in an NMI");
}

const struct bench_case case_nmi = {
	.name = "nmi",
	.desc = "pages for NMIs",
	.run = run_nmi,
};
