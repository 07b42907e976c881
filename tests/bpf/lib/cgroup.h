/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory cgroups below the root, by their names; "" is the root. Calls report failure
 * in their result.
 */
#ifndef CGROUP_H
#define CGROUP_H

#include <stdbool.h>
#include <linux/types.h>

struct arena;

/* For cg_set(): no limit. */
#define CG_MAX (-1L)

/* Make a cgroup, or find it there. */
bool cg_make(const char *name);
/* Move this process into it. */
bool cg_enter(const char *name);
bool cg_set(const char *name, const char *file, long val);
/* The first number in a file, or -1. */
long cg_get(const char *name, const char *file);
/* A counter of memory.events, or -1. */
long cg_event(const char *name, const char *event);
/* Set memory.max to what the cgroup uses, and @bytes more. */
bool cg_limit(const char *name, long bytes);

/* A new arena that belongs to the cgroup. This process ends in the root. */
bool arena_open_in(const char *name, struct arena *a, __u32 pages);

#endif
