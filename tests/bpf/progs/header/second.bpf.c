// SPDX-License-Identifier: GPL-2.0
/* Second half: see first.bpf.c. */
#ifdef HEADER_VMLINUX
#include "vmlinux.h"
#endif
#include "arena_nolock.h"
/* A second time, as through another header. */
#include "arena_nolock.h"

#ifndef HEADER_ONE_FILE
extern struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
} arena SEC(".maps");
#endif

int second_half(__u64 addr)
{
	int __arena *p = (int __arena *)addr;
	int val = *p;

	if (arena_nolock_reserve_pages(&arena, p, 1) != -16 /* -EBUSY */)
		return -1;
	arena_nolock_free_pages(&arena, p, 2);
	if (arena_nolock_alloc_pages(&arena, NULL, 17, ARENA_NOLOCK_ANY_NODE, 0))
		return -2;

	return val;
}
