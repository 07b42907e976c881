// SPDX-License-Identifier: GPL-2.0
/*
 * Counts the calls by which the module removes user PTEs in a range of addresses.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

__u64 from, to;		/* addresses, in bytes */
__u64 calls, bytes;

SEC("kprobe")
int BPF_KPROBE(on_zap, struct vm_area_struct *vma, unsigned long addr, unsigned long size)
{
	if (addr >= from && addr < to) {
		__sync_fetch_and_add(&calls, 1);
		__sync_fetch_and_add(&bytes, size);
	}

	return 0;
}

char LICENSE[] SEC("license") = "GPL";
