// SPDX-License-Identifier: GPL-2.0
/* The other one. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define __arena __attribute__((address_space(1)))

extern __u64 page_alloc(void);
extern int page_free(void __arena *page __arg_arena);

__u64 kept;

SEC("syscall")
int allocate_two(void *ctx)
{
	__u64 page = page_alloc();

	kept = page_alloc();
	if (page)
		page_free((void __arena *)page);

	return !page || !kept;
}

char _license[] SEC("license") = "GPL";
