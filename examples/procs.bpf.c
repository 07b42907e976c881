// SPDX-License-Identifier: GPL-2.0
/* Keeps the file name of each running program, in objects of three sizes. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "arena_nolock_mem.h"
#include "arena_nolock_slab.h"
#include "procs.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);		/* pages */
} arena SEC(".maps");

struct arena_nolock_slab procs = { .size = sizeof(struct proc) };
struct arena_nolock_slab short_names = { .size = sizeof(struct name) + SHORT_NAME };
struct arena_nolock_slab long_names = { .size = sizeof(struct name) + LONG_NAME };

__u64 table[PROCS];				/* addresses of struct proc, or 0 */
__u64 next_id = FIRST_ID;
__u64 lost;

static struct arena_nolock_slab *names(__u32 len)
{
	return len > SHORT_NAME ? &long_names : &short_names;
}

/* Replace the process at @pid. The program that takes one out of the table frees it. */
static __always_inline void replace(__u32 pid, struct proc __arena *new)
{
	struct proc __arena *old;

	old = (void __arena *)__sync_lock_test_and_set(&table[pid % PROCS], (__u64)new);
	if (!old)
		return;
	arena_nolock_slab_free(&arena, names(old->len), (void __arena *)old->name);
	arena_nolock_slab_free(&arena, &procs, old);
}

SEC("tp/sched/sched_process_exec")
int on_exec(struct trace_event_raw_sched_process_exec *ctx)
{
	void *path = (void *)ctx + (ctx->__data_loc_filename & 0xffff);
	struct proc __arena *proc;
	struct name __arena *name;
	char text[LONG_NAME];
	__u64 id;
	long len;

	len = bpf_probe_read_kernel_str(text, sizeof(text), path);
	if (len <= 0 || len > LONG_NAME)
		return 0;
	proc = arena_nolock_slab_alloc(&arena, &procs);
	name = arena_nolock_slab_alloc(&arena, names(len));
	if (!proc || !name) {
		arena_nolock_slab_free(&arena, &procs, proc);
		arena_nolock_slab_free(&arena, names(len), name);
		__sync_fetch_and_add(&lost, 1);
		return 0;
	}
	arena_nolock_copy_to(name->text, text, len);
	proc->pid = ctx->pid;
	proc->len = len;
	proc->name = (__u64)name;
	/* The ids come last: they tell readers that the rest is complete. */
	id = __sync_fetch_and_add(&next_id, 1);
	__sync_lock_test_and_set(&name->id, id);
	__sync_lock_test_and_set(&proc->id, id);
	replace(ctx->pid, proc);

	return 0;
}

SEC("tp/sched/sched_process_exit")
int on_exit(void *ctx)
{
	__u32 pid = bpf_get_current_pid_tgid();
	struct proc __arena *proc = (void __arena *)table[pid % PROCS];

	/* Other threads are not in the table, nor are programs that another has replaced. */
	if (proc && proc->pid == pid)
		replace(pid, NULL);

	return 0;
}

char _license[] SEC("license") = "GPL";
