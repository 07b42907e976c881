// SPDX-License-Identifier: GPL-2.0
/*
 * Accesses to pages that no program allocated: user space populates them, BPF reads zero
 * and writes nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "runner.h"
#include "arena.h"

TEST_EACH(fault, on_demand, 64, 0,
	  "a user access populates a zero page that BPF sees, too")
{
	__u64 val = 1;

	ASSERT_EQ(user_read_sig(arena_page(a, 3), &val), 0, "signal");
	ASSERT_EQ(val, 0, "first word");
	ASSERT_EQ(user_diff(arena_page(a, 3), 1, 0), 0, "words that are not zero");
	ASSERT_EQ(arena_pages(a), 1, "populated pages");
	ASSERT_EQ(user_write_sig(arena_page(a, 3), 33), 0, "signal");
	ASSERT_EQ(arena_read(a, ctx, arena_page(a, 3)), 33, "word that BPF reads");
	arena_write(a, ctx, arena_page(a, 3), 44);
	ASSERT_EQ(*(volatile __u64 *)arena_page(a, 3), 44, "word that user space reads");
	ASSERT_EQ(arena_pages(a), 1, "populated pages");
}

TEST_EACH(fault, avoided, 64, 0,
	  "allocations avoid pages that user faults populated")
{
	user_mark(arena_page(a, 1), 2, 500);
	ASSERT(arena_alloc(a, ctx, NULL, 1) == a->base, "1 page");
	ASSERT(arena_alloc(a, ctx, NULL, 1) == arena_page(a, 3), "1 more page");
	ASSERT(!arena_alloc_once(a, ctx, arena_page(a, 2), 1), "fixed");
	ASSERT_EQ(arena_unmarked(a, ctx, arena_page(a, 1), 2, 500), 0, "pages that lost contents");
	arena_free(a, ctx, arena_page(a, 1), 2);
	ASSERT(arena_freed(a, ctx, arena_page(a, 1), 2), "free not finished");
	ASSERT(arena_alloc(a, ctx, NULL, 2) == arena_page(a, 1), "2 pages");
	ASSERT_EQ(user_diff(arena_page(a, 1), 2, 0), 0, "words that are not zero");
}

TEST(fault, segv_on_fault, "with BPF_F_SEGV_ON_FAULT user space can access only allocated pages")
{
	struct arena a;

	ASSERT(arena_open(&a, 64, BPF_F_SEGV_ON_FAULT), "load");
	ASSERT_EQ(user_read_sig(a.base, NULL), SIGSEGV, "read of a free page");
	ASSERT_EQ(user_write_sig(arena_page(&a, 63), 1), SIGSEGV, "write to a free page");
	ASSERT_EQ(arena_pages(&a), 0, "populated pages");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 1) == a.base, "alloc");
	ASSERT(arena_alloc(&a, UNDER_RCU, NULL, 1) == arena_page(&a, 1), "alloc");
	ASSERT_EQ(user_write_sig(a.base, 1), 0, "write to an allocated page");
	ASSERT_EQ(user_read_sig(arena_page(&a, 1), NULL), 0, "read of an allocated page");
	ASSERT_EQ(user_read_sig(arena_page(&a, 2), NULL), SIGSEGV, "read of the page behind");
	arena_close(&a);
}

TEST(fault, whole_arena, "user faults can populate every page")
{
	struct arena a;

	ASSERT(arena_open(&a, 300, 0), "load");
	user_mark(a.base, 300, 7);
	ASSERT_EQ(arena_pages(&a), 300, "populated pages");
	ASSERT_EQ(arena_unmarked(&a, SLEEPABLE, a.base, 300, 7), 0, "pages that differ for BPF");
	ASSERT(!arena_alloc_once(&a, SLEEPABLE, NULL, 1), "a page from a full arena");
	arena_free(&a, SLEEPABLE, a.base, 300);
	ASSERT_EQ(arena_pages(&a), 0, "populated pages after the free");
	ASSERT_EQ(user_diff(a.base, 300, 0), 0, "words that are not zero");
	arena_close(&a);
}

TEST(fault, processes, "several processes and BPF see the same pages, whichever of them populated a page")
{
	struct peer a, b;
	struct arena s;
	__u64 val;

	ASSERT(arena_open(&s, 64, 0), "load");
	ASSERT(peer_start(&a, &s) && peer_start(&b, &s), "peers");
	ASSERT_EQ(peer_write(&a, arena_page(&s, 5), 55), 0, "signal in a peer");
	ASSERT_EQ(peer_read(&b, arena_page(&s, 5), &val), 0, "signal in the other peer");
	ASSERT_EQ(val, 55, "word in the other peer");
	ASSERT_EQ(*(volatile __u64 *)arena_page(&s, 5), 55, "word here");
	ASSERT_EQ(arena_read(&s, UNDER_RCU, arena_page(&s, 5)), 55, "word that BPF reads");
	arena_write(&s, SLEEPABLE, arena_page(&s, 5), 66);
	ASSERT_EQ(peer_read(&a, arena_page(&s, 5), &val), 0, "signal in a peer");
	ASSERT_EQ(val, 66, "word in a peer");
	ASSERT_EQ(arena_pages(&s), 1, "populated pages");

	ASSERT(arena_alloc(&s, UNDER_RCU, NULL, 1) == s.base, "alloc");
	arena_write(&s, UNDER_RCU, s.base, 11);
	ASSERT_EQ(peer_read(&b, s.base, &val), 0, "signal in a peer");
	ASSERT_EQ(val, 11, "word in a peer");
	peer_stop(&a);
	ASSERT_EQ(peer_read(&b, arena_page(&s, 5), &val), 0, "signal after the other peer ended");
	ASSERT_EQ(val, 66, "word after the other peer ended");
	peer_stop(&b);
	arena_close(&s);
}

struct fault_racer {
	char *base;
	atomic_int *go;
	__u64 val;
};

static void *fault_racer_main(void *arg)
{
	struct fault_racer *f = arg;
	int i;

	while (!atomic_load(f->go))
		;
	for (i = 0; i < 256; i++)
		__atomic_fetch_add((__u64 *)(f->base + i * PAGE), f->val, __ATOMIC_SEQ_CST);

	return NULL;
}

TEST(fault, same_page_race, "two threads that fault at the same address get the same page")
{
	struct fault_racer f[2];
	atomic_int go;
	pthread_t t[2];
	struct arena a;
	int round, i;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(arena_open(&a, 256, 0), "load");
	for (round = 0; round < 5; round++) {
		atomic_store(&go, 0);
		for (i = 0; i < 2; i++) {
			f[i] = (struct fault_racer){ a.base, &go, i ? 1000 : 1 };
			ASSERT(thread_on(&t[i], i, fault_racer_main, &f[i]), "thread");
		}
		atomic_store(&go, 1);
		pthread_join(t[0], NULL);
		pthread_join(t[1], NULL);
		for (i = 0; i < 256; i++)
			ASSERT_EQ(arena_read(&a, SLEEPABLE, arena_page(&a, i)), 1001,
				  "sum that BPF reads");
		ASSERT_EQ(arena_pages(&a), 256, "populated pages");
		arena_free(&a, SLEEPABLE, a.base, 256);
	}
	arena_close(&a);
}

TEST(fault, syscalls, "system calls can read and write the arena like other memory")
{
	struct arena a, segv;
	char buf[16] = "0123456789abcde";
	int p[2];

	ASSERT(arena_open(&a, 64, 0) && arena_open(&segv, 64, BPF_F_SEGV_ON_FAULT), "load");
	ASSERT(!pipe(p), "pipe");
	ASSERT_EQ(write(p[1], buf, sizeof(buf)), sizeof(buf), "write");
	ASSERT_EQ(read(p[0], arena_page(&a, 5), sizeof(buf)), sizeof(buf), "read into a free page");
	ASSERT(!memcmp(arena_page(&a, 5), buf, sizeof(buf)), "contents");
	ASSERT_EQ(write(p[1], arena_page(&a, 6), 8), 8, "write from a free page");
	ASSERT_EQ(arena_pages(&a), 2, "populated pages");
	ASSERT(read(p[0], segv.base, 8) < 0 && errno == EFAULT,
	       "read into a page that is not there");
	ASSERT_EQ(arena_reserve(&a, SLEEPABLE, a.base, 1), 0, "reserve");
	ASSERT(write(p[1], a.base, 8) < 0 && errno == EFAULT, "write from a reserved page");
	arena_close(&segv);
	arena_close(&a);
}

TEST(fault, debugger, "another process can read and write the arena with a debugger's system calls")
{
	struct iovec local, remote;
	struct peer p;
	struct arena a;
	__u64 val;

	ASSERT(arena_open(&a, 64, 0), "load");
	ASSERT(peer_start(&p, &a), "peer");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 1) == a.base, "alloc");
	arena_write(&a, SLEEPABLE, a.base, 17);
	local = (struct iovec){ &val, sizeof(val) };
	remote = (struct iovec){ a.base, sizeof(val) };
	if (process_vm_readv(p.pid, &local, 1, &remote, 1, 0) < 0 && errno == ENOSYS)
		SKIP("this kernel has no process_vm_readv()");
	ASSERT_EQ(process_vm_readv(p.pid, &local, 1, &remote, 1, 0), sizeof(val), "read");
	ASSERT_EQ(val, 17, "word");
	remote.iov_base = arena_page(&a, 9);
	val = 18;
	ASSERT_EQ(process_vm_writev(p.pid, &local, 1, &remote, 1, 0), sizeof(val), "write");
	ASSERT_EQ(arena_read(&a, SLEEPABLE, arena_page(&a, 9)), 18, "word that BPF reads");
	peer_stop(&p);
	arena_close(&a);
}

TEST(fault, dropped, "MADV_DONTNEED unmaps pages and does not free them; mremap() and partial mprotect() fail")
{
	struct arena a;

	ASSERT(arena_open(&a, 64, 0), "load");
	user_mark(a.base, 64, 1);
	ASSERT(!madvise(a.base, 64 * PAGE, MADV_DONTNEED), "madvise");
	ASSERT_EQ(arena_pages(&a), 64, "populated pages");
	ASSERT_EQ(user_unmarked(a.base, 64, 1), 0, "pages that differ");
	ASSERT(mremap(a.base, 64 * PAGE, 128 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED, "grown");
	ASSERT(mprotect(a.base, PAGE, PROT_READ), "split");
	ASSERT_EQ(arena_unmarked(&a, SLEEPABLE, a.base, 64, 1), 0, "pages that differ for BPF");
	arena_free(&a, SLEEPABLE, a.base, 64);
	ASSERT_EQ(user_diff(a.base, 64, 0), 0, "words that are not zero after the free");
	arena_close(&a);
}

TEST_EACH(fault, bpf_unmapped, 64, 0,
	  "BPF reads zero from a page that does not exist, and its writes there are lost")
{
	ASSERT_EQ(arena_read(a, ctx, arena_page(a, 9)), 0, "word that BPF reads");
	arena_write(a, ctx, arena_page(a, 9), 0xdead);
	ASSERT_EQ(arena_read(a, ctx, arena_page(a, 9)), 0, "word that BPF reads after writing");
	ASSERT_EQ(arena_pages(a), 0, "populated pages");
	ASSERT(arena_alloc(a, ctx, NULL, 10) == a->base, "alloc");
	ASSERT_EQ(user_diff(a->base, 10, 0), 0, "words that are not zero");
	arena_write(a, ctx, arena_page(a, 9), 0xbeef);
	ASSERT_EQ(arena_read(a, ctx, arena_page(a, 9)), 0xbeef, "word that BPF reads after alloc");
	arena_free(a, ctx, a->base, 10);
	ASSERT(arena_freed(a, ctx, a->base, 10), "free not finished");
	ASSERT_EQ(arena_read(a, ctx, arena_page(a, 9)), 0, "word that BPF reads after free");
	arena_write(a, ctx, arena_page(a, 9), 0xdead);
	ASSERT_EQ(user_diff(arena_page(a, 9), 1, 0), 0, "words that are not zero in user space");
}

TEST(fault, short_mapping, "an arena whose mapping is shorter than max_entries has the pages of the mapping")
{
	LIBBPF_OPTS(bpf_map_create_opts, mopts, .map_flags = BPF_F_MMAPABLE);
	struct arena a;
	char *base;
	int fd;

	fd = bpf_map_create(BPF_MAP_TYPE_ARENA, "short", 0, 0, 64, &mopts);
	ASSERT(fd >= 0, "create");
	base = mmap(NULL, 32 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT(base != MAP_FAILED, "mmap");
	ASSERT(arena_attach(&a, fd, base, 32), "load");
	ASSERT(!arena_alloc_once(&a, SLEEPABLE, NULL, 33), "more than is mapped");
	ASSERT(!arena_alloc_once(&a, SLEEPABLE, arena_page(&a, 32), 1), "behind the mapping");
	ASSERT_EQ(arena_reserve(&a, SLEEPABLE, arena_page(&a, 31), 2), -EINVAL,
		  "reserve over the end");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 32) == base, "what is mapped");
	ASSERT_EQ(user_diff(base, 32, 0), 0, "words that are not zero");
	arena_close(&a);
	munmap(base, 32 * PAGE);
	close(fd);
}

TEST(fault, long_mapping, "an arena whose mapping is longer than max_entries holds max_entries pages")
{
	LIBBPF_OPTS(bpf_map_create_opts, mopts, .map_flags = BPF_F_MMAPABLE);
	struct arena a;
	char *base;
	int fd;

	fd = bpf_map_create(BPF_MAP_TYPE_ARENA, "long", 0, 0, 32, &mopts);
	ASSERT(fd >= 0, "create");
	base = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT(base != MAP_FAILED, "mmap");
	ASSERT(arena_attach(&a, fd, base, 64), "load");
	ASSERT(!arena_alloc_once(&a, SLEEPABLE, NULL, 33), "more than max_entries");
	ASSERT(!arena_alloc_once(&a, SLEEPABLE, arena_page(&a, 32), 1), "behind max_entries");
	ASSERT_EQ(arena_reserve(&a, SLEEPABLE, arena_page(&a, 32), 1), -EINVAL, "reserve behind");
	ASSERT_EQ(user_read_sig(arena_page(&a, 31), NULL), 0, "user access to the last page");
	ASSERT_EQ(user_read_sig(arena_page(&a, 32), NULL), SIGSEGV,
		  "user access behind max_entries");
	ASSERT_EQ(user_write_sig(arena_page(&a, 63), 1), SIGSEGV, "user access at the end");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 31) == base, "the rest");
	ASSERT_EQ(arena_pages(&a), 32, "populated pages");
	arena_free(&a, SLEEPABLE, base, 64);
	ASSERT_EQ(arena_pages(&a), 0, "populated pages after freeing the mapping");
	arena_close(&a);
	munmap(base, 64 * PAGE);
	close(fd);
}

TEST(fault, exact_count, "the reported memory is exactly the populated pages, whatever populated them")
{
	struct arena a;

	ASSERT(arena_open(&a, 256, 0), "load");
	ASSERT_EQ(arena_pages(&a), 0, "pages of a new arena");
	arena_alloc(&a, SLEEPABLE, NULL, 10);
	ASSERT_EQ(arena_pages(&a), 10, "pages after a sleepable alloc");
	arena_alloc(&a, UNDER_RCU, NULL, 5);
	ASSERT_EQ(arena_pages(&a), 15, "pages after an alloc under rcu");
	user_mark(arena_page(&a, 100), 4, 1);
	ASSERT_EQ(arena_pages(&a), 19, "pages after user faults");
	user_mark(a.base, 15, 1);
	ASSERT_EQ(arena_pages(&a), 19, "pages after user faults on allocated pages");
	arena_reserve(&a, SLEEPABLE, arena_page(&a, 120), 8);
	ASSERT_EQ(arena_pages(&a), 19, "pages after a reservation");
	ASSERT(!arena_alloc_once(&a, SLEEPABLE, a.base, 20), "fixed, taken");
	ASSERT_EQ(arena_pages(&a), 19, "pages after a failure");
	arena_free(&a, SLEEPABLE, arena_page(&a, 118), 5);
	ASSERT_EQ(arena_pages(&a), 19, "pages after the free of a reservation");
	arena_free(&a, SLEEPABLE, arena_page(&a, 8), 94);
	ASSERT_EQ(arena_pages(&a), 10, "pages after a free");
	arena_free(&a, UNDER_RCU, a.base, 256);
	ASSERT(arena_settle(&a, 0), "free under rcu not finished");
	arena_close(&a);
}

/*
 * A task in get_user_pages() for a page that is being freed, the drain, and a writer of
 * mmap_lock must not wait for each other in a circle.
 */
struct gup {
	char *addr;
	atomic_int stop;
};

static void *gup_read(void *arg)
{
	struct gup *g = arg;
	char buf[32 * PAGE];
	struct iovec local = { buf, sizeof(buf) }, remote = { g->addr, sizeof(buf) };

	while (!atomic_load(&g->stop)) {
		madvise(g->addr, sizeof(buf), MADV_DONTNEED);
		process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
	}

	return NULL;
}

/* ptrace() and /proc/pid/mem cannot drop mmap_lock while they wait. */
static void *gup_mem(void *arg)
{
	struct gup *g = arg;
	int fd = open("/proc/self/mem", O_RDONLY);
	char buf[32 * PAGE];

	while (!atomic_load(&g->stop)) {
		madvise(g->addr, sizeof(buf), MADV_DONTNEED);
		if (pread(fd, buf, sizeof(buf), (long)g->addr) < 0)
			usleep(100);
	}
	close(fd);

	return NULL;
}

static void *gup_map(void *arg)
{
	struct gup *g = arg;

	while (!atomic_load(&g->stop))
		munmap(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), PAGE);

	return NULL;
}

static void against_drain(void *(*reader)(void *))
{
	struct gup g = {};
	pthread_t t[2];
	struct arena a;
	long end;

	ASSERT(arena_open(&a, 64, 0), "load");
	g.addr = arena_page(&a, 32);
	ASSERT(thread_on(&t[0], nr_cpus > 1, reader, &g), "thread");
	ASSERT(thread_on(&t[1], 0, gup_map, &g), "thread");
	for (end = now_ms() + 1500 * patience; now_ms() < end;) {
		/* Some pages are in page tables, so the drain wants mmap_lock. */
		user_mark(a.base, 32, 1);
		arena_free(&a, UNDER_RCU, a.base, 64);
	}
	atomic_store(&g.stop, 1);
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	arena_free(&a, UNDER_RCU, a.base, 64);
	ASSERT(arena_settle(&a, 0), "%ld pages left", arena_pages(&a));
	arena_close(&a);
}

TEST(fault, gup_and_drain, "system calls on pages that are being freed do not deadlock with a thread that maps")
{
	struct iovec none = {};

	if (process_vm_readv(getpid(), &none, 1, &none, 1, 0) < 0 && errno == ENOSYS)
		SKIP("this kernel has no process_vm_readv()");
	against_drain(gup_read);
}

TEST(fault, mem_and_drain, "reads of /proc/self/mem on pages that are being freed do not deadlock with a thread that maps")
{
	if (access("/proc/self/mem", R_OK))
		SKIP("this kernel has no /proc/self/mem");
	against_drain(gup_mem);
}
