/* SPDX-License-Identifier: GPL-2.0 */
/* The command line of the examples: their options, and the signals that end them. */
#ifndef CLI_H
#define CLI_H

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define CLI_MAX_OPTIONS 8

/* An option: a flag, or, if @flag is NULL, a number from 1 to @max. */
struct cli_option {
	const char *name;
	char letter;
	bool *flag;
	unsigned long *number;
	unsigned long max;
};

static volatile sig_atomic_t cli_stop;

static inline void cli_on_signal(int sig)
{
	cli_stop = sig;
}

/* From now on SIGINT and SIGTERM set cli_stop. */
static inline void cli_catch_signals(void)
{
	signal(SIGINT, cli_on_signal);
	signal(SIGTERM, cli_on_signal);
}

static inline void cli_set(const char *program, const struct cli_option *o, const char *text)
{
	unsigned long n;
	char *end;

	if (o->flag) {
		*o->flag = true;
		return;
	}
	errno = 0;
	n = strtoul(text, &end, 10);
	/* strtoul() also takes spaces and signs. */
	if (errno || !isdigit((unsigned char)*text) || *end || !n || n > o->max) {
		fprintf(stderr, "%s: invalid %s '%s': expected a number from 1 to %lu\n", program,
			o->name, text, o->max);
		exit(2);
	}
	*o->number = n;
}

/*
 * Parse the command line. @options ends with an entry without a name. Returns the arguments
 * after the options, whose number must be @nr_args. Prints @help and exits on --help and
 * on errors.
 */
static inline char **cli_parse(int argc, char **argv, const char *program, const char *help,
			       const struct cli_option *options, int nr_args)
{
	struct option longs[CLI_MAX_OPTIONS + 2] = {};
	char shorts[2 * CLI_MAX_OPTIONS + 2], *s = shorts;
	int c, i, n;

	for (n = 0; options[n].name && n < CLI_MAX_OPTIONS; n++) {
		longs[n].name = options[n].name;
		longs[n].has_arg = options[n].flag ? no_argument : required_argument;
		longs[n].val = options[n].letter;
		*s++ = options[n].letter;
		if (!options[n].flag)
			*s++ = ':';
	}
	longs[n].name = "help";
	longs[n].val = 'h';
	*s++ = 'h';
	*s = 0;

	while ((c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		if (c == 'h') {
			fputs(help, stdout);
			exit(0);
		}
		for (i = 0; i < n && options[i].letter != c; i++)
			;
		if (i == n)
			break;
		cli_set(program, &options[i], optarg);
	}
	if (c == -1 && argc - optind > nr_args)
		fprintf(stderr, "%s: unexpected argument '%s'\n", program, argv[optind + nr_args]);
	if (c == -1 && argc - optind < nr_args)
		fprintf(stderr, "%s: an argument is missing\n", program);
	if (c != -1 || argc - optind != nr_args) {
		fputs(help, stderr);
		exit(2);
	}

	return argv + optind;
}

#endif
