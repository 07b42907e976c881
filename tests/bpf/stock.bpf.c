// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's own arena kfuncs. Where they may not be called the program is
 * not loaded.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "sem.h"

#define __arena __attribute__((address_space(1)))

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 64);
} arena SEC(".maps");

struct sem_req req;

static __always_inline int stock_do(void)
{
	void __arena *addr = (void __arena *)req.addr;

	switch (req.op) {
	case SEM_ALLOC:
		req.ret = (__u64)bpf_arena_alloc_pages(&arena, addr, req.cnt, req.node, req.flags);
		break;
	case SEM_FREE:
		bpf_arena_free_pages(&arena, addr, req.cnt);
		break;
	case SEM_RESERVE:
		if (bpf_ksym_exists(bpf_arena_reserve_pages))
			req.ret = bpf_arena_reserve_pages(&arena, addr, req.cnt);
		break;
	}

	return 0;
}

SEC("syscall")
int stock_sys(void *ctx)
{
	return stock_do();
}

SEC("?raw_tp")
int stock_raw(void *ctx)
{
	return stock_do();
}

char LICENSE[] SEC("license") = "GPL";
