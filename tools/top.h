/* SPDX-License-Identifier: GPL-2.0 */
/*
 * arena_nolock-top: one file for each of
 *
 *	arena_nolock-top.c	options, and the loop over the frames
 *	top_arenas.c		the arenas, from debugfs
 *	top_table.c		the table
 *	top_json.c		JSON
 *	top_prometheus.c	the text format of Prometheus
 *	top_term.c		the terminal: its size, its keys, signals
 */
#ifndef TOP_H
#define TOP_H

#include <stdbool.h>

#include "arena_stat.h"

#define ARRAY_SIZE(a) ((int)(sizeof(a) / sizeof((a)[0])))

struct options {
	const char *directory;
	double interval;
	long map;		/* the only map to show, or -1 */
	unsigned long count;	/* frames, or 0 for no limit */
	int sort;		/* a column of the table */
	bool reverse;
	bool once;
	bool details;
};

struct arena {
	unsigned int id;
	struct stat_file file;
	long long allocs, frees, failed;	/* since adoption */
	double alloc_rate, free_rate;		/* a second since the previous frame, or -1 */
};

extern struct options options;
extern struct arena *arenas;	/* sorted by id */
extern int nr_arenas;

__attribute__((format(printf, 2, 3), noreturn))
void die(int status, const char *fmt, ...);
double monotonic(void);

void arenas_read(void);
/* The map's name, of *@len characters. */
const char *arena_name(const struct arena *a, int *len);

void table_show(void);
/* The column of this name, or -1. */
int table_column(const char *name);
/* Sort by the next column to the right (1) or to the left (-1). */
void table_sort_next(int step);

void json_show(void);
void prometheus_show(void);

#define KEY_NONE	0	/* the time is over */
#define KEY_REDRAW	-1
#define KEY_STOP	-2	/* a signal ends the program */

void term_init(bool frames, bool table);
/* Frames replace each other, and keys work. */
bool term_is_live(void);
/* Sizes of the terminal. Without one, there is no limit. */
int term_columns(void);
int term_rows(void);
/* A key, or one of the values above, by the time @deadline of monotonic(). */
int term_wait(double deadline);
bool term_stopped(void);

#endif
