// SPDX-License-Identifier: GPL-2.0
/*
 * A left-over call of the kernel's own kfuncs fails on an adopted arena. docs/porting.md
 * has the command that finds it.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <string.h>

#include "runner.h"
#include "leftover.skel.h"

/*
 * The symbol at an address, as an administrator would look it up. bpftool sorts symbols by a
 * difference that it truncates to 32 bits, so it misses some where symbols are far apart. On
 * arm64 that depends on the random addresses of a boot.
 */
static bool symbol_at(unsigned long want, char name[128])
{
	FILE *f = fopen("/proc/kallsyms", "r");
	unsigned long addr = 0;
	char line[512];

	while (f && addr != want && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx %*c %127s", &addr, name) != 2)
			addr = 0;
	if (f)
		fclose(f);

	return addr == want;
}

/* The calls of a program, as bpftool shows them. */
static bool calls(const struct bpf_program *prog, char *text, size_t size)
{
	char cmd[96], line[512], name[128], *call;
	unsigned long addr;
	size_t len = 0;
	FILE *f;

	snprintf(cmd, sizeof(cmd), "bpftool prog dump xlated name %s 2>&1",
		 bpf_program__name(prog));
	f = popen(cmd, "r");
	if (!f)
		return false;
	text[0] = 0;
	while (fgets(line, sizeof(line), f)) {
		call = strstr(line, "call ");
		if (!call || len >= size)
			continue;
		if (sscanf(call, "call 0x%lx", &addr) == 1 && symbol_at(addr, name))
			snprintf(call, line + sizeof(line) - call, "call %s\n", name);
		len += snprintf(text + len, size - len, "%s", line);
	}

	return !pclose(f);
}

static int run(const struct bpf_program *prog)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	return bpf_prog_test_run_opts(bpf_program__fd(prog), &opts) ?: (int)opts.retval;
}

/* Under emulation bpftool takes seconds: it reads all of the kernel's BTF and symbols. */
TEST_LONG(porting, leftover, 180,
	  "bpftool shows a left-over call of the kernel's kfuncs among ported calls")
{
	struct leftover_bpf *skel = leftover_bpf__open_and_load();
	char text[4096], *left;

	ASSERT(skel, "load");
	ASSERT_EQ(run(skel->progs.ported), 0, "allocation by the program that was ported");
	ASSERT_EQ(run(skel->progs.forgotten), 1, "second allocation by the program that was not");
	ASSERT(calls(skel->progs.forgotten, text, sizeof(text)), "bpftool: %s", text);
	ASSERT(strstr(text, "call bpf_arena_nolock_alloc_pages"), "forgotten has: %s", text);
	left = strstr(text, "call bpf_arena_alloc_pages");
	ASSERT(left && !strstr(left + 1, "call bpf_arena_alloc_pages"), "forgotten has: %s", text);
	leftover_bpf__destroy(skel);
}
