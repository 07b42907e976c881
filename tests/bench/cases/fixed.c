// SPDX-License-Identifier: GPL-2.0
/* Memory that an adopted arena costs, and the time that adoption takes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "core.h"

/* The program "touch", which is loaded again for each arena. */
static struct {
	struct bpf_insn *insns;
	size_t cnt;
	int fds[4];
} touch;

static int module_btf(const char *name)
{
	struct bpf_btf_info info;
	char got[64];
	__u32 id = 0, len;
	int fd;

	while (!bpf_btf_get_next_id(id, &id)) {
		fd = bpf_btf_get_fd_by_id(id);
		memset(&info, 0, sizeof(info));
		info.name = (__u64)got;
		info.name_len = sizeof(got);
		len = sizeof(info);
		if (fd >= 0 && !bpf_btf_get_info_by_fd(fd, &info, &len) && !strcmp(got, name))
			return fd;
		close(fd);
	}
	die("no BTF of %s", name);
}

static void touch_prepare(void)
{
	struct bpf_object *obj = open_object(MODULE);
	struct bpf_program *p, *prog = bpf_object__find_program_by_name(obj, "touch");
	size_t i;

	bpf_object__for_each_program(p, obj)
		bpf_program__set_autoload(p, p == prog);
	if (bpf_object__load(obj))
		die("load: %s", strerror(errno));
	touch.cnt = bpf_program__insn_cnt(prog);
	touch.insns = calloc(touch.cnt, sizeof(*touch.insns));
	if (!touch.insns)
		die("no memory");
	memcpy(touch.insns, bpf_program__insns(prog), touch.cnt * sizeof(*touch.insns));
	for (i = 0; i < sizeof(touch.fds) / sizeof(*touch.fds); i++)
		touch.fds[i] = module_btf("arena_nolock");
	bpf_object__close(obj);
}

/* Load it; the first load for an arena adopts the arena. Returns microseconds. */
static double adopt(int map_fd)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .fd_array = touch.fds,
		    .prog_flags = BPF_F_SLEEPABLE);
	size_t i;
	double t;
	int fd;

	for (i = 0; i < touch.cnt; i++)
		if (touch.insns[i].code == (BPF_LD | BPF_IMM | BPF_DW) &&
		    touch.insns[i].src_reg == BPF_PSEUDO_MAP_FD)
			touch.insns[i].imm = map_fd;
	t = now_us();
	fd = bpf_prog_load(BPF_PROG_TYPE_SYSCALL, "touch", "GPL", touch.insns, touch.cnt, &opts);
	t = now_us() - t;
	if (fd < 0)
		die("adoption: %s", strerror(errno));
	close(fd);

	return t;
}

static int arena_map(__u32 pages)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARENA, "arena", 0, 0, pages, &opts);

	void *p = fd < 0 ? MAP_FAILED : mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
					     MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		die("an arena of %u pages: %s", pages, strerror(errno));
	/* The kernel keeps the address, which is all that adoption needs. */
	munmap(p, pages * PAGE);

	return fd;
}

/* Free memory in KiB, with the free pages on the CPUs' lists. */
static double mem_free(void)
{
	double free = 0;
	char *p;

	settle();
	usleep(200000);
	settle();
	for (p = read_text("/proc/zoneinfo"); (p = strstr(p, "count:")); )
		free += atof(p += strlen("count:")) * PAGE / 1024;

	return free + meminfo_kib("MemFree:");
}

static void measure_fixed(__u32 pages, int n, double *made, double *adopted)
{
	int fds[64], i;
	double before;

	/* The first arena pays for what all arenas share. */
	fds[0] = arena_map(pages);
	adopt(fds[0]);

	before = mem_free();
	for (i = 1; i < n + 1; i++)
		fds[i] = arena_map(pages);
	*made = (before - mem_free()) / n;
	/* The first load leaves memory of programs behind; it must not count. */
	adopt(fds[1]);
	before = mem_free();
	for (i = 2; i < n + 1; i++)
		adopt(fds[i]);
	*adopted = (before - mem_free()) / (n - 1);
	for (i = 0; i < n + 1; i++)
		close(fds[i]);
	settle();
}

static void run_fixed(void)
{
	static const __u32 sizes[] = { 1000, 100 << 8, 1 << 18, 1 << 20 };
	static const char *const names[] = { "1000", "100M", "1G", "4G" };
	double reserve = read_num(PARAM "pool_pages"), max = read_num(PARAM "pool_max");
	bool lazy = !intree_atomic;
	double made, adopted, tables;
	char name[64], target[32];
	size_t k;
	int i;

	touch_prepare();
	usleep(1000000);
	measure_fixed(1000, quick ? 17 : 49, &made, &adopted);
	result("fixed.1000", (struct result){ "KiB", "less", "max64", { made, adopted } },
	       "an idle arena of 1000 pages: made, and added by adoption, page tables and pool included, beside the standby of its cgroup");
	write_text(PARAM "pool_max", "0");
	write_text(PARAM "pool_pages", "0");
	measure_fixed(1 << 20, quick ? 4 : 9, &made, &adopted);
	/* Where the kernel makes page tables on demand, @adopted includes the module's. */
	tables = lazy ? (1 << 20) / 512 * 4 + 4 * 4 : 0;
	result("fixed.4G", (struct result){ "KiB", "less", "max768", { made, adopted - tables } },
	       "an arena of 4 GiB: the same, without pool and the module's page tables (%s KiB)",
	       num(tables));
	write_text(PARAM "pool_pages", "%.0f", reserve);
	write_text(PARAM "pool_max", "%.0f", max);

	for (k = 0; k < sizeof(sizes) / sizeof(*sizes); k += quick ? 3 : 1) {
		struct sample first = {}, second = {};
		double cost, limit = 50 + sizes[k] / 256.0 / 100;

		for (i = 0; i < (quick ? 3 : 9); i++) {
			int fd = arena_map(sizes[k]);

			settle();
			add(&first, adopt(fd));
			settle();
			add(&second, adopt(fd));
			close(fd);
			settle();
		}
		cost = (median(&first) - median(&second)) / 1e3;
		snprintf(name, sizeof(name), "adopt.%s", names[k]);
		snprintf(target, sizeof(target), "max%.0f", limit);
		result(name, (struct result){ "ms", "less", target, { NONE, cost } },
		       "first program of an arena against the second: %s and %s ms",
		       num(median(&first) / 1e3), num(median(&second) / 1e3));
	}
}

const struct bench_case case_fixed = {
	.name = "fixed",
	.desc = "memory and time that an adopted arena costs",
	.run = run_fixed,
};
