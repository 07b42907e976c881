/* SPDX-License-Identifier: GPL-2.0 */
/*
 * User-space side of requests.bpf.c: an arena with its programs, a call for each kfunc
 * in each context, and what many tests need: the number of populated pages, the
 * result of a user access, the view of another process.
 *
 * Calls report failure in their result. None of them is an assertion.
 */
#ifndef ARENA_H
#define ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <pthread.h>
#include <unistd.h>
#include <sys/types.h>
#include <linux/types.h>

#include "requests.h"

#ifdef __x86_64__
#define PAGE 4096UL
#else
#define PAGE ((unsigned long)sysconf(_SC_PAGESIZE))
#endif

/* Pages of the largest arena. */
#define ARENA_MOST ((__u32)((4ULL << 30) / PAGE))

/* Pages of a pool: by default, and at most. And those of the standby, which arenas share. */
#define POOL_DEFAULT 0U
#define STANDBY_DEFAULT ((unsigned int)(256 * 4096 / PAGE))
#define POOL_MOST ((unsigned int)(4096 * 4096 / PAGE))

struct requests_bpf;

/* Where a request runs. */
enum context {
	SLEEPABLE,
	UNDER_RCU,	/* under rcu_read_lock() */
	BH_OFF,		/* bottom halves disabled */
	HARDIRQ,	/* hard interrupt on another CPU */
};

/* Whether there are no pages but those of the pool for an allocation from there. */
bool pool_only(enum context ctx);

struct arena {
	struct requests_bpf *skel;
	char *base;		/* the arena in user space */
	__u32 pages;
	int fd;			/* the arena's map */
};

/* A new arena of @pages pages; @flags are added to BPF_F_MMAPABLE. */
bool arena_open(struct arena *a, __u32 pages, __u32 flags);
/* A stock arena that is mapped, the first half of an arena: arena_attach() is the second. */
bool arena_stock(struct arena *a, const char *name, __u32 pages, __u32 flags);
/* Programs of our own for an arena that exists already and is mapped at @base. */
bool arena_attach(struct arena *a, int map_fd, void *base, __u32 pages);
void arena_close(struct arena *a);

/* Run a request. False if the kernel did not run the program. */
bool arena_run(struct arena *a, enum context ctx, int slot, struct arena_req *r);

/* Address of a page of the arena. */
static inline char *arena_page(const struct arena *a, long pgoff)
{
	return a->base + pgoff * (long)PAGE;
}

/* One try, with all arguments. */
void *arena_alloc_args(struct arena *a, enum context ctx, void *addr, __u32 cnt, int node,
		       __u64 flags);
/* One try. */
void *arena_alloc_once(struct arena *a, enum context ctx, void *addr, __u32 cnt);
/* Retried for a bounded time, for queued frees to complete. */
void *arena_alloc_wait(struct arena *a, enum context ctx, void *addr, __u32 cnt);
/*
 * An allocation that must succeed: at once if the caller can sleep, otherwise once the
 * pool has been refilled.
 */
void *arena_alloc(struct arena *a, enum context ctx, void *addr, __u32 cnt);
void arena_free(struct arena *a, enum context ctx, void *addr, __u32 cnt);
int arena_reserve(struct arena *a, enum context ctx, void *addr, __u32 cnt);

__u64 arena_read(struct arena *a, enum context ctx, void *addr);
void arena_write(struct arena *a, enum context ctx, void *addr, __u64 val);
/* val + i in the first word of page i, and the count of pages where it is not. */
void arena_mark(struct arena *a, enum context ctx, void *addr, __u32 cnt, __u64 val);
__u64 arena_unmarked(struct arena *a, enum context ctx, void *addr, __u32 cnt, __u64 val);
/* val in every word, and the count of words where it is not. */
void arena_fill(struct arena *a, enum context ctx, void *addr, __u32 cnt, __u64 val);
__u64 arena_diff(struct arena *a, enum context ctx, void *addr, __u32 cnt, __u64 val);

/* The same from user space. */
void user_mark(void *addr, __u32 cnt, __u64 val);
__u64 user_unmarked(const void *addr, __u32 cnt, __u64 val);
void user_fill(void *addr, __u32 cnt, __u64 val);
__u64 user_diff(const void *addr, __u32 cnt, __u64 val);

/* Pages that the kernel reports as populated, or -1. */
long map_pages(int map_fd);
static inline long arena_pages(const struct arena *a)
{
	return map_pages(a->fd);
}

/* The map's id, or 0. */
__u32 map_id(int map_fd);
/* A file for each adopted arena. */
#define STAT_DIR "/sys/kernel/debug/arena_nolock"
/* Adopted arenas of the system, or -1. */
int adopted_arenas(void);
/* A value of the arena's file in debugfs: "key value", or with @name "key name=value"; or -1. */
long long arena_stat(const struct arena *a, const char *key, const char *name);
/* Waits until the pool and the standby have what was promised; whether they have. */
bool pool_ready(const struct arena *a);
/*
 * At the limit of the cgroup: use up what is ready, and what comes back when the kernel frees what
 * loading needed, until neither an interrupt nor a caller that can sleep gets a page for some time.
 */
bool arena_exhaust(struct arena *a);
/* Single pages that a burst of @cnt in interrupts gets, or -1. */
long arena_burst(struct arena *a, __u32 cnt);

/* Free memory in KiB with that on the lists of the CPUs, which is not in MemFree. */
long free_kib(void);

/* Wait until the kernel reports @pages: queued pages are then out of reach. */
bool arena_settle(struct arena *a, long pages);
/*
 * Wait until a range that was freed in context @ctx can be allocated again,
 * which is after its pages are gone. No wait for a caller that can sleep.
 */
bool arena_freed(struct arena *a, enum context ctx, void *addr, __u32 cnt);

/* The signal that a read or write of a word at @addr raises, or 0. */
int user_read_sig(const void *addr, __u64 *val);
int user_write_sig(void *addr, __u64 val);

/* All processes have to map an arena at the same address. */
bool map_at(int map_fd, void *addr, __u32 pages);

/* Tell the host that the kernel may report a full cgroup or machine from now on, or not. */
void oom_expected(bool begin);

/* Does this kernel run LSM programs? */
bool has_bpf_lsm(void);

/*
 * Load a small program for another arena, which adopts it: a "syscall" program of a
 * loaded skeleton that refers to nothing but its arena. Takes milliseconds.
 */
struct bpf_program;
int prog_for_arena(const struct bpf_program *prog, int map_fd);

/*
 * A child process that does what it is told, one command at a time. It maps
 * the arena at the same address. Children die with their parent.
 */
struct peer {
	pid_t pid;
	int to, from;
};

bool peer_start(struct peer *p, struct arena *a);
/* Signal that the access raised, or 0; or -1 if the peer is gone. */
int peer_read(struct peer *p, const void *addr, __u64 *val);
int peer_write(struct peer *p, void *addr, __u64 val);
bool peer_unmap(struct peer *p, struct arena *a);
bool peer_map(struct peer *p, struct arena *a);
void peer_stop(struct peer *p);

struct bpf_program;
/* Run a program of the type perf_event in timers of every CPU, while the CPU is busy. */
bool attach_clocks(const struct bpf_program *prog);

/* A thread on a CPU of its own. */
bool thread_on(pthread_t *t, int cpu, void *(*fn)(void *), void *arg);

/* Free everything in the arena and wait until all of it is free. */
bool arena_reset(struct arena *a);

/*
 * One test, run once per context on the same arena, which is empty each time.
 */
typedef void context_body(struct arena *a, enum context ctx);

void run_in_contexts(__u32 pages, __u32 flags, unsigned int contexts, context_body *body);

#define ALL_CONTEXTS	(1U << SLEEPABLE | 1U << UNDER_RCU | 1U << BH_OFF | 1U << HARDIRQ)
#define ATOMIC_CONTEXTS	(ALL_CONTEXTS & ~(1U << SLEEPABLE))

#define TEST_IN(contexts, group, name, pages, flags, desc)			\
	static context_body group##_##name##_body;				\
	TEST(group, name, desc)							\
	{									\
		run_in_contexts(pages, flags, contexts, group##_##name##_body);	\
	}									\
	static void group##_##name##_body(struct arena *a, enum context ctx)

#define TEST_EACH(group, name, pages, flags, desc)				\
	TEST_IN(ALL_CONTEXTS, group, name, pages, flags, desc)
/* Only contexts that cannot sleep. */
#define TEST_ATOMIC(group, name, pages, flags, desc)				\
	TEST_IN(ATOMIC_CONTEXTS, group, name, pages, flags, desc)

#endif
