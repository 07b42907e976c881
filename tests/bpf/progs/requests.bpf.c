// SPDX-License-Identifier: GPL-2.0
/*
 * One operation on an arena per run, given by a request block. The same body
 * runs as a sleepable program, under rcu_read_lock(), which on another CPU than the
 * caller's becomes hard interrupt context, and with bottom halves disabled.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "arena_nolock.h"
#include "requests.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
} arena SEC(".maps");

struct arena_req req[REQ_SLOTS];

typedef __u64 __arena *word_ptr;

static __always_inline void fill(struct arena_req *r)
{
	__u64 addr = r->addr, val = r->val, grow = r->grow;
	__u32 step = r->step, i;

	bpf_for(i, 0, r->cnt)
		*(volatile word_ptr)(addr + (__u64)i * step) = val + i * grow;
}

static __always_inline __u64 diff(struct arena_req *r)
{
	__u64 addr = r->addr, val = r->val, grow = r->grow, bad = 0;
	__u32 step = r->step, i;

	bpf_for(i, 0, r->cnt)
		if (*(volatile word_ptr)(addr + (__u64)i * step) != val + i * grow)
			bad++;

	return bad;
}

static __always_inline __u64 alloc_each(struct arena_req *r)
{
	__u64 got = 0;
	__u32 i;

	bpf_for(i, 0, r->cnt) {
		if (!bpf_arena_nolock_alloc_pages(&arena, NULL, 1, r->node, 0))
			break;
		got++;
	}

	return got;
}

static __always_inline void free_each(struct arena_req *r)
{
	__u64 addr = r->addr;
	__u32 i;

	bpf_for(i, 0, r->cnt)
		bpf_arena_nolock_free_pages(&arena, (void __arena *)(addr + (__u64)i * ARENA_NOLOCK_PAGE_SIZE), 1);
}

/*
 * A page must come zeroed and keep what this program wrote while it owns it. Failed
 * allocations are counted in r->addr. If r->addr is set, others use and free the pages
 * from that address on; a program that allocates faster than the queue is drained gets
 * there and does not touch such a page.
 */
static __always_inline __u64 churn(struct arena_req *r)
{
	__u64 bad = 0, failed = 0, limit = r->addr;
	__u32 i;

	bpf_for(i, 0, r->cnt) {
		volatile word_ptr p = bpf_arena_nolock_alloc_pages(&arena, NULL, 1, r->node, 0);
		__u64 mark = r->val + i;

		if (!p) {
			failed++;
			continue;
		}
		if (limit && (__u64)p >= limit) {
			failed++;
			bpf_arena_nolock_free_pages(&arena, (void __arena *)p, 1);
			continue;
		}
		if (p[0] || p[511])
			bad++;
		p[0] = mark;
		p[511] = ~mark;
		if (p[0] != mark || p[511] != ~mark)
			bad++;
		bpf_arena_nolock_free_pages(&arena, (void __arena *)p, 1);
	}
	r->addr = failed;

	return bad;
}

static __always_inline int serve(__u32 slot)
{
	struct arena_req *r = &req[slot % REQ_SLOTS];
	void __arena *addr = (void __arena *)r->addr;

	switch (r->op) {
	case REQ_ALLOC:
		r->ret = (__u64)bpf_arena_nolock_alloc_pages(&arena, addr, r->cnt, r->node,
							     r->flags);
		break;
	case REQ_FREE:
		bpf_arena_nolock_free_pages(&arena, addr, r->cnt);
		break;
	case REQ_RESERVE:
		r->ret = bpf_arena_nolock_reserve_pages(&arena, addr, r->cnt);
		break;
	case REQ_READ:
		r->ret = *(volatile word_ptr)addr;
		break;
	case REQ_WRITE:
		*(volatile word_ptr)addr = r->val;
		break;
	case REQ_FILL:
		fill(r);
		break;
	case REQ_DIFF:
		r->ret = diff(r);
		break;
	case REQ_ALLOC_EACH:
		r->ret = alloc_each(r);
		break;
	case REQ_FREE_EACH:
		free_each(r);
		break;
	case REQ_CHURN:
		r->ret = churn(r);
		break;
	}

	return 0;
}

struct slot_ctx {
	__u32 slot;
};

SEC("syscall")
int sleepable(struct slot_ctx *ctx)
{
	return serve(ctx->slot);
}

SEC("raw_tp")
int under_rcu(struct bpf_raw_tracepoint_args *ctx)
{
	return serve(ctx->args[0]);
}

SEC("tc")
int bh_off(struct __sk_buff *skb)
{
	return serve(skb->cb[0]);
}

char LICENSE[] SEC("license") = "GPL";
