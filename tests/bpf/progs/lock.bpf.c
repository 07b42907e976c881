// SPDX-License-Identifier: GPL-2.0
/*
 * Locks of arena_nolock_lock.h, in a global and in the arena: by request, held under an NMI,
 * and in a storm of programs in tasks, softirqs, timers and NMIs.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

/* Set by the test. */
__u64 wait_ns = 1000000;
#define ARENA_NOLOCK_LOCK_NS wait_ns

#include "arena_nolock_lock.h"
#include "lock.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4);
	__ulong(map_extra, 0x100010000000);
} arena SEC(".maps");

struct lock_data global;
volatile struct lock_status st;

typedef struct lock_data __arena *data_ptr;

SEC("syscall")
int lock_setup(void *ctx)
{
	st.page = (__u64)arena_nolock_alloc_pages(&arena, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0);

	return 0;
}

/* Try, try again as the holder; unlock. */
SEC("syscall")
int lock_try(void *ctx)
{
	data_ptr d = (data_ptr)st.page;

	arena_nolock_uses(&arena);
	st.tried = st.in_arena ? arena_nolock_lock_try(&d->lock) :
				 arena_nolock_lock_try(&global.lock);
	if (st.tried)
		return 0;
	if (st.in_arena) {
		st.tried_again = arena_nolock_lock_try(&d->lock);
		st.got = arena_nolock_lock(&d->lock);
		arena_nolock_unlock(&d->lock);
		st.got_free = d->lock.owner;
	} else {
		st.tried_again = arena_nolock_lock_try(&global.lock);
		st.got = arena_nolock_lock(&global.lock);
		arena_nolock_unlock(&global.lock);
		st.got_free = global.lock.owner;
	}

	return 0;
}

/* As a program does that must not be preempted while it holds the lock. */
SEC("syscall")
int lock_wait(void *ctx)
{
	data_ptr d = (data_ptr)st.page;
	__u64 begin = bpf_ktime_get_ns();
	int err;

	arena_nolock_uses(&arena);
	bpf_preempt_disable();
	err = st.in_arena ? arena_nolock_lock(&d->lock) : arena_nolock_lock(&global.lock);
	st.ns = bpf_ktime_get_ns() - begin;
	if (!err) {
		if (st.in_arena)
			arena_nolock_unlock(&d->lock);
		else
			arena_nolock_unlock(&global.lock);
	}
	bpf_preempt_enable();
	st.got = err;

	return 0;
}

/* Hold the global lock until an NMI on this CPU has tried to lock it. */
SEC("syscall")
int lock_hold(void *ctx)
{
	int i;

	st.got = arena_nolock_lock(&global.lock);
	if (st.got)
		return 0;
	st.holder = bpf_get_smp_processor_id() + 1;
	bpf_for(i, 0, 1 << 23) {
		if (!st.hold)
			break;
	}
	st.holder = 0;
	arena_nolock_unlock(&global.lock);

	return 0;
}

static __always_inline void count_error(int err)
{
	if (err == -35)
		__sync_fetch_and_add(&st.deadlock, 1);
	else if (err == -110)
		__sync_fetch_and_add(&st.timeout, 1);
	else
		__sync_fetch_and_add(&st.other, 1);
}

#define USE(d, which)								\
do {										\
	int err = arena_nolock_lock(&(d)->lock);				\
										\
	if (err) {								\
		count_error(err);						\
		break;								\
	}									\
	n = (d)->first;								\
	if ((d)->second != n)							\
		__sync_fetch_and_add(&st.unequal, 1);				\
	(d)->first = n + 1;							\
	bpf_for(i, 0, 20)							\
		barrier();							\
	(d)->second = n + 1;							\
	arena_nolock_unlock(&(d)->lock);					\
	__sync_fetch_and_add(&st.locked[which], 1);				\
} while (0)

static __noinline int use(__u32 ctx)
{
	data_ptr d = (data_ptr)st.page;
	__u64 n;
	int i;

	arena_nolock_uses(&arena);
	USE(&global, 0);
	USE(d, 1);
	__sync_fetch_and_add(&st.rounds[ctx % LOCK_CTXS], 1);

	return 0;
}

SEC("raw_tp/sys_enter")
int lock_in_task(struct bpf_raw_tracepoint_args *ctx)
{
	if (st.storm && ctx->args[1] == LOCK_SYSCALL && bpf_get_current_pid_tgid() >> 32 == st.tgid)
		use(LOCK_TASK);

	return 0;
}

SEC("raw_tp/softirq_entry")
int lock_in_softirq(void *ctx)
{
	if (st.storm)
		use(LOCK_SOFTIRQ);

	return 0;
}

SEC("perf_event")
int lock_in_timer(void *ctx)
{
	if (st.storm)
		use(LOCK_HARDIRQ);

	return 0;
}

SEC("raw_tp")	/* of NMIs, see attach_nmis() */
int lock_in_nmi(void *ctx)
{
	__u64 begin = bpf_ktime_get_ns();
	int err;

	if (st.storm)
		use(LOCK_NMI);
	if (!st.hold || st.holder != bpf_get_smp_processor_id() + 1)
		return 0;
	err = arena_nolock_lock(&global.lock);
	st.nmi_ns = bpf_ktime_get_ns() - begin;
	st.nmi_err = err;
	if (!err)
		arena_nolock_unlock(&global.lock);
	st.hold = 0;

	return 0;
}

char LICENSE[] SEC("license") = "GPL";
