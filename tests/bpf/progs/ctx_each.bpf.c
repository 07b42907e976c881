// SPDX-License-Identifier: GPL-2.0
/*
 * The same use of an arena from every context; see ctx_each.h for the protocol. Each program
 * is one way into the kernel and reads its context from preempt_count.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "arena_nolock.h"
#include "ctx_each.h"
#include "preempt.h"
#include "syscalls.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, CTX_PAGES);
	/* No page of it looks like NULL, as one at a multiple of 4 GiB would. */
	__ulong(map_extra, 0x100010000000);
} arena SEC(".maps");

struct item {
	struct bpf_timer timer;
	struct bpf_wq wq;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct item);
} items SEC(".maps");

struct locked {
	struct bpf_spin_lock lock;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct locked);
} locks SEC(".maps");

volatile struct ctx_shared sh;

/* Later kernels supply the last argument themselves. */
extern int bpf_wq_set_callback___anl(struct bpf_wq *wq,
				     int (callback_fn)(void *map, int *key, void *value),
				     unsigned int flags) __weak __ksym;
extern int bpf_wq_set_callback_impl___anl(struct bpf_wq *wq,
					  int (callback_fn)(void *map, int *key, void *value),
					  unsigned int flags, void *aux) __weak __ksym;

static __noinline __u64 count_not(__u64 __arena *p, __u64 val)
{
	__u64 n = 0;
	int i;

	for (i = 0; i < CTX_WORDS; i++)
		n += p[i * CTX_STEP] != val;

	return n;
}

static __noinline int fill(__u64 __arena *p, __u64 val)
{
	int i;

	for (i = 0; i < CTX_WORDS; i++)
		p[i * CTX_STEP] = val;

	return 0;
}

/* The calls alone, fit for use under a lock. */
struct got {
	__u64 __arena *page;
	__u64 __arena *many;
	int reserved;
	int reserved_again;
	int reserved_outside;
};

static __always_inline void get(struct got *g)
{
	g->page = bpf_arena_nolock_alloc_pages(&arena, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0);
	g->many = bpf_arena_nolock_alloc_pages(&arena, NULL, CTX_MANY, ARENA_NOLOCK_ANY_NODE, 0);
	g->reserved = bpf_arena_nolock_reserve_pages(&arena, (void __arena *)sh.reserve, 2);
	g->reserved_again = bpf_arena_nolock_reserve_pages(&arena, (void __arena *)sh.reserve, 1);
	g->reserved_outside = bpf_arena_nolock_reserve_pages(&arena,
				(void __arena *)(sh.base + CTX_PAGES * ARENA_NOLOCK_PAGE_SIZE), 1);
}

static __noinline int use_new(__u64 __arena *p, __u64 val)
{
	sh.dirty += count_not(p, 0);
	fill(p, val);
	sh.wrong += count_not(p, val);

	return 0;
}

static __always_inline void report(const struct got *g)
{
	sh.page = (__u64)g->page;
	sh.many = (__u64)g->many;
	sh.reserved = g->reserved;
	sh.reserved_again = g->reserved_again;
	sh.reserved_outside = g->reserved_outside;
	if (sh.page)
		use_new((__u64 __arena *)sh.page, sh.pattern);
	if (sh.many) {
		use_new((__u64 __arena *)sh.many, sh.pattern + 1);
		use_new((__u64 __arena *)(sh.many + ARENA_NOLOCK_PAGE_SIZE), sh.pattern + 2);
		use_new((__u64 __arena *)(sh.many + 2 * ARENA_NOLOCK_PAGE_SIZE), sh.pattern + 3);
	}
}

static __always_inline void put(void)
{
	bpf_arena_nolock_free_pages(&arena, (void __arena *)sh.page, 1);
	bpf_arena_nolock_free_pages(&arena, (void __arena *)sh.many, CTX_MANY);
	bpf_arena_nolock_free_pages(&arena, (void __arena *)sh.reserve, 2);
}

static __noinline int cycle(void)
{
	__u64 __arena *p = bpf_arena_nolock_alloc_pages(&arena, NULL, 1,
							ARENA_NOLOCK_ANY_NODE, 0);
	__u64 n = __sync_fetch_and_add(&sh.cycles_done, 1);

	if (!p) {
		__sync_fetch_and_add(&sh.cycles_failed, 1);
		return 0;
	}
	use_new(p, sh.pattern + n);
	bpf_arena_nolock_free_pages(&arena, (void __arena *)p, 1);

	return 0;
}

/* The command if this is the context for it, CTX_NONE otherwise. */
static __always_inline __u32 take_cmd(void)
{
	__u32 pc = preempt_count(), cmd;

	if (!sh.cmd)
		return CTX_NONE;
	if ((sh.need && !(pc & sh.need)) || pc & sh.forbid) {
		sh.elsewhere++;
		return CTX_NONE;
	}
	if (sh.cmd == CTX_CYCLE && sh.cycles_done + 1 < sh.cycles)
		cmd = CTX_CYCLE;
	else
		cmd = __sync_lock_test_and_set(&sh.cmd, CTX_NONE);
	if (cmd)
		sh.pc = pc;

	return cmd;
}

static __noinline int obey(__u32 cmd)
{
	struct got g = {};

	switch (cmd) {
	case CTX_ALLOC:
		get(&g);
		report(&g);
		break;
	case CTX_FREE:
		sh.wrong += count_not((__u64 __arena *)sh.page, ~sh.pattern);
		put();
		break;
	case CTX_CYCLE:
		cycle();
		break;
	default:
		return 0;
	}
	__sync_fetch_and_add(&sh.done, 1);

	return 0;
}

static __always_inline void body(void)
{
	__u32 cmd = take_cmd();

	if (cmd)
		obey(cmd);
}

SEC("syscall")
int ctx_syscall(void *ctx)
{
	body();
	return 0;
}

SEC("fentry.s/bpf_fentry_test1")
int ctx_fentry_s(void *ctx)
{
	body();
	return 0;
}

SEC("fentry/" SYS_FUNC("getpgid"))
int ctx_fentry(void *ctx)
{
	if (bpf_get_current_pid_tgid() >> 32 == sh.tgid)
		body();
	return 0;
}

SEC("kprobe/" SYS_FUNC("getpgid"))
int ctx_kprobe(void *ctx)
{
	if (bpf_get_current_pid_tgid() >> 32 == sh.tgid)
		body();
	return 0;
}

SEC("tp/syscalls/sys_enter_getpgid")
int ctx_tracepoint(void *ctx)
{
	if (bpf_get_current_pid_tgid() >> 32 == sh.tgid)
		body();
	return 0;
}

SEC("raw_tp/sys_enter")
int ctx_raw_tp(struct bpf_raw_tracepoint_args *ctx)
{
	if (ctx->args[1] == SYS_getpgid && bpf_get_current_pid_tgid() >> 32 == sh.tgid)
		body();
	return 0;
}

SEC("tc")
int ctx_tc(struct __sk_buff *skb)
{
	body();
	return 0;
}

SEC("socket")
int ctx_socket(struct __sk_buff *skb)
{
	body();
	return 0;
}

SEC("xdp")
int ctx_xdp(struct xdp_md *ctx)
{
	body();
	return XDP_PASS;
}

SEC("perf_event")
int ctx_perf_event(void *ctx)
{
	body();
	return 0;
}

SEC("raw_tp/hrtimer_expire_entry")
int ctx_hardirq(void *ctx)
{
	body();
	return 0;
}

SEC("raw_tp/softirq_entry")
int ctx_softirq(void *ctx)
{
	body();
	return 0;
}

/* Interrupts are off here, and the lock of a run queue is held. */
SEC("raw_tp/sched_switch")
int ctx_sched_switch(void *ctx)
{
	body();
	return 0;
}

SEC("raw_tp")	/* of NMIs, see attach_nmis() */
int ctx_nmi(void *ctx)
{
	body();
	return 0;
}

SEC("syscall")
int ctx_rcu(void *ctx)
{
	bpf_rcu_read_lock();
	body();
	bpf_rcu_read_unlock();
	return 0;
}

SEC("syscall")
int ctx_preempt_off(void *ctx)
{
	bpf_preempt_disable();
	body();
	bpf_preempt_enable();
	return 0;
}

SEC("syscall")
int ctx_irq_off(void *ctx)
{
	unsigned long flags;

	bpf_local_irq_save(&flags);
	body();
	bpf_local_irq_restore(&flags);
	return 0;
}

SEC("tc")
int ctx_spin_lock(struct __sk_buff *skb)
{
	struct got g = {};
	struct locked *l;
	__u32 key = 0, cmd = take_cmd();

	l = bpf_map_lookup_elem(&locks, &key);
	if (!l || (cmd != CTX_ALLOC && cmd != CTX_FREE))
		return 0;
	if (cmd == CTX_ALLOC) {
		bpf_spin_lock(&l->lock);
		get(&g);
		bpf_spin_unlock(&l->lock);
		report(&g);
	} else {
		sh.wrong += count_not((__u64 __arena *)sh.page, ~sh.pattern);
		bpf_spin_lock(&l->lock);
		put();
		bpf_spin_unlock(&l->lock);
	}
	__sync_fetch_and_add(&sh.done, 1);

	return 0;
}

static int on_timer(void *map, int *key, struct item *item)
{
	body();
	return 0;
}

SEC("tc")
int ctx_timer(struct __sk_buff *skb)
{
	struct item *item;
	__u32 key = 0;

	item = bpf_map_lookup_elem(&items, &key);
	if (!item)
		return 0;
	bpf_timer_init(&item->timer, &items, 1 /* CLOCK_MONOTONIC */);
	bpf_timer_set_callback(&item->timer, on_timer);
	bpf_timer_start(&item->timer, 100 * 1000, 0);
	return 0;
}

static int on_wq(void *map, int *key, void *value)
{
	body();
	return 0;
}

SEC("tc")
int ctx_wq(struct __sk_buff *skb)
{
	struct item *item;
	__u32 key = 0;

	item = bpf_map_lookup_elem(&items, &key);
	if (!item)
		return 0;
	bpf_wq_init(&item->wq, &items, 0);
	if (bpf_ksym_exists(bpf_wq_set_callback___anl))
		bpf_wq_set_callback___anl(&item->wq, on_wq, 0);
	else
		bpf_wq_set_callback_impl___anl(&item->wq, on_wq, 0, NULL);
	bpf_wq_start(&item->wq, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
