// SPDX-License-Identifier: GPL-2.0
/*
 * The demo: samples from four contexts grow a data structure in an arena, and
 * each page of it is allocated where it is needed. See demo.h.
 */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "arena_nolock.h"
#include "demo.h"
#include "preempt.h"

#define EVERY 4		/* one of this many slab allocations is sampled */
#define SCRATCH_EVERY 8	/* one of this many interrupts and NMIs uses a page */

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, DEMO_PAGES);
	/* No page of it looks like NULL, as one at a multiple of 4 GiB would. */
	__ulong(map_extra, 0x100010000000);
} arena SEC(".maps");

const volatile struct pc_layout pc;

struct demo_stats stats[DEMO_CTXS];
__u64 shared[DEMO_CTXS];	/* pages that another context wrote to */
__u64 roots[DEMO_CTXS];
struct demo_log logs[DEMO_CTXS * DEMO_CPUS];

static __always_inline __u32 where_am_i(void)
{
	__u32 count = preempt_count();

	if (count & pc.nmi)
		return DEMO_NMI;
	if (count & pc.hardirq)
		return DEMO_HARDIRQ;
	if (count & pc.softirq)
		return DEMO_SOFTIRQ;
	return DEMO_TASK;
}

static __noinline int check_new(__u64 __arena *p)
{
	__u64 any = 0;
	int i;

	for (i = 0; i < 512; i += 4)
		any |= p[i] | p[i + 1] | p[i + 2] | p[i + 3];

	return any != 0;
}

static __noinline __u64 new_page(__u32 ctx)
{
	struct demo_stats *s = &stats[ctx % DEMO_CTXS];
	void __arena *p = arena_nolock_alloc_pages(&arena, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0);

	if (!p) {
		__sync_fetch_and_add(&s->failed, 1);
		return 0;
	}
	__sync_fetch_and_add(&s->allocs, 1);
	if (check_new(p))
		__sync_fetch_and_add(&s->dirty, 1);

	return (__u64)p;
}

static __noinline int free_page(__u64 addr, __u32 ctx)
{
	__sync_fetch_and_add(&stats[ctx % DEMO_CTXS].frees, 1);
	arena_nolock_free_pages(&arena, (void __arena *)addr, 1);

	return 0;
}

/* The node below a slot. The first to fill an empty slot wins. */
static __noinline __u64 child_of(__u64 __arena *slot, __u32 ctx)
{
	__u64 child = *slot, old;

	if (child)
		return child;
	child = new_page(ctx);
	if (!child)
		return 0;
	old = __sync_val_compare_and_swap(slot, 0, child);
	if (!old)
		return child;
	free_page(child, ctx);

	return old;
}

static __noinline int count(__u64 __arena *slot)
{
	__sync_fetch_and_add(slot, 1);

	return 0;
}

static __noinline __u64 root_of(__u32 ctx)
{
	__u64 *slot = &roots[ctx % DEMO_CTXS], root = *slot, old;

	if (root)
		return root;
	root = new_page(ctx);
	if (!root)
		return 0;
	old = __sync_val_compare_and_swap(slot, 0, root);
	if (!old)
		return root;
	free_page(root, ctx);

	return old;
}

static __noinline int profile(__u64 ip, __u32 ctx)
{
	__u64 key = ip & ((1ULL << DEMO_KEY_BITS) - 1), node = root_of(ctx);
	int level;

	for (level = 0; node && level < DEMO_LEVELS - 1; level++)
		node = child_of((__u64 __arena *)node + DEMO_SLOT(key, level), ctx);
	if (!node)
		return -1;

	return count((__u64 __arena *)node + DEMO_SLOT(key, DEMO_LEVELS - 1));
}

static __noinline int write_record(struct demo_record __arena *r, __u64 ip, __u64 seq)
{
	__u64 comm[2] = {};

	bpf_get_current_comm(comm, sizeof(comm));
	r->ip = ip;
	r->seq = seq;
	r->pid = bpf_get_current_pid_tgid() >> 32;
	r->comm[0] = comm[0];
	r->comm[1] = comm[1];

	return 0;
}

/* Use a page for a moment. If another context has it as well, its contents change. */
static __noinline int use_scratch(__u64 seq, __u32 ctx)
{
	__u64 addr, wrong = 0;
	__u64 __arena *p;
	int i;

	addr = new_page(ctx);
	p = (__u64 __arena *)addr;
	if (!addr)
		return -1;
	for (i = 0; i < 512; i += 8)
		p[i] = seq + i;
	barrier();
	for (i = 0; i < 512; i += 8)
		wrong |= p[i] ^ (seq + i);
	if (wrong)
		__sync_fetch_and_add(&shared[ctx % DEMO_CTXS], 1);

	return free_page(addr, ctx);
}

static __noinline int log_sample(struct demo_log *l, __u64 ip, __u32 ctx)
{
	__u64 page, seq;

	if (!l)
		return -1;
	seq = l->seq;
	if (seq % DEMO_LOG_RECORDS == 0) {
		page = new_page(ctx);
		if (!page)
			return -1;
		if (l->page[2])
			free_page(l->page[2], ctx);
		l->page[2] = l->page[1];
		l->page[1] = l->page[0];
		l->page[0] = page;
	}
	l->seq++;

	return write_record((struct demo_record __arena *)l->page[0] + seq % DEMO_LOG_RECORDS,
			    ip, seq);
}

/*
 * A log belongs to one context on one CPU. What interrupts it is in another
 * context; only a sample of what this program itself makes the kernel do is not.
 */
static __always_inline void sample(__u64 ip)
{
	struct demo_stats *s;
	struct demo_log *l;
	__u32 ctx, cpu;

	bpf_preempt_disable();
	ctx = where_am_i();
	cpu = bpf_get_smp_processor_id();
	s = &stats[ctx % DEMO_CTXS];
	l = &logs[(ctx % DEMO_CTXS) * DEMO_CPUS + cpu % DEMO_CPUS];
	if (cpu < DEMO_CPUS && !l->busy) {
		l->busy = 1;
		__sync_fetch_and_add(&s->samples, 1);
		if (log_sample(l, ip, ctx) || profile(ip, ctx))
			__sync_fetch_and_add(&s->dropped, 1);
		if (ctx >= DEMO_HARDIRQ && l->seq % SCRATCH_EVERY == 0)
			use_scratch(l->seq, ctx);
		l->busy = 0;
	}
	bpf_preempt_enable();
}

/* Hard interrupt, or NMI of a counter: what did it interrupt? */
SEC("perf_event")
int on_clock(struct bpf_perf_event_data *ctx)
{
	sample(PT_REGS_IP(&ctx->regs));
	return 0;
}

/* NMI: the same, also where interrupts are off. */
SEC("fentry/nmi_cpu_backtrace_handler")
int BPF_PROG(on_nmi, unsigned int cmd, struct pt_regs *regs)
{
	sample(PT_REGS_IP(regs));
	return 0;
}

/* Softirq: which timers expire? */
SEC("raw_tp/timer_expire_entry")
int on_timer(struct bpf_raw_tracepoint_args *ctx)
{
	struct timer_list *timer = (struct timer_list *)ctx->args[0];

	sample((__u64)BPF_CORE_READ(timer, function));
	return 0;
}

/* Any context, mostly tasks and softirqs: samples allocations of kernel objects. */
SEC("raw_tp/kmem_cache_alloc")
int on_slab(struct bpf_raw_tracepoint_args *ctx)
{
	if (!(bpf_get_prandom_u32() % EVERY))
		sample(ctx->args[0]);
	return 0;
}

__u64 base;

SEC("syscall")
int free_all(void *ctx)
{
	arena_nolock_free_pages(&arena, (void __arena *)base, DEMO_PAGES);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
