// SPDX-License-Identifier: GPL-2.0
/*
 * Programs of others that use arenas, from the kernel's own sources; see tests/clients. Each
 * is in /clients of the guest twice: as it is, on the stock arena, and ported to the module,
 * with nothing changed but the names of the kfuncs. Both must do the same.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "load.h"
#include "program.h"
#include "runner.h"
#include "scx.h"

#define DIR "/clients/"

static const char *const variants[] = { "stock", "module" };
#define MODULE 1

static const char *client(const char *name, int variant)
{
	static char path[64];

	snprintf(path, sizeof(path), DIR "%s.%s", name, variants[variant]);

	return path;
}

static void need_clients(void)
{
	NEED_SCX(scx_queues_unfit);
	if (access(DIR, F_OK))
		SKIP("they are not in this guest: make test-all has one with them, and --test 'clients.*'");
}

/*
 * Schedulers
 */

/* What the scheduler said at its end, if it was not ended by its user. */
static bool ended_well(void)
{
	const char *exit = strstr(program_output(), "EXIT: "), *last = exit;

	for (; exit; exit = strstr(exit + 1, "EXIT: ")) {
		if (strncmp(exit, "EXIT: unregistered", 18))
			return false;
		last = exit;
	}

	return last && strstr(last, "from user space");
}

/*
 * Loading takes a minute of CPU time on a kernel with KASAN, under emulation, and there may be
 * one CPU for all tasks.
 */
#define LOAD_MS 100000

/* A CPU goes and comes. Schedulers that know no hotplug start again then. */
static void hotplug(void)
{
	ASSERT(cpu1_online(false), "offline: %s", strerror(errno));
	ASSERT(wait_for(scx_state_is("enabled"), LOAD_MS), "offline: %s", program_output());
	ASSERT(cpu1_online(true), "online: %s", strerror(errno));
	ASSERT(wait_for(scx_state_is("enabled"), LOAD_MS), "online: %s", program_output());
}

static void run_under_load(int ms, bool plug)
{
	struct load l;
	long forks;

	ASSERT(load_start(&l), "load");
	load_run(&l, ms);
	if (plug && nr_cpus > 1) {
		/* The programs are loaded again, on one CPU of two. */
		load_calm(&l);
		hotplug();
	}
	forks = load_stop(&l);
	ASSERT_OK();
	printf("# %ld forks, the state is %s", forks, read_file(SCX_STATE));
	ASSERT(forks * patience > 50, "%ld forks", forks);
	ASSERT(scx_state_is("enabled"), "%s", program_output());
}

/* Skips the test where the kernel has no such scheduler. */
static void await_enabled(const char *name, int variant)
{
	bool refused;

	ASSERT(wait_for((refused = strstr(program_output(), "EOPNOTSUPP")) ||
			scx_state_is("enabled"), LOAD_MS), "%s.%s: %s", name, variants[variant],
	       program_output());
	if (refused && is_rt())
		SKIP("this kernel refuses its programs with PREEMPT_RT");
	ASSERT(!refused, "%s.%s: %s", name, variants[variant], program_output());
}

static void check_adopted(int variant, int arenas)
{
	if (variant == MODULE && !test_failed())
		ASSERT_EQ(adopted_arenas(), arenas, "adopted arenas");
}

/* Enabled, used and disabled, twice. @opt is an option with the value 1, or NULL. */
static void run_scheduler(const char *name, int variant, const char *opt)
{
	int i;

	for (i = 0; i < 2; i++) {
		pid_t pid = program_start(client(name, variant), opt, "1");

		await_enabled(name, variant);
		ASSERT_OK();
		run_under_load(3000, !i);
		check_adopted(variant, 1);
		kill(pid, SIGINT);
		ASSERT_EQ(program_end(pid), 0, program_output());
		ASSERT(ended_well(), "%s", program_output());
		ASSERT_OK();
		ASSERT(wait_for(scx_state_is("disabled"), 10000), "it stays enabled");
	}
}

static void run_both(const char *name, const char *opt)
{
	int i;

	need_clients();
	for (i = 0; i < 2; i++) {
		run_scheduler(name, i, opt);
		if (test_failed())
			printf("# on %s\n", variants[i]);
		ASSERT_OK();
	}
}

TEST_LONG(clients, scx_sdt, 480, "scx_sdt schedules storms of forks, moves and hotplug, twice, on either arena")
{
	run_both("scx_sdt", NULL);
}

TEST_LONG(clients, scx_qmap, 480, "scx_qmap of the cid form schedules storms of forks, moves and hotplug, twice, on either arena")
{
	run_both("scx_qmap", "-i");
}

/*
 * A scheduler below another one, each with an arena of its own. It comes and goes under load. On
 * a debug kernel it comes without: loading it takes minutes anyway.
 */
static void run_below(int variant)
{
	pid_t root, below;
	struct load l;
	int i;

	root = program_start(client("scx_qmap", variant), "-i", "1");
	await_enabled("scx_qmap", variant);
	ASSERT_OK();
	ASSERT(load_start(&l), "load: %s", strerror(errno));
	for (i = 0; i < 2; i++) {
		load_pause(&l, patience > 1);
		below = program_start(client("scx_qmap", variant), "-i", "1", "-c",
				      "/sys/fs/cgroup/load_a");
		ASSERT(wait_for(strstr(program_output(), "stats "), LOAD_MS), "%s", program_output());
		load_pause(&l, false);
		load_run(&l, 2000);
		check_adopted(variant, 2);
		kill(below, SIGINT);
		ASSERT_EQ(program_end(below), 0, program_output());
		ASSERT(ended_well(), "%s", program_output());
		ASSERT_OK();
		ASSERT(scx_state_is("enabled"), "the upper scheduler has ended");
	}
	load_stop(&l);
	kill(root, SIGINT);
	ASSERT_EQ(program_end(root), 0, "end of the upper scheduler");
	ASSERT(wait_for(scx_state_is("disabled"), 10000), "it stays enabled");
}

TEST_LONG(clients, scx_qmap_below, 480, "scx_qmap schedules a cgroup below another scx_qmap, on either arena")
{
	int i;

	need_clients();
	for (i = 0; i < 2; i++) {
		run_below(i);
		if (test_failed())
			printf("# on %s\n", variants[i]);
		ASSERT_OK();
	}
}

/*
 * Tests of arenas that the kernel has: each program of an object returns a number.
 */

/* Lines of the output that end with @end. */
static int lines(const char *text, const char *end)
{
	size_t len = strlen(end);
	int n = 0;

	for (; (text = strchr(text, '\n')); text++)
		n += !strncmp(text - len, end, len);

	return n;
}

static void run_object(const char *how, const char *name, int variant)
{
	ASSERT_EQ(program_run(DIR "run_object", how, client(name, variant)), 0, program_output());
}

/*
 * The same line, or one that says that what fails on the stock arena works on the module. The
 * library's parallel tests wait for a number of rounds and give up then, with -EINVAL. On a debug
 * kernel any of them may do that, on either arena.
 */
static bool no_worse(const char *stock, const char *module)
{
	const char *value = strstr(stock, ": ");
	size_t len = value ? value - stock : 0;

	if (!strcmp(stock, module))
		return true;
	if (!value || strncmp(stock, module, len))
		return false;

	return (value[2] == '-' && !strcmp(module + len, ": 0")) ||
	       (patience > 1 && !strncmp(stock, "parallel_", 9));
}

static void compare_output(const char *on_stock, const char *on_module)
{
	char *stock = strdup(on_stock), *module = strdup(on_module), *at[2], *s, *m;

	s = strtok_r(stock, "\n", &at[0]);
	m = strtok_r(module, "\n", &at[1]);
	while (s && m && no_worse(s, m)) {
		if (strcmp(s, m))
			printf("# differs: on the stock arena %s, on the module %s\n", s, m);
		s = strtok_r(NULL, "\n", &at[0]);
		m = strtok_r(NULL, "\n", &at[1]);
	}
	ASSERT(!s && !m, "on stock:\n%son the module:\n%s", on_stock, on_module);
	free(stock);
	free(module);
}

/* The same on both; at least so many programs say that it works. */
static void compare(const char *how, const char *name, int least)
{
	const char *line;
	char *stock;

	need_clients();
	run_object(how, name, 0);
	ASSERT_OK();
	stock = strdup(program_output());
	run_object(how, name, MODULE);
	ASSERT_OK();
	compare_output(stock, program_output());
	ASSERT_OK();
	ASSERT(lines(stock, ": 0") >= least, "%s", stock);
	printf("# %d programs, %d return 0", lines(stock, ""), lines(stock, ": 0"));
	for (line = strtok(stock, "\n"); line; line = strtok(NULL, "\n"))
		if (strcmp(line + strlen(line) - 3, ": 0"))
			printf("; %s", line);
	printf("\n");
}

TEST_LONG(clients, verifier_arena, 120, "each program of the kernel's test verifier_arena has the same result on either arena")
{
	compare("each", "verifier_arena.bpf.o", 15);
}

TEST_LONG(clients, verifier_arena_large, 120, "each program of the kernel's test verifier_arena_large has the same result on either arena")
{
	compare("each", "verifier_arena_large.bpf.o", 5);
}

TEST_LONG(clients, arena_htab, 120, "the kernel's hash table in an arena works on either arena")
{
	compare("each", "arena_htab.bpf.o", 1);
}

TEST_LONG(clients, libarena, 240, "the tests of the kernel's arena library have the same results on either arena")
{
	compare("library", "libarena.bpf.o", 35);
}
