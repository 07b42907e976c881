// SPDX-License-Identifier: GPL-2.0
/*
 * What people and programs can see of an arena: counters, and a file in debugfs.
 *
 * Owns: @stat, counters per CPU, allocated in adoption and freed with the arena; and
 * @stat_file. Counters are written in every context by the CPU that they belong to,
 * and read without any order: sums may be a little behind each other.
 *
 * <debugfs>/arena_nolock/<map id> has one "key value" or "key name=value ..." a line,
 * as files of cgroups have. Removing the file waits for whoever reads it, so a reader
 * never sees an arena that is gone.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "arena.h"
#include "trace.h"

static struct dentry *anl_debugfs;

static const struct trace_print_flags anl_ctx_names[] = { ANL_CTX_NAMES };
static const struct trace_print_flags anl_fault_names[] = { ANL_FAULT_NAMES };
static const char *const anl_fail_names[] = { "args", "address", "memory", "scratch", "lock" };

static_assert(ARRAY_SIZE(anl_ctx_names) == ANL_NR_CTX);
static_assert(ARRAY_SIZE(anl_fault_names) == ANL_NR_FAULT);
static_assert(ARRAY_SIZE(anl_fail_names) == ANL_NR_FAIL);

/* All of it is counters of 64 bits. */
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
	seq_printf(m, "populated_pages %ld\n", atomic_long_read(&arena->pgtable.nr_populated));
	seq_printf(m, "free_pages %u\n", anl_slots_nr_free(&arena->slots));
	seq_printf(m, "queued_pages %llu\n", anl_slots_nr_queued(arena));
	seq_printf(m, "pool_nr %d\n", atomic_read(&arena->pool.nr));
	seq_printf(m, "pool_target %u\n", READ_ONCE(arena->pool.target));
	seq_printf(m, "pool_min %u\n", arena->pool.min);
	seq_printf(m, "pool_max %u\n", arena->pool.max);
	anl_show_row(m, "allocs", NULL, anl_ctx_names, s->allocs, ANL_NR_CTX);
	seq_printf(m, "allocated_pages %llu\n", s->alloc_pages);
	anl_show_row(m, "frees", NULL, anl_ctx_names, s->frees, ANL_NR_CTX);
	seq_printf(m, "freed_pages %llu\n", s->free_pages);
	anl_show_row(m, "reserves", NULL, anl_ctx_names, s->reserves, ANL_NR_CTX);
	anl_show_row(m, "faults", NULL, anl_fault_names, s->faults, ANL_NR_FAULT);
	anl_show_fails(m, "alloc_failed", s->alloc_fails);
	anl_show_fails(m, "reserve_failed", s->reserve_fails);
	seq_printf(m, "queued_pages_total %llu\n", s->queued_pages);
	seq_printf(m, "drains %llu\n", s->drains);
	seq_printf(m, "drained_pages %llu\n", s->drain_pages);
	seq_printf(m, "drain_latency_max_us %llu\n",
		   div_u64(READ_ONCE(arena->drain.ns_max), NSEC_PER_USEC));
	seq_printf(m, "refills %llu\n", s->refills);
	kfree(s);

	return 0;
}
DEFINE_SHOW_ATTRIBUTE(anl_arena);

/**
 * anl_stat_init() - counters for an arena
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
 * anl_stat_show() - let people see an arena
 * @arena: the arena, complete
 *
 * Without memory for the file, or debugfs, they do not.
 *
 * Context: process context, may sleep.
 */
void anl_stat_show(struct anl_arena *arena)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", arena->id);
	arena->stat_file = debugfs_create_file(name, 0444, anl_debugfs, arena, &anl_arena_fops);
}

/* Nobody reads the file any more when this returns. */
void anl_stat_hide(struct anl_arena *arena)
{
	debugfs_remove(arena->stat_file);
}

void anl_stat_exit(struct anl_arena *arena)
{
	free_percpu(arena->stat);
}

void __init anl_debugfs_init(void)
{
	anl_debugfs = debugfs_create_dir("arena_nolock", NULL);
}

void anl_debugfs_exit(void)
{
	debugfs_remove(anl_debugfs);
}
