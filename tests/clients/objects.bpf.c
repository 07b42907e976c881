// SPDX-License-Identifier: GPL-2.0
/*
 * Pairs of calls of the allocator of the kernel's arena library, for the bench. Compiled with the
 * library's headers and linked with the library; the time is taken in here, around many calls.
 */
#include <libarena/common.h>

struct objects_args {
	__u64 n;
	__u64 ns, failed;	/* results */
};

SEC("syscall")
int objects_pairs(struct objects_args *args)
{
	__u64 n = args->n, failed = 0, begin = bpf_ktime_get_ns(), i;
	volatile __u64 __arena *p;

	for (i = zero; i < n && can_loop; i++) {
		p = arena_malloc(64);
		if (!p) {
			failed++;
			continue;
		}
		*p = i;
		arena_free((void __arena *)p);
	}
	args->ns = bpf_ktime_get_ns() - begin;
	args->failed = failed;

	return 0;
}
