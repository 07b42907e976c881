// SPDX-License-Identifier: GPL-2.0
/*
 * A process that only has an arena's descriptor can map the arena and then stand still:
 * throttled, short of memory, or blocked by a filesystem with its mmap_lock held. Frees and
 * allocations of pages that it does not map must not wait for it. Neither must queued frees,
 * nor calls on other arenas.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/fuse.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oracle.h"
#include "runner.h"
#include "arena.h"
#include "cgroup.h"
#include "numbers.h"
#include "bounded.skel.h"

/* The pages of 2 MiB, which are in one page table. An arena has 2048 times as many. */
#define TABLE_PAGES ((long)((2 << 20) / PAGE))
#define TABLES 1024L
#define PAGES (TABLES * TABLE_PAGES)

/*
 * How long the tests measure, and how long calls may take. The module sleeps some 10 ms
 * at most; the rest is for an emulator on a busy machine. A process throttled by
 * memory.high sleeps for 2 s.
 */
#define MEASURE_MS 2000L
#define CONTROL_MS 700L
#define UNDISTURBED_MS 300L
#define BOUND_US (100000L * patience)
#define WORST_US (1500000L * patience)

struct room {
	struct arena arena;		/* the arena that the hostile process maps */
	struct arena other;	/* another one that it maps */
	struct arena apart;	/* and one that it does not */
	volatile long *laps;	/* of the hostile process */
	pid_t pids[4];
	int nr_pids;
};

typedef void hostile_fn(struct room *r);

/* A process that runs @fn until stop_all(). */
static bool start(struct room *r, hostile_fn *fn)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fn(r);
		_exit(0);
	}
	r->pids[r->nr_pids++] = pid;

	return pid > 0;
}

static void stop_all(struct room *r)
{
	while (r->nr_pids) {
		kill(r->pids[--r->nr_pids], SIGKILL);
		kill(r->pids[r->nr_pids], SIGCONT);
		waitpid(r->pids[r->nr_pids], NULL, 0);
	}
}

/*
 * Measuring
 */

struct took {
	long n, p50, p99, worst;
};

static void took_print(const char *what, struct took t)
{
	printf("# %s: %ld times, median %ld us, p99 %ld us, worst %ld us\n", what, t.n, t.p50,
	       t.p99, t.worst);
}

static struct took took_of(long *us, long n)
{
	if (!n)
		return (struct took){};
	sort_longs(us, n);

	return (struct took){ n, us[n / 2], us[n * 99 / 100], us[n - 1] };
}

/* Sleepable allocations and frees of a page that no process has touched. */
static struct took measure(struct arena *a, long ms)
{
	static long us[100000];
	long n = 0, end = now_ms() + ms, begin;
	char *page = arena_page(a, 7);

	while (now_ms() < end && n < 100000) {
		begin = now_us();
		if (arena_alloc_once(a, SLEEPABLE, page, 1))
			arena_free(a, SLEEPABLE, page, 1);
		us[n++] = now_us() - begin;
	}

	return took_of(us, n);
}

/* Does a queued range get free? Each try drains the queue. */
static bool range_freed(struct arena *a, char *page)
{
	if (!wait_for(!arena_reserve(a, SLEEPABLE, page, 1), 5000))
		return false;
	arena_free(a, SLEEPABLE, page, 1);

	return true;
}

/* A page that this process has touched, freed by a caller that cannot sleep. */
static bool queued_free(struct arena *a, long pgoff)
{
	char *page = arena_page(a, pgoff);
	long begin = now_ms();
	bool freed;
	int sig;

	if (arena_alloc_wait(a, SLEEPABLE, page, 1) != page) {
		printf("# page %ld cannot be allocated\n", pgoff);
		return false;
	}
	sig = user_write_sig(page, 1);
	if (sig) {
		printf("# page %ld: signal %d\n", pgoff, sig);
		return false;
	}
	arena_free(a, UNDER_RCU, page, 1);
	freed = range_freed(a, page);
	printf("# a queued free of page %ld: %s after %ld ms\n", pgoff,
	       freed ? "done" : "not done", now_ms() - begin);

	return freed;
}

/* Calls that must work while another process stands still. */
static void check_others(struct room *r)
{
	struct took c, t;

	/* The control: the hostile process also uses CPU time. */
	c = measure(&r->apart, CONTROL_MS);
	took_print("the same in an arena that it does not map", c);
	t = measure(&r->arena, MEASURE_MS);
	took_print("alloc and free against a hostile process", t);
	ASSERT(c.n && t.n, "no call has ended");
	ASSERT(t.p99 < BOUND_US + 4 * c.p99, "of 100 calls one takes %ld us", t.p99);
	ASSERT(t.worst < WORST_US + 4 * c.worst, "a call took %ld us", t.worst);
	ASSERT(queued_free(&r->apart, 3), "a queued free in an arena of our own");
	ASSERT(queued_free(&r->other, 3), "a queued free in another arena that is mapped");
	ASSERT(queued_free(&r->arena, 100), "a queued free of a page that only we have mapped");
	ASSERT(queued_free(&r->arena, 101), "another one");
}

static void room_open(struct room *r)
{
	long i;

	memset(r, 0, sizeof(*r));
	r->laps = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT(r->laps != MAP_FAILED, "mmap");
	ASSERT(arena_open(&r->arena, PAGES, 0) && arena_open(&r->other, 64, 0) &&
	       arena_open(&r->apart, 64, 0), "load");
	for (i = 0; i < TABLES; i++)
		ASSERT(arena_alloc_once(&r->arena, SLEEPABLE,
					arena_page(&r->arena, i * TABLE_PAGES), 1),
		       "page %ld", i * TABLE_PAGES);
	ASSERT(arena_alloc_once(&r->other, SLEEPABLE, r->other.base, 1), "page");
}

static void room_close(struct room *r)
{
	stop_all(r);
	arena_free(&r->arena, UNDER_RCU, r->arena.base, PAGES);
	arena_free(&r->other, UNDER_RCU, r->other.base, 64);
	ASSERT(arena_settle(&r->arena, 0) && arena_settle(&r->other, 0) &&
	       arena_settle(&r->apart, 0),
	       "%ld, %ld and %ld pages left", arena_pages(&r->arena), arena_pages(&r->other),
	       arena_pages(&r->apart));
	ASSERT(arena_freed(&r->arena, UNDER_RCU, r->arena.base, PAGES),
	       "not all of the arena is free");
	ASSERT(oracle_rest(r->arena.fd) && oracle_rest(r->other.fd), "books");
	arena_close(&r->apart);
	arena_close(&r->other);
	arena_close(&r->arena);
}

static bool map_all(struct room *r)
{
	return map_at(r->arena.fd, r->arena.base, r->arena.pages) &&
	       map_at(r->other.fd, r->other.base, r->other.pages);
}

/* Touch a page in each of @tables page tables, by one system call. */
static void touch_tables(struct room *r, long tables)
{
	static char buf[TABLES];
	static struct iovec local[TABLES], remote[TABLES];
	long i;

	for (i = 0; i < tables; i++) {
		local[i] = (struct iovec){ buf + i, 1 };
		remote[i] = (struct iovec){ arena_page(&r->arena, i * TABLE_PAGES), 1 };
	}
	if (process_vm_readv(getpid(), local, tables, remote, tables, 0) < 0)
		for (i = 0; i < tables; i++)
			user_read_sig(arena_page(&r->arena, i * TABLE_PAGES), NULL);
	user_read_sig(r->other.base, NULL);
}

static void against(hostile_fn *first, hostile_fn *second)
{
	struct room r;

	room_open(&r);
	ASSERT_OK();
	took_print("alloc and free, undisturbed", measure(&r.arena, UNDISTURBED_MS));
	oom_expected(true);
	ASSERT(start(&r, first) && (!second || start(&r, second)), "fork");
	ASSERT(wait_for(*r.laps, 20000), "the hostile process has not begun");
	check_others(&r);
	oom_expected(false);
	stop_all(&r);
	ASSERT_OK();
	room_close(&r);
}

/*
 * Hostile processes
 */

/* The page tables of each lap are charged, beyond memory.high. */
static void be_throttled(struct room *r)
{
	if (!cg_make("throttled") || !cg_enter("throttled") ||
	    !cg_set("throttled", "memory.high", PAGE))
		_exit(1);
	for (;;) {
		if (!map_all(r))
			_exit(2);
		*r->laps += 1;
		touch_tables(r, TABLES);
		munmap(r->arena.base, r->arena.pages * PAGE);
	}
}

TEST_LONG(bounded, throttled, 120,
	  "a process throttled by memory.high delays no call on a page that it does not map")
{
	against(be_throttled, NULL);
}

/* Reclaimable memory, and page tables for which the kernel must reclaim it. */
static void be_limited(struct room *r)
{
	const long bytes = 6 << 20;
	char *lazy;
	long i;

	if (!cg_make("limited") || !cg_enter("limited"))
		_exit(1);
	/* Not on kernels without swap. */
	cg_set("limited", "memory.swap.max", 0);
	/* The arenas first: what is mapped elsewhere must not lie at their addresses. */
	if (!map_all(r))
		_exit(2);
	lazy = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (;;) {
		for (i = 0; i < bytes; i += PAGE)
			lazy[i] = 1;
		madvise(lazy, bytes, MADV_FREE);
		cg_limit("limited", 128 * 1024);
		if (!map_all(r))
			_exit(2);
		*r->laps += 1;
		touch_tables(r, TABLES / 2);
		munmap(r->arena.base, r->arena.pages * PAGE);
		cg_set("limited", "memory.max", CG_MAX);
	}
}

TEST_LONG(bounded, limited, 120,
	  "a process that reclaims memory in its faults delays no call on a page that it does not map")
{
	against(be_limited, NULL);
}

static void be_stopped(struct room *r)
{
	for (;;) {
		if (!map_all(r))
			_exit(2);
		touch_tables(r, 64);
		munmap(r->arena.base, r->arena.pages * PAGE);
	}
}

static void stop_it(struct room *r)
{
	for (;;) {
		kill(r->pids[0], SIGCONT);
		usleep(3000);
		kill(r->pids[0], SIGSTOP);
		*r->laps += 1;
		usleep(300000);
	}
}

TEST_LONG(bounded, stopped, 120,
	  "a process stopped between its faults delays no call on a page that it does not map")
{
	against(be_stopped, stop_it);
}

/* Writers of mmap_lock, one after the other. */
static void *change_memory(void *arg)
{
	char *p, *q;

	for (;;) {
		p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		q = mremap(p, 16 * PAGE, 32 * PAGE, MREMAP_MAYMOVE);
		munmap(q == MAP_FAILED ? p : q, 32 * PAGE);
	}

	return arg;
}

static void be_restless(struct room *r)
{
	pthread_t t;
	int i;

	/* The arenas first: what is mapped elsewhere must not lie at their addresses. */
	if (!map_all(r))
		_exit(2);
	for (i = 0; i < 3; i++)
		pthread_create(&t, NULL, change_memory, NULL);
	for (;;) {
		if (!map_all(r))
			_exit(2);
		*r->laps += 1;
		touch_tables(r, 16);
		madvise(r->arena.base, r->arena.pages * PAGE, MADV_DONTNEED);
		if (*r->laps % 2)
			munmap(r->arena.base, r->arena.pages * PAGE);
	}
}

TEST_LONG(bounded, restless, 120,
	  "a process that changes its mappings all the time delays no call on a page that it does not map")
{
	against(be_restless, NULL);
}

/*
 * A filesystem that does not answer. An access to another process's memory that cannot
 * give up mmap_lock (/proc/pid/mem) waits for it with the lock held, and a writer queued
 * behind keeps out all others.
 */

#define FUSE_DIR "/tmp/bounded"

static void fuse_reply(int fd, const struct fuse_in_header *in, int err, const void *data,
		       size_t len)
{
	struct fuse_out_header out = {
		.len = sizeof(out) + (err ? 0 : len), .error = err, .unique = in->unique,
	};
	struct iovec iov[2] = { { &out, sizeof(out) }, { (void *)data, err ? 0 : len } };

	if (writev(fd, iov, 2) < 0)
		return;
}

static struct fuse_attr fuse_attr(__u64 nodeid)
{
	return (struct fuse_attr){
		.ino = nodeid, .nlink = 1, .blksize = PAGE,
		.mode = nodeid == 1 ? S_IFDIR | 0755 : S_IFREG | 0444,
		.size = nodeid == 1 ? 0 : 16 * PAGE,
	};
}

/* One directory with one file, whose contents are never read. */
static void fuse_serve(int fd, volatile long *asked)
{
	static char buf[1 << 18];
	const struct fuse_in_header *in = (void *)buf;
	const struct fuse_init_in *init = (void *)(in + 1);
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) >= 0 || errno == EINTR || errno == ENOENT) {
		struct fuse_init_out init_out = { .major = 7, .minor = init->minor,
			.max_write = PAGE, .max_background = 16, .congestion_threshold = 12 };
		struct fuse_entry_out entry = { .nodeid = 2, .attr_valid = 1000,
			.entry_valid = 1000, .attr = fuse_attr(2) };
		struct fuse_attr_out attr = { .attr_valid = 1000, .attr = fuse_attr(in->nodeid) };
		struct fuse_open_out open_out = { .fh = 1 };

		if (n < (ssize_t)sizeof(*in))
			continue;
		switch (in->opcode) {
		case FUSE_INIT:
			fuse_reply(fd, in, 0, &init_out, sizeof(init_out));
			break;
		case FUSE_LOOKUP:
			fuse_reply(fd, in, 0, &entry, sizeof(entry));
			break;
		case FUSE_GETATTR:
			fuse_reply(fd, in, 0, &attr, sizeof(attr));
			break;
		case FUSE_OPEN:
			fuse_reply(fd, in, 0, &open_out, sizeof(open_out));
			break;
		case FUSE_READ:
			*asked += 1;
			break;
		case FUSE_FLUSH:
		case FUSE_RELEASE:
			fuse_reply(fd, in, 0, NULL, 0);
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
		case FUSE_INTERRUPT:
			break;
		default:
			fuse_reply(fd, in, -ENOSYS, NULL, 0);
		}
	}
}

struct stuck {
	volatile long asked;	/* the filesystem was */
	char *volatile file;	/* where the stuck process has it mapped */
	volatile long waiting;	/* a writer of mmap_lock is on its way */
	volatile pid_t pid;
};

static struct stuck *stuck;
static int fuse_fd;

static void be_filesystem(struct room *r)
{
	fuse_serve(fuse_fd, &stuck->asked);
}

static void be_stuck(struct room *r)
{
	int fd;

	close(fuse_fd);
	if (!map_all(r))
		_exit(2);
	touch_tables(r, 16);
	fd = open(FUSE_DIR "/file", O_RDONLY);
	stuck->file = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	stuck->pid = getpid();
	while (!stuck->asked)
		usleep(1000);
	stuck->waiting = 1;
	for (;;)
		munmap(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), PAGE);
}

/* The one that holds the other's mmap_lock. */
static void read_stuck(struct room *r)
{
	char path[64], c;
	int fd;

	close(fuse_fd);
	while (!stuck->pid)
		usleep(1000);
	snprintf(path, sizeof(path), "/proc/%d/mem", stuck->pid);
	fd = open(path, O_RDONLY);
	if (pread(fd, &c, 1, (long)stuck->file) < 0)
		printf("# the filesystem's page ends in %s\n", strerror(errno));
}

/* A process has its mmap_lock taken, and keeps it so until the filesystem ends. */
static bool get_stuck(struct room *r, hostile_fn *fn)
{
	char opts[128];

	stuck = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stuck == MAP_FAILED || (mkdir(FUSE_DIR, 0755) && errno != EEXIST))
		return false;
	fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fuse_fd < 0)
		return false;
	snprintf(opts, sizeof(opts), "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse_fd);
	if (mount("bounded", FUSE_DIR, "fuse", 0, opts) || !start(r, be_filesystem))
		return false;
	close(fuse_fd);
	if (!start(r, fn) || !start(r, read_stuck) || !wait_for(stuck->waiting, 20000))
		return false;
	usleep(100000);

	return true;
}

static void end_stuck(struct room *r)
{
	kill(r->pids[0], SIGKILL);
	waitpid(r->pids[0], NULL, 0);
}

static void stuck_close(void)
{
	umount2(FUSE_DIR, MNT_DETACH);
}

TEST_LONG(bounded, stuck, 120,
	  "a process whose mmap_lock stays locked delays no call on a page that it does not map")
{
	struct room r;
	long pages;
	char *page;

	if (access("/dev/fuse", F_OK))
		SKIP("this kernel has no FUSE");
	room_open(&r);
	ASSERT_OK();
	took_print("alloc and free, undisturbed", measure(&r.arena, UNDISTURBED_MS));
	ASSERT(get_stuck(&r, be_stuck), "nothing gets stuck: %s", strerror(errno));
	check_others(&r);

	/* What the stuck process has mapped waits for it, but not longer. */
	page = arena_page(&r.arena, 3 * TABLE_PAGES);
	pages = arena_pages(&r.arena);
	arena_free(&r.arena, UNDER_RCU, page, 1);
	usleep(200000);
	ASSERT(!arena_alloc_once(&r.arena, UNDER_RCU, page, 1),
	       "a page that is still mapped was reused");
	ASSERT(queued_free(&r.arena, 102), "a free that is queued behind it");
	end_stuck(&r);
	ASSERT_OK();
	/* By itself: range_freed() drains the queue. */
	ASSERT(arena_settle(&r.arena, pages - 1), "%ld pages, %ld before", arena_pages(&r.arena),
	       pages);
	ASSERT(range_freed(&r.arena, page), "a free does not end with its obstacle");
	stop_all(&r);
	stuck_close();
	room_close(&r);
}

/* Threads of a process that reads such a page by a system call, and maps meanwhile. */
struct reader {
	char *page;
	bool by_file;
	atomic_int go, mapped, ended;
	ssize_t got;
};

static void *reader_main(void *arg)
{
	struct reader *r = arg;
	int fd = open("/proc/self/mem", O_RDONLY);
	__u64 val;
	struct iovec local = { &val, sizeof(val) }, remote = { r->page, sizeof(val) };

	while (!atomic_load(&r->go))
		usleep(1000);
	if (r->by_file)
		r->got = pread(fd, &val, sizeof(val), (long)r->page);
	else
		r->got = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
	atomic_store(&r->ended, 1);
	close(fd);

	return NULL;
}

static void *reader_maps(void *arg)
{
	struct reader *r = arg;
	int i;

	while (!atomic_load(&r->go))
		usleep(1000);
	usleep(100000);
	for (i = 0; i < 100; i++)
		munmap(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), PAGE);
	atomic_store(&r->mapped, 1);

	return NULL;
}

/* @keeps: the system call cannot drop mmap_lock. It fails then. */
static void read_queued(bool keeps)
{
	struct reader reader = { .by_file = keeps };
	bool mapped, ended;
	pthread_t t[2];
	struct room r;

	if (access("/dev/fuse", F_OK))
		SKIP("this kernel has no FUSE");
	room_open(&r);
	ASSERT_OK();
	ASSERT(get_stuck(&r, be_stuck), "nothing gets stuck: %s", strerror(errno));
	reader.page = arena_page(&r.arena, 3 * TABLE_PAGES);
	ASSERT(thread_on(&t[0], nr_cpus > 1, reader_main, &reader), "thread");
	ASSERT(thread_on(&t[1], 0, reader_maps, &reader), "thread");
	/* The stuck process maps the page. This one does not, so it faults. */
	arena_free(&r.arena, UNDER_RCU, reader.page, 1);
	madvise(reader.page, PAGE, MADV_DONTNEED);
	atomic_store(&reader.go, 1);
	mapped = wait_for(atomic_load(&reader.mapped), 10000);
	ended = atomic_load(&reader.ended);
	end_stuck(&r);
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	ASSERT(mapped, "mmap() waits for the system call");
	if (keeps)
		ASSERT(ended && reader.got < 0, "the read has not failed");
	else
		ASSERT(!ended && reader.got == 8, "a page in the queue was read");
	stop_all(&r);
	stuck_close();
	room_close(&r);
}

TEST_LONG(bounded, reader, 120,
	  "a system call that waits for a page in the queue does not keep mmap_lock")
{
	struct iovec none = {};

	if (process_vm_readv(getpid(), &none, 1, &none, 1, 0) < 0 && errno == ENOSYS)
		SKIP("this kernel has no process_vm_readv()");
	read_queued(false);
}

TEST_LONG(bounded, reader_mem, 120,
	  "a read of /proc/self/mem that cannot drop mmap_lock does not wait for a page in the queue")
{
	if (access("/proc/self/mem", R_OK))
		SKIP("this kernel has no /proc/self/mem");
	read_queued(true);
}

/*
 * Many arenas, all of which the stuck process maps: more than a workqueue runs works at
 * a time (256 on 6.12). 7.x runs 1024, and spends 8 MiB of page tables on each arena.
 */

#define MANY_MAX 300
#define MANY_7X 40

static struct many {
	int map, prog;
	char *base;
} many[MANY_MAX];

static int nr_many;

static bool many_open(struct bounded_bpf *skel, int nr)
{
	LIBBPF_OPTS(bpf_map_create_opts, mopts, .map_flags = BPF_F_MMAPABLE);

	for (nr_many = 0; nr_many < nr; nr_many++) {
		struct many *m = &many[nr_many];

		m->map = bpf_map_create(BPF_MAP_TYPE_ARENA, "many", 0, 0, 16, &mopts);
		if (m->map < 0)
			return false;
		m->base = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, m->map, 0);
		if (m->base == MAP_FAILED)
			return false;
		m->prog = prog_for_arena(skel->progs.free_page, m->map);
		if (m->prog < 0)
			return false;
	}

	return true;
}

static void many_free(struct many *m)
{
	struct { __u64 addr; } ctx = { (__u64)m->base };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));

	bpf_prog_test_run_opts(m->prog, &opts);
}

static void be_stuck_many(struct room *r)
{
	int i;

	for (i = 0; i < nr_many; i++)
		if (!map_at(many[i].map, many[i].base, 16) || user_write_sig(many[i].base, 1))
			_exit(3);
	be_stuck(r);
}

static void stuck_in_many(void)
{
	int i, nr = kver >= 70000 ? MANY_7X : MANY_MAX;
	struct rlimit files = { 4096, 4096 };
	struct bounded_bpf *skel;
	struct room r;
	long begin;

	setrlimit(RLIMIT_NOFILE, &files);
	oracle_pause(true);
	room_open(&r);
	ASSERT_OK();
	skel = bounded_bpf__open_and_load();
	ASSERT(skel, "load");
	begin = now_ms();
	ASSERT(many_open(skel, nr), "arena %d: %s", nr_many, strerror(errno));
	printf("# %d arenas in %ld ms\n", nr, now_ms() - begin);
	ASSERT(get_stuck(&r, be_stuck_many), "nothing gets stuck: %s", strerror(errno));
	for (i = 0; i < nr; i++)
		many_free(&many[i]);
	usleep(100000);
	ASSERT(queued_free(&r.apart, 3), "a queued free in an arena of our own");
	ASSERT(queued_free(&r.arena, 100), "a queued free of a page that only we have mapped");
	end_stuck(&r);
	for (i = 0; i < nr; i++)
		ASSERT(wait_for(!map_pages(many[i].map), 10000), "arena %d keeps %ld pages", i,
		       map_pages(many[i].map));
	stop_all(&r);
	stuck_close();
	room_close(&r);
	bounded_bpf__destroy(skel);
	for (i = 0; i < nr; i++) {
		munmap(many[i].base, 16 * PAGE);
		close(many[i].prog);
		close(many[i].map);
	}
}

TEST_LONG(bounded, many_arenas, 180,
	  "a stuck process that maps many arenas does not delay frees in an arena that it does not map")
{
	if (access("/dev/fuse", F_OK))
		SKIP("this kernel has no FUSE");
	ASSERT(wait_for(!mod_unload(), 10000), "not removed");
	ASSERT_EQ(mod_load("pool_max=4"), 0, "load");
	stuck_in_many();
	if (wait_for(!mod_unload(), 10000))
		mod_load("");
}

/*
 * A storm of frees in one arena
 */

static void be_storm(struct room *r)
{
	struct arena a;

	oracle_pause(true);
	if (!arena_attach(&a, r->other.fd, r->other.base, r->other.pages))
		_exit(4);
	for (;;) {
		struct arena_req req = { .op = REQ_CHURN, .cnt = 2000, .node = -1, .val = 1 };

		arena_run(&a, UNDER_RCU, 0, &req);
		*r->laps += 1;
	}
}

#define QUEUED 150

static struct took measure_queued(struct arena *a, int n)
{
	static long us[1000];
	int i;

	for (i = 0; i < n; i++) {
		char *page = arena_page(a, 9);
		long begin;

		if (arena_alloc_wait(a, SLEEPABLE, page, 1) != page)
			break;
		user_write_sig(page, 1);
		begin = now_us();
		arena_free(a, UNDER_RCU, page, 1);
		while (arena_pages(a) && now_us() - begin < 10000000)
			usleep(100);
		us[i] = now_us() - begin;
	}

	return took_of(us, i);
}

TEST_LONG(bounded, storm, 120, "a storm of frees in one arena does not delay a free in another one")
{
	struct took before, during;
	struct room r;
	int i;

	room_open(&r);
	ASSERT_OK();
	before = measure_queued(&r.apart, QUEUED);
	took_print("a queued free, undisturbed", before);
	for (i = 0; i < nr_cpus && i < 4; i++)
		ASSERT(start(&r, be_storm), "fork");
	ASSERT(wait_for(*r.laps, 20000), "no storm");
	during = measure_queued(&r.apart, QUEUED);
	took_print("a queued free, against a storm in another arena", during);
	stop_all(&r);
	ASSERT_EQ(before.n, QUEUED, "queued frees, undisturbed");
	ASSERT_EQ(during.n, QUEUED, "queued frees, in the storm");
	/* Workers of both arenas compete for the guest's CPUs. */
	ASSERT(during.p50 < BOUND_US, "a queued free typically took %ld us", during.p50);
	/* On PREEMPT_RT these workers wait for interrupt threads, too, for seconds in QEMU. */
	ASSERT(is_rt() || during.p99 < 2 * WORST_US, "of 100 queued frees one took %ld us",
	       during.p99);
	room_close(&r);
}
