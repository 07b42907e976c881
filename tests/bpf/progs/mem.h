/* SPDX-License-Identifier: GPL-2.0 */
/* What mem.bpf.c and test_mem.c share. */
#ifndef MEM_H
#define MEM_H

#define MEM_BUF 2048		/* bytes of the global buffer */
#define MEM_STACK 128		/* bytes of a buffer on the stack */

/* Sizes that the program knows as constants. */
#define MEM_SIZES(f)								\
	f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15) \
	f(16) f(17) f(23) f(24) f(31) f(32) f(33) f(40) f(63) f(64) f(65) f(72) f(100)	\
	f(127) f(128) f(129) f(136) f(255) f(1000) f(1024) f(1027)

enum mem_op {
	MEM_TO,			/* from the global buffer to the arena, byte by byte */
	MEM_FROM,
	MEM_TO_WORDS,		/* the same in words of 8 bytes */
	MEM_FROM_WORDS,
	MEM_COPY,		/* from the arena to the arena */
	MEM_CLEAR,
	MEM_STACK_1,		/* from the arena to the arena, through the stack */
	MEM_STACK_2,
	MEM_STACK_4,
	MEM_STACK_8,
	MEM_OPS,
};

struct mem_request {
	__u32 op, size;
	__u32 constant;		/* use the program's constant */
	__u64 dst, src;		/* addresses in the arena */
	__u32 off;		/* in the global buffer */
	__u32 done;
};

/* Copied as a whole, and by members of other types than the words of a copy. */
struct mem_record {
	__u64 id;
	__u32 pid, len;
	char name[16];
};

#endif
