// SPDX-License-Identifier: GPL-2.0
/*
 * The test runner: see runner.h. It runs as root in a guest; the host reads its
 * KTAP and the kernel log.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <bpf/libbpf.h>

#include "oracle.h"
#include "runner.h"

enum result { PASS, FAIL, SKIPPED };

/* What a test's process tells the runner. */
struct report {
	enum result result;
	char why[256];
};

int nr_cpus;
int kver;

static struct test *tests, **tests_end = &tests;
static struct report *report;
static const char *globs[64], *skips[16];
static int nr_globs, nr_skips;
static int results[3];
static int test_nr;
static bool debug;
int patience = 1;
const char *module_path;
int soak_minutes;
unsigned long long storm_seed;

void test_register(struct test *t)
{
	*tests_end = t;
	tests_end = &t->next;
}

void test_fail(const char *file, int line, const char *fmt, ...)
{
	const char *base = strrchr(file, '/');
	va_list ap;

	report->result = FAIL;
	printf("# %s:%d: ", base ? base + 1 : file, line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

bool test_failed(void)
{
	return report->result == FAIL;
}

void test_skip(const char *why)
{
	if (report->result != FAIL)
		report->result = SKIPPED;
	snprintf(report->why, sizeof(report->why), "%s", why);
	exit(0);
}

int mod_load_file(const char *path, const char *params)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = syscall(SYS_finit_module, fd, params ? params : "", 0) ? -errno : 0;
	close(fd);

	return err;
}

int mod_unload_name(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

int mod_load(const char *params)
{
	return mod_load_file(module_path, params);
}

int mod_unload(void)
{
	return mod_unload_name("arena_nolock");
}

bool mod_loaded(void)
{
	return !access("/sys/module/arena_nolock", F_OK);
}

bool in_module(pid_t pid)
{
	char path[64];
	const char *stack;

	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	stack = read_file(path);

	return stack && strstr(stack, "[arena_nolock]");
}

char *read_file(const char *path)
{
	static char buf[1 << 16];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return NULL;
	while (len < sizeof(buf) - 1 && (n = read(fd, buf + len, sizeof(buf) - 1 - len)) > 0)
		len += n;
	close(fd);
	buf[len] = 0;

	return buf;
}

bool is_rt(void)
{
	struct utsname uts;

	return !uname(&uts) && strstr(uts.version, "PREEMPT_RT");
}

#define LOCKDEP "/proc/lockdep_stats"

bool has_lockdep(void)
{
	return !access(LOCKDEP, F_OK);
}

bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	return !close(fd) && ok;
}

const char *nmi_tracepoint(void)
{
	char *name = read_file(NMI_TRACEPOINT);

	if (name)
		name[strcspn(name, "\n")] = 0;

	return name ?: "none";
}

bool has_nmis(void)
{
	return strcmp(nmi_tracepoint(), "none");
}

struct bpf_link *attach_nmis(struct bpf_program *prog)
{
	return bpf_program__attach_raw_tracepoint(prog, nmi_tracepoint());
}

bool send_nmis(void)
{
	return write_file(NMI_SOURCE, "-1");
}

long read_meminfo(const char *key)
{
	const char *p = read_file("/proc/meminfo");
	size_t len = strlen(key);

	for (; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
		if (!strncmp(p, key, len) && p[len] == ':')
			return atol(p + len + 1);

	return -1;
}

/* Pass over the log: the last record's number, and the texts after @mark. */
static long klog_read(long mark, char *buf, size_t size)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char rec[8192];
	size_t len = 0;
	long last = 0;
	ssize_t n;

	if (fd < 0)
		return 0;
	while ((n = read(fd, rec, sizeof(rec) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		char *text;

		if (n < 0)
			continue;
		rec[n] = 0;
		text = strchr(rec, ',');
		last = text ? atol(text + 1) : last;
		text = strchr(rec, ';');
		if (buf && text && last > mark && len + n < size)
			len += sprintf(buf + len, "%s", text + 1);
	}
	close(fd);

	return last;
}

long klog_mark(void)
{
	return klog_read(0, NULL, 0);
}

const char *klog_since(long mark)
{
	static char buf[1 << 20];

	buf[0] = 0;
	klog_read(mark, buf, sizeof(buf));

	return buf;
}

bool pin_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);

	return !sched_setaffinity(0, sizeof(set), &set);
}

void *call_getppid(void *stop)
{
	while (!__atomic_load_n((bool *)stop, __ATOMIC_RELAXED))
		syscall(SYS_getppid);

	return NULL;
}

void keep_busy(void)
{
	int cpu;

	for (cpu = 0; cpu < nr_cpus; cpu++) {
		if (fork())
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pin_cpu(cpu);
		setpriority(PRIO_PROCESS, 0, 19);
		for (;;)
			getppid();
	}
}

static int libbpf_log(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	if (level == LIBBPF_DEBUG && !debug)
		return 0;
	printf("# ");

	return vprintf(fmt, ap);
}

static bool selected(const struct test *t)
{
	char full[256];
	int i;

	snprintf(full, sizeof(full), "%s.%s", t->group, t->name);
	for (i = 0; i < nr_skips; i++)
		if (!fnmatch(skips[i], full, 0))
			return false;
	for (i = 0; i < nr_globs; i++)
		if (!fnmatch(globs[i], full, 0))
			return true;

	return !nr_globs;
}

bool test_named(const char *name)
{
	int i;

	for (i = 0; i < nr_globs; i++)
		if (!strcmp(globs[i], name))
			return true;

	return false;
}

static void print_result(const char *group, const char *name, const char *desc)
{
	enum result r = report->result;

	results[r]++;
	printf("%s %d %s.%s", r == FAIL ? "not ok" : "ok", ++test_nr, group, name);
	if (r == SKIPPED)
		printf(" # SKIP %s", report->why);
	else if (r == FAIL)
		printf("\n# %s.%s: what should hold: %s", group, name, desc);
	printf("\n");
}

/* Run a test in a process group of its own; whatever it leaves is killed. */
static void run_test(struct test *t)
{
	int seconds = t->seconds * patience + soak_minutes * 60;
	long start = now_ms(), limit = start + seconds * 1000L;
	int status = 0;
	pid_t pid;

	memset(report, 0, sizeof(*report));
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		write_file(OOM_SCORE_ADJ, "0");
		t->fn();
		if (!test_failed())
			oracle_check();
		exit(0);
	}
	setpgid(pid, pid);
	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (now_ms() > limit) {
			test_fail(__FILE__, __LINE__, "%s.%s: no end after %d s",
				  t->group, t->name, seconds);
			kill(-pid, SIGKILL);
			waitpid(pid, &status, 0);
			break;
		}
		usleep(2000);
	}
	kill(-pid, SIGKILL);
	if (report->result != FAIL && WIFSIGNALED(status))
		test_fail(__FILE__, __LINE__, "%s.%s: killed by signal %d (%s)", t->group,
			  t->name, WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (report->result != FAIL && WEXITSTATUS(status))
		test_fail(__FILE__, __LINE__, "%s.%s: exit code %d", t->group, t->name,
			  WEXITSTATUS(status));
	printf("# %s.%s: %ld ms\n", t->group, t->name, now_ms() - start);
	print_result(t->group, t->name, t->desc);
}

static void run_tests(bool nomod)
{
	struct test *t;

	for (t = tests; t; t = t->next)
		if (selected(t) && !strcmp(t->group, "nomod") == nomod)
			run_test(t);
}

static void load_module(void)
{
	int err;

	memset(report, 0, sizeof(*report));
	err = mod_load("");
	if (err)
		test_fail(__FILE__, __LINE__, "%s: %s", module_path, strerror(-err));
	print_result("load", "module", "insmod works");

	memset(report, 0, sizeof(*report));
	err = mod_load_file("/anl_test.ko", "");
	if (err)
		test_fail(__FILE__, __LINE__, "/anl_test.ko: %s", strerror(-err));
	print_result("load", "oracle", "insmod works for the test module with the oracle");
}

/* A worker frees maps, so their references end a little later. */
static void unload_module(void)
{
	int err = 0;

	memset(report, 0, sizeof(*report));
	if (!wait_for(!(err = mod_unload()), 10000))
		test_fail(__FILE__, __LINE__, "rmmod: %s, references: %s", strerror(-err),
			  read_file("/sys/module/arena_nolock/refcnt"));
	print_result("unload", "module", "rmmod works when the module is not in use");
}

/* Functions of a removed module have no names. */
static bool module_leaks(const char *leaks)
{
	return strstr(leaks, "anl_") || strstr(leaks, "arena_nolock") || strstr(leaks, "\n    0x");
}

/*
 * Memory without a reference, on kernels with kmemleak. The first scan may report
 * objects that are about to be freed, so only the second one counts.
 */
static void check_leaks(void)
{
	static const char file[] = "/sys/kernel/debug/kmemleak";
	const char *p;

	memset(report, 0, sizeof(*report));
	if (access(file, F_OK)) {
		report->result = SKIPPED;
		snprintf(report->why, sizeof(report->why), "this kernel has no kmemleak");
	} else {
		write_file(file, "scan");
		sleep(6);
		write_file(file, "scan");
		p = read_file(file);
		if (!p)
			test_fail(__FILE__, __LINE__, "cannot read %s", file);
		else if (module_leaks(p))
			test_fail(__FILE__, __LINE__, "kmemleak:\n%s", p);
	}
	print_result("unload", "no_leaks", "kmemleak finds no memory that the module leaked");
}

/* Lockdep switches itself off after its first report, about any code. */
static void check_lockdep(void)
{
	const char *p = read_file(LOCKDEP);
	int on = 0;

	memset(report, 0, sizeof(*report));
	p = p ? strstr(p, "debug_locks:") : NULL;
	if (!p || sscanf(p, "debug_locks: %d", &on) != 1 || !on)
		test_fail(__FILE__, __LINE__, "lockdep has switched itself off");
	print_result("unload", "lockdep", "lockdep was active until the end");
}

static void usage(const char *self)
{
	printf("usage: %s --module FILE [--test GLOB]... [--skip GLOB]...\n"
	       "       [--list] [--slow N] [--minutes N] [--seed N] [--debug]\n"
	       "  --module  arena_nolock.ko, loaded after the tests of group nomod\n"
	       "  --test    only tests whose group.name matches\n"
	       "  --skip    and does not match\n"
	       "  --list    names and descriptions, nothing is run\n"
	       "  --slow    time limits are N times as long\n"
	       "  --minutes how long a storm lasts (default: some seconds)\n"
	       "  --seed    where its numbers come from (default: the clock)\n"
	       "  --debug   all that libbpf says\n", self);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "module", required_argument, NULL, 'm' },
		{ "test", required_argument, NULL, 't' },
		{ "skip", required_argument, NULL, 'x' },
		{ "list", no_argument, NULL, 'l' },
		{ "slow", required_argument, NULL, 's' },
		{ "minutes", required_argument, NULL, 'M' },
		{ "seed", required_argument, NULL, 'S' },
		{ "debug", no_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	bool list = false, with_module = false;
	int opt, minor = 0, count = 0;
	struct utsname uts;
	struct test *t;

	setvbuf(stdout, NULL, _IONBF, 0);
	while ((opt = getopt_long(argc, argv, "m:t:x:ls:M:S:dh", options, NULL)) != -1) {
		switch (opt) {
		case 'm':
			module_path = optarg;
			break;
		case 't':
			if (nr_globs < 64)
				globs[nr_globs++] = optarg;
			break;
		case 'x':
			if (nr_skips < 16)
				skips[nr_skips++] = optarg;
			break;
		case 'l':
			list = true;
			break;
		case 's':
			patience = atoi(optarg);
			break;
		case 'M':
			soak_minutes = atoi(optarg);
			break;
		case 'S':
			storm_seed = strtoull(optarg, NULL, 0);
			break;
		case 'd':
			debug = true;
			break;
		default:
			usage(argv[0]);
			return opt == 'h' ? 0 : 2;
		}
	}

	for (t = tests; t; t = t->next) {
		if (!selected(t))
			continue;
		if (list)
			printf("%s.%s: %s\n", t->group, t->name, t->desc);
		with_module |= !!strcmp(t->group, "nomod");
		count++;
	}
	if (list)
		return 0;
	if (!storm_seed)
		storm_seed = time(NULL);
	if (!module_path) {
		usage(argv[0]);
		return 2;
	}

	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED)
		return 1;
	uname(&uts);
	sscanf(uts.release, "%d.%d", &kver, &minor);
	kver = kver * 10000 + minor;
	nr_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	libbpf_set_print(libbpf_log);
	write_file(OOM_SCORE_ADJ, "-1000");

	printf("KTAP version 1\n1..%d\n", count + (with_module ? 4 + has_lockdep() : 0));
	run_tests(true);
	if (with_module) {
		load_module();
		run_tests(false);
		unload_module();
		check_leaks();
		if (has_lockdep())
			check_lockdep();
	}
	printf("# Totals: pass:%d fail:%d skip:%d\n", results[PASS], results[FAIL],
	       results[SKIPPED]);

	return results[FAIL] ? 1 : 0;
}
