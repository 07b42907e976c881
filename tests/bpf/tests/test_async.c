// SPDX-License-Identifier: GPL-2.0
/*
 * arena_nolock_free_pages_async(): what a sleepable program frees page by page costs few TLB
 * flushes, and all of it is free soon.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>

#include "async.h"
#include "runner.h"
#include "arena.h"
#include "async.skel.h"

static bool run(struct bpf_program *prog)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	return !bpf_prog_test_run_opts(bpf_program__fd(prog), &opts);
}

/* Function calls sent to other CPUs, as TLB flushes of kernel addresses are. */
static long ipis(void)
{
	char *p = strstr(read_file("/proc/interrupts") ?: "", "CAL:"), *end;
	long sum = 0, n;

	for (p = p ? p + 4 : ""; *p && *p != '\n'; p = end) {
		n = strtol(p, &end, 10);
		if (end == p)
			break;
		sum += n;
	}

	return sum;
}

/* Free @cnt pages, one by one. Returns the IPIs until all are free, or -1. */
static long free_pages(struct async_bpf *s, struct bpf_program *prog, __u32 cnt, const char *what)
{
	int fd = bpf_map__fd(s->maps.arena);
	long n, before = ipis();

	s->bss->got = 0;
	if (!run(prog) || !wait_for(map_pages(fd) == 2 * ASYNC_PAGES - cnt, 20000))
		return -1;
	n = ipis() - before;
	printf("# %s: %llu ns a page, %ld IPIs\n", what,
	       (unsigned long long)s->bss->ns / cnt, n);
	/* Addresses are free a moment after their pages are. */
	if (!wait_for((run(s->progs.async_again), s->bss->got >= cnt), 20000))
		return -1;

	return n;
}

/* On arm64 an instruction flushes the TLBs of all CPUs. */
#ifdef __x86_64__
#define FLUSH_BY_IPI 1
#else
#define FLUSH_BY_IPI 0
#endif

/* Without the module, how many frees share a flush is up to the kernel's worker. */
static void cheaper(bool module)
{
	struct async_bpf *s = async_bpf__open_and_load();
	__u64 synchronous = 0, asynchronous = 0;
	long now = 0, later = 0;
	int tries;

	ASSERT(s, "load: %s", strerror(errno));
	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	keep_busy();
	ASSERT(run(s->progs.async_alloc) && s->bss->page, "no pages");
	if (!module && !map_pages(bpf_map__fd(s->maps.arena)))
		SKIP("this kernel does not count the pages of its own arenas");
	/* The host may stop a guest's CPU for a while. */
	for (tries = 0; tries < 5 && !(tries && asynchronous < synchronous); tries++) {
		now = free_pages(s, s->progs.async_free_now, ASYNC_NOW, "free");
		ASSERT(now >= 0, "%u of %u pages are free", s->bss->got, ASYNC_NOW);
		synchronous = s->bss->ns / ASYNC_NOW / (FLUSH_BY_IPI ? 2 : 1);
		later = free_pages(s, s->progs.async_free, ASYNC_PAGES, "asynchronous free");
		ASSERT(later >= 0, "%u of %u pages are free", s->bss->got, ASYNC_PAGES);
		asynchronous = s->bss->ns / ASYNC_PAGES;
	}
	ASSERT_EQ(map_pages(bpf_map__fd(s->maps.arena)), 2 * ASYNC_PAGES, "pages at the end");
	ASSERT(!FLUSH_BY_IPI || now > ASYNC_NOW / 2, "%ld IPIs for %d synchronous frees", now, ASYNC_NOW);
	ASSERT(!module || later < ASYNC_PAGES / 8, "%ld IPIs for %d asynchronous frees", later,
	       ASYNC_PAGES);
	/* On a debug kernel the kernel's own frees cost more than the flushes that they save. */
	ASSERT(asynchronous < synchronous || (!module && patience > 1),
	       "%llu ns a page, expected less than %llu",
	       (unsigned long long)asynchronous, (unsigned long long)synchronous);
	async_bpf__destroy(s);
}

TEST(async, cheaper, "asynchronous frees of a sleepable program share TLB flushes, and all complete")
{
	cheaper(true);
}

TEST(async, nested, "an asynchronous free works under RCU, with preemption off, and in an NMI")
{
	struct async_bpf *s = async_bpf__open_and_load();

	NEED_NMIS();
	ASSERT(s, "load: %s", strerror(errno));
	ASSERT(run(s->progs.async_alloc) && s->bss->page, "no pages");
	ASSERT(run(s->progs.async_nested), "run");
	ASSERT(attach_nmis(s->progs.async_in_nmi), "attach: %s", strerror(errno));
	ASSERT(send_nmis(), "NMIs: %s", strerror(errno));
	ASSERT(wait_for(map_pages(bpf_map__fd(s->maps.arena)) == 2 * ASYNC_PAGES - 3, 10000),
	       "%ld pages left", map_pages(bpf_map__fd(s->maps.arena)));
	async_bpf__destroy(s);
}

TEST(nomod, async, "on 7.x asynchronous frees do not wait and complete without the module")
{
	if (!has_intree_nonsleepable)
		SKIP("the kernel's own kfuncs may sleep");
	cheaper(false);
}
