/* SPDX-License-Identifier: GPL-2.0 */
/* Page frames, as the kernel shows them to user space. */
#ifndef FRAMES_H
#define FRAMES_H

#include <stdbool.h>
#include <linux/types.h>

/* Makes the kernel act as if the page at a physical address had an error. */
#define HARD_OFFLINE "/sys/devices/system/memory/hard_offline_page"
#define SOFT_OFFLINE "/sys/devices/system/memory/soft_offline_page"

/* Frame of a page that this process has touched, or 0. */
__u64 pfn_of(const void *p);
/* Does the page have a memory error? */
bool is_poisoned(__u64 pfn);
/* @file is one of the two above. 0, or the error that the kernel reports. */
int offline(const char *file, __u64 pfn);

#endif
