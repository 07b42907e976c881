// SPDX-License-Identifier: GPL-2.0
/* The kernel as a user of a stock arena; kernel_user.h says what each call does. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "arena.h"
#include "kernel_user.h"
#include "runner.h"

#define STOCK_FILE "/proc/anl_stock"

bool kernel_user_held(void)
{
	const char *text = read_file(STOCK_FILE);

	return text && *text == '1';
}

bool kernel_user_go(void)
{
	return write_file(STOCK_FILE, "go");
}

static __u64 last_page(void)
{
	const char *text = read_file(STOCK_FILE);
	unsigned long long page;

	return text && sscanf(text, "%*d %llx", &page) == 1 ? page : 0;
}

static void *kernel_user_main(void *arg)
{
	struct kernel_user *k = arg;
	int fd = open(STOCK_FILE, O_RDWR | O_CLOEXEC);
	char buf[64];
	int len = snprintf(buf, sizeof(buf), "%s %d %d", k->what, k->fd, k->ms);

	k->err = fd < 0 || write(fd, buf, len) != len ? errno : 0;
	k->page = last_page();
	if (fd >= 0)
		close(fd);

	return NULL;
}

bool kernel_user_start(struct kernel_user *k, const char *what, int fd, int ms)
{
	*k = (struct kernel_user){ .what = what, .fd = fd, .ms = ms };

	return thread_on(&k->thread, nr_cpus - 1, kernel_user_main, k) &&
	       wait_for(kernel_user_held() || k->err, 10000);
}

int kernel_user_join(struct kernel_user *k)
{
	pthread_join(k->thread, NULL);

	return k->err;
}
