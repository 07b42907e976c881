// SPDX-License-Identifier: GPL-2.0
/*
 * The flow table of examples/flows.bpf.c, with a program that does what an XDP program does for
 * the first packet of a flow, many times in a row and without the packet.
 */
#include "../../examples/flows.bpf.c"
#include "new_flows.h"

struct new_flows_slot slots[NEW_FLOWS_CPUS];

static __noinline int first_packet(__u32 src, __u32 dst)
{
	struct flow_key key = { .family = 4, .proto = IPPROTO_UDP, .src[0] = src, .dst[0] = dst };
	struct flow __arena *f;

	/* Clang must not know the key: it merges stores of constants, and loses the address space. */
	asm volatile("" : : "r"(&key) : "memory");
	f = find(&key, bpf_ktime_get_ns());
	if (!f)
		return 0;
	__sync_fetch_and_add(&f->packets, 1);

	return 1;
}

SEC("syscall")
int new_flows(struct new_flows_ctx *ctx)
{
	volatile struct new_flows_slot *s = &slots[ctx->slot % NEW_FLOWS_CPUS];
	__u64 first = ctx->first, slot = ctx->slot;
	__u32 i;

	bpf_for(i, 0, ctx->n)
		s->done += first_packet(first + i, slot);

	return 0;
}
