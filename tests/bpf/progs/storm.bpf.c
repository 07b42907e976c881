// SPDX-License-Identifier: GPL-2.0
/*
 * Random operations on an arena in every context there is; see storm.h for the two
 * kinds of arenas. The numbers come from a state per CPU that user space seeds. An
 * NMI in the middle of a step makes two of them alike, which does no harm.
 */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "arena_nolock.h"
#include "storm.h"

extern __u64 anl_test_peek(__u64 kaddr) __ksym;

/* An arena's kernel area begins with a guard for 16 bit offsets. */
#define LOWER_GUARD 32768

#define PF_MEMALLOC 0x800
#define PAGE ((__u64)ARENA_NOLOCK_PAGE_SIZE)

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
} arena SEC(".maps");

volatile struct storm_shared sh;

typedef __u64 __arena *word_ptr;

static __always_inline __u64 rnd(void)
{
	__u32 cpu = bpf_get_smp_processor_id() % STORM_CPUS;
	__u64 x = sh.rng[cpu];

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	sh.rng[cpu] = x;

	return x * 0x9e3779b97f4a7c15ULL >> 8;
}

/* Mostly single pages. */
static __always_inline __u32 rnd_cnt(__u64 r)
{
	return r & 3 ? 1 : 1 + (r >> 2) % STORM_MOST;
}

static __always_inline void __arena *page_at(__u64 pgoff)
{
	return (void __arena *)(sh.base + pgoff * PAGE);
}

static __noinline int put_word(__u64 addr, __u64 val)
{
	*(volatile word_ptr)addr = val;

	return 0;
}

static __noinline __u64 get_word(__u64 addr)
{
	return *(volatile word_ptr)addr;
}

/*
 * Owned arenas
 */

/* A page holds its mark in its first and last word, and in one between. */
static __noinline int mark_pages(__u64 e)
{
	__u64 addr = sh.base + STORM_PGOFF(e) * PAGE;
	__u32 i;

	bpf_for(i, 0, STORM_CNT(e)) {
		put_word(addr + i * PAGE, e + i);
		put_word(addr + i * PAGE + 8 * (1 + i), e + i);
		put_word(addr + (i + 1) * PAGE - 8, e + i);
	}

	return 0;
}

static __noinline int check_pages(__u64 e)
{
	__u64 addr = sh.base + STORM_PGOFF(e) * PAGE;
	__u32 i;

	bpf_for(i, 0, STORM_CNT(e)) {
		if (get_word(addr + i * PAGE) == e + i &&
		    get_word(addr + i * PAGE + 8 * (1 + i)) == e + i &&
		    get_word(addr + (i + 1) * PAGE - 8) == e + i)
			continue;
		if (!__sync_fetch_and_add(&sh.wrong, 1))
			sh.bad_entry = e + i;
	}

	return 0;
}

static __noinline int check_zero(__u64 e)
{
	__u64 addr = sh.base + STORM_PGOFF(e) * PAGE;
	__u32 i;

	bpf_for(i, 0, STORM_CNT(e)) {
		if (get_word(addr + i * PAGE) ||
		    get_word(addr + i * PAGE + 8 * (1 + i)) ||
		    get_word(addr + (i + 1) * PAGE - 8))
			__sync_fetch_and_add(&sh.dirty, 1);
	}

	return 0;
}

static __noinline int drop(__u64 e)
{
	check_pages(e);
	bpf_arena_nolock_free_pages(&arena, page_at(STORM_PGOFF(e)), STORM_CNT(e));

	return 0;
}

static __noinline int owned_op(__u32 cx, __u64 r)
{
	__u32 i = r % STORM_ENTRIES, cnt = rnd_cnt(r >> 8);
	volatile struct storm_count *c = &sh.count[cx & STORM_CX_MASK];
	__u64 e, addr, fixed = 0;

	e = __sync_lock_test_and_set(&sh.entry[i], 0);
	if (e) {
		drop(e);
		return 0;
	}
	if (!(r >> 16 & 3))
		fixed = (__u64)page_at((r >> 20) % sh.pages);
	addr = (__u64)bpf_arena_nolock_alloc_pages(&arena, (void __arena *)fixed, cnt,
						   ARENA_NOLOCK_ANY_NODE, 0);
	if (!addr) {
		c->none++;
		return 0;
	}
	c->got++;
	if (addr < sh.base || addr + cnt * PAGE > sh.base + sh.pages * PAGE) {
		sh.outside++;
		return 0;
	}
	e = STORM_ENTRY((addr - sh.base) / PAGE, cnt, __sync_fetch_and_add(&sh.serial, 1) + 1);
	check_zero(e);
	mark_pages(e);
	e = __sync_lock_test_and_set(&sh.entry[i], e);
	if (e)
		drop(e);

	return 0;
}

/*
 * Wild arenas
 */

/* What is not mapped, touched by the kernel itself: a scratch page comes. */
static __noinline int peek(__u64 pgoff)
{
	struct bpf_arena *a = bpf_rdonly_cast(&arena, bpf_core_type_id_kernel(struct bpf_arena));

	anl_test_peek((__u64)BPF_CORE_READ(a, kern_vm, addr) + LOWER_GUARD +
		      (__u32)(sh.base + pgoff * PAGE));

	return 0;
}

static __noinline int wild_op(__u32 cx, __u64 r)
{
	volatile struct storm_count *c = &sh.count[cx & STORM_CX_MASK];
	__u64 pgoff = (r >> 12) % sh.pages, addr;
	__u32 cnt = rnd_cnt(r >> 4);

	switch (r & 15) {
	case 0: case 1: case 2: case 3: case 4:
		addr = (__u64)bpf_arena_nolock_alloc_pages(&arena, NULL, cnt,
							   ARENA_NOLOCK_ANY_NODE, 0);
		break;
	case 5: case 6:
		addr = (__u64)bpf_arena_nolock_alloc_pages(&arena, page_at(pgoff), cnt,
							   ARENA_NOLOCK_ANY_NODE, 0);
		break;
	case 7: case 8: case 9:
		bpf_arena_nolock_free_pages(&arena, page_at(pgoff), cnt);
		return 0;
	case 10:
		/* Across the end, not at the beginning of a page, or much. */
		bpf_arena_nolock_free_pages(&arena, page_at(pgoff) + (r >> 40 & (PAGE - 1)),
					    r >> 32 & 1 ? ~0U : 1 + (r >> 33) % sh.pages);
		return 0;
	case 11:
		/* Anything. */
		bpf_arena_nolock_free_pages(&arena, (void __arena *)(rnd() << 8 ^ r), cnt);
		return 0;
	case 12:
		bpf_arena_nolock_reserve_pages(&arena, page_at(pgoff), cnt);
		return 0;
	case 13:
		bpf_arena_nolock_reserve_pages(&arena, (void __arena *)(rnd() << 8 ^ r), cnt);
		return 0;
	case 14:
		put_word((__u64)page_at(pgoff), r);
		return 0;
	default:
		if (sh.scratch && cx <= STORM_RAW)
			peek(pgoff);
		else
			get_word((__u64)page_at(pgoff));
		return 0;
	}
	if (!addr) {
		c->none++;
		return 0;
	}
	c->got++;
	if (addr < sh.base || addr + cnt * PAGE > sh.base + sh.pages * PAGE)
		sh.outside++;
	else
		put_word(addr, addr);

	return 0;
}

static __noinline int storm(__u32 cx, __u32 n)
{
	__u32 i;

	if (!sh.pages)
		return 0;
	bpf_for(i, 0, n) {
		__u64 r = rnd();

		sh.count[cx & STORM_CX_MASK].ops++;
		if (sh.owned)
			owned_op(cx, r);
		else
			wild_op(cx, r);
	}

	return 0;
}

/* Of many events, some. */
static __always_inline int now_and_then(__u32 cx)
{
	if (sh.every && !(rnd() % sh.every))
		storm(cx, 2);

	return 0;
}

struct storm_ctx {
	__u32 n;
};

SEC("syscall")
int storm_sys(struct storm_ctx *ctx)
{
	return storm(STORM_SYS, ctx->n);
}

SEC("raw_tp")
int storm_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return storm(STORM_RAW, ctx->args[0]);
}

SEC("raw_tp/sys_enter")
int storm_enter(void *ctx)
{
	return now_and_then(STORM_ENTER);
}

SEC("raw_tp/sched_switch")
int storm_switch(void *ctx)
{
	return now_and_then(STORM_SWITCH);
}

SEC("raw_tp/hrtimer_expire_entry")
int storm_timer(void *ctx)
{
	return now_and_then(STORM_TIMER);
}

SEC("raw_tp/softirq_entry")
int storm_softirq(void *ctx)
{
	return now_and_then(STORM_SOFTIRQ);
}

/* There are fewer of these, and they are what the storm is about. */
SEC("raw_tp")	/* of NMIs, see attach_nmis() */
int storm_nmi(void *ctx)
{
	return storm(STORM_NMI, 2);
}

/* It can sleep, and below it is an allocation, maybe one of the module's for this arena. */
SEC("?lsm.s/inode_free_security")
int storm_reclaim(void *ctx)
{
	struct task_struct *t = bpf_get_current_task_btf();

	if (t->flags & PF_MEMALLOC)
		__sync_fetch_and_add(&sh.in_reclaim, 1);

	return now_and_then(STORM_RECLAIM);
}

/* What is left in an owned arena. */
SEC("syscall")
int storm_end(void *ctx)
{
	__u32 i;
	__u64 e;

	bpf_for(i, 0, STORM_ENTRIES) {
		e = __sync_lock_test_and_set(&sh.entry[i % STORM_ENTRIES], 0);
		if (e)
			drop(e);
	}

	return 0;
}

char LICENSE[] SEC("license") = "GPL";
