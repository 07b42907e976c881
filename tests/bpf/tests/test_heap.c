// SPDX-License-Identifier: GPL-2.0
/*
 * Small objects of all sizes on many CPUs, include/arena_nolock_heap.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <linux/types.h>
#include <sys/syscall.h>

#include "arena_nolock_heap.h"
#include "runner.h"
#include "arena.h"
#include "heap.h"
#include "log.h"
#include "heap.skel.h"

#define BASE 0x100010000000		/* where heap.bpf.c has its arena */
#define CLASSES 14

static struct heap_bpf *skel;

static bool run(struct bpf_program *prog)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	return !bpf_prog_test_run_opts(bpf_program__fd(prog), &opts);
}

static __u64 get(__u32 size)
{
	skel->bss->size = size;
	skel->bss->obj = 0;
	run(skel->progs.heap_get);

	return skel->bss->obj;
}

static void put(__u64 obj)
{
	skel->bss->obj = obj;
	run(skel->progs.heap_put);
}

#define NEEDS_PAGES "arena_nolock_heap__needs_pages_of_4096_bytes"

static void need_small_pages(void)
{
	if (PAGE != 4096)
		SKIP("the heap needs pages of 4096 bytes");
}

static void heap_open_at(__u64 base, __u32 pages)
{
	need_small_pages();
	skel = heap_bpf__open();
	ASSERT(skel, "open: %s", strerror(errno));
	bpf_map__set_map_extra(skel->maps.arena, base);
	bpf_map__set_max_entries(skel->maps.arena, pages);
	skel->bss->tgid = getpid();
	ASSERT(!heap_bpf__load(skel), "load: %s", strerror(errno));
}

static long pages(void)
{
	return map_pages(bpf_map__fd(skel->maps.arena));
}

static struct arena_nolock_heap_stats stats(__u32 class)
{
	struct arena_nolock_heap_stats s;

	arena_nolock_heap_stats(&skel->bss->heap, class, &s);

	return s;
}

static __u32 class_of(__u32 size)
{
	__u32 class = 0;

	while (arena_nolock_heap_sizes[class] < size)
		class++;

	return class;
}

/* Pages with the entries of other pages: they stay. */
static long dirs(void)
{
	long n = 0;
	int i;

	for (i = 0; i < ARENA_NOLOCK_HEAP_DIRS; i++)
		n += !!skel->bss->heap.dir[i];

	return n;
}

/* Nothing is in use. After a trim no page is left but those of the entries. */
static void all_returned(void)
{
	struct arena_nolock_heap_stats s;
	__u32 class;

	for (class = 0; class < ARENA_NOLOCK_HEAP_CLASSES; class++)
		ASSERT_EQ(stats(class).objects, 0, "objects left");
	ASSERT(run(skel->progs.heap_trim), "trim");
	for (class = 0; class < ARENA_NOLOCK_HEAP_CLASSES; class++) {
		s = stats(class);
		ASSERT_EQ(s.objects, 0, "objects left after a trim");
		ASSERT_EQ(s.cached, 0, "objects cached after a trim");
		ASSERT_EQ(s.pages, 0, "pages after a trim");
	}
	/* Some kernels count no pages of their own arenas. */
	if (access("/sys/module/arena_nolock", F_OK) && !pages())
		return;
	ASSERT(wait_for(pages() == dirs(), 10000), "%ld pages in the arena, expected %ld",
	       pages(), dirs());
}

static void one_size(__u32 size)
{
	__u32 class = class_of(size), room = arena_nolock_heap_sizes[class];
	__u64 per_page = PAGE / room, n = per_page * 3 + 1, i, k, objs[4 * 256];
	unsigned char *seen = calloc(8, PAGE);

	ASSERT(seen, "memory");
	for (i = 0; i < n; i++) {
		char *p;

		objs[i] = get(size);
		p = (char *)objs[i];
		ASSERT(p >= (char *)BASE && p < (char *)BASE + 8 * PAGE, "object at %p", p);
		ASSERT(!(objs[i] % 16), "object at %p", p);
		for (k = 0; k < size; k++)
			ASSERT(!p[k], "byte %llu of object %llu is not zero",
			       (unsigned long long)k, (unsigned long long)i);
		for (k = 0; k < room; k++)
			ASSERT(!seen[p + k - (char *)BASE]++, "overlaps another");
		memset(p, 0xa5, room);
	}
	ASSERT_EQ(stats(class).objects, n, "objects counted");
	ASSERT_EQ(stats(class).cached, per_page - 1, "objects cached");
	ASSERT_EQ(stats(class).pages, 4, "pages counted");
	ASSERT_EQ(pages(), 5, "pages of the arena");
	for (i = 0; i < n; i++)
		put(objs[i]);
	/* All of them again: zeroed, and no page more. */
	for (i = 0; i < per_page * 4; i++) {
		char *p = (char *)get(size);

		objs[i] = (__u64)p;
		ASSERT(p, "no object");
		for (k = 0; k < size; k++)
			ASSERT(!p[k], "object is not zero");
	}
	ASSERT_EQ(stats(class).pages, 4, "pages counted");
	for (i = 0; i < per_page * 4; i++)
		put(objs[i]);
	ASSERT_EQ(stats(class).failures, 0, "failures");
	all_returned();
	free(seen);
}

TEST(heap, sizes, "objects of each size are zeroed, do not overlap, and fill their pages")
{
	static const __u32 sizes[] = { 1, 16, 17, 64, 88, 128, 129, 200, 1016, 1360, 1361, 2048 };
	size_t i;

	heap_open_at(BASE, HEAP_PAGES);
	ASSERT_OK();
	pin_cpu(0);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		one_size(sizes[i]);
		ASSERT_OK();
	}
	for (i = 1; i <= ARENA_NOLOCK_HEAP_MAX; i++) {
		__u64 obj = get(i);

		ASSERT(obj, "no object of %zu bytes", i);
		ASSERT_EQ(stats(class_of(i)).objects, 1, "objects of the class");
		put(obj);
	}
	heap_bpf__destroy(skel);
}

TEST(heap, large_pages, "a kernel with larger pages refuses the heap, and the log says why")
{
	if (PAGE == 4096)
		SKIP("needs a kernel with larger pages");
	skel = heap_bpf__open();
	ASSERT(skel, "open: %s", strerror(errno));
	log_keep();
	ASSERT(heap_bpf__load(skel), "it was loaded");
	ASSERT(strstr(log_kept(), "kfunc '" NEEDS_PAGES "'"), "the log does not say it: %.3000s",
	       log_kept());
}

TEST(heap, mistakes, "there are no objects of invalid sizes, and frees of other pages do nothing")
{
	static const __u32 sizes[] = { 0, 2049, 4096, 1u << 31, ~0u };
	struct arena_nolock_heap before;
	__u64 odd[8], obj;
	size_t i;

	heap_open_at(BASE, HEAP_PAGES);
	ASSERT_OK();
	put(0);
	put(BASE + 64);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		ASSERT(!get(sizes[i]), "an object of %u bytes", sizes[i]);
	ASSERT_EQ(pages(), 0, "pages of the arena");
	obj = get(64);
	ASSERT(obj, "object");
	ASSERT(run(skel->progs.heap_page) && skel->bss->page, "page");
	before = skel->bss->heap;
	odd[0] = 0;
	odd[1] = skel->bss->page;
	odd[2] = skel->bss->heap.dir[(__u32)BASE >> 20];
	odd[3] = BASE + 100 * PAGE;		/* no page */
	odd[4] = BASE + 100 * 256 * PAGE;	/* outside of the arena */
	odd[5] = 1;
	odd[6] = ~0ull;
	odd[7] = BASE >> 32 << 32;
	for (i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		put(odd[i]);
	for (i = 1; i < 16; i++)
		put(obj + i);
	ASSERT(!memcmp(&before, &skel->bss->heap, sizeof(before)), "the heap changed");
	heap_bpf__destroy(skel);
}

TEST(heap, damage, "after frees of free objects, and of addresses inside of objects, calls end")
{
	static const __u32 sizes[] = { 64, 2048, 1360, 16 };
	__u64 objs[8];
	size_t i, k, n;
	char *foreign;

	heap_open_at(BASE, HEAP_PAGES);
	ASSERT_OK();
	pin_cpu(0);
	ASSERT(run(skel->progs.heap_page) && skel->bss->page, "page");
	foreign = (char *)skel->bss->page;
	memset(foreign, 0xa5, PAGE);
	for (n = 0; n < 40; n++) {
		__u32 size = sizes[n % 4];

		for (i = 0; i < 8; i++)
			ASSERT(objs[i] = get(size), "object");
		for (i = 0; i < 8; i++)
			for (k = 0; k < 3; k++)
				put(objs[i] + (n & 8 ? k * 16 : 0));
		/* Each call ends. */
		for (i = 0; i < 20; i++)
			get(size);
		if (n % 4 == 3)
			ASSERT(run(skel->progs.heap_trim), "trim");
	}
	for (i = 0; i < PAGE; i++)
		ASSERT(foreign[i] == (char)0xa5, "byte %zu of a foreign page changed", i);
	heap_bpf__destroy(skel);
}

TEST(heap, pages_return, "pages go back to the arena when their objects are freed")
{
	static __u64 objs[10000];
	long left;
	size_t i;

	heap_open_at(BASE, HEAP_PAGES);
	ASSERT_OK();
	pin_cpu(0);
	for (i = 0; i < sizeof(objs) / sizeof(objs[0]); i++)
		objs[i] = get(64);
	ASSERT_EQ(stats(class_of(64)).pages, sizeof(objs) / sizeof(objs[0]) / 64 + 1, "pages");
	for (i = 0; i < sizeof(objs) / sizeof(objs[0]); i++)
		put(objs[i]);
	/* A page in the cache, its spare, the depot. Frees have the order of allocations. */
	left = stats(class_of(64)).pages;
	ASSERT(left <= ARENA_NOLOCK_HEAP_DEPOT + 4, "%ld pages left", left);
	ASSERT(wait_for(pages() == left + dirs(), 10000), "%ld pages in the arena, %ld in the heap",
	       pages(), left);
	/* The caches are the hysteresis: a page is not freed and allocated again. */
	for (i = 0; i < 500; i++)
		objs[i] = get(64);
	for (i = 0; i < 500; i++)
		put(objs[i]);
	ASSERT_EQ(stats(class_of(64)).pages, left, "pages after 500 objects came and went");
	all_returned();
	heap_bpf__destroy(skel);
}

TEST(heap, another_class, "a page that came back for another size is found by that size")
{
	static __u64 objs[64 * 40];
	long before;
	size_t i, n;

	heap_open_at(BASE, HEAP_PAGES);
	ASSERT_OK();
	pin_cpu(0);
	/* All pages of 64 bytes are on the stack of their class when their last object comes. */
	for (i = 0; i < 64 * 40; i++)
		objs[i] = get(64);
	for (n = 0; n < 64; n++)
		for (i = 0; i < 40; i++)
			put(objs[i * 64 + n]);
	all_returned();
	ASSERT_OK();
	/* The same pages with objects of 128 bytes, every second of them free. */
	for (i = 0; i < 32 * 40; i++)
		objs[i] = get(128);
	for (i = 0; i < 32 * 40; i += 2)
		put(objs[i]);
	ASSERT(run(skel->progs.heap_trim), "trim");
	before = stats(class_of(128)).pages;
	ASSERT_EQ(before, 40, "pages");
	/* Small objects meet these pages on their stack, and leave them alone. */
	for (i = 0; i < 64 * 10; i += 2)
		ASSERT(get(64), "object");
	for (i = 0; i < 32 * 40; i += 2)
		ASSERT(get(128), "object");
	ASSERT_EQ(stats(class_of(128)).pages, before, "pages");
	heap_bpf__destroy(skel);
}

TEST(heap, full, "a heap in a full arena returns NULL until objects are freed")
{
	__u64 n, i, objs[128];

	heap_open_at(BASE, 65);
	ASSERT_OK();
	for (n = 0; n < 128; n++) {
		objs[n] = get(2048);
		ASSERT(objs[n], "object %llu", (unsigned long long)n);
	}
	for (i = 0; i < 3; i++)
		ASSERT(!get(2048), "more than there are");
	ASSERT(!get(16), "more than there are");
	ASSERT_EQ(stats(class_of(2048)).failures, 3, "failures");
	ASSERT_EQ(stats(class_of(16)).failures, 1, "failures");
	for (i = 0; i < n; i++)
		put(objs[i]);
	/* Pages that became empty are queued for a moment. */
	for (i = 0; i < n; i++)
		ASSERT(wait_for(objs[i] = get(2048), 10000), "no object after all came back");
	for (i = 0; i < n; i++)
		put(objs[i]);
	all_returned();
	ASSERT_OK();
	for (i = 0; i < 64 * 256; i++)
		ASSERT(get(16), "object %llu of another size", (unsigned long long)i);
	ASSERT(!get(16), "more than there are");
	heap_bpf__destroy(skel);
}

TEST(heap, null, "a heap has no object at an address that looks like NULL")
{
	const __u64 base = 0x200000000000;
	__u64 n, obj;

	heap_open_at(base, 66);
	ASSERT_OK();
	for (n = 0; (obj = get(2048)); n++)
		ASSERT(obj >= base + PAGE && obj < base + 66 * PAGE, "object at %#llx",
		       (unsigned long long)obj);
	ASSERT_EQ(n, 128, "objects");
	heap_bpf__destroy(skel);
}

TEST(heap, warm, "a warm allocation and free are 120 instructions, and write to no shared line")
{
	const struct bpf_insn *insn;
	struct arena_nolock_heap before, *now;
	__u64 entries[512], *dir, *top;
	size_t n, i, class;
	int cpu;

	need_small_pages();
	skel = heap_bpf__open();
	ASSERT(skel, "open: %s", strerror(errno));
	/* Without the slow paths, which are functions, and without a way back. */
	insn = bpf_program__insns(skel->progs.heap_pair);
	n = bpf_program__insn_cnt(skel->progs.heap_pair);
	printf("# %zu instructions, the ways to the slow paths included\n", n);
	ASSERT(n > 40 && n <= 120, "%zu instructions", n);
	for (i = 0; i < n; i++) {
		class = insn[i].code & 7;
		if (class == BPF_JMP || class == 6 /* BPF_JMP32 */)
			ASSERT(insn[i].off >= 0, "instruction %zu jumps back", i);
	}
	heap_bpf__destroy(skel);

	heap_open_at(BASE, HEAP_PAGES);
	ASSERT_OK();
	cpu = nr_cpus > 1;
	pin_cpu(cpu);
	now = &skel->bss->heap;
	ASSERT(get(64) && get(64), "object");
	before = *now;
	dir = (__u64 *)before.dir[(__u32)BASE >> 20];
	ASSERT(dir, "no entries");
	memcpy(entries, dir, sizeof(entries));
	for (i = 0; i < 1000; i++)
		ASSERT(run(skel->progs.heap_pair), "run");
	top = &before.cpu[cpu].cache[class_of(64)].top;
	ASSERT(*top != now->cpu[cpu].cache[class_of(64)].top, "the cache was not used");
	*top = now->cpu[cpu].cache[class_of(64)].top;
	ASSERT(!memcmp(&before, now, sizeof(before)), "another word of the heap changed");
	ASSERT(!memcmp(entries, dir, sizeof(entries)), "an entry of a page changed");
	heap_bpf__destroy(skel);
}

/*
 * Calls that are interrupted between two instructions, by a watchpoint on a word that they access.
 * Steps prepare the heap, run in the interruption, and look at what came out of it.
 */
#define GET(name) { HEAP_GET, name }
#define PUT(name) { HEAP_PUT, name }
#define TRIM { HEAP_TRIM, 0 }

static __u64 at[HEAP_NAMES];		/* the objects, also when they are free */

static void do_steps(const struct heap_step *step)
{
	__u64 *kept = skel->bss->kept;

	for (; step->op; step++) {
		if (step->op == HEAP_GET) {
			kept[step->name] = get(skel->bss->size);
			ASSERT(kept[step->name], "no object");
		} else if (step->op == HEAP_PUT) {
			put(kept[step->name]);
			kept[step->name] = 0;
		} else {
			ASSERT(run(skel->progs.heap_trim), "trim");
		}
	}
}

/* No two names have the same object. */
static void all_differ(void)
{
	const __u64 *kept = skel->bss->kept;
	int i, k;

	for (i = 0; i < HEAP_NAMES; i++)
		for (k = 0; k < i; k++)
			ASSERT(!kept[i] || kept[i] != kept[k], "objects %d, %d are at %#llx", k, i,
			       (unsigned long long)kept[i]);
}

static __u64 entry_of(__u64 obj)
{
	return skel->bss->heap.dir[(__u32)obj >> 20] + (obj >> 12 & 255) * 16;
}

/* Do a step, and others in the middle of it: after some accesses to a word of the arena. */
static void interrupt(struct heap_step step, __u64 word, int accesses,
		      const struct heap_step *steps)
{
	const struct heap_step call[] = { step, {} };
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT, .size = sizeof(attr), .sample_period = 1,
		.bp_type = HW_BREAKPOINT_RW, .bp_len = HW_BREAKPOINT_LEN_8,
	};
	struct bpf_link *link;
	int i, fd;

	ASSERT(run(skel->progs.heap_where) && skel->bss->kernel_base, "address of the arena");
	attr.bp_addr = skel->bss->kernel_base + (__u32)word;
	memset(skel->bss->steps, 0, sizeof(skel->bss->steps));
	for (i = 0; steps[i].op; i++)
		skel->bss->steps[i] = steps[i];
	skel->bss->accesses = accesses;
	skel->bss->interrupted = false;
	fd = syscall(SYS_perf_event_open, &attr, -1, 0, -1, 0);
	ASSERT(fd >= 0, "watchpoint: %s", strerror(errno));
	link = bpf_program__attach_perf_event(skel->progs.heap_interrupt, fd);
	ASSERT(link, "attach: %s", strerror(errno));
	do_steps(call);
	bpf_link__destroy(link);
}

/* A heap of 2 objects a page, on one CPU, with objects 1 to @n, less those that @steps free. */
static void prepare(int n, const struct heap_step *steps)
{
	int i;

	memset(skel->bss->kept, 0, sizeof(skel->bss->kept));
	skel->bss->size = 2048;
	for (i = 1; i <= n; i++) {
		do_steps((const struct heap_step[]){ GET(i), {} });
		ASSERT_OK();
		at[i] = skel->bss->kept[i];
	}
	do_steps(steps);
}

static void finish(void)
{
	int i;

	all_differ();
	ASSERT_OK();
	for (i = 0; i < HEAP_NAMES; i++)
		put(skel->bss->kept[i]);
	all_returned();
}

/* The cache has 1 and 2, and 3 is in use. */
static const struct heap_step in_cache[] = { PUT(2), PUT(1), {} };
/* The depot has chains of 4 and 3, and of 2 and 1. The cache is empty. */
static const struct heap_step in_depot[] = {
	PUT(1), PUT(2), PUT(3), PUT(4), PUT(5), PUT(6), PUT(7), GET(7), GET(6), GET(5), {}
};
/* Objects 1 and 3 are in their pages, 2 and 4 are in use there. The cache is empty. */
static const struct heap_step in_pages[] = { PUT(3), TRIM, PUT(1), TRIM, {} };

static __u64 cache_generation(void)
{
	return skel->bss->heap.cpu[0].cache[class_of(2048)].top / ARENA_NOLOCK_HEAP_GENERATION;
}

TEST(heap, aba, "a call is not deceived if a list has the same first element, and another second")
{
	__u64 before;

	heap_open_at(BASE, HEAP_PAGES);
	ASSERT_OK();
	pin_cpu(0);

	/* The allocation has read that 2 comes after 1. Now 3 does, and 2 is in use. */
	prepare(3, in_cache);
	ASSERT_OK();
	interrupt((struct heap_step)GET(30), at[1], 0, (const struct heap_step[]){
			GET(20), GET(21), PUT(3), PUT(20), {} });
	ASSERT_OK();
	ASSERT(skel->bss->interrupted && skel->bss->kept[21] == at[2], "cache: not the order");
	ASSERT_EQ(skel->bss->kept[30], at[1], "cache: object");
	do_steps((const struct heap_step[]){ GET(31), GET(32), {} });
	finish();
	ASSERT_OK();

	/* That 2 comes after 4. Now 6 does, and 2 is in use. */
	prepare(10, in_depot);
	ASSERT_OK();
	interrupt((struct heap_step)GET(30), at[4] + 8, 0, (const struct heap_step[]){
			GET(20), GET(21), GET(22), GET(23), PUT(5), PUT(6), PUT(21), PUT(20),
			PUT(7), PUT(8), PUT(9), {} });
	ASSERT_OK();
	ASSERT(skel->bss->interrupted && skel->bss->kept[22] == at[2], "depot: not the order");
	ASSERT_EQ(skel->bss->kept[30], at[4], "depot: object");
	do_steps((const struct heap_step[]){ GET(31), GET(32), GET(33), GET(34), GET(35), GET(36),
					     {} });
	finish();
	ASSERT_OK();

	/* That the page of 3 comes after that of 1. Now the page of 5 does. */
	prepare(6, in_pages);
	ASSERT_OK();
	interrupt((struct heap_step)GET(30), entry_of(at[1]) + 8, 0, (const struct heap_step[]){
			GET(20), GET(21), PUT(5), TRIM, PUT(20), TRIM, {} });
	ASSERT_OK();
	ASSERT(skel->bss->interrupted && skel->bss->kept[21] == at[3], "pages: not the order");
	ASSERT_EQ(skel->bss->kept[30], at[1], "pages: object");
	do_steps((const struct heap_step[]){ GET(31), {} });
	ASSERT_EQ(skel->bss->kept[31], at[5], "pages: next object");
	ASSERT_EQ(stats(class_of(2048)).pages, 3, "pages");
	finish();
	ASSERT_OK();

	/* It takes two CPUs to deceive a call by a free or trim that takes a whole list. */
	prepare(4, (const struct heap_step[]){ PUT(1), PUT(2), {} });
	ASSERT_OK();
	before = cache_generation();
	do_steps((const struct heap_step[]){ PUT(3), {} });
	ASSERT(cache_generation() != before, "the generation after a free to a full cache");
	before = cache_generation();
	do_steps((const struct heap_step[]){ TRIM, {} });
	ASSERT(cache_generation() != before, "the generation after a trim");
	finish();
	heap_bpf__destroy(skel);
}

/* Interrupts @call once for each access to a word. Returns how often. */
static int interrupt_each(int n, const struct heap_step *before, struct heap_step call, int obj,
			  int word)
{
	/* Of what a free does, too: full caches, empty pages, a page that comes back. */
	static const struct heap_step during[] = {
		GET(20), GET(21), PUT(5), PUT(20), TRIM, GET(22), GET(23), GET(24), PUT(6), PUT(22),
		PUT(7), PUT(23), PUT(8), TRIM, GET(25), PUT(21), GET(26), {}
	};
	__u64 *kept = skel->bss->kept, watched;
	int i, k;

	for (i = 0; ; i++) {
		prepare(n, before);
		if (test_failed())
			return i;
		for (k = 0; k < HEAP_NAMES; k++)
			if (kept[k])
				memset((void *)kept[k], k, 2048);
		watched = word < 2 ? at[obj] + word * 8 : entry_of(at[obj]) + (word - 2) * 8;
		interrupt(call, watched, i, during);
		for (k = 1; k <= n && !test_failed(); k++)
			if (kept[k] && (*(__u8 *)kept[k] != k || *(__u8 *)(kept[k] + 2047) != k))
				test_fail(__FILE__, __LINE__, "object %d was written to", k);
		do_steps((const struct heap_step[]){ GET(30), GET(31), GET(32), GET(33), GET(34),
						     GET(35), GET(36), GET(37), {} });
		finish();
		if (test_failed() || !skel->bss->interrupted)
			return i;
	}
}

TEST_LONG(heap, interrupted, 120, "a call can be interrupted by others after each access to a list")
{
	static const struct heap_step calls[] = { GET(38), PUT(4), TRIM };
	static const struct {
		const struct heap_step *steps;
		int n, obj;
	} before[] = { { in_cache, 8, 1 }, { in_depot, 10, 4 }, { in_pages, 8, 1 } };
	int i, call, word, n = 0;

	heap_open_at(BASE, HEAP_PAGES);
	ASSERT_OK();
	pin_cpu(0);
	for (i = 0; i < 3; i++)
		for (call = 0; call < 3; call++)
			for (word = 0; word < 4; word++) {
				n += interrupt_each(before[i].n, before[i].steps, calls[call],
						    before[i].obj, word);
				if (test_failed())
					printf("# state %d, call %d, word %d\n", i, call, word);
				ASSERT_OK();
			}
	printf("# %d interruptions\n", n);
	ASSERT(n > 30, "only %d interruptions", n);
	heap_bpf__destroy(skel);
}

static volatile bool stop;

/*
 * Without the module pages do not return meanwhile: the kernel's own arena can lose a write
 * to a page that is freed and allocated again.
 */
static void run_storm(bool nmis, bool return_pages)
{
	volatile __u64 *rounds;
	pthread_t thread[4];
	int i, cycles = 0;
	long end, n;
	__u32 class;

	heap_open_at(BASE, HEAP_PAGES);
	ASSERT_OK();
	rounds = skel->bss->rounds;
	if (!return_pages)
		skel->data->nr_kept = 64;
	ASSERT(attach_clocks(skel->progs.heap_in_timer), "perf events: %s", strerror(errno));
	ASSERT(bpf_program__attach(skel->progs.heap_in_task), "attach: %s", strerror(errno));
	if (nmis)
		ASSERT(attach_nmis(skel->progs.heap_in_nmi), "attach: %s", strerror(errno));
	skel->bss->storm = true;
	for (i = 0; i < 4; i++)
		ASSERT(!pthread_create(&thread[i], NULL, call_getppid, (void *)&stop), "thread");
	end = now_ms() + 2000 * patience;
	for (i = 0; now_ms() < end || rounds[HEAP_HARDIRQ] < 50 || cycles < 2 * return_pages; i++) {
		if (nmis)
			ASSERT(send_nmis(), "NMIs: %s", strerror(errno));
		else
			usleep(1000);
		if (!return_pages)
			continue;
		/* Trims meet calls in progress. */
		if (i % 16 == 15)
			ASSERT(run(skel->progs.heap_trim), "trim");
		for (n = 0, class = 0; class < CLASSES; class++)
			n += stats(class).pages;
		if (!skel->bss->drain && n > 120) {
			skel->bss->drain = true;
		} else if (skel->bss->drain && n < 40) {
			skel->bss->drain = false;
			cycles++;
		}
	}
	skel->bss->storm = false;
	stop = true;
	for (i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	printf("# %llu rounds in tasks, %llu in timers, %llu in NMIs; pages returned %d times\n",
	       (unsigned long long)rounds[HEAP_TASK], (unsigned long long)rounds[HEAP_HARDIRQ],
	       (unsigned long long)rounds[HEAP_NMI], cycles);
	ASSERT(rounds[HEAP_TASK] > 100 && (!nmis || rounds[HEAP_NMI] > 20), "not enough of each");
	ASSERT_EQ(skel->bss->dirty, 0, "words of new objects that were not zero");
	ASSERT_EQ(skel->bss->strange, 0, "words of kept objects that changed");
	if (return_pages)
		ASSERT_EQ(skel->bss->failed, 0, "objects that were not to be had");
	ASSERT(run(skel->progs.heap_empty), "run");
	ASSERT_EQ(skel->bss->strange, 0, "words of kept objects that changed");
	all_returned();
	heap_bpf__destroy(skel);
}

TEST_LONG(heap, storm, 120,
	  "an object has one owner at a time while tasks, timers and NMIs allocate, free and trim")
{
	run_storm(has_nmis(), true);
}

TEST_LONG(nomod, heap, 120, "on 7.x the heap works without the module")
{
	if (!has_intree_nonsleepable)
		SKIP("the kernel's own kfuncs may sleep");
	run_storm(has_nmis(), false);
}
