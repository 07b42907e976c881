// SPDX-License-Identifier: GPL-2.0
/*
 * Objects of arena_nolock_slab.h: by request, and in a storm in which programs in tasks,
 * timers and NMIs exchange objects through a table. A program marks the object that it
 * allocates. The program that takes it from the table checks the mark and frees it.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "arena_nolock_slab.h"
#include "slab.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 256);
	__ulong(map_extra, 0x100010000000);
} arena SEC(".maps");

struct arena_nolock_slab slab = { .size = SLAB_WORDS * 8 };
__u64 kept[SLAB_KEPT];
__u64 obj, number;		/* of a request, and its result */
__u32 tgid;
bool storm;
__u64 rounds[SLAB_CTXS];
__u64 dirty, strange, failed;

SEC("syscall")
int slab_get(void *ctx)
{
	obj = (__u64)arena_nolock_slab_alloc(&arena, &slab);

	return 0;
}

SEC("syscall")
int slab_put(void *ctx)
{
	arena_nolock_slab_free(&arena, &slab, (void __arena *)obj);

	return 0;
}

static __noinline int exchange(__u32 ctx)
{
	__u64 mark, old;
	__u64 __arena *p;
	int i;

	p = arena_nolock_slab_alloc(&arena, &slab);
	if (!p) {
		__sync_fetch_and_add(&failed, 1);
		return 0;
	}
	mark = (__u64)p;
	/* No other program has it: each word is zero until it is written here. */
	for (i = 0; i < SLAB_WORDS; i++)
		if (__sync_val_compare_and_swap(&p[i], 0, mark + i))
			__sync_fetch_and_add(&dirty, 1);
	old = __sync_fetch_and_add(&number, 1);
	old = __sync_lock_test_and_set(&kept[old % SLAB_KEPT], mark);
	if (old) {
		p = (__u64 __arena *)old;
		for (i = 0; i < SLAB_WORDS; i++)
			if (p[i] != old + i)
				__sync_fetch_and_add(&strange, 1);
		arena_nolock_slab_free(&arena, &slab, p);
	}
	__sync_fetch_and_add(&rounds[ctx % SLAB_CTXS], 1);

	return 0;
}

SEC("raw_tp/sys_enter")
int slab_in_task(void *ctx)
{
	if (storm && bpf_get_current_pid_tgid() >> 32 == tgid)
		exchange(SLAB_TASK);

	return 0;
}

SEC("perf_event")
int slab_in_timer(void *ctx)
{
	if (storm)
		exchange(SLAB_HARDIRQ);

	return 0;
}

SEC("raw_tp")	/* of NMIs, see attach_nmis() */
int slab_in_nmi(void *ctx)
{
	if (storm)
		exchange(SLAB_NMI);

	return 0;
}

/* Free every object in the table. */
SEC("syscall")
int slab_empty(void *ctx)
{
	__u64 old;
	int i;

	for (i = 0; i < SLAB_KEPT; i++) {
		old = __sync_lock_test_and_set(&kept[i], 0);
		arena_nolock_slab_free(&arena, &slab, (void __arena *)old);
	}

	return 0;
}

char LICENSE[] SEC("license") = "GPL";
