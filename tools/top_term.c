// SPDX-License-Identifier: GPL-2.0
/*
 * arena_nolock-top: the terminal.
 *
 * Frames replace each other, and keys work, only if input and output are a terminal that
 * knows escape sequences. The terminal's modes are changed only then, and only while the
 * program is in the foreground. They are restored when it ends or is suspended.
 *
 * A signal handler sets a flag and writes to a pipe, on which term_wait() polls.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "top.h"

static volatile sig_atomic_t stop, suspend;
static int wake[2];
static bool live, raw, input_ended;
static struct termios saved;

static void on_signal(int sig)
{
	int error = errno;

	if (sig == SIGTSTP)
		suspend = 1;
	else if (sig != SIGWINCH && sig != SIGCONT)
		stop = 1;
	/* If the pipe is full, term_wait() wakes up anyway. */
	(void)!write(wake[1], "", 1);
	errno = error;
}

static void restore(void)
{
	if (raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &saved);
	raw = false;
}

/* Keys arrive without a newline and without an echo. In the background, the shell reads. */
static void set_raw(void)
{
	struct termios mode;

	if (raw || tcgetpgrp(STDIN_FILENO) != getpgrp() || tcgetattr(STDIN_FILENO, &saved))
		return;
	mode = saved;
	mode.c_lflag &= ~(ICANON | ECHO);
	mode.c_cc[VMIN] = 1;
	mode.c_cc[VTIME] = 0;
	raw = !tcsetattr(STDIN_FILENO, TCSADRAIN, &mode);
}

/* @frames: there is more than one frame. @table: they are tables. */
void term_init(bool frames, bool table)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCONT, SIGWINCH };
	struct sigaction sa = { .sa_handler = on_signal }, old;
	const char *term = getenv("TERM");
	int i;

	if (!frames)
		return;
	if (pipe2(wake, O_CLOEXEC | O_NONBLOCK))
		die(1, "cannot create a pipe: %s", strerror(errno));
	live = table && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && term && *term &&
	       strcmp(term, "dumb");
	for (i = 0; i < ARRAY_SIZE(signals); i++)
		/* nohup, or a shell without job control, has the signal ignored. */
		if (!sigaction(signals[i], NULL, &old) && old.sa_handler != SIG_IGN)
			sigaction(signals[i], &sa, NULL);
	if (!live)
		return;
	sigaction(SIGTSTP, &sa, NULL);
	atexit(restore);
	set_raw();
}

bool term_is_live(void)
{
	return live;
}

bool term_stopped(void)
{
	return stop;
}

static bool get_size(struct winsize *w)
{
	return isatty(STDOUT_FILENO) && !ioctl(STDOUT_FILENO, TIOCGWINSZ, w);
}

int term_columns(void)
{
	struct winsize w;

	if (!get_size(&w))
		return INT_MAX;

	return w.ws_col ?: 80;	/* a serial line does not know */
}

int term_rows(void)
{
	struct winsize w;

	return live && get_size(&w) && w.ws_row ? w.ws_row : INT_MAX;
}

static void handle_signals(void)
{
	char buf[64];

	while (read(wake[0], buf, sizeof(buf)) > 0)
		;
	if (suspend) {
		suspend = 0;
		restore();
		raise(SIGSTOP);
	}
}

int term_wait(double deadline)
{
	struct pollfd fds[] = {
		{ .fd = wake[0], .events = POLLIN },
		{ .fd = -1, .events = POLLIN },
	};
	double left = deadline - monotonic();
	unsigned char c;
	int n;

	if (stop)
		return KEY_STOP;
	/* A shell can move the program to the foreground without a signal. */
	if (live)
		set_raw();
	if (raw && !input_ended)
		fds[1].fd = STDIN_FILENO;
	n = poll(fds, ARRAY_SIZE(fds), left < 0 ? 0 : left > 1e6 ? 1000000000 : left * 1000 + 1);
	if (stop)
		return KEY_STOP;
	if (n < 0 || fds[0].revents) {
		handle_signals();
		return KEY_REDRAW;
	}
	if (!n || !fds[1].revents)
		return KEY_NONE;
	if (read(STDIN_FILENO, &c, 1) == 1)
		return c ?: KEY_REDRAW;
	input_ended = true;

	return KEY_REDRAW;
}
