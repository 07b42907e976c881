// SPDX-License-Identifier: GPL-2.0
/*
 * The kfuncs on maps that they are not for. Each program is loaded alone.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "arena_nolock.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} array SEC(".maps");

struct arena_map {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct arena_map);
} outer SEC(".maps");

__u64 alloc_ret = 1;
int reserve_ret;
int array_ok;

SEC("?syscall")
int odd_array(void *ctx)
{
	__u64 val = 0x1234, *p;
	__u32 key = 1;

	bpf_map_update_elem(&array, &key, &val, 0);
	alloc_ret = (__u64)bpf_arena_nolock_alloc_pages(&array, NULL, 1, -1, 0);
	reserve_ret = bpf_arena_nolock_reserve_pages(&array, (void __arena *)0x1000, 1);
	bpf_arena_nolock_free_pages(&array, (void __arena *)0x1000, 1);
	p = bpf_map_lookup_elem(&array, &key);
	array_ok = p && *p == val;

	return 0;
}

SEC("?syscall")
int odd_inner(void *ctx)
{
	__u32 key = 0;
	void *inner = bpf_map_lookup_elem(&outer, &key);

	if (!inner)
		return 0;
	alloc_ret = (__u64)bpf_arena_nolock_alloc_pages(inner, NULL, 1, -1, 0);
	reserve_ret = bpf_arena_nolock_reserve_pages(inner, (void __arena *)0x1000, 1);
	bpf_arena_nolock_free_pages(inner, (void __arena *)0x1000, 1);

	return 1;
}

char LICENSE[] SEC("license") = "GPL";
