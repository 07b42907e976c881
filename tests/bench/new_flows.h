/* SPDX-License-Identifier: GPL-2.0 */
/* What new_flows.bpf.c and the case flows share. */
#ifndef NEW_FLOWS_H
#define NEW_FLOWS_H

#define NEW_FLOWS_CPUS 4

/* Of the flows of a slot, @n from number @first on. */
struct new_flows_ctx {
	__u64 slot, first, n;
};

struct new_flows_slot {
	__u64 done;
} __attribute__((aligned(128)));

#endif
