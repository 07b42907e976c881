/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The programs of lost.bpf.c, for the module, and of lost_intree.bpf.c, for the
 * kernel's own kfuncs. Both define alloc_page_at() and free_page_at() first.
 *
 * The taker runs in a hard interrupt, so its CPU flushes no TLB for others before it
 * is done. If the address can be had while it hunts, it writes through the
 * translation that it has, to a page that is no longer there.
 */
#ifndef LOST_PROGRAMS_H
#define LOST_PROGRAMS_H

volatile struct lost_shared sh;

typedef __u64 __arena *word_ptr;

/* How long one interrupt hunts: long enough for a system call on the other CPU. */
#define HUNT_NS (4 * 1000 * 1000)
#define HUNT_TRIES 100000

static __noinline __u64 get_word(__u64 addr)
{
	return *(volatile word_ptr)addr;
}

static __noinline int put_word(__u64 addr, __u64 val)
{
	*(volatile word_ptr)addr = val;

	return 0;
}

static __noinline int hunt(int warm)
{
	__u64 end = bpf_ktime_get_ns() + HUNT_NS;
	__u32 i;

	bpf_for(i, 0, HUNT_TRIES) {
		sh.tries++;
		if (!alloc_page_at(sh.page)) {
			if (bpf_ktime_get_ns() > end)
				break;
			continue;
		}
		sh.stale += get_word(sh.page) != 0;
		put_word(sh.page, sh.mark);
		sh.hot += warm;
		sh.phase = LOST_GOT;
		break;
	}

	return 0;
}

SEC("perf_event")
int lost_take(void *ctx)
{
	switch (sh.phase) {
	case LOST_WARM:
		put_word(sh.page, 0xdead);
		sh.tries = 0;
		sh.phase = LOST_HUNT;
		hunt(1);
		break;
	case LOST_HUNT:
		hunt(0);
		break;
	}

	return 0;
}

SEC("syscall")
int lost_alloc(void *ctx)
{
	sh.val = (__u64)alloc_page_at(sh.page);
	return 0;
}

SEC("syscall")
int lost_free(void *ctx)
{
	free_page_at(sh.page);
	return 0;
}

/* Cannot sleep. */
SEC("raw_tp")
int lost_free_queued(void *ctx)
{
	free_page_at(sh.page);
	return 0;
}

SEC("syscall")
int lost_read(void *ctx)
{
	arena_nolock_uses(&arena);
	sh.val = get_word(sh.look);
	return 0;
}

/*
 * In the middle of a user fault on it the page is freed and another one comes; a few
 * times, so that one of them meets a fault.
 */
SEC("syscall")
int lost_swap(void *ctx)
{
	__u64 got = 0;
	__u32 i;

	bpf_for(i, 0, 8) {
		free_page_at(sh.page);
		got = (__u64)alloc_page_at(sh.page);
	}
	sh.val = got;
	if (got)
		put_word(sh.page, sh.mark);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";

#endif
