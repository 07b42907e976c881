// SPDX-License-Identifier: GPL-2.0
/*
 * NMIs on demand, for programs attached to the tracepoint nmi_handler. Parameter nmi:
 *
 *	write "CPU US"	an NMI to that CPU every US us, sent by another one where there is
 *			one; CPU -1 stands for all that are online, one after the other
 *	write "CPU"	a single one, handled when the write returns; CPU -1: one for each
 *	write ""	stop
 *	read		how many have been handled
 *
 * A kernel thread sends those that repeat. The CPU that expects an NMI claims it. Two that
 * arrive together become one, and the second would stay unclaimed; so a CPU gets the next
 * one after it has handled the last.
 */
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/nmi.h>
#include <linux/percpu.h>
#include <linux/smp.h>
#include <asm/apic.h>
#include <asm/nmi.h>

#include "anl_test.h"

static DEFINE_PER_CPU(atomic_t, nmi_pending);
static struct task_struct *nmi_task;
static atomic_t nmi_count;
static int nmi_cpu;
static u32 nmi_us;

static int nmi_fn(unsigned int cmd, struct pt_regs *regs)
{
	atomic_t *pending = this_cpu_ptr(&nmi_pending);

	if (!atomic_read(pending))
		return NMI_DONE;
	atomic_inc(&nmi_count);
	atomic_set_release(pending, 0);

	return NMI_HANDLED;
}

static void nmi_send(int cpu)
{
	if (!atomic_xchg(per_cpu_ptr(&nmi_pending, cpu), 1))
		apic->send_IPI(cpu, NMI_VECTOR);
}

/* To the requested CPU, or to the one after @cpu. A CPU that went offline has lost its own. */
static int nmi_send_next(int cpu)
{
	int i;

	cpus_read_lock();
	for_each_possible_cpu(i)
		if (!cpu_online(i))
			atomic_set(per_cpu_ptr(&nmi_pending, i), 0);
	if (nmi_cpu >= 0) {
		cpu = nmi_cpu;
	} else {
		cpu = cpumask_next(cpu, cpu_online_mask);
		if (cpu >= nr_cpu_ids)
			cpu = cpumask_first(cpu_online_mask);
	}
	if (cpu_online(cpu))
		nmi_send(cpu);
	cpus_read_unlock();

	return cpu;
}

static int nmi_thread(void *unused)
{
	u64 next = ktime_get_ns();
	int cpu = -1;

	while (!kthread_should_stop()) {
		cpu = nmi_send_next(cpu);
		next = max(next, ktime_get_ns()) + nmi_us * NSEC_PER_USEC;
		while (ktime_get_ns() < next) {
			if (nmi_us >= 1000)
				usleep_range(nmi_us / 4, nmi_us / 2);
			else
				cond_resched();
		}
	}

	return 0;
}

static void nmi_stop(void)
{
	if (nmi_task)
		kthread_stop(nmi_task);
	nmi_task = NULL;
}

static int nmi_send_now(int cpu)
{
	unsigned long end = jiffies + 10 * HZ;
	int i, err = 0;

	cpus_read_lock();
	for_each_online_cpu(i) {
		if (cpu >= 0 && i != cpu)
			continue;
		nmi_send(i);
		while (atomic_read_acquire(per_cpu_ptr(&nmi_pending, i)) && !err) {
			cond_resched();
			err = time_after(jiffies, end) ? -ETIMEDOUT : 0;
		}
	}
	cpus_read_unlock();

	return err;
}

static int nmi_set(const char *val, const struct kernel_param *kp)
{
	struct task_struct *task;
	int cpu, from, got;
	u32 us;

	nmi_stop();
	got = sscanf(val, "%d %u", &cpu, &us);
	if (got < 1)
		return 0;
	if (cpu < -1 || cpu >= (int)nr_cpu_ids || (cpu >= 0 && !cpu_online(cpu)))
		return -EINVAL;
	if (got == 1)
		return nmi_send_now(cpu);
	if (!us)
		return -EINVAL;
	nmi_cpu = cpu;
	nmi_us = us;
	atomic_set(&nmi_count, 0);
	task = kthread_create(nmi_thread, NULL, "anl_test_nmi");
	if (IS_ERR(task))
		return PTR_ERR(task);
	from = cpu < 0 ? nr_cpu_ids : cpumask_any_but(cpu_online_mask, cpu);
	if (from < nr_cpu_ids)
		kthread_bind(task, from);
	nmi_task = task;
	wake_up_process(task);

	return 0;
}

static int nmi_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%d\n", atomic_read(&nmi_count));
}

static const struct kernel_param_ops nmi_ops = { .set = nmi_set, .get = nmi_get };
module_param_cb(nmi, &nmi_ops, NULL, 0600);

int anl_test_nmi_init(void)
{
	return register_nmi_handler(NMI_LOCAL, nmi_fn, 0, "anl_test");
}

void anl_test_nmi_exit(void)
{
	nmi_stop();
	unregister_nmi_handler(NMI_LOCAL, "anl_test");
}
