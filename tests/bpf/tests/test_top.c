// SPDX-License-Identifier: GPL-2.0
/* arena_nolock-top, run as a user runs it: in a pipe, and on a terminal. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>

#include "program.h"
#include "runner.h"
#include "arena.h"

#define TOP "/bin/arena_nolock-top"

static char id_text[16];

/* An arena with a success, a failure and a free; its id is in id_text. */
static void open_used(struct arena *a)
{
	ASSERT(arena_open(a, 64, 0), "load");
	snprintf(id_text, sizeof(id_text), "%u", map_id(a->fd));
	ASSERT(arena_alloc(a, SLEEPABLE, NULL, 5), "alloc");
	ASSERT(!arena_alloc_once(a, UNDER_RCU, a->base, 1), "a taken address");
	ASSERT_EQ(arena_reserve(a, SLEEPABLE, arena_page(a, 20), 2), 0, "reserve");
	arena_free(a, UNDER_RCU, arena_page(a, 30), 1);
}

/* Is there a line with these words, in this order and with nothing else? */
static bool has_line(const char *words)
{
	char *text = strdup(program_output()), *line;
	bool found = false;

	for (line = strtok(text, "\n"); line && !found; line = strtok(NULL, "\n")) {
		const char *w = words, *l = line;

		while (*l) {
			while (*l == ' ')
				l++;
			while (*w == ' ')
				w++;
			if (!*l || *l != *w)
				break;
			while (*l && *l != ' ' && *l == *w) {
				l++;
				w++;
			}
			if ((*l && *l != ' ') || (*w && *w != ' '))
				break;
		}
		found = !*l && !*w;
	}
	free(text);

	return found;
}

#define ASSERT_LINE(...)							\
	do {									\
		char want_[160];						\
										\
		snprintf(want_, sizeof(want_), __VA_ARGS__);			\
		ASSERT(has_line(want_), "no '%s' in: %s", want_, program_output());	\
	} while (0)

TEST(top, table, "the table in a pipe has all columns, with what each counts, and the details")
{
	struct arena a;

	open_used(&a);
	ASSERT_OK();
	ASSERT_EQ(program_run(TOP, "--once", "--details", "--map", id_text), 0, "run");
	ASSERT(!strncmp(program_output(), "1 adopted arena, ", 17), "%s", program_output());
	ASSERT(strstr(program_output(), "total, max: since adoption"), "%s", program_output());
	ASSERT_LINE("MAP NAME POPULATED MAX POOL TARGET QUEUED WORST ALLOC FREE NMI FAILED");
	ASSERT(strstr(program_output(), "pages  ms max    total    total % total  total\n"), "%s",
	       program_output());
	ASSERT(strstr(program_output(), " arena                   5      64 "), "%s",
	       program_output());
	ASSERT_LINE("calls by context task atomic softirq hardirq nmi");
	ASSERT_LINE("alloc 1 0 0 0 0");
	ASSERT_LINE("free 0 1 0 0 0");
	ASSERT_LINE("reserve 1 0 0 0 0");
	ASSERT_LINE("alloc_failed.address 0 1 0 0 0");
	ASSERT(!strstr(program_output(), "alloc_failed.args"), "%s", program_output());
	ASSERT(strstr(program_output(), ", size 0, max 64\n"), "%s", program_output());
	ASSERT(strstr(program_output(), "standby     ready "), "%s", program_output());
	ASSERT(strstr(program_output(), ", size 64, taken 0\n"), "%s", program_output());
	ASSERT(strstr(program_output(), "addresses   64: free "), "%s", program_output());
	ASSERT_LINE("faults none");
	ASSERT_EQ(program_run(TOP, "-n", "2", "-i", "0.1", "-m", id_text), 0, "two frames");
	ASSERT(strstr(program_output(), "pages  ms max    per s    per s % total  total\n"), "%s",
	       program_output());
	ASSERT(!strchr(program_output(), '\033'), "escape sequences: %s", program_output());
	arena_close(&a);
}

TEST(top, sort, "the table is sorted by the column that the user names")
{
	struct arena a, b;
	char first[64], second[64];
	const char *p, *q;

	ASSERT(arena_open(&a, 64, 0), "load");
	ASSERT(arena_open(&b, 64, 0), "load");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 3), "alloc");
	ASSERT(arena_alloc(&b, SLEEPABLE, NULL, 7), "alloc");
	snprintf(first, sizeof(first), "%5u arena ", map_id(a.fd));
	snprintf(second, sizeof(second), "%5u arena ", map_id(b.fd));
	ASSERT_EQ(program_run(TOP, "--once"), 0, "by id");
	p = strstr(program_output(), first);
	q = strstr(program_output(), second);
	ASSERT(p && q && p < q, "%s", program_output());
	ASSERT_EQ(program_run(TOP, "--once", "--sort=populated"), 0, "by pages");
	p = strstr(program_output(), first);
	q = strstr(program_output(), second);
	ASSERT(p && q && q < p, "%s", program_output());
	ASSERT_EQ(program_run(TOP, "--once", "--sort=populated", "--reverse"), 0, "reverse");
	p = strstr(program_output(), first);
	q = strstr(program_output(), second);
	ASSERT(p && q && p < q, "%s", program_output());
	arena_close(&a);
	arena_close(&b);
}

TEST(top, status, "the exit status is 1 without the arena, and 2 for a wrong command line")
{
	struct arena a;
	pid_t pid;

	ASSERT_EQ(program_run(TOP, "--help"), 0, "help");
	ASSERT_EQ(program_run(TOP, "--version"), 0, "version");
	ASSERT_EQ(program_run(TOP, "--once"), 0, "no arena");
	ASSERT_EQ(program_run(TOP, "--map", "4000000000"), 1, "no such map");
	ASSERT(strstr(program_output(), "map 4000000000 is not an adopted arena"), "%s",
	       program_output());
	ASSERT_EQ(program_run(TOP, "--json", "--map", "4000000000"), 1, "no such map");
	ASSERT_EQ(program_run(TOP, "--prometheus", "--directory", "/nonexistent"), 1, "directory");
	ASSERT_EQ(program_run(TOP, "--nonexistent"), 2, "option");
	ASSERT_EQ(program_run(TOP, "--interval", "x"), 2, "interval");
	ASSERT_EQ(program_run(TOP, "--map", "-1"), 2, "map");
	ASSERT_EQ(program_run(TOP, "--count", "0"), 2, "count");
	ASSERT_EQ(program_run(TOP, "--sort", "colour"), 2, "column");
	ASSERT_EQ(program_run(TOP, "--json", "--prometheus"), 2, "two formats");
	ASSERT_EQ(program_run(TOP, "--once", "--count", "2"), 2, "once, twice");
	ASSERT_EQ(program_run(TOP, "argument"), 2, "argument");
	open_used(&a);
	ASSERT_OK();
	pid = program_start(TOP, "--interval", "0.1", "--map", id_text);
	ASSERT(wait_for(strstr(program_output(), " arena "), 10000), "%s", program_output());
	arena_close(&a);
	ASSERT_EQ(program_end(pid), 0, "the arena was freed");
	ASSERT(strstr(program_output(), " was freed\n"), "%s", program_output());
}

/* The end of a JSON value, or NULL. A key has only [a-z0-9_]. */
static const char *json_end(const char *p)
{
	char close = *p == '{' ? '}' : ']';

	if (*p == '"') {
		p += strcspn(p + 1, "\"\\\n") + 1;
		return *p == '"' ? p + 1 : NULL;
	}
	if (isdigit((unsigned char)*p))
		return p + strspn(p, "0123456789");
	if (*p != '{' && *p != '[')
		return NULL;
	p++;
	while (p && *p != close) {
		if (close == '}') {
			size_t key = strspn(p + 1, "abcdefghijklmnopqrstuvwxyz0123456789_");

			if (*p != '"' || !key || strncmp(p + 1 + key, "\":", 2))
				return NULL;
			p += key + 3;
		}
		p = json_end(p);
		if (p && *p != close && *p++ != ',')
			return NULL;
	}

	return p ? p + 1 : NULL;
}

TEST(top, json, "the JSON is valid, and no key needs quotes in jq")
{
	const char *end, *p;
	char want[96];
	struct arena a;
	int frames;

	open_used(&a);
	ASSERT_OK();
	ASSERT_EQ(program_run(TOP, "-j", "-n", "3", "-i", "0.1", "-m", id_text), 0, "run");
	p = program_output();
	for (frames = 0; *p; frames++, p = end + 1) {
		end = json_end(p);
		ASSERT(end && *end == '\n', "frame %d: %s", frames, p);
	}
	ASSERT_EQ(frames, 3, "lines");
	ASSERT(!strncmp(program_output(), "{\"time\":1", 9), "%s", program_output());
	snprintf(want, sizeof(want), ",\"arenas\":[{\"map_id\":%s,\"map_name\":\"arena\",",
		 id_text);
	ASSERT(strstr(program_output(), want), "no '%s' in: %s", want, program_output());
	ASSERT(strstr(program_output(), "\"populated_pages\":5,"), "pages: %s", program_output());
	ASSERT(strstr(program_output(), "\"frees\":{\"task\":0,\"atomic\":1,"), "%s",
	       program_output());
	p = strstr(program_output(), ",\"alloc_failed\":{\"args\":{\"task\":0,");
	ASSERT(p && strstr(p, ",\"address\":{\"task\":0,\"atomic\":1,"), "%s", program_output());
	ASSERT(strstr(program_output(), "}},\"reserve_failed\":{\"args\":{\"task\":0,"), "%s",
	       program_output());
	arena_close(&a);
}

/* name="value",... up to the brace. Returns what follows, or NULL. */
static const char *labels_end(const char *p)
{
	do {
		p++;
		p += strspn(p, "abcdefghijklmnopqrstuvwxyz_");
		if (strncmp(p, "=\"", 2))
			return NULL;
		p += 2;
		p += strcspn(p, "\"\\\n");
		if (*p++ != '"')
			return NULL;
	} while (*p == ',');

	return *p == '}' ? p + 1 : NULL;
}

/* HELP, TYPE, then the samples of this metric. Returns a line that is wrong, or NULL. */
static const char *wrong_metric_line(void)
{
	static char line[256], metric[128];
	const char *text = program_output(), *p;
	size_t len, size = 0;
	char *end;

	for (; *text; text += len + 1) {
		len = strcspn(text, "\n");
		snprintf(line, sizeof(line), "%.*s", (int)len, text);
		if (!text[len])
			return line;
		if (!strncmp(line, "# HELP arena_nolock_", 20)) {
			size = strcspn(line + 7, " ");
			snprintf(metric, sizeof(metric), "%.*s", (int)size, line + 7);
			if (strlen(line) < 7 + size + 5)
				return line;
		} else if (!strncmp(line, "# TYPE ", 7)) {
			p = line + 7;
			if (strncmp(p, metric, size) ||
			    strcmp(p + size, strstr(metric, "_total") ? " counter" : " gauge"))
				return line;
		} else {
			p = line + size;
			if (!size || strncmp(line, metric, size) || (*p != '{' && *p != ' '))
				return line;
			p = *p == '{' ? labels_end(p) : p;
			if (!p || *p != ' ' || !isdigit((unsigned char)p[1]))
				return line;
			strtod(p, &end);
			if (*end)
				return line;
		}
	}

	return NULL;
}

TEST(top, prometheus, "the metrics are in the format of Prometheus, with labels")
{
	const char *wrong;
	struct arena a;

	open_used(&a);
	ASSERT_OK();
	ASSERT_EQ(program_run(TOP, "--prometheus", "--map", id_text), 0, "run");
	wrong = wrong_metric_line();
	ASSERT(!wrong, "%s", wrong);
	ASSERT_LINE("arena_nolock_arenas 1");
	ASSERT_LINE("# TYPE arena_nolock_populated_pages gauge");
	ASSERT_LINE("arena_nolock_populated_pages{map=\"%s\",name=\"arena\"} 5", id_text);
	ASSERT_LINE("# TYPE arena_nolock_allocs_total counter");
	ASSERT_LINE("arena_nolock_allocs_total{map=\"%s\",name=\"arena\",context=\"task\"} 1",
		    id_text);
	ASSERT_LINE("arena_nolock_alloc_failed_total{map=\"%s\",name=\"arena\",cause=\"address\",context=\"atomic\"} 1",
		    id_text);
	ASSERT_LINE("arena_nolock_faults_total{map=\"%s\",name=\"arena\",outcome=\"segv\"} 0",
		    id_text);
	arena_close(&a);
}

/*
 * On a terminal
 */

struct terminal {
	int master, slave;
	pid_t pid;
	struct termios mode;	/* before the program */
	char out[1 << 17];
	size_t len;
};

static struct terminal tty;

static void open_terminal(int columns)
{
	struct winsize size = { .ws_col = columns, .ws_row = 24 };
	const char *name;

	mkdir("/dev/pts", 0755);
	if (access("/dev/pts/ptmx", F_OK))
		ASSERT(!mount("devpts", "/dev/pts", "devpts", 0, "ptmxmode=0666"), "devpts: %s",
		       strerror(errno));
	tty.master = open("/dev/pts/ptmx", O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	ASSERT(tty.master >= 0 && !unlockpt(tty.master), "ptmx: %s", strerror(errno));
	name = ptsname(tty.master);
	ASSERT(name, "name");
	tty.slave = open(name, O_RDWR | O_CLOEXEC | O_NOCTTY);
	ASSERT(tty.slave >= 0, "%s: %s", name, strerror(errno));
	ASSERT(!ioctl(tty.master, TIOCSWINSZ, &size), "size");
	ASSERT(!tcgetattr(tty.slave, &tty.mode), "modes");
	tty.len = 0;
	tty.out[0] = 0;
}

static void close_terminal(void)
{
	close(tty.master);
	close(tty.slave);
}

/* The tool in a session of its own; @term: the value of TERM, or NULL. */
static void start_on_terminal(const char *term, const char *option)
{
	tty.pid = fork();
	if (tty.pid)
		return;
	setsid();
	ioctl(tty.slave, TIOCSCTTY, 0);
	dup2(tty.slave, 0);
	dup2(tty.slave, 1);
	dup2(tty.slave, 2);
	if (term)
		setenv("TERM", term, 1);
	else
		unsetenv("TERM");
	execl(TOP, TOP, "-i", "0.2", option, (char *)NULL);
	_exit(127);
}

static bool shows(const char *what)
{
	ssize_t n;

	while (tty.len < sizeof(tty.out) - 1 &&
	       (n = read(tty.master, tty.out + tty.len, sizeof(tty.out) - 1 - tty.len)) > 0)
		tty.len += n;
	tty.out[tty.len] = 0;

	return strstr(tty.out, what);
}

/* From now on, only what the tool writes later. */
static void forget(void)
{
	shows("");
	tty.len = 0;
}

static bool is_raw(void)
{
	struct termios mode;

	return !tcgetattr(tty.slave, &mode) && !(mode.c_lflag & ICANON);
}

static bool modes_restored(void)
{
	struct termios mode;

	return !tcgetattr(tty.slave, &mode) && mode.c_lflag == tty.mode.c_lflag &&
	       !memcmp(mode.c_cc, tty.mode.c_cc, sizeof(mode.c_cc));
}

static bool press(char key)
{
	return write(tty.master, &key, 1) == 1;
}

/* The width of the longest line, without escape sequences. */
static int longest_line(void)
{
	const char *p;
	int width = 0, most = 0;

	for (p = tty.out; *p; p++) {
		if (*p == '\033') {
			p += 2 + strspn(p + 2, "0123456789;");
			continue;
		}
		width = *p == '\r' || *p == '\n' ? 0 : width + 1;
		most = width > most ? width : most;
	}

	return most;
}

static void check_width(int columns, bool target)
{
	open_terminal(columns);
	ASSERT_OK();
	start_on_terminal("xterm", "-d");
	ASSERT(wait_for(shows("faults "), 20000), "%s", tty.out);
	ASSERT(longest_line() <= columns, "%d columns in %d: %s", longest_line(), columns, tty.out);
	ASSERT(!strstr(tty.out, " TARGET ") == !target, "TARGET in %d columns: %s", columns,
	       tty.out);
	ASSERT(strstr(tty.out, "POPULATED") && strstr(tty.out, "FAILED"), "%s", tty.out);
	ASSERT(press('q'), "q");
	ASSERT_EQ(program_end(tty.pid), 0, "end");
	close_terminal();
}

TEST(top, width, "the table fits the terminal, and the most important columns stay")
{
	struct arena a;

	open_used(&a);
	ASSERT_OK();
	check_width(120, true);
	ASSERT_OK();
	check_width(80, false);
	ASSERT_OK();
	ASSERT(strstr(tty.out, "QUEUED    ALLOC     FREE FAILED"), "%s", tty.out);
	check_width(47, false);
	ASSERT_OK();
	arena_close(&a);
}

TEST(top, keys, "keys sort, reverse, show details and quit")
{
	struct arena a;

	open_used(&a);
	ASSERT_OK();
	open_terminal(80);
	ASSERT_OK();
	start_on_terminal("xterm", "--sort=name");
	ASSERT(wait_for(shows(", by name;") && is_raw(), 20000), "%s", tty.out);
	ASSERT(press('>'), ">");
	ASSERT(wait_for(shows(", by populated;"), 10000), "%s", tty.out);
	forget();
	ASSERT(press('r'), "r");
	ASSERT(wait_for(shows(", by reverse populated;"), 10000), "%s", tty.out);
	ASSERT(press('<') && press('<'), "<");
	ASSERT(wait_for(shows(", by reverse map;"), 10000), "%s", tty.out);
	ASSERT(!shows("calls by context"), "%s", tty.out);
	ASSERT(press('d'), "d");
	ASSERT(wait_for(shows("calls by context"), 10000), "%s", tty.out);
	ASSERT(press('q'), "q");
	ASSERT_EQ(program_end(tty.pid), 0, "end");
	ASSERT(modes_restored(), "modes");
	close_terminal();
	arena_close(&a);
}

TEST(top, modes, "the terminal has its modes again after each signal")
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	size_t i;
	int status;

	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		open_terminal(80);
		ASSERT_OK();
		start_on_terminal("xterm", "-r");
		ASSERT(wait_for(shows("MAP") && is_raw(), 20000), "%s", tty.out);
		kill(tty.pid, signals[i]);
		ASSERT_EQ(program_end(tty.pid), 0, strsignal(signals[i]));
		ASSERT(modes_restored(), "modes after %s", strsignal(signals[i]));
		close_terminal();
	}
	open_terminal(80);
	ASSERT_OK();
	start_on_terminal("xterm", "-r");
	ASSERT(wait_for(shows("MAP") && is_raw(), 20000), "%s", tty.out);
	kill(tty.pid, SIGTSTP);
	ASSERT(waitpid(tty.pid, &status, WUNTRACED) == tty.pid && WIFSTOPPED(status), "stop");
	ASSERT(modes_restored(), "modes of the suspended program");
	kill(tty.pid, SIGCONT);
	ASSERT(wait_for(is_raw(), 10000), "modes of the program that continues");
	ASSERT(press('q'), "q");
	ASSERT_EQ(program_end(tty.pid), 0, "end");
	ASSERT(modes_restored(), "modes at the end");
	close_terminal();
}

TEST(top, dumb, "a dumb terminal gets no escape sequences, and keeps its modes")
{
	static const char *const terms[] = { "dumb", NULL, "" };
	size_t i;

	for (i = 0; i < sizeof(terms) / sizeof(terms[0]); i++) {
		open_terminal(80);
		ASSERT_OK();
		start_on_terminal(terms[i], "-n3");
		ASSERT_EQ(program_end(tty.pid), 0, "end");
		ASSERT(shows("MAP"), "%s", tty.out);
		ASSERT(!strchr(tty.out, '\033'), "%s", tty.out);
		ASSERT(longest_line() <= 80, "%d columns", longest_line());
		ASSERT(modes_restored(), "modes");
		close_terminal();
	}
}
