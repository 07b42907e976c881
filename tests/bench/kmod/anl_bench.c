// SPDX-License-Identifier: GPL-2.0
/*
 * Instruments of the bench, as parameters in sysfs:
 *
 *	zero_ns		read: what zeroing one page takes, in ns
 *	idle_us		read: how long all CPUs together have been idle
 *	timer		write "CPU US": a hard timer on that CPU every US us; "" stops it;
 *			read: "FIRED WORST MEAN WAIT", how late it was, in ns, and how long
 *			an event at a random moment waits for such delays, on average
 *	hook		write anything: call anl_bench_hook(), for programs attached to it,
 *			with interrupts off
 *	hog		write anything: the same while all free memory is taken, down to the
 *			minimum watermark; read: how many pages that were
 */
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/highmem.h>
#include <linux/hrtimer.h>
#include <linux/init.h>
#include <linux/kernel_stat.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/smp.h>
#include <linux/tick.h>
#include <linux/version.h>
#include <linux/workqueue.h>

/* A timer on a CPU of the caller's choice. */
struct bench_timer {
	struct hrtimer timer;
	u64 period;
	int cpu;
	bool on;
};

static void bench_timer_setup(struct bench_timer *t,
			      enum hrtimer_restart (*fn)(struct hrtimer *))
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	hrtimer_setup(&t->timer, fn, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
#else
	hrtimer_init(&t->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	t->timer.function = fn;
#endif
}

static long bench_timer_begin(void *arg)
{
	struct bench_timer *t = arg;

	hrtimer_start(&t->timer, ns_to_ktime(t->period), HRTIMER_MODE_REL_PINNED_HARD);

	return 0;
}

static int bench_timer_start(struct bench_timer *t, int cpu, u32 us)
{
	if (!us || cpu < 0 || cpu >= nr_cpu_ids || !cpu_online(cpu))
		return -EINVAL;
	t->period = (u64)us * NSEC_PER_USEC;
	t->on = true;

	return work_on_cpu(cpu, bench_timer_begin, t);
}

static void bench_timer_stop(struct bench_timer *t)
{
	if (t->on)
		hrtimer_cancel(&t->timer);
	t->on = false;
}

/* From now, not from when it should have been: a long delay is one, not many. */
static enum hrtimer_restart bench_timer_again(struct bench_timer *t)
{
	hrtimer_set_expires(&t->timer, ktime_add_ns(ktime_get(), t->period));

	return HRTIMER_RESTART;
}

/*
 * How late interrupts are
 */

static struct bench_timer late;
static u64 late_fired, late_worst, late_sum, late_squares, late_since;

static enum hrtimer_restart late_fn(struct hrtimer *timer)
{
	u64 by = ktime_to_ns(ktime_sub(ktime_get(), hrtimer_get_expires(timer)));

	late_fired++;
	late_sum += by;
	late_squares += div_u64(by, 100) * div_u64(by, 100);
	late_worst = max(late_worst, by);

	return bench_timer_again(&late);
}

static int timer_set(const char *val, const struct kernel_param *kp)
{
	u32 us;
	int cpu;

	bench_timer_stop(&late);
	if (sscanf(val, "%d %u", &cpu, &us) != 2)
		return 0;
	late_fired = late_worst = late_sum = late_squares = 0;
	late_since = ktime_get_ns();

	return bench_timer_start(&late, cpu, us);
}

static int timer_get(char *buf, const struct kernel_param *kp)
{
	u64 time = ktime_get_ns() - late_since;

	return sysfs_emit(buf, "%llu %llu %llu %llu\n", late_fired, late_worst,
			  late_fired ? div64_u64(late_sum, late_fired) : 0,
			  div64_u64(late_squares, div_u64(time, 5000) + 1));
}

static const struct kernel_param_ops timer_ops = { .set = timer_set, .get = timer_get };
module_param_cb(timer, &timer_ops, NULL, 0600);

/*
 * A place for programs
 */

void anl_bench_hook(void);

noinline void anl_bench_hook(void)
{
	barrier();
}

static void hook_call(void)
{
	unsigned long flags;

	local_irq_save(flags);
	anl_bench_hook();
	local_irq_restore(flags);
}

static int hook_set(const char *val, const struct kernel_param *kp)
{
	hook_call();

	return 0;
}

static const struct kernel_param_ops hook_ops = { .set = hook_set };
module_param_cb(hook, &hook_ops, NULL, 0200);

/*
 * Memory
 */

static unsigned long hogged_pages;

static int hog_set(const char *val, const struct kernel_param *kp)
{
	struct page *page, *tmp;
	LIST_HEAD(pages);
	int order;

	hogged_pages = 0;
	/* No reclaim and no reserves: it ends at the minimum watermark. */
	for (order = 9; order >= 0; order -= 9) {
		while ((page = alloc_pages(__GFP_NOWARN | __GFP_NOMEMALLOC, order))) {
			set_page_private(page, order);
			list_add(&page->lru, &pages);
			hogged_pages += 1UL << order;
		}
	}
	hook_call();
	list_for_each_entry_safe(page, tmp, &pages, lru) {
		list_del(&page->lru);
		__free_pages(page, page_private(page));
	}

	return 0;
}

static int hog_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%lu\n", hogged_pages);
}

static const struct kernel_param_ops hog_ops = { .set = hog_set, .get = hog_get };
module_param_cb(hog, &hog_ops, NULL, 0600);

/*
 * Time
 */

static int idle_get(char *buf, const struct kernel_param *kp)
{
	u64 sum = 0;
	int cpu;

	for_each_online_cpu(cpu)
		sum += get_cpu_idle_time_us(cpu, NULL);

	return sysfs_emit(buf, "%llu\n", sum);
}

static const struct kernel_param_ops idle_ops = { .get = idle_get };
module_param_cb(idle_us, &idle_ops, NULL, 0400);

#define ZERO_PAGES 64

static int zero_get(char *buf, const struct kernel_param *kp)
{
	struct page *page[ZERO_PAGES];
	u64 begin, best = U64_MAX;
	int i, n, run;

	for (n = 0; n < ZERO_PAGES; n++) {
		page[n] = alloc_page(GFP_KERNEL);
		if (!page[n])
			break;
	}
	for (run = 0; run < 9 && n; run++) {
		begin = ktime_get_ns();
		for (i = 0; i < n; i++)
			clear_highpage(page[i]);
		best = min(best, div_u64(ktime_get_ns() - begin, n));
	}
	for (i = 0; i < n; i++)
		__free_page(page[i]);

	return n ? sysfs_emit(buf, "%llu\n", best) : -ENOMEM;
}

static const struct kernel_param_ops zero_ops = { .get = zero_get };
module_param_cb(zero_ns, &zero_ops, NULL, 0400);

static int __init anl_bench_init(void)
{
	bench_timer_setup(&late, late_fn);

	return 0;
}

static void __exit anl_bench_exit(void)
{
	bench_timer_stop(&late);
}

module_init(anl_bench_init);
module_exit(anl_bench_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Instruments for the bench of arena_nolock");
