// SPDX-License-Identifier: GPL-2.0
/*
 * What a user reads after the commonest mistakes. docs/troubleshooting.md explains the texts
 * that these tests find; "make check" compares the two.
 */
#include <errno.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "log.h"
#include "runner.h"
#include "mistake.skel.h"
#include "mistake_v4.skel.h"

/* @err: of the load that has just failed */
static void check_says(int err, const char *says)
{
	ASSERT(err, "it was loaded");
	ASSERT(strstr(log_kept(), says), "the log does not say '%s': %.3000s", says, log_kept());
}

/* Load one program, after the map was changed. */
static int load_one(const char *name, __u32 flags, __u32 pages)
{
	struct mistake_bpf *skel = mistake_bpf__open();
	int err;

	if (!skel) {
		test_fail(__FILE__, __LINE__, "open");
		return -ENOMEM;
	}
	bpf_program__set_autoload(bpf_object__find_program_by_name(skel->obj, name), true);
	bpf_map__set_map_flags(skel->maps.arena, flags);
	bpf_map__set_max_entries(skel->maps.arena, pages);
	log_keep();
	err = mistake_bpf__load(skel);
	mistake_bpf__destroy(skel);

	return err;
}

TEST(mistake, none, "the program without a mistake loads")
{
	ASSERT(!load_one("allocates", BPF_F_MMAPABLE, 16), "load: %.3000s", log_kept());
}

TEST(mistake, no_flags, "an arena without BPF_F_MMAPABLE cannot be created")
{
	check_says(load_one("allocates", 0, 16),
		   "map 'arena': failed to create: Invalid argument(-22)");
}

TEST(mistake, no_pages, "an arena without max_entries cannot be created")
{
	check_says(load_one("allocates", BPF_F_MMAPABLE, 0),
		   "map 'arena': failed to create: Invalid argument(-22)");
}

TEST(mistake, many_pages, "an arena of more than 4 GiB cannot be created")
{
	check_says(load_one("allocates", BPF_F_MMAPABLE, (1 << 20) + 1),
		   "map 'arena': failed to create: Argument list too long(-7)");
}

TEST(mistake, names_no_arena, "a program that follows an arena pointer must name the arena")
{
	check_says(load_one("names_no_arena", BPF_F_MMAPABLE, 16),
		   "addr_space_cast insn can only be used in a program that has an associated arena");
}

TEST(mistake, v4, "a program compiled for -mcpu=v4 may not load on 6.12")
{
	struct mistake_v4_bpf *skel;

	log_keep();
	skel = mistake_v4_bpf__open_and_load();
	if (kver < 70000)
		check_says(!skel, "sign extending loads from arena are not supported yet");
	else
		ASSERT(skel, "load: %.3000s", log_kept());
	mistake_v4_bpf__destroy(skel);
}

TEST(mistake, under_spin_lock, "a kfunc under bpf_spin_lock is refused before 7.3")
{
	int err = load_one("under_spin_lock", BPF_F_MMAPABLE, 16);

	if (kver < 70003)
		check_says(err, "function calls are not allowed while holding a lock");
	else
		ASSERT(!err, "load: %.3000s", log_kept());
}

TEST(mistake, left_over, "a left-over call of the kernel's own kfunc is refused on 6.12")
{
	int err = load_one("left_over", BPF_F_MMAPABLE, 16);

	if (kver < 70000)
		check_says(err, "program must be sleepable to call sleepable kfunc bpf_arena_alloc_pages");
	else
		ASSERT(!err, "load: %.3000s", log_kept());
}
