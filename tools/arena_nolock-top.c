// SPDX-License-Identifier: GPL-2.0
/*
 * arena_nolock-top: show the adopted arenas of this machine.
 *
 * Reads the module's files in debugfs, one per arena. The JSON has everything that is in
 * them, the table has the most important values.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <time.h>

#include "arena_stat.h"

#ifndef VERSION
#define VERSION "unknown"
#endif

#define DIRECTORY "/sys/kernel/debug/arena_nolock"
#define MAX_ARENAS 4096

struct arena {
	unsigned int id;
	struct stat_file now;
	long long allocs, frees;	/* of the previous frame, or -1 */
};

static const char *directory = DIRECTORY;
static struct arena *arenas;
static int nr_arenas;
static bool once, json, details;
static double interval = 1;
static long only = -1;
static volatile sig_atomic_t stop;

static const char *const causes[] = { "args", "address", "memory", "scratch", "lock" };
static const char *const contexts[] = { "task", "atomic", "softirq", "hardirq", "nmi" };

#define ARRAY_SIZE(a) ((int)(sizeof(a) / sizeof((a)[0])))

static void usage(FILE *f)
{
	fprintf(f,
		"usage: arena_nolock-top [options]\n"
		"\n"
		"Shows the BPF arenas that the module arena_nolock has adopted, live.\n"
		"\n"
		"  -1, --once           print the arenas once, with totals instead of rates\n"
		"  -j, --json           print one JSON object per frame, with all counters\n"
		"  -i, --interval=SECS  time between frames (default 1, at least 0.05)\n"
		"  -m, --map=ID         show only the arena of this map\n"
		"  -d, --details        also show allocations by context, faults, drains, and failures\n"
		"                       by cause and context\n"
		"      --directory=DIR  read the module's files from here\n"
		"                       (default " DIRECTORY ")\n"
		"  -h, --help\n"
		"  -V, --version\n"
		"\n"
		"Columns:\n"
		"  POPULATED, MAX       pages that hold memory, and the most that the arena can hold\n"
		"  POOL, TARGET         pages that are ready for callers that cannot sleep, and how\n"
		"                       many the pool should hold now\n"
		"  QUEUED, WORST        pages that wait for the drain, and the longest delay so far\n"
		"  ALLOC, FREE, NMI%%    calls, and the share of the allocations that came from NMIs\n"
		"  FAILED               allocations that failed since the map was adopted\n"
		"\n"
		"Needs root, and debugfs on /sys/kernel/debug.\n");
}

__attribute__((format(printf, 1, 2), noreturn))
static void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("arena_nolock-top: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

static long long sum(const struct stat_file *f, const char *key)
{
	long long total = 0;
	int i;

	for (i = 0; i < ARRAY_SIZE(contexts); i++) {
		long long v = stat_value(f, key, contexts[i]);

		total += v > 0 ? v : 0;
	}

	return total;
}

static long long failures(const struct stat_file *f)
{
	long long total = 0;
	char key[64];
	int i;

	for (i = 0; i < ARRAY_SIZE(causes); i++) {
		snprintf(key, sizeof(key), "alloc_failed.%s", causes[i]);
		total += sum(f, key);
	}

	return total;
}

static int by_id(const void *a, const void *b)
{
	const struct arena *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static const struct arena *find(const struct arena *list, int nr, unsigned int id)
{
	struct arena key = { .id = id };

	return nr ? bsearch(&key, list, nr, sizeof(*list), by_id) : NULL;
}

/* Read the files of all arenas. Keeps the previous frame's counts for the rates. */
static void look(void)
{
	struct arena *list = NULL, *before = arenas;
	int nr = 0, cap = 0;
	struct dirent *e;
	char path[PATH_MAX];
	DIR *dir = opendir(directory);

	if (!dir)
		die("cannot read %s: %s%s", directory, strerror(errno),
		    errno == ENOENT ? "; load the module (modprobe arena_nolock) and mount debugfs" :
		    errno == EACCES ? "; run as root" : "");
	while ((e = readdir(dir)) && nr < MAX_ARENAS) {
		const struct arena *old;
		struct arena *a;
		char *end;
		unsigned long id = strtoul(e->d_name, &end, 10);

		if (*end || !isdigit((unsigned char)e->d_name[0]) ||
		    (only >= 0 && id != (unsigned long)only))
			continue;
		if (nr == cap) {
			cap = cap ? 2 * cap : 16;
			list = realloc(list, cap * sizeof(*list));
			if (!list)
				die("out of memory");
		}
		a = &list[nr];
		a->id = id;
		snprintf(path, sizeof(path), "%s/%s", directory, e->d_name);
		/* The arena may have been freed meanwhile. */
		if (!stat_read(&a->now, path))
			continue;
		old = find(before, nr_arenas, id);
		a->allocs = old ? sum(&old->now, "allocs") : -1;
		a->frees = old ? sum(&old->now, "frees") : -1;
		nr++;
	}
	closedir(dir);
	if (nr)
		qsort(list, nr, sizeof(*list), by_id);
	free(before);
	arenas = list;
	nr_arenas = nr;
}

/*
 * JSON: keys are copied, numbers stay numbers, "name=value" pairs become an object.
 */

static void json_string(const char *s, size_t len)
{
	size_t i;

	putchar('"');
	for (i = 0; i < len; i++) {
		if (s[i] == '"' || s[i] == '\\')
			putchar('\\');
		if ((unsigned char)s[i] < 0x20)
			printf("\\u%04x", s[i]);
		else
			putchar(s[i]);
	}
	putchar('"');
}

static void json_value(const char *s, size_t len)
{
	if (len && strspn(s, "0123456789") >= len)
		printf("%.*s", (int)len, s);
	else
		json_string(s, len);
}

static void json_members(const char *p)
{
	const char *sep = "";

	putchar('{');
	while (*p && *p != '\n') {
		size_t word = strcspn(p, " \n"), name = strcspn(p, "= \n");

		fputs(sep, stdout);
		sep = ",";
		json_string(p, name);
		putchar(':');
		json_value(p + name + 1, word - name - 1);
		p += word;
		p += strspn(p, " ");
	}
	putchar('}');
}

static void json_arena(const struct arena *a)
{
	const char *p = a->now.text, *sep = "";

	putchar('{');
	while (*p) {
		size_t key = strcspn(p, " \n"), line = strcspn(p, "\n");
		const char *val = p + key + (key < line);

		fputs(sep, stdout);
		sep = ",";
		json_string(p, key);
		putchar(':');
		if (!strncmp(p, "map_name ", 9))
			json_string(val, p + line - val);
		else if (strcspn(val, "=\n") < strcspn(val, "\n"))
			json_members(val);
		else
			json_value(val, p + line - val);
		p += line;
		p += *p == '\n';
	}
	putchar('}');
}

static void show_json(void)
{
	int i;

	printf("{\"time\":%lld,\"arenas\":[", (long long)time(NULL));
	for (i = 0; i < nr_arenas; i++) {
		if (i)
			putchar(',');
		json_arena(&arenas[i]);
	}
	puts("]}");
}

/*
 * The table
 */

static void show_failures(const struct stat_file *f, const char *what)
{
	char key[64];
	int i, c;

	for (i = 0; i < ARRAY_SIZE(causes); i++) {
		snprintf(key, sizeof(key), "%s_failed.%s", what, causes[i]);
		if (!sum(f, key))
			continue;
		printf("         %s failed, %s:", what, causes[i]);
		for (c = 0; c < ARRAY_SIZE(contexts); c++)
			if (stat_value(f, key, contexts[c]) > 0)
				printf(" %s %lld", contexts[c], stat_value(f, key, contexts[c]));
		putchar('\n');
	}
}

static void show_details(const struct stat_file *f)
{
	int c;

	printf("         allocations:");
	for (c = 0; c < ARRAY_SIZE(contexts); c++)
		printf(" %s %lld", contexts[c], stat_value(f, "allocs", contexts[c]));
	printf("\n         faults: mapped %lld, populated %lld, segv %lld\n",
	       stat_value(f, "faults", "mapped"), stat_value(f, "faults", "populated"),
	       stat_value(f, "faults", "segv"));
	printf("         drains %lld, pages in them %lld, refills %lld\n",
	       stat_value(f, "drains", NULL), stat_value(f, "drained_pages", NULL),
	       stat_value(f, "refills", NULL));
	show_failures(f, "alloc");
	show_failures(f, "reserve");
}

static void show_row(const struct arena *a, double seconds)
{
	const struct stat_file *f = &a->now;
	long long allocs = sum(f, "allocs"), frees = sum(f, "frees");
	long long nmi = stat_value(f, "allocs", "nmi");
	const char *name = stat_line(f, "map_name");
	double per = once ? 1 : seconds;

	printf("%8u %-15.*s %9lld %9lld %7lld %7lld %7lld %9.1f ", a->id,
	       name ? (int)strcspn(name, "\n") : 1, name ? name : "?",
	       stat_value(f, "populated_pages", NULL), stat_value(f, "max_pages", NULL),
	       stat_value(f, "pool_nr", NULL), stat_value(f, "pool_target", NULL),
	       stat_value(f, "queued_pages", NULL),
	       stat_value(f, "drain_latency_max_us", NULL) / 1000.0);
	if (once)
		printf("%9lld %9lld", allocs, frees);
	else if (a->allocs < 0 || per <= 0)
		printf("%9s %9s", "-", "-");
	else
		printf("%9.0f %9.0f", (allocs - a->allocs) / per, (frees - a->frees) / per);
	printf(" %4.0f %7lld\n", allocs ? 100.0 * nmi / allocs : 0.0, failures(f));
	if (details)
		show_details(f);
}

static void show_table(double seconds)
{
	int i, rows = INT_MAX;
	struct winsize w;

	if (!once && isatty(STDOUT_FILENO)) {
		fputs("\033[H\033[J", stdout);
		if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) && w.ws_row > 3)
			rows = w.ws_row - 3;
	}
	printf("%d adopted arena%s\n", nr_arenas, nr_arenas == 1 ? "" : "s");
	printf("%8s %-15s %9s %9s %7s %7s %7s %9s %9s %9s %4s %7s\n", "MAP", "NAME", "POPULATED",
	       "MAX", "POOL", "TARGET", "QUEUED", "WORST/ms", once ? "ALLOC" : "ALLOC/s",
	       once ? "FREE" : "FREE/s", "NMI%", "FAILED");
	for (i = 0; i < nr_arenas && (i < rows || details); i++)
		show_row(&arenas[i], seconds);
	if (i < nr_arenas)
		printf("... and %d more\n", nr_arenas - i);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void on_signal(int sig)
{
	stop = sig;
}

static double number(const char *arg, double min, const char *what, const char *expected)
{
	char *end;
	double v = strtod(arg, &end);

	if (end == arg || *end || !(v >= min) || v > 1e9)
		die("invalid %s '%s': expected %s", what, arg, expected);

	return v;
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "once", no_argument, NULL, '1' },
		{ "json", no_argument, NULL, 'j' },
		{ "interval", required_argument, NULL, 'i' },
		{ "map", required_argument, NULL, 'm' },
		{ "details", no_argument, NULL, 'd' },
		{ "directory", required_argument, NULL, 'D' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{}
	};
	int c;

	while ((c = getopt_long(argc, argv, "1ji:m:dhV", options, NULL)) != -1) {
		switch (c) {
		case '1':
			once = true;
			break;
		case 'j':
			json = true;
			break;
		case 'i':
			interval = number(optarg, 0.05, "interval", "seconds, 0.05 or more");
			break;
		case 'm':
			only = number(optarg, 0, "map", "the id of a map");
			break;
		case 'd':
			details = true;
			break;
		case 'D':
			directory = optarg;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		case 'V':
			puts("arena_nolock-top " VERSION);
			exit(0);
		default:
			usage(stderr);
			exit(2);
		}
	}
	if (optind < argc)
		die("unexpected argument '%s'; see --help", argv[optind]);
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal };
	double last = 0, t;

	parse(argc, argv);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	while (!stop) {
		look();
		t = now();
		if (json)
			show_json();
		else
			show_table(last ? t - last : 0);
		if (fflush(stdout))
			return 1;
		last = t;
		if (once)
			break;
		usleep(interval * 1e6);
	}
	if (only >= 0 && once && !nr_arenas)
		die("map %ld is not an adopted arena", only);

	return 0;
}
