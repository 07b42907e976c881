// SPDX-License-Identifier: GPL-2.0
/* What users see: the counters in debugfs, the tracepoints, and bpftool. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "arena_stat.h"
#include "runner.h"
#include "arena.h"
#include "trace.skel.h"

#define EVENTS "/sys/kernel/tracing/instances/arena_nolock"

static const char *const cx_names[] = { "task", "atomic", "softirq", "hardirq" };

/* Programs of this kind run with bottom halves off, not in a softirq. */
static const char *name_of(enum context ctx)
{
	return ctx == BH_OFF ? "atomic" : cx_names[ctx == HARDIRQ ? 3 : ctx];
}

TEST_EACH(stat, counts, 64, 0, "the file counts allocations, frees and reservations by context")
{
	const char *where = name_of(ctx);
	long long allocs = arena_stat(a, "allocs", where), frees = arena_stat(a, "frees", where);
	long long got = arena_stat(a, "allocated_pages", NULL);
	long long freed = arena_stat(a, "freed_pages", NULL);
	long long reserves = arena_stat(a, "reserves", where);
	void *p;

	ASSERT(allocs >= 0 && frees >= 0, "no counters for context %s", where);
	if (ctx == HARDIRQ)
		keep_busy();
	p = arena_alloc(a, ctx, NULL, 3);
	ASSERT(p, "alloc");
	ASSERT_EQ(arena_stat(a, "allocs", where), allocs + 1, "allocations");
	ASSERT_EQ(arena_stat(a, "allocated_pages", NULL), got + 3, "pages in them");
	ASSERT_EQ(arena_stat(a, "populated_pages", NULL), arena_pages(a), "populated pages");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 20), 2), 0, "reserve");
	ASSERT_EQ(arena_stat(a, "reserves", where), reserves + 1, "reservations");
	arena_free(a, ctx, a->base, 64);
	ASSERT_EQ(arena_stat(a, "frees", where), frees + 1, "frees");
	ASSERT_EQ(arena_stat(a, "freed_pages", NULL), freed + 5, "pages that they found");
	ASSERT(arena_freed(a, ctx, a->base, 64), "all of it is free again");
	arena_free(a, ctx, a->base, 64);
	ASSERT(arena_settle(a, 0), "settle");
	ASSERT_EQ(arena_stat(a, "queued_pages", NULL), 0, "pages in the queue");
}

TEST_EACH(stat, failures, 64, 0, "the file counts failures by cause and context")
{
	const char *where = name_of(ctx);
	long long args = arena_stat(a, "alloc_failed.args", where);
	long long address = arena_stat(a, "alloc_failed.address", where);
	long long reserve_args = arena_stat(a, "reserve_failed.args", where);
	long long reserve_address = arena_stat(a, "reserve_failed.address", where);
	long long all = arena_stat(a, "allocs", where);

	ASSERT(args >= 0 && address >= 0, "no counters for context %s", where);
	if (ctx == HARDIRQ)
		keep_busy();
	ASSERT(!arena_alloc_once(a, ctx, NULL, 65), "more pages than there are");
	ASSERT(!arena_alloc_once(a, ctx, a->base + 8, 1), "a misaligned address");
	ASSERT(!arena_alloc_args(a, ctx, NULL, 1, -1, 1), "flags");
	ASSERT_EQ(arena_stat(a, "alloc_failed.args", where), args + 3, "bad arguments");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 60), 5), -EINVAL, "over the end");
	ASSERT_EQ(arena_stat(a, "reserve_failed.args", where), reserve_args + 1, "bad arguments");
	ASSERT_EQ(arena_reserve(a, ctx, a->base, 64), 0, "reserve");
	ASSERT(!arena_alloc_once(a, ctx, a->base, 1), "a taken address");
	ASSERT(!arena_alloc_once(a, ctx, NULL, 1), "a full arena");
	ASSERT_EQ(arena_stat(a, "alloc_failed.address", where), address + 2, "no such address");
	ASSERT_EQ(arena_reserve(a, ctx, a->base, 1), -EBUSY, "reserve again");
	ASSERT_EQ(arena_stat(a, "reserve_failed.address", where), reserve_address + 1, "taken");
	ASSERT_EQ(arena_stat(a, "allocs", where), all, "successes");
}

TEST(stat, faults, "the file counts user faults by outcome")
{
	struct arena a;
	__u64 val;

	ASSERT(arena_open(&a, 64, 0), "load");
	ASSERT_EQ(user_write_sig(a.base, 1), 0, "write");
	ASSERT_EQ(arena_stat(&a, "faults", "populated"), 1, "faults that brought a page");
	ASSERT(arena_alloc(&a, SLEEPABLE, arena_page(&a, 1), 1), "alloc");
	ASSERT_EQ(user_read_sig(arena_page(&a, 1), &val), 0, "read");
	ASSERT_EQ(arena_stat(&a, "faults", "mapped"), 1, "faults that found one");
	ASSERT_EQ(arena_reserve(&a, SLEEPABLE, arena_page(&a, 2), 1), 0, "reserve");
	ASSERT(user_read_sig(arena_page(&a, 2), &val), "read what is reserved");
	ASSERT_EQ(arena_stat(&a, "faults", "segv"), 1, "faults that were an error");
	arena_close(&a);
}

TEST(stat, queue, "the file has the queue's work and its longest delay")
{
	long long us;
	struct arena a;

	ASSERT(arena_open(&a, 512, 0), "load");
	ASSERT(arena_alloc(&a, SLEEPABLE, a.base, 512), "alloc");
	arena_free(&a, UNDER_RCU, a.base, 512);
	ASSERT(arena_settle(&a, 0), "settle");
	ASSERT_EQ(arena_stat(&a, "queued_pages_total", NULL), 512, "pages that were queued");
	ASSERT_EQ(arena_stat(&a, "drained_pages", NULL), 512, "pages that were drained");
	ASSERT(arena_stat(&a, "drains", NULL) >= 1, "drains");
	/* Noted a moment after the pages are gone. */
	ASSERT(wait_for(arena_stat(&a, "drain_latency_max_us", NULL) > 0, 1000), "no delay noted");
	us = arena_stat(&a, "drain_latency_max_us", NULL);
	printf("# %lld us\n", us);
	ASSERT(us < 5000000LL * patience, "worst delay of %lld us", us);
	arena_close(&a);
}

TEST(stat, pool, "the file has the sizes of the pool, its minimum and its target, and of the standby")
{
	struct arena a;

	ASSERT(arena_open(&a, 4096, 0), "load");
	ASSERT_EQ(arena_stat(&a, "pool_min", NULL), POOL_DEFAULT, "pages kept ready");
	ASSERT_EQ(arena_stat(&a, "pool_target", NULL), POOL_DEFAULT, "target");
	ASSERT_EQ(arena_stat(&a, "pool_nr", NULL), POOL_DEFAULT, "level");
	ASSERT(arena_alloc(&a, UNDER_RCU, NULL, 1), "a demand");
	ASSERT(wait_for(arena_stat(&a, "pool_target", NULL) > 0, 5000), "target stays at 0");
	ASSERT(wait_for(arena_stat(&a, "pool_nr", NULL) > 0, 5000), "level %lld",
	       arena_stat(&a, "pool_nr", NULL));
	ASSERT_EQ(arena_stat(&a, "standby_max", NULL), STANDBY_DEFAULT, "size of the standby");
	ASSERT(pool_ready(&a), "standby of %lld", arena_stat(&a, "standby_nr", NULL));
	ASSERT_EQ(arena_stat(&a, "max_pages", NULL), 4096, "pages of the arena");
	arena_close(&a);
}

TEST(stat, file, "the file has the map's id and name, and disappears with the map")
{
	struct stat_file f;
	char path[64];
	struct arena a;
	struct stat st;
	__u32 id;

	ASSERT(arena_open(&a, 64, 0), "load");
	id = map_id(a.fd);
	snprintf(path, sizeof(path), STAT_DIR "/%u", id);
	ASSERT(stat_read(&f, path), "%s: %s", path, strerror(errno));
	ASSERT_EQ(stat_value(&f, "map_id", NULL), id, "id");
	ASSERT(strstr(f.text, "\nmap_name arena\n"), "name: %s", f.text);
	ASSERT(!stat(path, &st), "stat");
	ASSERT_EQ(st.st_mode & 0777, 0444, "mode");
	arena_close(&a);
	ASSERT(wait_for(access(path, F_OK) && errno == ENOENT, 5000), "%s stays", path);
}

static volatile bool stop_reading;

static void *read_all(void *arg)
{
	long reads = 0;
	char path[64];
	__u32 id;

	while (!stop_reading) {
		struct stat_file f;

		for (id = *(__u32 *)arg; id < *(__u32 *)arg + 64; id++) {
			snprintf(path, sizeof(path), STAT_DIR "/%u", id);
			reads += stat_read(&f, path);
		}
		/* Leave some of the CPU to the load of the next arena. */
		usleep(1000);
	}

	return (void *)reads;
}

TEST(stat, readers, "arenas can be created and destroyed while their files are read")
{
	pthread_t t[2];
	struct arena a;
	void *reads;
	__u32 first;
	int i;

	ASSERT(arena_open(&a, 64, 0), "load");
	first = map_id(a.fd);
	arena_close(&a);
	for (i = 0; i < 2; i++)
		ASSERT(thread_on(&t[i], i % nr_cpus, read_all, &first), "thread");
	for (i = 0; i < 3; i++) {
		ASSERT(arena_open(&a, 64, 0), "load");
		ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 4), "alloc");
		arena_close(&a);
	}
	stop_reading = true;
	for (i = 0; i < 2; i++) {
		pthread_join(t[i], &reads);
		printf("# %ld reads\n", (long)reads);
	}
}

TEST(stat, bpftool, "bpftool map show reports an arena's memory exactly")
{
	char cmd[80], out[1024] = "";
	struct arena a;
	FILE *p;
	char *m;

	ASSERT(arena_open(&a, 64, 0), "load");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 5), "alloc");
	snprintf(cmd, sizeof(cmd), "bpftool -j map show id %u", map_id(a.fd));
	p = popen(cmd, "r");
	ASSERT(p && fread(out, 1, sizeof(out) - 1, p) > 0, "%s: no output", cmd);
	pclose(p);
	m = strstr(out, "\"bytes_memlock\":");
	ASSERT(m && strstr(out, "\"type\":\"arena\""), "%s", out);
	ASSERT_EQ(atol(m + strlen("\"bytes_memlock\":")), 5 * PAGE, "bytes");
	arena_close(&a);
}

/*
 * Tracepoints
 */

static bool events_on(void)
{
	if (access("/sys/kernel/tracing/events", F_OK))
		mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
	mkdir(EVENTS, 0700);

	return write_file(EVENTS "/events/arena_nolock/enable", "1");
}

static void events_off(void)
{
	write_file(EVENTS "/events/arena_nolock/enable", "0");
	rmdir(EVENTS);
}

/* Is there an event with all of this in its line? */
static bool event_seen(const char *name, const char *what)
{
	FILE *f = fopen(EVENTS "/trace", "r");
	char line[512], key[64];
	bool seen = false;

	snprintf(key, sizeof(key), " arena_nolock_%s: ", name);
	while (f && !seen && fgets(line, sizeof(line), f))
		seen = strstr(line, key) && strstr(line, what);
	if (f)
		fclose(f);

	return seen;
}

#define ASSERT_EVENT(name, ...)							\
	do {									\
		char what_[128];						\
										\
		snprintf(what_, sizeof(what_), __VA_ARGS__);			\
		ASSERT(wait_for(event_seen(name, what_), 1000),			\
		       "no event %s with %s", name, what_);			\
	} while (0)

static void all_events(struct arena *a)
{
	__u32 id = map_id(a->fd);

	ASSERT_EVENT("adopt", "map=%u name=arena max_pages=64 populated=0 err=0", id);
	ASSERT(arena_alloc(a, SLEEPABLE, NULL, 3) == a->base, "alloc");
	ASSERT_EVENT("alloc", "map=%u pgoff=0 cnt=3 ctx=task", id);
	ASSERT(arena_alloc(a, HARDIRQ, arena_page(a, 8), 1), "alloc");
	ASSERT_EVENT("alloc", "map=%u pgoff=8 cnt=1 ctx=hardirq", id);
	ASSERT(!arena_alloc_once(a, UNDER_RCU, arena_page(a, 8), 1), "a taken address");
	ASSERT_EVENT("alloc_failed", "map=%u addr=%#lx cnt=1 ctx=atomic err=-16", id,
		     (unsigned long)arena_page(a, 8));
	ASSERT_EQ(arena_reserve(a, SLEEPABLE, arena_page(a, 20), 2), 0, "reserve");
	ASSERT_EVENT("reserve", "map=%u pgoff=20 cnt=2 ctx=task", id);
	ASSERT_EQ(arena_reserve(a, SLEEPABLE, arena_page(a, 20), 2), -EBUSY, "reserve");
	ASSERT_EVENT("reserve_failed", "cnt=2 ctx=task err=-16");
	ASSERT_EQ(user_write_sig(a->base, 1), 0, "write");
	ASSERT_EVENT("fault", "map=%u pgoff=0 outcome=mapped", id);
	ASSERT_EQ(user_write_sig(arena_page(a, 30), 1), 0, "write");
	ASSERT_EVENT("fault", "map=%u pgoff=30 outcome=populated", id);
	arena_free(a, SLEEPABLE, a->base, 2);
	ASSERT_EVENT("free", "map=%u pgoff=0 cnt=2 found=2 ctx=task", id);
	ASSERT_EVENT("drain", "map=%u spans=1 slots=2 pages=2 done=1", id);
	arena_free(a, HARDIRQ, a->base, 64);
	ASSERT_EVENT("free", "map=%u pgoff=0 cnt=64 found=5 ctx=hardirq", id);
	ASSERT_EVENT("queue", "map=%u pgoff=0 cnt=64 queued=5", id);
	ASSERT(arena_settle(a, 0), "settle");
	ASSERT_EVENT("drain", "map=%u spans=4 slots=5 pages=3 done=1", id);
	ASSERT_EVENT("refill", "map=%u from=", id);
}

TEST(trace, events, "each tracepoint fires with the event's values in its fields")
{
	struct arena a;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	keep_busy();
	ASSERT(events_on(), "tracefs: %s", strerror(errno));
	ASSERT(arena_open(&a, 64, 0), "load");
	all_events(&a);
	arena_close(&a);
	events_off();
}

TEST(trace, programs, "a program on a tracepoint can read its arguments and call a kfunc")
{
	struct trace_bpf *t = trace_bpf__open_and_load();
	struct arena a;
	int i;

	ASSERT(t, "load: %s", strerror(errno));
	ASSERT(arena_open(&a, 64, 0), "load");
	ASSERT(!trace_bpf__attach(t), "attach: %s", strerror(errno));
	ASSERT(arena_alloc(&a, SLEEPABLE, arena_page(&a, 5), 3), "alloc");
	ASSERT_EQ(t->bss->allocs, 1, "allocations seen");
	ASSERT_EQ(t->bss->last_pgoff, 5, "first page");
	ASSERT_EQ(t->bss->last_cnt, 3, "number of pages");
	ASSERT_EQ(t->bss->nested, 1, "allocations of the program itself");
	ASSERT(!arena_alloc_once(&a, SLEEPABLE, arena_page(&a, 5), 3), "a taken address");
	ASSERT_EQ(t->bss->failures, 1, "failures seen");
	ASSERT_EQ((int)t->bss->last_err, -EBUSY, "their error");
	for (i = 0; i < 20; i++) {
		ASSERT(arena_alloc(&a, i % 4, NULL, 1), "alloc");
		ASSERT_OK();
	}
	ASSERT_EQ(t->bss->nested, 21, "allocations of the program itself");
	trace_bpf__detach(t);
	arena_close(&a);
	trace_bpf__destroy(t);
}
