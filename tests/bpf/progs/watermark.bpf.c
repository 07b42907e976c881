// SPDX-License-Identifier: GPL-2.0
/*
 * A program that allocates one page after the other in a task or an interrupt that may use
 * the kernel's emergency reserves. See watermark.h.
 */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "arena_nolock.h"
#include "watermark.h"

#define PF_MEMALLOC 0x00000800
#define PF_KSWAPD 0x00020000

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WM_ARENA_PAGES);
} arena SEC(".maps");

extern void vm_zone_stat __ksym;
/* The test module's timer. Tasks in reclaim set up timers of their own. */
extern void memalloc_probe __ksym;
void bpf_rcu_read_lock(void) __ksym;
void bpf_rcu_read_unlock(void) __ksym;

struct wm wm;

static __always_inline __u64 nr_free(void)
{
	__u64 v = 0;

	bpf_probe_read_kernel(&v, sizeof(v), &vm_zone_stat);

	return v;
}

static __always_inline void note_free(void)
{
	__u64 v = nr_free();

	if (v < wm.lowest)
		wm.lowest = v;
}

/*
 * Until there is none, or far too little memory is left. Unless user space wants to look at
 * them, the pages are freed at once, before the OOM killer looks for further processes.
 */
static void take(void)
{
	void __arena *first = NULL, *page;
	__u32 i;

	wm.before = nr_free();
	wm.lowest = wm.before;
	bpf_for(i, 0, wm.max) {
		page = bpf_arena_nolock_alloc_pages(&arena, NULL, 1, -1, 0);
		if (!page) {
			wm.nulls++;
			break;
		}
		if (!first)
			first = page;
		wm.got++;
		if (!(i % 32)) {
			note_free();
			if (wm.lowest < wm.stop_at)
				break;
		}
	}
	note_free();
	/* The arena was empty, so the pages are adjacent. */
	if (first && !wm.keep)
		bpf_arena_nolock_free_pages(&arena, first, wm.got);
}

static __always_inline bool begin(enum wm_where where)
{
	return wm.armed == where && __sync_val_compare_and_swap(&wm.state, WM_IDLE,
								WM_RUNNING) == WM_IDLE;
}

static __always_inline bool memalloc(void)
{
	return bpf_get_current_task_btf()->flags & PF_MEMALLOC;
}

static __always_inline bool victim(void)
{
	return bpf_get_current_task_btf()->signal->oom_mm;
}

static __always_inline bool kswapd(void)
{
	return bpf_get_current_task_btf()->flags & PF_KSWAPD;
}

/* When it wakes up; and later, as it may have been awake when the test began. */
SEC("raw_tp/mm_vmscan_kswapd_wake")
int in_kswapd(void *ctx)
{
	if (!kswapd() || !memalloc() || !begin(WM_KSWAPD))
		return 0;
	take();
	wm.state = WM_DONE;

	return 0;
}

SEC("raw_tp/mm_shrink_slab_start")
int in_reclaim(void *ctx)
{
	if (kswapd())
		return in_kswapd(ctx);
	if (wm.armed != WM_RECLAIM || wm.tgid != bpf_get_current_pid_tgid() >> 32 ||
	    !memalloc() || !begin(WM_RECLAIM))
		return 0;
	take();
	wm.state = WM_DONE;

	return 0;
}

SEC("raw_tp/timer_init")
int in_interrupt(struct bpf_raw_tracepoint_args *ctx)
{
	if (ctx->args[0] != (__u64)&memalloc_probe || !memalloc() || !begin(WM_INTERRUPT))
		return 0;
	take();
	/* The flag must be there again. */
	wm.lost_flag = !memalloc();
	wm.state = WM_DONE;

	return 0;
}

/* Run by a thread of a process that will be a victim of the OOM killer. */
SEC("syscall")
int in_victim(void *ctx)
{
	__u32 i, k;
	__u64 v;

	if (!begin(WM_VICTIM))
		return 0;
	/* Until user space gives up; the end is for the case that it cannot say so. */
	bpf_for(k, 0, 6000) {
		bpf_for(i, 0, 1000000) {
			if (victim() || wm.cancel)
				break;
		}
		if (victim() || wm.cancel)
			break;
	}
	wm.was_victim = victim();
	if (wm.was_victim) {
		bpf_rcu_read_lock();
		take();
		bpf_rcu_read_unlock();
		/* Faults of the user address: each is for a new page. */
		bpf_for(i, 0, wm.fault_max) {
			if (bpf_copy_from_user(&v, sizeof(v), (void *)(wm.fault_at +
					       i * (__u64)ARENA_NOLOCK_PAGE_SIZE))) {
				wm.faults_failed++;
				break;
			}
			wm.faults++;
			if (!(i % 32)) {
				note_free();
				if (wm.lowest < wm.stop_at)
					break;
			}
		}
		note_free();
		bpf_arena_nolock_free_pages(&arena, (void __arena *)wm.fault_at, wm.faults);
	}
	wm.state = WM_DONE;

	return 0;
}

char LICENSE[] SEC("license") = "GPL";
