// SPDX-License-Identifier: GPL-2.0
/*
 * A program that calls our kfuncs and is then refused by the verifier.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "arena_nolock.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 64);
} arena SEC(".maps");

SEC("syscall")
int reject_sys(void *ctx)
{
	bpf_arena_nolock_alloc_pages(&arena, NULL, 1, -1, 0);

	return *(volatile int *)0x1000;
}

char LICENSE[] SEC("license") = "GPL";
