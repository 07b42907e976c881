// SPDX-License-Identifier: GPL-2.0
/*
 * The kfuncs from each context (ctx_each.bpf.c). Every test takes the same steps: a program
 * allocates and reserves; user space finds what the program wrote and changes it; the
 * program finds the changes and frees everything; the addresses come back with zeroed
 * pages. Then the program allocates, uses and frees a page many times.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/perf_event.h>
#include <linux/types.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "ctx_each.h"
#include "preempt.h"
#include "runner.h"
#include "ctx_each.skel.h"

#define PAGE ((long)sysconf(_SC_PAGESIZE))
#define PORT 7311

static struct pc_layout pc;
/* The log of the verifier, if a test requests it. */
static char verifier_log[1 << 16];
static bool want_log;

enum where { TASK, NO_IRQ, PREEMPT_OFF, BH_OFF, SOFTIRQ, HARDIRQ, NMI };

struct env {
	struct ctx_each_bpf *skel;
	struct bpf_program *prog;
	struct bpf_link *link;
	volatile struct ctx_shared *sh;
	char *base;
	int map_fd;
	int fd;		/* of whatever triggers */
};

struct way {
	const char *prog;
	enum where where;
	bool deferred;		/* cannot sleep, so its frees are queued */
	bool only_there;	/* never runs anywhere else */
	/* NULL: bpf_program__attach(), or nothing for a program run by test_run. */
	bool (*attach)(struct env *e);
	void (*trigger)(struct env *e);
	int cycles;
};

static void expect_where(volatile struct ctx_shared *sh, enum where where)
{
	sh->need = sh->forbid = 0;
	switch (where) {
	case TASK:
		sh->forbid = pc.preempt | pc.bh_off | pc.softirq | pc.hardirq | pc.nmi;
		break;
	case NO_IRQ:
		sh->forbid = pc.bh_off | pc.softirq | pc.hardirq | pc.nmi;
		break;
	case PREEMPT_OFF:
		sh->need = pc.preempt;
		sh->forbid = pc.bh_off | pc.softirq | pc.hardirq | pc.nmi;
		break;
	case BH_OFF:
		sh->need = pc.bh_off;
		sh->forbid = pc.softirq | pc.hardirq | pc.nmi;
		break;
	case SOFTIRQ:
		sh->need = pc.softirq;
		sh->forbid = pc.hardirq | pc.nmi;
		break;
	case HARDIRQ:
		sh->need = pc.hardirq;
		sh->forbid = pc.nmi;
		break;
	case NMI:
		sh->need = pc.nmi;
		break;
	}
}

/* Pages that the arena holds, as bpftool map show would say. */
static long populated(int map_fd)
{
	char path[64], *p;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", map_fd);
	p = read_file(path);
	p = p ? strstr(p, "memlock:") : NULL;

	return p ? atol(p + strlen("memlock:")) / PAGE : -1;
}

static bool mount_tracefs(void)
{
	if (!access("/sys/kernel/tracing/events", F_OK))
		return true;

	return !mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
}

/*
 * Ways to get a program run
 */

static void run_ctx_prog(struct env *e)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	bpf_prog_test_run_opts(bpf_program__fd(e->prog), &opts);
}

static void run_packet_prog(struct env *e)
{
	static char packet[64];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet));

	bpf_prog_test_run_opts(bpf_program__fd(e->prog), &opts);
}

static void call_getpgid(struct env *e)
{
	syscall(SYS_getpgid, 0);
}

static void sleep_a_bit(struct env *e)
{
	usleep(200);
}

static bool open_perf_event(struct env *e)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_period = 500 * 1000,
	};

	e->fd = syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	if (e->fd < 0)
		return false;
	e->link = bpf_program__attach_perf_event(e->prog, e->fd);

	return e->link;
}

static int udp_socket(void)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons(PORT),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	ifr.ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr) || bind(fd, (struct sockaddr *)&to, sizeof(to)) ||
	    connect(fd, (struct sockaddr *)&to, sizeof(to))) {
		close(fd);
		return -1;
	}

	return fd;
}

static bool attach_xdp_lo(struct env *e)
{
	e->fd = udp_socket();
	if (e->fd < 0)
		return false;
	e->link = bpf_program__attach_xdp(e->prog, if_nametoindex("lo"));

	return e->link;
}

static bool attach_socket(struct env *e)
{
	int prog = bpf_program__fd(e->prog);

	e->fd = udp_socket();

	return e->fd >= 0 && !setsockopt(e->fd, SOL_SOCKET, SO_ATTACH_BPF, &prog, sizeof(prog));
}

static void send_packet(struct env *e)
{
	char buf[16];

	if (send(e->fd, "x", 1, 0) == 1)
		while (recv(e->fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
			;
}

static bool attach_to_nmis(struct env *e)
{
	e->link = attach_nmis(e->prog);

	return e->link;
}

static void trigger_nmis(struct env *e)
{
	send_nmis();
}

/*
 * The story
 */

static bool command(struct env *e, const struct way *way, enum ctx_cmd cmd, int ms)
{
	e->sh->cmd = cmd;

	return wait_for((way->trigger(e), !e->sh->cmd), ms);
}

/* Give a command once and wait until it was obeyed. */
#define COMMAND(e, way, cmd_)							\
	do {									\
		__u32 done_ = (e)->sh->done;					\
										\
		ASSERT(command(e, way, cmd_, 10000),				\
		       "%s: did not run in its context (%u times elsewhere)",	\
		       (way)->prog, (e)->sh->elsewhere);			\
		ASSERT(wait_for((e)->sh->done != done_, 2000),			\
		       "%s: command not finished", (way)->prog);		\
	} while (0)

static bool page_is(const char *page, __u64 val)
{
	const volatile __u64 *w = (const volatile __u64 *)page;
	int i;

	for (i = 0; i < CTX_WORDS; i++)
		if (w[i * CTX_STEP] != val)
			return false;

	return true;
}

static void check_alloc(struct env *e, __u64 pattern)
{
	volatile struct ctx_shared *sh = e->sh;
	char *many, *page;
	int i;

	ASSERT(sh->page, "no page");
	ASSERT(sh->many, "no %d pages", CTX_MANY);
	ASSERT_EQ(sh->page, sh->base, "lowest free address, and freed pages are the next");
	ASSERT_EQ(sh->many, sh->base + PAGE, "lowest free address for more pages");
	ASSERT_EQ(sh->dirty, 0, "words of new pages that were not zero");
	ASSERT_EQ(sh->wrong, 0, "words that did not keep what was written");
	ASSERT_EQ(sh->reserved, 0, "reserve");
	ASSERT_EQ(sh->reserved_again, -EBUSY, "reserve what is reserved");
	ASSERT_EQ(sh->reserved_outside, -EINVAL, "reserve outside of the arena");
	ASSERT_EQ(populated(e->map_fd), 1 + CTX_MANY, "pages of the arena");

	page = (char *)sh->page;
	ASSERT(page_is(page, pattern), "user space does not see what the program wrote");
	for (i = 0, many = (char *)sh->many; i < CTX_MANY; i++)
		ASSERT(page_is(many + i * PAGE, pattern + 1 + i),
		       "user space does not see what the program wrote in page %d", i);
	/* What the program expects to find at the next command. */
	for (i = 0; i < PAGE / 8; i++)
		((volatile __u64 *)page)[i] = ~pattern;
}

/* Whatever the program left is to be gone: at once, or soon if it cannot sleep. */
static void check_freed(struct env *e, const struct way *way)
{
	if (way->deferred)
		wait_for(!populated(e->map_fd), 5000);
	ASSERT_EQ(populated(e->map_fd), 0, "pages left after the free");
}

/*
 * Queued addresses are free a little after their pages are gone, and an
 * allocation before that gets others. An NMI may find its own CPU at work on the
 * tree of addresses, and then gets a single page only.
 */
static void alloc_again(struct env *e, const struct way *way)
{
	volatile struct ctx_shared *sh = e->sh;
	long end = now_ms() + 5000;

	for (;;) {
		COMMAND(e, way, CTX_ALLOC);
		ASSERT_EQ(sh->dirty, 0, "words of new pages that were not zero");
		if (!way->deferred || !sh->page || (!sh->many && way->where != NMI) ||
		    now_ms() > end)
			return;
		if (sh->page == sh->base && sh->many == sh->base + PAGE && !sh->reserved)
			return;
		COMMAND(e, way, CTX_FREE);
		sh->wrong = 0;
		check_freed(e, way);
		ASSERT_OK();
		usleep(10000);
	}
}

static void story(struct env *e, const struct way *way)
{
	volatile struct ctx_shared *sh = e->sh;
	int round;

	for (round = 0; round < 2; round++) {
		sh->pattern = 0x5eed0000 + round * 16;
		alloc_again(e, way);
		ASSERT_OK();
		check_alloc(e, sh->pattern);
		ASSERT_OK();
		COMMAND(e, way, CTX_FREE);
		ASSERT_EQ(sh->wrong, 0, "words of user space that the program did not find");
		check_freed(e, way);
		ASSERT_OK();
	}
	if (!way->cycles)
		return;

	sh->cycles = way->cycles;
	ASSERT(command(e, way, CTX_CYCLE, 25000), "%s: only %llu of %d rounds", way->prog,
	       (unsigned long long)sh->cycles_done, way->cycles);
	wait_for(false, 5);
	printf("# %llu rounds, %llu without a page\n", (unsigned long long)sh->cycles_done,
	       (unsigned long long)sh->cycles_failed);
	ASSERT(sh->cycles_done >= sh->cycles, "rounds");
	ASSERT_EQ(sh->cycles_failed, 0, "allocations failed");
	ASSERT_EQ(sh->dirty, 0, "words of new pages that were not zero");
	ASSERT_EQ(sh->wrong, 0, "words that did not keep what was written");
	ASSERT(wait_for(!populated(e->map_fd), 5000), "%ld pages left at the end",
	       populated(e->map_fd));
}

static bool open_way(struct env *e, const struct way *way)
{
	struct bpf_program *p;
	size_t size;

	memset(e, 0, sizeof(*e));
	e->fd = -1;
	e->skel = ctx_each_bpf__open();
	if (!e->skel || !find_pc_layout(&pc))
		return false;
	bpf_object__for_each_program(p, e->skel->obj)
		bpf_program__set_autoload(p, !strcmp(bpf_program__name(p), way->prog));
	e->prog = bpf_object__find_program_by_name(e->skel->obj, way->prog);
	if (want_log)
		bpf_program__set_log_buf(e->prog, verifier_log, sizeof(verifier_log));
	errno = -ctx_each_bpf__load(e->skel);
	if (errno)
		return false;
	e->map_fd = bpf_map__fd(e->skel->maps.arena);
	e->base = bpf_map__initial_value(e->skel->maps.arena, &size);
	e->sh = &e->skel->bss->sh;
	e->sh->base = (__u64)e->base;
	e->sh->reserve = (__u64)e->base + 512 * PAGE;
	e->sh->tgid = getpid();
	expect_where(e->sh, way->where);

	return e->prog;
}

static void run_way(const struct way *way)
{
	struct env env, *e = &env;

	ASSERT(mount_tracefs(), "tracefs: %s", strerror(errno));
	errno = 0;
	if (!open_way(e, way)) {
		if (is_rt() && errno == EOPNOTSUPP)
			SKIP("this kernel refuses such programs with PREEMPT_RT");
		ASSERT(false, "%s: load: %s", way->prog, strerror(errno));
	}
	if (way->attach) {
		ASSERT(way->attach(e), "%s: attach: %s", way->prog, strerror(errno));
	} else if (way->trigger != run_packet_prog && way->trigger != run_ctx_prog) {
		e->link = bpf_program__attach(e->prog);
		ASSERT(e->link, "%s: attach: %s", way->prog, strerror(errno));
	}
	story(e, way);
	printf("# preempt_count %#x\n", e->sh->pc);
	if (way->only_there && !test_failed())
		ASSERT_EQ(e->sh->elsewhere, 0, "runs in another context");
	bpf_link__destroy(e->link);
	if (e->fd >= 0)
		close(e->fd);
	ctx_each_bpf__destroy(e->skel);
}

#define RUN_WAY(...) run_way(&(struct way){ __VA_ARGS__ })

static bool kernel_has(const char *func)
{
	struct btf *btf = btf__load_vmlinux_btf();
	bool has = btf && btf__find_by_name_kind(btf, func, BTF_KIND_FUNC) > 0;

	btf__free(btf);

	return has;
}

/* Without PREEMPT_RCU, preemption is off in a section of RCU. */
static enum where under_rcu(void)
{
	return kernel_has("__rcu_read_lock") ? TASK : PREEMPT_OFF;
}

TEST(ctx, syscall, "a sleepable syscall program allocates, reserves and frees")
{
	RUN_WAY("ctx_syscall", TASK, false, true, NULL, run_ctx_prog, 50);
}

static bool attach_self(struct env *e)
{
	e->link = bpf_program__attach(e->prog);

	return e->link;
}

TEST(ctx, fentry_sleepable, "a sleepable fentry program allocates, reserves and frees")
{
	RUN_WAY("ctx_fentry_s", TASK, false, true, attach_self, run_ctx_prog, 50);
}

/* Not sleepable, though nothing in preempt_count says so: it is under RCU. */
TEST(ctx, fentry, "a fentry program allocates, reserves and frees")
{
	RUN_WAY("ctx_fentry", under_rcu(), true, false, NULL, call_getpgid, 200);
}

TEST(ctx, kprobe, "a kprobe program allocates, reserves and frees")
{
	RUN_WAY("ctx_kprobe", PREEMPT_OFF, true, true, NULL, call_getpgid, 200);
}

TEST(ctx, tracepoint, "a tracepoint program allocates, reserves and frees")
{
	RUN_WAY("ctx_tracepoint", NO_IRQ, true, true, NULL, call_getpgid, 200);
}

TEST(ctx, raw_tp, "a raw tracepoint program allocates, reserves and frees")
{
	RUN_WAY("ctx_raw_tp", NO_IRQ, true, false, NULL, call_getpgid, 200);
}

TEST(ctx, tc, "a tc program allocates, reserves and frees")
{
	RUN_WAY("ctx_tc", BH_OFF, true, true, NULL, run_packet_prog, 200);
}

TEST(ctx, socket, "a socket filter allocates, reserves and frees as packets arrive")
{
	RUN_WAY("ctx_socket", SOFTIRQ, true, false, attach_socket, send_packet, 200);
}

TEST(ctx, xdp, "an XDP program allocates, reserves and frees")
{
	RUN_WAY("ctx_xdp", BH_OFF, true, true, NULL, run_packet_prog, 200);
}

TEST(ctx, xdp_packets, "an XDP program on an interface allocates, reserves and frees as packets arrive")
{
	RUN_WAY("ctx_xdp", SOFTIRQ, true, false, attach_xdp_lo, send_packet, 200);
}

TEST(ctx, perf_event, "a sampling program allocates, reserves and frees")
{
	RUN_WAY("ctx_perf_event", HARDIRQ, true, true, open_perf_event, sleep_a_bit, 200);
}

TEST(ctx, timer, "a timer's callback allocates, reserves and frees")
{
	RUN_WAY("ctx_timer", SOFTIRQ, true, true, NULL, run_packet_prog, 50);
}

TEST(ctx, workqueue, "a workqueue's callback allocates, reserves and frees")
{
	RUN_WAY("ctx_wq", TASK, false, true, NULL, run_packet_prog, 50);
}

TEST(ctx, softirq, "a program in a softirq allocates, reserves and frees")
{
	RUN_WAY("ctx_softirq", SOFTIRQ, true, false, NULL, sleep_a_bit, 200);
}

TEST(ctx, hardirq, "a program in a hard interrupt allocates, reserves and frees")
{
	RUN_WAY("ctx_hardirq", HARDIRQ, true, false, NULL, sleep_a_bit, 200);
}

TEST(ctx, sched_switch, "a program that runs with the scheduler's lock held allocates, reserves and frees")
{
	RUN_WAY("ctx_sched_switch", PREEMPT_OFF, true, false, NULL, sleep_a_bit, 200);
}

TEST(ctx, rcu, "a sleepable program under bpf_rcu_read_lock() allocates, reserves and frees")
{
	RUN_WAY("ctx_rcu", under_rcu(), true, true, NULL, run_ctx_prog, 200);
}

TEST(ctx, preempt_off, "a sleepable program under bpf_preempt_disable() allocates, reserves and frees")
{
	RUN_WAY("ctx_preempt_off", PREEMPT_OFF, true, true, NULL, run_ctx_prog, 200);
}

TEST(ctx, irq_off, "a sleepable program under bpf_local_irq_save() allocates, reserves and frees")
{
	if (!kernel_has("bpf_local_irq_save"))
		SKIP("this kernel has no bpf_local_irq_save()");
	RUN_WAY("ctx_irq_off", TASK, true, false, NULL, run_ctx_prog, 200);
}

TEST(ctx, spin_lock, "a program under bpf_spin_lock allocates, reserves and frees if the kernel allows calls there")
{
	static const struct way way = { "ctx_spin_lock", BH_OFF, true, true, NULL, run_packet_prog, 0 };
	struct env e;

	/* Only the version tells: a flag of kfuncs, which no symbol or type shows. */
	if (kver >= 70003) {
		run_way(&way);
		return;
	}
	/* Refused, and for no other reason than the lock. */
	libbpf_set_print(NULL);
	want_log = true;
	ASSERT(!open_way(&e, &way), "a kernel without calls under a lock loaded one");
	ASSERT(strstr(verifier_log, "lock"), "refused: %s", verifier_log);
	ctx_each_bpf__destroy(e.skel);
}

TEST(ctx, nmi, "a program in an NMI allocates, reserves and frees, 300 times")
{
	NEED_NMIS();
	RUN_WAY("ctx_nmi", NMI, true, true, attach_to_nmis, trigger_nmis, 300);
}

TEST(ctx, nmi_counter, "the same in NMIs of a hardware counter")
{
	char usual[32];

	snprintf(usual, sizeof(usual), "%s", nmi_tracepoint());
	if (!write_file(NMI_TRACEPOINT, "anl_test_nmi"))
		SKIP("no hardware counter of this machine interrupts by NMIs");
	RUN_WAY("ctx_nmi", NMI, true, true, attach_to_nmis, trigger_nmis, 300);
	write_file(NMI_TRACEPOINT, usual);
}
