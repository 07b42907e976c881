/* SPDX-License-Identifier: GPL-2.0 */
/* What async.bpf.c and test_async.c share. */
#ifndef ASYNC_H
#define ASYNC_H

#define ASYNC_PAGES 4096	/* that a test frees */
#define ASYNC_NOW 512		/* of them, those that it frees at once, for comparison */

#endif
