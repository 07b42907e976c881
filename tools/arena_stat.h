/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Parser for the file of an arena in debugfs, whose lines are "key value" or
 * "key name=value name=value ...".
 */
#ifndef ARENA_STAT_H
#define ARENA_STAT_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct stat_file {
	char text[8192];
};

/* Read the whole file. Returns false with errno set on an error. */
static inline bool stat_read(struct stat_file *f, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = -1;

	if (fd < 0)
		return false;
	while (len < sizeof(f->text) - 1 &&
	       (n = read(fd, f->text + len, sizeof(f->text) - 1 - len)) > 0)
		len += n;
	f->text[len] = 0;
	close(fd);

	return n >= 0;
}

/* The text after the key in the line of a key, or NULL. */
static inline const char *stat_line(const struct stat_file *f, const char *key)
{
	size_t len = strlen(key);
	const char *p = f->text;

	while (p && *p) {
		if (!strncmp(p, key, len) && p[len] == ' ')
			return p + len + 1;
		p = strchr(p, '\n');
		if (p)
			p++;
	}

	return NULL;
}

/* The value of a key, or of a name in the key's line; -1 if the file has none. */
static inline long long stat_value(const struct stat_file *f, const char *key, const char *name)
{
	const char *p = stat_line(f, key);
	size_t len = name ? strlen(name) : 0;

	if (!p || !name)
		return p ? strtoll(p, NULL, 10) : -1;
	while (*p && *p != '\n') {
		if (!strncmp(p, name, len) && p[len] == '=')
			return strtoll(p + len + 1, NULL, 10);
		p += strcspn(p, " \n");
		p += *p == ' ';
	}

	return -1;
}

/* A "name=value" in the line of a key. */
struct stat_pair {
	const char *name;
	int len;		/* of the name */
	long long value;
};

/* Take a pair from @line, which advances. Returns false at the end of the line. */
static inline bool stat_next_pair(const char **line, struct stat_pair *pair)
{
	const char *p = *line;

	pair->name = p;
	pair->len = strcspn(p, "= \n");
	if (!pair->len || p[pair->len] != '=')
		return false;
	pair->value = strtoll(p + pair->len + 1, NULL, 10);
	p += strcspn(p, " \n");
	*line = p + (*p == ' ');

	return true;
}

/* The sum of the values in a key's line. */
static inline long long stat_sum(const char *line)
{
	struct stat_pair pair;
	long long sum = 0;

	while (line && stat_next_pair(&line, &pair))
		sum += pair.value;

	return sum;
}

/* The line after this one, or NULL. */
static inline const char *stat_next_line(const char *line)
{
	const char *end = strchr(line, '\n');

	return end && end[1] ? end + 1 : NULL;
}

#endif
