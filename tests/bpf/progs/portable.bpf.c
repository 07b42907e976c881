// SPDX-License-Identifier: GPL-2.0
/*
 * One object for every kernel: only the wrappers of arena_nolock.h are used.
 * Built without vmlinux.h, as a program that needs no kernel types would be.
 */
#include "arena_nolock.h"

#include "portable.h"

#define WORDS (ARENA_NOLOCK_PAGE_SIZE / 8)

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PORTABLE_PAGES);
	/* No page of it looks like NULL, as one at a multiple of 4 GiB would. */
	__ulong(map_extra, 0x100010000000);
} arena SEC(".maps");

struct portable_result res;
__u64 reserve_at;
__u32 tgid;

/* Sleepable and not: the kernel's own kfuncs may do both from 7.0 on. */
static __always_inline int use(__u32 where)
{
	__u64 __arena *p;

	res.module = arena_nolock_available();
	res.runs[where]++;

	p = arena_nolock_alloc_pages(&arena, NULL, 2, ARENA_NOLOCK_ANY_NODE, 0);
	if (!p) {
		res.failed++;
		return 0;
	}
	res.page = (__u64)p;
	res.dirty += p[0] || p[WORDS];
	p[0] = PORTABLE_MARK + where;
	p[WORDS] = ~p[0];

	res.reserved = arena_nolock_reserve_pages(&arena, (void __arena *)reserve_at, 1);
	res.reserved_again = arena_nolock_reserve_pages(&arena, (void __arena *)reserve_at, 1);
	arena_nolock_free_pages(&arena, (void __arena *)reserve_at, 1);

	/* The first page is left for user space to look at. */
	arena_nolock_free_pages(&arena, (void __arena *)(p + WORDS), 1);

	return 0;
}

SEC("syscall")
int portable_sleepable(void *ctx)
{
	return use(0);
}

SEC("raw_tp/sys_enter")
int portable_raw_tp(struct bpf_raw_tracepoint_args *ctx)
{
	if (bpf_get_current_pid_tgid() >> 32 == tgid && ctx->args[1] == PORTABLE_SYSCALL)
		return use(1);
	return 0;
}

SEC("syscall")
int portable_guard(void *ctx)
{
	res.guard = arena_nolock_guard_null(&arena);
	res.guard_again = arena_nolock_guard_null(&arena);
	return 0;
}

SEC("syscall")
int portable_free(void *ctx)
{
	arena_nolock_free_pages(&arena, (void __arena *)res.page, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
