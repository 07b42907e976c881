/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_STOCK_ARENA_H
#define ANL_STOCK_ARENA_H

#include "arena.h"

int anl_stock_probe(struct bpf_map *map, struct anl_arena *a);
void anl_stock_seize(struct bpf_map *map, struct anl_arena *a);
void anl_stock_quiesce(struct bpf_map *map, const struct bpf_prog *prog);
void anl_stock_takeover_vmas(struct bpf_map *map, struct anl_arena *a);
bool anl_stock_next_free(struct bpf_map *map, u32 *pgoff, u32 *cnt);
int anl_stock_init(void);

/* stock_layout.c */
int anl_stock_check_layout(void);

#endif
