// SPDX-License-Identifier: GPL-2.0
/*
 * Programs that do nothing. The kernel patches the code of a tracepoint when its first
 * or second program comes or goes, and an emulated CPU may run into the breakpoint of it
 * when it is gone; see emulator_fault() in run_qemu.sh. With two of these there all the
 * time, storms come and go without it.
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
