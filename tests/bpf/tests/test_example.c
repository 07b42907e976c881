// SPDX-License-Identifier: GPL-2.0
/*
 * The examples, run as a user runs them. They are in /examples of the guest.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "load.h"
#include "program.h"
#include "runner.h"
#include "scx.h"

#define DIR "/examples/"

#define REQUIRE(name)								\
	do {									\
		if (access(DIR name, X_OK))					\
			SKIP("was not built");					\
	} while (0)

/* The table of flows is in a heap. */
#define REQUIRE_FLOWS()								\
	do {									\
		REQUIRE("flows");						\
		if (sysconf(_SC_PAGESIZE) != 4096)				\
			SKIP("the heap needs pages of 4096 bytes");		\
	} while (0)

TEST(example, help, "each example prints its usage and refuses unknown arguments")
{
	static const char *const names[] = { "count", "stackprof", "flows", "scx_arena" };
	char path[64], bad[] = "--no-such-option";
	size_t i;

	REQUIRE("count");
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), DIR "%s", names[i]);
		if (access(path, X_OK))
			continue;
		ASSERT_EQ(program_run(path, "--help"), 0, path);
		ASSERT(strstr(program_output(), "usage: ") && strstr(program_output(), names[i]), "%s: %s", path,
		       program_output());
		if (!i)
			continue;
		ASSERT_EQ(program_run(path, bad), 2, path);
		ASSERT(strstr(program_output(), "usage: "), "%s: %s", path, program_output());
		ASSERT_EQ(program_run(path, "-d", "0", "-i", "0"), 2, path);
		ASSERT_EQ(program_run(path, "one", "two"), 2, path);
		ASSERT(strstr(program_output(), "unexpected argument"), "%s: %s", path,
		       program_output());
	}
	ASSERT_EQ(program_run(DIR "flows", "nosuchif"), 2, "flows with an unknown interface");
	ASSERT(strstr(program_output(), "there is no interface 'nosuchif'"), "%s", program_output());
	ASSERT_EQ(program_run(DIR "flows", "-c", "-18446744073709551615", "lo"), 2, "a sign");
	ASSERT_EQ(program_run(DIR "flows", "-c", " 1", "lo"), 2, "a space");
	ASSERT_EQ(program_run(DIR "flows", "-c", "1x", "lo"), 2, "a letter");
	ASSERT_EQ(program_run(DIR "flows"), 2, "flows without an interface");
	ASSERT(strstr(program_output(), "argument is missing"), "%s", program_output());
	ASSERT_EQ(program_run(DIR "stackprof", "-p", "4194303"), 2, "no such process");
	ASSERT_EQ(program_run(DIR "stackprof", "-n", "-F", "50"), 2, "a frequency of NMIs");
}

TEST(example, count, "the README's program counts context switches in a page that it allocates in one")
{
	long n = 0;
	pid_t pid;

	REQUIRE("count");
	pid = program_start(DIR "count");
	ASSERT(wait_for((n = program_number(" context switches")) > 0, 20000), "no count: %s",
	       program_output());
	ASSERT(wait_for(program_number(" context switches") > n, 20000), "stays at %ld", n);
	kill(pid, SIGTERM);
	ASSERT_EQ(program_end(pid), 128 + SIGTERM, "end");
}

/* Lines of "name;frame;frame... count": their number, and the sum of the counts. */
static long sum_of_stacks(long *lines)
{
	char *text = strdup(program_output()), *line, *space;
	long sum = 0;

	*lines = 0;
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		space = strrchr(line, ' ');
		if (!space || !strchr(line, ';') || atol(space) <= 0)
			continue;
		sum += atol(space);
		(*lines)++;
	}
	free(text);

	return sum;
}

static void check_profile(long at_least)
{
	long lines, sum = sum_of_stacks(&lines), samples = program_number(" samples, ");

	ASSERT(samples >= at_least, "%ld samples: %.200s", samples, program_output());
	ASSERT_EQ(program_number(" samples lost"), 0, "samples lost");
	ASSERT_EQ(sum, samples, "sum of the stacks' counts");
	ASSERT_EQ(program_number(" stacks in"), lines, "stacks");
	ASSERT(lines > 1, "%ld stacks", lines);
}

TEST(example, stackprof, "the counts of the profiler's stacks add up to its samples")
{
	pid_t pid;

	REQUIRE("stackprof");
	pid = program_start(DIR "stackprof", "-d", "1", "-F", "200", "-u");
	ASSERT_EQ(program_end(pid), 0, program_output());
	check_profile(10);
}

TEST(example, stackprof_user, "the profiler counts samples in user space as [user] if it records no user stacks")
{
	pid_t pid;

	REQUIRE("stackprof");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			;
	}
	ASSERT(pid > 0, "fork");
	ASSERT_EQ(program_run(DIR "stackprof", "-d", "1", "-F", "200"), 0, program_output());
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	check_profile(10);
	ASSERT(strstr(program_output(), ";[user] "), "no sample in user space: %.500s", program_output());
}

TEST(example, stackprof_nmi, "the profiler's table grows in NMIs")
{
	long sent = 0;
	pid_t pid;

	REQUIRE("stackprof");
	NEED_NMIS();
	if (strcmp(nmi_tracepoint(), "nmi_handler"))
		SKIP("stackprof --nmi is for x86, whose NMIs reach the tracepoint nmi_handler");
	pid = program_start(DIR "stackprof", "--nmi", "--duration", "2");
	ASSERT(wait_for(strstr(program_output(), "sampling"), 30000), "%s", program_output());
	while (!waitpid(pid, NULL, WNOHANG)) {
		ASSERT(send_nmis(), "NMIs: %s", strerror(errno));
		sent++;
		usleep(2000);
	}
	printf("# %ld times an NMI to each CPU: %ld samples\n", sent, program_number(" samples, "));
	check_profile(10);
	ASSERT(strstr(program_output(), "nmi"), "no NMI in the stacks: %.500s", program_output());
}

static void send_packets(int family, int first, int flows, int packets)
{
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT,
				    .sin6_port = htons(9) };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 from6 = to6;
	struct sockaddr_in from = to;
	int i, k, fd;

	for (i = 0; i < flows; i++) {
		fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		ASSERT(fd >= 0, "socket: %s", strerror(errno));
		from.sin_port = from6.sin6_port = htons(first + i);
		ASSERT(!bind(fd, family == AF_INET ? (void *)&from : (void *)&from6,
			     family == AF_INET ? sizeof(from) : sizeof(from6)),
		       "bind: %s", strerror(errno));
		for (k = 0; k < packets; k++)
			sendto(fd, "1234567", 8, 0, family == AF_INET ? (void *)&to : (void *)&to6,
			       family == AF_INET ? sizeof(to) : sizeof(to6));
		close(fd);
	}
}

static bool line_with(const char *what, const char *also)
{
	char *text = strdup(program_output()), *line;
	bool found = false;

	for (line = strtok(text, "\n"); line && !found; line = strtok(NULL, "\n"))
		found = strstr(line, what) && strstr(line, also);
	free(text);

	return found;
}

TEST_LONG(example, flows, 120,
	  "the flow table has each flow of an interface and counts its packets")
{
	pid_t pid;

	REQUIRE_FLOWS();
	pid = program_start(DIR "flows", "-i", "1", "-n", "4000", "lo");
	ASSERT(wait_for(program_number(" flows in") >= 0, 30000), "%s", program_output());
	send_packets(AF_INET, 20000, 300, 3);
	ASSERT_OK();
	/* Each packet is 8 bytes of data, 42 of headers. No socket listens, so ICMP errors follow. */
	ASSERT(wait_for(line_with("127.0.0.1:20299 ", "          3          150"), 20000),
	       "flow 299: %.1500s", program_output());
	ASSERT(line_with("udp ", "127.0.0.1:20299 ") && line_with("icmp ", "127.0.0.1:0 "),
	       "names of protocols: %.1500s", program_output());
	ASSERT(program_number(" flows in") >= 300, "%ld flows", program_number(" flows in"));
	ASSERT_EQ(program_number(" not counted"), 0, "packets not counted");
	if (!access("/proc/net/if_inet6", F_OK)) {
		send_packets(AF_INET6, 30000, 10, 2);
		ASSERT_OK();
		ASSERT(wait_for(line_with("[::1]:30009 ", "          2          140"), 20000),
		       "flow 9 of IPv6: %.1500s", program_output());
	}
	kill(pid, SIGINT);
	ASSERT_EQ(program_end(pid), 0, "end");
}

/* In 131072 buckets, some 70 of the second 3000 flows meet one of the first. */
#define FLOWS 3000

TEST_LONG(example, flows_idle, 120, "new flows replace idle flows of the table")
{
	long flows, before, reused;
	pid_t pid;

	REQUIRE_FLOWS();
	if (patience > 1)
		SKIP("thousands of sockets take too long on this kernel");
	pid = program_start(DIR "flows", "-i", "1", "-n", "1", "-t", "1", "lo");
	ASSERT(wait_for(program_number(" flows in") >= 0, 30000), "%s", program_output());
	send_packets(AF_INET, 10000, FLOWS, 1);
	ASSERT_OK();
	/* On a slow machine the first are idle when the last come. */
	ASSERT(wait_for((flows = program_number(" flows in"),
			 before = program_number(" taken over"), flows + before >= FLOWS), 20000),
	       "%ld flows, %ld taken over", flows, before);
	usleep(1500000);
	send_packets(AF_INET, 20000, FLOWS, 1);
	ASSERT_OK();
	/* A CPU may be preempted in the middle: then a flow is there twice. */
	ASSERT(wait_for((flows = program_number(" flows in"),
			 reused = program_number(" taken over"), flows + reused >= 2 * FLOWS), 20000),
	       "%ld flows, %ld taken over", flows, reused);
	ASSERT(reused - before > 20, "%ld of %d taken over", reused - before, FLOWS);
	ASSERT_EQ(program_number(" not counted"), 0, "packets not counted");
	kill(pid, SIGINT);
	ASSERT_EQ(program_end(pid), 0, "end");
}

/* Tasks come and go while the scheduler runs. @where says whose arena it uses. */
static void run_scx(const char *where)
{
	long end, forks, without;
	pid_t pid, busy;
	struct load l;
	char key[32];

	busy = fork();
	if (!busy)
		for (;;)
			getppid();
	pid = program_start(DIR "scx_arena", "-i", "1");
	snprintf(key, sizeof(key), "%8d ", busy);
	ASSERT(wait_for(line_with(key, "runner"), 30000), "the busy task is not shown: %.800s",
	       program_output());
	ASSERT(scx_state_is("enabled"), "state: %s", read_file(SCX_STATE) ?: "unknown");
	ASSERT(load_start(&l), "load");
	for (end = now_ms() + 2000 * patience; now_ms() < end;)
		usleep(20000);
	forks = load_stop(&l);
	/* A table that was begun after the last fork. */
	usleep(2500000);
	without = program_number(" scheduled without memory");
	kill(pid, SIGINT);
	ASSERT_EQ(program_end(pid), 0, program_output());
	ASSERT(scx_state_is("disabled"), "state afterwards: %s", read_file(SCX_STATE) ?: "unknown");
	kill(busy, SIGKILL);
	program_end(busy);
	ASSERT(strstr(program_output(), where), "%.80s", program_output());
	printf("# %ld forks, tasks were scheduled without memory %ld times; %.60s\n", forks,
	       without, program_output());
	if (strstr(where, "arena_nolock"))
		ASSERT_EQ(without, 0, "tasks without memory");
}

TEST_LONG(example, scx, 120, "the scheduler runs all tasks and shows those that run most")
{
	NEED_SCX(scx_queues_unfit);
	REQUIRE("scx_arena");
	run_scx("pages from arena_nolock");
}

TEST_LONG(nomod, scx, 120, "the scheduler runs all tasks on the kernel's own arena, whatever that loses")
{
	NEED_SCX(scx_queues_unfit);
	REQUIRE("scx_arena");
	run_scx("pages from the kernel's own arena");
}

TEST(nomod, examples, "on 7.x the examples work without the module, on the kernel's own arena")
{
	if (!has_intree_nonsleepable)
		SKIP("the kernel's own kfuncs may sleep");
	if (is_rt())
		SKIP("the kernel's own arena has no pages for interrupts with PREEMPT_RT");
	REQUIRE("stackprof");
	ASSERT_EQ(program_run(DIR "stackprof", "-d", "1"), 0, program_output());
	check_profile(5);
}
