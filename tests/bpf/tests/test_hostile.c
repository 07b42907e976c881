// SPDX-License-Identifier: GPL-2.0
/*
 * Attacks through the module by a user that may load BPF programs or got an arena's
 * descriptor (docs/security.md): arguments of all kinds, maps of other users, old contents
 * of pages, races with adoption and removal, and a flood of messages.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "oracle.h"
#include "runner.h"
#include "arena.h"
#include "numbers.h"
#include "bounded.skel.h"
#include "hostile.skel.h"
#include "odd.skel.h"
#include "reject.skel.h"

static int no_print(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return 0;
}

static bool unload(void)
{
	return wait_for(!mod_unload(), 10000);
}

/*
 * Arguments, against a model
 */

#define FUZZ_PAGES 512
#define FUZZ_CALLS 6000

enum page_state {
	FREE,
	PAGE_OURS,	/* allocated, with a mark in it */
	RESERVED,
	GOING,		/* queued by a free that cannot sleep */
};

struct fuzz {
	struct arena arena;
	unsigned char state[FUZZ_PAGES];
	uint64_t mark[FUZZ_PAGES];
	uint64_t call;
	enum context ctx;
};

/* Interesting addresses, around the arena and far from it. */
static uint64_t fuzz_addr(const struct fuzz *f)
{
	uint64_t base = (uintptr_t)f->arena.base, end = base + FUZZ_PAGES * PAGE, r = rnd();
	static const uint64_t odd[] = {
		0, 1, 4095, 4096, ~0ULL, ~4095ULL, 1ULL << 31, 1ULL << 32, 1ULL << 47,
		1ULL << 63, 0xffff888000000000ULL, 0xffffffff81000000ULL, 0xdead000000000100ULL,
	};

	switch (r & 7) {
	case 0:
		return odd[(r >> 8) % (sizeof(odd) / sizeof(*odd))];
	case 1:
		return end + (int64_t)((r >> 8) % 8 * PAGE) - 4 * (int64_t)PAGE;
	case 2:
		/* The same page some 4 GiB away. */
		return base + (r >> 8) % FUZZ_PAGES * PAGE + ((r >> 32) << 32);
	case 3:
		return base + (r >> 8) % (FUZZ_PAGES * PAGE);
	case 4:
		return rnd();
	default:
		return base + (r >> 8) % FUZZ_PAGES * PAGE;
	}
}

static uint32_t fuzz_cnt(void)
{
	uint64_t r = rnd();
	static const uint32_t odd[] = {
		0, FUZZ_PAGES, FUZZ_PAGES + 1, 1 << 20, (1 << 20) + 1, INT32_MAX, 1U << 31,
		UINT32_MAX - 1, UINT32_MAX,
	};

	return r & 7 ? 1 + (r >> 8) % 16 : odd[(r >> 8) % (sizeof(odd) / sizeof(*odd))];
}

/* Only the lower half of an address counts, as in the kernel's own arena. */
static uint32_t fuzz_pgoff(const struct fuzz *f, uint64_t addr)
{
	return (uint32_t)(addr - (uintptr_t)f->arena.base) / PAGE;
}

static bool fuzz_any(const struct fuzz *f, uint32_t from, uint32_t cnt, enum page_state state)
{
	while (cnt--)
		if (f->state[from++] == state)
			return true;

	return false;
}

/* Neither taken by us, nor on its way to be free. */
static bool fuzz_all_free(const struct fuzz *f, uint32_t from, uint32_t cnt)
{
	return !fuzz_any(f, from, cnt, PAGE_OURS) && !fuzz_any(f, from, cnt, RESERVED) &&
	       !fuzz_any(f, from, cnt, GOING);
}

static bool fuzz_has_room(const struct fuzz *f, uint32_t cnt)
{
	uint32_t i, run = 0;

	for (i = 0; i < FUZZ_PAGES; i++) {
		run = f->state[i] == FREE ? run + 1 : 0;
		if (run == cnt)
			return true;
	}

	return false;
}

/* Callers that can sleep wait for queued slots. */
static bool fuzz_may_be_free(const struct fuzz *f, uint32_t from, uint32_t cnt)
{
	return !fuzz_any(f, from, cnt, PAGE_OURS) && !fuzz_any(f, from, cnt, RESERVED);
}

static void fuzz_alloc(struct fuzz *f)
{
	static const int nodes[] = { -1, -1, -1, -1, -1, 0, -2, 1, 63, INT32_MAX, INT32_MIN };
	uint64_t addr = rnd() % 3 ? 0 : fuzz_addr(f), flags = rnd() % 32 ? 0 : rnd();
	uint32_t cnt = fuzz_cnt(), pgoff = fuzz_pgoff(f, addr), i;
	int node = nodes[rnd() % (sizeof(nodes) / sizeof(*nodes))];
	bool sane = cnt && cnt <= FUZZ_PAGES && !flags && !(addr % PAGE) &&
		    (node == -1 || node == 0) &&
		    (!addr || (pgoff < FUZZ_PAGES && cnt <= FUZZ_PAGES - pgoff));
	char *p = arena_alloc_args(&f->arena, f->ctx, (void *)addr, cnt, node, flags);

	if (!p) {
		/* A caller that can sleep had no reason to fail. */
		ASSERT(!sane || f->ctx != SLEEPABLE ||
		       (addr ? !fuzz_all_free(f, pgoff, cnt) : !fuzz_has_room(f, cnt)),
		       "no %u pages at %#llx, where they are free", cnt, (unsigned long long)addr);
		return;
	}
	ASSERT(sane, "%u pages at %#llx, node %d, flags %#llx: got %p", cnt,
	       (unsigned long long)addr, node, (unsigned long long)flags, p);
	ASSERT(!((uintptr_t)p % PAGE) && p >= f->arena.base &&
	       p + cnt * PAGE <= f->arena.base + FUZZ_PAGES * PAGE, "%p is outside", p);
	if (addr)
		ASSERT_EQ(fuzz_pgoff(f, (uintptr_t)p), pgoff, "page, where an address was given");
	pgoff = fuzz_pgoff(f, (uintptr_t)p);
	ASSERT(fuzz_may_be_free(f, pgoff, cnt), "page %u of %u was taken", pgoff, cnt);
	ASSERT_EQ(user_diff(p, cnt, 0), 0, "words of new pages that are not zero");
	for (i = pgoff; i < pgoff + cnt; i++) {
		f->state[i] = PAGE_OURS;
		f->mark[i] = f->call << 20 | i;
		*(volatile uint64_t *)arena_page(&f->arena, i) = f->mark[i];
	}
}

static void fuzz_free(struct fuzz *f)
{
	uint64_t addr = fuzz_addr(f);
	uint32_t cnt = fuzz_cnt(), pgoff = fuzz_pgoff(f, addr), i;

	/* Seldom all of it. */
	if (cnt > 64 && rnd() % 8)
		cnt %= 64;
	arena_free(&f->arena, f->ctx, (void *)addr, cnt);
	if (!addr || pgoff >= FUZZ_PAGES)
		return;
	for (i = pgoff; i < FUZZ_PAGES && i - pgoff < cnt; i++)
		if (f->state[i] != FREE)
			f->state[i] = f->ctx == SLEEPABLE && f->state[i] != GOING ? FREE : GOING;
}

static void fuzz_reserve(struct fuzz *f)
{
	uint64_t addr = fuzz_addr(f);
	uint32_t cnt = fuzz_cnt(), pgoff = fuzz_pgoff(f, addr), i;
	bool sane = !(addr % PAGE) && pgoff < FUZZ_PAGES && cnt <= FUZZ_PAGES - pgoff;
	int err = arena_reserve(&f->arena, f->ctx, (void *)addr, cnt);

	if (!cnt || !sane) {
		ASSERT_EQ(err, cnt ? -EINVAL : 0, "error of a reservation that makes no sense");
		return;
	}
	if (err)
		ASSERT(err == -EBUSY && !fuzz_all_free(f, pgoff, cnt), "error %d at page %u", err,
		       pgoff);
	else
		ASSERT(fuzz_may_be_free(f, pgoff, cnt), "page %u of %u was taken", pgoff, cnt);
	for (i = pgoff; !err && i < pgoff + cnt; i++)
		f->state[i] = RESERVED;
}

static void fuzz_check(struct fuzz *f)
{
	uint32_t i, pages = 0;

	for (i = 0; i < FUZZ_PAGES; i++) {
		if (f->state[i] == GOING)
			f->state[i] = FREE;
		if (f->state[i] != PAGE_OURS)
			continue;
		pages++;
		ASSERT_EQ(*(volatile uint64_t *)arena_page(&f->arena, i), f->mark[i],
			  "mark in a page");
	}
	ASSERT(oracle_rest(f->arena.fd), "after %llu calls", (unsigned long long)f->call);
	ASSERT_EQ(arena_pages(&f->arena), pages, "populated pages");
}

TEST_LONG(hostile, arguments, 120,
	  "calls with random arguments match a model and do not change other arenas")
{
	static struct fuzz f;
	struct peer peer;
	struct arena other;
	__u64 val = 0;

	rng_state = storm_seed;
	printf("# seed %llu\n", storm_seed);
	ASSERT(arena_open(&f.arena, FUZZ_PAGES, BPF_F_SEGV_ON_FAULT), "load");
	ASSERT(arena_open(&other, FUZZ_PAGES, 0), "load");
	user_fill(other.base, FUZZ_PAGES, 0x5ec1e7);
	ASSERT(peer_start(&peer, &other), "peer");
	for (f.call = 1; f.call <= FUZZ_CALLS && !test_failed(); f.call++) {
		f.ctx = rnd() % (nr_cpus > 1 ? 4 : 3);
		switch (rnd() % 8) {
		case 0: case 1: case 2: case 3:
			fuzz_alloc(&f);
			break;
		case 4: case 5: case 6:
			fuzz_free(&f);
			break;
		default:
			fuzz_reserve(&f);
		}
		if (!(f.call % 500))
			fuzz_check(&f);
	}
	ASSERT_OK();
	ASSERT_EQ(user_diff(other.base, FUZZ_PAGES, 0x5ec1e7), 0, "words of another arena");
	ASSERT(!peer_read(&peer, arena_page(&other, 7), &val) && val == 0x5ec1e7,
	       "another process");
	ASSERT_EQ(arena_pages(&other), FUZZ_PAGES, "pages of another arena");
	peer_stop(&peer);
	arena_close(&other);
	arena_close(&f.arena);
}

/*
 * Maps
 */

/* Read an iterator to its end: the program sees each map of the system. */
static bool iterate(struct bpf_link *link)
{
	int fd = bpf_iter_create(bpf_link__fd(link));
	char buf[64];

	if (fd < 0)
		return false;
	while (read(fd, buf, sizeof(buf)) > 0)
		;
	close(fd);

	return true;
}

TEST(hostile, every_map, "the kfuncs work on adopted arenas and fail for every other map of the system")
{
	static const enum bpf_map_type types[] = {
		BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_PERCPU_ARRAY,
		BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_QUEUE, BPF_MAP_TYPE_PROG_ARRAY,
	};
	LIBBPF_OPTS(bpf_map_create_opts, arena_opts, .map_flags = BPF_F_MMAPABLE);
	int fds[8], stock, i, n = sizeof(types) / sizeof(*types);
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	struct hostile_bpf *skel;
	struct bpf_link *link;
	struct arena ours;

	for (i = 0; i < n; i++) {
		fds[i] = bpf_map_create(types[i], "hostile", types[i] == BPF_MAP_TYPE_QUEUE ? 0 : 4,
					types[i] == BPF_MAP_TYPE_PROG_ARRAY ? 4 : 8, 16, NULL);
		ASSERT(fds[i] >= 0, "map of type %d: %s", types[i], strerror(errno));
	}
	stock = bpf_map_create(BPF_MAP_TYPE_ARENA, "stock", 0, 0, 16, &arena_opts);
	ASSERT(stock >= 0, "arena");
	ASSERT(arena_open(&ours, 16, 0), "load");
	user_mark(ours.base, 8, 77);
	skel = hostile_bpf__open_and_load();
	ASSERT(skel, "load");
	ASSERT(!bpf_map_get_info_by_fd(stock, &info, &len), "info");
	skel->bss->stock_id = info.id;
	skel->bss->addr = (uintptr_t)ours.base + 12 * PAGE;
	link = bpf_program__attach_iter(skel->progs.hostile_maps, NULL);
	ASSERT(link && iterate(link), "iterate");
	ASSERT(skel->bss->maps >= (__u32)n + 2, "only %u maps were seen", skel->bss->maps);
	ASSERT_EQ(skel->bss->others, 0, "other maps on which a call worked");
	/* There may be some of earlier tests, on their way out. */
	ASSERT(skel->bss->arenas, "no arena on which an allocation worked");
	ASSERT(wait_for(arena_pages(&ours) == 8, 5000), "pages of the adopted arena");
	ASSERT_EQ(user_unmarked(ours.base, 8, 77), 0, "pages that differ");
	ASSERT_EQ(map_pages(stock), 0, "pages of the arena that was not adopted");
	bpf_link__destroy(link);
	hostile_bpf__destroy(skel);
	arena_close(&ours);
	close(stock);
	for (i = 0; i < n; i++)
		close(fds[i]);
}

/*
 * Old contents
 */

#define STALE_PAGES 1024
#define SECRET 0x5ec2e75ec2e75ec2ULL

struct scribble {
	char *base;
	bool stop;
};

/* Writes all the time, to whatever of it is there. */
static void *scribble_fn(void *arg)
{
	struct scribble *w = arg;
	unsigned int i = 0;

	while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
		i = (i + 7) % STALE_PAGES;
		user_write_sig(w->base + i * PAGE + 8 * (i % 512), SECRET);
	}

	return NULL;
}

/* A thread writes to pages while a program frees them; then all views are checked. */
static void stale_round(struct arena *a, enum context freed, enum context taken)
{
	struct scribble w = { .base = a->base };
	pthread_t thread;
	char *p;

	ASSERT(arena_alloc(a, SLEEPABLE, a->base, STALE_PAGES) == a->base, "alloc");
	arena_fill(a, SLEEPABLE, a->base, STALE_PAGES, SECRET);
	ASSERT(thread_on(&thread, 1 % nr_cpus, scribble_fn, &w), "thread");
	arena_free(a, freed, a->base, STALE_PAGES);
	usleep(2000);
	__atomic_store_n(&w.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	ASSERT(arena_freed(a, freed, a->base, STALE_PAGES), "free not finished");
	p = arena_alloc(a, taken, a->base, STALE_PAGES / 8);
	ASSERT(p == a->base, "alloc");
	ASSERT_EQ(user_diff(p, STALE_PAGES / 8, 0), 0,
		  "words with old contents, in the same arena");
	ASSERT_EQ(arena_diff(a, SLEEPABLE, p, STALE_PAGES / 8, 0), 0, "words that a program sees");
	arena_free(a, SLEEPABLE, a->base, STALE_PAGES);
}

/* Pages in quick succession, so that those that were freed last come back first. */
static void stale_cycles(struct arena *a, enum context freed, enum context taken)
{
	char *p;
	int i;

	for (i = 0; i < 40; i++) {
		p = arena_alloc(a, taken, NULL, 64);
		ASSERT(p, "alloc");
		ASSERT_EQ(user_diff(p, 64, 0), 0, "words with old contents");
		user_fill(p, 64, SECRET);
		arena_free(a, freed, p, 64);
	}
}

TEST_LONG(hostile, stale, 120,
	  "a new page has no old contents, even if they were written during the free")
{
	struct arena a, other;
	int round;

	for (round = 0; round < 4; round++) {
		enum context freed = round % 4, taken = (round + 1) % 4;

		if (nr_cpus < 2 && (freed == HARDIRQ || taken == HARDIRQ))
			continue;
		/* With room left, the pool reuses freed pages at once. */
		ASSERT(arena_open(&a, 2 * STALE_PAGES, BPF_F_SEGV_ON_FAULT), "load");
		stale_round(&a, freed, taken);
		ASSERT_OK();
		stale_cycles(&a, freed, taken);
		ASSERT_OK();
		ASSERT(arena_reset(&a), "the arena does not get empty");
		/* Its pages go back to the kernel full of secrets. */
		ASSERT(arena_alloc(&a, SLEEPABLE, a.base, STALE_PAGES) == a.base, "alloc");
		user_fill(a.base, STALE_PAGES, SECRET);
		arena_close(&a);
		munmap(a.base, 2 * STALE_PAGES * PAGE);

		ASSERT(arena_open(&other, STALE_PAGES, 0), "load");
		ASSERT(arena_alloc(&other, taken, NULL, 256) == other.base, "alloc");
		ASSERT_EQ(user_diff(other.base, STALE_PAGES, 0), 0,
			  "words with old contents, in another arena");
		arena_close(&other);
		munmap(other.base, STALE_PAGES * PAGE);
	}
}

/*
 * Adoption, removal
 */

struct shared_arena {
	int fd;
	char *base;
	__u32 pages;
};

/* A process that uses a contested arena, in one of four ways. */
static void intruder(const struct shared_arena *a, int who)
{
	struct reject_bpf *reject;
	struct arena s;
	int i;

	oracle_pause(true);
	libbpf_set_print(no_print);
	switch (who % 4) {
	case 0:
		/* Loads programs, uses them, closes them. */
		while (arena_attach(&s, a->fd, a->base, a->pages)) {
			arena_free(&s, UNDER_RCU, arena_alloc_once(&s, UNDER_RCU, NULL, 2), 2);
			arena_close(&s);
		}
		break;
	case 1:
		/* Maps, touches, unmaps. */
		for (;;) {
			map_at(a->fd, a->base, a->pages);
			for (i = 0; i < 16; i++)
				user_read_sig(a->base + rnd() % 16 * PAGE, NULL);
			munmap(a->base, a->pages * PAGE);
		}
	case 2:
		/* Has programs refused after the kernel has asked about the kfunc. */
		while ((reject = reject_bpf__open())) {
			bpf_map__reuse_fd(reject->maps.arena, a->fd);
			bpf_map__set_max_entries(reject->maps.arena, a->pages);
			reject_bpf__load(reject);
			reject_bpf__destroy(reject);
		}
		break;
	default:
		/* Writes what has to stay. */
		map_at(a->fd, a->base, a->pages);
		for (;;)
			for (i = 16; i < 32; i++)
				*(volatile uint64_t *)(a->base + i * PAGE) = SECRET + i;
	}
	_exit(1);
}

TEST_LONG(hostile, loaders, 90,
	  "an arena works after processes loaded, mapped, failed and died during its adoption")
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	struct shared_arena a = { .pages = 256 };
	int round, i, alive;
	pid_t pids[8];
	struct arena s;

	rng_state = storm_seed;
	for (round = 0; round < 4; round++) {
		a.fd = bpf_map_create(BPF_MAP_TYPE_ARENA, "contested", 0, 0, a.pages, &opts);
		ASSERT(a.fd >= 0, "arena");
		a.base = mmap(NULL, a.pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, a.fd, 0);
		ASSERT(a.base != MAP_FAILED, "mmap");
		user_mark(a.base, 16, 5);
		fflush(stdout);
		for (i = 0; i < 8; i++) {
			pids[i] = fork();
			if (!pids[i]) {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				intruder(&a, i);
			}
		}
		/* Kill one after the other, at random moments. */
		for (i = 0, alive = 0; i < 8; i++) {
			usleep(rnd() % (100000 * patience));
			alive += !waitpid(pids[i], NULL, WNOHANG);
			kill(pids[i], SIGKILL);
			waitpid(pids[i], NULL, 0);
		}
		ASSERT_EQ(alive, 8, "processes that had no failure");
		ASSERT(arena_attach(&s, a.fd, a.base, a.pages), "load afterwards");
		ASSERT_EQ(user_unmarked(a.base, 16, 5), 0, "pages from before that differ");
		for (i = 16; i < 32; i++)
			ASSERT_EQ(arena_read(&s, UNDER_RCU, a.base + i * PAGE), SECRET + i,
				  "late page");
		ASSERT(oracle_rest(a.fd), "after all");
		arena_free(&s, SLEEPABLE, a.base, a.pages);
		ASSERT(arena_alloc(&s, SLEEPABLE, NULL, a.pages) == a.base, "all of it");
		arena_close(&s);
		munmap(a.base, a.pages * PAGE);
		close(a.fd);
	}
	ASSERT(unload(), "the module cannot be removed");
	ASSERT_EQ(mod_load(""), 0, "load");
}

TEST(hostile, unload, "rmmod fails while a program uses the module, however often it is tried")
{
	struct arena_req r = { .op = REQ_CHURN, .node = -1, .cnt = 2000, .val = 1 };
	int i, status, removed = 0;
	struct arena a;
	pid_t pid;

	ASSERT(arena_open(&a, 64, 0), "load");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		while (arena_run(&a, UNDER_RCU, 1, &r) && !r.ret)
			r = (struct arena_req){
				.op = REQ_CHURN, .node = -1, .cnt = 2000, .val = 1,
			};
		_exit(1);
	}
	for (i = 0; i < 1000 && !removed; i++)
		removed += !mod_unload();
	ASSERT(!removed, "removed");
	ASSERT(!waitpid(pid, &status, WNOHANG), "the program does not work any more");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ASSERT(arena_reset(&a), "the arena does not get empty");
	arena_close(&a);
}

/* Some load programs, one removes the module, one loads it. */
TEST(hostile, load_and_remove, "a program works or is refused if the module is loaded and removed during its load")
{
	int loaded = 0, refused = 0, removed = 0;
	long end = now_ms() + 5000 * patience;
	libbpf_print_fn_t print;
	pid_t pid;

	print = libbpf_set_print(no_print);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			mod_unload();
			usleep(rnd() % 5000);
			mod_load("");
			/* A load may take most of a second on a busy machine. */
			usleep(rnd() % (600000 * patience));
		}
	}
	oracle_pause(true);
	while (now_ms() < end || (!loaded && now_ms() < end + 30000 * patience)) {
		struct arena a;

		if (!arena_open(&a, 16, 0)) {
			refused++;
			continue;
		}
		loaded++;
		ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 16) == a.base, "alloc");
		removed += !mod_unload();
		arena_free(&a, UNDER_RCU, a.base, 16);
		arena_close(&a);
		munmap(a.base, 16 * PAGE);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	libbpf_set_print(print);
	oracle_pause(false);
	if (!mod_loaded())
		mod_load("");
	printf("# %d loads worked, %d did not\n", loaded, refused);
	ASSERT_EQ(removed, 0, "removals under a program");
	ASSERT(loaded, "no load worked");
}

/*
 * The log, and users with nothing but a descriptor
 */

TEST(hostile, log, "no call that a program repeats fills the log")
{
	libbpf_print_fn_t print = libbpf_set_print(no_print);
	struct reject_bpf *reject;
	const char *p, *text;
	int i, lines = 0;
	struct arena a;
	long mark = klog_mark();

	ASSERT(arena_open(&a, 16, 0), "load");
	for (i = 0; i < 500 / patience; i++) {
		arena_alloc_args(&a, UNDER_RCU, (void *)rnd(), rnd(), rnd(), rnd());
		arena_free(&a, UNDER_RCU, (void *)rnd(), rnd());
		arena_reserve(&a, UNDER_RCU, (void *)rnd(), rnd());
		mmap(NULL, PAGE * (rnd() % 32), PROT_READ, MAP_SHARED, a.fd, PAGE * (rnd() % 2));
	}
	for (i = 0; i < 30 / patience; i++) {
		reject = reject_bpf__open();
		ASSERT(reject && reject_bpf__load(reject), "a bad program was loaded");
		reject_bpf__destroy(reject);
	}
	libbpf_set_print(print);
	arena_close(&a);
	text = klog_since(mark);
	for (p = text; (p = strstr(p, "arena_nolock")); p++)
		lines++;
	ASSERT(lines < 20, "%d lines in the log: %.500s", lines, text);
}

TEST(hostile, user, "a process that has only a descriptor of the arena can use it and cannot break it")
{
	struct iovec local, remote;
	uint64_t val = 0;
	int status;
	struct arena a;
	char *p, *moved;
	pid_t pid;

	ASSERT(arena_open(&a, 64, 0), "load");
	user_mark(a.base, 64, 9);
	/* Elsewhere, of another size, at an offset. */
	ASSERT(mmap(a.base + 64 * PAGE, 64 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE,
		    a.fd, 0)
	       == MAP_FAILED, "mapped elsewhere");
	ASSERT(mmap(NULL, 32 * PAGE, PROT_READ, MAP_SHARED, a.fd, 0) == MAP_FAILED,
	       "mapped a part");
	ASSERT(mmap(a.base, 128 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, a.fd, 0) == MAP_FAILED,
	       "mapped more");
	ASSERT(mmap(a.base, 63 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, a.fd, PAGE) == MAP_FAILED,
	       "mapped at an offset");
	ASSERT_EQ(user_unmarked(a.base, 64, 9), 0, "pages that differ");
	/* A part of it, to be moved, unmapped, or replaced. */
	ASSERT(munmap(a.base + 8 * PAGE, PAGE), "a part was unmapped");
	ASSERT(mremap(a.base, 64 * PAGE, 32 * PAGE, 0) == MAP_FAILED, "shrunk");
	ASSERT(mmap(a.base + 8 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		    0)
	       == MAP_FAILED, "a part was replaced");
	p = mmap(NULL, 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT(p != MAP_FAILED, "mmap");
	moved = mremap(a.base, 64 * PAGE, 64 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p);
	ASSERT(moved == MAP_FAILED, "moved to %p", moved);
	/* Advice: none of it loses pages. */
	madvise(a.base, 64 * PAGE, MADV_DONTNEED);
	madvise(a.base, 64 * PAGE, MADV_FREE);
	madvise(a.base, 64 * PAGE, MADV_REMOVE);
	madvise(a.base, 64 * PAGE, MADV_DOFORK);
	madvise(a.base, 64 * PAGE, MADV_MERGEABLE);
	madvise(a.base, 64 * PAGE, MADV_HUGEPAGE);
	madvise(a.base, 64 * PAGE, MADV_PAGEOUT);
	madvise(a.base, 64 * PAGE, MADV_COLLAPSE);
	mlock(a.base, 64 * PAGE);
	munlock(a.base, 64 * PAGE);
	ASSERT_EQ(user_unmarked(a.base, 64, 9), 0, "pages that differ after all that advice");
	/* A copy of the mapping, which only this advice brings about. */
	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(user_unmarked(a.base, 64, 9) || user_write_sig(a.base, 9));
	ASSERT(waitpid(pid, &status, 0) == pid && (!status || WIFSIGNALED(status)), "child: %#x",
	       status);
	ASSERT_EQ(user_unmarked(a.base, 64, 9), 0, "pages that differ after a fork");
	/* By way of the kernel. */
	local = (struct iovec){ &val, sizeof(val) };
	remote = (struct iovec){ a.base + 5 * PAGE, sizeof(val) };
	if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) >= 0 || errno != ENOSYS)
		ASSERT_EQ(val, 9 + 5, "word read");
	ASSERT(!mprotect(a.base, 64 * PAGE, PROT_READ), "read only");
	ASSERT_EQ(user_write_sig(a.base, 1), SIGSEGV, "write to what is read only");
	ASSERT(!mprotect(a.base, 64 * PAGE, PROT_READ | PROT_WRITE), "writable");
	ASSERT_EQ(user_write_sig(a.base, 9), 0, "write");
	ASSERT_EQ(arena_unmarked(&a, SLEEPABLE, a.base, 64, 9), 0,
		  "pages that differ for programs");
	arena_free(&a, SLEEPABLE, a.base, 64);
	ASSERT_EQ(user_diff(a.base, 64, 0), 0, "words that are not zero after the free");
	munmap(a.base, 64 * PAGE);
	ASSERT(mmap(a.base, 64 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, a.fd, 0) == MAP_FAILED,
	       "mapped as private");
	arena_close(&a);
}

/*
 * Mappings that a child has inherited, which 6.12 allows after MADV_DOFORK
 */

/* A child that has our mapping, and does what a byte tells it. */
struct heir {
	pid_t pid;
	int to, from;
};

static void heir_main(const struct arena *a, int in, int out)
{
	__u64 answer[2];
	char c;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(in, &c, 1) == 1) {
		answer[1] = 0;
		if (c == 'r')
			answer[0] = user_read_sig(a->base + 3 * PAGE, &answer[1]);
		else if (c == 'w')
			answer[0] = user_write_sig(a->base + 3 * PAGE, 77);
		else
			answer[0] = munmap(a->base, a->pages * PAGE);
		if (write(out, answer, sizeof(answer)) != sizeof(answer))
			break;
	}
	_exit(0);
}

static bool heir_start(struct heir *h, const struct arena *a)
{
	int to[2], from[2];

	if (pipe(to) || pipe(from))
		return false;
	fflush(stdout);
	h->pid = fork();
	if (!h->pid)
		heir_main(a, to[0], from[1]);
	h->to = to[1];
	h->from = from[0];

	return h->pid > 0;
}

/* The signal, or what munmap() returned. */
static long heir_do(struct heir *h, char c, __u64 *val)
{
	__u64 answer[2];

	if (write(h->to, &c, 1) != 1 || read(h->from, answer, sizeof(answer)) != sizeof(answer))
		return -1;
	if (val)
		*val = answer[1];

	return answer[0];
}

static void heir_stop(struct heir *h)
{
	kill(h->pid, SIGKILL);
	waitpid(h->pid, NULL, 0);
	close(h->to);
	close(h->from);
}

#define SKIP_WITHOUT_DOFORK(s)							\
	do {									\
		if (madvise((s)->base, (s)->pages * PAGE, MADV_DOFORK))		\
			SKIP("the kernel lets no child inherit the mapping");	\
	} while (0)

TEST(hostile, heir, "a child that inherited a mapping sees no freed page, even after its parent has unmapped")
{
	struct heir h;
	struct arena a;
	__u64 val = 0;

	ASSERT(arena_open(&a, 64, 0), "load");
	SKIP_WITHOUT_DOFORK(&a);
	user_mark(a.base, 64, 9);
	ASSERT(heir_start(&h, &a), "fork");
	ASSERT(!heir_do(&h, 'r', &val) && val == 9 + 3, "the child reads %llu", val);
	arena_free(&a, SLEEPABLE, a.base, 64);
	ASSERT(!heir_do(&h, 'r', &val) && !val, "the child reads %llu in a page that was freed",
	       val);
	arena_free(&a, SLEEPABLE, a.base, 64);
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 64) == a.base, "alloc");
	arena_write(&a, SLEEPABLE, arena_page(&a, 3), 55);
	ASSERT(!heir_do(&h, 'r', &val) && val == 55, "the child reads %llu", val);
	/* Ours goes first. */
	ASSERT(!munmap(a.base, 64 * PAGE), "munmap");
	ASSERT(!heir_do(&h, 'w', NULL), "the child cannot write");
	ASSERT_EQ(arena_read(&a, SLEEPABLE, arena_page(&a, 3)), 77, "what the child wrote");
	arena_free(&a, SLEEPABLE, a.base, 64);
	ASSERT(!heir_do(&h, 'r', &val) && !val, "the child reads %llu in a page that was freed",
	       val);
	ASSERT(!heir_do(&h, 'u', NULL), "munmap in the child");
	arena_free(&a, UNDER_RCU, a.base, 64);
	heir_stop(&h);
	arena_close(&a);
}

/* A stock arena that a child may inherit. */
static bool stock_to_inherit(struct arena *raw)
{
	if (!arena_stock(raw, "inherited", 64, 0))
		return false;
	SKIP_WITHOUT_DOFORK(raw);
	user_mark(raw->base, 64, 9);

	return true;
}

/* The child keeps its pages until they are freed. */
static void heir_loses(struct heir *h, struct arena *a)
{
	__u64 val = 0;

	ASSERT_EQ(arena_unmarked(a, SLEEPABLE, a->base, 64, 9), 0, "pages that differ");
	ASSERT(!heir_do(h, 'r', &val) && val == 9 + 3, "the child reads %llu", val);
	arena_free(a, SLEEPABLE, a->base, 64);
	ASSERT(arena_alloc(a, SLEEPABLE, NULL, 64) == a->base, "alloc");
	ASSERT(!heir_do(h, 'r', &val) && !val, "the child reads %llu in a page that was freed",
	       val);
	ASSERT(!heir_do(h, 'w', NULL), "the child cannot write");
	ASSERT_EQ(arena_read(a, SLEEPABLE, arena_page(a, 3)), 77, "what the child wrote");
	arena_free(a, SLEEPABLE, a->base, 64);
	ASSERT(!heir_do(h, 'r', &val) && !val, "the child reads %llu in a page that was freed",
	       val);
}

static void adopt_inherited(bool parent_unmaps)
{
	struct arena raw, a;
	struct heir h;

	ASSERT(stock_to_inherit(&raw), "arena");
	ASSERT(heir_start(&h, &raw), "fork");
	if (parent_unmaps)
		ASSERT(!munmap(raw.base, raw.pages * PAGE), "munmap");
	ASSERT(arena_attach(&a, raw.fd, raw.base, raw.pages), "load");
	heir_loses(&h, &a);
	ASSERT_OK();
	heir_stop(&h);
	arena_close(&a);
	close(raw.fd);
}

TEST(hostile, heir_of_stock, "adoption finds the mapping that a child inherited")
{
	adopt_inherited(false);
}

TEST(hostile, heir_alone, "adoption finds the mapping that a child inherited if its parent has unmapped")
{
	adopt_inherited(true);
}

/* Adopts while another thread forks. */
struct heir_adopter {
	struct arena raw, arena;
	bool ok;
};

static void *heir_adopter(void *arg)
{
	struct heir_adopter *a = arg;

	a->ok = arena_attach(&a->arena, a->raw.fd, a->raw.base, a->raw.pages);

	return NULL;
}

#define HEIRS 8

TEST(hostile, heir_meanwhile, "adoption finds the mappings of children that are forked meanwhile")
{
	int round, i;

	for (round = 0; round < 10; round++) {
		struct heir_adopter a = {};
		struct heir h[HEIRS];
		pthread_t t;
		__u64 val;

		ASSERT(stock_to_inherit(&a.raw), "arena");
		ASSERT(thread_on(&t, nr_cpus > 1, heir_adopter, &a), "thread");
		for (i = 0; i < HEIRS; i++)
			ASSERT(heir_start(&h[i], &a.raw), "fork");
		pthread_join(t, NULL);
		ASSERT(a.ok, "load");
		for (i = 0; i < HEIRS; i++)
			ASSERT(!heir_do(&h[i], 'r', &val) && val == 9 + 3, "child %d reads %llu", i,
			       val);
		arena_free(&a.arena, SLEEPABLE, a.arena.base, 64);
		ASSERT(arena_alloc(&a.arena, SLEEPABLE, NULL, 64) == a.arena.base, "alloc");
		for (i = 0; i < HEIRS; i++) {
			ASSERT(!heir_do(&h[i], 'r', &val) && !val,
			       "child %d reads %llu in a page that was freed", i, val);
			heir_stop(&h[i]);
		}
		arena_close(&a.arena);
		munmap(a.raw.base, a.raw.pages * PAGE);
		close(a.raw.fd);
	}
}

/*
 * Mappings that are passed on from process to process while the arena is adopted. Each
 * process of a chain forks the next one and exits.
 */
#define CHAINS 4

struct chains {
	pid_t owner;			/* the test; without it the chains end */
	volatile int stop;
	volatile int ended;		/* chains whose last process waits */
	volatile int look;
	volatile __u64 seen[CHAINS];	/* what that reads when told to look */
	volatile int answered;
	volatile long links;
};

/* A word of the arena, or the signal that it takes, negative. */
static __u64 chain_read(const struct arena *a)
{
	__u64 val = 0;
	int sig = user_read_sig(a->base + 3 * PAGE, &val);

	return sig ? -(__u64)sig : val;
}

static void chain_main(struct chains *c, const struct arena *a, int nr)
{
	while (!c->stop && !kill(c->owner, 0)) {
		pid_t pid = fork();

		if (pid > 0)
			_exit(0);
		if (!pid)
			__atomic_fetch_add(&c->links, 1, __ATOMIC_SEQ_CST);
	}
	c->seen[nr] = chain_read(a);
	__atomic_fetch_add(&c->ended, 1, __ATOMIC_SEQ_CST);
	while (!c->look && !kill(c->owner, 0))
		usleep(1000);
	c->seen[nr] = chain_read(a);
	__atomic_fetch_add(&c->answered, 1, __ATOMIC_SEQ_CST);
	while (c->look && !kill(c->owner, 0))
		usleep(1000);
	munmap(a->base, a->pages * PAGE);
	_exit(0);
}

/* Did each of them read that? */
static bool chains_saw(struct chains *c, __u64 expect)
{
	int i;

	for (i = 0; i < CHAINS; i++) {
		if (c->seen[i] != expect) {
			printf("# chain %d reads %lld\n", i, (long long)c->seen[i]);
			return false;
		}
	}

	return true;
}

TEST_LONG(hostile, fork_loop, 180,
	  "processes that fork all the time block neither a loader nor its death, and lose no page")
{
	struct chains *c = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
				0);
	libbpf_print_fn_t print;
	long begin, took;
	struct arena raw, a;
	bool adopted;
	pid_t pid;
	int i;

	ASSERT(c != MAP_FAILED, "mmap");
	ASSERT(stock_to_inherit(&raw), "arena");
	oracle_pause(true);
	fflush(stdout);
	/* Orphans of the chains become ours, and do not stay as zombies. */
	c->owner = getpid();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGCHLD, SIG_IGN);
	for (i = 0; i < CHAINS; i++) {
		pid = fork();
		ASSERT(pid >= 0, "fork");
		if (!pid)
			chain_main(c, &raw, i);
	}
	ASSERT(wait_for(c->links > 100, 20000), "%ld forks", c->links);

	/* A loader is killed, wherever it is. */
	pid = fork();
	if (!pid) {
		libbpf_set_print(no_print);
		arena_attach(&a, raw.fd, raw.base, raw.pages);
		pause();
	}
	usleep(1000000);
	kill(pid, SIGKILL);
	ASSERT(wait_for(kill(pid, 0) && errno == ESRCH, 5000), "a loader cannot be killed");

	/* Another returns, with a program or without. */
	print = libbpf_set_print(no_print);
	begin = now_ms();
	adopted = arena_attach(&a, raw.fd, raw.base, raw.pages);
	took = now_ms() - begin;
	printf("# the loader was %s after %ld ms\n", adopted ? "served" : "refused", took);
	if (adopted)
		arena_close(&a);
	/* libbpf loads once more, for the verifier's log. */
	ASSERT(took < 30000 * patience, "%ld ms", took);

	c->stop = 1;
	ASSERT(wait_for(c->ended == CHAINS, 10000), "chains that have ended: %d", c->ended);
	printf("# %ld forks\n", c->links);
	ASSERT(chains_saw(c, 9 + 3), "a process does not see what was there");
	ASSERT(wait_for(arena_attach(&a, raw.fd, raw.base, raw.pages), 20000), "load afterwards");
	libbpf_set_print(print);
	oracle_pause(false);
	ASSERT_EQ(arena_unmarked(&a, SLEEPABLE, a.base, 64, 9), 0, "pages that differ");
	arena_free(&a, SLEEPABLE, a.base, 64);
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 64) == a.base, "alloc");
	arena_write(&a, SLEEPABLE, arena_page(&a, 3), 55);
	c->look = 1;
	ASSERT(wait_for(c->answered == CHAINS, 5000), "only %d answers", c->answered);
	ASSERT(chains_saw(c, 55), "a process does not see what is there now");
	c->look = 0;
	while (wait(NULL) > 0)
		;
	ASSERT(oracle_rest(raw.fd), "after all");
	arena_close(&a);
}

/*
 * A process whose mmap_lock is not to be had: a program that visits its mappings sleeps in
 * a fault of ours, which waits for us.
 */
struct lock_holder {
	struct hostile_bpf *skel;
	struct bpf_link *link;
	pthread_t thread;
	char *page;
	int uffd;
};

static void *lock_holder_main(void *arg)
{
	struct lock_holder *h = arg;

	iterate(h->link);

	return NULL;
}

static bool lock_holder_start(struct lock_holder *h, pid_t pid)
{
	union bpf_iter_link_info info = { .task.pid = pid };
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };

	h->uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (h->uffd < 0)
		SKIP("no userfaultfd");
	h->page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	reg.range.start = (uintptr_t)h->page;
	reg.range.len = PAGE;
	if (h->page == MAP_FAILED || ioctl(h->uffd, UFFDIO_API, &api) ||
	    ioctl(h->uffd, UFFDIO_REGISTER, &reg))
		return false;
	h->skel = hostile_bpf__open();
	if (!h->skel)
		return false;
	bpf_program__set_autoload(h->skel->progs.hostile_maps, false);
	bpf_program__set_autoload(h->skel->progs.hostile_hold, true);
	if (hostile_bpf__load(h->skel))
		return false;
	h->skel->bss->hold_at = (uintptr_t)h->page;
	h->link = bpf_program__attach_iter(h->skel->progs.hostile_hold, &opts);

	return h->link && thread_on(&h->thread, nr_cpus > 1, lock_holder_main, h) &&
	       wait_for(*(volatile __u32 *)&h->skel->bss->held, 5000);
}

static void lock_holder_stop(struct lock_holder *h)
{
	struct uffdio_zeropage zero = { .range = { (uintptr_t)h->page, PAGE } };

	ioctl(h->uffd, UFFDIO_ZEROPAGE, &zero);
	pthread_join(h->thread, NULL);
	bpf_link__destroy(h->link);
	hostile_bpf__destroy(h->skel);
	close(h->uffd);
}

TEST_LONG(hostile, lock_holder, 120,
	  "a process whose mmap_lock stays locked blocks neither a loader nor its death")
{
	struct lock_holder h = {};
	struct bounded_bpf *small;
	struct arena raw, a;
	struct peer peer;
	long mark, begin;
	__u64 val = 0;
	int status;
	pid_t pid;
	bool ok;

	if (has_lockdep())
		SKIP("lockdep takes the kernel's own iterator for a deadlock");
	ASSERT(arena_stock(&raw, "locked", 64, 0), "arena");
	user_mark(raw.base, 64, 9);
	ASSERT(peer_start(&peer, &raw), "peer");
	ASSERT(!peer_read(&peer, arena_page(&raw, 3), &val) && val == 9 + 3, "the peer reads %llu",
	       val);
	small = bounded_bpf__open_and_load();
	ASSERT(small, "load");
	ASSERT(lock_holder_start(&h, peer.pid), "the lock is not held");
	oracle_pause(true);

	fflush(stdout);
	pid = fork();
	if (!pid) {
		libbpf_set_print(no_print);
		_exit(arena_attach(&a, raw.fd, raw.base, raw.pages));
	}
	ASSERT(wait_for(in_module(pid), 20000), "the loader does not wait in the module");
	usleep(200000);
	ASSERT(!waitpid(pid, &status, WNOHANG), "the loader has not waited: %#x", status);
	kill(pid, SIGKILL);
	ok = wait_for(waitpid(pid, &status, WNOHANG) == pid, 5000);

	mark = klog_mark();
	begin = now_ms();
	if (ok) {
		ok = prog_for_arena(small->progs.free_page, raw.fd) < 0;
		printf("# a loader was refused after %ld ms\n", now_ms() - begin);
	}
	ok = ok && now_ms() - begin < 20000 * patience;
	lock_holder_stop(&h);
	oracle_pause(false);
	ASSERT(ok, "a loader could not be killed, or has not returned, or was not refused");
	ASSERT(strstr(klog_since(mark), "'locked': a program was refused"), "the log has: %s",
	       klog_since(mark));

	ASSERT(arena_attach(&a, raw.fd, raw.base, raw.pages), "load afterwards");
	ASSERT_EQ(arena_unmarked(&a, SLEEPABLE, a.base, 64, 9), 0, "pages that differ");
	arena_free(&a, SLEEPABLE, a.base, 64);
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 64) == a.base, "alloc");
	ASSERT(!peer_read(&peer, arena_page(&a, 3), &val) && !val, "the peer reads %llu", val);
	ASSERT(oracle_rest(raw.fd), "after all");
	peer_stop(&peer);
	arena_close(&a);
	bounded_bpf__destroy(small);
}
