// SPDX-License-Identifier: GPL-2.0
/*
 * Kfuncs that access memory of the kernel from C, as other kfuncs do that are handed
 * an arena pointer. On kernels that map a scratch page over an unmapped arena address,
 * this is what makes them do so. On others an unmapped address is an oops.
 *
 * One that sleeps. And two between which a sleepable program is where reclaim would have it
 * run that was entered by an allocation in mmap() or fork(): mmap_lock of its process is held
 * for write, and PF_MEMALLOC is set.
 */
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/mm.h>

#include "anl_test.h"

/*
 * 7.3 looks for the program on the stack of a fault. A kfunc of arm64 that calls nothing has no
 * frame there, and its caller would be overlooked.
 */
static noinline u64 peek(u64 kaddr)
{
	return READ_ONCE(*(u64 *)kaddr);
}

static noinline void poke(u64 kaddr, u64 val)
{
	WRITE_ONCE(*(u64 *)kaddr, val);
}

__bpf_kfunc_start_defs();

__bpf_kfunc u64 anl_test_peek(u64 kaddr)
{
	u64 val = peek(kaddr);

	barrier();	/* no tail call */
	return val;
}

__bpf_kfunc void anl_test_poke(u64 kaddr, u64 val)
{
	poke(kaddr, val);
	barrier();	/* no tail call */
}

__bpf_kfunc void anl_test_sleep(u32 us)
{
	usleep_range(us, us + us / 4);
}

__bpf_kfunc u32 anl_test_begin_reclaim(void)
{
	mmap_write_lock(current->mm);

	return memalloc_noreclaim_save();
}

__bpf_kfunc void anl_test_end_reclaim(u32 flags)
{
	memalloc_noreclaim_restore(flags);
	mmap_write_unlock(current->mm);
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(anl_test_ids)
BTF_ID_FLAGS(func, anl_test_peek)
BTF_ID_FLAGS(func, anl_test_poke)
BTF_ID_FLAGS(func, anl_test_sleep, KF_SLEEPABLE)
BTF_ID_FLAGS(func, anl_test_begin_reclaim, KF_SLEEPABLE)
BTF_ID_FLAGS(func, anl_test_end_reclaim, KF_SLEEPABLE)
BTF_KFUNCS_END(anl_test_ids)

static const struct btf_kfunc_id_set anl_test_set = {
	.owner = THIS_MODULE,
	.set = &anl_test_ids,
};

int anl_test_kfuncs_init(void)
{
	return register_btf_kfunc_id_set(BPF_PROG_TYPE_UNSPEC, &anl_test_set);
}
