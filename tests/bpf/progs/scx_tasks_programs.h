/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A scheduler that allocates and frees a page in each of its callbacks, most of which run
 * with a run queue locked, and keeps the state of each task in a page of the arena. Its
 * policy is one queue. The same programs serve the cpu form and the cid form; the test
 * creates one of the two.
 *
 * A file that includes this one defines alloc_page() and free_page() for the arena.
 */
#ifndef SCX_TASKS_PROGRAMS_H
#define SCX_TASKS_PROGRAMS_H

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SCX_TASKS_PAGES);
} arena SEC(".maps");

/* What a vmlinux.h of a kernel without sched_ext does not have. */
#define DSQ_GLOBAL	(1ULL << 63 | 1)
#define SLICE_NS	(20 * 1000 * 1000)

extern void scx_bpf_dsq_insert___tasks(struct task_struct *p, u64 dsq_id, u64 slice,
				       u64 enq_flags) __weak __ksym;
extern void scx_bpf_exit_bstr___tasks(s64 code, char *fmt, unsigned long long *data,
				      u32 size) __weak __ksym;

volatile struct scx_tasks_shared sh;
char quit_text[] = "asked to";

typedef __u64 __arena *word_ptr;

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_local);
} locals SEC(".maps");

#define MAGIC 0x7a5c000000000000

static __always_inline void add(volatile __u64 *counter)
{
	__sync_fetch_and_add((__u64 *)counter, 1);
}

/* Replace a page that this callback has allocated on some CPU. */
static __always_inline void allocate(enum scx_tasks_op op)
{
	word_ptr page = alloc_page(), old;
	__u32 cpu = bpf_get_smp_processor_id() % SCX_TASKS_KEPT;

	add(&sh.calls[op]);
	if (!page) {
		add(&sh.failed[op]);
		return;
	}
	if (page[0] || page[511])
		add(&sh.dirty);
	page[0] = page[511] = MAGIC + op;
	old = (word_ptr)__sync_lock_test_and_set((__u64 *)&sh.kept[op][cpu], (__u64)page);
	if (!old)
		return;
	if (old[0] != MAGIC + op || old[511] != MAGIC + op)
		add(&sh.spoilt);
	free_page(old);
}

/* Callbacks with the task's run queue locked count in the arena and outside of it. */
static __always_inline void check(struct task_struct *p, bool locked)
{
	struct task_local *l = bpf_task_storage_get(&locals, p, NULL, 0);
	word_ptr state;

	if (!l || !l->state) {
		add(&sh.missing);
		return;
	}
	state = (word_ptr)l->state;
	if (state[0] != MAGIC + (__u32)p->pid || (locked && state[511] != l->count))
		add(&sh.wrong);
	if (locked)
		state[511] = ++l->count;
}

#define ON(name, sleepable, ...)						\
	SEC("struct_ops" sleepable "/on_" #name)				\
	void BPF_PROG(on_##name, ##__VA_ARGS__)					\
	{									\
		allocate(ON_##name);						\
	}

#define ON_TASK(name, ...)							\
	SEC("struct_ops/on_" #name)						\
	void BPF_PROG(on_##name, struct task_struct *p, ##__VA_ARGS__)		\
	{									\
		allocate(ON_##name);						\
		check(p, true);							\
	}

SEC("struct_ops/on_select_cpu")
s32 BPF_PROG(on_select_cpu, struct task_struct *p, s32 prev, u64 wake_flags)
{
	allocate(ON_select_cpu);
	check(p, false);

	return prev;
}

SEC("struct_ops/on_enqueue")
void BPF_PROG(on_enqueue, struct task_struct *p, u64 enq_flags)
{
	unsigned long long none[1] = {};

	allocate(ON_enqueue);
	check(p, true);
	if (sh.quit)
		scx_bpf_exit_bstr___tasks(0, quit_text, none, sizeof(none));
	scx_bpf_dsq_insert___tasks(p, DSQ_GLOBAL, SLICE_NS, enq_flags);
}

ON_TASK(dequeue, u64 flags)
ON(dispatch, "", s32 cpu)
ON_TASK(tick)
ON_TASK(runnable, u64 flags)
ON_TASK(running)
ON_TASK(stopping, bool runnable)
ON_TASK(quiescent, u64 flags)

SEC("struct_ops/on_yield")
bool BPF_PROG(on_yield, struct task_struct *p)
{
	allocate(ON_yield);
	check(p, true);

	return false;
}

ON_TASK(set_weight, u32 weight)
ON_TASK(set_cpumask, void *mask)
ON(update_idle, "", s32 cpu, bool idle)

SEC("struct_ops.s/on_init_task")
s32 BPF_PROG(on_init_task, struct task_struct *p)
{
	struct task_local *l = bpf_task_storage_get(&locals, p, NULL,
						    BPF_LOCAL_STORAGE_GET_F_CREATE);
	word_ptr state;

	allocate(ON_init_task);
	if (!l)
		return -12;
	state = alloc_page();
	if (!state) {
		add(&sh.failed[ON_init_task]);
		return -12;
	}
	add(&sh.states);
	state[0] = MAGIC + (__u32)p->pid;
	l->state = (__u64)state;
	l->count = 0;

	return 0;
}

SEC("struct_ops/on_exit_task")
void BPF_PROG(on_exit_task, struct task_struct *p)
{
	struct task_local *l = bpf_task_storage_get(&locals, p, NULL, 0);

	allocate(ON_exit_task);
	check(p, true);
	if (!l || !l->state)
		return;
	free_page((word_ptr)l->state);
	l->state = 0;
	add(&sh.states_freed);
}

ON_TASK(enable)
ON_TASK(disable)
ON(dump, "")
ON(dump_cpu, "")
ON(dump_task, "")

SEC("struct_ops.s/on_cgroup_init")
s32 BPF_PROG(on_cgroup_init)
{
	allocate(ON_cgroup_init);

	return 0;
}

ON(cgroup_exit, ".s")

SEC("struct_ops.s/on_cgroup_prep_move")
s32 BPF_PROG(on_cgroup_prep_move, struct task_struct *p)
{
	allocate(ON_cgroup_prep_move);

	return 0;
}

ON_TASK(cgroup_move)
ON(cpu_online, ".s", s32 cpu)
ON(cpu_offline, ".s", s32 cpu)

SEC("struct_ops.s/on_init")
s32 BPF_PROG(on_init)
{
	allocate(ON_init);

	return 0;
}

ON(exit, ".s")

/* Members of both forms, and those whose names differ. The test removes what a kernel lacks. */
#define MEMBERS(OP) OP(enqueue) OP(dequeue) OP(dispatch) OP(tick) OP(runnable) OP(running)	\
	OP(stopping) OP(quiescent) OP(yield) OP(set_weight) OP(update_idle) OP(init_task)	\
	OP(exit_task) OP(enable) OP(disable) OP(dump) OP(dump_task) OP(init) OP(exit)

#define CPU_MEMBERS(OP) OP(select_cpu, select_cpu) OP(set_cpumask, set_cpumask)			\
	OP(dump_cpu, dump_cpu) OP(cgroup_init, cgroup_init) OP(cgroup_exit, cgroup_exit)	\
	OP(cgroup_prep_move, cgroup_prep_move) OP(cgroup_move, cgroup_move)			\
	OP(cpu_online, cpu_online) OP(cpu_offline, cpu_offline)

#define CID_MEMBERS(OP) OP(select_cid, select_cpu) OP(set_cmask, set_cpumask)			\
	OP(dump_cid, dump_cpu) OP(cpuctl_init, cgroup_init) OP(cpuctl_exit, cgroup_exit)	\
	OP(cpuctl_prep_move, cgroup_prep_move) OP(cpuctl_move, cgroup_move)			\
	OP(cid_online, cpu_online) OP(cid_offline, cpu_offline)

#define SET(name) .name = (void *)on_##name,
#define SET_AS(name, callback) .name = (void *)on_##callback,

typedef void (*op_fn)(void);

struct sched_ext_ops___cpu {
	op_fn enqueue, dequeue, dispatch, tick, runnable, running, stopping, quiescent, yield;
	op_fn set_weight, update_idle, init_task, exit_task, enable, disable, dump, dump_task;
	op_fn init, exit, select_cpu, set_cpumask, dump_cpu, cgroup_init, cgroup_exit;
	op_fn cgroup_prep_move, cgroup_move, cpu_online, cpu_offline;
	char name[128];
};

struct sched_ext_ops_cid___cid {
	op_fn enqueue, dequeue, dispatch, tick, runnable, running, stopping, quiescent, yield;
	op_fn set_weight, update_idle, init_task, exit_task, enable, disable, dump, dump_task;
	op_fn init, exit, select_cid, set_cmask, dump_cid, cpuctl_init, cpuctl_exit;
	op_fn cpuctl_prep_move, cpuctl_move, cid_online, cid_offline;
	char name[128];
};

SEC(".struct_ops.link")
struct sched_ext_ops___cpu cpu_ops = {
	MEMBERS(SET)
	CPU_MEMBERS(SET_AS)
	.name = "anl_tasks",
};

SEC(".struct_ops.link")
struct sched_ext_ops_cid___cid cid_ops = {
	MEMBERS(SET)
	CID_MEMBERS(SET_AS)
	.name = "anl_tasks",
};

char LICENSE[] SEC("license") = "GPL";

#endif
