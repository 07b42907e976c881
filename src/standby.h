/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_STANDBY_H
#define ANL_STANDBY_H

#include <linux/list.h>
#include <linux/types.h>

#include "pool.h"

struct anl_arena;
struct anl_charge;
struct obj_cgroup;

/**
 * struct anl_standby - pages that the arenas of a memory cgroup share
 * @head: in the list of all
 * @objcg: what its pages are charged to; the arenas have the references
 * @size: pages that it can hold
 * @target: pages that it should hold, no more than its arenas together
 * @arenas: number of arenas that share it
 * @room: pages of all these arenas
 * @pool: the pages; no CPU has credit for any
 */
struct anl_standby {
	struct list_head head;
	struct obj_cgroup *objcg;
	u32 size;
	u32 target;
	u32 arenas;
	u64 room;
	struct anl_pool pool;
};

extern uint anl_standby_pages;

int anl_standby_join(struct anl_arena *arena);
void anl_standby_leave(struct anl_arena *arena);
u32 anl_standby_take(struct anl_arena *arena, u32 n, u32 cnt, int nid, struct list_head *pages);
bool anl_standby_return(struct anl_arena *arena, struct page *page);
int anl_standby_fill(struct anl_arena *arena, struct anl_charge *charge, gfp_t gfp);

#endif
