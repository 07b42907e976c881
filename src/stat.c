// SPDX-License-Identifier: GPL-2.0
/*
 * Counters of an arena, and its file in debugfs.
 *
 * Owns: @stat, per-CPU counters, allocated in adoption and freed with the arena; and
 * @stat_file. A CPU writes its own counters, in any context. They are read without order,
 * so one sum may include an event that another sum does not include yet.
 *
 * A line of <debugfs>/arena_nolock/<map id> is "key value" or "key name=value ...", as in
 * files of cgroups. Removing the file waits for its readers, so a reader never sees a
 * freed arena.
 *
 * All functions here run in process context and may sleep.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "arena.h"
#include "pages.h"
#include "trace.h"

static struct dentry *anl_debugfs;

static const struct trace_print_flags anl_ctx_names[] = { ANL_CTX_NAMES };
static const struct trace_print_flags anl_fault_names[] = { ANL_FAULT_NAMES };
static const char *const anl_fail_names[] = { "args", "address", "memory", "scratch", "lock" };

static_assert(ARRAY_SIZE(anl_ctx_names) == ANL_NR_CTX);
static_assert(ARRAY_SIZE(anl_fault_names) == ANL_NR_FAULT);
static_assert(ARRAY_SIZE(anl_fail_names) == ANL_NR_FAIL);

/* struct anl_stat consists of 64-bit counters only. */
static void anl_stat_sum(const struct anl_arena *arena, struct anl_stat *sum)
{
	u64 *to = (u64 *)sum;
	int cpu, i;

	memset(sum, 0, sizeof(*sum));
	for_each_possible_cpu(cpu) {
		const u64 *from = (u64 *)per_cpu_ptr(arena->stat, cpu);

		for (i = 0; i < sizeof(*sum) / sizeof(u64); i++)
			to[i] += READ_ONCE(from[i]);
	}
}

static void anl_show_row(struct seq_file *m, const char *key, const char *cause,
			 const struct trace_print_flags *names, const u64 *val, int nr)
{
	int i;

	seq_printf(m, "%s%s%s", key, cause ? "." : "", cause ?: "");
	for (i = 0; i < nr; i++)
		seq_printf(m, " %s=%llu", names[i].name, val[i]);
	seq_putc(m, '\n');
}

static void anl_show_fails(struct seq_file *m, const char *key, u64 val[][ANL_NR_CTX])
{
	int i;

	for (i = 0; i < ANL_NR_FAIL; i++)
		anl_show_row(m, key, anl_fail_names[i], anl_ctx_names, val[i], ANL_NR_CTX);
}

static int anl_arena_show(struct seq_file *m, void *unused)
{
	struct anl_arena *arena = m->private;
	struct anl_stat *s = kmalloc(sizeof(*s), GFP_KERNEL);

	if (!s)
		return -ENOMEM;
	anl_stat_sum(arena, s);

	seq_printf(m, "map_id %u\n", arena->id);
	seq_printf(m, "map_name %s\n", arena->map->name);
	seq_printf(m, "max_pages %u\n", arena->nr_limit);
	seq_printf(m, "populated_pages %ld\n", anl_nr_populated(arena));
	seq_printf(m, "free_pages %u\n",
		   anl_slots_nr_free(&arena->slots) + anl_slots_nr_cached(arena));
	seq_printf(m, "queued_pages %llu\n", anl_slots_nr_queued(arena));
	seq_printf(m, "pool_nr %d\n", anl_pool_nr(arena));
	seq_printf(m, "pool_target %u\n", READ_ONCE(arena->pool.target));
	seq_printf(m, "pool_min %u\n", arena->pool.min);
	seq_printf(m, "pool_max %u\n", arena->pool.max);
	seq_printf(m, "standby_nr %u\n", anl_pool_counted(&arena->standby->pool));
	seq_printf(m, "standby_max %u\n", READ_ONCE(arena->standby->target));
	anl_show_row(m, "allocs", NULL, anl_ctx_names, s->allocs, ANL_NR_CTX);
	seq_printf(m, "allocated_pages %llu\n", s->alloc_pages);
	anl_show_row(m, "frees", NULL, anl_ctx_names, s->frees, ANL_NR_CTX);
	seq_printf(m, "freed_pages %llu\n", s->free_pages);
	anl_show_row(m, "reserves", NULL, anl_ctx_names, s->reserves, ANL_NR_CTX);
	anl_show_row(m, "faults", NULL, anl_fault_names, s->faults, ANL_NR_FAULT);
	anl_show_fails(m, "alloc_failed", s->alloc_fails);
	anl_show_fails(m, "reserve_failed", s->reserve_fails);
	seq_printf(m, "queued_pages_total %llu\n", s->queued_pages);
	seq_printf(m, "reused_pages %llu\n", s->reused_pages);
	seq_printf(m, "drains %llu\n", s->drains);
	seq_printf(m, "drained_pages %llu\n", s->drain_pages);
	seq_printf(m, "drain_latency_max_us %llu\n",
		   div_u64(READ_ONCE(arena->drain.ns_max), NSEC_PER_USEC));
	seq_printf(m, "refills %llu\n", s->refills);
	seq_printf(m, "standby_pages %llu\n", s->standby_pages);
	kfree(s);

	return 0;
}
DEFINE_SHOW_ATTRIBUTE(anl_arena);

/**
 * anl_stat_init() - allocate the counters of an arena
 * @arena: the arena
 *
 * Context: process context, may sleep.
 * Return: 0 or -ENOMEM.
 */
int anl_stat_init(struct anl_arena *arena)
{
	arena->stat = anl_zalloc_percpu(arena, sizeof(*arena->stat));

	return arena->stat ? 0 : -ENOMEM;
}

/**
 * anl_stat_show() - create the debugfs file of an arena
 * @arena: the arena, complete
 *
 * Without debugfs or memory the arena has no file.
 *
 * Context: process context, may sleep.
 */
void anl_stat_show(struct anl_arena *arena)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", arena->id);
	arena->stat_file = debugfs_create_file(name, 0444, anl_debugfs, arena, &anl_arena_fops);
}

/**
 * anl_stat_hide() - remove the debugfs file of an arena
 * @arena: the arena
 *
 * The file has no readers on return.
 *
 * Context: process context, may sleep.
 */
void anl_stat_hide(struct anl_arena *arena)
{
	debugfs_remove(arena->stat_file);
}

/**
 * anl_stat_exit() - free the counters of an arena
 * @arena: the arena; nothing updates its counters any more
 *
 * Context: process context.
 */
void anl_stat_exit(struct anl_arena *arena)
{
	free_percpu(arena->stat);
}

/**
 * anl_debugfs_init() - create the module's directory in debugfs
 *
 * Context: module init.
 */
void __init anl_debugfs_init(void)
{
	anl_debugfs = debugfs_create_dir("arena_nolock", NULL);
}

/**
 * anl_debugfs_exit() - remove the module's directory in debugfs
 *
 * Context: module exit, or a module init that fails.
 */
void anl_debugfs_exit(void)
{
	debugfs_remove(anl_debugfs);
}
