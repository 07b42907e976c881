/* SPDX-License-Identifier: GPL-2.0 */
/* What objects.bpf.c and the case objects share. */
#ifndef OBJECTS_H
#define OBJECTS_H

#define OBJECTS_CPUS 4
#define OBJECTS_KEPT 1024

/* An allocator, plus what is done with it. */
enum {
	OBJECTS_HEAP,
	OBJECTS_SLAB,
	OBJECTS_KERNEL,
	OBJECTS_PAIRS = 0,	/* n times: allocate, write, free */
	OBJECTS_TURNOVER = 4,	/* n times: allocate, write, free an older one */
	OBJECTS_WAVES = 8,	/* n objects in all, allocated and freed in waves */
};

struct objects_slot {
	__u64 n, at;
	__u64 ns, failed;	/* results */
	__u64 kept[OBJECTS_KEPT];
} __attribute__((aligned(128)));

#endif
