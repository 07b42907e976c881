/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_ADOPT_H
#define ANL_ADOPT_H

#include <linux/bpf.h>

#include "arena.h"

/*
 * How long those wait for an adoption who need it: the load of a program, which is refused
 * then, and an allocation of the kernel's own, which fails.
 */
#define ANL_ADOPT_WAIT_S 10

int anl_adopt_filter(const struct bpf_prog *prog, u32 kfunc_id);
void anl_map_free(struct bpf_map *map);
int anl_adopt_setup(void);
void anl_adopt_cleanup(void);

/* The arena behind a map that was diverted, or NULL. Adoption may be in progress. */
static inline struct anl_arena *anl_adopted(struct bpf_map *map)
{
	/* Pairs with smp_store_release() in anl_stock_divert(). */
	const struct bpf_map_ops *ops = smp_load_acquire(&map->ops);

	if (ops->map_free != anl_map_free)
		return NULL;

	return container_of(ops, struct anl_arena, ops);
}

/**
 * anl_arena_of() - the adopted arena behind a map
 * @map: any map
 *
 * Context: any.
 * Return: the arena, or NULL if the map is not an adopted arena.
 */
static inline struct anl_arena *anl_arena_of(struct bpf_map *map)
{
	struct anl_arena *arena = anl_adopted(map);

	/* Pairs with smp_store_release() in anl_adopt_work(). */
	return arena && smp_load_acquire(&arena->ready) ? arena : NULL;
}

#endif
