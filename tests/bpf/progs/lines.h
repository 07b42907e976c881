/* SPDX-License-Identifier: GPL-2.0 */
/* What lines_programs.h and test_lines.c share. */
#ifndef LINES_H
#define LINES_H

#define LINES_PAGES	65536	/* of the arena */
#define LINES_MAX_CPUS	4
#define LINES_KEEP	8192	/* that a CPU can have at a time, a power of two */

enum lines_op {
	LINES_ALLOC,	/* some pages, and touch them */
	LINES_FREE,	/* those that this CPU has allocated last */
	LINES_BOTH,	/* allocate a page, touch it, free it */
};

#endif
