// SPDX-License-Identifier: GPL-2.0
/*
 * arena_nolock-top: the table.
 *
 * A line never is longer than the terminal is wide. Columns leave by their rank, the sort
 * column last, and what is still too long is cut. In a pipe the table is complete.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <time.h>

#include "top.h"

enum {
	MAP, NAME, POPULATED, MAX, POOL, TARGET, QUEUED, WORST, ALLOC, FREE, NMI, FAILED,
	NR_COLUMNS
};

static struct column {
	const char *option, *head, *unit;
	int width;	/* grows with the values, and stays */
	int rank;	/* in a narrow terminal, the highest leaves first */
} columns[NR_COLUMNS] = {
	[MAP] =       { "map",       "MAP",       "",       5,  0 },
	[NAME] =      { "name",      "NAME",      "",       15, 2 },
	[POPULATED] = { "populated", "POPULATED", "pages",  9,  3 },
	[MAX] =       { "max",       "MAX",       "pages",  7,  6 },
	[POOL] =      { "pool",      "POOL",      "pages",  5,  7 },
	[TARGET] =    { "target",    "TARGET",    "pages",  6,  11 },
	[QUEUED] =    { "queued",    "QUEUED",    "pages",  6,  5 },
	[WORST] =     { "worst",     "WORST",     "ms max", 7,  9 },
	[ALLOC] =     { "alloc",     "ALLOC",     "per s",  8,  4 },
	[FREE] =      { "free",      "FREE",      "per s",  8,  8 },
	[NMI] =       { "nmi",       "NMI",       "% total", 7, 10 },
	[FAILED] =    { "failed",    "FAILED",    "total",  6,  1 },
};

#define INDENT "        "

static int lines_left;
static bool hidden[NR_COLUMNS];

int table_column(const char *name)
{
	int i;

	for (i = 0; i < NR_COLUMNS; i++)
		if (!strcmp(columns[i].option, name))
			return i;

	return -1;
}

void table_sort_next(int step)
{
	options.sort = (options.sort + step + NR_COLUMNS) % NR_COLUMNS;
}

static double value(const struct arena *a, int column)
{
	const struct stat_file *f = &a->file;

	switch (column) {
	case POPULATED:
		return stat_value(f, "populated_pages", NULL);
	case MAX:
		return stat_value(f, "max_pages", NULL);
	case POOL:
		return stat_value(f, "pool_nr", NULL);
	case TARGET:
		return stat_value(f, "pool_target", NULL);
	case QUEUED:
		return stat_value(f, "queued_pages", NULL);
	case WORST:
		return stat_value(f, "drain_latency_max_us", NULL) / 1000.0;
	case ALLOC:
		return options.once ? a->allocs : a->alloc_rate;
	case FREE:
		return options.once ? a->frees : a->free_rate;
	case NMI:
		return a->allocs ? 100.0 * stat_value(f, "allocs", "nmi") / a->allocs : 0;
	case FAILED:
		return a->failed;
	default:
		return a->id;
	}
}

/* The text of a cell in @buf; "-" for a value that is not known. */
static void format_cell(const struct arena *a, int column, char *buf, size_t size)
{
	const char *name;
	double v;
	int len;

	if (column == NAME) {
		name = arena_name(a, &len);
		snprintf(buf, size, "%.*s", len, name);
		return;
	}
	v = value(a, column);
	if (v < 0)
		snprintf(buf, size, "-");
	else
		snprintf(buf, size, column == WORST ? "%.1f" : "%.0f", v);
}

static int compare(const void *a, const void *b)
{
	const struct arena *x = *(const struct arena *const *)a;
	const struct arena *y = *(const struct arena *const *)b;
	double vx, vy;
	int order, len;

	if (options.sort == NAME) {
		order = strncmp(arena_name(x, &len), arena_name(y, &len), 16);
	} else {
		vx = value(x, options.sort);
		vy = value(y, options.sort);
		order = vx < vy ? -1 : vx > vy;
		/* The most first, but ids in their order. */
		if (options.sort != MAP)
			order = -order;
	}
	if (!order)
		return x->id < y->id ? -1 : 1;

	return options.reverse ? -order : order;
}

/* The arenas in the order of the table. The caller frees the list. */
static const struct arena **sort(void)
{
	const struct arena **list = malloc((nr_arenas + 1) * sizeof(*list));
	int i;

	if (!list)
		die(1, "out of memory");
	for (i = 0; i < nr_arenas; i++)
		list[i] = &arenas[i];
	qsort(list, nr_arenas, sizeof(*list), compare);

	return list;
}

/* Make the columns wide enough for their values, then hide some until the rest fits. */
static void fit(int width)
{
	int i, c, last, sum = -1;
	char buf[64];

	for (c = 0; c < NR_COLUMNS; c++) {
		for (i = 0; i < nr_arenas; i++) {
			format_cell(&arenas[i], c, buf, sizeof(buf));
			if ((int)strlen(buf) > columns[c].width)
				columns[c].width = strlen(buf);
		}
		hidden[c] = false;
		sum += columns[c].width + 1;
	}
	while (sum > width) {
		for (last = -1, c = 0; c < NR_COLUMNS; c++)
			if (!hidden[c] && c != MAP && c != options.sort &&
			    (last < 0 || columns[c].rank > columns[last].rank))
				last = c;
		if (last < 0)
			break;
		hidden[last] = true;
		sum -= columns[last].width + 1;
	}
}

/* Print lines, cut at the terminal's width. */
static void show_text(const char *text)
{
	int width = term_columns();

	while (*text) {
		int len = strcspn(text, "\n");

		/* At the right margin, the sequence would erase the last character. */
		printf("%.*s%s\n", len < width ? len : width, text,
		       term_is_live() && len < width ? "\033[K" : "");
		lines_left--;
		text += len + (text[len] == '\n');
	}
}

static void put_cell(FILE *f, int column, const char *text)
{
	int width = columns[column].width;

	if (!hidden[column])
		fprintf(f, column == NAME ? "%s%-*s" : "%s%*s", column ? " " : "", width, text);
}

static void put_row(FILE *f, const struct arena *a)
{
	char buf[64];
	int c;

	for (c = 0; c < NR_COLUMNS; c++) {
		format_cell(a, c, buf, sizeof(buf));
		put_cell(f, c, buf);
	}
	fputc('\n', f);
}

/* A line of the table of calls by context: what is in the file's line, in this order. */
static void put_by_context(FILE *f, const char *what, const char *line, bool names)
{
	struct stat_pair pair;
	char buf[24];

	fprintf(f, INDENT "%-22s", what);
	while (line && stat_next_pair(&line, &pair)) {
		if (names)
			snprintf(buf, sizeof(buf), "%.*s", pair.len, pair.name);
		else
			snprintf(buf, sizeof(buf), "%lld", pair.value);
		fprintf(f, " %9s", buf);
	}
	fputc('\n', f);
}

/* The causes that occurred. */
static void put_failures(FILE *f, const struct stat_file *file, const char *key)
{
	const char *line;

	for (line = file->text; line; line = stat_next_line(line)) {
		int len = strcspn(line, " \n");
		char what[32];

		if (strncmp(line, key, strlen(key)) || line[strlen(key)] != '.' ||
		    !stat_sum(line + len + 1))
			continue;
		snprintf(what, sizeof(what), "%.*s", len, line);
		put_by_context(f, what, line + len + 1, false);
	}
}

/* The outcomes that occurred. */
static void put_faults(FILE *f, const struct stat_file *file)
{
	const char *line = stat_line(file, "faults"), *sep = "";
	struct stat_pair pair;

	fputs(INDENT "faults      ", f);
	if (!stat_sum(line))
		fputs("none", f);
	while (line && stat_next_pair(&line, &pair)) {
		if (!pair.value)
			continue;
		fprintf(f, "%s%.*s %lld", sep, pair.len, pair.name, pair.value);
		sep = ", ";
	}
	fputc('\n', f);
}

/* What is neither free nor holds memory is a reservation, a spare, or in the hands of a call. */
static void put_addresses(FILE *f, const struct stat_file *file)
{
	long long max = stat_value(file, "max_pages", NULL);
	long long unused = stat_value(file, "free_pages", NULL);
	long long populated = stat_value(file, "populated_pages", NULL);
	long long rest = max - unused - populated;

	fprintf(f, INDENT "addresses   %lld: free %lld, populated %lld, reserved or spare %lld\n",
		max, unused, populated, rest > 0 ? rest : 0);
}

static void put_details(FILE *f, const struct stat_file *file)
{
	fprintf(f, INDENT "pool        ready %lld, target %lld, size %lld, max %lld\n",
		stat_value(file, "pool_nr", NULL), stat_value(file, "pool_target", NULL),
		stat_value(file, "pool_min", NULL), stat_value(file, "pool_max", NULL));
	fprintf(f, INDENT "standby     ready %lld, size %lld, taken %lld\n",
		stat_value(file, "standby_nr", NULL), stat_value(file, "standby_max", NULL),
		stat_value(file, "standby_pages", NULL));
	put_addresses(f, file);
	fputs(INDENT "since adoption:\n", f);
	put_by_context(f, "calls by context", stat_line(file, "allocs"), true);
	put_by_context(f, "alloc", stat_line(file, "allocs"), false);
	put_by_context(f, "free", stat_line(file, "frees"), false);
	put_by_context(f, "reserve", stat_line(file, "reserves"), false);
	put_failures(f, file, "alloc_failed");
	put_failures(f, file, "reserve_failed");
	fprintf(f, INDENT "pages       allocated %lld, freed %lld, queued %lld, reused %lld, drained %lld\n",
		stat_value(file, "allocated_pages", NULL), stat_value(file, "freed_pages", NULL),
		stat_value(file, "queued_pages_total", NULL), stat_value(file, "reused_pages", NULL),
		stat_value(file, "drained_pages", NULL));
	fprintf(f, INDENT "runs        drain %lld, refill %lld\n",
		stat_value(file, "drains", NULL), stat_value(file, "refills", NULL));
	put_faults(f, file);
}

static int count_lines(const char *text)
{
	int n = 0;

	while ((text = strchr(text, '\n'))) {
		text++;
		n++;
	}

	return n;
}

static void put_heading(FILE *f)
{
	char clock[16];
	time_t t = time(NULL);
	int c;

	strftime(clock, sizeof(clock), "%H:%M:%S", localtime(&t));
	fprintf(f, "%d adopted arena%s, %s, by %s%s; total, max: since adoption%s\n", nr_arenas,
		nr_arenas == 1 ? "" : "s", clock, options.reverse ? "reverse " : "",
		columns[options.sort].option, term_is_live() ? "; keys: q < > r d" : "");
	for (c = 0; c < NR_COLUMNS; c++)
		put_cell(f, c, columns[c].head);
	fputc('\n', f);
	for (c = 0; c < NR_COLUMNS; c++)
		put_cell(f, c, options.once && (c == ALLOC || c == FREE) ? "total" :
			 columns[c].unit);
	fputc('\n', f);
}

/* The text of the heading, or of an arena. The caller frees it. */
static char *make_text(const struct arena *a)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		die(1, "out of memory");
	if (!a)
		put_heading(f);
	else
		put_row(f, a);
	if (a && options.details)
		put_details(f, &a->file);
	if (fclose(f))
		die(1, "out of memory");

	return text;
}

void table_show(void)
{
	const struct arena **list = sort();
	char *text, more[32];
	int i, n;

	fit(term_columns());
	/* The cursor needs a line too. */
	lines_left = term_rows() - 1;
	if (term_is_live())
		fputs("\033[H", stdout);
	text = make_text(NULL);
	show_text(text);
	free(text);
	for (i = 0; i < nr_arenas; i++) {
		text = make_text(list[i]);
		n = count_lines(text);
		/* The first is shown in any case, the others if they leave a line for "more". */
		if (i && n + (i < nr_arenas - 1) > lines_left)
			break;
		show_text(text);
		free(text);
		text = NULL;
	}
	if (i < nr_arenas) {
		free(text);
		snprintf(more, sizeof(more), "... and %d more\n", nr_arenas - i);
		show_text(more);
	}
	if (term_is_live())
		fputs("\033[J", stdout);
	free(list);
}
