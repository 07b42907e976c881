// SPDX-License-Identifier: GPL-2.0
/* Which cache lines allocations and frees write: the kernel's own kfuncs. See lines_programs.h. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define ARENA_NOLOCK_KEEP_STOCK
#include "arena_nolock.h"
#include "lines.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, LINES_PAGES);
} arena SEC(".maps");

#define alloc_page() \
	bpf_arena_alloc_pages___nolock(&arena, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0)
#define free_page(addr) bpf_arena_free_pages___nolock(&arena, (void __arena *)(addr), 1)

#include "lines_programs.h"
