/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_CHARGE_H
#define ANL_CHARGE_H

#include <linux/init.h>
#include <linux/jump_label.h>
#include <linux/numa.h>
#include <linux/percpu.h>
#include <linux/types.h>

struct anl_arena;
struct mem_cgroup;
struct page;

/* Largest order that single pages are cut from. Larger ones are not on the CPU's lists. */
#define ANL_BLOCK_ORDER 4

/**
 * struct anl_charge - a scope in which allocations are charged to the map's creator
 * @memcg: the memory cgroup, or NULL for the root
 * @old: the active memcg outside of the scope
 * @gfp: flag that charges an allocation, if there is a memcg
 * @memalloc: PF_MEMALLOC if the task had it
 */
struct anl_charge {
	struct mem_cgroup *memcg;
	struct mem_cgroup *old;
	gfp_t gfp;
	unsigned int memalloc;
};

void anl_charge_begin(const struct anl_arena *arena, struct anl_charge *charge);
void anl_charge_end(struct anl_charge *charge);
void anl_charge_begin_rcu(const struct anl_arena *arena, struct anl_charge *charge)
	__acquires(RCU);
void anl_charge_end_rcu(struct anl_charge *charge) __releases(RCU);
void *anl_zalloc(const struct anl_arena *arena, size_t size);
void __percpu *anl_zalloc_percpu(const struct anl_arena *arena, size_t size);
struct page *anl_alloc_block(struct anl_charge *charge, gfp_t gfp, u32 cnt, u32 *order, int nid);
struct page *anl_alloc_fault_page(struct anl_arena *arena);
int anl_nearest_node(int nid);
void anl_charge_setup(void);

/* Enabled if there is more than one memory node. */
DECLARE_STATIC_KEY_FALSE(anl_numa);

/*
 * The node whose memory a caller gets: @nid if it has any, otherwise the one that the page
 * allocator tries first in its place. Any context.
 */
static inline int anl_mem_node(int nid)
{
	return static_branch_unlikely(&anl_numa) ? anl_nearest_node(nid) : nid;
}

#endif
