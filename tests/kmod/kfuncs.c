// SPDX-License-Identifier: GPL-2.0
/*
 * Kfuncs that access memory of the kernel from C, as other kfuncs do that are handed
 * an arena pointer. On kernels that map a scratch page over an unmapped arena address,
 * this is what makes them do so. On others an unmapped address is an oops.
 */
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/module.h>

#include "anl_test.h"

__bpf_kfunc_start_defs();

__bpf_kfunc u64 anl_test_peek(u64 kaddr)
{
	return READ_ONCE(*(u64 *)kaddr);
}

__bpf_kfunc void anl_test_poke(u64 kaddr, u64 val)
{
	WRITE_ONCE(*(u64 *)kaddr, val);
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(anl_test_ids)
BTF_ID_FLAGS(func, anl_test_peek)
BTF_ID_FLAGS(func, anl_test_poke)
BTF_KFUNCS_END(anl_test_ids)

static const struct btf_kfunc_id_set anl_test_set = {
	.owner = THIS_MODULE,
	.set = &anl_test_ids,
};

int anl_test_kfuncs_init(void)
{
	return register_btf_kfunc_id_set(BPF_PROG_TYPE_UNSPEC, &anl_test_set);
}
