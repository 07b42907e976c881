// SPDX-License-Identifier: GPL-2.0
/*
 * Variables in an arena. libbpf writes their values before it loads the program, which is
 * before the adoption.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "arena_nolock.h"

#define NR_NUMBERS 3000

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 64);
} arena SEC(".maps");

__u64 __arena magic = 0x1122334455667788;
__u64 __arena numbers[NR_NUMBERS] = { 1, 2, 3, [NR_NUMBERS - 1] = 42 };
__u64 __arena sum;
__u64 page;

/* Adds the numbers up and allocates a page. */
SEC("syscall")
int globals_sys(void *ctx)
{
	__u64 total = 0;
	__u32 i;

	bpf_for(i, 0, NR_NUMBERS)
		total += numbers[i];
	sum = total;
	page = (__u64)bpf_arena_nolock_alloc_pages(&arena, NULL, 1, -1, 0);

	return magic == 0x1122334455667788;
}

char LICENSE[] SEC("license") = "GPL";
