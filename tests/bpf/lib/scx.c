// SPDX-License-Identifier: GPL-2.0
/* sched_ext of this kernel; scx.h says what each call does. */
#include <string.h>
#include <bpf/btf.h>
#include <unistd.h>

#include "runner.h"
#include "scx.h"

bool scx_state_is(const char *what)
{
	const char *state = read_file(SCX_STATE);

	return state && !strncmp(state, what, strlen(what));
}

const char *scx_unfit(void)
{
	return access(SCX_STATE, F_OK) ? "this kernel has no sched_ext" : NULL;
}

const char *scx_cid_unfit(void)
{
	const char *why = scx_unfit();
	struct btf *btf;

	if (why)
		return why;
	btf = btf__load_vmlinux_btf();
	if (btf__find_by_name_kind(btf, "sched_ext_ops_cid", BTF_KIND_STRUCT) < 0)
		why = "sched_ext of this kernel has no cid form";
	btf__free(btf);

	return why;
}

/* Does the last argument of a kfunc come from the verifier, though the BTF says otherwise? */
static bool implicit_shown(const struct btf *btf, const char *kfunc)
{
	int id = btf__find_by_name_kind(btf, kfunc, BTF_KIND_FUNC);
	const struct btf_type *t;

	if (id < 0)
		return false;
	t = btf__type_by_id(btf, btf__type_by_id(btf, id)->type);
	if (!btf_vlen(t))
		return false;
	t = btf__type_by_id(btf, btf_params(t)[btf_vlen(t) - 1].type);
	while (btf_is_ptr(t) || btf_is_mod(t))
		t = btf__type_by_id(btf, t->type);

	return !strcmp(btf__name_by_offset(btf, t->name_off), "bpf_prog_aux");
}

const char *scx_queues_unfit(void)
{
	const char *why = scx_unfit();
	struct btf *btf;

	if (why)
		return why;
	btf = btf__load_vmlinux_btf();
	if (implicit_shown(btf, "scx_bpf_create_dsq"))
		why = "an old pahole made this kernel's BTF: it refuses scx_bpf_create_dsq()";
	btf__free(btf);

	return why;
}
