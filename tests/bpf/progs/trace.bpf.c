// SPDX-License-Identifier: GPL-2.0
/*
 * Programs on the module's tracepoints. One of them calls a kfunc from there.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "arena_nolock.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 64);
} arena SEC(".maps");

__u32 allocs, nested, failures;
__u64 last_pgoff, last_cnt, last_err;

SEC("raw_tp/arena_nolock_alloc")
int on_alloc(struct bpf_raw_tracepoint_args *ctx)
{
	last_pgoff = ctx->args[1];
	last_cnt = ctx->args[2];
	allocs++;
	if (bpf_arena_nolock_alloc_pages(&arena, NULL, 1, -1, 0))
		nested++;

	return 0;
}

SEC("raw_tp/arena_nolock_alloc_failed")
int on_failure(struct bpf_raw_tracepoint_args *ctx)
{
	last_err = ctx->args[4];
	failures++;

	return 0;
}

char LICENSE[] SEC("license") = "GPL";
