/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which context this is, read from preempt_count. Where the count is and what its
 * bits mean differs between kernels and architectures: user space finds out the bits from BTF and
 * gives them to the program. With PREEMPT_RT the bits of softirqs are in the task.
 */
#ifndef PREEMPT_H
#define PREEMPT_H

struct pc_layout {
	__u32 preempt, bh_off, softirq, hardirq, nmi;
};

#ifdef __bpf__

#include <bpf/bpf_core_read.h>

struct task_struct___anl {
	int softirq_disable_cnt;
} __attribute__((preserve_access_index));

static __always_inline __u32 softirq_count(void)
{
	struct task_struct___anl *task = (void *)bpf_get_current_task();

	return bpf_core_field_exists(task->softirq_disable_cnt) ?
	       BPF_CORE_READ(task, softirq_disable_cnt) : 0;
}

/* Into a per-CPU struct on 6.12, out of it again later. */
struct pcpu_hot___anl {
	int preempt_count;
} __attribute__((preserve_access_index));

extern const unsigned long __preempt_count __ksym __weak;
extern const struct pcpu_hot___anl pcpu_hot __ksym __weak;

/* In the task on arm64. */
struct thread_info___anl {
	__u64 preempt_count;
} __attribute__((preserve_access_index));

struct task_struct___info {
	struct thread_info___anl thread_info;
} __attribute__((preserve_access_index));

struct task_struct___rcu {
	int rcu_read_lock_nesting;
} __attribute__((preserve_access_index));

static __always_inline __u32 preempt_count(void)
{
	struct task_struct___info *task = (void *)bpf_get_current_task();

	if (bpf_ksym_exists(&__preempt_count))
		return *(__u32 *)bpf_this_cpu_ptr(&__preempt_count) | softirq_count();
	if (bpf_ksym_exists(&pcpu_hot))
		return ((struct pcpu_hot___anl *)bpf_this_cpu_ptr(&pcpu_hot))->preempt_count |
		       softirq_count();
	if (bpf_core_field_exists(task->thread_info.preempt_count))
		return BPF_CORE_READ(task, thread_info.preempt_count) | softirq_count();

	return ~0;
}

/* How many sections of RCU are open. Without PREEMPT_RCU they are sections without preemption. */
static __always_inline int rcu_nesting(__u32 pc)
{
	struct task_struct___rcu *task = (void *)bpf_get_current_task();

	return bpf_core_field_exists(task->rcu_read_lock_nesting) ?
	       BPF_CORE_READ(task, rcu_read_lock_nesting) : pc & 0xff;
}

#else

#include <bpf/btf.h>

static inline bool find_pc_layout(struct pc_layout *pc)
{
	struct btf *btf = btf__load_vmlinux_btf();
	int id;

	if (!btf)
		return false;
	*pc = (struct pc_layout){ 0xff, 0xfe00, 0x100, 0xf0000, 0xf00000 };
	/*
	 * 7.3 widened it, and counts interrupt-disabled sections in bits 16 to 23. Where it is no
	 * variable, it is in the task, and a function of these sections tells.
	 */
	id = btf__find_by_name_kind(btf, "__preempt_count", BTF_KIND_VAR);
	if (id > 0 ? btf__resolve_size(btf, id) == 8 :
	    btf__find_by_name_kind(btf, "_local_interrupt_enable", BTF_KIND_FUNC) > 0) {
		pc->hardirq = 0xf000000;
		pc->nmi = 0xf0000000;
	}
	btf__free(btf);

	return true;
}

#endif
#endif
