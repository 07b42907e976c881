/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The data structure of the demo, as the programs build it and as user space
 * reads it through shared memory while it grows.
 *
 * A profile is a radix tree over the lower 31 bits of kernel text addresses, one
 * per context. Each node is a page of 512 words: pointers, or counters in the
 * leaves. A log is a short chain of pages of records, one per context and CPU;
 * its oldest page is freed whenever a new one is begun.
 */
#ifndef DEMO_H
#define DEMO_H

#define DEMO_PAGES 32768
#define DEMO_CPUS 64

enum demo_ctx { DEMO_TASK, DEMO_SOFTIRQ, DEMO_HARDIRQ, DEMO_NMI, DEMO_CTXS };

/* 4 + 9 + 9 + 9 bits of address. */
#define DEMO_KEY_BITS 31
#define DEMO_LEVELS 4
#define DEMO_SLOT(key, level) (((key) >> ((DEMO_LEVELS - 1 - (level)) * 9)) & 511)

struct demo_record {
	__u64 ip;
	__u64 seq;
	__u64 pid;
	__u64 comm[2];
	__u64 unused[3];
};

#define DEMO_LOG_KEEP 2		/* full pages kept behind the current one */
#define DEMO_LOG_RECORDS (4096 / 64)

struct demo_log {
	__u64 page[DEMO_LOG_KEEP + 1];	/* the newest first */
	__u64 seq;
	__u32 busy;
};

struct demo_stats {
	__u64 samples;		/* that were to be recorded */
	__u64 dropped;		/* for want of a page */
	__u64 allocs;
	__u64 failed;
	__u64 frees;
	__u64 dirty;		/* new pages with something in them */
};

#endif
