// SPDX-License-Identifier: GPL-2.0
/*
 * The last that a CPU runs when it goes offline, long after the kernel has run all its
 * irq_works. There this program frees a page and allocates some: requests for the drain and
 * for the pool's refill. Tracepoints do not run on such a CPU, other programs do.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "arena_nolock.h"
#include "hotplug.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, HOTPLUG_PAGES);
} arena SEC(".maps");

/* The page to free. */
__u64 page;
/* From user space: make the requests, once. */
__u32 armed;
__u32 requests;
/* The pages that were allocated. */
__u64 taken;

SEC("fentry/cpuhp_report_idle_dead")
int BPF_PROG(cpu_ends)
{
	if (!armed)
		return 0;
	armed = 0;
	requests++;
	bpf_arena_nolock_free_pages(&arena, (void __arena *)page, 1);
	taken = (__u64)bpf_arena_nolock_alloc_pages(&arena, NULL, HOTPLUG_TAKEN, -1, 0);

	return 0;
}

SEC("syscall")
int allocate(void *ctx)
{
	page = (__u64)bpf_arena_nolock_alloc_pages(&arena, NULL, 1, -1, 0);

	return 0;
}

SEC("syscall")
int release(void *ctx)
{
	bpf_arena_nolock_free_pages(&arena, (void __arena *)taken, HOTPLUG_TAKEN);
	taken = 0;

	return 0;
}

/* Cannot sleep. */
SEC("raw_tp")
int release_queued(void *ctx)
{
	bpf_arena_nolock_free_pages(&arena, (void __arena *)page, 1);

	return 0;
}

char LICENSE[] SEC("license") = "GPL";
