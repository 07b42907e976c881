// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that is charged to the memory cgroup of the map's creator.
 *
 * Every page of an arena, and all memory for its metadata, is allocated in a scope of
 * struct anl_charge. No allocation in the scope uses the kernel's emergency reserves, the
 * pages below the min watermark, or exceeds memory.max, whichever task it runs in: a
 * program can run in kswapd, in reclaim, in a victim of the OOM killer, or in an interrupt
 * of one of them.
 *
 * Owns: nothing of an arena but its reference on @objcg. The map drops its own before the
 * arena is freed.
 */
#include <linux/log2.h>
#include <linux/mmzone.h>
#include <linux/oom.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "arena.h"
#include "compat.h"

DEFINE_STATIC_KEY_FALSE(anl_numa);

/*
 * A charge in a task with PF_MEMALLOC ignores memory.max, even from an interrupt on top of
 * the task. So the task loses the flag in the scope. Only the task itself and its
 * interrupts write its flags, and each interrupt restores what it changed.
 */
static void anl_charge_enter(struct anl_charge *charge)
{
	charge->gfp = charge->memcg ? __GFP_ACCOUNT : 0;
	charge->memalloc = current->flags & PF_MEMALLOC;
	if (charge->memalloc)
		current->flags &= ~PF_MEMALLOC;
	if (charge->memcg)
		charge->old = set_active_memcg(charge->memcg);
}

static void anl_charge_leave(struct anl_charge *charge)
{
	if (charge->memcg)
		set_active_memcg(charge->old);
	if (charge->memalloc)
		current->flags |= PF_MEMALLOC;
}

/**
 * anl_charge_begin() - enter the scope
 * @arena: the arena whose creator is charged
 * @charge: the scope, until anl_charge_end()
 *
 * Context: process context, and so are the allocations in the scope; they may sleep.
 */
void anl_charge_begin(const struct anl_arena *arena, struct anl_charge *charge)
{
	charge->memcg = anl_objcg_get_memcg(arena->objcg);
	anl_charge_enter(charge);
}

/* Leave the scope of anl_charge_begin(). */
void anl_charge_end(struct anl_charge *charge)
{
	anl_charge_leave(charge);
	if (charge->memcg)
		mem_cgroup_put(charge->memcg);
}

/**
 * anl_charge_begin_rcu() - enter the scope as an RCU read-side section
 * @arena: the arena whose creator is charged
 * @charge: the scope, until anl_charge_end_rcu()
 *
 * Context: any.
 */
void anl_charge_begin_rcu(const struct anl_arena *arena, struct anl_charge *charge)
	__acquires(RCU)
{
	rcu_read_lock();
	charge->memcg = anl_objcg_memcg_rcu(arena->objcg);
	anl_charge_enter(charge);
}

/* Leave the scope of anl_charge_begin_rcu(). */
void anl_charge_end_rcu(struct anl_charge *charge)
	__releases(RCU)
{
	anl_charge_leave(charge);
	rcu_read_unlock();
}

/*
 * Flags for an allocation in the scope. PF_MEMALLOC also prevents that an allocation in
 * reclaim reclaims; without it, only the flags do.
 */
static gfp_t anl_gfp(const struct anl_charge *charge, gfp_t gfp)
{
	gfp |= __GFP_NOMEMALLOC | charge->gfp;

	return charge->memalloc ? gfp & ~__GFP_DIRECT_RECLAIM : gfp;
}

/*
 * vmalloc() knows no __GFP_NOMEMALLOC, and the percpu allocator builds its chunks without the
 * caller's. A task that could use emergency reserves gets nothing.
 */
static bool anl_may_use_reserves(void)
{
	return current->flags & PF_MEMALLOC || tsk_is_oom_victim(current);
}

/**
 * anl_zalloc() - zeroed memory for the metadata of an arena
 * @arena: the arena whose creator is charged
 * @size: bytes
 *
 * Context: process context, may sleep.
 * Return: memory for kvfree(), or NULL.
 */
void *anl_zalloc(const struct anl_arena *arena, size_t size)
{
	struct anl_charge charge;
	void *p;

	if (anl_may_use_reserves())
		return NULL;
	anl_charge_begin(arena, &charge);
	/* kmalloc() rounds large sizes up to a power of two. */
	if (size > PAGE_SIZE << PAGE_ALLOC_COSTLY_ORDER && !is_power_of_2(PAGE_ALIGN(size)))
		p = __vmalloc(size, GFP_KERNEL | __GFP_ZERO | charge.gfp);
	else
		p = kvzalloc(size, anl_gfp(&charge, GFP_KERNEL));
	anl_charge_end(&charge);

	return p;
}

/**
 * anl_zalloc_percpu() - the same, for each CPU
 * @arena: the arena whose creator is charged
 * @size: bytes
 *
 * Context: process context, may sleep.
 * Return: memory for free_percpu(), or NULL.
 */
void __percpu *anl_zalloc_percpu(const struct anl_arena *arena, size_t size)
{
	struct anl_charge charge;
	void __percpu *p;

	if (anl_may_use_reserves())
		return NULL;
	anl_charge_begin(arena, &charge);
	p = __alloc_percpu_gfp(size, __alignof__(u64), anl_gfp(&charge, GFP_KERNEL));
	anl_charge_end(&charge);

	return p;
}

/* See anl_mem_node(). */
int anl_nearest_node(int nid)
{
	struct zoneref *z;

	if (nid == NUMA_NO_NODE)
		nid = numa_mem_id();
	if (node_state(nid, N_NORMAL_MEMORY))
		return nid;
	for (z = node_zonelist(nid, GFP_KERNEL)->_zonerefs; zonelist_zone(z); z++)
		if (zonelist_zone_idx(z) <= gfp_zone(GFP_KERNEL))
			return zonelist_node_idx(z);

	return nid;
}

/* Keeps an allocation on the node that it is for. */
static gfp_t anl_this_node(void)
{
	return static_branch_unlikely(&anl_numa) ? __GFP_THISNODE : 0;
}

static struct page *anl_alloc_page(struct anl_charge *charge, gfp_t gfp, int nid)
{
	return alloc_pages_node(nid, anl_gfp(charge, gfp | __GFP_ZERO | __GFP_NOWARN), 0);
}

/**
 * anl_alloc_block() - adjacent, zeroed pages, to be used as single ones
 * @charge: scope of the caller
 * @gfp: flags for a single page
 * @cnt: number of pages that the caller can use, not 0
 * @order: largest order to try; on return, that of the block
 * @nid: preferred node, or NUMA_NO_NODE
 *
 * Larger blocks are cheaper for the page allocator and for the charge: for one page after
 * the other, it takes up to two thousand off its lists at a time, with interrupts off. A
 * block of a higher order must not cost reclaim or compaction, nor lead to another node.
 *
 * Context: that of the scope; may sleep if @gfp says so.
 * Return: the first page, or NULL.
 */
struct page *anl_alloc_block(struct anl_charge *charge, gfp_t gfp, u32 cnt, u32 *order, int nid)
{
	const gfp_t effort = __GFP_DIRECT_RECLAIM | __GFP_RETRY_MAYFAIL | __GFP_NORETRY;
	gfp_t light = (gfp & ~effort) | __GFP_ZERO | __GFP_NOWARN | anl_this_node();
	struct page *page;

	nid = anl_mem_node(nid);
	*order = min_t(u32, *order, ilog2(cnt));
	for (; *order; --*order) {
		page = alloc_pages_node(nid, anl_gfp(charge, light), *order);
		if (page) {
			split_page(page, *order);
			return page;
		}
	}

	return anl_alloc_page(charge, gfp, nid);
}

/**
 * anl_alloc_fault_page() - a zeroed, charged page for a user fault
 * @arena: the arena
 *
 * The OOM killer runs only for a task in the memcg that is charged, which may then be the
 * victim. A task from elsewhere that has the descriptor gets NULL instead, and cannot have
 * the creator's processes killed.
 *
 * Context: process context, may sleep, reclaim, and invoke the OOM killer.
 * Return: the page or NULL.
 */
struct page *anl_alloc_fault_page(struct anl_arena *arena)
{
	struct anl_charge charge;
	gfp_t gfp = GFP_KERNEL;
	struct page *page;

	anl_charge_begin(arena, &charge);
	if (!anl_task_in_memcg(charge.memcg))
		gfp |= __GFP_RETRY_MAYFAIL;
	page = anl_alloc_page(&charge, gfp, NUMA_NO_NODE);
	anl_charge_end(&charge);

	return page;
}

/* Module init: see whether the machine has several memory nodes. */
void __init anl_charge_setup(void)
{
	if (num_node_state(N_NORMAL_MEMORY) > 1)
		static_branch_enable(&anl_numa);
}
