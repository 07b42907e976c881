// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel as a client of an adopted arena.
 *
 * When a sched_ext scheduler of the cid form (7.x) is enabled, the kernel allocates from the
 * scheduler's arena, outside of any program, by bpf_arena_alloc_pages_sleepable(). That
 * function belongs to the stock arena and would find no free range. So ftrace redirects its
 * calls for adopted maps to anl_client_alloc(), in the way in which a livepatch replaces a
 * function. Calls for other maps run the kernel's function. BPF programs cannot call it:
 * their kfuncs are other functions.
 *
 * The pages are like those of a program. The kernel uses them by their kernel addresses, and
 * keeps them until the map is freed.
 *
 * Owns: the registration with ftrace.
 *
 * Context: the kernel calls under scx_enable_mutex and cpus_read_lock(). An adoption takes
 * neither, so a call that finds one in progress waits for it, for a bounded time. The caller
 * holds the map, and the map holds the module until map_free. unregister_ftrace_function()
 * waits for calls that are still in anl_client_enter().
 */
#define pr_fmt(fmt) "arena_nolock: " fmt

#include <linux/completion.h>
#include <linux/ftrace.h>
#include <linux/jiffies.h>
#include <linux/module.h>

#include "adopt.h"
#include "client.h"
#include "compat.h"
#include "kfunc.h"

static bool anl_kernel_client = true;
module_param_named(kernel_client, anl_kernel_client, bool, 0444);
MODULE_PARM_DESC(kernel_client,
		 "Serve what the kernel itself allocates from adopted arenas (sched_ext schedulers of the cid form), by ftrace (default Y)");

#ifdef ANL_HAVE_KERNEL_CLIENT
static bool anl_client_registered;

/*
 * bpf_arena_alloc_pages_sleepable() of an adopted map. Returns the user address of the first
 * page, or NULL.
 */
static void *anl_client_alloc(void *p__map, void *addr__ign, u32 page_cnt, int node_id, u64 flags)
{
	struct anl_arena *arena = anl_adopted(p__map);

	wait_for_completion_timeout(&arena->adopted, ANL_ADOPT_WAIT_S * HZ);

	return bpf_arena_nolock_alloc_pages(p__map, addr__ign, page_cnt, node_id, flags);
}

/* At the entry of the kernel's function, with preemption off. */
static void notrace anl_client_enter(unsigned long ip, unsigned long parent_ip,
				     struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
	struct bpf_map *map = (struct bpf_map *)ftrace_regs_get_argument(fregs, 0);

	if (anl_adopted(map))
		ftrace_regs_set_instruction_pointer(fregs, (unsigned long)anl_client_alloc);
}

/* PERMANENT: the sysctl kernel.ftrace_enabled cannot turn it off. */
static struct ftrace_ops anl_client_ops = {
	.func = anl_client_enter,
	.flags = FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_RECURSION | FTRACE_OPS_FL_PERMANENT,
};

/**
 * anl_client_setup() - serve the kernel's own allocations from adopted arenas
 *
 * If this fails, those allocations fail, and everything else works.
 *
 * Context: module init, when everything else is ready.
 * Return: what the log says of them.
 */
const char * __init anl_client_setup(void)
{
	/* What the kernel calls, and no BPF program. */
	unsigned char function[] = "bpf_arena_alloc_pages_sleepable";
	int err;

	if (!anl_kernel_client)
		return "off";
	err = ftrace_set_filter(&anl_client_ops, function, sizeof(function) - 1, 1);
	if (!err)
		err = register_ftrace_function(&anl_client_ops);
	anl_client_registered = !err;
	if (!err)
		return "on";
	ftrace_free_filter(&anl_client_ops);
	pr_warn("cannot redirect %s(), error %d: a sched_ext scheduler of the cid form cannot be enabled if its arena is adopted; everything else works\n",
		function, err);

	return "failed";
}

/* Undo anl_client_setup(). Module exit: no map is adopted. */
void anl_client_cleanup(void)
{
	if (!anl_client_registered)
		return;
	unregister_ftrace_function(&anl_client_ops);
	ftrace_free_filter(&anl_client_ops);
}
#else
/* The kernel does not allocate from arenas itself. */
const char * __init anl_client_setup(void)
{
	return "not needed";
}

void anl_client_cleanup(void)
{
}
#endif
