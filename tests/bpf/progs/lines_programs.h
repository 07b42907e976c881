/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The program of lines.bpf.c, for the module, and of lines_intree.bpf.c, for the kernel's own
 * kfuncs. Both define alloc_page() and free_page() first.
 */
#ifndef LINES_PROGRAMS_H
#define LINES_PROGRAMS_H

__u64 page[LINES_MAX_CPUS][LINES_KEEP];
__u32 nr[LINES_MAX_CPUS];
__u64 failed;
volatile __u32 turn;

/* How often a CPU looks whether it is its turn, as the other one may have ended. */
#define TRIES 20000

static __always_inline void take_turn(__u32 cpu)
{
	__u32 i;

	bpf_for(i, 0, TRIES)
		if (turn == cpu)
			break;
}

static __always_inline __u64 get_page(void)
{
	volatile __u64 __arena *p;
	unsigned long flags;

	bpf_local_irq_save(&flags);
	p = alloc_page();
	bpf_local_irq_restore(&flags);
	if (!p) {
		__sync_fetch_and_add(&failed, 1);
		return 0;
	}
	*p = 1;

	return (__u64)p;
}

static __always_inline void put_page(__u64 addr)
{
	unsigned long flags;

	bpf_local_irq_save(&flags);
	free_page(addr);
	bpf_local_irq_restore(&flags);
}

/* Arguments: what to do, and how often. The CPUs are 0 and 1. */
SEC("raw_tp")
int lines_run(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 cpu = bpf_get_smp_processor_id() % LINES_MAX_CPUS, op = ctx->args[0], i;
	__u64 addr;

	bpf_for(i, 0, ctx->args[1]) {
		take_turn(cpu);
		switch (op) {
		case LINES_ALLOC:
			addr = get_page();
			if (addr)
				page[cpu][nr[cpu]++ % LINES_KEEP] = addr;
			break;
		case LINES_FREE:
			if (nr[cpu])
				put_page(page[cpu][--nr[cpu] % LINES_KEEP]);
			break;
		case LINES_BOTH:
			addr = get_page();
			if (addr)
				put_page(addr);
			break;
		}
		turn = !cpu;
	}

	return 0;
}

char LICENSE[] SEC("license") = "GPL";

#endif
