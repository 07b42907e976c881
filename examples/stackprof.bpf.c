// SPDX-License-Identifier: GPL-2.0
/*
 * Counts stacks in a hash table in an arena. The pages for bucket heads and stacks are
 * allocated when a sample needs them, in the NMI that takes the sample. The table has no
 * lock: one compare-and-swap inserts a stack into its bucket, and a stack is never removed.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "arena_nolock_slab.h"
#include "stackprof.h"

#define SCRATCHES 4		/* for a task, a softirq, a hard interrupt and an NMI */
#define CHAIN 256		/* the most stacks of a bucket that a search visits */

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 65536);		/* 256 MiB at most */
	__ulong(map_extra, 0x100010000000);
} arena SEC(".maps");

/* Buffer of a sample before the lookup. In use while @busy is not 0. */
struct scratch {
	__u32 busy;
	struct stack stack;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SCRATCHES);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

const volatile __u32 only_pid;
const volatile bool with_user;

struct arena_nolock_slab stacks = { .size = sizeof(struct stack) };
__u64 dirs[STACK_DIRS];
__u64 samples, lost;

static __always_inline int same(struct stack __arena *s, struct stack *want)
{
	int i;

	if (s->hash != want->hash || s->pid != want->pid ||
	    s->kernel != want->kernel || s->user != want->user)
		return 0;
	bpf_for(i, 0, STACK_DEPTH)
		if (s->ip[i] != want->ip[i])
			return 0;

	return 1;
}

static __always_inline struct stack __arena *new_stack(struct stack *want)
{
	struct stack __arena *s = arena_nolock_slab_alloc(&arena, &stacks);
	int i;

	if (!s)
		return NULL;
	s->count = 1;
	s->hash = want->hash;
	s->pid = want->pid;
	s->kernel = want->kernel;
	s->user = want->user;
	for (i = 0; i < STACK_COMM; i++)
		s->comm[i] = want->comm[i];
	bpf_for(i, 0, STACK_DEPTH)
		s->ip[i] = want->ip[i];

	return s;
}

/* Count a stack. Returns 0 if there is no memory for it, or its bucket is too long. */
static __always_inline int add(struct stack *want)
{
	struct stack __arena *mine = NULL, *s;
	__u64 first, at, seen = 0;
	__u64 __arena *head;
	int i;

	head = (__u64 __arena *)arena_nolock_page_once(&arena,
			&dirs[want->hash / STACK_HEADS % STACK_DIRS]);
	if (!head)
		return 0;
	head += want->hash % STACK_HEADS;
	first = *(volatile __u64 __arena *)head;
	at = first;
	bpf_for(i, 0, CHAIN) {
		if (at != seen) {
			s = (struct stack __arena *)at;
			if (same(s, want)) {
				__sync_fetch_and_add(&s->count, 1);
				arena_nolock_slab_free(&arena, &stacks, mine);
				return 1;
			}
			at = s->next;
			continue;
		}
		/* Not found. If others are inserted before ours, the next turns visit only them. */
		if (!mine)
			mine = new_stack(want);
		if (!mine)
			return 0;
		mine->next = first;
		at = __sync_val_compare_and_swap(head, first, (__u64)mine);
		if (at == first)
			return 1;
		seen = first;
		first = at;
	}
	arena_nolock_slab_free(&arena, &stacks, mine);

	return 0;
}

static __always_inline int sample(void *ctx)
{
	struct scratch *sc = NULL;
	struct stack *s;
	__u32 key, pid = bpf_get_current_pid_tgid() >> 32;
	__u64 hash = pid;
	long n;
	int i;

	if (only_pid && pid != only_pid)
		return 0;
	__sync_fetch_and_add(&samples, 1);
	/* An interrupted sample may use a scratch on this CPU: take one that is not busy. */
	for (key = 0; key < SCRATCHES; key++) {
		__u32 k = key;

		sc = bpf_map_lookup_elem(&scratches, &k);
		if (!sc || !__sync_val_compare_and_swap(&sc->busy, 0, 1))
			break;
		sc = NULL;
	}
	if (!sc) {
		__sync_fetch_and_add(&lost, 1);
		return 0;
	}
	s = &sc->stack;
	__builtin_memset(s->ip, 0, sizeof(s->ip));
	n = bpf_get_stack(ctx, s->ip, sizeof(s->ip), 0);
	n = n < 0 ? 0 : n / 8;
	s->kernel = n;
	s->user = 0;
	if (with_user && n < STACK_DEPTH / 2) {
		/* Put the user frames into the second half. */
		n = bpf_get_stack(ctx, &s->ip[STACK_DEPTH / 2], sizeof(s->ip) / 2, BPF_F_USER_STACK);
		s->user = n < 0 ? 0 : n / 8;
	}
	s->pid = pid;
	bpf_get_current_comm(s->comm, sizeof(s->comm));
	bpf_for(i, 0, STACK_DEPTH)
		hash = (hash ^ s->ip[i]) * 0x9e3779b97f4a7c15;
	s->hash = hash >> 16;
	if (!add(s))
		__sync_fetch_and_add(&lost, 1);
	sc->busy = 0;

	return 0;
}

SEC("perf_event")
int on_clock(struct bpf_perf_event_data *ctx)
{
	return sample(ctx);
}

SEC("raw_tp/nmi_handler")
int on_nmi(void *ctx)
{
	return sample(ctx);
}

char LICENSE[] SEC("license") = "GPL";
