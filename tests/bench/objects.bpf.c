// SPDX-License-Identifier: GPL-2.0
/*
 * Objects of 64 bytes: arena_nolock_heap.h, arena_nolock_slab.h, and the kernel's own
 * bpf_obj_new(). Times are taken in here, around many calls.
 */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "arena_nolock_heap.h"
#include "arena_nolock_slab.h"
#include "objects.h"

extern void *bpf_obj_new_impl___bench(__u64 local_type_id, void *meta) __ksym;
extern void bpf_obj_drop_impl___bench(void *obj, void *meta) __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 8192);
} arena SEC(".maps");

struct object {
	__u64 words[8];
};

struct arena_nolock_heap heap;
struct arena_nolock_slab slab = { .size = sizeof(struct object) };
struct objects_slot slots[OBJECTS_CPUS];

static __always_inline void __arena *alloc(int kind)
{
	if (kind == OBJECTS_HEAP)
		return arena_nolock_heap_alloc(&arena, &heap, sizeof(struct object));

	return arena_nolock_slab_alloc(&arena, &slab);
}

static __always_inline void release(int kind, void __arena *obj)
{
	if (kind == OBJECTS_HEAP)
		arena_nolock_heap_free(&arena, &heap, obj);
	else
		arena_nolock_slab_free(&arena, &slab, obj);
}

static __always_inline bool kernel_pair(__u32 i)
{
	struct object *p = bpf_obj_new_impl___bench(bpf_core_type_id_local(struct object), NULL);

	if (!p)
		return false;
	p->words[0] = i;
	bpf_obj_drop_impl___bench(p, NULL);

	return true;
}

/* Allocate an object, write to it, free it. Returns whether there was one. */
static __always_inline bool pair(int kind, __u32 i)
{
	volatile __u64 __arena *p;

	if (kind == OBJECTS_KERNEL)
		return kernel_pair(i);
	p = alloc(kind);
	if (!p)
		return false;
	*p = i;
	release(kind, (void __arena *)p);

	return true;
}

static __always_inline void pairs(volatile struct objects_slot *s, int kind)
{
	__u64 failed = 0;
	__u32 i;

	bpf_for(i, 0, s->n)
		failed += !pair(kind, i);
	s->failed = failed;
}

/* Each object replaces one that is OBJECTS_KEPT older, as in a table of flows. */
static __always_inline void turnover(volatile struct objects_slot *s, int kind)
{
	__u64 failed = 0, old, at = s->at;
	volatile __u64 __arena *p;
	__u32 i;

	bpf_for(i, 0, s->n) {
		p = alloc(kind);
		if (!p) {
			failed++;
			continue;
		}
		*p = i;
		old = __sync_lock_test_and_set((__u64 *)&s->kept[at++ % OBJECTS_KEPT], (__u64)p);
		if (old)
			release(kind, (void __arena *)old);
	}
	s->at = at;
	s->failed = failed;
}

/* Allocate OBJECTS_KEPT objects, then free them. */
static __always_inline void waves(volatile struct objects_slot *s, int kind)
{
	__u64 failed = 0, obj;
	__u32 i, k;

	bpf_for(i, 0, s->n / OBJECTS_KEPT) {
		bpf_for(k, 0, OBJECTS_KEPT) {
			obj = (__u64)alloc(kind);
			failed += !obj;
			s->kept[k % OBJECTS_KEPT] = obj;
		}
		bpf_for(k, 0, OBJECTS_KEPT) {
			obj = s->kept[k % OBJECTS_KEPT];
			s->kept[k % OBJECTS_KEPT] = 0;
			if (obj)
				release(kind, (void __arena *)obj);
		}
	}
	s->failed = failed;
}

struct objects_ctx {
	__u64 slot, op;
};

SEC("syscall")
int objects(struct objects_ctx *ctx)
{
	volatile struct objects_slot *s = &slots[ctx->slot % OBJECTS_CPUS];
	__u64 begin = bpf_ktime_get_ns();

	switch (ctx->op) {
	case OBJECTS_PAIRS + OBJECTS_HEAP:
		pairs(s, OBJECTS_HEAP);
		break;
	case OBJECTS_PAIRS + OBJECTS_SLAB:
		pairs(s, OBJECTS_SLAB);
		break;
	case OBJECTS_PAIRS + OBJECTS_KERNEL:
		pairs(s, OBJECTS_KERNEL);
		break;
	case OBJECTS_TURNOVER + OBJECTS_HEAP:
		turnover(s, OBJECTS_HEAP);
		break;
	case OBJECTS_TURNOVER + OBJECTS_SLAB:
		turnover(s, OBJECTS_SLAB);
		break;
	case OBJECTS_WAVES + OBJECTS_HEAP:
		waves(s, OBJECTS_HEAP);
		break;
	case OBJECTS_WAVES + OBJECTS_SLAB:
		waves(s, OBJECTS_SLAB);
		break;
	}
	s->ns = bpf_ktime_get_ns() - begin;

	return 0;
}

char LICENSE[] SEC("license") = "GPL";
