// SPDX-License-Identifier: GPL-2.0
/*
 * CPUs that go offline and come back. Requests that a CPU makes at its end are carried out
 * while it is offline, and afterwards irq_works run on that CPU as before.
 */
#include <errno.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>

#include "arena.h"
#include "hotplug.h"
#include "hotplug.skel.h"
#include "load.h"
#include "runner.h"

#define ROUNDS 5

static int run(const struct bpf_program *prog)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	return bpf_prog_test_run_opts(bpf_program__fd(prog), &opts);
}

static void offline_round(struct hotplug_bpf *skel, int fd)
{
	__u32 seen = skel->bss->requests;

	ASSERT(!run(skel->progs.allocate) && skel->bss->page, "allocate");
	ASSERT_EQ(map_pages(fd), 1, "pages before");
	skel->bss->armed = 1;
	ASSERT(cpu1_online(false), "offline: %s", strerror(errno));
	ASSERT_EQ(skel->bss->requests, seen + 1, "requests at the end of the CPU");
	/* The pool has pages for the program, and the freed one leaves without that CPU. */
	ASSERT(skel->bss->taken, "no pages for the program");
	ASSERT(wait_for(map_pages(fd) == HOTPLUG_TAKEN, 5000),
	       "%ld pages while the CPU is offline", map_pages(fd));
	ASSERT(!run(skel->progs.release), "release");
	ASSERT_EQ(map_pages(fd), 0, "pages while the CPU is offline");
}

static void online_round(struct hotplug_bpf *skel, int fd)
{
	ASSERT(cpu1_online(true), "online: %s", strerror(errno));
	ASSERT(!run(skel->progs.allocate) && skel->bss->page, "allocate");
	ASSERT(pin_cpu(1), "pin: %s", strerror(errno));
	ASSERT(!run(skel->progs.release_queued), "free");
	ASSERT(pin_cpu(0), "pin: %s", strerror(errno));
	ASSERT(wait_for(!map_pages(fd), 5000), "irq_works of the CPU do not run");
}

TEST(hotplug, last_requests, "what a CPU requests while it goes offline is carried out, and what it requests later, too")
{
	struct hotplug_bpf *skel;
	int i, fd;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(pin_cpu(0), "pin: %s", strerror(errno));
	skel = hotplug_bpf__open_and_load();
	ASSERT(skel && !hotplug_bpf__attach(skel), "load: %s", strerror(errno));
	fd = bpf_map__fd(skel->maps.arena);
	for (i = 0; i < ROUNDS && !test_failed(); i++) {
		offline_round(skel, fd);
		if (!test_failed())
			online_round(skel, fd);
	}
	cpu1_online(true);
	hotplug_bpf__destroy(skel);
}
