// SPDX-License-Identifier: GPL-2.0
/* Compiled for -mcpu=v4: a sign-extending load from an arena. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "arena_nolock.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
} arena SEC(".maps");

__u64 page;
__s64 sum;

SEC("tp_btf/sys_enter")
int adds(void *ctx)
{
	arena_nolock_uses(&arena);
	if (page)
		sum += *(int __arena *)page;

	return 0;
}

char _license[] SEC("license") = "GPL";
