/* SPDX-License-Identifier: GPL-2.0 */
/* What the kernel itself does with a stock arena, held up in the middle; see tests/kmod/stock.c. */
#ifndef KERNEL_USER_H
#define KERNEL_USER_H

#include <pthread.h>
#include <stdbool.h>
#include <linux/types.h>

struct kernel_user {
	const char *what;
	int fd, ms;
	/* Set by its end: 0 or an errno value, and the page of an allocation. */
	int err;
	__u64 page;
	pthread_t thread;
};

/*
 * Start "alloc" or "hold" on the arena @fd, for @ms milliseconds at most. On return it is
 * held up, or has ended with an error.
 */
bool kernel_user_start(struct kernel_user *k, const char *what, int fd, int ms);
/* Is it held up? */
bool kernel_user_held(void);
/* Let it go on. */
bool kernel_user_go(void);
/* Wait for its end. Returns @err. */
int kernel_user_join(struct kernel_user *k);

#endif
