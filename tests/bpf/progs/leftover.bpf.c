// SPDX-License-Identifier: GPL-2.0
/* An object that was ported but for one call. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define ARENA_NOLOCK_KEEP_STOCK
#include "arena_nolock.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 64);
} arena SEC(".maps");

SEC("syscall")
int ported(void *ctx)
{
	return arena_nolock_alloc_pages(&arena, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0) ? 0 : 1;
}

SEC("syscall")
int forgotten(void *ctx)
{
	if (!arena_nolock_alloc_pages(&arena, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0))
		return 2;

	return bpf_arena_alloc_pages___nolock(&arena, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0) ? 0 : 1;
}

char LICENSE[] SEC("license") = "GPL";
