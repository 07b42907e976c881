// SPDX-License-Identifier: GPL-2.0
/* A page changes hands: the kernel's own kfuncs. See lost_programs.h. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define ARENA_NOLOCK_KEEP_STOCK
#include "arena_nolock.h"
#include "lost.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, LOST_PAGES);
} arena SEC(".maps");

#define alloc_page_at(addr) \
	bpf_arena_alloc_pages___nolock(&arena, (void __arena *)(addr), 1, ARENA_NOLOCK_ANY_NODE, 0)
#define free_page_at(addr) bpf_arena_free_pages___nolock(&arena, (void __arena *)(addr), 1)

#include "lost_programs.h"
