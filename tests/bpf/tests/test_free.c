// SPDX-License-Identifier: GPL-2.0
/*
 * Freeing: what is gone when, for whom, and that nonsense, repetition and
 * races do no harm.
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

TEST(free, complete_on_return, "after a sleepable free the page is gone for everybody at once")
{
	struct sem s;
	int round;
	char *p;

	ASSERT(sem_open(&s, 64, BPF_F_SEGV_ON_FAULT), "load");
	for (round = 0; round < 16; round++) {
		p = sem_alloc(&s, CX_SYS, NULL, 3);
		ASSERT(p == s.base, "round %d: alloc", round);
		user_mark(p, 3, 7);
		sem_free(&s, CX_SYS, p, 3);
		ASSERT_EQ(sem_pages(&s), 0, "populated pages");
		ASSERT_EQ(user_read_sig(p, NULL), SIGSEGV, "signal of a user read");
		ASSERT_EQ(user_write_sig(p + 2 * PAGE, 1), SIGSEGV, "signal of a user write");
		ASSERT_EQ(sem_read(&s, CX_SYS, p), 0, "word that BPF reads");
	}
	sem_close(&s);
}

TEST_ATOMIC(free, deferred, 64, BPF_F_SEGV_ON_FAULT,
	  "a free from elsewhere is complete within a moment")
{
	int round;
	char *p;

	for (round = 0; round < 8; round++) {
		p = sem_alloc(s, cx, NULL, 3);
		ASSERT(p == s->base, "round %d: alloc", round);
		user_mark(p, 3, 7);
		sem_free(s, cx, p, 3);
		ASSERT(sem_freed(s, cx, p, 3), "free not finished");
		ASSERT_EQ(sem_pages(s), 0, "populated pages");
		ASSERT_EQ(user_read_sig(p, NULL), SIGSEGV, "signal of a user read");
		ASSERT_EQ(user_write_sig(p + 2 * PAGE, 1), SIGSEGV, "signal of a user write");
		ASSERT_EQ(sem_read(s, cx, p), 0, "word that BPF reads");
	}
}

TEST_EACH(free, user_sees_zero, 64, 0,
	  "user space finds a fresh zero page where one was freed")
{
	__u64 val = 1;
	char *p;

	p = sem_alloc(s, cx, NULL, 2);
	ASSERT(p == s->base, "alloc");
	user_fill(p, 2, 0x1111111111111111ULL);
	sem_free(s, cx, p, 2);
	ASSERT(sem_freed(s, cx, p, 2), "free not finished");
	ASSERT_EQ(user_read_sig(p, &val), 0, "signal");
	ASSERT_EQ(user_diff(p, 2, 0), 0, "words that are not zero");
	ASSERT_EQ(sem_pages(s), 2, "populated pages after two user faults");
	user_mark(p, 2, 99);
	ASSERT_EQ(sem_unmarked(s, cx, p, 2, 99), 0, "pages that differ for BPF");
}

TEST_EACH(free, other_processes, 64, BPF_F_SEGV_ON_FAULT,
	  "a freed page is gone from every process that had it mapped")
{
	struct peer peer[3];
	__u64 val;
	int i;

	ASSERT(sem_alloc(s, cx, NULL, 4) == s->base, "alloc");
	for (i = 0; i < 3; i++)
		ASSERT(peer_start(&peer[i], s), "peer %d", i);
	sem_mark(s, cx, s->base, 4, 50);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(peer_read(&peer[i], sem_page(s, 1), &val), 0, "signal in a peer");
		ASSERT_EQ(val, 51, "word in a peer");
		ASSERT_EQ(peer_write(&peer[i], sem_page(s, 2), 60 + i), 0, "signal in a peer");
	}
	sem_free(s, cx, sem_page(s, 1), 2);
	ASSERT(sem_freed(s, cx, sem_page(s, 1), 2), "free not finished");
	ASSERT_EQ(sem_pages(s), 2, "populated pages");
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(peer_read(&peer[i], sem_page(s, 1), &val), SIGSEGV, "freed page, read");
		ASSERT_EQ(peer_write(&peer[i], sem_page(s, 2), 1), SIGSEGV, "freed page, write");
		ASSERT_EQ(peer_read(&peer[i], sem_page(s, 3), &val), 0, "page that was not freed");
		ASSERT_EQ(val, 53, "word in a page that was not freed");
	}
	ASSERT(sem_alloc(s, cx, NULL, 1) == sem_page(s, 1), "alloc again");
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(peer_read(&peer[i], sem_page(s, 1), &val), 0, "new page");
		ASSERT_EQ(val, 0, "word in a new page");
		peer_stop(&peer[i]);
	}
}

TEST_EACH(free, clamped, 64, 0,
	  "a free that reaches out of the arena frees what is inside")
{
	ASSERT(sem_alloc(s, cx, NULL, 64) == s->base, "alloc");
	sem_mark(s, cx, s->base, 64, 1);

	sem_free(s, cx, sem_page(s, 64), 1);
	sem_free(s, cx, sem_page(s, -1), 1);
	sem_free(s, cx, sem_page(s, 100000), 64);
	sem_free(s, cx, sem_page(s, 64), UINT_MAX);
	usleep(20000);
	ASSERT_EQ(sem_pages(s), 64, "populated pages after frees outside");
	ASSERT_EQ(sem_unmarked(s, cx, s->base, 64, 1), 0, "pages that lost contents");

	sem_free(s, cx, sem_page(s, 60), 100);
	ASSERT(sem_settle(s, 60), "free over the end");
	sem_free(s, cx, sem_page(s, 50), UINT_MAX);
	ASSERT(sem_settle(s, 50), "free of 4G pages");
	ASSERT_EQ(sem_unmarked(s, cx, s->base, 50, 1), 0, "pages that lost contents");
	ASSERT(sem_alloc(s, cx, NULL, 14) == sem_page(s, 50), "alloc of what was freed");
}

TEST_EACH(free, nothing, 64, 0,
	  "a free of nothing changes nothing")
{
	ASSERT(sem_alloc(s, cx, NULL, 4) == s->base, "alloc");
	sem_mark(s, cx, s->base, 4, 9);
	sem_free(s, cx, s->base, 0);
	sem_free(s, cx, NULL, 4);
	sem_free(s, cx, sem_page(s, 4), 60);
	sem_free(s, cx, sem_page(s, 30), 1);
	usleep(20000);
	ASSERT_EQ(sem_pages(s), 4, "populated pages");
	ASSERT_EQ(sem_unmarked(s, cx, s->base, 4, 9), 0, "pages that lost contents");
	ASSERT(sem_alloc(s, cx, NULL, 60) == sem_page(s, 4), "alloc of the rest");
}

TEST_EACH(free, inside_page, 64, 0,
	  "an address inside a page frees that page")
{
	ASSERT(sem_alloc(s, cx, NULL, 4) == s->base, "alloc");
	sem_free(s, cx, sem_page(s, 1) + 123, 1);
	ASSERT(sem_freed(s, cx, sem_page(s, 1), 1), "free not finished");
	ASSERT_EQ(sem_pages(s), 3, "populated pages");
	ASSERT(sem_alloc(s, cx, NULL, 1) == sem_page(s, 1), "alloc");
}

TEST_EACH(free, mixture, 64, 0,
	  "pages, reservations and holes are freed in one call")
{
	ASSERT(sem_alloc(s, cx, sem_page(s, 2), 3) == sem_page(s, 2), "alloc");
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 8), 4), 0, "reserve");
	ASSERT(sem_alloc(s, cx, sem_page(s, 12), 1) == sem_page(s, 12), "alloc");
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 20), 4), 0, "reserve");
	sem_free(s, cx, s->base, 22);
	ASSERT(sem_freed(s, cx, s->base, 22), "free not finished");
	ASSERT_EQ(sem_pages(s), 0, "populated pages");
	ASSERT(sem_alloc(s, cx, NULL, 22) == s->base, "alloc of all that was freed");
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 22), 1), -EBUSY, "rest of a reservation");
	ASSERT(sem_alloc(s, cx, NULL, 1) == sem_page(s, 24), "alloc behind the reservation");
}

TEST_EACH(free, twice, 64, 0,
	  "a page freed twice is handed out once")
{
	ASSERT(sem_alloc(s, cx, NULL, 8) == s->base, "alloc");
	sem_free(s, cx, sem_page(s, 2), 1);
	sem_free(s, cx, sem_page(s, 2), 1);
	sem_free(s, cx, sem_page(s, 2), 1);
	ASSERT(sem_freed(s, cx, sem_page(s, 2), 1), "free not finished");
	sem_free(s, cx, sem_page(s, 2), 1);
	usleep(10000);
	ASSERT_EQ(sem_pages(s), 7, "populated pages");
	ASSERT(sem_alloc(s, cx, NULL, 1) == sem_page(s, 2), "first alloc");
	ASSERT(sem_alloc(s, cx, NULL, 1) == sem_page(s, 8), "second alloc");
	usleep(10000);
	ASSERT_EQ(sem_pages(s), 9, "populated pages");
}

TEST_EACH(free, overlapping, 64, 0,
	  "overlapping frees free the union")
{
	ASSERT(sem_alloc(s, cx, NULL, 32) == s->base, "alloc");
	sem_mark(s, cx, s->base, 32, 3);
	sem_free(s, cx, sem_page(s, 4), 8);
	sem_free(s, cx, sem_page(s, 8), 8);
	sem_free(s, cx, sem_page(s, 2), 4);
	sem_free(s, cx, sem_page(s, 3), 12);
	ASSERT(sem_freed(s, cx, sem_page(s, 2), 14), "free not finished");
	ASSERT_EQ(sem_pages(s), 18, "populated pages");
	ASSERT_EQ(sem_unmarked(s, cx, s->base, 2, 3), 0, "pages before that lost contents");
	ASSERT_EQ(sem_unmarked(s, cx, sem_page(s, 16), 16, 19), 0, "pages behind that lost contents");
	ASSERT(sem_alloc(s, cx, NULL, 14) == sem_page(s, 2), "alloc of the union");
}

TEST_EACH(free, scattered, 200, 0,
	  "many small frees come all back")
{
	int i;

	for (i = 0; i < 200; i += 100)
		ASSERT(sem_alloc(s, cx, NULL, 100) == sem_page(s, i), "alloc");
	user_mark(s->base, 200, 1);
	for (i = 0; i < 200; i += 2)
		sem_free(s, cx, sem_page(s, i), 1);
	for (i = 0; i < 200; i += 2)
		ASSERT(sem_freed(s, cx, sem_page(s, i), 1), "free not finished");
	ASSERT_EQ(sem_pages(s), 100, "populated pages");
	for (i = 0; i < 200; i += 2)
		ASSERT(sem_alloc(s, cx, NULL, 1) == sem_page(s, i), "page %d", i);
	for (i = 0; i < 200; i++)
		ASSERT_EQ(*(volatile __u64 *)sem_page(s, i), i % 2 ? (__u64)i + 1 : 0, "word");
}

/*
 * Races
 */

struct racer {
	struct sem *s;
	enum sem_cx cx;
	int slot;
	struct sem_req r;
	atomic_int *go;
	bool ok;
};

static void *racer_main(void *arg)
{
	struct racer *c = arg;

	while (!atomic_load(c->go))
		;
	c->ok = sem_run(c->s, c->cx, c->slot, &c->r);

	return NULL;
}

static bool race(struct sem *s, enum sem_cx cx0, enum sem_cx cx1, struct sem_req *r0,
		 struct sem_req *r1)
{
	atomic_int go = 0;
	struct racer c[2] = {
		{ .s = s, .cx = cx0, .slot = 1, .r = *r0, .go = &go },
		{ .s = s, .cx = cx1, .slot = 2, .r = *r1, .go = &go },
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

static void race_frees(enum sem_cx cx0, enum sem_cx cx1)
{
	struct sem_req r0, r1;
	struct sem s;
	int round;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(sem_open(&s, 256, 0), "load");
	for (round = 0; round < 4; round++) {
		ASSERT(sem_alloc_wait(&s, CX_SYS, NULL, 256) == s.base, "round %d: alloc", round);
		ASSERT_EQ(user_diff(s.base, 256, 0), 0, "words that are not zero");
		user_mark(s.base, 256, 1);
		r0 = (struct sem_req){ .op = SEM_FREE_EACH, .addr = (__u64)s.base, .cnt = 256 };
		r1 = r0;
		if (round % 2) {
			r1.op = SEM_FREE;
			r1.addr += 50 * PAGE;
			r1.cnt = 150;
		}
		ASSERT(race(&s, cx0, cx1, &r0, &r1), "run");
		ASSERT(sem_settle(&s, 0), "%ld pages left", sem_pages(&s));
	}
	sem_close(&s);
}

TEST(free, race_sleepable, "two CPUs free the same pages, sleepable")
{
	race_frees(CX_SYS, CX_SYS);
}

TEST(free, race_softirq_off, "two CPUs free the same pages, bottom halves disabled")
{
	race_frees(CX_TC, CX_TC);
}

TEST(free, race_mixed, "two CPUs free the same pages, one can sleep and one cannot")
{
	race_frees(CX_SYS, CX_RCU);
}

static void race_churn(enum sem_cx cx0, enum sem_cx cx1)
{
	struct sem_req r0 = { .op = SEM_CHURN, .cnt = 3000, .node = -1, .val = 1ULL << 40 };
	struct sem_req r1 = { .op = SEM_CHURN, .cnt = 3000, .node = -1, .val = 2ULL << 40 };
	struct sem s;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(sem_open(&s, 256, 0), "load");
	ASSERT(race(&s, cx0, cx1, &r0, &r1), "run");
	ASSERT_EQ(r0.ret, 0, "rounds gone wrong on the first CPU");
	ASSERT_EQ(r1.ret, 0, "rounds gone wrong on the second CPU");
	ASSERT(r0.addr < 3000 || r1.addr < 3000, "no allocation succeeded");
	ASSERT(sem_settle(&s, 0), "%ld pages left", sem_pages(&s));
	ASSERT(sem_alloc_wait(&s, CX_SYS, NULL, 256) == s.base, "the whole arena afterwards");
	ASSERT_EQ(user_diff(s.base, 256, 0), 0, "words that are not zero");
	sem_close(&s);
}

TEST(free, churn_sleepable, "two CPUs allocate, use and free; no write is lost, sleepable")
{
	race_churn(CX_SYS, CX_SYS);
}

TEST(free, churn_softirq_off, "two CPUs allocate, use and free; no write is lost, bottom halves disabled")
{
	race_churn(CX_TC, CX_TC);
}

TEST(free, churn_mixed, "two CPUs allocate, use and free; no write is lost, one can sleep")
{
	race_churn(CX_SYS, CX_TC);
}

/*
 * A thread reads a page without end while BPF frees it and allocates it again.
 * It may see the page of the day or a fresh one, but once BPF is done, user
 * space and BPF must look at the same page.
 */
struct hammer {
	struct sem *s;
	atomic_int stop;
	atomic_long reads;
	bool write;
};

static void *hammer_main(void *arg)
{
	struct hammer *h = arg;
	volatile __u64 *p = (volatile __u64 *)h->s->base;

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
static bool views_agree(struct sem *s, enum sem_cx cx, __u64 val)
{
	volatile __u64 *p = (volatile __u64 *)s->base;

	*p = val;
	if (sem_read(s, cx, s->base) != val)
		return false;
	sem_write(s, cx, s->base, val + 1);

	return *p == val + 1;
}

static void race_faults(enum sem_cx cx, bool write)
{
	struct hammer h = { .write = write };
	struct sem s;
	pthread_t t;
	int round;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(sem_open(&s, 16, 0), "load");
	h.s = &s;
	ASSERT(thread_on(&t, 1, hammer_main, &h), "thread");
	pin_cpu(0);
	ASSERT(wait_for(atomic_load(&h.reads) > 0, 10000), "the other thread does not run");
	for (round = 0; round < 400; round++) {
		/* Whoever was first, the page is there afterwards. */
		sem_alloc_once(&s, cx, s.base, 1);
		if (round % 8 == 7) {
			/* A free that is still at work may come between the steps. */
			ASSERT(wait_for(views_agree(&s, cx, round), cx == CX_SYS ? 0 : 5000),
			       "BPF and user space look at different pages");
		}
		sem_free(&s, cx, s.base, 1);
	}
	atomic_store(&h.stop, 1);
	pthread_join(t, NULL);

	sem_free(&s, cx, s.base, 16);
	ASSERT(sem_freed(&s, cx, s.base, 16), "free not finished");
	ASSERT_EQ(user_diff(s.base, 1, 0), 0, "words that are not zero afterwards");
	sem_write(&s, cx, s.base, 1234);
	ASSERT_EQ(*(volatile __u64 *)s.base, 1234, "word that user space reads at the end");
	ASSERT_EQ(sem_pages(&s), 1, "populated pages");
	sem_close(&s);
}

TEST(free, fault_race_read_sleepable, "user reads against sleepable frees: no view of a freed page survives")
{
	race_faults(CX_SYS, false);
}

TEST(free, fault_race_write_sleepable, "user writes against sleepable frees: no view of a freed page survives")
{
	race_faults(CX_SYS, true);
}

TEST(free, fault_race_deferred, "user writes against frees under rcu: no view of a freed page survives")
{
	race_faults(CX_RCU, true);
}

/* A process that maps, touches and unmaps the arena without end. */
static void mapper(struct sem *s)
{
	for (;;) {
		if (!map_at(s->fd, s->base, s->pages))
			_exit(1);
		user_mark(s->base, 8, 1);
		if (munmap(s->base, s->pages * PAGE))
			_exit(1);
	}
}

static void race_munmap(enum sem_cx cx)
{
	struct sem s;
	int round, status;
	pid_t pid;

	ASSERT(sem_open(&s, 32, 0), "load");
	fflush(stdout);
	pid = fork();
	ASSERT(pid >= 0, "fork");
	if (!pid)
		mapper(&s);
	for (round = 0; round < 300; round++) {
		sem_alloc_once(&s, cx, NULL, 8);
		sem_free(&s, cx, s.base, 32);
	}
	ASSERT_EQ(waitpid(pid, &status, WNOHANG), 0, "the other process ended, waitpid");
	kill(pid, SIGKILL);
	ASSERT_EQ(waitpid(pid, &status, 0), pid, "waitpid");
	sem_free(&s, cx, s.base, 32);
	ASSERT(sem_alloc_wait(&s, CX_SYS, NULL, 32) == s.base, "alloc afterwards");
	ASSERT_EQ(user_diff(s.base, 32, 0), 0, "words that are not zero");
	sem_close(&s);
}

TEST(free, munmap_race_sleepable, "another process maps and unmaps during sleepable frees")
{
	race_munmap(CX_SYS);
}

TEST(free, munmap_race_deferred, "another process maps and unmaps during frees under rcu")
{
	race_munmap(CX_RCU);
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
 * Frees @pages pages in each of @rounds iterations, in the last one with nobody else;
 * *@ns gets the longest free of the round that had the shortest one.
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
		/* As many runs as there can be. */
		for (i = 64; i < pages; i += 2)
			user_mark(w.arena + i * PAGE, 1, 1);
		fd = bpf_iter_create(bpf_link__fd(link));
		ASSERT(fd >= 0, "create iterator");
		while (read(fd, buf, sizeof(buf)) > 0)
			;
		close(fd);
		/* Not all rounds find somebody waiting; with nobody, all of it is done at once. */
		if (round < rounds - 1 && skel->bss->longest_ns < *ns)
			*ns = skel->bss->longest_ns;
		skel->bss->longest_ns = 0;
	}
	bpf_link__destroy(link);
	ASSERT(wait_for(map_pages(map_fd) == 0, 5000), "%ld pages left", map_pages(map_fd));
}

TEST(free, under_mmap_lock, "a free from iter.s/task_vma while the process maps: no deadlock")
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

TEST(free, long_under_mmap_lock, "a free of thousands of runs under mmap_lock waits for the lock once, not once a batch")
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
static bool count_zaps(struct zap_bpf *skel, struct sem *s)
{
	const char *fn = kver >= 70000 ? "zap_vma_range" : "zap_page_range_single";

	skel->bss->from = (__u64)s->base;
	skel->bss->to = (__u64)sem_page(s, s->pages);
	skel->links.on_zap = bpf_program__attach_kprobe(skel->progs.on_zap, false, fn);

	return skel->links.on_zap;
}

#define ZAP_PAGES 1000

TEST(free, zaps_what_is_mapped, "one page that user space has touched does not cost a zap for each page that it has not")
{
	struct zap_bpf *skel = zap_bpf__open_and_load();
	struct sem s;
	int i;

	ASSERT(skel && sem_open(&s, ZAP_PAGES, 0), "load");
	ASSERT(sem_alloc(&s, CX_SYS, NULL, ZAP_PAGES) == s.base, "alloc");
	/* What is left are runs of one page. */
	for (i = 0; i < ZAP_PAGES; i += 2)
		sem_free(&s, CX_SYS, sem_page(&s, i), 1);
	user_mark(sem_page(&s, 501), 1, 7);
	ASSERT(count_zaps(skel, &s), "kprobe");

	sem_free(&s, CX_SYS, s.base, ZAP_PAGES);
	ASSERT_EQ(skel->bss->calls, 1, "zaps");
	ASSERT_EQ(skel->bss->bytes, PAGE, "bytes zapped");
	ASSERT_EQ(sem_pages(&s), 0, "populated pages");
	sem_close(&s);
	zap_bpf__destroy(skel);
}

TEST(free, zaps_neighbours_together, "pages in a row that user space has touched are zapped in one go, reservations not at all")
{
	struct zap_bpf *skel = zap_bpf__open_and_load();
	struct sem s;

	ASSERT(skel && sem_open(&s, 256, 0), "load");
	ASSERT(sem_alloc(&s, CX_SYS, NULL, 128) == s.base, "alloc");
	ASSERT_EQ(sem_reserve(&s, CX_SYS, sem_page(&s, 128), 100), 0, "reserve");
	user_mark(sem_page(&s, 30), 64, 7);
	ASSERT(count_zaps(skel, &s), "kprobe");

	sem_free(&s, CX_SYS, s.base, s.pages);
	ASSERT_EQ(skel->bss->calls, 1, "zaps");
	ASSERT_EQ(skel->bss->bytes, 64 * PAGE, "bytes zapped");
	ASSERT_EQ(sem_pages(&s), 0, "populated pages");
	sem_close(&s);
	zap_bpf__destroy(skel);
}
