// SPDX-License-Identifier: GPL-2.0
/* A page changes hands: the module's kfuncs. See lost_programs.h. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "arena_nolock.h"
#include "lost.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, LOST_PAGES);
} arena SEC(".maps");

#define alloc_page_at(addr) \
	bpf_arena_nolock_alloc_pages(&arena, (void __arena *)(addr), 1, ARENA_NOLOCK_ANY_NODE, 0)
#define free_page_at(addr) bpf_arena_nolock_free_pages(&arena, (void __arena *)(addr), 1)

#include "lost_programs.h"
