// SPDX-License-Identifier: GPL-2.0
/* Memory cgroups; cgroup.h says what each call does. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "arena.h"
#include "cgroup.h"
#include "runner.h"

#define CGROOT "/sys/fs/cgroup"

static const char *cg_path(const char *name, const char *file)
{
	static char path[256];

	snprintf(path, sizeof(path), CGROOT "/%s/%s", name, file);

	return path;
}

bool cg_make(const char *name)
{
	if (access(CGROOT "/cgroup.controllers", F_OK) &&
	    mount("cgroup2", CGROOT, "cgroup2", 0, NULL))
		return false;
	if (!write_file(CGROOT "/cgroup.subtree_control", "+memory"))
		return false;

	return !mkdir(cg_path(name, ""), 0755) || errno == EEXIST;
}

bool cg_enter(const char *name)
{
	return cg_set(name, "cgroup.procs", getpid());
}

bool cg_set(const char *name, const char *file, long val)
{
	char text[32] = "max";

	if (val != CG_MAX)
		snprintf(text, sizeof(text), "%ld", val);

	return write_file(cg_path(name, file), text);
}

long cg_get(const char *name, const char *file)
{
	const char *text = read_file(cg_path(name, file));

	return text ? atol(text) : -1;
}

long cg_event(const char *name, const char *event)
{
	const char *text = read_file(cg_path(name, "memory.events")), *p;
	char key[64];

	snprintf(key, sizeof(key), "%s ", event);
	p = text ? strstr(text, key) : NULL;

	return p ? atol(p + strlen(key)) : -1;
}

bool cg_limit(const char *name, long bytes)
{
	return cg_set(name, "memory.max", cg_get(name, "memory.current") + bytes);
}

bool arena_open_in(const char *name, struct arena *a, __u32 pages)
{
	return cg_make(name) && cg_enter(name) && arena_open(a, pages, 0) && cg_enter("");
}
