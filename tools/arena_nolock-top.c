// SPDX-License-Identifier: GPL-2.0
/* arena_nolock-top: show the adopted arenas of this machine. See top.h. */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <time.h>

#include "top.h"

#ifndef VERSION
#define VERSION "unknown"
#endif

#define DIRECTORY "/sys/kernel/debug/arena_nolock"

struct options options = { .directory = DIRECTORY, .interval = 1, .map = -1 };

static enum { TABLE, JSON, PROMETHEUS } format;

static void usage(FILE *f)
{
	fputs("usage: arena_nolock-top [options]\n"
	      "\n"
	      "Shows the BPF arenas that the module arena_nolock has adopted, live.\n"
	      "\n"
	      "  -1, --once           print the arenas once, with totals instead of rates\n"
	      "  -n, --count=COUNT    print this many frames (default: no limit)\n"
	      "  -i, --interval=SECS  time between frames (default 1, at least 0.05)\n"
	      "  -s, --sort=COLUMN    sort by a column of the table (default map): map, name,\n"
	      "                       populated, max, pool, target, queued, worst, alloc,\n"
	      "                       free, nmi, failed\n"
	      "  -r, --reverse        sort in the reverse order\n"
	      "  -m, --map=ID         show only the arena of this map, which must exist\n"
	      "  -d, --details        also show the pool's settings, calls and failures by\n"
	      "                       context, and faults\n"
	      "  -j, --json           print one JSON object per frame, with all counters\n"
	      "  -p, --prometheus     print all counters once, for node_exporter's textfile\n"
	      "                       collector\n"
	      "      --directory=DIR  read the module's files from here\n"
	      "                       (default " DIRECTORY ")\n"
	      "  -h, --help\n"
	      "  -V, --version\n"
	      "\n"
	      "Columns (a narrow terminal has fewer; per s: a second, since the last frame;\n"
	      "total, max: since the map was adopted):\n"
	      "  POPULATED, MAX  pages that hold memory, and the most that the arena can hold\n"
	      "  POOL, TARGET    pages ready for callers that cannot sleep, and how many the\n"
	      "                  pool should hold now\n"
	      "  QUEUED, WORST   pages that wait for the drain, and the longest delay\n"
	      "  ALLOC, FREE     successful allocations, and calls to free\n"
	      "  NMI             share of the allocations that came from NMIs\n"
	      "  FAILED          failed allocations; --details shows their causes\n"
	      "\n"
	      "Causes of failures:\n"
	      "  args            invalid arguments\n"
	      "  address         no room in the arena, or the requested address is taken\n"
	      "  memory          no page: the memory cgroup is at its limit, or a caller that\n"
	      "                  can have pages from nowhere else found the pool and the\n"
	      "                  standby empty (raise standby_pages)\n"
	      "  scratch         the kernel's fault handler uses the address; try again (7.x)\n"
	      "  lock            an NMI interrupted an allocation on its own CPU, or the lock\n"
	      "                  could not be taken in time\n"
	      "\n"
	      "Keys: q quits, < and > select the sort column, r reverses the order, d shows\n"
	      "or hides details, any other key shows the next frame.\n"
	      "\n"
	      "Exit status: 0, 1 if the arenas cannot be read or the map is not an adopted\n"
	      "arena, 2 if the command line is wrong.\n"
	      "\n"
	      "Needs root, and debugfs on /sys/kernel/debug.\n", f);
}

void die(int status, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	va_start(ap, fmt);
	fputs("arena_nolock-top: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(status);
}

double monotonic(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);

	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static double seconds(const char *arg)
{
	char *end;
	double v = strtod(arg, &end);

	if (end == arg || *end || !(v >= 0.05) || v > 1e9)
		die(2, "invalid interval '%s': expected seconds, 0.05 or more", arg);

	return v;
}

static unsigned long number(const char *arg, unsigned long min, const char *what)
{
	unsigned long v;
	char *end;

	errno = 0;
	v = strtoul(arg, &end, 10);
	if (errno || *arg < '0' || *arg > '9' || *end || v < min || v > 0xffffffff)
		die(2, "invalid %s '%s': expected a number, %lu or more", what, arg, min);

	return v;
}

static void set_format(int to)
{
	if (format != TABLE && (int)format != to)
		die(2, "--json and --prometheus exclude each other");
	format = to;
}

static void parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "once", no_argument, NULL, '1' },
		{ "count", required_argument, NULL, 'n' },
		{ "interval", required_argument, NULL, 'i' },
		{ "sort", required_argument, NULL, 's' },
		{ "reverse", no_argument, NULL, 'r' },
		{ "map", required_argument, NULL, 'm' },
		{ "details", no_argument, NULL, 'd' },
		{ "json", no_argument, NULL, 'j' },
		{ "prometheus", no_argument, NULL, 'p' },
		{ "directory", required_argument, NULL, 'D' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{}
	};
	int c;

	while ((c = getopt_long(argc, argv, "1n:i:s:rm:djphV", longs, NULL)) != -1) {
		switch (c) {
		case '1':
			options.once = true;
			break;
		case 'n':
			options.count = number(optarg, 1, "count");
			break;
		case 'i':
			options.interval = seconds(optarg);
			break;
		case 's':
			options.sort = table_column(optarg);
			if (options.sort < 0)
				die(2, "invalid column '%s'; see --help", optarg);
			break;
		case 'r':
			options.reverse = true;
			break;
		case 'm':
			options.map = number(optarg, 0, "map id");
			break;
		case 'd':
			options.details = true;
			break;
		case 'j':
			set_format(JSON);
			break;
		case 'p':
			set_format(PROMETHEUS);
			options.once = true;
			break;
		case 'D':
			options.directory = optarg;
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
		die(2, "unexpected argument '%s'; see --help", argv[optind]);
	if (options.once && options.count > 1)
		die(2, "--count=%lu: %s prints once", options.count,
		    format == PROMETHEUS ? "--prometheus" : "--once");
}

static void show(void)
{
	if (format == JSON)
		json_show();
	else if (format == PROMETHEUS)
		prometheus_show();
	else
		table_show();
	if (fflush(stdout) && !term_stopped())
		die(1, "cannot write: %s", strerror(errno));
}

/* Wait for the time of the next frame. Returns false to quit. */
static bool wait_next(void)
{
	double deadline = monotonic() + options.interval;

	for (;;) {
		int key = term_wait(deadline);

		switch (key) {
		case KEY_STOP:
		case 'q':
		case 'Q':
			return false;
		case KEY_REDRAW:
			if (!term_is_live())
				continue;
			break;
		case '<':
			table_sort_next(-1);
			break;
		case '>':
			table_sort_next(1);
			break;
		case 'r':
			options.reverse = !options.reverse;
			break;
		case 'd':
			options.details = !options.details;
			break;
		default:
			return true;
		}
		show();
	}
}

int main(int argc, char **argv)
{
	unsigned long frames = 0;

	parse(argc, argv);
	arenas_read();
	if (options.map >= 0 && !nr_arenas)
		die(1, "map %ld is not an adopted arena", options.map);
	term_init(!options.once, format == TABLE);
	for (;;) {
		show();
		if (options.once || ++frames == options.count || !wait_next())
			break;
		arenas_read();
		if (options.map >= 0 && !nr_arenas) {
			fprintf(stderr, "arena_nolock-top: the arena of map %ld was freed\n",
				options.map);
			break;
		}
	}

	return 0;
}
