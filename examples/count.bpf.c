// SPDX-License-Identifier: GPL-2.0
/* Counts NMIs in a page that it allocates in the first one. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "arena_nolock.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 100);		/* pages */
} arena SEC(".maps");

__u64 __arena *counter;				/* user space reads it too */

SEC("raw_tp/nmi_handler")
int count(void *ctx)
{
	if (!counter)
		counter = arena_nolock_alloc_pages(&arena, NULL, 1, -1, 0);
	if (counter)
		(*counter)++;
	return 0;
}

char _license[] SEC("license") = "GPL";
