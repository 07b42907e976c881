// SPDX-License-Identifier: GPL-2.0
/* One of two files that are linked: all calls of kfuncs are in it, behind global functions. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "arena_nolock.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
} arena SEC(".maps");

__noinline __u64 page_alloc(void)
{
	return (__u64)arena_nolock_alloc_pages(&arena, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0);
}

__noinline int page_free(void __arena *page __arg_arena)
{
	arena_nolock_free_pages(&arena, page, 1);

	return 0;
}

char _license[] SEC("license") = "GPL";
