// SPDX-License-Identifier: GPL-2.0
/*
 * A sleepable program that runs with the mmap_lock of the visited process held:
 * for each mapping it allocates a page and then frees whatever there is.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "arena_nolock.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 32768);
} arena SEC(".maps");

__u64 base;
__u32 pages;
__u64 longest_ns;
long frees;
long failed;
long dirty;

/*
 * User space writes to the first word at any time, so this is about the last one.
 * Not inline, so that no instruction serves arena and other memory both.
 */
static __noinline int check(__u64 __arena *p)
{
	int bad = p[511] != 0;

	p[511] = 1;

	return bad;
}

SEC("iter.s/task_vma")
int free_in_iter(struct bpf_iter__task_vma *ctx)
{
	__u64 __arena *p;
	__u64 begin;

	if (!ctx->vma)
		return 0;

	p = bpf_arena_nolock_alloc_pages(&arena, NULL, 1, -1, 0);
	if (p)
		dirty += check(p);
	else
		failed++;
	begin = bpf_ktime_get_ns();
	bpf_arena_nolock_free_pages(&arena, (void __arena *)base, pages);
	begin = bpf_ktime_get_ns() - begin;
	if (begin > longest_ns)
		longest_ns = begin;
	frees++;

	return 0;
}

char LICENSE[] SEC("license") = "GPL";
