// SPDX-License-Identifier: GPL-2.0
/*
 * Allocation: which addresses and pages a call gets, which arguments it refuses, and that
 * a failed call leaves nothing behind.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>

#include "odd.skel.h"
#include "runner.h"
#include "arena.h"

TEST_EACH(alloc, zeroed, 64, 0,
	  "pages are zero for BPF and for user space")
{
	char *p;

	p = arena_alloc(a, ctx, NULL, 4);
	ASSERT(p == a->base, "got %p, arena at %p", p, a->base);
	ASSERT_EQ(arena_diff(a, ctx, p, 4, 0), 0, "words that are not zero for BPF");
	ASSERT_EQ(user_diff(p, 4, 0), 0, "words that are not zero in user space");
}

TEST_EACH(alloc, zeroed_again, 64, 0,
	  "pages that were written and freed come back zero")
{
	int round;
	char *p;

	for (round = 0; round < 4; round++) {
		p = arena_alloc(a, ctx, NULL, 8);
		ASSERT(p == a->base, "round %d: got %p, arena at %p", round, p, a->base);
		ASSERT_EQ(arena_diff(a, ctx, p, 8, 0), 0, "words that are not zero for BPF");
		ASSERT_EQ(user_diff(p, 8, 0), 0, "words that are not zero in user space");
		arena_fill(a, ctx, p, 4, 0xa5a5a5a5a5a5a5a5ULL);
		user_fill(p + 4 * PAGE, 4, 0x5a5a5a5a5a5a5a5aULL);
		arena_free(a, ctx, p, 8);
		ASSERT(arena_freed(a, ctx, p, 8), "free not finished");
	}
}

TEST_EACH(alloc, sequential, 128, 0,
	  "allocations in an empty arena get ascending, adjacent addresses")
{
	long next = 0;
	__u32 i, cnt;

	for (i = 0; i < 24; i++) {
		cnt = i % 4 + 1;
		ASSERT(arena_alloc(a, ctx, NULL, cnt) == arena_page(a, next),
		       "allocation %u is not page %ld", i, next);
		next += cnt;
	}
	ASSERT_EQ(arena_pages(a), next, "populated pages");
}

TEST_EACH(alloc, gaps_filled, 64, 0,
	  "an allocation goes to the lowest gap that is big enough")
{
	ASSERT(arena_alloc(a, ctx, NULL, 20) == a->base, "alloc");
	arena_free(a, ctx, arena_page(a, 3), 1);
	arena_free(a, ctx, arena_page(a, 7), 2);
	arena_free(a, ctx, arena_page(a, 12), 3);
	ASSERT(arena_freed(a, ctx, arena_page(a, 3), 1) &&
	       arena_freed(a, ctx, arena_page(a, 7), 2) &&
	       arena_freed(a, ctx, arena_page(a, 12), 3), "free not finished");

	ASSERT(arena_alloc(a, ctx, NULL, 3) == arena_page(a, 12),
	       "3 pages did not go to the gap of 3");
	ASSERT(arena_alloc(a, ctx, NULL, 2) == arena_page(a, 7),
	       "2 pages did not go to the gap of 2");
	ASSERT(arena_alloc(a, ctx, NULL, 2) == arena_page(a, 20),
	       "2 pages did not go past the gap of 1");
	ASSERT(arena_alloc(a, ctx, NULL, 1) == arena_page(a, 3),
	       "1 page did not go to the gap of 1");
	ASSERT(arena_alloc(a, ctx, NULL, 1) == arena_page(a, 22),
	       "no gap left, but not at the end");
}

TEST_EACH(alloc, gaps_far_apart, 65536, 0,
	  "an allocation in a big arena goes to the lowest gap that is big enough")
{
	static const struct { __u32 pgoff, cnt; } gaps[] = {
		{ 700, 1 }, { 1022, 4 }, { 5000, 3 }, { 20000, 10 }, { 40000, 100 }, { 65536, 0 },
	}, allocs[] = {
		{ 1022, 4 }, { 5000, 3 }, { 20000, 2 }, { 700, 1 }, { 20002, 8 }, { 40000, 60 },
		{ 40060, 1 }, { 40061, 39 },
	};
	__u32 end = 0;
	size_t i;

	for (i = 0; i < sizeof(gaps) / sizeof(gaps[0]); i++) {
		ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, end), gaps[i].pgoff - end), 0,
			  "reserve");
		end = gaps[i].pgoff + gaps[i].cnt;
	}
	for (i = 0; i < sizeof(allocs) / sizeof(allocs[0]); i++)
		ASSERT(arena_alloc(a, ctx, NULL, allocs[i].cnt) == arena_page(a, allocs[i].pgoff),
		       "%u pages did not go to page %u", allocs[i].cnt, allocs[i].pgoff);
	ASSERT(!arena_alloc_once(a, ctx, NULL, 1), "a page from a full arena");
	arena_free(a, ctx, arena_page(a, 40050), 1);
	arena_free(a, ctx, arena_page(a, 5001), 1);
	ASSERT(arena_freed(a, ctx, arena_page(a, 40050), 1) &&
	       arena_freed(a, ctx, arena_page(a, 5001), 1),
	       "free not finished");
	ASSERT(arena_alloc(a, ctx, NULL, 1) == arena_page(a, 5001),
	       "the lower one of two free pages");
	ASSERT(arena_alloc(a, ctx, NULL, 1) == arena_page(a, 40050), "the last free page");
}

TEST_EACH(alloc, freed_is_next, 64, 0,
	  "a freed page is the next one handed out")
{
	static const int order[] = { 5, 0, 9, 3 };
	size_t i;

	ASSERT(arena_alloc(a, ctx, NULL, 10) == a->base, "alloc");
	for (i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		arena_free(a, ctx, arena_page(a, order[i]), 1);
		ASSERT(arena_freed(a, ctx, arena_page(a, order[i]), 1), "free not finished");
		ASSERT(arena_alloc(a, ctx, NULL, 1) == arena_page(a, order[i]),
		       "page %d was freed, but another one was handed out", order[i]);
	}
}

TEST_EACH(alloc, user_pointer, 64, 0,
	  "the pointer is the user-space address, and both sides see each other's data")
{
	char *p;

	ASSERT(arena_alloc(a, ctx, NULL, 7) == a->base, "alloc");
	p = arena_alloc(a, ctx, NULL, 3);
	ASSERT(p == arena_page(a, 7), "got %p, page 7 is %p", p, arena_page(a, 7));
	arena_mark(a, ctx, p, 3, 1000);
	ASSERT_EQ(user_unmarked(p, 3, 1000), 0,
		  "pages that user space does not see as written by BPF");
	user_mark(p, 3, 2000);
	ASSERT_EQ(arena_unmarked(a, ctx, p, 3, 2000), 0,
		  "pages that BPF does not see as written by user space");
}

TEST_EACH(alloc, fixed, 64, 0,
	  "an allocation at a fixed address succeeds if all pages there are free")
{
	ASSERT(arena_alloc(a, ctx, arena_page(a, 10), 5) == arena_page(a, 10), "pages 10 to 14");
	ASSERT(arena_alloc(a, ctx, arena_page(a, 63), 1) == arena_page(a, 63), "the last page");
	ASSERT(arena_alloc(a, ctx, a->base, 1) == a->base, "the first page");
	ASSERT(arena_alloc(a, ctx, arena_page(a, 15), 48) == arena_page(a, 15), "pages 15 to 62");
	ASSERT(arena_alloc(a, ctx, NULL, 9) == arena_page(a, 1), "what is left is pages 1 to 9");
	ASSERT_EQ(arena_pages(a), 64, "populated pages");
	ASSERT(!arena_alloc_once(a, ctx, NULL, 1), "a page from a full arena");
}

TEST_EACH(alloc, fixed_taken, 64, 0,
	  "an allocation at a fixed address returns NULL and claims nothing if a page there is taken")
{
	__u64 val;

	ASSERT(arena_alloc(a, ctx, arena_page(a, 10), 2) == arena_page(a, 10), "alloc");
	arena_mark(a, ctx, arena_page(a, 10), 2, 77);
	ASSERT(!arena_alloc_once(a, ctx, arena_page(a, 10), 1), "a taken page");
	ASSERT(!arena_alloc_once(a, ctx, arena_page(a, 8), 3), "taken at the end");
	ASSERT(!arena_alloc_once(a, ctx, arena_page(a, 11), 3), "taken at the start");
	ASSERT(!arena_alloc_once(a, ctx, arena_page(a, 5), 20), "taken in the middle");
	ASSERT_EQ(arena_pages(a), 2, "populated pages after the failures");
	ASSERT_EQ(arena_unmarked(a, ctx, arena_page(a, 10), 2, 77), 0, "pages that lost contents");
	ASSERT(arena_alloc(a, ctx, arena_page(a, 12), 52) == arena_page(a, 12), "the rest behind");
	ASSERT(arena_alloc(a, ctx, NULL, 10) == a->base, "the rest before");
	ASSERT_EQ(user_read_sig(arena_page(a, 10), &val), 0, "signal");
	ASSERT_EQ(val, 77, "page 10");
}

TEST_EACH(alloc, bad_arguments, 64, 0,
	  "an allocation with invalid arguments returns NULL and changes nothing")
{
	static const int nodes[] = { 1, 63, 1000, 1 << 20, INT_MAX, -2, -1000, INT_MIN };
	size_t i;

	for (i = 0; i < 64; i++)
		ASSERT(!arena_alloc_args(a, ctx, NULL, 1, -1, 1ULL << i), "flags with bit %zu", i);
	ASSERT(!arena_alloc_args(a, ctx, NULL, 1, -1, ~0ULL), "all flags");
	for (i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		ASSERT(!arena_alloc_args(a, ctx, NULL, 1, nodes[i], 0), "node %d", nodes[i]);

	ASSERT(!arena_alloc_once(a, ctx, NULL, 0), "no pages");
	ASSERT(!arena_alloc_once(a, ctx, a->base, 0), "no pages at an address");
	ASSERT(!arena_alloc_once(a, ctx, NULL, 65), "more than the arena has");
	ASSERT(!arena_alloc_once(a, ctx, NULL, UINT_MAX), "4G pages");
	ASSERT(!arena_alloc_once(a, ctx, a->base, UINT_MAX), "4G pages at an address");
	ASSERT(!arena_alloc_once(a, ctx, a->base + 1, 1), "misaligned by 1");
	ASSERT(!arena_alloc_once(a, ctx, a->base + 4095, 1), "misaligned by 4095");
	ASSERT(!arena_alloc_once(a, ctx, a->base + 8, 1), "misaligned by 8");
	ASSERT(!arena_alloc_once(a, ctx, arena_page(a, 64), 1), "right behind the arena");
	ASSERT(!arena_alloc_once(a, ctx, arena_page(a, -1), 1), "right before the arena");
	ASSERT(!arena_alloc_once(a, ctx, arena_page(a, 63), 2), "over the end");
	ASSERT(!arena_alloc_once(a, ctx, arena_page(a, 1), 64),
	       "as much as the arena has, but shifted");
	ASSERT(!arena_alloc_once(a, ctx, arena_page(a, 100000), 1), "far out");

	ASSERT_EQ(arena_pages(a), 0, "populated pages after all of this");
	ASSERT(arena_alloc(a, ctx, NULL, 64) == a->base, "the whole arena afterwards");
}

TEST_EACH(alloc, good_nodes, 64, 0,
	  "an allocation accepts node 0 and no node")
{
	ASSERT(arena_alloc_args(a, ctx, NULL, 1, 0, 0) == a->base, "node 0");
	ASSERT(arena_alloc_args(a, ctx, NULL, 1, -1, 0) == arena_page(a, 1), "no node");
}

TEST_EACH(alloc, limit, 100, 0,
	  "an arena holds max_entries pages, each once, and not one more")
{
	int i;

	for (i = 0; i < 100; i++)
		ASSERT(arena_alloc(a, ctx, NULL, 1) == arena_page(a, i), "page %d", i);
	ASSERT(!arena_alloc_once(a, ctx, NULL, 1), "one page more");
	ASSERT_EQ(arena_pages(a), 100, "populated pages");
	ASSERT_EQ(user_diff(a->base, 100, 0), 0, "words that are not zero");
	arena_mark(a, ctx, a->base, 100, 1);
	ASSERT_EQ(user_unmarked(a->base, 100, 1), 0, "pages that are not pages of their own");
	arena_free(a, ctx, arena_page(a, 42), 1);
	ASSERT(arena_settle(a, 99), "free not finished");
	ASSERT(arena_alloc(a, ctx, NULL, 1) == arena_page(a, 42), "the one free page");
	ASSERT(!arena_alloc_once(a, ctx, NULL, 1), "a page from a full arena");
}

TEST_EACH(alloc, sequential_to_the_end, 120, 0,
	  "allocations of several pages reach the end of an arena in order")
{
	int i;

	for (i = 0; i < 120; i += 3)
		ASSERT(arena_alloc(a, ctx, NULL, 3) == arena_page(a, i), "page %d", i);
	ASSERT(!arena_alloc_once(a, ctx, NULL, 1), "one page more");
}

TEST_EACH(alloc, whole_arena, 200, 0,
	  "one call allocates the whole arena, and one frees it")
{
	ASSERT(arena_alloc(a, ctx, NULL, 200) == a->base, "alloc");
	ASSERT(!arena_alloc_once(a, ctx, NULL, 1), "a page from a full arena");
	arena_mark(a, ctx, a->base, 200, 5);
	ASSERT_EQ(user_unmarked(a->base, 200, 5), 0, "pages that differ in user space");
	arena_free(a, ctx, a->base, 200);
	ASSERT(arena_freed(a, ctx, a->base, 200), "free not finished");
	ASSERT(arena_alloc(a, ctx, NULL, 200) == a->base, "alloc again");
	ASSERT_EQ(user_diff(a->base, 200, 0), 0, "words that are not zero");
}

TEST_EACH(alloc, one_page, 1, 0,
	  "an arena of one page works")
{
	ASSERT(arena_alloc(a, ctx, NULL, 1) == a->base, "alloc");
	ASSERT(!arena_alloc_once(a, ctx, NULL, 1), "alloc in a full arena");
	ASSERT(!arena_alloc_once(a, ctx, a->base, 1), "fixed in a full arena");
	user_mark(a->base, 1, 9);
	ASSERT_EQ(arena_read(a, ctx, a->base), 9, "word that BPF reads");
	arena_free(a, ctx, a->base, 1);
	ASSERT(arena_freed(a, ctx, a->base, 1), "free not finished");
	ASSERT(arena_alloc(a, ctx, a->base, 1) == a->base, "fixed");
	ASSERT_EQ(user_diff(a->base, 1, 0), 0, "words that are not zero");
}

static void one_call(enum context ctx, __u32 cnt)
{
	struct arena a;
	char *p;

	ASSERT(arena_open(&a, cnt + 3, 0), "load");
	ASSERT(arena_alloc(&a, ctx, NULL, 1) == a.base, "alloc");
	p = arena_alloc(&a, ctx, NULL, cnt);
	ASSERT(p == arena_page(&a, 1), "%u pages: got %p", cnt, p);
	ASSERT_EQ(arena_pages(&a), cnt + 1, "populated pages");
	ASSERT_EQ(arena_diff(&a, SLEEPABLE, p, 1, 0), 0,
		  "words of the first page that are not zero");
	user_mark(p, cnt, 12345);
	ASSERT_EQ(arena_unmarked(&a, SLEEPABLE, p, cnt, 12345), 0, "pages that differ for BPF");
	arena_free(&a, ctx, p, cnt);
	ASSERT(arena_settle(&a, 1), "free not finished");
	arena_close(&a);
}

TEST_EACH(alloc, count_1_to_65, 70, 0,
	  "one call allocates 1, 2, 3, 63, 64 or 65 pages")
{
	static const __u32 cnts[] = { 1, 2, 3, 63, 64, 65 };
	size_t i;

	for (i = 0; i < sizeof(cnts) / sizeof(cnts[0]); i++) {
		ASSERT(arena_alloc(a, ctx, NULL, cnts[i]) == a->base, "%u pages", cnts[i]);
		ASSERT_EQ(arena_pages(a), cnts[i], "populated pages");
		ASSERT_EQ(user_diff(a->base, cnts[i], 0), 0, "words that are not zero");
		user_mark(a->base, cnts[i], i);
		ASSERT_EQ(arena_unmarked(a, ctx, a->base, cnts[i], i), 0, "pages that differ");
		arena_free(a, ctx, a->base, cnts[i]);
		ASSERT(arena_freed(a, ctx, a->base, cnts[i]), "free not finished");
	}
}

TEST(alloc, count_2051, "one sleepable call allocates 2051 pages")
{
	one_call(SLEEPABLE, 2051);
}

TEST(alloc, count_2051_rcu, "one call under RCU allocates 2051 pages, more than the pool holds")
{
	one_call(UNDER_RCU, 2051);
}

TEST(alloc, count_2051_softirq_off, "one call with bottom halves disabled allocates 2051 pages")
{
	one_call(BH_OFF, 2051);
}

TEST(alloc, count_32768, "one sleepable call allocates 32768 pages")
{
	one_call(SLEEPABLE, 32768);
}

TEST(alloc, too_much_memory, "an allocation of 4 GiB on a smaller machine returns NULL, kills no process and leaks nothing")
{
	long mark = klog_mark();
	struct arena a;
	long before;

	if (read_meminfo("MemTotal") > 3500 * 1024)
		SKIP("the machine has 4 GiB");
	ASSERT(arena_open(&a, ARENA_MOST, 0), "load");
	before = free_kib();
	ASSERT(!arena_alloc_once(&a, SLEEPABLE, NULL, ARENA_MOST), "4 GiB of pages");
	ASSERT(!arena_alloc_once(&a, UNDER_RCU, NULL, ARENA_MOST), "4 GiB of pages under rcu");
	ASSERT_EQ(arena_pages(&a), 0, "populated pages");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 64) == a.base, "alloc afterwards");
	ASSERT(arena_alloc(&a, UNDER_RCU, NULL, 64) == arena_page(&a, 64),
	       "alloc under rcu afterwards");
	ASSERT(before - free_kib() < 16 * 1024, "%ld KiB gone",
	       before - free_kib());
	ASSERT(!strstr(klog_since(mark), "Out of memory"), "the OOM killer ran");
	arena_close(&a);
}

/*
 * Make the machine smaller, or as big as it was. Clearing memory is slow in an
 * emulator, and memory that is offline need not be cleared. What is in use
 * cannot be taken offline; the kernel then says that it is not movable.
 */
static void memory_blocks(const char *state, long enough)
{
	char path[96];
	int i;

	for (i = 31; i >= 0; i--) {
		snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%d/state", i);
		if (enough && read_meminfo("MemAvailable") < enough)
			break;
		if (!access(path, F_OK))
			write_file(path, state);
	}
}

TEST_LONG(alloc, more_than_is_free, 120,
	  "an allocation that runs out of memory half-way returns NULL, kills no process and leaks nothing")
{
	long mark = klog_mark(), before, gone, pages;
	struct arena a;
	void *p;

	ASSERT(arena_open(&a, ARENA_MOST, 0), "load");
	memory_blocks("offline", 400 * 1024);
	before = free_kib();
	pages = read_meminfo("MemTotal") * 1024 / PAGE - 1024;
	p = pages < ARENA_MOST ? arena_alloc_once(&a, SLEEPABLE, NULL, pages) : NULL;
	gone = before - free_kib();
	memory_blocks("online", 0);
	ASSERT(!p, "an allocation of all memory succeeded");
	ASSERT_EQ(arena_pages(&a), 0, "populated pages");
	ASSERT(gone < 16 * 1024, "%ld KiB gone", gone);
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 64) == a.base, "alloc afterwards");
	ASSERT(!strstr(klog_since(mark), "Out of memory"), "the OOM killer ran");
	arena_close(&a);
}

TEST(alloc, array_map, "the kfuncs return NULL and -EINVAL for a map that is not an arena, and change nothing")
{
	struct odd_bpf *skel = odd_bpf__open();
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	ASSERT(skel, "open");
	bpf_program__set_autoload(skel->progs.odd_array, true);
	if (odd_bpf__load(skel)) {
		odd_bpf__destroy(skel);
		SKIP("the verifier does not let the program pass");
	}
	ASSERT_EQ(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.odd_array), &opts), 0, "run");
	ASSERT_EQ(skel->data->alloc_ret, 0, "pointer");
	ASSERT_EQ(skel->bss->reserve_ret, -EINVAL, "result of reserve");
	ASSERT_EQ(skel->bss->array_ok, 1, "contents of the array");
	odd_bpf__destroy(skel);
}

TEST(alloc, stock_arena, "the kfuncs return NULL and -EINVAL for an arena that was never adopted, and it keeps working")
{
	LIBBPF_OPTS(bpf_map_create_opts, mopts, .map_flags = BPF_F_MMAPABLE);
	struct odd_bpf *skel = odd_bpf__open();
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	__u32 zero = 0;
	char *base;
	int fd;

	ASSERT(skel, "open");
	bpf_program__set_autoload(skel->progs.odd_inner, true);
	if (odd_bpf__load(skel)) {
		odd_bpf__destroy(skel);
		SKIP("the kernel takes no arena as inner map");
	}
	fd = bpf_map_create(BPF_MAP_TYPE_ARENA, "stock", 0, 0, 16, &mopts);
	ASSERT(fd >= 0, "create");
	base = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT(base != MAP_FAILED, "mmap");
	base[0] = 42;
	ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(skel->maps.outer), &zero, &fd, 0), 0, "insert");
	ASSERT_EQ(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.odd_inner), &opts), 0, "run");
	ASSERT_EQ(opts.retval, 1, "inner map found");
	ASSERT_EQ(skel->data->alloc_ret, 0, "pointer");
	ASSERT_EQ(skel->bss->reserve_ret, -EINVAL, "result of reserve");
	ASSERT_EQ(base[0], 42, "contents of the stock arena");
	ASSERT_EQ(user_write_sig(base + 5 * PAGE, 1), 0, "signal of a user fault");
	close(fd);
	odd_bpf__destroy(skel);
}

#define STRAY_WORD 0x5a5a5a5a5a5a5a5aULL

/* Map a page behind the module's back, see tests/kmod/stray.c. */
static bool put_stray(struct arena *a, int pgoff)
{
	char text[32];

	snprintf(text, sizeof(text), "%d %d", a->fd, pgoff);

	return write_file("/proc/anl_stray", text);
}

TEST_EACH(alloc, stray, 64, 0,
	  "the module reports and keeps an unknown page in a free slot, and allocations avoid the slot")
{
	long mark = klog_mark(), before = arena_pages(a);
	char *p;

	if (access("/proc/anl_stray", F_OK))
		SKIP("the test module cannot leave pages behind");
	ASSERT(put_stray(a, 0) && put_stray(a, 3), "put");
	p = arena_alloc(a, ctx, NULL, 1);
	ASSERT(p == arena_page(a, 1), "got %p, arena at %p", p, a->base);
	p = arena_alloc(a, ctx, NULL, 3);
	ASSERT(p >= arena_page(a, 4), "got %p, arena at %p", p, a->base);
	ASSERT_EQ(arena_diff(a, ctx, arena_page(a, 3), 1, STRAY_WORD), 0, "words that changed");
	ASSERT_EQ(user_diff(a->base, 1, STRAY_WORD), 0, "words that user space sees changed");
	ASSERT(wait_for(arena_pages(a) == before + 6, 5000), "%ld pages", arena_pages(a));
	ASSERT(strstr(klog_since(mark), "something else is mapped there"), "nothing in the log");

	/* It is the arena's now. */
	arena_free(a, ctx, a->base, 1);
	ASSERT(arena_freed(a, ctx, a->base, 1), "free not finished");
	p = arena_alloc(a, ctx, NULL, 1);
	ASSERT(p == a->base, "got %p, arena at %p", p, a->base);
	ASSERT_EQ(arena_diff(a, ctx, p, 1, 0), 0, "words that are not zero");
}
