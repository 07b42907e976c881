// SPDX-License-Identifier: GPL-2.0
/*
 * NMIs on demand, for programs attached to a tracepoint. Parameter nmi:
 *
 *	write "CPU US"	an NMI to that CPU every US us; CPU -1 stands for all that are online,
 *			one after the other
 *	write "CPU"	a single one, handled when the write returns; CPU -1: one for each
 *	write ""	stop
 *	read		how many have been handled
 *
 * Parameter nmi_tracepoint:
 *
 *	read		the tracepoint that these NMIs reach, or "none" without any
 *	write		another one: there is one for each source of NMIs
 *
 * The sources are NMIs that x86 sends by its APIC, which reach nmi_handler; and hardware
 * counters that interrupt by NMIs, which reach anl_test_nmi.
 *
 * A kernel thread requests those that repeat, on another CPU where there is one. A CPU gets the
 * next one after it has handled the last.
 */
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/percpu.h>

#include "anl_test.h"
#include "nmi.h"

static const struct anl_nmi_source *nmi_sources[] = {
#ifdef CONFIG_X86
	&anl_nmi_apic,
#endif
	&anl_nmi_counter,
};

/* The one in use. A source that cannot work here has failed to start. */
static const struct anl_nmi_source *nmi_source;
static bool nmi_works[ARRAY_SIZE(nmi_sources)];

static DEFINE_PER_CPU(atomic_t, nmi_pending);
static struct task_struct *nmi_task;
static atomic_t nmi_count;
static int nmi_cpu;
static u32 nmi_us;

bool anl_nmi_pending(void)
{
	return atomic_read(this_cpu_ptr(&nmi_pending));
}

void anl_nmi_done(void)
{
	atomic_inc(&nmi_count);
	/* Pairs with atomic_read_acquire() in nmi_send_now(). */
	atomic_set_release(this_cpu_ptr(&nmi_pending), 0);
}

static void nmi_send(int cpu)
{
	if (!atomic_xchg(per_cpu_ptr(&nmi_pending, cpu), 1) && nmi_source->send)
		nmi_source->send(cpu);
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

static void nmi_run(bool run)
{
	if (nmi_source->run)
		nmi_source->run(run);
}

static void nmi_stop(void)
{
	if (!nmi_task)
		return;
	kthread_stop(nmi_task);
	nmi_task = NULL;
	nmi_run(false);
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
		/* Pairs with atomic_set_release() in anl_nmi_done(). */
		while (atomic_read_acquire(per_cpu_ptr(&nmi_pending, i)) && !err) {
			cond_resched();
			err = time_after(jiffies, end) ? -ETIMEDOUT : 0;
		}
	}
	cpus_read_unlock();

	return err;
}

static int nmi_start_thread(int cpu, u32 us)
{
	struct task_struct *task;
	int from;

	nmi_cpu = cpu;
	nmi_us = us;
	atomic_set(&nmi_count, 0);
	task = kthread_create(nmi_thread, NULL, "anl_test_nmi");
	if (IS_ERR(task))
		return PTR_ERR(task);
	from = cpu < 0 ? nr_cpu_ids : cpumask_any_but(cpu_online_mask, cpu);
	if (from < nr_cpu_ids)
		kthread_bind(task, from);
	nmi_run(true);
	nmi_task = task;
	wake_up_process(task);

	return 0;
}

static int nmi_set(const char *val, const struct kernel_param *kp)
{
	int cpu, got, err;
	u32 us;

	nmi_stop();
	got = sscanf(val, "%d %u", &cpu, &us);
	if (got < 1)
		return 0;
	if (!nmi_source)
		return -EOPNOTSUPP;
	if (cpu < -1 || cpu >= (int)nr_cpu_ids || (cpu >= 0 && !cpu_online(cpu)))
		return -EINVAL;
	if (got > 1)
		return us ? nmi_start_thread(cpu, us) : -EINVAL;
	nmi_run(true);
	err = nmi_send_now(cpu);
	nmi_run(false);

	return err;
}

static int nmi_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%d\n", atomic_read(&nmi_count));
}

static const struct kernel_param_ops nmi_ops = { .set = nmi_set, .get = nmi_get };
module_param_cb(nmi, &nmi_ops, NULL, 0600);

static int nmi_set_tracepoint(const char *val, const struct kernel_param *kp)
{
	int i;

	nmi_stop();
	for (i = 0; i < ARRAY_SIZE(nmi_sources); i++) {
		if (nmi_works[i] && sysfs_streq(val, nmi_sources[i]->tracepoint)) {
			nmi_source = nmi_sources[i];
			return 0;
		}
	}

	return -EOPNOTSUPP;
}

static int nmi_get_tracepoint(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%s\n", nmi_source ? nmi_source->tracepoint : "none");
}

static const struct kernel_param_ops nmi_tracepoint_ops = {
	.set = nmi_set_tracepoint,
	.get = nmi_get_tracepoint,
};
module_param_cb(nmi_tracepoint, &nmi_tracepoint_ops, NULL, 0600);

/* Whether a source delivers an NMI. Leaves nothing behind otherwise. */
static bool nmi_try(const struct anl_nmi_source *source)
{
	int err = source->init();

	if (err)
		return false;
	nmi_source = source;
	nmi_run(true);
	err = nmi_send_now(cpumask_first(cpu_online_mask));
	nmi_run(false);
	nmi_source = NULL;
	if (!err && (!source->works || source->works()))
		return true;
	source->exit();

	return false;
}

void anl_test_nmi_init(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(nmi_sources); i++)
		nmi_works[i] = nmi_try(nmi_sources[i]);
	for (i = ARRAY_SIZE(nmi_sources) - 1; i >= 0; i--)
		if (nmi_works[i])
			nmi_source = nmi_sources[i];
}

void anl_test_nmi_exit(void)
{
	int i;

	nmi_stop();
	for (i = 0; i < ARRAY_SIZE(nmi_sources); i++)
		if (nmi_works[i])
			nmi_sources[i]->exit();
}
