// SPDX-License-Identifier: GPL-2.0
/*
 * First half of an object that is linked from two files, each of which includes
 * arena_nolock.h. Built several times, with every kind of vmlinux.h and without.
 */
#ifdef HEADER_VMLINUX
#include "vmlinux.h"
#endif
#include "arena_nolock.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
} arena SEC(".maps");

int second_half(__u64 addr);

__u64 page;
int module, reserved, second;

SEC("syscall")
int header_run(void *ctx)
{
	int __arena *p = arena_nolock_alloc_pages(&arena, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0);

	module = arena_nolock_available();
	if (!p)
		return 1;
	page = (__u64)p;
	*p = 1234;
	reserved = arena_nolock_reserve_pages(&arena, (char __arena *)p + ARENA_NOLOCK_PAGE_SIZE, 1);
	second = second_half(page);

	return 0;
}

char LICENSE[] SEC("license") = "GPL";

#ifdef HEADER_ONE_FILE
#include "second.bpf.c"
#endif
