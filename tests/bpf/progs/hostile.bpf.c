// SPDX-License-Identifier: GPL-2.0
/*
 * The kfuncs on every map of the system, of any type and owner, from an iterator over
 * maps.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "arena_nolock.h"

/* In: an arena that was not adopted, and an address of one that was. */
__u32 stock_id;
__u64 addr;

/* Out. */
__u32 maps;
__u32 arenas;		/* that were adopted, so that the calls work */
__u32 others;		/* other maps for which a call said that it works */

SEC("iter/bpf_map")
int hostile_maps(struct bpf_iter__bpf_map *ctx)
{
	struct bpf_map *map = ctx->map;
	void __arena *p;
	int err;

	if (!map)
		return 0;
	maps++;
	p = bpf_arena_nolock_alloc_pages(map, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0);
	err = bpf_arena_nolock_reserve_pages(map, (void __arena *)addr, 1);
	if (map->map_type == BPF_MAP_TYPE_ARENA && map->id != stock_id)
		arenas += !!p;
	else
		others += p || err != -22;
	bpf_arena_nolock_free_pages(map, p, 1);
	bpf_arena_nolock_free_pages(map, (void __arena *)addr, 1);

	return 0;
}

/* Keeps mmap_lock of the process that it visits for as long as this memory takes to come. */
__u64 hold_at;
__u32 held;

SEC("?iter.s/task_vma")
int hostile_hold(struct bpf_iter__task_vma *ctx)
{
	__u64 val;

	if (!ctx->vma || held)
		return 0;
	held = 1;
	bpf_copy_from_user(&val, sizeof(val), (void *)hold_at);

	return 0;
}

char LICENSE[] SEC("license") = "GPL";
