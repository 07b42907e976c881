// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel as a user of a stock arena, as sched_ext is one on 7.x. What is written to
 * /proc/anl_stock runs in the task that writes, and is held up in the middle, until "go"
 * is written or MS milliseconds have passed:
 *
 *	"alloc FD MS"	the kernel's own allocation of a page, outside of any BPF program.
 *			It is held up, with preemption off, between its read of the arena's
 *			user addresses and its taking of the arena's lock.
 *	"hold FD MS"	the arena's lock; others give up after 250 ms
 *
 * A read gives 1 while something is held up, otherwise 0, and what the last allocation
 * returned. The writer keeps the descriptor open; there is one at a time. Kernels whose
 * arena has no such lock answer with EOPNOTSUPP.
 */
#include <linux/bpf.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/ftrace.h>
#include <linux/jiffies.h>
#include <linux/kprobes.h>
#include <linux/preempt.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "anl_config.h"
#include "lock.h"
#include "anl_test.h"

static bool stock_go, stock_held;
static unsigned long stock_end;
static void *stock_page;

#ifdef ANL_OFF_bpf_arena_spinlock

typedef void *(*stock_alloc_t)(void *map, void *addr, u32 cnt, int nid, u64 flags);

static struct task_struct *stock_task;

static bool stock_told(unsigned long end)
{
	return READ_ONCE(stock_go) || time_after(jiffies, end);
}

/*
 * The first thing that a stock allocation does after it has read the addresses. A kprobe of
 * arm64 would have interrupts off, and other CPUs wait for this one when they load a program.
 */
static void notrace stock_held_up(unsigned long ip, unsigned long parent_ip,
				  struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
	if (READ_ONCE(stock_task) != current)
		return;
	preempt_disable_notrace();
	WRITE_ONCE(stock_task, NULL);
	WRITE_ONCE(stock_held, true);
	while (!stock_told(stock_end))
		cpu_relax();
	WRITE_ONCE(stock_held, false);
	preempt_enable_notrace();
}

static struct ftrace_ops stock_hold_up = { .func = stock_held_up };

static int stock_alloc(struct bpf_map *map)
{
	struct kprobe find = { .symbol_name = "bpf_arena_alloc_pages_sleepable" };
	unsigned char first[] = "_kmalloc_nolock_noprof";
	stock_alloc_t alloc;
	int err;

	err = register_kprobe(&find);
	if (err)
		return -EOPNOTSUPP;
	alloc = (stock_alloc_t)find.addr;
	unregister_kprobe(&find);
	err = ftrace_set_filter(&stock_hold_up, first, sizeof(first) - 1, 1);
	if (err || register_ftrace_function(&stock_hold_up))
		return -EOPNOTSUPP;
	WRITE_ONCE(stock_task, current);
	stock_page = alloc(map, NULL, 1, NUMA_NO_NODE, 0);
	if (xchg(&stock_task, NULL))
		err = -ENODATA;
	unregister_ftrace_function(&stock_hold_up);
	ftrace_free_filter(&stock_hold_up);

	return err;
}

/*
 * The lock keeps preemption off. Here it must not: grace periods have to end meanwhile.
 * What else this CPU locks, it unlocks in between.
 */
static int stock_hold(struct bpf_map *map)
{
	anl_lock_t *lock = (anl_lock_t *)((char *)map - ANL_OFF_bpf_arena_map +
					  ANL_OFF_bpf_arena_spinlock);
	int err = raw_res_spin_lock(lock);

	if (err)
		return err;
	migrate_disable();
	preempt_enable();
	WRITE_ONCE(stock_held, true);
	while (!stock_told(stock_end))
		msleep(10);
	WRITE_ONCE(stock_held, false);
	preempt_disable();
	migrate_enable();
	raw_res_spin_unlock(lock);

	return 0;
}

static int stock_do(const char *what, struct bpf_map *map)
{
	if (!strcmp(what, "alloc"))
		return stock_alloc(map);
	if (!strcmp(what, "hold"))
		return stock_hold(map);

	return -EINVAL;
}

#else

static int stock_do(const char *what, struct bpf_map *map)
{
	return -EOPNOTSUPP;
}

#endif

static ssize_t stock_write(struct file *file, const char __user *ubuf, size_t len, loff_t *pos)
{
	char buf[32] = {}, what[8];
	unsigned int fd, ms;
	struct bpf_map *map;
	int err;

	if (len >= sizeof(buf) || copy_from_user(buf, ubuf, len))
		return -EINVAL;
	if (!strcmp(buf, "go")) {
		WRITE_ONCE(stock_go, true);
		return len;
	}
	if (sscanf(buf, "%7s %u %u", what, &fd, &ms) != 3)
		return -EINVAL;
	map = bpf_map_get(fd);
	if (IS_ERR(map))
		return PTR_ERR(map);
	/* A reference would tell adoption of a user. */
	bpf_map_put(map);
	if (map->map_type != BPF_MAP_TYPE_ARENA)
		return -EINVAL;
	WRITE_ONCE(stock_go, false);
	stock_end = jiffies + msecs_to_jiffies(ms);
	err = stock_do(what, map);

	return err ?: len;
}

static ssize_t stock_read(struct file *file, char __user *ubuf, size_t len, loff_t *pos)
{
	char buf[32];
	int n = scnprintf(buf, sizeof(buf), "%d %#lx\n", READ_ONCE(stock_held),
			  (unsigned long)stock_page);

	return simple_read_from_buffer(ubuf, len, pos, buf, n);
}

static const struct proc_ops stock_ops = {
	.proc_write = stock_write,
	.proc_read = stock_read,
	.proc_lseek = default_llseek,
};

int anl_test_stock_init(void)
{
	return proc_create("anl_stock", 0600, NULL, &stock_ops) ? 0 : -ENOMEM;
}

void anl_test_stock_exit(void)
{
	remove_proc_entry("anl_stock", NULL);
}
