// SPDX-License-Identifier: GPL-2.0
/*
 * Freeing: when programs and processes lose the page, and that invalid, repeated and racing frees do no
 * harm.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "iter.skel.h"
#include "runner.h"
#include "arena.h"
#include "zap.skel.h"

TEST(free, complete_on_return, "a sleepable free removes the page from programs and processes before it returns")
{
	struct arena a;
	int round;
	char *p;

	ASSERT(arena_open(&a, 64, BPF_F_SEGV_ON_FAULT), "load");
	for (round = 0; round < 16; round++) {
		p = arena_alloc(&a, SLEEPABLE, NULL, 3);
		ASSERT(p == a.base, "round %d: alloc", round);
		user_mark(p, 3, 7);
		arena_free(&a, SLEEPABLE, p, 3);
		ASSERT_EQ(arena_pages(&a), 0, "populated pages");
		ASSERT_EQ(user_read_sig(p, NULL), SIGSEGV, "signal of a user read");
		ASSERT_EQ(user_write_sig(p + 2 * PAGE, 1), SIGSEGV, "signal of a user write");
		ASSERT_EQ(arena_read(&a, SLEEPABLE, p), 0, "word that BPF reads");
	}
	arena_close(&a);
}

TEST_ATOMIC(free, deferred, 64, BPF_F_SEGV_ON_FAULT,
	  "a free by a program that cannot sleep completes soon")
{
	int round;
	char *p;

	for (round = 0; round < 8; round++) {
		p = arena_alloc(a, ctx, NULL, 3);
		ASSERT(p == a->base, "round %d: alloc", round);
		user_mark(p, 3, 7);
		arena_free(a, ctx, p, 3);
		ASSERT(arena_freed(a, ctx, p, 3), "free not finished");
		ASSERT_EQ(arena_pages(a), 0, "populated pages");
		ASSERT_EQ(user_read_sig(p, NULL), SIGSEGV, "signal of a user read");
		ASSERT_EQ(user_write_sig(p + 2 * PAGE, 1), SIGSEGV, "signal of a user write");
		ASSERT_EQ(arena_read(a, ctx, p), 0, "word that BPF reads");
	}
}

TEST_EACH(free, user_sees_zero, 64, 0,
	  "a user access to a freed page gets a new zero page")
{
	__u64 val = 1;
	char *p;

	p = arena_alloc(a, ctx, NULL, 2);
	ASSERT(p == a->base, "alloc");
	user_fill(p, 2, 0x1111111111111111ULL);
	arena_free(a, ctx, p, 2);
	ASSERT(arena_freed(a, ctx, p, 2), "free not finished");
	ASSERT_EQ(user_read_sig(p, &val), 0, "signal");
	ASSERT_EQ(user_diff(p, 2, 0), 0, "words that are not zero");
	ASSERT_EQ(arena_pages(a), 2, "populated pages after two user faults");
	user_mark(p, 2, 99);
	ASSERT_EQ(arena_unmarked(a, ctx, p, 2, 99), 0, "pages that differ for BPF");
}

TEST_EACH(free, other_processes, 64, BPF_F_SEGV_ON_FAULT,
	  "a free unmaps the page from every process")
{
	struct peer peer[3];
	__u64 val;
	int i;

	ASSERT(arena_alloc(a, ctx, NULL, 4) == a->base, "alloc");
	for (i = 0; i < 3; i++)
		ASSERT(peer_start(&peer[i], a), "peer %d", i);
	arena_mark(a, ctx, a->base, 4, 50);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(peer_read(&peer[i], arena_page(a, 1), &val), 0, "signal in a peer");
		ASSERT_EQ(val, 51, "word in a peer");
		ASSERT_EQ(peer_write(&peer[i], arena_page(a, 2), 60 + i), 0, "signal in a peer");
	}
	arena_free(a, ctx, arena_page(a, 1), 2);
	ASSERT(arena_freed(a, ctx, arena_page(a, 1), 2), "free not finished");
	ASSERT_EQ(arena_pages(a), 2, "populated pages");
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(peer_read(&peer[i], arena_page(a, 1), &val), SIGSEGV, "freed page, read");
		ASSERT_EQ(peer_write(&peer[i], arena_page(a, 2), 1), SIGSEGV, "freed page, write");
		ASSERT_EQ(peer_read(&peer[i], arena_page(a, 3), &val), 0,
			  "page that was not freed");
		ASSERT_EQ(val, 53, "word in a page that was not freed");
	}
	ASSERT(arena_alloc(a, ctx, NULL, 1) == arena_page(a, 1), "alloc again");
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(peer_read(&peer[i], arena_page(a, 1), &val), 0, "new page");
		ASSERT_EQ(val, 0, "word in a new page");
		peer_stop(&peer[i]);
	}
}

TEST_EACH(free, clamped, 64, 0,
	  "a free of a range that exceeds the arena frees the part inside")
{
	ASSERT(arena_alloc(a, ctx, NULL, 64) == a->base, "alloc");
	arena_mark(a, ctx, a->base, 64, 1);

	arena_free(a, ctx, arena_page(a, 64), 1);
	arena_free(a, ctx, arena_page(a, -1), 1);
	arena_free(a, ctx, arena_page(a, 100000), 64);
	arena_free(a, ctx, arena_page(a, 64), UINT_MAX);
	usleep(20000);
	ASSERT_EQ(arena_pages(a), 64, "populated pages after frees outside");
	ASSERT_EQ(arena_unmarked(a, ctx, a->base, 64, 1), 0, "pages that lost contents");

	arena_free(a, ctx, arena_page(a, 60), 100);
	ASSERT(arena_settle(a, 60), "free over the end");
	arena_free(a, ctx, arena_page(a, 50), UINT_MAX);
	ASSERT(arena_settle(a, 50), "free of 4G pages");
	ASSERT_EQ(arena_unmarked(a, ctx, a->base, 50, 1), 0, "pages that lost contents");
	ASSERT(arena_alloc(a, ctx, NULL, 14) == arena_page(a, 50), "alloc of what was freed");
}

TEST_EACH(free, nothing, 64, 0,
	  "a free of nothing changes nothing")
{
	ASSERT(arena_alloc(a, ctx, NULL, 4) == a->base, "alloc");
	arena_mark(a, ctx, a->base, 4, 9);
	arena_free(a, ctx, a->base, 0);
	arena_free(a, ctx, NULL, 4);
	arena_free(a, ctx, arena_page(a, 4), 60);
	arena_free(a, ctx, arena_page(a, 30), 1);
	usleep(20000);
	ASSERT_EQ(arena_pages(a), 4, "populated pages");
	ASSERT_EQ(arena_unmarked(a, ctx, a->base, 4, 9), 0, "pages that lost contents");
	ASSERT(arena_alloc(a, ctx, NULL, 60) == arena_page(a, 4), "alloc of the rest");
}

TEST_EACH(free, inside_page, 64, 0,
	  "an address inside a page frees that page")
{
	ASSERT(arena_alloc(a, ctx, NULL, 4) == a->base, "alloc");
	arena_free(a, ctx, arena_page(a, 1) + 123, 1);
	ASSERT(arena_freed(a, ctx, arena_page(a, 1), 1), "free not finished");
	ASSERT_EQ(arena_pages(a), 3, "populated pages");
	ASSERT(arena_alloc(a, ctx, NULL, 1) == arena_page(a, 1), "alloc");
}

TEST_EACH(free, mixture, 64, 0,
	  "pages, reservations and holes are freed in one call")
{
	ASSERT(arena_alloc(a, ctx, arena_page(a, 2), 3) == arena_page(a, 2), "alloc");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 8), 4), 0, "reserve");
	ASSERT(arena_alloc(a, ctx, arena_page(a, 12), 1) == arena_page(a, 12), "alloc");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 20), 4), 0, "reserve");
	arena_free(a, ctx, a->base, 22);
	ASSERT(arena_freed(a, ctx, a->base, 22), "free not finished");
	ASSERT_EQ(arena_pages(a), 0, "populated pages");
	ASSERT(arena_alloc(a, ctx, NULL, 22) == a->base, "alloc of all that was freed");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 22), 1), -EBUSY, "rest of a reservation");
	ASSERT(arena_alloc(a, ctx, NULL, 1) == arena_page(a, 24), "alloc behind the reservation");
}

TEST_EACH(free, twice, 64, 0,
	  "a page freed twice is handed out once")
{
	ASSERT(arena_alloc(a, ctx, NULL, 8) == a->base, "alloc");
	arena_free(a, ctx, arena_page(a, 2), 1);
	arena_free(a, ctx, arena_page(a, 2), 1);
	arena_free(a, ctx, arena_page(a, 2), 1);
	ASSERT(arena_freed(a, ctx, arena_page(a, 2), 1), "free not finished");
	arena_free(a, ctx, arena_page(a, 2), 1);
	usleep(10000);
	ASSERT_EQ(arena_pages(a), 7, "populated pages");
	ASSERT(arena_alloc(a, ctx, NULL, 1) == arena_page(a, 2), "first alloc");
	ASSERT(arena_alloc(a, ctx, NULL, 1) == arena_page(a, 8), "second alloc");
	usleep(10000);
	ASSERT_EQ(arena_pages(a), 9, "populated pages");
}

TEST_EACH(free, overlapping, 64, 0,
	  "overlapping frees free the union")
{
	ASSERT(arena_alloc(a, ctx, NULL, 32) == a->base, "alloc");
	arena_mark(a, ctx, a->base, 32, 3);
	arena_free(a, ctx, arena_page(a, 4), 8);
	arena_free(a, ctx, arena_page(a, 8), 8);
	arena_free(a, ctx, arena_page(a, 2), 4);
	arena_free(a, ctx, arena_page(a, 3), 12);
	ASSERT(arena_freed(a, ctx, arena_page(a, 2), 14), "free not finished");
	ASSERT_EQ(arena_pages(a), 18, "populated pages");
	ASSERT_EQ(arena_unmarked(a, ctx, a->base, 2, 3), 0, "pages before that lost contents");
	ASSERT_EQ(arena_unmarked(a, ctx, arena_page(a, 16), 16, 19), 0,
		  "pages behind that lost contents");
	ASSERT(arena_alloc(a, ctx, NULL, 14) == arena_page(a, 2), "alloc of the union");
}

TEST_EACH(free, scattered, 200, 0,
	  "all of many small frees complete")
{
	int i;

	for (i = 0; i < 200; i += 100)
		ASSERT(arena_alloc(a, ctx, NULL, 100) == arena_page(a, i), "alloc");
	user_mark(a->base, 200, 1);
	for (i = 0; i < 200; i += 2)
		arena_free(a, ctx, arena_page(a, i), 1);
	for (i = 0; i < 200; i += 2)
		ASSERT(arena_freed(a, ctx, arena_page(a, i), 1), "free not finished");
	ASSERT_EQ(arena_pages(a), 100, "populated pages");
	for (i = 0; i < 200; i += 2)
		ASSERT(arena_alloc(a, ctx, NULL, 1) == arena_page(a, i), "page %d", i);
	for (i = 0; i < 200; i++)
		ASSERT_EQ(*(volatile __u64 *)arena_page(a, i), i % 2 ? (__u64)i + 1 : 0, "word");
}

/*
 * Races
 */

struct racer {
	struct arena *arena;
	enum context ctx;
	int slot;
	struct arena_req r;
	atomic_int *go;
	bool ok;
};

static void *racer_main(void *arg)
{
	struct racer *c = arg;

	while (!atomic_load(c->go))
		;
	c->ok = arena_run(c->arena, c->ctx, c->slot, &c->r);

	return NULL;
}

static bool race(struct arena *a, enum context cx0, enum context cx1, struct arena_req *r0,
		 struct arena_req *r1)
{
	atomic_int go = 0;
	struct racer c[2] = {
		{ .arena = a, .ctx = cx0, .slot = 1, .r = *r0, .go = &go },
		{ .arena = a, .ctx = cx1, .slot = 2, .r = *r1, .go = &go },
	};
	pthread_t t[2];

	if (!thread_on(&t[0], 0, racer_main, &c[0]) || !thread_on(&t[1], 1, racer_main, &c[1]))
		return false;
	atomic_store(&go, 1);
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	*r0 = c[0].r;
	*r1 = c[1].r;

	return c[0].ok && c[1].ok;
}

static void race_frees(enum context cx0, enum context cx1)
{
	struct arena_req r0, r1;
	struct arena a;
	int round;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(arena_open(&a, 256, 0), "load");
	for (round = 0; round < 4; round++) {
		ASSERT(arena_alloc_wait(&a, SLEEPABLE, NULL, 256) == a.base, "round %d: alloc",
		       round);
		ASSERT_EQ(user_diff(a.base, 256, 0), 0, "words that are not zero");
		user_mark(a.base, 256, 1);
		r0 = (struct arena_req){ .op = REQ_FREE_EACH, .addr = (__u64)a.base, .cnt = 256 };
		r1 = r0;
		if (round % 2) {
			r1.op = REQ_FREE;
			r1.addr += 50 * PAGE;
			r1.cnt = 150;
		}
		ASSERT(race(&a, cx0, cx1, &r0, &r1), "run");
		ASSERT(arena_settle(&a, 0), "%ld pages left", arena_pages(&a));
	}
	arena_close(&a);
}

TEST(free, race_sleepable, "two CPUs can free the same pages at once, sleepable")
{
	race_frees(SLEEPABLE, SLEEPABLE);
}

TEST(free, race_softirq_off, "two CPUs can free the same pages at once, with bottom halves disabled")
{
	race_frees(BH_OFF, BH_OFF);
}

TEST(free, race_mixed, "two CPUs can free the same pages at once, only one of them sleepable")
{
	race_frees(SLEEPABLE, UNDER_RCU);
}

#define CHURN 1500

static void race_churn(enum context cx0, enum context cx1)
{
	struct arena_req r0 = { .op = REQ_CHURN, .cnt = CHURN, .node = -1, .val = 1ULL << 40 };
	struct arena_req r1 = { .op = REQ_CHURN, .cnt = CHURN, .node = -1, .val = 2ULL << 40 };
	struct arena a;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(arena_open(&a, 256, 0), "load");
	ASSERT(race(&a, cx0, cx1, &r0, &r1), "run");
	ASSERT_EQ(r0.ret, 0, "rounds gone wrong on the first CPU");
	ASSERT_EQ(r1.ret, 0, "rounds gone wrong on the second CPU");
	ASSERT(r0.addr < CHURN || r1.addr < CHURN, "no allocation succeeded");
	ASSERT(arena_settle(&a, 0), "%ld pages left", arena_pages(&a));
	ASSERT(arena_alloc_wait(&a, SLEEPABLE, NULL, 256) == a.base, "the whole arena afterwards");
	ASSERT_EQ(user_diff(a.base, 256, 0), 0, "words that are not zero");
	arena_close(&a);
}

TEST(free, churn_sleepable, "no write is lost while two CPUs allocate, use and free, sleepable")
{
	race_churn(SLEEPABLE, SLEEPABLE);
}

/* Single pages, many times. */
static void leak_singly(struct arena *a, enum context ctx)
{
	struct arena_req r = { .op = REQ_CHURN, .cnt = 20000, .node = -1, .val = 1ULL << 40 };
	long before = free_kib(), lost;

	ASSERT(arena_run(a, ctx, 0, &r), "run");
	ASSERT_EQ(r.ret, 0, "rounds gone wrong");
	ASSERT(arena_settle(a, 0), "%ld pages left", arena_pages(a));
	/* The pool may have grown to 4096 pages. */
	ASSERT(wait_for((lost = before - free_kib()) < 24 * 1024, 5000), "%ld KiB are lost", lost);
}

TEST(free, singly, "pages that are freed one by one return to the kernel")
{
	run_in_contexts(256, 0, 1U << SLEEPABLE | 1U << UNDER_RCU, leak_singly);
}

TEST(free, churn_softirq_off, "no write is lost while two CPUs allocate, use and free, with bottom halves disabled")
{
	race_churn(BH_OFF, BH_OFF);
}

TEST(free, churn_mixed, "no write is lost while two CPUs allocate, use and free, only one of them sleepable")
{
	race_churn(SLEEPABLE, BH_OFF);
}

/*
 * A thread reads a page without end while BPF frees it and allocates it again.
 * It may see the page of the day or a fresh one, but once BPF is done, user
 * space and BPF must look at the same page.
 */
struct hammer {
	struct arena *arena;
	atomic_int stop;
	atomic_long reads;
	bool write;
};

static void *hammer_main(void *arg)
{
	struct hammer *h = arg;
	volatile __u64 *p = (volatile __u64 *)h->arena->base;

	while (!atomic_load(&h->stop)) {
		if (h->write)
			p[1] = 1;
		else
			(void)p[1];
		atomic_fetch_add(&h->reads, 1);
	}

	return NULL;
}

/* What one side writes, the other one reads, in both directions. */
static bool views_agree(struct arena *a, enum context ctx, __u64 val)
{
	volatile __u64 *p = (volatile __u64 *)a->base;

	*p = val;
	if (arena_read(a, ctx, a->base) != val)
		return false;
	arena_write(a, ctx, a->base, val + 1);

	return *p == val + 1;
}

static void race_faults(enum context ctx, bool write)
{
	struct hammer h = { .write = write };
	struct arena a;
	pthread_t t;
	int round;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(arena_open(&a, 16, 0), "load");
	h.arena = &a;
	ASSERT(thread_on(&t, 1, hammer_main, &h), "thread");
	pin_cpu(0);
	ASSERT(wait_for(atomic_load(&h.reads) > 0, 10000), "the other thread does not run");
	for (round = 0; round < 400; round++) {
		/* By allocation or by fault, the page is there afterwards. */
		arena_alloc_once(&a, ctx, a.base, 1);
		if (round % 8 == 7) {
			/* A free that is still at work may come between the steps. */
			ASSERT(wait_for(views_agree(&a, ctx, round), ctx == SLEEPABLE ? 0 : 5000),
			       "BPF and user space look at different pages");
		}
		arena_free(&a, ctx, a.base, 1);
	}
	atomic_store(&h.stop, 1);
	pthread_join(t, NULL);

	arena_free(&a, ctx, a.base, 16);
	ASSERT(arena_freed(&a, ctx, a.base, 16), "free not finished");
	ASSERT_EQ(user_diff(a.base, 1, 0), 0, "words that are not zero afterwards");
	arena_write(&a, ctx, a.base, 1234);
	ASSERT_EQ(*(volatile __u64 *)a.base, 1234, "word that user space reads at the end");
	ASSERT_EQ(arena_pages(&a), 1, "populated pages");
	arena_close(&a);
}

TEST(free, fault_race_read_sleepable, "no user mapping of a freed page survives sleepable frees that race with user reads")
{
	race_faults(SLEEPABLE, false);
}

TEST(free, fault_race_write_sleepable, "no user mapping of a freed page survives sleepable frees that race with user writes")
{
	race_faults(SLEEPABLE, true);
}

TEST(free, fault_race_deferred, "no user mapping of a freed page survives frees under RCU that race with user writes")
{
	race_faults(UNDER_RCU, true);
}

/* A process that maps, touches and unmaps the arena without end. */
static void mapper(struct arena *a)
{
	for (;;) {
		if (!map_at(a->fd, a->base, a->pages))
			_exit(1);
		user_mark(a->base, 8, 1);
		if (munmap(a->base, a->pages * PAGE))
			_exit(1);
	}
}

static void race_munmap(enum context ctx)
{
	struct arena a;
	int round, status;
	pid_t pid;

	ASSERT(arena_open(&a, 32, 0), "load");
	fflush(stdout);
	pid = fork();
	ASSERT(pid >= 0, "fork");
	if (!pid)
		mapper(&a);
	for (round = 0; round < 300; round++) {
		arena_alloc_once(&a, ctx, NULL, 8);
		arena_free(&a, ctx, a.base, 32);
	}
	ASSERT_EQ(waitpid(pid, &status, WNOHANG), 0, "the other process ended, waitpid");
	kill(pid, SIGKILL);
	ASSERT_EQ(waitpid(pid, &status, 0), pid, "waitpid");
	arena_free(&a, ctx, a.base, 32);
	ASSERT(arena_alloc_wait(&a, SLEEPABLE, NULL, 32) == a.base, "alloc afterwards");
	ASSERT_EQ(user_diff(a.base, 32, 0), 0, "words that are not zero");
	arena_close(&a);
}

TEST(free, munmap_race_sleepable, "sleepable frees complete while another process maps and unmaps")
{
	race_munmap(SLEEPABLE);
}

TEST(free, munmap_race_deferred, "frees under RCU complete while another process maps and unmaps")
{
	race_munmap(UNDER_RCU);
}

/*
 * A sleepable iterator over the mappings of a process runs with that process's
 * mmap_lock held. A free from there must not wait for the lock when a writer
 * is queued for it: writer and free would wait for each other.
 */
struct writer {
	char *arena;
	atomic_int stop;
};

static void *writer_main(void *arg)
{
	struct writer *w = arg;
	void *p;

	while (!atomic_load(&w->stop)) {
		p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		munmap(p, PAGE);
		/* Something to take away from a user mapping. */
		user_mark(w->arena, 8, 1);
	}

	return NULL;
}

/*
 * Frees @pages pages in each of @rounds iterations, the last one without a writer;
 * *@ns gets the shortest, over the rounds, of the longest free in a round.
 */
static void free_in_iter(__u32 pages, int rounds, struct iter_bpf **skelp, __u64 *ns)
{
	union bpf_iter_link_info info = { .task.pid = getpid() };
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));
	struct iter_bpf *skel;
	struct writer w = {};
	struct bpf_link *link;
	int round, fd, map_fd;
	char buf[256];
	pthread_t t;
	size_t len;
	__u32 i;

	/* The kernel says "might fault" under mmap_lock in front of every program of this kind. */
	if (has_lockdep())
		SKIP("lockdep takes the kernel's own iterator for a deadlock");
	skel = iter_bpf__open_and_load();
	ASSERT(skel, "load");
	*skelp = skel;
	*ns = ~0ULL;
	map_fd = bpf_map__fd(skel->maps.arena);
	w.arena = bpf_map__initial_value(skel->maps.arena, &len);
	skel->bss->base = (__u64)w.arena;
	skel->bss->pages = pages;
	link = bpf_program__attach_iter(skel->progs.free_in_iter, &opts);
	ASSERT(link, "attach");
	ASSERT(thread_on(&t, nr_cpus > 1, writer_main, &w), "thread");
	for (round = 0; round < rounds; round++) {
		if (round == rounds - 1) {
			atomic_store(&w.stop, 1);
			pthread_join(t, NULL);
		}
		/* As many spans as possible. */
		for (i = 64; i < pages; i += 2)
			user_mark(w.arena + i * PAGE, 1, 1);
		fd = bpf_iter_create(bpf_link__fd(link));
		ASSERT(fd >= 0, "create iterator");
		while (read(fd, buf, sizeof(buf)) > 0)
			;
		close(fd);
		/* Some rounds meet no waiting writer; then the free completes at once. */
		if (round < rounds - 1 && skel->bss->longest_ns < *ns)
			*ns = skel->bss->longest_ns;
		skel->bss->longest_ns = 0;
	}
	bpf_link__destroy(link);
	ASSERT(wait_for(map_pages(map_fd) == 0, 5000), "%ld pages left", map_pages(map_fd));
}

TEST(free, under_mmap_lock, "a free by an iter.s/task_vma program does not deadlock with a process that maps")
{
	struct iter_bpf *skel;
	__u64 ns;

	free_in_iter(64, 10, &skel, &ns);
	ASSERT_OK();
	ASSERT(skel->bss->frees >= 10, "the program ran %ld times", (long)skel->bss->frees);
	ASSERT_EQ(skel->bss->dirty, 0, "pages that were not zero");
	ASSERT(skel->bss->failed < skel->bss->frees, "no allocation succeeded");
	iter_bpf__destroy(skel);
}

TEST(free, long_under_mmap_lock, "a free of thousands of spans under mmap_lock waits for the lock once, not once a batch")
{
	struct iter_bpf *skel;
	__u64 ns;

	free_in_iter(32768, 3, &skel, &ns);
	ASSERT_OK();
	printf("# %llu us\n", ns / 1000);
	ASSERT(ns < 300000000ULL * patience, "a free took %llu us", ns / 1000);
	iter_bpf__destroy(skel);
}

/* Count zaps in the arena from now on. */
static bool count_zaps(struct zap_bpf *skel, struct arena *a)
{
	const char *fn = kver >= 70000 ? "zap_vma_range" : "zap_page_range_single";

	skel->bss->from = (__u64)a->base;
	skel->bss->to = (__u64)arena_page(a, a->pages);
	skel->links.on_zap = bpf_program__attach_kprobe(skel->progs.on_zap, false, fn);

	return skel->links.on_zap;
}

#define ZAP_PAGES 1000

TEST(free, zaps_what_is_mapped, "a free zaps the page that user space has mapped, and no other")
{
	struct zap_bpf *skel = zap_bpf__open_and_load();
	struct arena a;
	int i;

	ASSERT(skel && arena_open(&a, ZAP_PAGES, 0), "load");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, ZAP_PAGES) == a.base, "alloc");
	/* What is left are runs of one page. */
	for (i = 0; i < ZAP_PAGES; i += 2)
		arena_free(&a, SLEEPABLE, arena_page(&a, i), 1);
	user_mark(arena_page(&a, 501), 1, 7);
	ASSERT(count_zaps(skel, &a), "kprobe");

	arena_free(&a, SLEEPABLE, a.base, ZAP_PAGES);
	ASSERT_EQ(skel->bss->calls, 1, "zaps");
	ASSERT_EQ(skel->bss->bytes, PAGE, "bytes zapped");
	ASSERT_EQ(arena_pages(&a), 0, "populated pages");
	arena_close(&a);
	zap_bpf__destroy(skel);
}

TEST(free, zaps_neighbours_together, "a free zaps adjacent mapped pages together, and does not zap reservations")
{
	struct zap_bpf *skel = zap_bpf__open_and_load();
	struct arena a;

	ASSERT(skel && arena_open(&a, 256, 0), "load");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 128) == a.base, "alloc");
	ASSERT_EQ(arena_reserve(&a, SLEEPABLE, arena_page(&a, 128), 100), 0, "reserve");
	user_mark(arena_page(&a, 30), 64, 7);
	ASSERT(count_zaps(skel, &a), "kprobe");

	arena_free(&a, SLEEPABLE, a.base, a.pages);
	ASSERT_EQ(skel->bss->calls, 1, "zaps");
	ASSERT_EQ(skel->bss->bytes, 64 * PAGE, "bytes zapped");
	ASSERT_EQ(arena_pages(&a), 0, "populated pages");
	arena_close(&a);
	zap_bpf__destroy(skel);
}
