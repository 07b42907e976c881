// SPDX-License-Identifier: GPL-2.0
/*
 * Objects built from progs/header/ and arena_nolock.h: without vmlinux.h, and with one that
 * declares the kernel's own kfuncs in either of the two forms that bpftool is known to
 * write. The build is half of the test; the other half is that the calls find their kfuncs.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "arena.h"
#include "runner.h"
#include "header_none.skel.h"
#include "header_plain.skel.h"
#include "header_tagged.skel.h"
#include "linked.skel.h"

#define HEADER_TEST(variant, desc)						\
TEST(header, variant, desc)							\
{										\
	LIBBPF_OPTS(bpf_test_run_opts, opts);					\
	struct header_##variant##_bpf *skel = header_##variant##_bpf__open_and_load(); \
	int err;								\
										\
	ASSERT(skel, "load");							\
	err = bpf_prog_test_run_opts(bpf_program__fd(skel->progs.header_run), &opts); \
	ASSERT_EQ(err, 0, "run");						\
	ASSERT_EQ(opts.retval, 0, "allocation");				\
	ASSERT_EQ(skel->bss->module, 1, "arena_nolock_available()");		\
	ASSERT_EQ(skel->bss->reserved, 0, "reserve");				\
	ASSERT_EQ(skel->bss->second, 1234, "what the second file found in the page"); \
	header_##variant##_bpf__destroy(skel);					\
}

HEADER_TEST(none, "a program without vmlinux.h builds and works")
HEADER_TEST(plain, "a vmlinux.h with kfuncs without address spaces does not clash")
HEADER_TEST(tagged, "a vmlinux.h with kfuncs with address spaces does not clash")

TEST(header, linked, "of two files that are linked, one allocates and frees for the other")
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	struct linked_bpf *skel = linked_bpf__open_and_load();
	int err;

	ASSERT(skel, "load");
	err = bpf_prog_test_run_opts(bpf_program__fd(skel->progs.allocate_two), &opts);
	ASSERT_EQ(err, 0, "run");
	ASSERT_EQ(opts.retval, 0, "allocations");
	ASSERT(wait_for(map_pages(bpf_map__fd(skel->maps.arena)) == 1, 5000), "%ld pages",
	       map_pages(bpf_map__fd(skel->maps.arena)));
	linked_bpf__destroy(skel);
}
