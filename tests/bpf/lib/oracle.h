/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The oracle of the test module, tests/kmod/oracle.c: it compares an arena's books
 * with page tables and pages. The runner asks it at the end of each test, and
 * each time that a skeleton is destroyed, about all arenas there are.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include <stdbool.h>

enum oracle_verdict {
	ORACLE_OK,
	ORACLE_BAD,
	ORACLE_STOCK,	/* an arena that the module has not adopted */
	ORACLE_BUSY,	/* adoption has not finished */
	ORACLE_NONE,	/* no arena, no test module, or no memory */
};

/*
 * Ask once. @rest: no call runs on the arena, and its queue is empty. The text, in
 * a static buffer, is good until the next call.
 */
enum oracle_verdict oracle_ask(int map_fd, bool rest);
const char *oracle_text(void);

/*
 * Wait until an arena that no call runs on comes to rest, and fail the test if it does
 * not, or if its books are wrong.
 */
bool oracle_rest(int map_fd);
/* Fail the test if an arena in use breaks an invariant. */
bool oracle_load(int map_fd);

/* The same for all adopted arenas of the system. */
void oracle_check(void);
/* Arenas of this test need not come to rest before they are closed. */
void oracle_no_rest(void);
/* Do not check when skeletons are destroyed: for tests with many arenas. */
void oracle_pause(bool pause);

#endif
