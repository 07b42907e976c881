// SPDX-License-Identifier: GPL-2.0
/* Schedulers on the kernel's own kfuncs. See scx_tasks_programs.h. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define ARENA_NOLOCK_KEEP_STOCK
#include "arena_nolock.h"
#include "scx_tasks.h"

#define alloc_page() \
	bpf_arena_alloc_pages___nolock(&arena, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0)
#define free_page(page) bpf_arena_free_pages___nolock(&arena, page, 1)

#include "scx_tasks_programs.h"
