// SPDX-License-Identifier: GPL-2.0
/*
 * The smallest scheduler of the cid form. The kernel allocates from its arena when it is
 * enabled, whichever kfuncs its own programs call.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "arena_nolock.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 64);
} arena SEC(".maps");

/* The members in use, since vmlinux.h may be of a kernel without this type. */
struct sched_ext_ops_cid___test {
	s32 (*init)(void);
	void (*set_cmask)(void);
	char name[128];
};

/* From user space: does init allocate? */
__u32 allocate;
__u64 page;

SEC("struct_ops.s/init")
int cid_init(void *ctx)
{
	if (!allocate)
		return 0;
	page = (__u64)bpf_arena_nolock_alloc_pages(&arena, NULL, 1, -1, 0);

	return page ? 0 : -12;
}

/* Calls no kfunc: where this is the scheduler's only program, it does not adopt the arena. */
SEC("struct_ops/set_cmask")
int cid_set_cmask(void *ctx)
{
	arena_nolock_uses(&arena);

	return 0;
}

SEC(".struct_ops.link")
struct sched_ext_ops_cid___test cid_ops = {
	.init = (void *)cid_init,
	.set_cmask = (void *)cid_set_cmask,
	.name = "anl_cid",
};

char LICENSE[] SEC("license") = "GPL";
