/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PROCS_H
#define PROCS_H

#define PROCS 4096			/* a process is at its pid, modulo this */
#define SHORT_NAME 56			/* bytes, with the final 0 */
#define LONG_NAME 248
#define FIRST_ID (1ull << 32)

/* The first word of an object changes when the object is freed, to less than FIRST_ID. */
struct proc {
	__u64 id;
	__u64 name;			/* address of a struct name */
	__u32 pid, len;
};

struct name {
	__u64 id;			/* that of its process */
	char text[];
};

#endif
