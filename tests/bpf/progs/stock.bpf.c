// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's own arena kfuncs. Where they may not be called the program is
 * not loaded.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "requests.h"

#define __arena __attribute__((address_space(1)))

/*
 * Depending on the bpftool that made it, vmlinux.h declares these with or
 * without address spaces; under another flavour the two do not clash.
 */
extern void __arena *bpf_arena_alloc_pages___stock(void *map, void __arena *addr, __u32 page_cnt,
						   int node_id, __u64 flags) __weak __ksym;
extern void bpf_arena_free_pages___stock(void *map, void __arena *ptr, __u32 page_cnt)
	__weak __ksym;
extern int bpf_arena_reserve_pages___stock(void *map, void __arena *ptr, __u32 page_cnt)
	__weak __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 64);
} arena SEC(".maps");

struct arena_req req;

static __always_inline int stock_do(void)
{
	void __arena *addr = (void __arena *)req.addr;

	switch (req.op) {
	case REQ_ALLOC:
		req.ret = (__u64)bpf_arena_alloc_pages___stock(&arena, addr, req.cnt, req.node, req.flags);
		break;
	case REQ_FREE:
		bpf_arena_free_pages___stock(&arena, addr, req.cnt);
		break;
	case REQ_RESERVE:
		if (bpf_ksym_exists(bpf_arena_reserve_pages___stock))
			req.ret = bpf_arena_reserve_pages___stock(&arena, addr, req.cnt);
		break;
	}

	return 0;
}

SEC("syscall")
int stock_sleepable(void *ctx)
{
	return stock_do();
}

SEC("?raw_tp")
int stock_under_rcu(void *ctx)
{
	return stock_do();
}

/*
 * Reads user memory every @copy_step bytes, all in one run, sleeps @copy_sleep_us after each, and
 * begins again as long as @copy_again is set. Counts the pages that could not be read.
 */
__u64 copy_at, copy_failed;
__u32 copy_cnt, copy_step, copy_sleep_us;
volatile __u32 copy_again;

extern void anl_test_sleep(__u32 us) __ksym;

static long copy_page(__u64 i, void *ctx)
{
	__u64 val;

	if (i >= copy_cnt && !copy_again)
		return 1;
	if (bpf_copy_from_user(&val, sizeof(val), (void *)(copy_at + i % copy_cnt * copy_step)))
		copy_failed++;
	if (copy_sleep_us)
		anl_test_sleep(copy_sleep_us);

	return 0;
}

static __always_inline int copy_all(void)
{
	bpf_loop(1 << 23, copy_page, NULL, 0);

	return 0;
}

SEC("syscall")
int copy_pages(void *ctx)
{
	return copy_all();
}

/* The same in a program of a kind that 7.x does not count as a reader of its task. */
SEC("?raw_tp")
int copy_pages_raw(void *ctx)
{
	return copy_all();
}

char LICENSE[] SEC("license") = "GPL";
