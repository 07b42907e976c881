/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Programs, run as a user runs them, one at a time. Their output of both kinds is kept in a
 * file.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <sys/types.h>

pid_t program_start_argv(const char *const *argv);
/* Its exit code, or that of a shell for one that was killed. */
int program_end(pid_t pid);
/* What the last one has printed so far: the last half of a MiB of it, in a static buffer. */
const char *program_output(void);
/* The first number in front of @what in the last line that has both, or -1. */
long program_number(const char *what);

#define program_start(...) program_start_argv((const char *const[]){ __VA_ARGS__, NULL })
#define program_run(...) program_end(program_start(__VA_ARGS__))

#endif
