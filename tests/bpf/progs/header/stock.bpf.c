// SPDX-License-Identifier: GPL-2.0
/*
 * A call of the kernel's own kfuncs that was left over when a file was ported, by each of
 * its names. The header has to warn of each, and of nothing if it is told that the calls stay.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#define __arena __attribute__((address_space(1)))

/* Without those of vmlinux.h, which lack the address space with some versions of bpftool. */
extern void __arena *bpf_arena_alloc_pages(void *map, void __arena *addr, __u32 page_cnt,
					   int node_id, __u64 flags) __weak __ksym;
extern void bpf_arena_free_pages(void *map, void __arena *ptr, __u32 page_cnt) __weak __ksym;
extern int bpf_arena_reserve_pages(void *map, void __arena *ptr, __u32 page_cnt) __weak __ksym;

#include "arena_nolock.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
} arena SEC(".maps");

SEC("syscall")
int stock_run(void *ctx)
{
	void __arena *p;

	p = bpf_arena_alloc_pages(&arena, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0);
	bpf_arena_reserve_pages(&arena, p, 1);
	bpf_arena_free_pages(&arena, p, 1);
	p = bpf_arena_alloc_pages___nolock(&arena, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0);
	bpf_arena_reserve_pages___nolock(&arena, p, 1);
	bpf_arena_free_pages___nolock(&arena, p, 1);

	return !p;
}

char LICENSE[] SEC("license") = "GPL";
