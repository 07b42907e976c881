// SPDX-License-Identifier: GPL-2.0
/* Page frames; frames.h says what each call does. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "arena.h"
#include "frames.h"
#include "runner.h"

#define PM_PRESENT (1ULL << 63)
#define PM_PFN ((1ULL << 55) - 1)
#define KPF_HWPOISON (1ULL << 19)

static __u64 word_of(const char *path, __u64 index)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	__u64 v = 0;

	if (fd < 0)
		return 0;
	if (pread(fd, &v, sizeof(v), index * sizeof(v)) != sizeof(v))
		v = 0;
	close(fd);

	return v;
}

__u64 pfn_of(const void *p)
{
	__u64 v = word_of("/proc/self/pagemap", (unsigned long)p / PAGE);

	return v & PM_PRESENT ? v & PM_PFN : 0;
}

bool is_poisoned(__u64 pfn)
{
	return word_of("/proc/kpageflags", pfn) & KPF_HWPOISON;
}

int offline(const char *file, __u64 pfn)
{
	char text[32];

	snprintf(text, sizeof(text), "%#llx", pfn * PAGE);
	errno = 0;

	return write_file(file, text) ? 0 : errno ?: EIO;
}
