// SPDX-License-Identifier: GPL-2.0
/*
 * arena_nolock: BPF arenas whose page kfuncs work in every context.
 *
 * Module init and exit: a place to start reading. In the life of an arena:
 *
 *	kfunc.c		 a program that calls a kfunc is verified
 *	adopt.c		 its arena is adopted; stock_arena.c knows how to read it
 *	client.c	 the kernel itself allocates from it (sched_ext)
 *	alloc.c		 an allocation: a slot of slots.c, a page of pool.c or charge.c, a
 *			 PTE of arena_pgtable.c
 *	vma.c, fault.c	 user space maps the arena, and faults on it
 *	slots.c, kick.c	 a free, in any context, makes slots dying and requests the drain
 *	arena_free_deferred.c
 *			 the drain makes them free again
 *	refill.c	 a worker keeps the pool as large as the demand requires
 *	adopt.c		 map_free
 *
 * Below all of them are range_tree_rqs.c, the tree of free slots, and lock.c. stat.c shows
 * what happens. A file calls only files below it; docs/design.md has the layers.
 *
 * Parameters are in pool.c.
 */
#define pr_fmt(fmt) "arena_nolock: " fmt

#include <linux/init.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/utsname.h>

#include "adopt.h"
#include "arena.h"
#include "client.h"
#include "compat.h"
#include "kfunc.h"

/* Does the module run on the kernel that it was built for? */
static int __init anl_check_target(void)
{
	if (strcmp(init_utsname()->release, ANL_TARGET_RELEASE)) {
		pr_err("built for kernel %s, but the running kernel is %s, whose layout can differ; rebuild the module for it\n",
		       ANL_TARGET_RELEASE, init_utsname()->release);
		return -ENOEXEC;
	}
	/* Without BTF the registration of the kfuncs does nothing and reports success. */
	if (!THIS_MODULE->btf_data) {
		pr_err("the module has no BTF, so no program can find its kfuncs; rebuild it with pahole installed, for a kernel with CONFIG_DEBUG_INFO_BTF_MODULES\n");
		return -ENOEXEC;
	}

	return anl_stock_check_layout();
}

static int __init anl_init(void)
{
	const char *client;
	int err;

	err = anl_check_target();
	if (err)
		return err;
	err = anl_compat_init();
	if (err)
		return err;
	err = anl_stock_init();
	if (err)
		return err;

	anl_charge_setup();
	err = anl_kick_setup();
	if (err)
		return err;
	err = anl_adopt_setup();
	if (err)
		goto no_adopt;
	err = anl_refill_setup();
	if (err)
		goto no_refill;
	anl_debugfs_init();

	err = anl_kfunc_setup();
	if (err)
		goto no_kfuncs;
	client = anl_client_setup();
	pr_info("version " ANL_VERSION " for %s: pool_pages=%u pool_max=%u standby_pages=%u, kernel client %s\n",
		ANL_TARGET_RELEASE, anl_pool_pages, anl_pool_max, anl_standby_pages, client);
	anl_pool_check_params();

	return 0;

no_kfuncs:
	anl_debugfs_exit();
	anl_refill_cleanup();
no_refill:
	anl_adopt_cleanup();
no_adopt:
	anl_kick_cleanup();

	return err;
}

static void __exit anl_exit(void)
{
	/* The last instructions of anl_map_free() run after its module_put(). */
	synchronize_rcu_tasks();
	anl_client_cleanup();
	anl_debugfs_exit();
	anl_refill_cleanup();
	anl_adopt_cleanup();
	anl_kick_cleanup();
}

module_init(anl_init);
module_exit(anl_exit);

MODULE_AUTHOR("The arena_nolock maintainers");
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("BPF arenas whose page kfuncs work in every context");
MODULE_VERSION(ANL_VERSION);
