// SPDX-License-Identifier: GPL-2.0
/*
 * The life of the module: when it can be removed, and what it leaves behind. These tests
 * unload and load the module; they leave it loaded.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "runner.h"
#include "arena.h"
#include "numbers.h"
#include "odd.skel.h"

/* Maps are freed from a work queue after the last reference is gone. */
static bool unload(void)
{
	return wait_for(!mod_unload(), 10000);
}

/* rmmod must fail, and at once. */
static bool refused(void)
{
	int err = mod_unload();

	if (err == -EWOULDBLOCK || err == -EBUSY)
		return true;
	printf("# rmmod: %s\n", err ? strerror(-err) : "done");
	if (!err)
		mod_load("");

	return false;
}

TEST(lifetime, in_use, "rmmod fails while an arena is in use in any form")
{
	struct arena a, keep;

	ASSERT(arena_open(&a, 64, 0), "load");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 4) == a.base, "alloc");
	ASSERT(refused(), "removed with a program, a map and a mapping");

	/* Only the map. */
	keep = a;
	keep.fd = dup(a.fd);
	arena_close(&a);
	munmap(keep.base, 64 * PAGE);
	usleep(200000);
	ASSERT(refused(), "removed with a map");
	ASSERT_EQ(map_pages(keep.fd), 4, "populated pages");

	/* Only a mapping. */
	ASSERT(map_at(keep.fd, keep.base, 64), "map");
	close(keep.fd);
	usleep(200000);
	ASSERT(refused(), "removed with a mapping");
	user_mark(keep.base, 64, 1);
	ASSERT_EQ(user_unmarked(keep.base, 64, 1), 0, "pages that differ");

	munmap(keep.base, 64 * PAGE);
	ASSERT(unload(), "not removed when all is closed");
	ASSERT_EQ(mod_load(""), 0, "load");
}

TEST(lifetime, program_alone, "rmmod fails while a program that calls the kfuncs is loaded, even without an arena")
{
	struct odd_bpf *skel = odd_bpf__open();

	ASSERT(skel, "open");
	bpf_program__set_autoload(skel->progs.odd_array, true);
	if (odd_bpf__load(skel)) {
		odd_bpf__destroy(skel);
		SKIP("the verifier does not let the program pass");
	}
	ASSERT(refused(), "removed with a program");
	odd_bpf__destroy(skel);
	ASSERT(unload(), "not removed when all is closed");
	ASSERT_EQ(mod_load(""), 0, "load");
}

TEST(lifetime, killed_user, "rmmod works after the user of an arena was killed")
{
	int status, pipefd[2];
	struct arena a;
	char c;
	pid_t pid;

	ASSERT(!pipe(pipefd), "pipe");
	fflush(stdout);
	pid = fork();
	ASSERT(pid >= 0, "fork");
	if (!pid) {
		if (arena_open(&a, 64, 0) && arena_alloc(&a, SLEEPABLE, NULL, 32) &&
		    write(pipefd[1], "x", 1) == 1)
			for (;;)
				arena_free(&a, UNDER_RCU, arena_alloc_once(&a, UNDER_RCU, NULL, 1),
					   1);
		_exit(1);
	}
	ASSERT_EQ(read(pipefd[0], &c, 1), 1, "read");
	ASSERT(refused(), "removed with a running user");
	kill(pid, SIGKILL);
	ASSERT_EQ(waitpid(pid, &status, 0), pid, "waitpid");
	ASSERT(unload(), "not removed after the user was killed");
	ASSERT_EQ(mod_load(""), 0, "load");
}

TEST(lifetime, unload_after_frees, "rmmod works after an arena was closed right after frees under RCU")
{
	struct arena a;
	int round;

	for (round = 0; round < 3; round++) {
		ASSERT(arena_open(&a, 2048, 0), "load");
		ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 2048) == a.base, "alloc");
		user_mark(a.base, 2048, 1);
		arena_free(&a, UNDER_RCU, a.base, 2048);
		arena_close(&a);
		munmap(a.base, 2048 * PAGE);
		ASSERT(unload(), "not removed");
		ASSERT_EQ(mod_load(""), 0, "load");
	}
}

/* All that has to come back, in KiB. */
struct usage {
	long free, slab, percpu, vmalloc, pagetables;
};

static struct usage usage(void)
{
	return (struct usage){
		.free = free_kib(),
		.slab = read_meminfo("Slab"),
		.percpu = read_meminfo("Percpu"),
		.vmalloc = read_meminfo("VmallocUsed"),
		.pagetables = read_meminfo("PageTables"),
	};
}

static void usage_print(int round, struct usage u)
{
	printf("# round %d: free %ld, slab %ld, percpu %ld, vmalloc %ld, page tables %ld KiB\n",
	       round, u.free, u.slab, u.percpu, u.vmalloc, u.pagetables);
}

/* One life of the module: an arena with all sorts of pages in it. */
static void one_life(void)
{
	struct arena a;

	ASSERT_EQ(mod_load(""), 0, "load of the module");
	ASSERT(arena_open(&a, 4096, 0), "load of the program");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 1000) == a.base, "alloc");
	ASSERT(arena_alloc(&a, UNDER_RCU, NULL, 100) == arena_page(&a, 1000), "alloc under rcu");
	user_mark(arena_page(&a, 2000), 500, 1);
	ASSERT_EQ(arena_reserve(&a, SLEEPABLE, arena_page(&a, 3000), 100), 0, "reserve");
	arena_free(&a, SLEEPABLE, a.base, 300);
	arena_free(&a, UNDER_RCU, arena_page(&a, 400), 300);
	user_mark(a.base, 100, 1);
	arena_close(&a);
	munmap(a.base, 4096 * PAGE);
	ASSERT(unload(), "not removed");
}

#define LIVES 10
/* Page tables of vmalloc addresses stay after their first use; slabs grow to fit. */
#define WARM_UP 3

/*
 * A leak shows in every round, so what a round typically loses must be next to
 * nothing: 16 pages of the 2000 that a life has. A total cannot be judged that
 * well, since the kernel keeps 2 MiB for module code at times, and at others not.
 * What is in slabs counts as free here, and is looked at by itself: KASAN keeps objects
 * that were freed for a while.
 */
TEST_LONG(lifetime, again_and_again, 90,
	  "loading, using and removing the module many times leaks no memory")
{
	struct usage u[LIVES], *first = &u[WARM_UP], *last = &u[LIVES - 1];
	const long limit = 16 * (long)PAGE / 1024;
	long lost[LIVES - 1 - WARM_UP], sum = 0;
	int round, i;

	ASSERT(unload(), "not removed");
	for (round = 0; round < LIVES && !test_failed(); round++) {
		one_life();
		u[round] = usage();
		usage_print(round, u[round]);
	}
	if (!mod_loaded())
		mod_load("");
	ASSERT_OK();

	for (i = 0; i < LIVES - 1 - WARM_UP; i++) {
		lost[i] = first[i].free + first[i].slab - first[i + 1].free - first[i + 1].slab;
		sum += lost[i];
	}
	sort_longs(lost, LIVES - 1 - WARM_UP);
	/* What is lost shows in most rounds and in the end; the kernel's own ups and downs do not. */
	ASSERT(lost[(LIVES - 1 - WARM_UP) / 2] < limit || sum < limit * (LIVES - 1 - WARM_UP),
	       "a round typically loses %ld KiB, and all of them %ld",
	       lost[(LIVES - 1 - WARM_UP) / 2], sum);
	ASSERT(first->free - last->free < 4096, "%ld KiB less are free", first->free - last->free);
	ASSERT(last->slab - first->slab < 1024, "slab grew by %ld KiB", last->slab - first->slab);
	ASSERT(last->percpu - first->percpu < 256, "percpu grew by %ld KiB",
	       last->percpu - first->percpu);
	ASSERT(last->pagetables - first->pagetables < 512, "page tables grew by %ld KiB",
	       last->pagetables - first->pagetables);
	ASSERT(last->vmalloc - first->vmalloc < 4096, "vmalloc grew by %ld KiB",
	       last->vmalloc - first->vmalloc);
}

static void reload(void)
{
	if (!mod_loaded())
		mod_load("");
}

TEST(lifetime, log, "the log has one line for a load of the module, and one for an adoption")
{
	const char *text, *p;
	char pool[96];
	int lines = 0;
	long mark;

	snprintf(pool, sizeof(pool), ": pool_pages=%u pool_max=%u standby_pages=%u, kernel client ",
		 POOL_DEFAULT, POOL_MOST, STANDBY_DEFAULT);
	ASSERT(unload(), "not removed");
	mark = klog_mark();
	one_life();
	text = klog_since(mark);
	reload();
	ASSERT_OK();
	for (p = text; (p = strstr(p, "arena_nolock")); p++)
		lines++;
	ASSERT(lines == 2 && strstr(text, "arena_nolock: version ") &&
	       strstr(text, pool) &&
	       strstr(text, "': adopted, 0 of 4096 pages populated"), "the log has: %s", text);
}
