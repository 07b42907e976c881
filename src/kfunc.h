/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_KFUNC_H
#define ANL_KFUNC_H

#include <linux/types.h>

void *bpf_arena_nolock_alloc_pages(void *p__map, void *addr__ign, u32 page_cnt,
				   int node_id, u64 flags);
void bpf_arena_nolock_free_pages(void *p__map, void *ptr__ign, u32 page_cnt);
int bpf_arena_nolock_reserve_pages(void *p__map, void *ptr__ign, u32 page_cnt);
int anl_kfunc_setup(void);

#endif
