// SPDX-License-Identifier: GPL-2.0
/* Counts context switches, in a page that the first one allocates. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "arena_nolock.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 100);		/* pages */
} arena SEC(".maps");

__u64 page;					/* its address, also in user space */

SEC("raw_tp/sched_switch")
int count(void *ctx)
{
	__u64 __arena *counter = (__u64 __arena *)arena_nolock_page_once(&arena, &page);

	if (counter)
		__sync_fetch_and_add(counter, 1);
	return 0;
}

char _license[] SEC("license") = "GPL";
