/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Copy and clear arena memory in BPF programs. clang 19 makes a call of memcpy() or memset()
 * out of a struct assignment or a loop over arena memory, and loses the address space; the
 * verifier then refuses the program.
 *
 *	struct flow copy;
 *
 *	arena_nolock_copy_from(&copy, f, sizeof(copy));
 *
 * Sizes are in bytes and need not be constant. The verifier must know that a size is within
 * the memory that is not in the arena, so limit it first, as for bpf_probe_read_kernel().
 *
 * Sizes up to ARENA_NOLOCK_UNROLL that are constant become straight-line code. Others become a
 * loop that the verifier walks a few times, whatever the size.
 *
 * A copy is not atomic. Words that are aligned in both places are copied whole.
 */
#ifndef ARENA_NOLOCK_MEM_H
#define ARENA_NOLOCK_MEM_H

#include "arena_nolock.h"

#define ARENA_NOLOCK_UNROLL 128

/* Words of objects of any type. */
typedef __u64 __attribute__((may_alias)) arena_nolock_u64;
typedef __u32 __attribute__((may_alias)) arena_nolock_u32;
typedef __u16 __attribute__((may_alias)) arena_nolock_u16;
typedef __u8 __attribute__((may_alias)) arena_nolock_u8;

/*
 * For each @type between the bytes @begin and @end, run @body with its offset in @at. The
 * volatile accesses in @body keep clang from making a call of it. Behind the barrier clang does
 * not know that @at is below @end, and leaves the comparison to the verifier.
 */
#define ARENA_NOLOCK_EACH(type, at, begin, end, body)				\
do {										\
	__u32 i_, n_ = ((end) - (begin)) / sizeof(type), at;			\
										\
	if (__builtin_constant_p(end) && (end) <= ARENA_NOLOCK_UNROLL) {	\
		for (i_ = 0; i_ < n_; i_++) {					\
			at = (begin) + i_ * sizeof(type);			\
			body;							\
		}								\
	} else {								\
		bpf_for(i_, 0, n_) {						\
			at = (begin) + i_ * sizeof(type);			\
			barrier_var(at);					\
			if (sizeof(type) == 1 && at >= (end))			\
				break;						\
			body;							\
		}								\
	}									\
} while (0)

#define ARENA_NOLOCK_WORD(type, as, ptr, at) \
	(*(volatile type as *)((char as *)(ptr) + (at)))

/* Words of @type, and then the bytes that are left. */
#define ARENA_NOLOCK_COPY(type, to, dst, from, src, size)			\
do {										\
	ARENA_NOLOCK_EACH(type, at_, 0, size, ARENA_NOLOCK_WORD(type, to, dst, at_) = \
					      ARENA_NOLOCK_WORD(type, from, src, at_)); \
	ARENA_NOLOCK_EACH(arena_nolock_u8, at_, (size) / sizeof(type) * sizeof(type), size, \
			  ARENA_NOLOCK_WORD(arena_nolock_u8, to, dst, at_) =	\
			  ARENA_NOLOCK_WORD(arena_nolock_u8, from, src, at_));	\
} while (0)

/* The verifier wants aligned accesses to the stack, so words there are of the stack's type. */
#define ARENA_NOLOCK_COPY_BY(align, to, dst, from, src, size)			\
do {										\
	if ((align) >= 8)							\
		ARENA_NOLOCK_COPY(arena_nolock_u64, to, dst, from, src, size);	\
	else if ((align) >= 4)							\
		ARENA_NOLOCK_COPY(arena_nolock_u32, to, dst, from, src, size);	\
	else if ((align) >= 2)							\
		ARENA_NOLOCK_COPY(arena_nolock_u16, to, dst, from, src, size);	\
	else									\
		ARENA_NOLOCK_COPY(arena_nolock_u8, to, dst, from, src, size);	\
} while (0)

static __always_inline void arena_nolock_copy_from_by(__u32 align, void *dst,
						      const void __arena *src, __u32 size)
{
	ARENA_NOLOCK_COPY_BY(align, , dst, __arena, src, size);
}

static __always_inline void arena_nolock_copy_to_by(__u32 align, void __arena *dst,
						    const void *src, __u32 size)
{
	ARENA_NOLOCK_COPY_BY(align, __arena, dst, , src, size);
}

/**
 * arena_nolock_copy_from() - copy from arena memory
 * @dst: where to: the stack, a global variable or a map value
 * @src: where from: arena memory
 * @size: bytes
 *
 * The words that are copied are as large as the alignment of @dst's type allows, so pass a
 * pointer of the object's own type.
 *
 * Context: any, NMI included.
 */
#define arena_nolock_copy_from(dst, src, size) \
	arena_nolock_copy_from_by(__alignof__(*(dst)), dst, src, size)

/**
 * arena_nolock_copy_to() - copy to arena memory
 * @dst: where to: arena memory
 * @src: where from: the stack, a global variable or a map value
 * @size: bytes
 *
 * The words that are copied are as large as the alignment of @src's type allows, so pass a
 * pointer of the object's own type.
 *
 * Context: any, NMI included.
 */
#define arena_nolock_copy_to(dst, src, size) \
	arena_nolock_copy_to_by(__alignof__(*(src)), dst, src, size)

/**
 * arena_nolock_copy() - copy from arena memory to arena memory
 * @dst: where to
 * @src: where from; must not overlap @dst
 * @size: bytes
 *
 * Context: any, NMI included.
 */
static __always_inline void arena_nolock_copy(void __arena *dst, const void __arena *src,
					      __u32 size)
{
	ARENA_NOLOCK_COPY(arena_nolock_u64, __arena, dst, __arena, src, size);
}

/**
 * arena_nolock_clear() - set arena memory to zero
 * @dst: the memory
 * @size: bytes
 *
 * Context: any, NMI included.
 */
static __always_inline void arena_nolock_clear(void __arena *dst, __u32 size)
{
	ARENA_NOLOCK_EACH(arena_nolock_u64, at_, 0, size,
			  ARENA_NOLOCK_WORD(arena_nolock_u64, __arena, dst, at_) = 0);
	ARENA_NOLOCK_EACH(arena_nolock_u8, at_, size / 8 * 8, size,
			  ARENA_NOLOCK_WORD(arena_nolock_u8, __arena, dst, at_) = 0);
}

#endif
