/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_STOCK_ARENA_H
#define ANL_STOCK_ARENA_H

#include <linux/rbtree.h>
#include <linux/types.h>

struct anl_arena;
struct bpf_map;
struct bpf_map_ops;
struct bpf_prog;

/**
 * struct anl_stock - what an adopted arena has taken from the stock arena
 * @ops: what map->ops pointed to
 * @seized: the stock kfuncs fail on the map, and new mappings are ours
 * @ranges: root of the tree of free ranges, returned before the stock arena is freed; only
 *	adoption walks it
 * @sizes: root of the same ranges by size
 */
struct anl_stock {
	const struct bpf_map_ops *ops;
	bool seized;
	struct rb_root_cached ranges;
	struct rb_root_cached sizes;
};

int anl_stock_probe(struct bpf_map *map, struct anl_arena *arena);
void anl_stock_divert(struct bpf_map *map, struct anl_arena *arena);
bool anl_stock_in_use(struct bpf_map *map, const struct bpf_prog *prog);
void anl_stock_seize(struct bpf_map *map, struct anl_arena *arena);
void anl_stock_adopt_vmas(struct bpf_map *map, struct anl_arena *arena);
void anl_stock_take_tree(struct bpf_map *map, struct anl_arena *arena);
bool anl_stock_next_free(struct anl_arena *arena, u32 *pgoff, u32 *cnt);
void anl_stock_return_tree(struct bpf_map *map, struct anl_arena *arena);
int anl_stock_init(void);

/* stock_layout.c */
int anl_stock_check_layout(void);

#endif
