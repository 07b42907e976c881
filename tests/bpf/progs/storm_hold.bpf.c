// SPDX-License-Identifier: GPL-2.0
/*
 * Programs that do nothing. The kernel patches the code of a tracepoint when its first or
 * second program is attached or detached. An emulated CPU may then execute the breakpoint
 * after it is gone, see emulator_fault() in the harness. With two programs attached all the
 * time, storms attach and detach theirs without such a patch.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define HOLD(tp)		\
	SEC("raw_tp/" #tp)	\
	int hold_##tp(void *ctx)\
	{			\
		return 0;	\
	}

HOLD(sys_enter)
HOLD(sched_switch)
HOLD(hrtimer_expire_entry)
HOLD(softirq_entry)
HOLD(nmi_handler)

char LICENSE[] SEC("license") = "GPL";
