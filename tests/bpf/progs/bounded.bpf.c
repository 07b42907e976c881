// SPDX-License-Identifier: GPL-2.0
/*
 * The shortest program that frees a page without sleeping. test_bounded.c loads its
 * instructions for hundreds of arenas, without libbpf's work for each object.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "arena_nolock.h"

extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
} arena SEC(".maps");

struct bounded_ctx {
	__u64 addr;
};

SEC("syscall")
int free_page(struct bounded_ctx *ctx)
{
	__u64 addr = ctx->addr;

	bpf_rcu_read_lock();
	bpf_arena_nolock_free_pages(&arena, (void __arena *)addr, 1);
	bpf_rcu_read_unlock();

	return 0;
}

char LICENSE[] SEC("license") = "GPL";
