// SPDX-License-Identifier: GPL-2.0
/*
 * Adoption: the module takes a stock arena that is in use. The arena keeps its pages,
 * reservations and mappings, and the kernel's own kfuncs can no longer change it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "oracle.h"
#include "kernel_user.h"
#include "runner.h"
#include "arena.h"
#include "globals.skel.h"
#include "odd.skel.h"
#include "reject.skel.h"
#include "stock.skel.h"

/* The second half. @raw stays usable: it is the same arena. */
static bool adopt(struct arena *a, const struct arena *raw)
{
	return arena_attach(a, raw->fd, raw->base, raw->pages);
}

/* The kernel's own kfuncs on an arena. */
static struct stock_bpf *stock_open(const struct arena *raw)
{
	struct stock_bpf *skel = stock_bpf__open();

	if (!skel)
		return NULL;
	bpf_program__set_autoload(skel->progs.stock_under_rcu, has_intree_nonsleepable);
	if (bpf_map__reuse_fd(skel->maps.arena, raw->fd) || stock_bpf__load(skel)) {
		stock_bpf__destroy(skel);
		return NULL;
	}

	return skel;
}

static __u64 stock_call(struct stock_bpf *skel, bool raw, enum request_op op, void *addr, __u32 cnt)
{
	struct bpf_program *prog = raw ? skel->progs.stock_under_rcu : skel->progs.stock_sleepable;
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	skel->bss->req = (struct arena_req){
		.op = op, .addr = (__u64)addr, .cnt = cnt, .node = -1,
	};
	if (bpf_prog_test_run_opts(bpf_program__fd(prog), &opts))
		return ~0ULL;

	return *(volatile __u64 *)&skel->bss->req.ret;
}

TEST(adopt, globals, "adoption keeps the values that libbpf wrote into variables of the arena")
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	struct globals_bpf *skel = globals_bpf__open_and_load();
	long pages = (sizeof(skel->arena->numbers) + 4095) / PAGE;
	char *first, *last;
	int fd, i;

	ASSERT(skel, "load");
	fd = bpf_map__fd(skel->maps.arena);
	first = (char *)skel->arena;
	last = first + sizeof(*skel->arena) - 1;
	ASSERT_EQ(skel->arena->magic, 0x1122334455667788, "magic in user space");
	ASSERT_EQ(skel->arena->numbers[2], 3, "third number");
	ASSERT(map_pages(fd) >= pages && map_pages(fd) <= pages + 2, "%ld pages for %ld",
	       map_pages(fd), pages);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.globals_sys), &opts),
			  0, "run");
		ASSERT_EQ(opts.retval, 1, "magic for BPF");
		ASSERT_EQ(skel->arena->sum, 1 + 2 + 3 + 42, "sum of the numbers");
		ASSERT(skel->bss->page, "alloc");
		ASSERT((char *)skel->bss->page > last || (char *)skel->bss->page + PAGE <= first,
		       "a page that holds variables was handed out");
		user_fill((void *)skel->bss->page, 1, ~0ULL);
	}
	ASSERT_EQ(skel->arena->magic, 0x1122334455667788, "magic in user space, at the end");
	globals_bpf__destroy(skel);
}

TEST(adopt, faulted_pages, "adoption keeps pages that user faults populated, with their contents")
{
	struct arena raw, a;

	ASSERT(arena_stock(&raw, "stock", 64, 0), "arena");
	user_mark(arena_page(&raw, 2), 3, 200);
	user_mark(arena_page(&raw, 63), 1, 300);
	ASSERT(adopt(&a, &raw), "load");
	ASSERT_EQ(arena_pages(&a), 4, "populated pages");
	ASSERT_EQ(user_unmarked(arena_page(&a, 2), 3, 200), 0, "pages that differ in user space");
	ASSERT_EQ(arena_unmarked(&a, SLEEPABLE, arena_page(&a, 2), 3, 200), 0,
		  "pages that differ for BPF");
	ASSERT_EQ(arena_read(&a, UNDER_RCU, arena_page(&a, 63)), 300, "last page");
	ASSERT(!arena_alloc_once(&a, SLEEPABLE, arena_page(&a, 4), 1), "fixed, taken");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 3) == arena_page(&a, 5), "3 pages");
	ASSERT(arena_alloc(&a, UNDER_RCU, NULL, 2) == a.base, "2 pages");
	ASSERT_EQ(user_diff(a.base, 2, 0), 0, "words that are not zero");
	arena_free(&a, SLEEPABLE, arena_page(&a, 2), 1);
	ASSERT_EQ(user_diff(arena_page(&a, 2), 1, 0), 0, "words that are not zero after the free");
	arena_close(&a);
}

static void stock_allocs(bool non_sleepable)
{
	struct stock_bpf *stock;
	struct arena raw, a;
	char *p;
	int i;

	if (non_sleepable && !has_intree_nonsleepable)
		SKIP("the kernel's own kfuncs may sleep");
	ASSERT(arena_stock(&raw, "stock", 64, 0), "arena");
	stock = stock_open(&raw);
	ASSERT(stock, "load of the stock program");
	p = (char *)stock_call(stock, non_sleepable, REQ_ALLOC, NULL, 5);
	ASSERT(p == raw.base, "stock alloc");
	p = (char *)stock_call(stock, non_sleepable, REQ_ALLOC, arena_page(&raw, 20), 2);
	ASSERT(p == arena_page(&raw, 20), "stock alloc, fixed");
	stock_call(stock, non_sleepable, REQ_FREE, arena_page(&raw, 3), 1);
	user_mark(raw.base, 3, 1);
	user_mark(arena_page(&raw, 4), 1, 5);
	user_mark(arena_page(&raw, 20), 1, 21);

	/* On 7.x the stock free may still be on its way. */
	ASSERT(adopt(&a, &raw), "load");
	ASSERT_EQ(arena_pages(&a), 7 - 1, "populated pages");
	ASSERT_EQ(arena_unmarked(&a, SLEEPABLE, a.base, 3, 1), 0, "pages that differ for BPF");
	ASSERT_EQ(arena_read(&a, SLEEPABLE, arena_page(&a, 20)), 21, "page 20");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 1) == arena_page(&a, 3), "the gap");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 15) == arena_page(&a, 5), "the bigger gap");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 1) == arena_page(&a, 22), "behind");
	arena_free(&a, UNDER_RCU, a.base, 64);
	ASSERT(arena_settle(&a, 0), "free not finished");

	/* From now on the stock kfuncs fail, and harm nothing. */
	ASSERT(arena_alloc_wait(&a, SLEEPABLE, NULL, 64) == a.base, "the whole arena");
	user_mark(a.base, 64, 7);
	for (i = 0; i < 2; i++) {
		bool in_raw = i && has_intree_nonsleepable;

		stock_call(stock, in_raw, REQ_FREE, a.base, 64);
		ASSERT_EQ(stock_call(stock, in_raw, REQ_ALLOC, NULL, 1), 0, "stock alloc");
		if (has_intree_nonsleepable)
			ASSERT_EQ((int)stock_call(stock, in_raw, REQ_RESERVE, a.base, 1), -EINVAL,
				  "stock reserve");
	}
	ASSERT_EQ(arena_pages(&a), 64, "populated pages");
	ASSERT_EQ(arena_unmarked(&a, SLEEPABLE, a.base, 64, 7), 0, "pages that differ");
	arena_free(&a, SLEEPABLE, a.base, 64);
	ASSERT_EQ(stock_call(stock, false, REQ_ALLOC, NULL, 1), 0, "stock alloc in an empty arena");
	ASSERT_EQ(stock_call(stock, false, REQ_ALLOC, arena_page(&a, 9), 1), 0,
		  "stock alloc, fixed");
	ASSERT_EQ(arena_pages(&a), 0, "populated pages");
	stock_bpf__destroy(stock);
	arena_close(&a);
}

TEST(adopt, stock_pages, "adoption keeps stock allocations, and the stock kfuncs fail cleanly afterwards")
{
	stock_allocs(false);
}

TEST(adopt, stock_pages_rcu, "adoption keeps stock allocations under RCU, and stock kfuncs fail cleanly afterwards")
{
	stock_allocs(true);
}

TEST(adopt, stock_reservations, "adoption keeps stock reservations until a free ends them")
{
	struct stock_bpf *stock;
	struct arena raw, a;

	if (!has_intree_nonsleepable)
		SKIP("the kernel has no reservations");
	ASSERT(arena_stock(&raw, "stock", 64, 0), "arena");
	stock = stock_open(&raw);
	ASSERT(stock, "load of the stock program");
	ASSERT_EQ(stock_call(stock, false, REQ_RESERVE, arena_page(&raw, 4), 3), 0,
		  "stock reserve");
	ASSERT_EQ(stock_call(stock, true, REQ_RESERVE, arena_page(&raw, 60), 4), 0,
		  "stock reserve");
	ASSERT(adopt(&a, &raw), "load");
	ASSERT_EQ(arena_pages(&a), 0, "populated pages");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 5) == arena_page(&a, 7), "5 pages");
	ASSERT(!arena_alloc_once(&a, SLEEPABLE, arena_page(&a, 5), 1), "fixed in the reservation");
	ASSERT_EQ(arena_reserve(&a, SLEEPABLE, arena_page(&a, 63), 1), -EBUSY, "reserve again");
	ASSERT_EQ(user_read_sig(arena_page(&a, 4), NULL), SIGSEGV, "user access");
	ASSERT_EQ(user_read_sig(arena_page(&a, 3), NULL), 0, "user access to the page before");
	arena_free(&a, SLEEPABLE, arena_page(&a, 4), 3);
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 3) == a.base, "3 pages");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 3) == arena_page(&a, 4), "3 pages after the free");
	stock_bpf__destroy(stock);
	arena_close(&a);
}

static int no_print(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return 0;
}

TEST(adopt, rejected_program, "an arena works if the verifier rejects its program after the adoption")
{
	libbpf_print_fn_t print = libbpf_set_print(no_print);
	struct reject_bpf *skel;
	struct arena raw, a;
	int i;

	ASSERT(arena_stock(&raw, "stock", 64, 0), "arena");
	user_mark(raw.base, 4, 40);
	for (i = 0; i < 3; i++) {
		skel = reject_bpf__open();
		ASSERT(skel, "open");
		ASSERT(!bpf_map__reuse_fd(skel->maps.arena, raw.fd), "reuse");
		ASSERT(reject_bpf__load(skel), "the program was not refused");
		reject_bpf__destroy(skel);
	}
	libbpf_set_print(print);
	ASSERT_EQ(map_pages(raw.fd), 4, "populated pages");
	ASSERT_EQ(user_unmarked(raw.base, 4, 40), 0, "pages that differ");
	ASSERT_EQ(user_write_sig(arena_page(&raw, 10), 50), 0, "user access");
	ASSERT_EQ(map_pages(raw.fd), 5, "populated pages after a user access");
	ASSERT(adopt(&a, &raw), "load");
	ASSERT_EQ(arena_unmarked(&a, SLEEPABLE, a.base, 4, 40), 0, "pages that differ for BPF");
	ASSERT_EQ(arena_read(&a, SLEEPABLE, arena_page(&a, 10)), 50, "page 10");
	ASSERT(arena_alloc(&a, UNDER_RCU, NULL, 6) == arena_page(&a, 4), "alloc");
	arena_close(&a);
}

TEST(adopt, two_programs, "two objects share one arena")
{
	struct arena a, b;

	ASSERT(arena_open(&a, 64, 0), "load");
	ASSERT(arena_attach(&b, a.fd, a.base, 64), "second load");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 2) == a.base, "alloc by the first");
	ASSERT(arena_alloc(&b, UNDER_RCU, NULL, 2) == arena_page(&a, 2), "alloc by the second");
	arena_mark(&a, SLEEPABLE, a.base, 4, 1);
	ASSERT_EQ(arena_unmarked(&b, BH_OFF, a.base, 4, 1), 0, "pages that differ for the second");
	arena_free(&b, SLEEPABLE, a.base, 1);
	ASSERT_EQ(arena_pages(&a), 3, "populated pages");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 1) == a.base, "alloc by the first");
	arena_close(&b);
	ASSERT_EQ(arena_unmarked(&a, SLEEPABLE, arena_page(&a, 1), 3, 2), 0,
		  "pages that differ at the end");
	arena_close(&a);
}

TEST(adopt, outlives_program, "an arena outlives its program, and a new program finds it as it was")
{
	struct arena raw, a;
	int round;

	ASSERT(arena_stock(&raw, "stock", 64, 0), "arena");
	for (round = 0; round < 3; round++) {
		ASSERT(adopt(&a, &raw), "round %d: load", round);
		ASSERT_EQ(arena_pages(&a), round * 3, "populated pages");
		ASSERT_EQ(arena_unmarked(&a, SLEEPABLE, a.base, round * 3, 1), 0,
			  "pages that differ");
		ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 2) == arena_page(&a, round * 3), "alloc");
		arena_close(&a);
		user_mark(raw.base, round * 3 + 3, 1);
	}
	ASSERT_EQ(map_pages(raw.fd), 9, "populated pages");
}

TEST(adopt, two_processes, "a process that mapped the arena before its adoption sees allocations and frees")
{
	struct arena raw, a;
	struct peer p;
	__u64 val;

	ASSERT(arena_stock(&raw, "stock", 64, BPF_F_SEGV_ON_FAULT), "arena");
	ASSERT(peer_start(&p, &raw), "peer");
	ASSERT(adopt(&a, &raw), "load");
	ASSERT_EQ(peer_read(&p, a.base, &val), SIGSEGV, "signal in the peer");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 2) == a.base, "alloc");
	arena_mark(&a, SLEEPABLE, a.base, 2, 8);
	ASSERT_EQ(peer_read(&p, arena_page(&a, 1), &val), 0, "signal in the peer");
	ASSERT_EQ(val, 9, "word in the peer");
	ASSERT_EQ(user_read_sig(arena_page(&a, 1), &val), 0, "signal here");
	arena_free(&a, SLEEPABLE, arena_page(&a, 1), 1);
	ASSERT_EQ(peer_read(&p, arena_page(&a, 1), &val), SIGSEGV,
		  "signal in the peer after the free");
	ASSERT_EQ(user_read_sig(arena_page(&a, 1), &val), SIGSEGV, "signal here after the free");
	peer_stop(&p);
	arena_close(&a);
}

TEST(adopt, faulted_in_two, "a free unmaps a page that two processes had mapped before the adoption from both")
{
	struct arena raw, a;
	struct peer p;
	__u64 val;

	ASSERT(arena_stock(&raw, "stock", 64, 0), "arena");
	ASSERT(peer_start(&p, &raw), "peer");
	ASSERT_EQ(peer_write(&p, raw.base, 123), 0, "signal in the peer");
	ASSERT_EQ(*(volatile __u64 *)raw.base, 123, "word here");
	ASSERT(adopt(&a, &raw), "load");
	ASSERT_EQ(arena_read(&a, SLEEPABLE, a.base), 123, "word for BPF");
	arena_free(&a, SLEEPABLE, a.base, 1);
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 1) == a.base, "alloc");
	arena_write(&a, SLEEPABLE, a.base, 456);
	ASSERT_EQ(peer_read(&p, a.base, &val), 0, "signal in the peer");
	ASSERT_EQ(val, 456, "word in the peer");
	ASSERT_EQ(*(volatile __u64 *)a.base, 456, "word here");
	peer_stop(&p);
	arena_close(&a);
}

/* Adds one to a word of every page, again and again. */
struct adder {
	char *base;
	__u32 pages;
	atomic_int *stop;
	long rounds;
};

static void *adder_main(void *arg)
{
	struct adder *a = arg;
	__u32 i;

	while (!atomic_load(a->stop)) {
		for (i = 0; i < a->pages; i++)
			__atomic_fetch_add((__u64 *)(a->base + i * PAGE), 1, __ATOMIC_SEQ_CST);
		a->rounds++;
	}

	return NULL;
}

TEST(adopt, during_faults, "no write of a thread is lost while the arena is adopted")
{
	struct adder a[2];
	struct arena raw, s;
	pthread_t t[2];
	atomic_int stop = 0;
	int round, i;

	for (round = 0; round < 2; round++) {
		ASSERT(arena_stock(&raw, "stock", 512, 0), "arena");
		atomic_store(&stop, 0);
		for (i = 0; i < 2; i++) {
			a[i] = (struct adder){ raw.base, 512, &stop, 0 };
			ASSERT(thread_on(&t[i], i % nr_cpus, adder_main, &a[i]), "thread");
		}
		ASSERT(adopt(&s, &raw), "load");
		atomic_store(&stop, 1);
		pthread_join(t[0], NULL);
		pthread_join(t[1], NULL);
		ASSERT_EQ(arena_pages(&s), 512, "populated pages");
		for (i = 0; i < 512; i += 37)
			ASSERT_EQ(arena_read(&s, SLEEPABLE, arena_page(&s, i)),
				  (__u64)(a[0].rounds + a[1].rounds), "sum that BPF reads");
		for (i = 0; i < 512; i++)
			ASSERT_EQ(*(volatile __u64 *)arena_page(&s, i),
				  (__u64)(a[0].rounds + a[1].rounds), "sum in user space");
		arena_close(&s);
		munmap(raw.base, 512 * PAGE);
		close(raw.fd);
	}
}

/* Reads all pages of an arena in a sleepable program, a word of each. */
struct copier {
	struct bpf_program *prog;
	atomic_int running;
	int err;
};

static void *copier_main(void *arg)
{
	struct copier *c = arg;
	__u64 args[1] = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	if (bpf_program__type(c->prog) == BPF_PROG_TYPE_RAW_TRACEPOINT) {
		opts.ctx_in = args;
		opts.ctx_size_in = sizeof(args);
	}
	atomic_store(&c->running, 1);
	c->err = bpf_prog_test_run_opts(bpf_program__fd(c->prog), &opts);
	atomic_store(&c->running, 0);

	return NULL;
}

/*
 * Maps the arena anew while it is being adopted, again and again: once the stock arena is
 * seized, a mapping is ours at once.
 */
struct mapper {
	const struct arena *raw;
	volatile __u32 *copy_again;
	bool waited, mapped;
};

static void *mapper_main(void *arg)
{
	struct mapper *m = arg;
	int i;

	m->waited = wait_for(in_module(getpid()), 20000);
	for (i = 0; i < 20; i++) {
		munmap(m->raw->base, m->raw->pages * PAGE);
		m->mapped = wait_for(map_at(m->raw->fd, m->raw->base, m->raw->pages), 2000);
		usleep(50000 * patience);
	}
	*m->copy_again = 0;

	return NULL;
}

/*
 * Adoption waits for sleepable programs that may use the arena. Such a program must not
 * be waiting, in a fault, for the adoption.
 */
static void during_copy(bool raw_tp, bool remap)
{
	struct copier c = {};
	struct mapper m = {};
	struct stock_bpf *stock;
	struct arena raw, a;
	pthread_t t[2];
	__u64 failed;

	ASSERT(arena_stock(&raw, "stock", 4096, 0), "arena");
	stock = stock_bpf__open();
	ASSERT(stock, "open");
	bpf_program__set_autoload(stock->progs.copy_pages_raw, raw_tp);
	bpf_program__set_flags(stock->progs.copy_pages_raw, BPF_F_SLEEPABLE);
	ASSERT(!bpf_map__reuse_fd(stock->maps.arena, raw.fd), "map");
	if (stock_bpf__load(stock)) {
		stock_bpf__destroy(stock);
		if (raw_tp)
			SKIP("the kernel has no sleepable raw tracepoints");
		ASSERT(false, "load of the stock program");
	}
	stock->bss->copy_at = (__u64)raw.base;
	stock->bss->copy_cnt = raw.pages;
	stock->bss->copy_step = PAGE;
	stock->bss->copy_again = remap;
	/* A program that never sleeps would keep adoption from seizing the stock arena. */
	stock->bss->copy_sleep_us = 400;
	c.prog = raw_tp ? stock->progs.copy_pages_raw : stock->progs.copy_pages;
	m.raw = &raw;
	m.copy_again = &stock->bss->copy_again;
	ASSERT(thread_on(&t[0], nr_cpus > 1, copier_main, &c), "thread");
	ASSERT(wait_for(atomic_load(&c.running), 5000), "not running");
	if (remap)
		ASSERT(thread_on(&t[1], 0, mapper_main, &m), "thread");
	ASSERT(adopt(&a, &raw), "load");
	if (remap)
		pthread_join(t[1], NULL);
	pthread_join(t[0], NULL);
	ASSERT_EQ(c.err, 0, "run");
	failed = stock->bss->copy_failed;
	printf("# reads failed %llu times, in %u pages\n", failed, raw.pages);
	if (remap) {
		ASSERT(m.waited, "the loader has not waited");
		ASSERT(m.mapped, "not mapped");
	} else {
		ASSERT(failed < raw.pages / 2, "%llu pages could not be read", failed);
		ASSERT_EQ(arena_pages(&a), (long)(raw.pages - failed), "pages");
	}
	arena_close(&a);
	stock_bpf__destroy(stock);
	munmap(raw.base, raw.pages * PAGE);
	close(raw.fd);
}

TEST(adopt, during_copy, "adoption completes while a sleepable program reads the arena as user memory")
{
	during_copy(false, false);
}

TEST(adopt, during_copy_remap, "adoption completes while a sleepable program reads the arena and a thread maps it again")
{
	during_copy(false, true);
}

TEST(adopt, during_copy_raw, "adoption completes while a sleepable raw tracepoint program reads the arena as user memory")
{
	during_copy(true, true);
}

/* A loader of its own: programs, five pages, their contents. */
static int loader(const struct arena *raw, int id)
{
	struct arena a;
	char *p;
	int i;

	if (!map_at(raw->fd, raw->base, raw->pages) || !adopt(&a, raw))
		return 1;
	for (i = 0; i < 5; i++) {
		p = arena_alloc(&a, id % 2 ? SLEEPABLE : UNDER_RCU, NULL, 1);
		if (!p || arena_read(&a, SLEEPABLE, p))
			return 2;
		arena_write(&a, SLEEPABLE, p, 1000 + id * 10 + i);
	}
	arena_close(&a);

	return 0;
}

TEST(adopt, many_loaders, "several processes can load programs for one arena at once")
{
	int i, status, seen[40] = {};
	struct arena raw, a;
	pid_t pid[4];

	ASSERT(arena_stock(&raw, "stock", 64, 0), "arena");
	fflush(stdout);
	for (i = 0; i < 4; i++) {
		pid[i] = fork();
		ASSERT(pid[i] >= 0, "fork");
		if (!pid[i])
			_exit(loader(&raw, i));
	}
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(waitpid(pid[i], &status, 0), pid[i], "waitpid");
		ASSERT_EQ(status, 0, "status of a loader");
	}
	ASSERT_EQ(map_pages(raw.fd), 20, "populated pages");
	for (i = 0; i < 20; i++) {
		__u64 val = *(volatile __u64 *)arena_page(&raw, i);

		ASSERT(val >= 1000 && val < 1040 && !seen[val - 1000]++, "page %d holds %llu", i,
		       val);
	}
	ASSERT(adopt(&a, &raw), "load");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 44) == arena_page(&a, 20), "alloc of the rest");
	arena_close(&a);
}

TEST(adopt, kernel_allocates, "an allocation by the kernel itself that begins before the adoption and ends after it takes no page")
{
	struct kernel_user k;
	struct arena raw, a;
	int late;

	if (nr_cpus < 2)
		SKIP("one CPU");
	if (is_rt())
		SKIP("with PREEMPT_RT adoption waits for the CPU that the allocation is held up on");
	/* Once it ends before: the page that it gets is one of the arena's. */
	for (late = 0; late < 2; late++) {
		ASSERT(arena_stock(&raw, "stock", 64, 0), "arena");
		ASSERT(kernel_user_start(&k, "alloc", raw.fd, 30000),
		       "the kernel does not allocate");
		if (k.err == EOPNOTSUPP)
			SKIP("the kernel allocates nothing by itself");
		if (late)
			ASSERT(adopt(&a, &raw), "load");
		kernel_user_go();
		ASSERT_EQ(kernel_user_join(&k), 0, "error of the allocation");
		if (!late)
			ASSERT(adopt(&a, &raw), "load");
		ASSERT(k.page == (late ? 0 : (__u64)raw.base), "page at %#llx", k.page);
		ASSERT_EQ(arena_pages(&a), !late, "populated pages");
		ASSERT(oracle_rest(a.fd), "after all");
		ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 1) == arena_page(&a, !late), "alloc");
		arena_close(&a);
		munmap(raw.base, raw.pages * PAGE);
		close(raw.fd);
	}
}

TEST_LONG(adopt, frees_delayed, 120,
	  "stock frees that the arena's lock delays are complete when the adoption is")
{
	struct stock_bpf *stock;
	struct kernel_user k;
	struct arena raw, a;

	if (!has_intree_nonsleepable)
		SKIP("the kernel defers no frees");
	ASSERT(arena_stock(&raw, "stock", 64, 0), "arena");
	stock = stock_open(&raw);
	ASSERT(stock, "load of the stock program");
	ASSERT(stock_call(stock, true, REQ_ALLOC, NULL, 64) == (__u64)raw.base,
	       "stock alloc");
	user_mark(raw.base, 64, 1);
	ASSERT(kernel_user_start(&k, "hold", raw.fd, 4000), "the lock cannot be held");
	stock_call(stock, true, REQ_FREE, raw.base, 60);
	ASSERT(wait_for(adopt(&a, &raw), 20000), "load");
	ASSERT_EQ(kernel_user_join(&k), 0, "error of the lock's holder");
	ASSERT_EQ(arena_pages(&a), 4, "populated pages");
	ASSERT_EQ(arena_unmarked(&a, SLEEPABLE, arena_page(&a, 60), 4, 61), 0,
		  "pages that differ");
	ASSERT(oracle_rest(a.fd), "after all");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 60) == a.base, "alloc");
	ASSERT_EQ(user_diff(a.base, 60, 0), 0, "words that are not zero");
	arena_close(&a);
	stock_bpf__destroy(stock);
	munmap(raw.base, raw.pages * PAGE);
	close(raw.fd);
}

/* Loads a program that refers to a word of the arena, again and again. */
struct referrer {
	int fd;
	atomic_int *stop;
	long loads;
	int err;
};

static void *referrer_main(void *arg)
{
	struct referrer *r = arg;
	const struct bpf_insn insns[] = {
		{ .code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = BPF_REG_1,
		  .src_reg = BPF_PSEUDO_MAP_VALUE, .imm = r->fd },
		{ .imm = 8 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	while (!atomic_load(r->stop) && !r->err) {
		int prog = bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, "referrer", "GPL", insns,
					 sizeof(insns) / sizeof(insns[0]), NULL);

		if (prog < 0)
			r->err = errno;
		else
			close(prog);
		r->loads++;
	}

	return NULL;
}

#define REFERRERS 2

TEST_LONG(adopt, referrers, 120,
	  "adoption does not make the kernel refuse a program that refers to a variable in the arena")
{
	struct referrer r[REFERRERS];
	atomic_int stop = 0;
	pthread_t t[REFERRERS];
	struct arena raw, a;
	int round, i;
	long loads = 0;

	for (round = 0; round < 3; round++) {
		ASSERT(arena_stock(&raw, "stock", 64, 0), "arena");
		atomic_store(&stop, 0);
		for (i = 0; i < REFERRERS; i++) {
			r[i] = (struct referrer){ .fd = raw.fd, .stop = &stop };
			ASSERT(thread_on(&t[i], i % nr_cpus, referrer_main, &r[i]), "thread");
		}
		ASSERT(adopt(&a, &raw), "load");
		atomic_store(&stop, 1);
		for (i = 0; i < REFERRERS; i++) {
			pthread_join(t[i], NULL);
			loads += r[i].loads;
			ASSERT_EQ(r[i].err, 0, "error of a loader");
		}
		ASSERT(arena_alloc(&a, UNDER_RCU, NULL, 1) == a.base, "alloc");
		arena_close(&a);
		munmap(raw.base, raw.pages * PAGE);
		close(raw.fd);
	}
	printf("# %ld programs were loaded meanwhile\n", loads);
}

/* Milliseconds that the load of a first program takes, or -1. */
static long adopt_ms(bool others)
{
	struct stock_bpf *stock = NULL;
	struct arena raw, a;
	long begin, end;

	if (!arena_stock(&raw, "timed", 256, 0) || (others && !(stock = stock_open(&raw))))
		return -1;
	user_mark(raw.base, 256, 3);
	begin = now_ms();
	if (!adopt(&a, &raw))
		return -1;
	end = now_ms();
	if (arena_unmarked(&a, SLEEPABLE, a.base, 256, 3))
		return -1;
	arena_free(&a, SLEEPABLE, a.base, 256);
	if (user_diff(a.base, 256, 0))
		return -1;
	arena_close(&a);
	stock_bpf__destroy(stock);
	munmap(raw.base, raw.pages * PAGE);
	close(raw.fd);

	return end - begin;
}

#define MANY_MAPPINGS 30000

TEST(adopt, many_mappings, "mappings of other descriptors neither delay an adoption nor confuse it")
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "other", 4, 8, 1, &opts);
	long alone, among, shared;
	int i;

	ASSERT(fd >= 0, "array");
	ASSERT(adopt_ms(false) >= 0, "adoption");
	alone = adopt_ms(false);
	ASSERT(alone >= 0, "adoption");
	for (i = 0; i < MANY_MAPPINGS; i++)
		ASSERT(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED, "mapping %d",
		       i);
	among = adopt_ms(false);
	ASSERT(among >= 0, "adoption among %d mappings", i);
	shared = adopt_ms(true);
	ASSERT(shared >= 0, "adoption with another program");
	printf("# adopted in %ld ms, among %d mappings in %ld ms, with another program in %ld ms\n",
	       alone, i, among, shared);
	ASSERT(among < 4 * alone + 1000, "%ld ms, alone %ld ms", among, alone);
	close(fd);
}

static void *opener_main(void *arg)
{
	struct arena a;
	bool ok = arena_open(&a, 64, 0) && arena_alloc(&a, SLEEPABLE, NULL, 64) == a.base &&
		  !user_diff(a.base, 64, 0);

	if (a.skel)
		arena_close(&a);

	return (void *)(long)ok;
}

TEST(adopt, many_arenas, "several threads can load programs, each for its own arena, at once")
{
	pthread_t t[3];
	void *ok;
	int i;

	for (i = 0; i < 3; i++)
		ASSERT(!pthread_create(&t[i], NULL, opener_main, NULL), "thread");
	for (i = 0; i < 3; i++) {
		pthread_join(t[i], &ok);
		ASSERT(ok, "thread %d failed", i);
	}
}

TEST(adopt, fork, "a child of fork does not inherit the arena, and the parent keeps it")
{
	struct arena a;
	int status;
	pid_t pid;

	ASSERT(arena_open(&a, 64, 0), "load");
	user_mark(a.base, 4, 1);
	fflush(stdout);
	pid = fork();
	ASSERT(pid >= 0, "fork");
	if (!pid)
		_exit(user_read_sig(a.base, NULL));
	ASSERT_EQ(waitpid(pid, &status, 0), pid, "waitpid");
	ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == SIGSEGV, "status %#x in the child",
	       status);
	ASSERT_EQ(user_unmarked(a.base, 4, 1), 0, "pages that differ in the parent");
	arena_free(&a, SLEEPABLE, a.base, 4);
	ASSERT_EQ(user_diff(a.base, 4, 0), 0, "words that are not zero after the free");
	arena_close(&a);
}

TEST(adopt, mapped_again, "an arena can be unmapped and mapped again, at its address only")
{
	struct arena a;

	ASSERT(arena_open(&a, 64, 0), "load");
	user_mark(a.base, 64, 1);
	ASSERT(!munmap(a.base, 64 * PAGE), "munmap");
	ASSERT_EQ(arena_unmarked(&a, SLEEPABLE, a.base, 64, 1), 0,
		  "pages that differ for BPF, unmapped");
	arena_free(&a, SLEEPABLE, arena_page(&a, 3), 1);
	ASSERT_EQ(arena_pages(&a), 63, "populated pages");

	ASSERT(mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, a.fd, 0) == MAP_FAILED,
	       "mapped anywhere");
	ASSERT(!map_at(a.fd, a.base + 64 * PAGE, 64), "mapped at another address");
	ASSERT(!map_at(a.fd, a.base, 32), "half of it mapped");
	ASSERT(map_at(a.fd, a.base, 64), "mapped at its address: %s", strerror(errno));
	ASSERT_EQ(user_unmarked(a.base, 3, 1), 0, "pages that differ");
	ASSERT_EQ(user_diff(arena_page(&a, 3), 1, 0), 0,
		  "words that are not zero where a page was freed");
	arena_free(&a, SLEEPABLE, a.base, 1);
	ASSERT_EQ(user_diff(a.base, 1, 0), 0, "words that are not zero after the free");
	ASSERT(munmap(a.base, 32 * PAGE) && errno == EINVAL, "half of it unmapped");
	arena_close(&a);
}

TEST(adopt, never_mapped, "an arena with a fixed address can be adopted before a process maps it")
{
	char *base = (char *)(7UL << 40);
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE,
		    .map_extra = (__u64)base);
	struct arena a;
	int fd;

	fd = bpf_map_create(BPF_MAP_TYPE_ARENA, "fixed", 0, 0, 64, &opts);
	ASSERT(fd >= 0, "create");
	ASSERT(arena_attach(&a, fd, base, 64), "load");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 2) == base, "alloc");
	ASSERT(arena_alloc(&a, UNDER_RCU, NULL, 2) == base + 2 * PAGE, "alloc under rcu");
	arena_mark(&a, SLEEPABLE, base, 4, 1);
	arena_free(&a, SLEEPABLE, base + PAGE, 1);
	ASSERT_EQ(arena_pages(&a), 3, "populated pages");
	ASSERT(map_at(fd, base, 64), "map");
	ASSERT_EQ(user_unmarked(base + 2 * PAGE, 2, 3), 0, "pages that differ");
	ASSERT_EQ(user_diff(base + PAGE, 1, 0), 0, "words that are not zero");
	arena_close(&a);
	close(fd);
}

TEST(adopt, killed_while_faulting, "an arena works after processes were killed during faults on it")
{
	struct arena a;
	int round, status;
	__u32 i;

	ASSERT(arena_open(&a, 256, 0), "load");
	for (round = 0; round < 8; round++) {
		pid_t pid;

		fflush(stdout);
		pid = fork();
		ASSERT(pid >= 0, "fork");
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (!map_at(a.fd, a.base, 256))
				_exit(1);
			for (;;)
				for (i = 0; i < 256; i++)
					user_write_sig(arena_page(&a, i), 1);
		}
		for (i = 0; i < 10; i++)
			arena_free(&a, round % 2 ? SLEEPABLE : UNDER_RCU, a.base, 256);
		kill(pid, SIGKILL);
		ASSERT_EQ(waitpid(pid, &status, 0), pid, "waitpid");
		ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %#x", status);
	}
	arena_free(&a, SLEEPABLE, a.base, 256);
	ASSERT(arena_freed(&a, UNDER_RCU, a.base, 256), "free not finished");
	ASSERT_EQ(arena_pages(&a), 0, "populated pages");
	ASSERT_EQ(user_diff(a.base, 256, 0), 0, "words that are not zero");
	arena_close(&a);
}

#define BPFFS "/sys/fs/bpf"

TEST(adopt, pinned, "a pinned arena keeps its pages while no process has it open")
{
	const char *path = BPFFS "/arena_nolock_test";
	struct arena raw, a;

	if (access(BPFFS, F_OK) || (mount("bpf", BPFFS, "bpf", 0, NULL) && errno != EBUSY))
		SKIP("no bpffs");
	ASSERT(arena_open(&a, 64, 0), "load");
	raw = a;
	user_mark(a.base, 8, 1);
	ASSERT_EQ(bpf_obj_pin(a.fd, path), 0, "pin");
	arena_close(&a);
	munmap(raw.base, 64 * PAGE);

	raw.fd = bpf_obj_get(path);
	unlink(path);
	ASSERT(raw.fd >= 0, "get");
	ASSERT_EQ(map_pages(raw.fd), 8, "populated pages");
	ASSERT(map_at(raw.fd, raw.base, 64), "map");
	ASSERT_EQ(user_unmarked(raw.base, 8, 1), 0, "pages that differ");
	ASSERT(adopt(&a, &raw), "load");
	ASSERT(arena_alloc(&a, UNDER_RCU, NULL, 1) == arena_page(&a, 8), "alloc");
	ASSERT_EQ(arena_unmarked(&a, SLEEPABLE, a.base, 8, 1), 0, "pages that differ for BPF");
	arena_close(&a);
	close(raw.fd);
}

TEST(adopt, by_id, "another process can open the arena by its id, map and use it")
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	struct arena a;
	int status;
	pid_t pid;

	ASSERT(arena_open(&a, 64, 0), "load");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 2) == a.base, "alloc");
	arena_mark(&a, SLEEPABLE, a.base, 2, 31);
	ASSERT_EQ(bpf_map_get_info_by_fd(a.fd, &info, &len), 0, "info");
	ASSERT_EQ(info.max_entries, 64, "max_entries");
	fflush(stdout);
	pid = fork();
	ASSERT(pid >= 0, "fork");
	if (!pid) {
		int fd = bpf_map_get_fd_by_id(info.id);

		if (fd < 0 || !map_at(fd, a.base, 64) || user_unmarked(a.base, 2, 31))
			_exit(1);
		user_mark(arena_page(&a, 2), 2, 41);
		_exit(map_pages(fd) != 4);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid, "waitpid");
	ASSERT_EQ(status, 0, "status of the other process");
	ASSERT_EQ(arena_unmarked(&a, SLEEPABLE, arena_page(&a, 2), 2, 41), 0,
		  "pages that differ for BPF");
	arena_close(&a);
}

TEST(adopt, inner_map, "a program can reach an adopted arena through a map of maps")
{
	struct odd_bpf *skel = odd_bpf__open();
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	__u32 zero = 0;
	struct arena a;

	ASSERT(skel, "open");
	bpf_program__set_autoload(skel->progs.odd_inner, true);
	if (odd_bpf__load(skel)) {
		odd_bpf__destroy(skel);
		SKIP("the kernel takes no arena as inner map");
	}
	ASSERT(arena_open(&a, 16, 0), "load");
	if (bpf_map_update_elem(bpf_map__fd(skel->maps.outer), &zero, &a.fd, 0)) {
		/* A refusal is fine, as long as it is one. */
		ASSERT_EQ(bpf_map_lookup_elem(bpf_map__fd(skel->maps.outer), &zero, &zero),
			  -ENOENT, "lookup of what was refused");
		SKIP("the kernel takes no adopted arena as inner map");
	}
	ASSERT_EQ(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.odd_inner), &opts), 0, "run");
	ASSERT_EQ(opts.retval, 1, "inner map found");
	ASSERT(skel->data->alloc_ret == (__u64)a.base, "pointer %#llx, arena at %p",
	       skel->data->alloc_ret, a.base);
	ASSERT_EQ(arena_pages(&a), 1, "populated pages");
	odd_bpf__destroy(skel);
	arena_close(&a);
}

TEST(adopt, template, "an adopted arena works after it was offered as the template of a map of maps")
{
	LIBBPF_OPTS(bpf_map_create_opts, opts);
	struct arena raw, a;
	__u32 zero = 0;
	int outer;

	ASSERT(arena_stock(&raw, "stock", 16, 0), "arena");
	ASSERT(arena_open(&a, 16, 0), "load");
	opts.inner_map_fd = a.fd;
	outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "outer", 4, 4, 1, &opts);
	if (outer >= 0) {
		bpf_map_update_elem(outer, &zero, &raw.fd, 0);
		bpf_map_update_elem(outer, &zero, &a.fd, 0);
		close(outer);
	}
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 16) == a.base, "alloc");
	ASSERT_EQ(user_write_sig(raw.base, 1), 0, "signal in the stock arena");
	arena_close(&a);
}
