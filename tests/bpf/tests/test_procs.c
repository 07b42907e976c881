// SPDX-License-Identifier: GPL-2.0
/* The example of docs/slab.md, run as a user runs it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "program.h"
#include "runner.h"

#define EXAMPLE "/examples/procs"
/* What it is to show. */
#define SHORT_PATH "/examples/count"
/* A name of the longer size. */
#define LONG_PATH "/tmp/a_name_of_a_program_that_does_not_fit_into_fifty_six_bytes_but_needs_more_of_them"

/* Run a program by some name, silently, until it is killed. */
static pid_t start(const char *path, const char *arg)
{
	pid_t pid;
	int fd;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = open("/dev/null", O_WRONLY);
	dup2(fd, 1);
	dup2(fd, 2);
	execl(path, path, arg, NULL);
	_exit(1);
}

/* Is a program in the last complete table? */
static bool shown(pid_t pid, const char *path)
{
	char *text = strdup(program_output()), *end, *begin, line[256];
	bool found = false;

	for (end = NULL, begin = text; (begin = strstr(begin, " running, ")); begin++)
		end = begin;
	if (end) {
		*end = 0;
		begin = strrchr(text, '\n');
		if (begin)
			*begin = 0;
		/* The table begins behind the line that ends the one before. */
		for (begin = text; (end = strstr(begin, " running, ")); begin = end + 1)
			;
		snprintf(line, sizeof(line), "%8d %s", pid, path);
		found = strstr(begin, line);
	}
	free(text);

	return found;
}

TEST_LONG(example, procs, 120,
	  "the slab tutorial's program shows the programs that run, and its slabs do not grow")
{
	long pages, i;
	pid_t pid, brief, lengthy;

	if (access(EXAMPLE, X_OK))
		SKIP("was not built");
	ASSERT_EQ(program_run(EXAMPLE, "--help"), 0, "help");
	ASSERT(strstr(program_output(), "usage: "), "%s", program_output());
	unlink(LONG_PATH);
	ASSERT(!symlink(SHORT_PATH, LONG_PATH), "symlink");
	pid = program_start(EXAMPLE);
	ASSERT(wait_for(program_number(" running, ") >= 0, 30000), "%s", program_output());

	brief = start(SHORT_PATH, NULL);
	lengthy = start(LONG_PATH, NULL);
	ASSERT(wait_for(shown(brief, SHORT_PATH) && shown(lengthy, LONG_PATH), 20000),
	       "not shown: %.1500s", program_output());
	kill(brief, SIGKILL);
	ASSERT(wait_for(!shown(brief, SHORT_PATH) && shown(lengthy, LONG_PATH), 20000),
	       "still shown, or both gone: %.1500s", program_output());
	for (i = 0; i < 100; i++)
		waitpid(start(i % 2 ? LONG_PATH : SHORT_PATH, "--help"), NULL, 0);
	kill(lengthy, SIGKILL);
	ASSERT(wait_for(!shown(lengthy, LONG_PATH) && program_number(" running, ") < 20, 20000),
	       "still shown: %.1500s", program_output());
	pages = program_number(" pages");
	ASSERT(pages == 3 || pages == 4, "%ld pages", pages);
	kill(pid, SIGTERM);
	ASSERT_EQ(program_end(pid), 128 + SIGTERM, "end");
	waitpid(brief, NULL, 0);
	waitpid(lengthy, NULL, 0);
	unlink(LONG_PATH);
}
