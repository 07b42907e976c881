// SPDX-License-Identifier: GPL-2.0
/* Copies and clears of arena_nolock_mem.h, by request, with constant and variable sizes. */
#include "arena_nolock_mem.h"

#include "mem.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4);
	__ulong(map_extra, 0x100010000000);
} arena SEC(".maps");

struct mem_request req;
__u64 buf[MEM_BUF / 8];
__u64 page;

struct mem_record record;
__u64 record_at;

/* By every type of the other side's pointer. */
#define THROUGH_STACK(type)							\
do {										\
	type tmp[MEM_STACK / sizeof(type)];					\
										\
	if (size > sizeof(tmp))							\
		return 0;							\
	arena_nolock_copy_from(tmp, src, size);					\
	arena_nolock_copy_to(dst, tmp, size);					\
} while (0)

static __always_inline int act(__u32 op, __u32 size)
{
	void __arena *dst = (void __arena *)req.dst, *src = (void __arena *)req.src;
	__u32 off = req.off;

	if (size > MEM_BUF / 2 + 8)
		return 0;
	/* More than the verifier of 6.12 would learn from off % 8. */
	off &= 7;
	switch (op) {
	case MEM_TO:
		arena_nolock_copy_to(dst, (char *)buf + off, size);
		break;
	case MEM_FROM:
		arena_nolock_copy_from((char *)buf + off, src, size);
		break;
	case MEM_TO_WORDS:
		arena_nolock_copy_to(dst, buf, size);
		break;
	case MEM_FROM_WORDS:
		arena_nolock_copy_from(buf, src, size);
		break;
	case MEM_COPY:
		arena_nolock_copy(dst, src, size);
		break;
	case MEM_CLEAR:
		arena_nolock_clear(dst, size);
		break;
	case MEM_STACK_1:
		THROUGH_STACK(__u8);
		break;
	case MEM_STACK_2:
		THROUGH_STACK(__u16);
		break;
	case MEM_STACK_4:
		THROUGH_STACK(__u32);
		break;
	case MEM_STACK_8:
		THROUGH_STACK(__u64);
		break;
	default:
		return 0;
	}
	req.done++;

	return 0;
}

SEC("syscall")
int mem_setup(void *ctx)
{
	page = (__u64)arena_nolock_alloc_pages(&arena, NULL, 4, ARENA_NOLOCK_ANY_NODE, 0);

	return 0;
}

SEC("syscall")
int mem_variable(void *ctx)
{
	arena_nolock_uses(&arena);

	return act(req.op, req.size);
}

#define CASE(n) case n: { return act(op, n); }
#define OP(op_)									\
static __noinline int constant_##op_(__u32 size)				\
{										\
	const __u32 op = op_;							\
										\
	arena_nolock_uses(&arena);						\
	switch (size) {								\
	MEM_SIZES(CASE)								\
	}									\
										\
	return 0;								\
}

OP(MEM_TO)
OP(MEM_FROM)
OP(MEM_TO_WORDS)
OP(MEM_FROM_WORDS)
OP(MEM_COPY)
OP(MEM_CLEAR)
OP(MEM_STACK_1)
OP(MEM_STACK_2)
OP(MEM_STACK_4)
OP(MEM_STACK_8)

SEC("syscall")
int mem_constant(void *ctx)
{
	arena_nolock_uses(&arena);
	switch (req.op) {
	case MEM_TO: return constant_MEM_TO(req.size);
	case MEM_FROM: return constant_MEM_FROM(req.size);
	case MEM_TO_WORDS: return constant_MEM_TO_WORDS(req.size);
	case MEM_FROM_WORDS: return constant_MEM_FROM_WORDS(req.size);
	case MEM_COPY: return constant_MEM_COPY(req.size);
	case MEM_CLEAR: return constant_MEM_CLEAR(req.size);
	case MEM_STACK_1: return constant_MEM_STACK_1(req.size);
	case MEM_STACK_2: return constant_MEM_STACK_2(req.size);
	case MEM_STACK_4: return constant_MEM_STACK_4(req.size);
	case MEM_STACK_8: return constant_MEM_STACK_8(req.size);
	}

	return 0;
}

/* A structure, there and back. */
SEC("syscall")
int mem_copy_record(void *ctx)
{
	struct mem_record __arena *at = (struct mem_record __arena *)record_at;
	struct mem_record copy;

	arena_nolock_uses(&arena);
	arena_nolock_copy_from(&copy, at, sizeof(copy));
	/* A member of another type than the words that were copied. */
	if (copy.pid == 1234)
		copy.len++;
	copy.id++;
	arena_nolock_copy_to(at, &copy, sizeof(copy));
	arena_nolock_copy_to(at + 1, &record, sizeof(record));
	arena_nolock_copy(at + 2, at, sizeof(*at));

	return 0;
}

char LICENSE[] SEC("license") = "GPL";
