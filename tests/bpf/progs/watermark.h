/* SPDX-License-Identifier: GPL-2.0 */
/* What watermark.bpf.c and its user space share. */
#ifndef WATERMARK_H
#define WATERMARK_H

/* The arena; its upper half is for user faults. */
#define WM_ARENA_PAGES (1U << 18)

enum wm_where { WM_NOWHERE, WM_KSWAPD, WM_RECLAIM, WM_INTERRUPT, WM_VICTIM };
enum wm_state { WM_IDLE, WM_RUNNING, WM_DONE };

struct wm {
	/* From user space. */
	__u32 armed;		/* enum wm_where */
	__u32 tgid;		/* the task of WM_RECLAIM */
	__u32 max;		/* pages to take at most */
	__u32 fault_max;	/* and by faults */
	__u64 fault_at;		/* first address of those */
	__u64 stop_at;		/* free pages below which the kernel is in danger */
	__u32 keep;		/* the pages that it got */
	__u32 cancel;

	/* From the program. */
	__u32 state;		/* enum wm_state */
	__u32 was_victim;
	__u32 lost_flag;	/* the task is without PF_MEMALLOC afterwards */
	__u64 before;		/* free pages before the first allocation */
	__u64 lowest;		/* and the fewest since then */
	__u64 got;
	__u64 nulls;
	__u64 faults;
	__u64 faults_failed;
};

#endif
