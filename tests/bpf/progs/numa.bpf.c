// SPDX-License-Identifier: GPL-2.0
/* Where pages are zeroed for the pool. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

__u64 at_home, elsewhere;

SEC("raw_tp/arena_nolock_recycle")
int on_recycle(struct bpf_raw_tracepoint_args *ctx)
{
	if (bpf_get_numa_node_id() == (int)ctx->args[1])
		__sync_fetch_and_add(&at_home, ctx->args[2]);
	else
		__sync_fetch_and_add(&elsewhere, ctx->args[2]);

	return 0;
}

char LICENSE[] SEC("license") = "GPL";
