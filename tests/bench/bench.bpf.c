// SPDX-License-Identifier: GPL-2.0
/*
 * What is measured: one text for the kernel's own kfuncs (-DIN_TREE) and for the
 * module's. Times are taken in here, around many calls, so that entering a
 * program is not in them. The body is the same in all contexts.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "arena_nolock.h"
#include "bench.h"

#ifdef IN_TREE
extern void __arena *bpf_arena_alloc_pages___bench(void *map, void __arena *addr,
						   __u32 page_cnt, int node_id,
						   __u64 flags) __weak __ksym;
extern void bpf_arena_free_pages___bench(void *map, void __arena *ptr,
					 __u32 page_cnt) __weak __ksym;
extern int bpf_arena_reserve_pages___bench(void *map, void __arena *ptr,
					   __u32 page_cnt) __weak __ksym;

#define alloc_pages(addr, cnt) bpf_arena_alloc_pages___bench(&arena, addr, cnt, -1, 0)
#define free_pages(addr, cnt) bpf_arena_free_pages___bench(&arena, addr, cnt)
#define reserve_pages(addr, cnt) (bpf_ksym_exists(bpf_arena_reserve_pages___bench) ? \
				  bpf_arena_reserve_pages___bench(&arena, addr, cnt) : -95)
#else
#define alloc_pages(addr, cnt) bpf_arena_nolock_alloc_pages(&arena, addr, cnt, -1, 0)
#define free_pages(addr, cnt) bpf_arena_nolock_free_pages(&arena, addr, cnt)
#define reserve_pages(addr, cnt) bpf_arena_nolock_reserve_pages(&arena, addr, cnt)
#endif

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
} arena SEC(".maps");

volatile struct bench_shared sh;

static __always_inline void count(volatile struct bench_slot *s, __u64 addr)
{
	if (addr) {
		s->done++;
		return;
	}
	if (!s->failed++)
		s->before = s->done;
}

static __always_inline void burst(volatile struct bench_slot *s, volatile __u64 *p)
{
	__u32 cnt = s->cnt, i;
	__u64 begin;

	begin = bpf_ktime_get_ns();
	for (i = 0; i < BENCH_BURST; i++)
		p[i] = (__u64)alloc_pages(NULL, cnt);
	s->alloc_ns = bpf_ktime_get_ns() - begin;

	begin = bpf_ktime_get_ns();
	for (i = 0; i < BENCH_BURST; i++)
		free_pages((void __arena *)p[i], cnt);
	s->free_ns = bpf_ktime_get_ns() - begin;

	for (i = 0; i < BENCH_BURST; i++)
		count(s, p[i]);
}

static __always_inline void empty(volatile struct bench_slot *s, volatile __u64 *p)
{
	__u64 begin = bpf_ktime_get_ns();
	__u32 i;

	for (i = 0; i < BENCH_BURST; i++)
		p[i] = s->addr;
	s->alloc_ns = bpf_ktime_get_ns() - begin;
}

static __always_inline void alloc(volatile struct bench_slot *s, volatile __u64 *p)
{
	__u64 begin = bpf_ktime_get_ns();
	__u32 i;

	bpf_for(i, 0, s->n) {
		__u64 addr = (__u64)alloc_pages(NULL, s->cnt);

		count(s, addr);
		if (i < BENCH_PAGES)
			p[i] = addr;
	}
	s->alloc_ns = bpf_ktime_get_ns() - begin;
}

static __always_inline void release(volatile struct bench_slot *s, volatile __u64 *p)
{
	__u64 begin = bpf_ktime_get_ns();
	__u32 i;

	bpf_for(i, 0, s->n) {
		if (i >= BENCH_PAGES || !p[i])
			continue;
		free_pages((void __arena *)p[i], s->cnt);
		p[i] = 0;
	}
	s->free_ns = bpf_ktime_get_ns() - begin;
}

static __always_inline void loop(volatile struct bench_slot *s)
{
	__u64 begin = bpf_ktime_get_ns();
	__u32 i;

	bpf_for(i, 0, s->n) {
		volatile __u64 __arena *p;

		s->inside = 1;
		p = alloc_pages(NULL, 1);
		s->inside = 0;
		count(s, (__u64)p);
		if (!p)
			break;
		*p = i;
		free_pages((void __arena *)p, 1);
	}
	s->alloc_ns = bpf_ktime_get_ns() - begin;
}

static __always_inline void each(volatile struct bench_slot *s, __u32 op)
{
	__u64 begin = bpf_ktime_get_ns(), addr = s->addr, step = s->step * 4096ULL;
	__u32 i;

	bpf_for(i, 0, s->n) {
		void __arena *p = (void __arena *)(addr + i * step);

		if (op == OP_SCATTER)
			free_pages(p, 1);
		else if (op == OP_CLAIM)
			count(s, (__u64)alloc_pages(p, 1));
		else
			count(s, !reserve_pages(p, 1));
	}
	s->free_ns = bpf_ktime_get_ns() - begin;
}

static __always_inline void spin(volatile struct bench_slot *s)
{
	__u64 end = bpf_ktime_get_ns() + s->addr;
	__u32 i;

	bpf_for(i, 0, 1 << 23) {
		if (bpf_ktime_get_ns() >= end)
			break;
	}
}

static __always_inline int act(__u64 slot)
{
	volatile struct bench_slot *s;
	volatile __u64 *p;
	__u64 begin;
	__u32 op;

	if (slot >= BENCH_SLOTS)
		return 0;
	s = &sh.slot[slot];
	p = sh.pages[slot];
	op = s->op;

	switch (op) {
	case OP_BURST:
		burst(s, p);
		break;
	case OP_EMPTY:
		empty(s, p);
		break;
	case OP_ALLOC:
		alloc(s, p);
		break;
	case OP_FREE:
		release(s, p);
		break;
	case OP_LOOP:
		loop(s);
		break;
	case OP_RANGE:
		begin = bpf_ktime_get_ns();
		free_pages((void __arena *)s->addr, s->cnt);
		s->free_ns = bpf_ktime_get_ns() - begin;
		break;
	case OP_SCATTER:
	case OP_CLAIM:
	case OP_RESERVE:
		each(s, op);
		break;
	case OP_SPIN:
		spin(s);
		break;
	}

	return 0;
}

struct bench_ctx {
	__u64 slot;
};

SEC("syscall")
int sleepable(struct bench_ctx *ctx)
{
	return act(ctx->slot);
}

SEC("syscall")
int under_rcu(struct bench_ctx *ctx)
{
	__u64 slot = ctx->slot;

	bpf_rcu_read_lock();
	act(slot);
	bpf_rcu_read_unlock();
	return 0;
}

/* With preemption off; with BPF_F_TEST_RUN_ON_CPU, in a hard interrupt. */
SEC("raw_tp")
int atomic(struct bpf_raw_tracepoint_args *ctx)
{
	return act(ctx->args[0]);
}

/* With interrupts off. */
SEC("fentry/anl_bench_hook")
int in_hook(void *ctx)
{
	return act(BENCH_HOOK);
}

/* In each NMI that a handler has claimed; case_nmi attaches it. */
SEC("raw_tp")
int in_nmi(struct bpf_raw_tracepoint_args *ctx)
{
	volatile struct bench_slot *s = &sh.slot[BENCH_NMI];
	__u32 inside = sh.slot[0].inside;
	volatile __u64 __arena *p;

	if (!(int)ctx->args[2] || s->op != OP_LOOP)
		return 0;
	p = alloc_pages(NULL, 1);
	count(s, (__u64)p);
	s->hits += inside;
	if (p) {
		*p = 1;
		free_pages((void __arena *)p, 1);
	} else {
		s->hits_failed += inside;
	}
	return 0;
}

/* The smallest program that adopts an arena. */
SEC("syscall")
int touch(void *ctx)
{
	free_pages(NULL, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
