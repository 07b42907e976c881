// SPDX-License-Identifier: GPL-2.0
/* Two arenas in one object. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "arena_nolock.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
} arena SEC(".maps"), another SEC(".maps");

SEC("tp_btf/sys_enter")
int uses_both(void *ctx)
{
	arena_nolock_free_pages(&arena, NULL, 1);
	arena_nolock_free_pages(&another, NULL, 1);

	return 0;
}

char _license[] SEC("license") = "GPL";
