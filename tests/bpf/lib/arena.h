/* SPDX-License-Identifier: GPL-2.0 */
/*
 * User-space side of requests.bpf.c: an arena with its programs, one call per kfunc
 * and context, and what tests of arenas keep asking: how many pages are
 * populated, what does a user access do, how does another process see it.
 *
 * Calls report failure in their result. None of them is an assertion.
 */
#ifndef SEM_USER_H
#define SEM_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <pthread.h>
#include <sys/types.h>
#include <linux/types.h>

#include "requests.h"

#define PAGE 4096UL

struct requests_bpf;

/* Where a request runs. */
enum sem_cx {
	CX_SYS,		/* sleepable */
	CX_RCU,		/* under rcu_read_lock() */
	CX_TC,		/* bottom halves disabled */
	CX_IRQ,		/* hard interrupt on another CPU */
};

struct sem {
	struct requests_bpf *skel;
	char *base;		/* the arena in user space */
	__u32 pages;
	int fd;			/* the arena's map */
};

/* A new arena of @pages pages; @flags are added to BPF_F_MMAPABLE. */
bool sem_open(struct sem *s, __u32 pages, __u32 flags);
/* A stock arena that is mapped, the first half of a sem: sem_attach() is the second. */
bool sem_stock(struct sem *s, const char *name, __u32 pages, __u32 flags);
/* Programs of our own for an arena that exists already and is mapped at @base. */
bool sem_attach(struct sem *s, int map_fd, void *base, __u32 pages);
void sem_close(struct sem *s);

/* Run a request. False if the kernel did not run the program. */
bool sem_run(struct sem *s, enum sem_cx cx, int slot, struct sem_req *r);

/* Address of a page of the arena. */
static inline char *sem_page(const struct sem *s, long pgoff)
{
	return s->base + pgoff * (long)PAGE;
}

/* One try, with all arguments. */
void *sem_alloc_args(struct sem *s, enum sem_cx cx, void *addr, __u32 cnt, int node,
		     __u64 flags);
/* One try. */
void *sem_alloc_once(struct sem *s, enum sem_cx cx, void *addr, __u32 cnt);
/* Tried again for a bounded time: something queued has to finish first. */
void *sem_alloc_wait(struct sem *s, enum sem_cx cx, void *addr, __u32 cnt);
/*
 * An allocation that has to succeed: at once for a caller that can sleep, and
 * for others when the pages kept for them have been filled up.
 */
void *sem_alloc(struct sem *s, enum sem_cx cx, void *addr, __u32 cnt);
void sem_free(struct sem *s, enum sem_cx cx, void *addr, __u32 cnt);
int sem_reserve(struct sem *s, enum sem_cx cx, void *addr, __u32 cnt);

__u64 sem_read(struct sem *s, enum sem_cx cx, void *addr);
void sem_write(struct sem *s, enum sem_cx cx, void *addr, __u64 val);
/* val + i in the first word of page i, and the count of pages where it is not. */
void sem_mark(struct sem *s, enum sem_cx cx, void *addr, __u32 cnt, __u64 val);
__u64 sem_unmarked(struct sem *s, enum sem_cx cx, void *addr, __u32 cnt, __u64 val);
/* val in every word, and the count of words where it is not. */
void sem_fill(struct sem *s, enum sem_cx cx, void *addr, __u32 cnt, __u64 val);
__u64 sem_diff(struct sem *s, enum sem_cx cx, void *addr, __u32 cnt, __u64 val);

/* The same from user space. */
void user_mark(void *addr, __u32 cnt, __u64 val);
__u64 user_unmarked(const void *addr, __u32 cnt, __u64 val);
void user_fill(void *addr, __u32 cnt, __u64 val);
__u64 user_diff(const void *addr, __u32 cnt, __u64 val);

/* Pages that the kernel reports as populated, or -1. */
long map_pages(int map_fd);
static inline long sem_pages(const struct sem *s)
{
	return map_pages(s->fd);
}

/* Free memory in KiB with that on the lists of the CPUs, which is not in MemFree. */
long free_kib(void);

/* Wait until the kernel reports @pages: what was queued is out of reach. */
bool sem_settle(struct sem *s, long pages);
/*
 * Wait until a range that was freed in context @cx can be allocated again,
 * which is after its pages are gone. No wait for a caller that can sleep.
 */
bool sem_freed(struct sem *s, enum sem_cx cx, void *addr, __u32 cnt);

/* The signal that a read or write of a word at @addr raises, or 0. */
int user_read_sig(const void *addr, __u64 *val);
int user_write_sig(void *addr, __u64 val);

/* All processes have to map an arena at the same address. */
bool map_at(int map_fd, void *addr, __u32 pages);

/* The kernel reports what it does about a full cgroup or machine; the host has to know. */
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

bool peer_start(struct peer *p, struct sem *s);
/* Signal that the access raised, or 0; or -1 if the peer is gone. */
int peer_read(struct peer *p, const void *addr, __u64 *val);
int peer_write(struct peer *p, void *addr, __u64 val);
bool peer_unmap(struct peer *p, struct sem *s);
bool peer_map(struct peer *p, struct sem *s);
void peer_stop(struct peer *p);

/* A thread on a CPU of its own. */
bool thread_on(pthread_t *t, int cpu, void *(*fn)(void *), void *arg);

/* Free everything in the arena and wait until all of it is free. */
bool sem_reset(struct sem *s);

/*
 * One test, run once per context on the same arena, which is empty each time.
 */
typedef void sem_body(struct sem *s, enum sem_cx cx);

void sem_each(__u32 pages, __u32 flags, unsigned int contexts, sem_body *body);

#define CX_ALL		(1U << CX_SYS | 1U << CX_RCU | 1U << CX_TC | 1U << CX_IRQ)
#define CX_ATOMIC	(CX_ALL & ~(1U << CX_SYS))

#define TEST_CX(contexts, group, name, pages, flags, desc)			\
	static sem_body group##_##name##_body;					\
	TEST(group, name, desc)							\
	{									\
		sem_each(pages, flags, contexts, group##_##name##_body);	\
	}									\
	static void group##_##name##_body(struct sem *s, enum sem_cx cx)

#define TEST_EACH(group, name, pages, flags, desc)				\
	TEST_CX(CX_ALL, group, name, pages, flags, desc)
/* Only contexts that cannot sleep. */
#define TEST_ATOMIC(group, name, pages, flags, desc)				\
	TEST_CX(CX_ATOMIC, group, name, pages, flags, desc)

#endif
