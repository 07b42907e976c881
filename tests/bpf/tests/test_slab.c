// SPDX-License-Identifier: GPL-2.0
/*
 * Small objects from arena pages, include/arena_nolock_slab.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>

#include "arena_nolock_slab.h"
#include "runner.h"
#include "arena.h"
#include "slab.h"
#include "slab.skel.h"

static void run(struct bpf_program *prog)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	bpf_prog_test_run_opts(bpf_program__fd(prog), &opts);
}

static __u64 get(struct slab_bpf *s)
{
	s->bss->obj = 0;
	run(s->progs.slab_get);

	return s->bss->obj;
}

static void put(struct slab_bpf *s, __u64 obj)
{
	s->bss->obj = obj;
	run(s->progs.slab_put);
}

#define BASE 0x100010000000		/* where slab.bpf.c has its arena */

/* Without the programs of the storm, which take the verifier long. */
static struct slab_bpf *slab_open_at(__u64 size, __u64 base, bool with_storm)
{
	struct slab_bpf *s = slab_bpf__open();
	struct bpf_program *p;

	if (!s)
		return NULL;
	bpf_object__for_each_program(p, s->obj)
		bpf_program__set_autoload(p, with_storm || p == s->progs.slab_get ||
					  p == s->progs.slab_put);
	bpf_map__set_map_extra(s->maps.arena, base);
	s->data->slab.size = size;
	s->bss->tgid = getpid();
	if (!slab_bpf__load(s))
		return s;
	slab_bpf__destroy(s);

	return NULL;
}

static struct slab_bpf *slab_open(__u64 size)
{
	return slab_open_at(size, BASE, false);
}

static long slab_pages(struct slab_bpf *s)
{
	return map_pages(bpf_map__fd(s->maps.arena));
}

static void one_size(__u64 size)
{
	__u64 per_page = PAGE / size, n = per_page * 3 + 1, i, k, *objs;
	struct slab_bpf *s = slab_open(size);
	unsigned char *seen;

	ASSERT(s, "load: %s", strerror(errno));
	objs = calloc(n, sizeof(*objs));
	seen = calloc(4 * PAGE, 1);
	ASSERT(objs && seen, "memory");
	for (i = 0; i < n; i++) {
		const char *p;

		objs[i] = get(s);
		ASSERT(objs[i], "no object %llu of %llu", (unsigned long long)i,
		       (unsigned long long)n);
		p = (const char *)objs[i];
		ASSERT(p >= (char *)BASE && p < (char *)BASE + 4 * PAGE,
		       "object at %p", p);
		for (k = 0; k < size; k++) {
			ASSERT(!p[k], "object %llu is not zero", (unsigned long long)i);
			ASSERT(!seen[p + k - (char *)BASE]++, "overlaps another");
		}
		memset((void *)p, 0xa5, size);
	}
	ASSERT_EQ(s->data->slab.objects, n, "objects counted");
	ASSERT_EQ(s->data->slab.pages, 4, "pages counted");
	ASSERT_EQ(slab_pages(s), 4, "pages of the arena");
	for (i = 0; i < n; i++)
		put(s, objs[i]);
	ASSERT_EQ(s->data->slab.objects, 0, "objects left");
	/* All of them again: zeroed, and no page more. */
	for (i = 0; i < 4 * per_page; i++) {
		const char *p = (const char *)get(s);

		ASSERT(p, "no object");
		for (k = 0; k < size; k++)
			ASSERT(!p[k], "object is not zero");
	}
	ASSERT_EQ(slab_pages(s), 4, "pages of the arena");
	free(objs);
	free(seen);
	slab_bpf__destroy(s);
}

TEST(slab, sizes, "objects of a slab are zeroed, do not overlap, and fill their pages")
{
	const __u64 sizes[] = { 16, 24, 64, 88, 1016, PAGE / 2 };
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		one_size(sizes[i]);
		ASSERT_OK();
	}
}

TEST(slab, bad_sizes, "a slab of an invalid object size has no objects and takes no pages")
{
	const __u64 sizes[] = { 0, 1, 7, 12, PAGE / 2 + 8, PAGE, 1ull << 32, ~0ull };
	struct slab_bpf *s = slab_open(64);
	size_t i;

	ASSERT(s, "load: %s", strerror(errno));
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		s->data->slab.size = sizes[i];
		ASSERT(!get(s), "an object of %llu bytes", (unsigned long long)sizes[i]);
		put(s, 0);
		ASSERT_EQ(slab_pages(s), 0, "pages of the arena");
		ASSERT_EQ(s->data->slab.objects, 0, "objects");
	}
	slab_bpf__destroy(s);
}

TEST(slab, full, "a slab in a full arena returns NULL until objects are freed")
{
	__u64 n, i, *objs = calloc(256 * 2 + 1, sizeof(*objs));
	struct slab_bpf *s = slab_open(PAGE / 2);

	ASSERT(s && objs, "load: %s", strerror(errno));
	for (n = 0; n <= 512; n++) {
		objs[n] = get(s);
		if (!objs[n])
			break;
	}
	ASSERT_EQ(n, 512, "objects in 256 pages");
	for (i = 0; i < n; i++)
		put(s, objs[i]);
	for (i = 0; i < n; i++)
		ASSERT(get(s), "no object after all came back");
	ASSERT(!get(s), "more than there are");
	slab_bpf__destroy(s);
	free(objs);
}

TEST(slab, null, "a slab has no object at an address that looks like NULL")
{
	static const __u64 sizes[] = { 2048, 1360 };
	const __u64 base = 0x200000000000;
	struct slab_bpf *s;
	__u64 n, obj;
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		s = slab_open_at(sizes[i], base, false);
		ASSERT(s, "load: %s", strerror(errno));
		for (n = 0; (obj = get(s)); n++)
			ASSERT(obj >= base + sizes[i] && obj + sizes[i] <= base + 256 * PAGE,
			       "object at %#llx", (unsigned long long)obj);
		ASSERT_EQ(n, 256 * (PAGE / sizes[i]) - 1, "objects in 256 pages");
		ASSERT_EQ(s->data->slab.pages, 256, "pages");
		slab_bpf__destroy(s);
	}
}

static volatile bool stop;

TEST_LONG(slab, storm, 120,
	  "an object has one owner at a time while tasks, timers and NMIs allocate and free")
{
	struct slab_bpf *s = slab_open_at(SLAB_WORDS * 8, BASE, true);
	long end = now_ms() + 2000 * patience;
	bool nmis = has_nmis();
	volatile __u64 *rounds;
	pthread_t thread[4];
	__u64 i, n;

	ASSERT(s, "load: %s", strerror(errno));
	rounds = s->bss->rounds;
	ASSERT(attach_clocks(s->progs.slab_in_timer), "perf events: %s", strerror(errno));
	ASSERT(bpf_program__attach(s->progs.slab_in_task), "attach: %s", strerror(errno));
	ASSERT(!nmis || attach_nmis(s->progs.slab_in_nmi), "attach: %s", strerror(errno));
	s->bss->storm = true;
	for (i = 0; i < 4; i++)
		ASSERT(!pthread_create(&thread[i], NULL, call_getppid, (void *)&stop), "thread");
	while (now_ms() < end || rounds[SLAB_HARDIRQ] < 50)
		ASSERT(nmis ? send_nmis() : !usleep(1000), "NMIs: %s", strerror(errno));
	s->bss->storm = false;
	stop = true;
	for (i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	printf("# %llu rounds in tasks, %llu in timers, %llu in NMIs, %llu pages\n",
	       (unsigned long long)rounds[SLAB_TASK], (unsigned long long)rounds[SLAB_HARDIRQ],
	       (unsigned long long)rounds[SLAB_NMI], (unsigned long long)s->data->slab.pages);
	ASSERT(rounds[SLAB_TASK] > 100 && (!nmis || rounds[SLAB_NMI] > 20), "not enough of each");
	ASSERT_EQ(s->bss->dirty, 0, "words of new objects that were not zero");
	ASSERT_EQ(s->bss->strange, 0, "words of kept objects that changed");
	ASSERT_EQ(s->bss->failed, 0, "objects that were not to be had");
	run(s->progs.slab_empty);
	ASSERT_EQ(s->data->slab.objects, 0, "objects left");
	/* None was lost: all pages can be taken again, each object once. */
	n = s->data->slab.pages * (PAGE / (SLAB_WORDS * 8));
	for (i = 0; i < n; i++)
		ASSERT(get(s), "object %llu of %llu is lost", (unsigned long long)i,
		       (unsigned long long)n);
	ASSERT_EQ(s->data->slab.pages, n / (PAGE / (SLAB_WORDS * 8)), "pages");
	slab_bpf__destroy(s);
}
