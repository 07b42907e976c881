/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SCX_ARENA_H
#define SCX_ARENA_H

#define TASK_DIRS 8192		/* pages of pointers to tasks: PIDs have 22 bits */
#define TASK_SLOTS 512		/* pointers per page */

/* The scheduler's state of a task. Times are in ns. */
struct task_state {
	__u64 pid;
	__u64 vtime;		/* time run, scaled by weight */
	__u64 runs;
	__u64 run_ns, wait_ns;
	__u64 since;		/* when it began to run or to wait; 0 if it does neither */
	char comm[16];
};

#endif
