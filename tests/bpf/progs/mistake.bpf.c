// SPDX-License-Identifier: GPL-2.0
/* Programs that do not load, and why is in docs/troubleshooting.md. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "arena_nolock.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
} arena SEC(".maps");

struct locked {
	struct bpf_spin_lock lock;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct locked);
} locks SEC(".maps");

__u64 page;

SEC("?tp_btf/sys_enter")
int allocates(void *ctx)
{
	page = (__u64)arena_nolock_alloc_pages(&arena, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0);

	return 0;
}

/* Follows a pointer into an arena, and says nowhere which arena. */
SEC("?tp_btf/sys_enter")
int names_no_arena(void *ctx)
{
	if (page)
		*(__u64 __arena *)page = 1;

	return 0;
}

SEC("?tc")
int under_spin_lock(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct locked *l = bpf_map_lookup_elem(&locks, &zero);

	if (!l)
		return 0;
	bpf_spin_lock(&l->lock);
	page = (__u64)arena_nolock_alloc_pages(&arena, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0);
	bpf_spin_unlock(&l->lock);

	return 0;
}

/* The call that was forgotten when the program was ported. */
extern void __arena *bpf_arena_alloc_pages___left(void *map, void __arena *addr, __u32 page_cnt,
						  int node_id, __u64 flags) __weak __ksym;

SEC("?tp_btf/sys_enter")
int left_over(void *ctx)
{
	page = (__u64)bpf_arena_alloc_pages___left(&arena, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0);

	return 0;
}

char _license[] SEC("license") = "GPL";
