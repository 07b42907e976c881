// SPDX-License-Identifier: GPL-2.0
/*
 * Accesses to an arena by kfuncs of the test module, through the arena's kernel
 * address. Does not call the kfuncs of arena_nolock, so that it can run on an
 * arena that is not adopted yet.
 */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

extern __u64 anl_test_peek(__u64 kaddr) __ksym;
extern void anl_test_poke(__u64 kaddr, __u64 val) __ksym;

/* An arena's kernel area begins with a guard for 16 bit offsets. */
#define LOWER_GUARD 32768

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 64);
} arena SEC(".maps");

/* In: addr, val, and whether to write. Out: what a read has found. */
__u64 addr;
__u64 val;
bool poke;

static __always_inline int scratch_do(void)
{
	struct bpf_arena *a = bpf_rdonly_cast(&arena, bpf_core_type_id_kernel(struct bpf_arena));
	__u64 kaddr = (__u64)BPF_CORE_READ(a, kern_vm, addr) + LOWER_GUARD + (__u32)addr;

	if (poke)
		anl_test_poke(kaddr, val);
	else
		val = anl_test_peek(kaddr);

	return 0;
}

SEC("syscall")
int scratch_sys(void *ctx)
{
	return scratch_do();
}

SEC("raw_tp")
int scratch_raw(void *ctx)
{
	return scratch_do();
}

char LICENSE[] SEC("license") = "GPL";
