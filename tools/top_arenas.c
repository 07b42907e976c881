// SPDX-License-Identifier: GPL-2.0
/* arena_nolock-top: the arenas, from the module's files in debugfs. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>

#include "top.h"

struct arena *arenas;
int nr_arenas;

const char *arena_name(const struct arena *a, int *len)
{
	const char *name = stat_line(&a->file, "map_name");

	*len = name ? strcspn(name, "\n") : 0;

	return name ?: "";
}

static int by_id(const void *a, const void *b)
{
	const struct arena *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static void count(struct arena *a, const struct arena *old, double seconds)
{
	static const char failed[] = "alloc_failed.";
	const char *line;

	a->allocs = stat_sum(stat_line(&a->file, "allocs"));
	a->frees = stat_sum(stat_line(&a->file, "frees"));
	a->failed = 0;
	for (line = a->file.text; line; line = stat_next_line(line))
		if (!strncmp(line, failed, strlen(failed)))
			a->failed += stat_sum(line + strcspn(line, " \n") + 1);
	a->alloc_rate = -1;
	a->free_rate = -1;
	if (old && seconds > 0) {
		a->alloc_rate = (a->allocs - old->allocs) / seconds;
		a->free_rate = (a->frees - old->frees) / seconds;
	}
}

static DIR *open_directory(void)
{
	DIR *dir = opendir(options.directory);

	if (!dir)
		die(1, "cannot read %s: %s%s", options.directory, strerror(errno),
		    errno == EACCES ? "; run as root" :
		    errno != ENOENT ? "" :
		    "; load the module (modprobe arena_nolock) and mount debugfs");

	return dir;
}

/* Read the files of all arenas. The counts of the previous call give the rates. */
void arenas_read(void)
{
	struct arena *list = NULL, *before = arenas;
	static double last;
	double time = monotonic();
	int nr = 0, room = 0;
	struct dirent *e;
	char path[PATH_MAX];
	DIR *dir = open_directory();

	while ((e = readdir(dir))) {
		char *end;
		unsigned long id = strtoul(e->d_name, &end, 10);
		struct arena *a, key = { .id = id };

		if (*end || !isdigit((unsigned char)e->d_name[0]) ||
		    (options.map >= 0 && id != (unsigned long)options.map))
			continue;
		if (nr == room) {
			room = room ? 2 * room : 16;
			list = realloc(list, room * sizeof(*list));
			if (!list)
				die(1, "out of memory");
		}
		a = &list[nr];
		a->id = id;
		snprintf(path, sizeof(path), "%s/%s", options.directory, e->d_name);
		/* The arena may have been freed meanwhile. */
		if (!stat_read(&a->file, path))
			continue;
		count(a, before ? bsearch(&key, before, nr_arenas, sizeof(key), by_id) : NULL,
		      time - last);
		nr++;
	}
	closedir(dir);
	if (nr)
		qsort(list, nr, sizeof(*list), by_id);
	free(before);
	arenas = list;
	nr_arenas = nr;
	last = time;
}
