/* SPDX-License-Identifier: GPL-2.0 */
#ifndef STACKPROF_H
#define STACKPROF_H

#define STACK_DEPTH 48		/* the most frames of a stack that are stored */
#define STACK_COMM 16
#define STACK_DIRS 512		/* pages of bucket heads */
#define STACK_HEADS 512		/* heads per page */

/*
 * A stack and its number of samples. All members are set before the stack is in the table.
 * Only @count changes afterwards.
 */
struct stack {
	__u64 next;		/* in its bucket */
	__u64 count;
	__u64 hash;
	__u32 pid;
	__u16 kernel, user;	/* numbers of kernel and of user frames */
	char comm[STACK_COMM];
	__u64 ip[STACK_DEPTH];
};

#endif
