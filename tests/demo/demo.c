// SPDX-License-Identifier: GPL-2.0
/*
 * make demo: load the module, let samples from four contexts grow a profile in an
 * arena, read it while it grows, and check at the end that nothing was lost.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/perf_event.h>
#include <linux/types.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "demo.h"
#include "preempt.h"
#include "demo.skel.h"

#define PAGE ((long)sysconf(_SC_PAGESIZE))
#define TOP 3
#define NMI_PAUSE_US 50000

static const char *const ctx_names[] = { "task", "softirq", "hard interrupt", "NMI" };

static struct demo_bpf *skel;
static int map_fd;
static bool failed;
static char why[120];
static volatile bool stop, interrupted;
static struct bpf_link *clock_links[DEMO_CPUS], *cycle_links[DEMO_CPUS];

static void problem(const char *fmt, ...)
{
	va_list ap;

	char text[sizeof(why)];

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	printf("  PROBLEM: %s\n", text);
	if (!failed)
		memcpy(why, text, sizeof(why));
	failed = true;
}

/* The last line. Returns the exit code. */
static int result(void)
{
	if (failed)
		printf("\nRESULT: FAILED: %s\n", why);
	else
		printf("\nRESULT: ok\n");

	return failed;
}

static void on_signal(int sig)
{
	interrupted = true;
}

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static bool read_text(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, buf, size - 1);
	close(fd);
	buf[n > 0 ? n : 0] = 0;

	return n > 0;
}

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (fd >= 0)
		close(fd);

	return ok;
}

/* Pages of the arena, as bpftool map show tells them. */
static long arena_pages(void)
{
	char path[64], buf[2048], *p;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", map_fd);
	p = read_text(path, buf, sizeof(buf)) ? strstr(buf, "memlock:") : NULL;

	return p ? atol(p + strlen("memlock:")) / PAGE : -1;
}

/*
 * Names of kernel functions
 */

struct sym {
	__u64 addr;
	char name[40];
};

static struct sym *syms;
static size_t nr_syms;
/* Kernel and modules are in the 2 GiB from here on; the profile has the low bits of addresses. */
static __u64 kernel_base = ~0ULL << DEMO_KEY_BITS;

static int cmp_sym(const void *a, const void *b)
{
	const struct sym *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static void read_syms(void)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	unsigned long long addr;
	size_t room = 0;
	char line[512], name[256], type;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx %c %255s", &addr, &type, name) != 3 ||
		    !strchr("tTwW", type) || !addr)
			continue;
		if (nr_syms == room) {
			room = room ? room * 2 : 1 << 16;
			syms = realloc(syms, room * sizeof(*syms));
			if (!syms)
				exit(1);
		}
#ifndef __x86_64__
		if (!strcmp(name, "_text"))
			kernel_base = addr - (1 << 30);
#endif
		syms[nr_syms].addr = addr;
		snprintf(syms[nr_syms++].name, sizeof(syms->name), "%.39s", name);
	}
	if (f)
		fclose(f);
	qsort(syms, nr_syms, sizeof(*syms), cmp_sym);
}

/* Index of the function, nr_syms if unknown. */
static size_t find_sym(__u64 ip)
{
	size_t lo = 0, hi = nr_syms;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (syms[mid].addr <= ip)
			lo = mid + 1;
		else
			hi = mid;
	}

	return lo && ip - syms[lo - 1].addr < 1 << 20 ? lo - 1 : nr_syms;
}

/*
 * The data structure, read through shared memory
 */

struct walk {
	__u64 samples;
	long pages, places;
	__u32 *per_sym;		/* nr_syms + 1 */
};

static void walk_node(struct walk *w, __u64 node, __u64 key, int level)
{
	volatile __u64 *slots = (volatile __u64 *)node;
	int i;

	w->pages++;
	for (i = 0; i < 512; i++) {
		__u64 k = key << 9 | i, val = slots[i];

		if (!val)
			continue;
		if (level < DEMO_LEVELS - 1) {
			walk_node(w, val, k, level + 1);
			continue;
		}
		w->samples += val;
		w->places++;
		k = (k - kernel_base) & ((1ULL << DEMO_KEY_BITS) - 1);
		w->per_sym[find_sym(kernel_base + k)] += val;
	}
}

static struct walk walk_ctx(int ctx)
{
	struct walk w = { .per_sym = calloc(nr_syms + 1, sizeof(*w.per_sym)) };

	if (!w.per_sym)
		exit(1);
	if (skel->bss->roots[ctx])
		walk_node(&w, skel->bss->roots[ctx], 0, 0);

	return w;
}

/* The busiest function, and take it off the list. */
static size_t pop_top(struct walk *w, __u32 *count)
{
	size_t i, top = nr_syms;

	*count = 0;
	for (i = 0; i <= nr_syms; i++)
		if (w->per_sym[i] > *count)
			*count = w->per_sym[top = i];
	w->per_sym[top] = 0;

	return top;
}

static const char *sym_name(size_t i)
{
	if (!nr_syms)
		return "(kernel.kptr_restrict hides the names)";
	return i < nr_syms ? syms[i].name : "(user space)";
}

/*
 * Load: something to sample
 */

static void load_files(const char *dir, int depth)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	struct stat st;
	char path[512];

	while (d && !stop && (e = readdir(d))) {
		if (e->d_name[0] == '.' || (e->d_type != DT_DIR && e->d_type != DT_REG))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		lstat(path, &st);
		if (e->d_type == DT_DIR && depth)
			load_files(path, depth - 1);
	}
	if (d)
		closedir(d);
}

static void load_packets(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(7312) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), i;
	char buf[64];

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)) ||
	    connect(fd, (struct sockaddr *)&to, sizeof(to))) {
		if (fd >= 0)
			close(fd);
		return;
	}
	for (i = 0; i < 500; i++)
		if (send(fd, buf, sizeof(buf), 0) > 0)
			while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
				;
	close(fd);

	/* No socket listens, so a softirq answers. */
	for (i = 0; i < 100; i++) {
		fd = socket(AF_INET, SOCK_STREAM, 0);
		if (fd < 0)
			return;
		connect(fd, (struct sockaddr *)&to, sizeof(to));
		close(fd);
	}
}

static void load_memory(void)
{
	int i, status;
	pid_t pid;

	for (i = 0; i < 5; i++) {
		char *p = mmap(NULL, 256 * PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p != MAP_FAILED) {
			memset(p, i, 256 * PAGE);
			munmap(p, 256 * PAGE);
		}
		pid = fork();
		if (!pid)
			_exit(0);
		if (pid > 0)
			waitpid(pid, &status, 0);
	}
}

static pid_t start_load(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "load");
	for (;;) {
		load_packets();
		load_files("/proc", 2);
		load_memory();
		load_files("/sys", 4);
	}
}

/*
 * x86 requests backtraces by NMIs. On arm64 with ARM64_PSEUDO_NMI, hardware counters interrupt by
 * NMIs; stock kernels of arm64 have no NMIs.
 */
static bool has_backtraces, has_nmis;

static bool kernel_has(const char *func)
{
	struct btf *btf = btf__load_vmlinux_btf();
	bool has = btf && btf__find_by_name_kind(btf, func, BTF_KIND_FUNC) > 0;

	btf__free(btf);

	return has;
}

/* Backtraces of all other CPUs, which take an NMI for it. */
static void *nmi_thread(void *arg)
{
	while (!stop) {
		if (!write_text("/proc/sysrq-trigger", "l")) {
			problem("/proc/sysrq-trigger: %s", strerror(errno));
			break;
		}
		usleep(NMI_PAUSE_US);
	}

	return NULL;
}

/*
 * The run
 */

static bool load_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool ok = fd >= 0 && !syscall(SYS_finit_module, fd, "", 0);

	if (!ok)
		problem("insmod %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);

	return ok;
}

static bool unload_module(void)
{
	long end = now_ms() + 10000;

	while (syscall(SYS_delete_module, "arena_nolock", O_NONBLOCK)) {
		if (now_ms() > end)
			return false;
		usleep(20000);
	}

	return true;
}

/* The program runs at 499 Hz on each CPU. */
static bool attach_perf(struct bpf_link **links, __u32 type, __u64 config)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = type,
		.config = config,
		.sample_freq = 499,
		.freq = 1,
	};
	int cpu, cpus = sysconf(_SC_NPROCESSORS_ONLN);

	for (cpu = 0; cpu < cpus && cpu < DEMO_CPUS; cpu++) {
		int fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);

		if (fd >= 0)
			links[cpu] = bpf_program__attach_perf_event(skel->progs.on_clock, fd);
		if (!links[cpu])
			return false;
	}

	return true;
}

static void detach_perf(struct bpf_link **links)
{
	int cpu;

	for (cpu = 0; cpu < DEMO_CPUS; cpu++) {
		bpf_link__destroy(links[cpu]);
		links[cpu] = NULL;
	}
}

/* NMIs of counters, if they are NMIs. */
static void try_counters(void)
{
	long end = now_ms() + 1000;

	if (attach_perf(cycle_links, PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES))
		while (!skel->bss->stats[DEMO_NMI].samples && now_ms() < end)
			usleep(10000);
	has_nmis = skel->bss->stats[DEMO_NMI].samples;
	if (!has_nmis)
		detach_perf(cycle_links);
}

static bool attach(void)
{
	if (!attach_perf(clock_links, PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK))
		return false;
	if (has_backtraces)
		skel->links.on_nmi = bpf_program__attach(skel->progs.on_nmi);
	skel->links.on_timer = bpf_program__attach(skel->progs.on_timer);
	skel->links.on_slab = bpf_program__attach(skel->progs.on_slab);

	return (!has_backtraces || skel->links.on_nmi) && skel->links.on_timer && skel->links.on_slab;
}

static void detach(void)
{
	detach_perf(clock_links);
	detach_perf(cycle_links);
	demo_bpf__detach(skel);
	/* What still runs in an interrupt does not run long. */
	usleep(100 * 1000);
}

static void live_line(int second)
{
	static __u32 *last;
	struct walk w[DEMO_CTXS], *news = &w[DEMO_HARDIRQ];
	__u64 samples = 0;
	long places = 0, pages = arena_pages();
	__u32 count;
	size_t top, k;
	int i;

	for (i = 0; i < DEMO_CTXS; i++) {
		w[i] = walk_ctx(i);
		samples += w[i].samples;
		places += w[i].places;
	}
	if (!last)
		last = calloc(nr_syms + 1, sizeof(*last));
	for (k = 0; last && k <= nr_syms; k++) {
		count = news->per_sym[k];
		news->per_sym[k] -= last[k];
		last[k] = count;
	}
	/* An idle CPU is not news, nor one that waits for the others' backtraces. */
	do {
		top = pop_top(news, &count);
	} while (strstr(sym_name(top), "idle") || strstr(sym_name(top), "halt") ||
		 strstr(sym_name(top), "delay"));
	printf("  %3d s %8llu %7llu %7ld %7ld %6.1f  %.30s\n", second,
	       (unsigned long long)samples, (unsigned long long)w[DEMO_NMI].samples,
	       places, pages, pages * PAGE / 1048576.0, sym_name(top));
	for (i = 0; i < DEMO_CTXS; i++)
		free(w[i].per_sym);
}

/* Records of a log, oldest page first, are numbered without a gap. */
static long check_log(const struct demo_log *l, const char *ctx, int cpu)
{
	__u64 seq = 0;
	long pages = 0;
	int i, k;

	for (i = DEMO_LOG_KEEP; i >= 0; i--) {
		const struct demo_record *r = (const struct demo_record *)l->page[i];

		if (!r)
			continue;
		if (!pages++)
			seq = r->seq;
		for (k = 0; k < DEMO_LOG_RECORDS && seq < l->seq; k++, seq++)
			if (r[k].seq != seq) {
				problem("log of %s on CPU %d: record %llu says %llu", ctx, cpu,
					(unsigned long long)seq, (unsigned long long)r[k].seq);
				return pages;
			}
	}
	if (seq != l->seq)
		problem("log of %s on CPU %d ends at %llu, not %llu", ctx, cpu,
			(unsigned long long)seq, (unsigned long long)l->seq);

	return pages;
}

/* The table at the end. Returns the pages that were found in use. */
static long report(void)
{
	long pages = 0, log_pages;
	struct walk walks[DEMO_CTXS];
	__u32 count;
	size_t top;
	int ctx, cpu, i;

	printf("\n  context         samples  pages allocated  failures  pages freed  in use\n");
	for (ctx = 0; ctx < DEMO_CTXS; ctx++) {
		struct demo_stats *s = &skel->bss->stats[ctx];
		struct walk w = walks[ctx] = walk_ctx(ctx);

		for (cpu = 0, log_pages = 0; cpu < DEMO_CPUS; cpu++)
			log_pages += check_log(&skel->bss->logs[ctx * DEMO_CPUS + cpu],
					       ctx_names[ctx], cpu);
		printf("  %-14s %8llu  %15llu  %8llu  %11llu  %6ld\n", ctx_names[ctx],
		       (unsigned long long)s->samples, (unsigned long long)s->allocs,
		       (unsigned long long)s->failed, (unsigned long long)s->frees,
		       w.pages + log_pages);
		pages += w.pages + log_pages;

		if (w.samples + s->dropped != s->samples)
			problem("%llu samples of %s, but the tree counts %llu",
				(unsigned long long)s->samples, ctx_names[ctx],
				(unsigned long long)w.samples);
		if ((long)(s->allocs - s->frees) != w.pages + log_pages)
			problem("%s: %lld pages allocated and not freed, but %ld in use",
				ctx_names[ctx], (long long)(s->allocs - s->frees),
				w.pages + log_pages);
		if (!s->samples && (has_nmis || ctx != DEMO_NMI))
			problem("no sample from %s", ctx_names[ctx]);
		if (s->failed || s->dropped)
			problem("%s: %llu allocations failed", ctx_names[ctx],
				(unsigned long long)s->failed);
		if (s->dirty)
			problem("%s: %llu new pages were not zero", ctx_names[ctx],
				(unsigned long long)s->dirty);
		if (skel->bss->shared[ctx])
			problem("%s: %llu scratch pages did not keep what was written",
				ctx_names[ctx], (unsigned long long)skel->bss->shared[ctx]);
	}

	printf("\n  context         samples  most of them in\n");
	for (ctx = 0; ctx < DEMO_CTXS; ctx++) {
		for (i = 0; i < TOP; i++) {
			top = pop_top(&walks[ctx], &count);
			if (count)
				printf("  %-14s %8u  %s\n", i ? "" : ctx_names[ctx], count,
				       sym_name(top));
		}
		free(walks[ctx].per_sym);
	}

	return pages;
}

static void run(int seconds)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	pthread_t nmis;
	char printk[64] = "";
	long start, pages;
	pid_t load;
	int s;

	/* Backtraces belong into the log; on the console they would take ages. */
	read_text("/proc/sys/kernel/printk", printk, sizeof(printk));
	write_text("/proc/sys/kernel/printk", "1");
	write_text("/dev/kmsg", "arena_nolock demo: expect backtraces begin");
	load = start_load();
	if (has_backtraces)
		pthread_create(&nmis, NULL, nmi_thread, NULL);
	if (!attach())
		problem("attach: %s", strerror(errno));

	printf("\n   time  samples  of NMI  places   pages    MiB  busy with\n");
	start = now_ms();
	for (s = 1; s <= seconds && !failed && !interrupted; s++) {
		while (now_ms() < start + s * 1000 && !interrupted)
			usleep(10000);
		live_line(s);
	}

	detach();
	stop = true;
	if (has_backtraces)
		pthread_join(nmis, NULL);
	kill(load, SIGKILL);
	waitpid(load, NULL, 0);
	usleep(100000);
	write_text("/dev/kmsg", "arena_nolock demo: expect backtraces end");
	write_text("/proc/sys/kernel/printk", printk);
	pages = report();

	/* Frees from contexts that cannot sleep are queued: give them a moment. */
	for (start = now_ms(); arena_pages() != pages && now_ms() < start + 5000;)
		usleep(1000);
	if (arena_pages() != pages)
		problem("the arena holds %ld pages, but %ld are in use", arena_pages(), pages);
	if (bpf_prog_test_run_opts(bpf_program__fd(skel->progs.free_all), &opts) ||
	    arena_pages())
		problem("%ld pages left after all were freed", arena_pages());
	if (!failed)
		printf("\n  Every sample is in the tree, every page is accounted for, and all %ld\n"
		       "  are back after one call.\n", pages);
}

static void usage(const char *self)
{
	printf("usage: %s [--module FILE] [--seconds N]\n"
	       "  --module   arena_nolock.ko, loaded unless it is, and removed again; without\n"
	       "             it the module is there already, or the kernel can do without\n"
	       "  --seconds  how long to sample, 8 by default\n", self);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "module", required_argument, NULL, 'm' },
		{ "seconds", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	const char *module = NULL;
	int opt, seconds = 8;
	bool ours = false;
	struct pc_layout pc;
	struct utsname uts;
	size_t size;

	while ((opt = getopt_long(argc, argv, "m:s:h", options, NULL)) != -1) {
		switch (opt) {
		case 'm':
			module = optarg;
			break;
		case 's':
			seconds = atoi(optarg);
			break;
		default:
			usage(argv[0]);
			return opt == 'h' ? 0 : 2;
		}
	}
	if (seconds < 1 || optind < argc) {
		usage(argv[0]);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	uname(&uts);

	printf("arena_nolock on %s, a stock kernel, with %ld CPUs\n", uts.release,
	       sysconf(_SC_NPROCESSORS_ONLN));
	if (module && access("/sys/module/arena_nolock", F_OK)) {
		if (!load_module(module))
			return result();
		ours = true;
	}
	read_syms();
	skel = demo_bpf__open();
	if (!skel) {
		problem("the BPF object: %s", strerror(errno));
		goto out;
	}
	if (!find_pc_layout(&pc)) {
		problem("no BTF of the kernel");
		goto out;
	}
	memcpy((void *)&skel->rodata->pc, &pc, sizeof(pc));
	has_backtraces = kernel_has("nmi_cpu_backtrace_handler");
	bpf_program__set_autoload(skel->progs.on_nmi, has_backtraces);
	if (demo_bpf__load(skel)) {
		problem("the kernel does not take the programs: %s", strerror(errno));
		goto out;
	}
	map_fd = bpf_map__fd(skel->maps.arena);
	skel->bss->base = (__u64)bpf_map__initial_value(skel->maps.arena, &size);
	printf("  An arena of up to %d pages, empty. Samples from interrupts and NMIs grow a\n"
	       "  profile in it: each page is allocated in the context that needs it.\n",
	       DEMO_PAGES);
	if (has_backtraces)
		has_nmis = true;
	else
		try_counters();
	if (!has_nmis)
		printf("  This kernel has no NMIs.\n");

	run(seconds);

out:
	demo_bpf__destroy(skel);
	if (ours && !unload_module())
		problem("rmmod: %s", strerror(errno));

	return result();
}
