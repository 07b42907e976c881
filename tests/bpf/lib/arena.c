// SPDX-License-Identifier: GPL-2.0
/*
 * User-space side of requests.bpf.c; arena.h says what each call does.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/perf_event.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "arena.h"
#include "arena_stat.h"
#include "runner.h"
#include "requests.skel.h"

/* How long things may take that take a moment: emulation is slow. */
#define SETTLE_MS (5000L * patience)

static void sleep_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

static bool arena_load(struct arena *a, int map_fd, void *base, __u32 pages, __u32 flags)
{
	struct requests_bpf *skel = requests_bpf__open();
	size_t len;

	memset(a, 0, sizeof(*a));
	if (!skel)
		return false;
	if (bpf_map__set_max_entries(skel->maps.arena, pages) ||
	    bpf_map__set_map_flags(skel->maps.arena, BPF_F_MMAPABLE | flags) ||
	    (map_fd >= 0 && bpf_map__reuse_fd(skel->maps.arena, map_fd)) ||
	    requests_bpf__load(skel)) {
		requests_bpf__destroy(skel);
		return false;
	}
	a->skel = skel;
	a->pages = pages;
	a->fd = bpf_map__fd(skel->maps.arena);
	/* libbpf does not map an arena that it did not create. */
	a->base = base ? base : bpf_map__initial_value(skel->maps.arena, &len);

	return a->base;
}

bool arena_open(struct arena *a, __u32 pages, __u32 flags)
{
	return arena_load(a, -1, NULL, pages, flags);
}

bool arena_stock(struct arena *a, const char *name, __u32 pages, __u32 flags)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE | flags);

	memset(a, 0, sizeof(*a));
	a->pages = pages;
	a->fd = bpf_map_create(BPF_MAP_TYPE_ARENA, name, 0, 0, pages, &opts);
	if (a->fd < 0)
		return false;
	a->base = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, a->fd, 0);

	return a->base != MAP_FAILED;
}

bool arena_attach(struct arena *a, int map_fd, void *base, __u32 pages)
{
	return arena_load(a, map_fd, base, pages, 0);
}

void arena_close(struct arena *a)
{
	requests_bpf__destroy(a->skel);
	a->skel = NULL;
}

static int run_sleepable(struct arena *a, __u32 slot)
{
	struct { __u32 slot; } ctx = { slot };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));

	return bpf_prog_test_run_opts(bpf_program__fd(a->skel->progs.sleepable), &opts);
}

static int run_raw(struct arena *a, __u64 slot, bool other_cpu)
{
	__u64 args[1] = { slot };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = args, .ctx_size_in = sizeof(args));
	cpu_set_t old, one;
	int cpu, err;

	if (!other_cpu)
		return bpf_prog_test_run_opts(bpf_program__fd(a->skel->progs.under_rcu), &opts);

	/* The program runs in an interrupt only if it is not our CPU. */
	cpu = sched_getcpu();
	sched_getaffinity(0, sizeof(old), &old);
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
	opts.flags = BPF_F_TEST_RUN_ON_CPU;
	opts.cpu = cpu ? 0 : 1;
	err = bpf_prog_test_run_opts(bpf_program__fd(a->skel->progs.under_rcu), &opts);
	sched_setaffinity(0, sizeof(old), &old);

	return err;
}

static int run_bh_off(struct arena *a, __u32 slot)
{
	char packet[64] = {};
	struct __sk_buff skb = { .cb = { slot } };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet),
		    .ctx_in = &skb, .ctx_size_in = sizeof(skb), .repeat = 1);

	return bpf_prog_test_run_opts(bpf_program__fd(a->skel->progs.bh_off), &opts);
}

bool arena_run(struct arena *a, enum context ctx, int slot, struct arena_req *r)
{
	struct arena_req *shared = &a->skel->bss->req[slot];
	int err = -EINVAL;

	*shared = *r;
	switch (ctx) {
	case SLEEPABLE:
		err = run_sleepable(a, slot);
		break;
	case UNDER_RCU:
		err = run_raw(a, slot, false);
		break;
	case BH_OFF:
		err = run_bh_off(a, slot);
		break;
	case HARDIRQ:
		err = run_raw(a, slot, true);
		break;
	}
	*r = *(volatile struct arena_req *)shared;
	if (err)
		printf("# running a program in context %d failed: %s\n", ctx, strerror(-err));

	return !err;
}

static __u64 arena_call(struct arena *a, enum context ctx, struct arena_req r)
{
	return arena_run(a, ctx, 0, &r) ? r.ret : ~0ULL;
}

void *arena_alloc_args(struct arena *a, enum context ctx, void *addr, __u32 cnt, int node,
		       __u64 flags)
{
	return (void *)arena_call(a, ctx, (struct arena_req){
		.op = REQ_ALLOC, .addr = (__u64)addr, .cnt = cnt, .node = node, .flags = flags,
	});
}

void *arena_alloc_once(struct arena *a, enum context ctx, void *addr, __u32 cnt)
{
	return arena_alloc_args(a, ctx, addr, cnt, -1, 0);
}

void *arena_alloc_wait(struct arena *a, enum context ctx, void *addr, __u32 cnt)
{
	void *p = arena_alloc_once(a, ctx, addr, cnt);
	int ms;

	for (ms = 0; !p && ms < SETTLE_MS; ms += 2) {
		sleep_ms(2);
		p = arena_alloc_once(a, ctx, addr, cnt);
	}

	return p;
}

void *arena_alloc(struct arena *a, enum context ctx, void *addr, __u32 cnt)
{
	if (ctx == SLEEPABLE)
		return arena_alloc_once(a, ctx, addr, cnt);

	return arena_alloc_wait(a, ctx, addr, cnt);
}

void arena_free(struct arena *a, enum context ctx, void *addr, __u32 cnt)
{
	arena_call(a, ctx, (struct arena_req){ .op = REQ_FREE, .addr = (__u64)addr, .cnt = cnt });
}

int arena_reserve(struct arena *a, enum context ctx, void *addr, __u32 cnt)
{
	return arena_call(a, ctx, (struct arena_req){
		.op = REQ_RESERVE, .addr = (__u64)addr, .cnt = cnt,
	});
}

__u64 arena_read(struct arena *a, enum context ctx, void *addr)
{
	return arena_call(a, ctx, (struct arena_req){ .op = REQ_READ, .addr = (__u64)addr });
}

void arena_write(struct arena *a, enum context ctx, void *addr, __u64 val)
{
	arena_call(a, ctx, (struct arena_req){ .op = REQ_WRITE, .addr = (__u64)addr, .val = val });
}

void arena_mark(struct arena *a, enum context ctx, void *addr, __u32 cnt, __u64 val)
{
	arena_call(a, ctx, (struct arena_req){
		.op = REQ_FILL, .addr = (__u64)addr, .cnt = cnt, .step = PAGE, .val = val,
		.grow = 1,
	});
}

__u64 arena_unmarked(struct arena *a, enum context ctx, void *addr, __u32 cnt, __u64 val)
{
	return arena_call(a, ctx, (struct arena_req){
		.op = REQ_DIFF, .addr = (__u64)addr, .cnt = cnt, .step = PAGE, .val = val,
		.grow = 1,
	});
}

void arena_fill(struct arena *a, enum context ctx, void *addr, __u32 cnt, __u64 val)
{
	arena_call(a, ctx, (struct arena_req){
		.op = REQ_FILL, .addr = (__u64)addr, .cnt = cnt * (PAGE / 8), .step = 8,
		.val = val,
	});
}

__u64 arena_diff(struct arena *a, enum context ctx, void *addr, __u32 cnt, __u64 val)
{
	return arena_call(a, ctx, (struct arena_req){
		.op = REQ_DIFF, .addr = (__u64)addr, .cnt = cnt * (PAGE / 8), .step = 8,
		.val = val,
	});
}

void user_mark(void *addr, __u32 cnt, __u64 val)
{
	__u32 i;

	for (i = 0; i < cnt; i++)
		*(volatile __u64 *)((char *)addr + i * PAGE) = val + i;
}

__u64 user_unmarked(const void *addr, __u32 cnt, __u64 val)
{
	__u64 bad = 0;
	__u32 i;

	for (i = 0; i < cnt; i++)
		bad += *(volatile __u64 *)((char *)addr + i * PAGE) != val + i;

	return bad;
}

void user_fill(void *addr, __u32 cnt, __u64 val)
{
	volatile __u64 *p = addr;
	size_t i;

	for (i = 0; i < cnt * (PAGE / 8); i++)
		p[i] = val;
}

__u64 user_diff(const void *addr, __u32 cnt, __u64 val)
{
	const volatile __u64 *p = addr;
	__u64 bad = 0;
	size_t i;

	for (i = 0; i < cnt * (PAGE / 8); i++)
		bad += p[i] != val;

	return bad;
}

long map_pages(int map_fd)
{
	char path[64], line[128];
	long bytes = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", map_fd);
	f = fopen(path, "r");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "memlock: %ld", &bytes) == 1)
			break;
	fclose(f);

	return bytes < 0 || bytes % PAGE ? -1 : bytes / (long)PAGE;
}

__u32 map_id(int map_fd)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	return bpf_map_get_info_by_fd(map_fd, &info, &len) ? 0 : info.id;
}

int adopted_arenas(void)
{
	DIR *d = opendir(STAT_DIR);
	struct dirent *de;
	int n = 0;

	while (d && (de = readdir(d)))
		n += de->d_name[0] != '.';
	if (d)
		closedir(d);

	return d ? n : -1;
}

long long arena_stat(const struct arena *a, const char *key, const char *name)
{
	struct stat_file f;
	char path[64];

	snprintf(path, sizeof(path), STAT_DIR "/%u", map_id(a->fd));

	return stat_read(&f, path) ? stat_value(&f, key, name) : -1;
}

long free_kib(void)
{
	static const char key[] = "              count:";
	const char *p = read_file("/proc/zoneinfo");
	long pages = 0;

	while (p && (p = strstr(p, key))) {
		p += strlen(key);
		pages += atol(p);
	}

	return pages * (long)(PAGE / 1024) + read_meminfo("MemFree");
}

bool pool_only(enum context ctx)
{
	/* With PREEMPT_RT only kernels with alloc_pages_nolock() have more for atomic callers. */
	return ctx == HARDIRQ || (ctx != SLEEPABLE && is_rt() && !has_intree_nonsleepable);
}

bool pool_ready(const struct arena *a)
{
	long long pages = arena_stat(a, "pool_min", NULL), standby = arena_stat(a, "standby_max", NULL);

	return pages >= 0 && standby >= 0 &&
	       wait_for(arena_stat(a, "pool_nr", NULL) >= pages &&
			arena_stat(a, "standby_nr", NULL) >= standby, 5000);
}

long arena_burst(struct arena *a, __u32 cnt)
{
	struct arena_req r = { .op = REQ_ALLOC_EACH, .cnt = cnt, .node = -1 };

	return arena_run(a, HARDIRQ, 0, &r) ? (long)r.ret : -1;
}

bool arena_exhaust(struct arena *a)
{
	long end = now_ms() + 20000L * patience;
	int failed = 0;

	while (failed < 100 && now_ms() < end) {
		if (arena_alloc_once(a, HARDIRQ, NULL, 1) || arena_alloc_once(a, SLEEPABLE, NULL, 1))
			failed = 0;
		else
			failed++;
		if (failed)
			usleep(2000);
	}

	return failed >= 100;
}

bool arena_settle(struct arena *a, long pages)
{
	int ms;

	for (ms = 0; arena_pages(a) != pages && ms < SETTLE_MS; ms += 2)
		sleep_ms(2);

	return arena_pages(a) == pages;
}

bool arena_freed(struct arena *a, enum context ctx, void *addr, __u32 cnt)
{
	int ms;

	if (ctx == SLEEPABLE)
		return true;
	for (ms = 0; arena_reserve(a, SLEEPABLE, addr, cnt); ms += 2) {
		if (ms > SETTLE_MS)
			return false;
		sleep_ms(2);
	}
	arena_free(a, SLEEPABLE, addr, cnt);

	return true;
}

bool arena_reset(struct arena *a)
{
	arena_free(a, SLEEPABLE, a->base, a->pages);

	return arena_freed(a, UNDER_RCU, a->base, a->pages) && !arena_pages(a);
}

void run_in_contexts(__u32 pages, __u32 flags, unsigned int contexts, context_body *body)
{
	static const char *const names[] = {
		[SLEEPABLE] = "sleepable",
		[UNDER_RCU] = "under rcu",
		[BH_OFF] = "bottom halves disabled",
		[HARDIRQ] = "hard interrupt",
	};
	enum context ctx;
	struct arena a;

	ASSERT(arena_open(&a, pages, flags), "no arena with its programs");
	for (ctx = SLEEPABLE; ctx <= HARDIRQ; ctx++) {
		if (!(contexts & 1U << ctx) || (ctx == HARDIRQ && nr_cpus < 2))
			continue;
		body(&a, ctx);
		if (test_failed())
			printf("# the context was: %s\n", names[ctx]);
		ASSERT_OK();
		ASSERT(arena_reset(&a), "the arena does not get empty");
	}
	arena_close(&a);
}

static __thread sigjmp_buf access_env;

static void access_handler(int sig)
{
	siglongjmp(access_env, sig);
}

static void access_catch(void)
{
	struct sigaction sa = { .sa_handler = access_handler };

	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
}

int user_read_sig(const void *addr, __u64 *val)
{
	__u64 v;
	int sig;

	access_catch();
	sig = sigsetjmp(access_env, 1);
	if (sig)
		return sig;
	v = *(const volatile __u64 *)addr;
	if (val)
		*val = v;

	return 0;
}

int user_write_sig(void *addr, __u64 val)
{
	int sig;

	access_catch();
	sig = sigsetjmp(access_env, 1);
	if (sig)
		return sig;
	*(volatile __u64 *)addr = val;

	return 0;
}

void oom_expected(bool begin)
{
	write_file("/dev/kmsg", begin ? "anl_test: expect oom begin" : "anl_test: expect oom end");
}

bool has_bpf_lsm(void)
{
	const char *lsms;

	if (access("/sys/kernel/security/lsm", F_OK))
		mount("security", "/sys/kernel/security", "securityfs", 0, NULL);
	lsms = read_file("/sys/kernel/security/lsm");

	return lsms && strstr(lsms, "bpf");
}

static int module_btf(void)
{
	struct bpf_btf_info info;
	__u32 id = 0, len;
	char name[64];
	int fd;

	while (!bpf_btf_get_next_id(id, &id)) {
		fd = bpf_btf_get_fd_by_id(id);
		if (fd < 0)
			continue;
		memset(&info, 0, sizeof(info));
		info.name = (__u64)name;
		info.name_len = sizeof(name);
		len = sizeof(info);
		if (!bpf_btf_get_info_by_fd(fd, &info, &len) && !strcmp(name, "arena_nolock"))
			return fd;
		close(fd);
	}

	return -1;
}

int prog_for_arena(const struct bpf_program *prog, int map_fd)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = BPF_F_SLEEPABLE);
	const struct bpf_insn *from = bpf_program__insns(prog);
	size_t n = bpf_program__insn_cnt(prog), i;
	struct bpf_insn insns[64];
	static int btf = -1;
	int fds[16];

	if (btf < 0)
		btf = module_btf();
	if (n > 64)
		return -1;
	for (i = 0; i < 16; i++)
		fds[i] = btf;
	opts.fd_array = fds;
	memcpy(insns, from, n * sizeof(*insns));
	for (i = 0; i < n; i++)
		if (insns[i].code == (BPF_LD | BPF_IMM | BPF_DW) &&
		    insns[i].src_reg == BPF_PSEUDO_MAP_FD)
			insns[i].imm = map_fd;

	return bpf_prog_load(BPF_PROG_TYPE_SYSCALL, "copy", "GPL", insns, n, &opts);
}

bool map_at(int map_fd, void *addr, __u32 pages)
{
	return mmap(addr, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		    map_fd, 0) == addr;
}

/*
 * Peers
 */

enum peer_op { PEER_READ, PEER_WRITE, PEER_UNMAP, PEER_MAP };

struct peer_msg {
	enum peer_op op;
	int sig;
	void *addr;
	__u64 val;
	__u32 pages;
	int fd;
};

static void peer_main(int in, int out)
{
	struct peer_msg m;

	while (read(in, &m, sizeof(m)) == sizeof(m)) {
		switch (m.op) {
		case PEER_READ:
			m.sig = user_read_sig(m.addr, &m.val);
			break;
		case PEER_WRITE:
			m.sig = user_write_sig(m.addr, m.val);
			break;
		case PEER_UNMAP:
			m.sig = munmap(m.addr, m.pages * PAGE) ? errno : 0;
			break;
		case PEER_MAP:
			m.sig = map_at(m.fd, m.addr, m.pages) ? 0 : errno;
			break;
		}
		if (write(out, &m, sizeof(m)) != sizeof(m))
			break;
	}
	_exit(0);
}

static bool peer_call(struct peer *p, struct peer_msg *m)
{
	return write(p->to, m, sizeof(*m)) == sizeof(*m) &&
	       read(p->from, m, sizeof(*m)) == sizeof(*m);
}

bool peer_start(struct peer *p, struct arena *a)
{
	int to[2], from[2];

	if (pipe(to) || pipe(from))
		return false;
	signal(SIGPIPE, SIG_IGN);
	fflush(stdout);
	p->pid = fork();
	if (p->pid < 0)
		return false;
	if (!p->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(to[1]);
		close(from[0]);
		peer_main(to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	p->to = to[1];
	p->from = from[0];

	return peer_map(p, a);
}

int peer_read(struct peer *p, const void *addr, __u64 *val)
{
	struct peer_msg m = { .op = PEER_READ, .addr = (void *)addr };

	if (!peer_call(p, &m))
		return -1;
	if (val)
		*val = m.val;

	return m.sig;
}

int peer_write(struct peer *p, void *addr, __u64 val)
{
	struct peer_msg m = { .op = PEER_WRITE, .addr = addr, .val = val };

	return peer_call(p, &m) ? m.sig : -1;
}

bool peer_unmap(struct peer *p, struct arena *a)
{
	struct peer_msg m = { .op = PEER_UNMAP, .addr = a->base, .pages = a->pages };

	return peer_call(p, &m) && !m.sig;
}

bool peer_map(struct peer *p, struct arena *a)
{
	struct peer_msg m = { .op = PEER_MAP, .addr = a->base, .pages = a->pages, .fd = a->fd };

	return peer_call(p, &m) && !m.sig;
}

void peer_stop(struct peer *p)
{
	close(p->to);
	close(p->from);
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
}

bool attach_clocks(const struct bpf_program *prog)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE, .config = PERF_COUNT_SW_CPU_CLOCK,
		.size = sizeof(attr), .sample_period = 500 * 1000,
	};
	int cpu, fd;

	for (cpu = 0; cpu < nr_cpus; cpu++) {
		fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, 0);
		if (fd < 0 || !bpf_program__attach_perf_event(prog, fd))
			return false;
	}

	return true;
}

bool thread_on(pthread_t *t, int cpu, void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	cpu_set_t set;
	int err;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	err = pthread_create(t, &attr, fn, arg);
	pthread_attr_destroy(&attr);

	return !err;
}
