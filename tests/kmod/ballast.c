// SPDX-License-Identifier: GPL-2.0
/*
 * Takes memory until few pages are free: "TARGET", written to /proc/anl_ballast, takes
 * blocks, the largest first, until TARGET pages are free for allocations with GFP_KERNEL.
 * What a zone keeps back for allocations that need this very zone is not counted: in a small
 * guest that is most of what is free in the end. The pages come back when the file is
 * closed, so a test that is killed does not keep them.
 *
 * A process could do the same, page by page; on a debug kernel with gigabytes of memory
 * that takes minutes, and the OOM killer may choose that process.
 */
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/mutex.h>
#include <linux/nodemask.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmstat.h>

#include "anl_test.h"

/* Blocks that one open file holds: lists of pages, by order. */
struct ballast {
	struct mutex lock;
	struct list_head blocks[MAX_PAGE_ORDER + 1];
};

static unsigned long ballast_free(void)
{
	enum zone_type kind = gfp_zone(GFP_KERNEL);
	unsigned long sum = 0;
	int nid, i;

	for_each_online_node(nid) {
		for (i = 0; i <= kind; i++) {
			struct zone *zone = &NODE_DATA(nid)->node_zones[i];
			unsigned long nr = zone_page_state(zone, NR_FREE_PAGES);
			unsigned long kept = zone->lowmem_reserve[kind];

			sum += nr - min(nr, kept);
		}
	}

	return sum;
}

/* Without reclaim: neither kswapd nor the OOM killer is to notice. */
static void ballast_take(struct ballast *ballast, unsigned long target)
{
	int order;

	for (order = MAX_PAGE_ORDER; order >= 0; order--) {
		while (ballast_free() > target + (1UL << order)) {
			struct page *page = alloc_pages(__GFP_HIGHMEM | __GFP_NOWARN, order);

			if (!page)
				break;
			list_add(&page->lru, &ballast->blocks[order]);
			cond_resched();
		}
	}
}

static int ballast_open(struct inode *inode, struct file *file)
{
	struct ballast *ballast = kmalloc(sizeof(*ballast), GFP_KERNEL);
	int order;

	if (!ballast)
		return -ENOMEM;
	mutex_init(&ballast->lock);
	for (order = 0; order <= MAX_PAGE_ORDER; order++)
		INIT_LIST_HEAD(&ballast->blocks[order]);
	file->private_data = ballast;

	return 0;
}

static ssize_t ballast_write(struct file *file, const char __user *ubuf, size_t len, loff_t *pos)
{
	struct ballast *ballast = file->private_data;
	unsigned long target;
	int err = kstrtoul_from_user(ubuf, len, 0, &target);

	if (err)
		return err;
	mutex_lock(&ballast->lock);
	ballast_take(ballast, target);
	mutex_unlock(&ballast->lock);

	return len;
}

static int ballast_release(struct inode *inode, struct file *file)
{
	struct ballast *ballast = file->private_data;
	struct page *page, *next;
	int order;

	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		list_for_each_entry_safe(page, next, &ballast->blocks[order], lru)
			__free_pages(page, order);
	}
	kfree(ballast);

	return 0;
}

static const struct proc_ops ballast_ops = {
	.proc_open = ballast_open,
	.proc_write = ballast_write,
	.proc_lseek = noop_llseek,
	.proc_release = ballast_release,
};

int anl_test_ballast_init(void)
{
	return proc_create("anl_ballast", 0600, NULL, &ballast_ops) ? 0 : -ENOMEM;
}

void anl_test_ballast_exit(void)
{
	remove_proc_entry("anl_ballast", NULL);
}
