// SPDX-License-Identifier: GPL-2.0
/*
 * One BPF object with the module and without it:
 *
 *	kernel		without the module		with it
 *	6.12		refused, with a reason		works, module
 *	7.x		works, the kernel's kfuncs	works, module
 *
 * The group nomod runs before the module is loaded.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>
#include <sys/syscall.h>

#include "log.h"
#include "portable.h"
#include "runner.h"
#include "portable.skel.h"

static void run_once(struct portable_bpf *skel, struct bpf_program *sleepable, int where)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	struct portable_result *res = &skel->bss->res;
	__u32 runs = res->runs[where];
	char *base = (char *)skel->bss->reserve_at - (PORTABLE_PAGES - 1) * sysconf(_SC_PAGESIZE);

	if (sleepable)
		ASSERT(!bpf_prog_test_run_opts(bpf_program__fd(sleepable), &opts), "run");
	else
		syscall(PORTABLE_SYSCALL, 0);
	ASSERT_EQ(res->runs[where], runs + 1, "runs");
	ASSERT_EQ(res->failed, 0, "failed allocations");
	ASSERT_EQ(res->dirty, 0, "pages that were not zero");
	ASSERT_EQ(res->reserved, 0, "reserve");
	ASSERT_EQ(res->reserved_again, -EBUSY, "reserve again");
	ASSERT((char *)res->page >= base && (char *)res->page < base + PORTABLE_PAGES * sysconf(_SC_PAGESIZE),
	       "page %#llx outside of the arena at %p", (unsigned long long)res->page, base);
	ASSERT(*(__u64 *)res->page == PORTABLE_MARK + where, "user space reads %#llx",
	       (unsigned long long)*(__u64 *)res->page);
	ASSERT(!bpf_prog_test_run_opts(bpf_program__fd(skel->progs.portable_free), &opts), "free");
}

/* The object loads and works, and it is known through what. */
static void works(bool module)
{
	struct portable_bpf *skel = portable_bpf__open_and_load();
	size_t size;
	int i;

	ASSERT(skel, "load");
	skel->bss->reserve_at = (__u64)bpf_map__initial_value(skel->maps.arena, &size) +
				(PORTABLE_PAGES - 1) * sysconf(_SC_PAGESIZE);
	skel->bss->tgid = getpid();
	for (i = 0; i < 5; i++) {
		run_once(skel, skel->progs.portable_sleepable, 0);
		ASSERT_OK();
	}
	ASSERT(!portable_bpf__attach(skel), "attach");
	/* A free that is queued may leave the reservation in place for a moment. */
	for (i = 0; i < 5; i++, usleep(50 * 1000)) {
		run_once(skel, NULL, 1);
		ASSERT_OK();
	}
	ASSERT_EQ(skel->bss->res.module, module, "arena_nolock_available()");
	portable_bpf__destroy(skel);
}

/* Of arenas at a multiple of 4 GiB and elsewhere; the first page is what can look like NULL. */
static void guard(__u64 base, int first, int again, __u64 page)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	struct portable_bpf *skel = portable_bpf__open();

	ASSERT(skel && !bpf_map__set_map_extra(skel->maps.arena, base) &&
	       !portable_bpf__load(skel), "load");
	ASSERT(!bpf_prog_test_run_opts(bpf_program__fd(skel->progs.portable_guard), &opts), "guard");
	ASSERT_EQ(skel->bss->res.guard, first, "guard");
	ASSERT_EQ(skel->bss->res.guard_again, again, "guard again");
	ASSERT(!bpf_prog_test_run_opts(bpf_program__fd(skel->progs.portable_sleepable), &opts), "run");
	ASSERT_EQ(skel->bss->res.failed, 0, "failed allocations");
	ASSERT_EQ(skel->bss->res.page, page, "the first page that is allocated");
	portable_bpf__destroy(skel);
}

static void guards(void)
{
	guard(0x100000000000, 0, -EBUSY, 0x100000000000 + sysconf(_SC_PAGESIZE));
	ASSERT_OK();
	guard(0x100010000000, -EINVAL, -EINVAL, 0x100010000000);
}

TEST(portable, guard_null, "the page that can look like NULL is not allocated after arena_nolock_guard_null()")
{
	guards();
}

TEST(nomod, guard_null, "on 7.x arena_nolock_guard_null() works without the module")
{
	if (!has_intree_nonsleepable)
		SKIP("the kernel's own kfuncs may sleep");
	guards();
}

TEST(nomod, portable, "without the module, a portable object works on 7.x and names what is missing on 6.12")
{
	struct portable_bpf *skel;
	const char *why;

	ASSERT(!mod_loaded(), "the module is loaded");
	if (has_intree_nonsleepable) {
		works(false);
		return;
	}

	log_keep();
	skel = portable_bpf__open_and_load();
	ASSERT(!skel, "loaded, though nothing can serve it");
	ASSERT(strstr(log_kept(), "kfunc 'arena_nolock__load_the_module_or_use_linux_7_0'"),
	       "the log does not say what is missing: %s", log_kept());
	/* The message is not to be buried in others. */
	ASSERT(!strstr(log_kept(), "unknown func") && !strstr(log_kept(), "extern"),
	       "libbpf complains of something else: %s", log_kept());
	why = strstr(log_kept(), "kfunc 'arena_nolock__");
	printf("# the user reads: %.*s\n", (int)strcspn(why, "\n"), why);
}

TEST(portable, module, "a portable object uses the module when it is loaded")
{
	ASSERT(mod_loaded(), "the module is not loaded");
	works(true);
}

/* What the module serves, the kernel's own kfuncs must not: the arena is adopted. */
TEST(portable, rmmod_between, "a portable object loads with the module, and again after rmmod")
{
	if (!has_intree_nonsleepable)
		SKIP("before 7.0 there is nothing to fall back to");
	works(true);
	ASSERT_OK();
	ASSERT(wait_for(!mod_unload(), 10000), "rmmod: %s", strerror(errno));
	works(false);
	ASSERT(!mod_load(""), "insmod again");
	works(true);
}
