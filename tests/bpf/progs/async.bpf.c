// SPDX-License-Identifier: GPL-2.0
/* Frees of single pages, one by one, in a sleepable program: at once, and asynchronous. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "arena_nolock.h"
#include "async.h"

#define PAGE ((__u64)ARENA_NOLOCK_PAGE_SIZE)

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2 * ASYNC_PAGES);
	__ulong(map_extra, 0x100010000000);
} arena SEC(".maps");

__u64 page;
__u32 got;
__u64 ns;

/* All addresses, so that nothing but the free pages of a test can be allocated later. */
SEC("syscall")
int async_alloc(void *ctx)
{
	page = (__u64)arena_nolock_alloc_pages(&arena, NULL, 2 * ASYNC_PAGES,
					       ARENA_NOLOCK_ANY_NODE, 0);

	return 0;
}

/* Every other page, so that no two are adjacent. */
SEC("syscall")
int async_free_now(void *ctx)
{
	__u64 begin = bpf_ktime_get_ns();
	__u32 i;

	bpf_for(i, 0, ASYNC_NOW)
		arena_nolock_free_pages(&arena, (void __arena *)(page + i * 2 * PAGE), 1);
	ns = bpf_ktime_get_ns() - begin;

	return 0;
}

SEC("syscall")
int async_free(void *ctx)
{
	__u64 begin = bpf_ktime_get_ns();
	__u32 i;

	bpf_for(i, 0, ASYNC_PAGES)
		arena_nolock_free_pages_async(&arena, (void __arena *)(page + i * 2 * PAGE), 1);
	ns = bpf_ktime_get_ns() - begin;

	return 0;
}

/* Where a program may be already when it frees. */
SEC("syscall")
int async_nested(void *ctx)
{
	bpf_rcu_read_lock();
	bpf_preempt_disable();
	arena_nolock_free_pages_async(&arena, (void __arena *)page, 1);
	bpf_preempt_enable();
	bpf_rcu_read_unlock();
	arena_nolock_free_pages_async(&arena, (void __arena *)(page + 2 * PAGE), 1);

	return 0;
}

SEC("raw_tp")	/* of NMIs, see attach_nmis() */
int async_in_nmi(void *ctx)
{
	if (page)
		arena_nolock_free_pages_async(&arena, (void __arena *)(page + 4 * PAGE), 1);

	return 0;
}

/* Allocate the pages that are free again, and count them. */
SEC("syscall")
int async_again(void *ctx)
{
	__u32 i;

	bpf_for(i, 0, ASYNC_PAGES)
		got += !!arena_nolock_alloc_pages(&arena, (void __arena *)(page + i * 2 * PAGE), 1,
						  ARENA_NOLOCK_ANY_NODE, 0);

	return 0;
}

char LICENSE[] SEC("license") = "GPL";
