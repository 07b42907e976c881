// SPDX-License-Identifier: GPL-2.0
/* Which cache lines allocations and frees write: the module. See lines_programs.h. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "arena_nolock.h"
#include "lines.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, LINES_PAGES);
} arena SEC(".maps");

#define alloc_page() bpf_arena_nolock_alloc_pages(&arena, NULL, 1, ARENA_NOLOCK_ANY_NODE, 0)
#define free_page(addr) bpf_arena_nolock_free_pages(&arena, (void __arena *)(addr), 1)

#include "lines_programs.h"
