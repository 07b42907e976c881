// SPDX-License-Identifier: GPL-2.0
/* Programs, run as a user runs them; program.h says what each call does. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/wait.h>

#include "program.h"

#define OUT "/tmp/program.out"

pid_t program_start_argv(const char *const *argv)
{
	pid_t pid;
	int fd;

	/* An earlier process may still write to the old file. */
	unlink(OUT);
	pid = fork();
	if (pid)
		return pid;
	fd = open(OUT, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	execv(argv[0], (char *const *)argv);
	_exit(127);
}

int program_end(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -1;

	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

const char *program_output(void)
{
	static char text[1 << 19];
	int fd = open(OUT, O_RDONLY | O_CLOEXEC);
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	ssize_t n = 0;

	if (fd >= 0) {
		n = pread(fd, text, sizeof(text) - 1,
			  size < (off_t)sizeof(text) ? 0 : size - (off_t)sizeof(text) + 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = 0;

	return text;
}

long program_number(const char *what)
{
	const char *line, *at, *end;
	char *text = strdup(program_output());
	long n, last = -1;

	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		at = strstr(line, what);
		if (!at || at == line)
			continue;
		for (end = at; end > line && end[-1] >= '0' && end[-1] <= '9'; end--)
			;
		n = atol(end);
		if (end < at)
			last = n;
	}
	free(text);

	return last;
}
