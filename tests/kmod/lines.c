// SPDX-License-Identifier: GPL-2.0
/*
 * Where the data of an adopted arena is, for tests that find cache lines by their address. "FD",
 * written to /proc/anl_lines, selects the arena; a read returns "NAME FIRST END" for each part,
 * in hexadecimal. An address may be in several parts; the first one names it best.
 */
#include <linux/bpf.h>
#include <linux/cpumask.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/proc_fs.h>
#include <linux/uaccess.h>

#include "oracle_tree.h"
#include "anl_config.h"
#include "anl_test.h"
#include "arena.h"

#define LINES_TEXT (64 * 1024)

struct lines_text {
	size_t len;
	char text[LINES_TEXT];
};

static void lines_add(struct lines_text *t, const char *name, const void *first, size_t size)
{
	unsigned long addr = (unsigned long)first;

	t->len += scnprintf(t->text + t->len, sizeof(t->text) - t->len, "%s %lx %lx\n", name, addr,
			    addr + size);
}

#define lines_add_member(t, arena, member) \
	lines_add(t, #member, &(arena)->member, sizeof((arena)->member))

#define lines_add_percpu(t, arena, member)						\
	do {										\
		int cpu_;								\
											\
		for_each_possible_cpu(cpu_)						\
			lines_add(t, #member, per_cpu_ptr((arena)->member, cpu_),	\
				  sizeof(*(arena)->member));				\
	} while (0)

static void lines_add_slots(struct lines_text *t, struct anl_arena *a)
{
	u32 nr = ANL_NR_GROUPS(a->nr_slots);

	lines_add(t, "slots.groups", a->slots.groups,
		  round_up(nr, ANL_GROUPS_BLOCK) * sizeof(*a->slots.groups));
	lines_add(t, "slots.dying_sum", a->slots.dying_sum,
		  BITS_TO_LONGS(nr) * sizeof(*a->slots.dying_sum));
	lines_add(t, "slots.tree_mem", a->slots.tree_mem, anl_tree_mem_size(a->nr_limit));
	lines_add_percpu(t, a, slots.magazine);
	lines_add_member(t, a, slots.tree);
	lines_add_member(t, a, slots.spares);
	lines_add_member(t, a, slots.retire_seq);
}

static void lines_add_pool(struct lines_text *t, struct anl_arena *a)
{
	size_t words = BITS_TO_LONGS(a->pool.max);
	struct anl_pool_node *node;
	int nid;

	if (!a->pool.max)
		return;
	lines_add(t, "pool.pages", a->pool.pages, a->pool.max * sizeof(*a->pool.pages));
	for_each_online_node(nid) {
		node = (void *)a->pool.nodes + nid * (size_t)a->pool.node_size;
		lines_add(t, "pool.map", node->map, words * sizeof(*node->map));
		lines_add(t, "pool.node", node, sizeof(*node));
	}
	lines_add_percpu(t, a, pool.cpu);
	lines_add_member(t, a, pool.nr);
	lines_add_member(t, a, pool);
}

static void lines_add_pgtable(struct lines_text *t, struct anl_arena *a)
{
	unsigned long first = a->kern_start >> PMD_SHIFT;
	unsigned long last = (anl_kaddr(a, a->nr_slots) - 1) >> PMD_SHIFT, i;

	for (i = 0; i <= last - first; i++)
		lines_add(t, "pte", a->pgtable.tables[i], PAGE_SIZE);
	lines_add_percpu(t, a, pgtable.populated);
	lines_add_member(t, a, pgtable.nr_populated);
}

static void lines_add_pages(struct lines_text *t)
{
	int nid;

	for_each_online_node(nid)
		lines_add(t, "struct-page", pfn_to_page(node_start_pfn(nid)),
			  node_spanned_pages(nid) * sizeof(struct page));
}

static int lines_open(struct inode *inode, struct file *file)
{
	struct lines_text *t = kvzalloc(sizeof(*t), GFP_KERNEL);

	file->private_data = t;

	return t ? 0 : -ENOMEM;
}

static int lines_release(struct inode *inode, struct file *file)
{
	kvfree(file->private_data);

	return 0;
}

/* The test has adopted the arena, and has one thread that uses the file. */
static ssize_t lines_write(struct file *file, const char __user *ubuf, size_t len, loff_t *pos)
{
	struct lines_text *t = file->private_data;
	struct anl_arena *a;
	struct bpf_map *map;
	unsigned int fd;
	int err = kstrtouint_from_user(ubuf, len, 0, &fd);

	if (err)
		return err;
	map = bpf_map_get(fd);
	if (IS_ERR(map))
		return PTR_ERR(map);
	a = container_of(map->ops, struct anl_arena, ops);
	t->len = 0;
	lines_add_slots(t, a);
	lines_add_pool(t, a);
	lines_add_pgtable(t, a);
	lines_add_percpu(t, a, stat);
	lines_add_member(t, a, kick);
	lines_add(t, "arena", a, sizeof(*a));
	lines_add_pages(t);
	bpf_map_put(map);
	*pos = 0;

	return len;
}

static ssize_t lines_read(struct file *file, char __user *ubuf, size_t len, loff_t *pos)
{
	struct lines_text *t = file->private_data;

	return simple_read_from_buffer(ubuf, len, pos, t->text, t->len);
}

static const struct proc_ops lines_ops = {
	.proc_open = lines_open,
	.proc_release = lines_release,
	.proc_write = lines_write,
	.proc_read = lines_read,
	.proc_lseek = default_llseek,
};

int anl_test_lines_init(void)
{
	return proc_create("anl_lines", 0600, NULL, &lines_ops) ? 0 : -ENOMEM;
}

void anl_test_lines_exit(void)
{
	remove_proc_entry("anl_lines", NULL);
}
