// SPDX-License-Identifier: GPL-2.0
/*
 * A program that the kernel runs when it destroys an inode. In direct reclaim of a victim it
 * makes every call that an arena allows; see reclaim.h.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "arena_nolock.h"
#include "reclaim.h"

#define PF_WQ_WORKER 0x20
#define PF_MEMALLOC 0x800

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
} arena SEC(".maps");

struct stack {
	__u64 ip[RECLAIM_DEPTH];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct stack);
} stacks SEC(".maps");

extern __u32 anl_test_begin_reclaim(void) __ksym __weak;
extern void anl_test_end_reclaim(__u32 flags) __ksym __weak;

struct reclaim_shared sh;

typedef __u64 __arena *word_ptr;

/* Is a function of the module further up the stack? */
static __noinline int in_module(void)
{
	struct task_struct *t = bpf_get_current_task_btf();
	__u32 zero = 0, i;
	struct stack *s = bpf_map_lookup_elem(&stacks, &zero);
	long n;

	if (!s)
		return 0;
	n = bpf_get_task_stack(t, s, sizeof(*s), 0);
	bpf_for(i, 0, RECLAIM_DEPTH) {
		if ((long)(i * sizeof(*s->ip)) >= n)
			break;
		if (s->ip[i] < sh.text || s->ip[i] >= sh.text_end)
			continue;
		if (!__sync_fetch_and_add(&sh.in_module, 1))
			__builtin_memcpy(sh.stack, s, sizeof(sh.stack));
		return 1;
	}

	return 0;
}

static __noinline int use_arena(void)
{
	void __arena *hole = (void __arena *)sh.hole;
	volatile word_ptr p;

	p = bpf_arena_nolock_alloc_pages(&arena, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0);
	if (p) {
		if (p[0] || p[511])
			__sync_fetch_and_add(&sh.dirty, 1);
		p[0] = ~0ULL;
		p[511] = ~0ULL;
		bpf_arena_nolock_free_pages(&arena, (void __arena *)p, 1);
		__sync_fetch_and_add(&sh.allocs, 1);
	}
	if (sh.hole && !bpf_arena_nolock_reserve_pages(&arena, hole, 1)) {
		bpf_arena_nolock_free_pages(&arena, hole, 1);
		__sync_fetch_and_add(&sh.reserves, 1);
	}
	if (sh.addr) {
		bpf_arena_nolock_free_pages(&arena, (void __arena *)sh.addr, 1);
		__sync_fetch_and_add(&sh.frees, 1);
	}

	return 0;
}

SEC("lsm.s/inode_free_security")
int BPF_PROG(inode_gone, struct inode *inode)
{
	struct task_struct *t = bpf_get_current_task_btf();

	if (t->tgid != sh.target && !(sh.workers && t->flags & PF_WQ_WORKER))
		return 0;
	__sync_fetch_and_add(&sh.calls, 1);
	if (!(t->flags & PF_MEMALLOC))
		return 0;
	__sync_fetch_and_add(&sh.in_reclaim, 1);
	/* Where the module is waited for matters most; elsewhere a few runs will do. */
	if (__sync_fetch_and_add(&sh.budget, -(in_module() ? 1 : 8)) > 0)
		use_arena();

	return 0;
}

/* The same where an allocation in mmap() or fork() would have entered reclaim. */
SEC("?syscall")
int in_mmap(void *ctx)
{
	__u32 flags = anl_test_begin_reclaim();

	__sync_fetch_and_add(&sh.calls, 1);
	use_arena();
	anl_test_end_reclaim(flags);

	return 0;
}

char LICENSE[] SEC("license") = "GPL";
