/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A small test framework for a guest that has nothing but the kernel.
 *
 * Each TEST() registers itself and runs in a process of its own with a time
 * limit, so that a crash or a hang is the failure of one test. Results are KTAP
 * on stdout. Tests of the group nomod run before the module is loaded, all
 * others afterwards.
 */
#ifndef RUNNER_H
#define RUNNER_H

#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

struct test {
	const char *group;
	const char *name;
	const char *desc;
	void (*fn)(void);
	int seconds;
	struct test *next;
};

void test_register(struct test *t);

#define TEST_SECONDS 60

/* A test with a time limit of its own. */
#define TEST_LONG(group_, name_, seconds_, desc_)				\
	static void test_##group_##_##name_(void);				\
	__attribute__((constructor))						\
	static void test_register_##group_##_##name_(void)			\
	{									\
		static struct test t = {					\
			.group = #group_, .name = #name_, .desc = desc_,	\
			.fn = test_##group_##_##name_, .seconds = seconds_,	\
		};								\
		test_register(&t);						\
	}									\
	static void test_##group_##_##name_(void)

/* @desc says in one line what holds: subject, verb, condition. */
#define TEST(group, name, desc) TEST_LONG(group, name, TEST_SECONDS, desc)

/* Mark the running test as failed and say why. */
__attribute__((format(printf, 3, 4)))
void test_fail(const char *file, int line, const char *fmt, ...);
/* End the running test as skipped. */
__attribute__((noreturn)) void test_skip(const char *why);
bool test_failed(void);

#define SKIP(why) test_skip(why)

/* Was a test selected by its full name? */
bool test_named(const char *name);

/* These end a function that returns nothing. */
#define ASSERT(cond, ...)							\
	do {									\
		if (!(cond)) {							\
			test_fail(__FILE__, __LINE__, __VA_ARGS__);		\
			return;							\
		}								\
	} while (0)

#define ASSERT_EQ(a, b, what)							\
	do {									\
		long long a_ = (long long)(a), b_ = (long long)(b);		\
										\
		if (a_ != b_) {							\
			test_fail(__FILE__, __LINE__,				\
				  "%s: %lld (%#llx), expected %lld (%#llx)",	\
				  what, a_, a_, b_, b_);			\
			return;							\
		}								\
	} while (0)

/* A function that asserts was called; end this one too if it failed. */
#define ASSERT_OK()								\
	do {									\
		if (test_failed())						\
			return;							\
	} while (0)

static inline long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/*
 * True as soon as the condition is, false after @ms milliseconds without it. Whoever waits long
 * looks less often: what is waited for may need the CPU.
 */
#define wait_for(cond, ms)							\
	({									\
		long begin_ = now_ms(), passed_ = 0;				\
		bool ok_;							\
										\
		while (!(ok_ = !!(cond)) && passed_ < (long)(ms) * patience) {	\
			usleep(passed_ < 1000 ? 1000 : 50000);			\
			passed_ = now_ms() - begin_;				\
		}								\
		ok_;								\
	})

/* CPUs online, and the kernel's version as major * 10000 + minor. */
extern int nr_cpus;
extern int kver;
/* The module. */
extern const char *module_path;
/* Time limits are this many times as long. */
extern int patience;
/* How long a storm lasts, 0 for a short one, and what its numbers come from. */
extern int soak_minutes;
extern unsigned long long storm_seed;
/* The in-tree kfuncs may be called by programs that cannot sleep. */
#define has_intree_nonsleepable (kver >= 70000)

/* 0 or -errno. @params is what insmod would be given. */
int mod_load(const char *params);
int mod_unload(void);
bool mod_loaded(void);
/* Is the main thread of a process in a function of the module? */
bool in_module(pid_t pid);
int mod_load_file(const char *path, const char *params);
int mod_unload_name(const char *name);

/* A line of /proc/meminfo in KiB, or -1. */
long read_meminfo(const char *key);
/* Is this a kernel with PREEMPT_RT? */
bool is_rt(void);
/* Is this a kernel that proves its locking? */
bool has_lockdep(void);
bool write_file(const char *path, const char *text);

/* What the OOM killer thinks of this process. It never takes the runner. */
#define OOM_SCORE_ADJ "/proc/self/oom_score_adj"

/* NMIs on demand, and the tracepoint that they reach; see tests/kmod/nmi.c. */
#define NMI_SOURCE "/sys/module/anl_test/parameters/nmi"
#define NMI_TRACEPOINT "/sys/module/anl_test/parameters/nmi_tracepoint"

/* The tracepoint, or "none". */
const char *nmi_tracepoint(void);
/* Whether there are any. arm64 has NMIs only with ARM64_PSEUDO_NMI, which stock kernels lack. */
bool has_nmis(void);
#define NEED_NMIS()								\
	do {									\
		if (!has_nmis())						\
			SKIP("this kernel has no NMIs");			\
	} while (0)

/* One on each CPU, done on return. */
bool send_nmis(void);

/* Let them run a program of type raw_tp. */
struct bpf_program;
struct bpf_link *attach_nmis(struct bpf_program *prog);

/* Contents of a small file in a static buffer, or NULL. */
char *read_file(const char *path);

/* The kernel log from now on, and what has come since then. */
long klog_mark(void);
const char *klog_since(long mark);

bool pin_cpu(int cpu);

/* For a thread: calls getppid(), which programs are attached to, until the bool @stop is set. */
void *call_getppid(void *stop);

/*
 * No CPU idles from now on in this test: one that polls in its idle loop runs the
 * functions that another CPU sends without an interrupt.
 */
void keep_busy(void);

#endif
