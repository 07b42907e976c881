/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the module counts about an arena; see stat.c for who reads it.
 */
#ifndef ANL_STAT_H
#define ANL_STAT_H

#include <linux/errno.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/types.h>

struct anl_arena;

/* Where a kfunc was called from. Names of these are in ANL_CTX_NAMES. */
enum anl_ctx {
	ANL_CTX_TASK,		/* may sleep */
	ANL_CTX_ATOMIC,		/* a task that may not */
	ANL_CTX_SOFTIRQ,
	ANL_CTX_HARDIRQ,
	ANL_CTX_NMI,
	ANL_NR_CTX
};

#define ANL_CTX_NAMES \
	{ ANL_CTX_TASK, "task" }, \
	{ ANL_CTX_ATOMIC, "atomic" }, \
	{ ANL_CTX_SOFTIRQ, "softirq" }, \
	{ ANL_CTX_HARDIRQ, "hardirq" }, \
	{ ANL_CTX_NMI, "nmi" }

/* Why a kfunc gave nothing, and the error that stands for it. */
enum anl_fail {
	ANL_FAIL_ARGS,		/* -EINVAL: arguments that make no sense */
	ANL_FAIL_ADDRESS,	/* -ENOSPC, -EBUSY: no such addresses are free */
	ANL_FAIL_MEMORY,	/* -ENOMEM: no pages */
	ANL_FAIL_SCRATCH,	/* -EAGAIN: the kernel's fault handler was there before */
	ANL_FAIL_LOCK,		/* anything else: the lock of the tree */
	ANL_NR_FAIL
};

/* What came of a page fault of user space. */
enum anl_fault {
	ANL_FAULT_MAPPED,	/* the page was there */
	ANL_FAULT_POPULATED,	/* it is there now */
	ANL_FAULT_AGAIN,	/* in the middle of a free or an allocation */
	ANL_FAULT_SEGV,		/* reserved, or not to be had by a fault */
	ANL_FAULT_NO_MEMORY,
	ANL_FAULT_POISONED,	/* the page has a memory error */
	ANL_NR_FAULT
};

#define ANL_FAULT_NAMES \
	{ ANL_FAULT_MAPPED, "mapped" }, \
	{ ANL_FAULT_POPULATED, "populated" }, \
	{ ANL_FAULT_AGAIN, "again" }, \
	{ ANL_FAULT_SEGV, "segv" }, \
	{ ANL_FAULT_NO_MEMORY, "no_memory" }, \
	{ ANL_FAULT_POISONED, "poisoned" }

/**
 * struct anl_stat - what one CPU has counted about an arena
 * @allocs: successful allocations, by context
 * @alloc_pages: pages in them
 * @alloc_fails: allocations that gave nothing, by cause and context
 * @frees: calls to free, by context
 * @free_pages: pages and reservations that these found
 * @reserves: successful reservations, by context
 * @reserve_fails: others, by cause and context
 * @faults: page faults of user space, by their outcome
 * @queued_pages: pages and reservations that went through the queue
 * @drains: TLB flushes that retired something, by whomever
 * @drain_pages: pages and reservations in them
 * @refills: runs of the refill worker
 *
 * Written with this_cpu_add(), which no interrupt can come between.
 */
struct anl_stat {
	u64 allocs[ANL_NR_CTX];
	u64 alloc_pages;
	u64 alloc_fails[ANL_NR_FAIL][ANL_NR_CTX];
	u64 frees[ANL_NR_CTX];
	u64 free_pages;
	u64 reserves[ANL_NR_CTX];
	u64 reserve_fails[ANL_NR_FAIL][ANL_NR_CTX];
	u64 faults[ANL_NR_FAULT];
	u64 queued_pages;
	u64 drains;
	u64 drain_pages;
	u64 refills;
};

/* Where are we, given whether we may sleep? */
static inline enum anl_ctx anl_current_ctx(bool may_sleep)
{
	if (may_sleep)
		return ANL_CTX_TASK;
	if (in_nmi())
		return ANL_CTX_NMI;
	if (in_hardirq())
		return ANL_CTX_HARDIRQ;

	return in_serving_softirq() ? ANL_CTX_SOFTIRQ : ANL_CTX_ATOMIC;
}

static inline enum anl_fail anl_fail_cause(int err)
{
	switch (err) {
	case -EINVAL:
		return ANL_FAIL_ARGS;
	case -ENOSPC:
	case -EBUSY:
		return ANL_FAIL_ADDRESS;
	case -ENOMEM:
		return ANL_FAIL_MEMORY;
	case -EAGAIN:
		return ANL_FAIL_SCRATCH;
	default:
		return ANL_FAIL_LOCK;
	}
}

#define anl_count(arena, what, n)	this_cpu_add((arena)->stat->what, n)

int anl_stat_init(struct anl_arena *arena);
void anl_stat_show(struct anl_arena *arena);
void anl_stat_hide(struct anl_arena *arena);
void anl_stat_exit(struct anl_arena *arena);
void anl_debugfs_init(void);
void anl_debugfs_exit(void);

#endif
