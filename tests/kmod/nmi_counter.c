// SPDX-License-Identifier: GPL-2.0
/*
 * NMIs of any architecture whose hardware counters interrupt by NMIs: on each CPU a counter of
 * cycles overflows all the time while the source runs, and an overflow that is wanted reaches
 * the tracepoint anl_test_nmi. On arm64 such an interrupt is an NMI only with ARM64_PSEUDO_NMI.
 */
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/perf_event.h>
#include <linux/preempt.h>

#include "nmi.h"

#define CREATE_TRACE_POINTS
#include "nmi_trace.h"

#define CYCLES 100000

static DEFINE_PER_CPU(struct perf_event *, counter);
static enum cpuhp_state counter_state;
static bool counter_runs, counter_seen, counter_plain;

static void counter_overflow(struct perf_event *event, struct perf_sample_data *data,
			     struct pt_regs *regs)
{
	if (!anl_nmi_pending())
		return;
	WRITE_ONCE(counter_seen, true);
	if (in_nmi())
		trace_anl_test_nmi(event, 0, 1);
	else
		WRITE_ONCE(counter_plain, true);
	anl_nmi_done();
}

/* A counter does not outlive an absence of its CPU. */
static int counter_online(unsigned int cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.config = PERF_COUNT_HW_CPU_CYCLES,
		.size = sizeof(attr),
		.sample_period = CYCLES,
		.pinned = 1,
		.disabled = 1,
	};
	struct perf_event *event;

	event = perf_event_create_kernel_counter(&attr, cpu, NULL, counter_overflow, NULL);
	if (IS_ERR(event))
		return 0;
	per_cpu(counter, cpu) = event;
	if (counter_runs)
		perf_event_enable(event);

	return 0;
}

static int counter_offline(unsigned int cpu)
{
	struct perf_event *event = per_cpu(counter, cpu);

	per_cpu(counter, cpu) = NULL;
	if (event)
		perf_event_release_kernel(event);

	return 0;
}

static void counter_exit(void)
{
	cpuhp_remove_state(counter_state);
}

static int counter_init(void)
{
	int ret = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "anl_test:nmi", counter_online,
				    counter_offline);

	if (ret < 0)
		return ret;
	counter_state = ret;
	if (per_cpu(counter, cpumask_first(cpu_online_mask)))
		return 0;
	counter_exit();

	return -ENODEV;
}

static bool counter_works(void)
{
	return READ_ONCE(counter_seen) && !READ_ONCE(counter_plain);
}

static void counter_run(bool run)
{
	int cpu;

	cpus_read_lock();
	counter_runs = run;
	for_each_online_cpu(cpu) {
		struct perf_event *event = per_cpu(counter, cpu);

		if (event && run)
			perf_event_enable(event);
		else if (event)
			perf_event_disable(event);
	}
	cpus_read_unlock();
}

const struct anl_nmi_source anl_nmi_counter = {
	.tracepoint = "anl_test_nmi",
	.init = counter_init,
	.exit = counter_exit,
	.works = counter_works,
	.run = counter_run,
};
