// SPDX-License-Identifier: GPL-2.0
/*
 * Objects of arena_nolock_heap.h: by request, and in a storm in which programs in tasks,
 * timers and NMIs exchange objects of all sizes through a table. A program marks the object
 * that it allocates. The program that takes it from the table checks the mark and frees it.
 *
 * heap_interrupt() is a program for a hardware watchpoint on a word of the arena. It runs after
 * a call has read or written that word, before the call's next instruction.
 */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "arena_nolock_heap.h"
#include "heap.h"

/* An arena's kernel area begins with a guard for 16 bit offsets. */
#define LOWER_GUARD 32768

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
__u64 kernel_base;		/* of the arena, plus the lower 32 bits of an address */
struct heap_step steps[HEAP_STEPS];
__s32 accesses;			/* before the steps run */
bool interrupted;

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

SEC("raw_tp")	/* of NMIs, see attach_nmis() */
int heap_in_nmi(void *ctx)
{
	if (storm)
		exchange(HEAP_NMI);

	return 0;
}

SEC("syscall")
int heap_where(void *ctx)
{
	struct bpf_arena *a = bpf_rdonly_cast(&arena, bpf_core_type_id_kernel(struct bpf_arena));

	kernel_base = (__u64)BPF_CORE_READ(a, kern_vm, addr) + LOWER_GUARD;

	return 0;
}

/* The hardware disables watchpoints meanwhile. */
SEC("perf_event")
int heap_interrupt(void *ctx)
{
	struct heap_step *step;
	__u64 *at;
	__u32 i;

	if (interrupted || accesses-- > 0)
		return 0;
	interrupted = true;
	bpf_for(i, 0, HEAP_STEPS) {
		step = &steps[i % HEAP_STEPS];
		at = &kept[step->name % HEAP_NAMES];
		switch (step->op) {
		case HEAP_GET:
			*at = (__u64)arena_nolock_heap_alloc(&arena, &heap, size);
			break;
		case HEAP_PUT:
			arena_nolock_heap_free(&arena, &heap, (void __arena *)*at);
			*at = 0;
			break;
		case HEAP_TRIM:
			arena_nolock_heap_trim(&arena, &heap);
			break;
		}
	}

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
