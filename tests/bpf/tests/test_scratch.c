// SPDX-License-Identifier: GPL-2.0
/*
 * The scratch page of 7.x: an access by kernel code to an unmapped arena page leaves the
 * kernel's scratch page in its place. Kfuncs of a test module make these accesses. For
 * programs and user space the slot must still be free.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>

#include "runner.h"
#include "arena.h"
#include "scratch.skel.h"

struct scratch {
	struct scratch_bpf *skel;
	struct arena arena;
	char *base;
	int fd;
};

/* An arena with the peeking program; not adopted yet. */
static bool scratch_open(struct scratch *x)
{
	size_t len;
	int err;

	err = mod_load_file("/anl_test.ko", "");
	if (err && err != -EEXIST) {
		printf("# /anl_test.ko: %s\n", strerror(-err));
		return false;
	}
	x->skel = scratch_bpf__open_and_load();
	if (!x->skel)
		return false;
	x->fd = bpf_map__fd(x->skel->maps.arena);
	x->base = bpf_map__initial_value(x->skel->maps.arena, &len);

	return true;
}

/* Adopt it. */
static bool scratch_adopt(struct scratch *x)
{
	return arena_attach(&x->arena, x->fd, x->base, 64);
}

static void scratch_close(struct scratch *x)
{
	arena_close(&x->arena);
	scratch_bpf__destroy(x->skel);
}

static bool scratch_run(struct scratch *x, bool raw)
{
	struct bpf_program *prog = raw ? x->skel->progs.scratch_raw : x->skel->progs.scratch_sys;
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	return !bpf_prog_test_run_opts(bpf_program__fd(prog), &opts);
}

/* The access by the kernel. */
static __u64 kernel_peek(struct scratch *x, long pgoff, bool raw)
{
	x->skel->bss->addr = (__u64)x->base + pgoff * PAGE;
	x->skel->bss->poke = false;

	return scratch_run(x, raw) ? x->skel->bss->val : ~0ULL;
}

static bool kernel_poke(struct scratch *x, long pgoff, __u64 val)
{
	x->skel->bss->addr = (__u64)x->base + pgoff * PAGE;
	x->skel->bss->val = val;
	x->skel->bss->poke = true;

	return scratch_run(x, false);
}

TEST(scratch, kernel_view, "a kernel access through the arena's kernel address reaches the page")
{
	struct scratch x = {};

	ASSERT(scratch_open(&x) && scratch_adopt(&x), "load");
	ASSERT(arena_alloc(&x.arena, SLEEPABLE, NULL, 2) == x.base, "alloc");
	arena_write(&x.arena, SLEEPABLE, x.base, 77);
	ASSERT_EQ(kernel_peek(&x, 0, false), 77, "word that the kernel reads");
	ASSERT(kernel_poke(&x, 1, 88), "run");
	ASSERT_EQ(*(volatile __u64 *)(x.base + PAGE), 88, "word that user space reads");
	scratch_close(&x);
}

static void scratch_alloc(enum context ctx)
{
	struct scratch x = {};
	int i, cpu;
	char *p;

	if (kver < 70000)
		SKIP("no scratch page on this kernel");
	ASSERT(scratch_open(&x) && scratch_adopt(&x), "load");
	/* Every CPU gets to know the scratch page in its TLB. */
	for (cpu = 0; cpu < nr_cpus; cpu++) {
		pin_cpu(cpu);
		for (i = 0; i < 16; i += 2)
			kernel_peek(&x, i, cpu % 2);
	}
	pin_cpu(0);
	ASSERT(kernel_poke(&x, 2, 0xdead), "run");
	ASSERT_EQ(arena_pages(&x.arena), 0, "populated pages");

	/* Sixteen pages, wherever; what is written to them is there for all. */
	for (i = 0; i < 16; i++) {
		p = arena_alloc(&x.arena, ctx, NULL, 1);
		ASSERT(p, "alloc %d", i);
		ASSERT_EQ(arena_diff(&x.arena, ctx, p, 1, 0), 0, "words that are not zero");
		arena_write(&x.arena, ctx, p, 100 + i);
		ASSERT_EQ(*(volatile __u64 *)p, 100 + i, "word that user space reads");
		for (cpu = 0; cpu < nr_cpus; cpu++) {
			pin_cpu(cpu);
			ASSERT_EQ(arena_read(&x.arena, UNDER_RCU, p), 100 + i,
				  "word that a CPU reads");
		}
		pin_cpu(0);
	}
	ASSERT_EQ(arena_pages(&x.arena), 16, "populated pages");
	/* And no address is lost. */
	arena_free(&x.arena, ctx, x.base, 64);
	ASSERT(arena_alloc_wait(&x.arena, SLEEPABLE, x.base, 64) == x.base, "the whole arena");
	ASSERT_EQ(user_diff(x.base, 64, 0), 0, "words that are not zero");
	arena_mark(&x.arena, SLEEPABLE, x.base, 64, 5);
	for (cpu = 0; cpu < nr_cpus; cpu++) {
		pin_cpu(cpu);
		ASSERT_EQ(arena_unmarked(&x.arena, UNDER_RCU, x.base, 64, 5), 0,
			  "pages that differ");
	}
	scratch_close(&x);
}

TEST(scratch, alloc_sleepable, "every CPU sees the new page after an allocation over the scratch page")
{
	scratch_alloc(SLEEPABLE);
}

TEST(scratch, alloc_rcu, "every CPU sees the new page after an allocation under RCU over the scratch page")
{
	scratch_alloc(UNDER_RCU);
}

TEST(scratch, alloc_irq, "every CPU sees the new page after an allocation in an interrupt over the scratch page")
{
	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	scratch_alloc(HARDIRQ);
}

TEST(scratch, fixed, "an allocation at a fixed address under the scratch page succeeds")
{
	struct scratch x = {};
	int i;

	if (kver < 70000)
		SKIP("no scratch page on this kernel");
	ASSERT(scratch_open(&x) && scratch_adopt(&x), "load");
	for (i = 0; i < 16; i++)
		kernel_peek(&x, i, false);
	ASSERT(arena_alloc(&x.arena, SLEEPABLE, x.base, 8) == x.base, "sleepable");
	ASSERT(arena_alloc(&x.arena, UNDER_RCU, x.base + 8 * PAGE, 8) == x.base + 8 * PAGE,
	       "under rcu");
	arena_mark(&x.arena, SLEEPABLE, x.base, 16, 1);
	ASSERT_EQ(user_unmarked(x.base, 16, 1), 0, "pages that differ");
	scratch_close(&x);
}

TEST(scratch, freed, "a free of a range with the scratch page frees the pages and keeps the scratch page")
{
	struct scratch x = {};
	int round, i;

	if (kver < 70000)
		SKIP("no scratch page on this kernel");
	ASSERT(scratch_open(&x) && scratch_adopt(&x), "load");
	for (round = 0; round < 8; round++) {
		enum context ctx = round % 2 ? UNDER_RCU : SLEEPABLE;

		for (i = 0; i < 32; i += 2)
			kernel_peek(&x, i, false);
		ASSERT(arena_alloc(&x.arena, SLEEPABLE, x.base + 8 * PAGE, 8), "alloc");
		ASSERT_EQ(arena_reserve(&x.arena, SLEEPABLE, x.base + 20 * PAGE, 4), 0, "reserve");
		ASSERT_EQ(arena_pages(&x.arena), 8, "populated pages");
		user_mark(x.base + 8 * PAGE, 8, 1);
		arena_free(&x.arena, ctx, x.base, 64);
		ASSERT(arena_freed(&x.arena, ctx, x.base, 64), "free not finished");
		ASSERT_EQ(arena_pages(&x.arena), 0, "populated pages");
	}
	ASSERT(arena_alloc(&x.arena, SLEEPABLE, NULL, 64) == x.base, "the whole arena");
	ASSERT_EQ(user_diff(x.base, 64, 0), 0, "words that are not zero");
	scratch_close(&x);
}

TEST(scratch, user_fault, "a user access under the scratch page populates a page")
{
	struct scratch x = {};
	__u64 val = 1;

	if (kver < 70000)
		SKIP("no scratch page on this kernel");
	ASSERT(scratch_open(&x) && scratch_adopt(&x), "load");
	ASSERT(kernel_poke(&x, 3, 0xdead), "run");
	ASSERT_EQ(user_read_sig(x.base + 3 * PAGE, &val), 0, "signal");
	ASSERT_EQ(val, 0, "word: the scratch page is not for user space");
	ASSERT_EQ(user_write_sig(x.base + 3 * PAGE, 9), 0, "signal");
	ASSERT_EQ(arena_read(&x.arena, SLEEPABLE, x.base + 3 * PAGE), 9, "word that BPF reads");
	ASSERT_EQ(arena_pages(&x.arena), 1, "populated pages");
	scratch_close(&x);
}

TEST(scratch, reserved, "a kernel access to a reserved page keeps the reservation")
{
	struct scratch x = {};

	if (kver < 70000)
		SKIP("no scratch page on this kernel");
	ASSERT(scratch_open(&x) && scratch_adopt(&x), "load");
	ASSERT_EQ(arena_reserve(&x.arena, SLEEPABLE, x.base, 2), 0, "reserve");
	ASSERT(kernel_poke(&x, 0, 0xdead), "run");
	ASSERT_EQ(user_read_sig(x.base, NULL), SIGSEGV, "signal");
	ASSERT_EQ(arena_pages(&x.arena), 0, "populated pages");
	arena_free(&x.arena, SLEEPABLE, x.base, 2);
	ASSERT(arena_alloc(&x.arena, SLEEPABLE, x.base, 2) == x.base, "alloc after the free");
	ASSERT_EQ(user_diff(x.base, 2, 0), 0, "words that are not zero");
	scratch_close(&x);
}

TEST(scratch, adopted, "an arena that already has the scratch page mapped can be adopted")
{
	struct scratch x = {};
	__u64 val;
	int i;

	if (kver < 70000)
		SKIP("no scratch page on this kernel");
	ASSERT(scratch_open(&x), "load");
	*(volatile __u64 *)(x.base + 2 * PAGE) = 22;
	for (i = 0; i < 8; i++)
		kernel_peek(&x, i, i % 2);
	ASSERT(scratch_adopt(&x), "load");
	ASSERT_EQ(arena_pages(&x.arena), 1, "populated pages");
	ASSERT_EQ(user_read_sig(x.base + 2 * PAGE, &val), 0, "signal");
	ASSERT_EQ(val, 22, "word");
	ASSERT(arena_alloc(&x.arena, SLEEPABLE, NULL, 2) == x.base, "alloc");
	ASSERT(arena_alloc(&x.arena, SLEEPABLE, NULL, 61) == x.base + 3 * PAGE,
	       "alloc of the rest");
	arena_mark(&x.arena, SLEEPABLE, x.base, 64, 1);
	ASSERT_EQ(user_unmarked(x.base, 64, 1), 0, "pages that differ");
	scratch_close(&x);
}
