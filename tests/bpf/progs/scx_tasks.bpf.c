// SPDX-License-Identifier: GPL-2.0
/* Schedulers on the module. See scx_tasks_programs.h. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "arena_nolock.h"
#include "scx_tasks.h"

#define alloc_page() \
	bpf_arena_nolock_alloc_pages(&arena, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0)
#define free_page(page) bpf_arena_nolock_free_pages(&arena, page, 1)

#include "scx_tasks_programs.h"
