/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory that plugin.c, in QEMU, shares with the tests lines.*, in the guest, which see it as
 * the memory of a PCI device. The guest writes @on and @entry, and reads the rest. It clears the
 * counts of a CPU while that CPU is in none of the functions.
 */
#ifndef LINES_SHM_H
#define LINES_SHM_H

#include <linux/types.h>

#define LINES_CPUS	4
#define LINES_ENTRIES	4
#define LINES_SLOTS	16384	/* a power of two */
#define LINES_PCS	4

#define LINES_SHIFT	6
#define LINES_READY	0x6c696e6573303031ULL

/**
 * struct lines_line - what a CPU did to a cache line
 * @line: physical address >> LINES_SHIFT, plus 1; 0 if the entry is empty
 * @vaddr: kernel address of its first access
 * @writes: stores
 * @transfers: stores that invalidated another CPU's copy, and loads of a line that only other
 *	CPUs had a copy of
 * @pc: some of the instructions that did either
 */
struct lines_line {
	__u64 line;
	__u64 vaddr;
	__u32 writes;
	__u32 transfers;
	__u64 pc[LINES_PCS];
};

/**
 * struct lines_cpu - what a CPU did in the functions that are recorded, and what they called
 * @calls: their calls
 * @stores: all stores
 * @lost: accesses for which @line had no room
 * @line: a hash table, see lines_slot()
 */
struct lines_cpu {
	__u64 calls;
	__u64 stores;
	__u64 lost;
	struct lines_line line[LINES_SLOTS];
};

/**
 * struct lines_shm - all of it
 * @ready: LINES_READY, written by the plugin
 * @on: record
 * @entry: addresses of the functions to record, or 0
 * @cpu: what each CPU did
 */
struct lines_shm {
	__u64 ready;
	__u64 on;
	__u64 entry[LINES_ENTRIES];
	struct lines_cpu cpu[LINES_CPUS];
};

/* Where to look for the @i-th time for a line in a hash table. */
static inline __u32 lines_slot(__u64 line, __u32 i)
{
	return (((line * 0x9e3779b97f4a7c15ULL) >> 40) + i) % LINES_SLOTS;
}

#endif
