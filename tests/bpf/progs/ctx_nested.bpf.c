// SPDX-License-Identifier: GPL-2.0
/*
 * More ways into the kernel than in ctx_each.bpf.c, many pages in one NMI, and allocations
 * that interrupt a call on the same arena while it holds the tree's lock.
 */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "arena_nolock.h"
#include "ctx_nested.h"
#include "preempt.h"
#include "syscalls.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, CTX_ARENA_PAGES);
	/* No page of it looks like NULL, as one at a multiple of 4 GiB would. */
	__ulong(map_extra, 0x100010000000);
} arena SEC(".maps");

volatile struct ctx_status st;

typedef __u64 __arena *word_ptr;

static __always_inline word_ptr get(__u32 cnt)
{
	return bpf_arena_nolock_alloc_pages(&arena, NULL, cnt, ARENA_NOLOCK_ANY_NODE, 0);
}

static __always_inline void put(__u64 addr, __u32 cnt)
{
	bpf_arena_nolock_free_pages(&arena, (void __arena *)addr, cnt);
}

static __always_inline void use(__u64 addr, __u64 mark)
{
	volatile word_ptr p = (word_ptr)addr;

	if (p[0] || p[511])
		__sync_fetch_and_add(&st.dirty, 1);
	p[0] = mark;
	p[511] = ~mark;
}

static __noinline int grab(void)
{
	__u32 i;

	bpf_for(i, 0, st.cnt) {
		__u64 p = (__u64)get(1);

		if (i >= CTX_MAX_PAGES)
			break;
		st.page[i] = p;
		if (p)
			use(p, CTX_MARK + i);
	}
	if (!st.block_cnt)
		return 0;
	st.block = (__u64)get(st.block_cnt);
	if (st.block)
		bpf_for(i, 0, st.block_cnt)
			use(st.block + i * ARENA_NOLOCK_PAGE_SIZE, CTX_MARK - i);

	return 0;
}

static __noinline int drop(void)
{
	__u32 i;

	bpf_for(i, 0, st.cnt) {
		if (i >= CTX_MAX_PAGES)
			break;
		if (st.page[i])
			put(st.page[i], 1);
	}
	if (st.block)
		put(st.block, st.block_cnt);

	return 0;
}

static __noinline int again(void)
{
	__u32 i;

	bpf_for(i, 0, st.times) {
		__u64 p = (__u64)get(1);

		if (!p)
			continue;
		st.tried_again++;
		put(p, 1);
		if (!bpf_arena_nolock_alloc_pages(&arena, (void __arena *)p, 1,
						  ARENA_NOLOCK_ANY_NODE, 0))
			continue;
		st.got_again++;
		put(p, 1);
	}

	return 0;
}

static __always_inline void use_and_put(__u64 p, __u32 cnt, volatile __u32 *missing)
{
	if (!p) {
		__sync_fetch_and_add(missing, 1);
		return;
	}
	use(p, CTX_MARK);
	put(p, cnt);
}

static __noinline int round(bool single)
{
	__u64 one = (__u64)get(1), few = single ? 0 : (__u64)get(CTX_ROUND_PAGES);

	use_and_put(one, 1, &st.no_page);
	if (!single)
		use_and_put(few, CTX_ROUND_PAGES, &st.no_pages);
	__sync_fetch_and_add(&st.rounds, 1);

	return 0;
}

static __noinline int act(void)
{
	__u32 pc = preempt_count(), op = st.op;

	if (!op)
		return 0;
	if (st.need && !(pc & st.need)) {
		__sync_fetch_and_add(&st.elsewhere, 1);
		return 0;
	}
	if (op < CTX_OP_ROUND && __sync_lock_test_and_set(&st.op, CTX_OP_NONE) != op)
		return 0;
	st.pc = pc;
	st.nesting = rcu_nesting(pc);
	if (op == CTX_OP_GRAB)
		grab();
	else if (op == CTX_OP_DROP)
		drop();
	else if (op == CTX_OP_AGAIN)
		again();
	else
		round(op == CTX_OP_SINGLE);
	__sync_fetch_and_add(&st.done, 1);

	return 0;
}

SEC("syscall")
int ctx_plain(void *ctx)
{
	return act();
}

SEC("syscall")
int ctx_under_rcu(void *ctx)
{
	bpf_rcu_read_lock();
	act();
	bpf_rcu_read_unlock();
	return 0;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(ctx_tp_btf, struct pt_regs *regs, long id)
{
	if (id == SYS_getpgid && bpf_get_current_pid_tgid() >> 32 == st.tgid)
		act();
	return 0;
}

SEC("socket")
int ctx_filter(struct __sk_buff *skb)
{
	return act();
}

SEC("raw_tp")	/* of NMIs, see attach_nmis() */
int ctx_in_nmi(void *ctx)
{
	return act();
}

/* Attached in many places; one of them at a time acts, and once. */
SEC("kprobe")
int ctx_probe(struct pt_regs *regs)
{
	__u64 at = bpf_get_attach_cookie(regs);

	if (at && __sync_val_compare_and_swap(&st.armed, at, 0) == at)
		act();
	return 0;
}

/* Keeps the lock of the arena busy on this CPU. */
SEC("syscall")
int ctx_hammer(void *ctx)
{
	__u32 i;

	bpf_for(i, 0, st.times) {
		__u64 one = (__u64)get(1), few = (__u64)get(2);

		if (one)
			put(one, 1);
		if (few)
			put(few, 2);
		st.hammered++;
	}

	return 0;
}

char LICENSE[] SEC("license") = "GPL";
