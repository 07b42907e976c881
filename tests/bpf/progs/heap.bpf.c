// SPDX-License-Identifier: GPL-2.0
/*
 * Objects of arena_nolock_heap.h: by request, and in a storm in which programs in tasks,
 * timers and NMIs exchange objects of all sizes through a table. A program marks the object
 * that it allocates. The program that takes it from the table checks the mark and frees it.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "arena_nolock_heap.h"
#include "heap.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, HEAP_PAGES);
	__ulong(map_extra, 0x100010000000);
} arena SEC(".maps");

struct arena_nolock_heap heap;
__u64 kept[HEAP_KEPT];
__u64 obj, page;		/* of a request, and its result */
__u32 size;
__u32 tgid;
__u32 nr_kept = HEAP_KEPT, max_size = ARENA_NOLOCK_HEAP_MAX;
bool storm, drain;
__u64 rounds[HEAP_CTXS];
__u64 dirty, strange, failed;

SEC("syscall")
int heap_get(void *ctx)
{
	obj = (__u64)arena_nolock_heap_alloc(&arena, &heap, size);

	return 0;
}

SEC("syscall")
int heap_put(void *ctx)
{
	arena_nolock_heap_free(&arena, &heap, (void __arena *)obj);

	return 0;
}

SEC("syscall")
int heap_trim(void *ctx)
{
	arena_nolock_heap_trim(&arena, &heap);

	return 0;
}

/* A page that is not the heap's. */
SEC("syscall")
int heap_page(void *ctx)
{
	page = (__u64)arena_nolock_alloc_pages(&arena, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0);

	return 0;
}

/* The fast paths: the test counts these instructions, and the words that they change. */
SEC("syscall")
int heap_pair(void *ctx)
{
	arena_nolock_heap_free(&arena, &heap, arena_nolock_heap_alloc(&arena, &heap, 64));

	return 0;
}

/* Of an object of which no program but this one knows, each word is as it was written. */
static __noinline int check(__u64 at)
{
	__u64 __arena *p = (__u64 __arena *)at;
	__u32 i;

	bpf_for(i, 1, (p[0] & 0xffff) / 8)
		if (p[i] != at + i)
			__sync_fetch_and_add(&strange, 1);
	if (p[0] >> 16 != (__u32)at)
		__sync_fetch_and_add(&strange, 1);
	arena_nolock_heap_free(&arena, &heap, p);

	return 0;
}

static __noinline __u64 fill(__u32 bytes)
{
	__u64 __arena *p = arena_nolock_heap_alloc(&arena, &heap, bytes);
	__u64 at = (__u64)p;
	__u32 i;

	if (!p) {
		__sync_fetch_and_add(&failed, 1);
		return 0;
	}
	/* No other program has it: each word is zero until it is written here. */
	bpf_for(i, 1, bytes / 8)
		if (__sync_val_compare_and_swap(&p[i], 0, at + i))
			__sync_fetch_and_add(&dirty, 1);
	if (__sync_val_compare_and_swap(&p[0], 0, at << 32 >> 16 | bytes))
		__sync_fetch_and_add(&dirty, 1);

	return at;
}

static __noinline int exchange(__u32 ctx)
{
	__u32 slot = bpf_get_prandom_u32() % nr_kept, bytes;
	__u64 at = 0;

	/* Small objects more often than large ones. */
	bytes = max_size >> bpf_get_prandom_u32() % 8;
	bytes = (bytes - bpf_get_prandom_u32() % (bytes / 2)) & 0xff8;
	if (!drain)
		at = fill(bytes);
	at = __sync_lock_test_and_set(&kept[slot % HEAP_KEPT], at);
	if (at)
		check(at);
	__sync_fetch_and_add(&rounds[ctx % HEAP_CTXS], 1);

	return 0;
}

SEC("raw_tp/sys_enter")
int heap_in_task(void *ctx)
{
	if (storm && bpf_get_current_pid_tgid() >> 32 == tgid)
		exchange(HEAP_TASK);

	return 0;
}

SEC("perf_event")
int heap_in_timer(void *ctx)
{
	if (storm)
		exchange(HEAP_HARDIRQ);

	return 0;
}

SEC("raw_tp/nmi_handler")
int heap_in_nmi(void *ctx)
{
	if (storm)
		exchange(HEAP_NMI);

	return 0;
}

/* Free every object in the table. */
SEC("syscall")
int heap_empty(void *ctx)
{
	__u64 at;
	__u32 i;

	bpf_for(i, 0, HEAP_KEPT) {
		at = __sync_lock_test_and_set(&kept[i % HEAP_KEPT], 0);
		if (at)
			check(at);
	}

	return 0;
}

char LICENSE[] SEC("license") = "GPL";
