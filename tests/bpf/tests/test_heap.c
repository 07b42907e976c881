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
#include <linux/perf_event.h>
#include <linux/types.h>
#include <sys/syscall.h>

#include "arena_nolock_heap.h"
#include "runner.h"
#include "arena.h"
#include "heap.h"
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

static void heap_open_at(__u64 base, __u32 pages)
{
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

TEST(heap, mistakes, "there are no objects of invalid sizes, and frees of other pages do nothing")
{
	static const __u32 sizes[] = { 0, 2049, 4096, 1u << 31, ~0u };
	struct arena_nolock_heap before;
	__u64 odd[8];
	size_t i;

	heap_open_at(BASE, HEAP_PAGES);
	ASSERT_OK();
	put(0);
	put(BASE + 64);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		ASSERT(!get(sizes[i]), "an object of %u bytes", sizes[i]);
	ASSERT_EQ(pages(), 0, "pages of the arena");
	ASSERT(get(64), "object");
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
	ASSERT(!memcmp(&before, &skel->bss->heap, sizeof(before)), "the heap changed");
	heap_bpf__destroy(skel);
}

TEST(heap, pages_return, "pages go back to the arena when their objects are freed")
{
	static __u64 objs[20000];
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

static volatile bool stop;

static void *calls(void *arg)
{
	(void)arg;
	while (!stop)
		syscall(SYS_getppid);

	return NULL;
}

static bool attach_timers(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE, .config = PERF_COUNT_SW_CPU_CLOCK,
		.size = sizeof(attr), .freq = 1, .sample_freq = 2000,
	};
	int cpu, fd;

	for (cpu = 0; cpu < nr_cpus; cpu++) {
		fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, 0);
		if (fd < 0 || !bpf_program__attach_perf_event(skel->progs.heap_in_timer, fd))
			return false;
	}

	return true;
}

/*
 * Without the module pages do not return meanwhile: the kernel's own arena can lose a write
 * to a page that is freed and allocated again.
 */
static void run_storm(bool nmis, bool return_pages)
{
	long end = now_ms() + 3000 * patience, n;
	int i, cycles = 0;
	volatile __u64 *rounds;
	pthread_t thread[4];
	__u32 class;

	heap_open_at(BASE, HEAP_PAGES);
	ASSERT_OK();
	rounds = skel->bss->rounds;
	if (!return_pages)
		skel->data->nr_kept = 64;
	ASSERT(attach_timers(), "perf events: %s", strerror(errno));
	ASSERT(bpf_program__attach(skel->progs.heap_in_task), "attach: %s", strerror(errno));
	if (nmis)
		ASSERT(bpf_program__attach(skel->progs.heap_in_nmi), "attach: %s", strerror(errno));
	skel->bss->storm = true;
	for (i = 0; i < 4; i++)
		ASSERT(!pthread_create(&thread[i], NULL, calls, NULL), "thread");
	for (i = 0; now_ms() < end || rounds[HEAP_HARDIRQ] < 50 || cycles < 3 * return_pages; i++) {
		if (nmis)
			ASSERT(send_nmis(), "NMIs: %s", strerror(errno));
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
	run_storm(true, true);
}

TEST_LONG(nomod, heap, 120, "on 7.x the heap works without the module")
{
	if (!has_intree_nonsleepable)
		SKIP("the kernel's own kfuncs may sleep");
	run_storm(!access(NMI_SOURCE, W_OK), false);
}
