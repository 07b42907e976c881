// SPDX-License-Identifier: GPL-2.0
/*
 * A page in an adopted arena that the arena does not know, as a bug of the module or of
 * the kernel could leave one: "FD PGOFF", written to /proc/anl_stray, maps a page there
 * behind the module's back. Its words are STRAY_WORD. The slot must be free.
 */
#include <linux/bpf.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/proc_fs.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "anl_config.h"
#include "anl_test.h"
#include "arena.h"

#define STRAY_WORD 0x5a5a5a5a5a5a5a5aULL

static int stray_map(struct anl_arena *a, u32 pgoff)
{
	unsigned long addr = anl_kaddr(a, pgoff);
	unsigned long table = (addr >> PMD_SHIFT) - (a->kern_start >> PMD_SHIFT);
	struct page *page;

	if (pgoff >= a->nr_slots)
		return -EINVAL;
	page = alloc_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	memset64(page_address(page), STRAY_WORD, PAGE_SIZE / sizeof(u64));
	set_pte(a->pgtable.tables[table] + pte_index(addr), mk_pte(page, PAGE_KERNEL));

	return 0;
}

static ssize_t stray_write(struct file *file, const char __user *ubuf, size_t len, loff_t *pos)
{
	char buf[32] = {};
	unsigned int fd, pgoff;
	struct bpf_map *map;
	int err;

	if (len >= sizeof(buf) || copy_from_user(buf, ubuf, len))
		return -EINVAL;
	if (sscanf(buf, "%u %u", &fd, &pgoff) != 2)
		return -EINVAL;
	map = bpf_map_get(fd);
	if (IS_ERR(map))
		return PTR_ERR(map);
	/* The test has adopted it. */
	err = stray_map(container_of(map->ops, struct anl_arena, ops), pgoff);
	bpf_map_put(map);

	return err ?: len;
}

static const struct proc_ops stray_ops = {
	.proc_write = stray_write,
	.proc_lseek = default_llseek,
};

int anl_test_stray_init(void)
{
	return proc_create("anl_stray", 0600, NULL, &stray_ops) ? 0 : -ENOMEM;
}

void anl_test_stray_exit(void)
{
	remove_proc_entry("anl_stray", NULL);
}
