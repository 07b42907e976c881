/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Counters of an arena; stat.c shows them in debugfs.
 */
#ifndef ANL_STAT_H
#define ANL_STAT_H

#include <linux/errno.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/types.h>

struct anl_arena;

/* The context that a kfunc was called in. ANL_CTX_NAMES has the names. */
enum anl_ctx {
	ANL_CTX_TASK,		/* a task that may sleep */
	ANL_CTX_ATOMIC,		/* a task that may not sleep */
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

/* Why a kfunc failed, and the error codes of each cause. */
enum anl_fail {
	ANL_FAIL_ARGS,		/* -EINVAL: invalid arguments */
	ANL_FAIL_ADDRESS,	/* -ENOSPC, -EBUSY: no free slots, or a slot is taken */
	ANL_FAIL_MEMORY,	/* -ENOMEM: no pages */
	ANL_FAIL_SCRATCH,	/* -EAGAIN: a slot holds the kernel's scratch page */
	ANL_FAIL_LOCK,		/* other errors: the tree's lock could not be taken */
	ANL_NR_FAIL
};

/* Outcome of a user fault. */
enum anl_fault {
	ANL_FAULT_MAPPED,	/* mapped a page that existed */
	ANL_FAULT_POPULATED,	/* allocated a page and mapped it */
	ANL_FAULT_AGAIN,	/* met an allocation or a free in progress; retried */
	ANL_FAULT_SEGV,		/* the slot is reserved, or faults must not allocate it */
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
 * struct anl_stat - counters of an arena on one CPU
 * @allocs: successful allocations, by context
 * @alloc_pages: pages of successful allocations
 * @alloc_fails: failed allocations, by cause and context
 * @frees: calls to free, by context
 * @free_pages: pages and reservations that calls to free found
 * @reserves: successful reservations, by context
 * @reserve_fails: failed reservations, by cause and context
 * @faults: user faults, by outcome
 * @queued_pages: pages and reservations that were queued
 * @reused_pages: pages of these that were allocated again in the same slot
 * @drains: batches retired with one TLB flush, by the drain worker or a sleepable caller
 * @drain_pages: pages and reservations in these batches
 * @refills: runs of the refill worker
 * @standby_pages: pages that callers got from the standby
 *
 * Updated with this_cpu_add(), which is atomic with respect to interrupts and NMIs.
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
	u64 reused_pages;
	u64 drains;
	u64 drain_pages;
	u64 refills;
	u64 standby_pages;
};

/* The current context; @may_sleep: the caller may sleep. */
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
