// SPDX-License-Identifier: GPL-2.0
/*
 * A sched_ext scheduler that is fair by weighted virtual time. The state of a task is in an
 * arena. It is allocated on first use, in enqueue or running, with a run queue locked.
 * Nothing is preallocated, and a task that never runs has no state.
 *
 * One set of programs serves both forms of schedulers: user space creates cid_ops where the
 * kernel has that form (since 7.2), and cpu_ops elsewhere. In the cid form the kernel keeps
 * tables of its own in the same arena.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "arena_nolock_slab.h"
#include "scx_arena.h"

#define SHARED_DSQ 0
#define WEIGHT_DEFAULT 100

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 131072);		/* 512 MiB at most */
	__ulong(map_extra, 0x100010000000);
} arena SEC(".maps");

struct arena_nolock_slab tasks = { .size = sizeof(struct task_state) };
__u64 dirs[TASK_DIRS];
__u64 without;	/* enqueues of tasks for which there was no memory */
__u64 vtime_now;
__u64 ended;
_Bool module;	/* whose pages */

static __always_inline __u64 *dir_of(struct task_struct *p)
{
	return &dirs[(__u32)p->pid / TASK_SLOTS % TASK_DIRS];
}

/* The caller holds the lock of the task's run queue, so it is the only user of the state. */
static __always_inline struct task_state __arena *state_of(struct task_struct *p)
{
	struct task_state __arena *t;
	__u64 __arena *slot;
	int i;

	slot = (__u64 __arena *)arena_nolock_page_once(&arena, dir_of(p));
	if (!slot)
		return NULL;
	slot += (__u32)p->pid % TASK_SLOTS;
	t = (struct task_state __arena *)*slot;
	if (t)
		return t;
	t = arena_nolock_slab_alloc(&arena, &tasks);
	if (!t)
		return NULL;
	t->pid = p->pid;
	t->vtime = vtime_now;
	for (i = 0; i < (int)sizeof(t->comm); i++)
		t->comm[i] = p->comm[i];
	*slot = (__u64)t;

	return t;
}

SEC("struct_ops/enqueue")
void BPF_PROG(enqueue, struct task_struct *p, u64 enq_flags)
{
	struct task_state __arena *t = state_of(p);
	struct scx_bpf_dsq_insert_vtime_args args = {};
	__u64 oldest = vtime_now - SCX_SLICE_DFL, vtime;

	if (!t) {
		__sync_fetch_and_add(&without, 1);
		scx_bpf_dsq_insert(p, SCX_DSQ_GLOBAL, SCX_SLICE_DFL, enq_flags);
		return;
	}
	/* A task that slept for long gets an advantage of at most one slice. */
	vtime = t->vtime;
	if ((__s64)(vtime - oldest) < 0)
		vtime = oldest;
	t->vtime = vtime;
	t->since = bpf_ktime_get_ns();
	if (bpf_ksym_exists(__scx_bpf_dsq_insert_vtime)) {
		args.dsq_id = SHARED_DSQ;
		args.slice = SCX_SLICE_DFL;
		args.vtime = vtime;
		args.enq_flags = enq_flags;
		__scx_bpf_dsq_insert_vtime(p, &args);
	} else {
		scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, SCX_SLICE_DFL, vtime, enq_flags);
	}
}

SEC("struct_ops/dispatch")
void BPF_PROG(dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

SEC("struct_ops/running")
void BPF_PROG(running, struct task_struct *p)
{
	struct task_state __arena *t = state_of(p);
	__u64 now = bpf_ktime_get_ns(), since;

	if (!t)
		return;
	since = t->since;
	if (since)
		t->wait_ns += now - since;
	t->since = now;
	t->runs++;
	if ((__s64)(t->vtime - vtime_now) > 0)
		vtime_now = t->vtime;
}

SEC("struct_ops/stopping")
void BPF_PROG(stopping, struct task_struct *p, bool runnable)
{
	struct task_state __arena *t = state_of(p);
	__u64 weight = p->scx.weight, ran;

	if (!t || !t->since)
		return;
	ran = bpf_ktime_get_ns() - t->since;
	t->run_ns += ran;
	t->vtime += ran * WEIGHT_DEFAULT / (weight ? weight : WEIGHT_DEFAULT);
	t->since = 0;
}

SEC("struct_ops/exit_task")
void BPF_PROG(exit_task, struct task_struct *p, struct scx_exit_task_args *args)
{
	__u64 __arena *slot = (__u64 __arena *)*dir_of(p);
	__u64 t;

	if (!slot)
		return;
	slot += (__u32)p->pid % TASK_SLOTS;
	t = *slot;
	if (!t)
		return;
	*slot = 0;
	arena_nolock_slab_free(&arena, &tasks, (void __arena *)t);
}

SEC("struct_ops.s/init")
s32 BPF_PROG(init)
{
	module = arena_nolock_available();

	return scx_bpf_create_dsq(SHARED_DSQ, -1);
}

SEC("struct_ops/exit")
void BPF_PROG(on_exit, struct scx_exit_info *ei)
{
	ended = ei->kind;
}

/* The members in use, since vmlinux.h may be of a kernel without this type. */
struct sched_ext_ops_cid___arena {
	void (*enqueue)(void);
	void (*dispatch)(void);
	void (*running)(void);
	void (*stopping)(void);
	void (*exit_task)(void);
	s32 (*init)(void);
	void (*exit)(void);
	char name[128];
};

#define CALLBACKS				\
	.enqueue = (void *)enqueue,		\
	.dispatch = (void *)dispatch,		\
	.running = (void *)running,		\
	.stopping = (void *)stopping,		\
	.exit_task = (void *)exit_task,		\
	.init = (void *)init,			\
	.exit = (void *)on_exit,		\
	.name = "arena"

SEC(".struct_ops.link")
struct sched_ext_ops cpu_ops = { CALLBACKS };

SEC(".struct_ops.link")
struct sched_ext_ops_cid___arena cid_ops = { CALLBACKS };

char LICENSE[] SEC("license") = "GPL";
