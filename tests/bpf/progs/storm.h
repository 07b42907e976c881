/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What storm.bpf.c and test_storm.c share. An arena in a storm is wild or owned. In a
 * wild one every program frees any page. In an owned one each allocation is in one entry
 * of a table; the program that takes the entry out owns the pages and finds in them what
 * was written there.
 */
#ifndef STORM_H
#define STORM_H

#define STORM_CPUS 8
#define STORM_ENTRIES 128

/* Where an operation ran. */
enum storm_cx {
	STORM_SYS,	/* can sleep */
	STORM_RAW,	/* under rcu_read_lock(), or in an interrupt sent for it */
	STORM_ENTER,	/* a system call begins */
	STORM_SWITCH,	/* the lock of a run queue held */
	STORM_TIMER,	/* hard interrupt */
	STORM_SOFTIRQ,
	STORM_NMI,
	STORM_RECLAIM,	/* an inode is destroyed, mostly in direct reclaim */
	STORM_CXS,
	STORM_CX_MASK = 7,
};

/* An entry: where the pages are, how many, and a number that no other one has. */
#define STORM_PGOFF_BITS 20
#define STORM_CNT_BITS 7
#define STORM_SERIAL_SHIFT (STORM_PGOFF_BITS + STORM_CNT_BITS)
#define STORM_ENTRY(pgoff, cnt, serial) \
	((pgoff) | (__u64)(cnt) << STORM_PGOFF_BITS | (serial) << STORM_SERIAL_SHIFT)
#define STORM_PGOFF(e) ((__u32)(e) & ((1U << STORM_PGOFF_BITS) - 1))
#define STORM_CNT(e) ((__u32)((e) >> STORM_PGOFF_BITS) & ((1U << STORM_CNT_BITS) - 1))
#define STORM_MOST 64

struct storm_count {
	__u64 ops;
	__u64 got;	/* allocations that worked */
	__u64 none;	/* that did not */
};

struct storm_shared {
	/* from user space */
	__u64 base;
	__u32 pages;
	__u32 owned;
	__u32 scratch;	/* may touch what is not mapped by code of the kernel */
	__u32 every;	/* of how many tracepoints one does something */
	__u64 rng[STORM_CPUS];

	/* from the programs */
	__u64 serial;
	__u64 dirty;	/* new pages with something in them */
	__u64 wrong;	/* pages that did not keep what was written there */
	__u64 bad_entry; /* the first of those */
	__u64 outside;	/* allocations that are not in the arena */
	__u64 in_reclaim; /* inodes destroyed in direct reclaim */
	struct storm_count count[STORM_CX_MASK + 1];
	__u64 entry[STORM_ENTRIES];
};

#endif
