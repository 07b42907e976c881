// SPDX-License-Identifier: GPL-2.0
/*
 * Programs that do nothing. The kernel patches the code of a tracepoint when its first or
 * second program is attached or detached. An emulated CPU may then execute the breakpoint
 * after it is gone, see emulator_fault() in the harness. With two programs attached all the
 * time, storms attach and detach theirs without such a patch.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define HOLD(sec, name)		\
	SEC(sec)		\
	int hold_##name(void *ctx)\
	{			\
		return 0;	\
	}

HOLD("raw_tp/sys_enter", sys_enter)
HOLD("raw_tp/sched_switch", sched_switch)
HOLD("raw_tp/hrtimer_expire_entry", hrtimer_expire_entry)
HOLD("raw_tp/softirq_entry", softirq_entry)
HOLD("raw_tp", nmi)	/* see attach_nmis() */

char LICENSE[] SEC("license") = "GPL";
