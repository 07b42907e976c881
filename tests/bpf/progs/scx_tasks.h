/* SPDX-License-Identifier: GPL-2.0 */
/* What the schedulers of scx_tasks_programs.h and the test share. */
#ifndef SCX_TASKS_H
#define SCX_TASKS_H

#define SCX_TASKS_PAGES	32768

/* Callbacks of both forms, by the names of the cpu form. */
#define SCX_TASKS_OPS(X)							\
	X(select_cpu) X(enqueue) X(dequeue) X(dispatch) X(tick) X(runnable)	\
	X(running) X(stopping) X(quiescent) X(yield) X(set_weight)		\
	X(set_cpumask) X(update_idle) X(init_task) X(exit_task) X(enable)	\
	X(disable) X(dump) X(dump_cpu) X(dump_task) X(cgroup_init)		\
	X(cgroup_exit) X(cgroup_prep_move) X(cgroup_move) X(cpu_online)		\
	X(cpu_offline) X(init) X(exit)

#define SCX_TASKS_ENUM(name)	ON_##name,
enum scx_tasks_op {
	SCX_TASKS_OPS(SCX_TASKS_ENUM)
	NR_OPS,
};

/* A page that a callback has allocated stays until the next one takes its place. */
#define SCX_TASKS_KEPT	8

/* Of a task, outside of the arena. */
struct task_local {
	__u64 state;		/* its page */
	__u64 count;		/* what it holds */
};

struct scx_tasks_shared {
	__u64 calls[NR_OPS];
	__u64 failed[NR_OPS];	/* allocations */
	__u64 kept[NR_OPS][SCX_TASKS_KEPT];
	__u64 dirty;		/* new pages that were not zero */
	__u64 spoilt;		/* pages that did not hold what was written to them */
	__u64 states;		/* of tasks, allocated and freed */
	__u64 states_freed;
	__u64 missing;		/* callbacks for tasks that should have a state and have none */
	__u64 wrong;		/* states that were not as the last callback left them */
	__u32 quit;		/* from user space: end in the middle of a callback */
};

#endif
