/* SPDX-License-Identifier: GPL-2.0 */
#ifndef STACKPROF_H
#define STACKPROF_H

#define STACK_DEPTH 48		/* frames of a stack that are kept */
#define STACK_COMM 16
#define STACK_DIRS 512		/* pages of bucket heads */
#define STACK_HEADS 512		/* heads in such a page */

/*
 * A stack and how often it was seen. Written by who puts it into the table, before it
 * is there; only the count changes afterwards.
 */
struct stack {
	__u64 next;		/* in its bucket */
	__u64 count;
	__u64 hash;
	__u32 pid;
	__u16 kernel, user;	/* frames of each kind, the kernel's first */
	char comm[STACK_COMM];
	__u64 ip[STACK_DEPTH];
};

#endif
