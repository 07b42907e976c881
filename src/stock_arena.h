/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_STOCK_ARENA_H
#define ANL_STOCK_ARENA_H

#include "arena.h"

int anl_stock_probe(struct bpf_map *map, struct anl_arena *arena);
void anl_stock_divert(struct bpf_map *map, struct anl_arena *arena);
bool anl_stock_in_use(struct bpf_map *map, const struct bpf_prog *prog);
void anl_stock_seize(struct bpf_map *map, struct anl_arena *arena);
void anl_stock_takeover_vmas(struct bpf_map *map, struct anl_arena *arena);
void anl_stock_take_tree(struct bpf_map *map, struct anl_arena *arena);
bool anl_stock_next_free(struct anl_arena *arena, u32 *pgoff, u32 *cnt);
void anl_stock_return_tree(struct bpf_map *map, struct anl_arena *arena);
int anl_stock_init(void);

/* stock_layout.c */
int anl_stock_check_layout(void);

#endif
