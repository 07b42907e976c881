// SPDX-License-Identifier: GPL-2.0
/*
 * Contexts that test_ctx_each.c leaves out: sections of a sleepable program that cannot
 * sleep, many pages in one NMI, and allocations that interrupt a call on the same arena
 * while it holds the tree's lock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>
#include <sys/syscall.h>

#include "ctx_nested.h"
#include "preempt.h"
#include "runner.h"
#include "arena.h"
#include "ctx_nested.skel.h"

struct env {
	struct ctx_nested_bpf *skel;
	struct bpf_program *prog;
	struct bpf_link *link;
	volatile struct ctx_status *st;
	char *base;
	int fd;
	__u32 pages;
};

static bool env_open_sized(struct env *e, const char *name, __u32 pages)
{
	struct bpf_program *p;
	size_t size;

	memset(e, 0, sizeof(*e));
	e->skel = ctx_nested_bpf__open();
	if (!e->skel)
		return false;
	e->pages = pages;
	bpf_map__set_max_entries(e->skel->maps.arena, pages);
	/* Those that the test itself uses, and the one that it is about. */
	bpf_object__for_each_program(p, e->skel->obj)
		bpf_program__set_autoload(p, p == e->skel->progs.ctx_plain ||
					  p == e->skel->progs.ctx_under_rcu ||
					  p == e->skel->progs.ctx_hammer ||
					  !strcmp(bpf_program__name(p), name));
	e->prog = bpf_object__find_program_by_name(e->skel->obj, name);
	if (!e->prog || ctx_nested_bpf__load(e->skel))
		return false;
	e->st = &e->skel->bss->st;
	e->st->tgid = getpid();
	e->base = bpf_map__initial_value(e->skel->maps.arena, &size);
	e->fd = bpf_map__fd(e->skel->maps.arena);

	return true;
}

static bool env_open(struct env *e, const char *name)
{
	return env_open_sized(e, name, CTX_ARENA_PAGES);
}

static void env_close(struct env *e)
{
	bpf_link__destroy(e->link);
	ctx_nested_bpf__destroy(e->skel);
}

typedef void trigger(struct env *e);

static void run(struct bpf_program *prog)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	bpf_prog_test_run_opts(bpf_program__fd(prog), &opts);
}

static void by_test_run(struct env *e)
{
	run(e->prog);
}

static void by_packet(struct env *e)
{
	static char packet[64];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet));

	bpf_prog_test_run_opts(bpf_program__fd(e->prog), &opts);
}

static void by_getpgid(struct env *e)
{
	syscall(SYS_getpgid, 0);
}

static void by_nmi(struct env *e)
{
	send_nmis();
}

static void op_once(struct env *e, trigger *go, __u32 op)
{
	__u32 done = e->st->done;

	e->st->op = op;
	ASSERT(wait_for((go(e), e->st->done != done), 10000),
	       "did not run in its context (%u times elsewhere)", e->st->elsewhere);
}

static void check_page(const char *page, __u64 mark)
{
	const volatile __u64 *w = (const volatile __u64 *)page;

	ASSERT(w[0] == mark && w[511] == ~mark, "user space reads %#llx and %#llx at %p",
	       (unsigned long long)w[0], (unsigned long long)w[511], page);
}

/* Pages and a block from one run of the program, seen by user space, and freed. */
static void grab_and_drop(struct env *e, trigger *go, __u32 cnt, __u32 block_cnt)
{
	volatile struct ctx_status *st = e->st;
	__u32 i;

	st->cnt = cnt;
	st->block_cnt = block_cnt;
	op_once(e, go, CTX_OP_GRAB);
	ASSERT_OK();
	for (i = 0; i < cnt; i++) {
		ASSERT(st->page[i], "no page %u of %u", i, cnt);
		check_page((char *)st->page[i], CTX_MARK + i);
		ASSERT_OK();
	}
	ASSERT(st->block, "no block of %u pages", block_cnt);
	for (i = 0; i < block_cnt; i++) {
		check_page((char *)st->block + i * PAGE, CTX_MARK - i);
		ASSERT_OK();
	}
	ASSERT_EQ(st->dirty, 0, "pages that were not zero");
	ASSERT_EQ(map_pages(e->fd), cnt + block_cnt, "pages of the arena");
	op_once(e, go, CTX_OP_DROP);
	ASSERT_OK();
	ASSERT(wait_for(!map_pages(e->fd), 5000), "%ld pages left after the free",
	       map_pages(e->fd));
}

/* Nothing is lost: the whole arena can be had in one piece. */
static void check_whole(struct env *e)
{
	volatile struct ctx_status *st = e->st;
	long end = now_ms() + 5000;
	__u32 need = st->need;

	ASSERT(wait_for(!map_pages(e->fd), 5000), "%ld pages left", map_pages(e->fd));
	st->cnt = 0;
	st->block_cnt = e->pages;
	st->need = 0;
	do {
		st->op = CTX_OP_GRAB;
		run(e->skel->progs.ctx_plain);
	} while (!st->block && now_ms() < end && !usleep(10000));
	ASSERT(st->block, "the arena is not whole again");
	ASSERT_EQ(st->block, (__u64)e->base, "the whole arena");
	ASSERT_EQ(st->dirty, 0, "pages that were not zero");
	st->op = CTX_OP_DROP;
	run(e->skel->progs.ctx_plain);
	ASSERT_EQ(map_pages(e->fd), 0, "pages left after a free that could sleep");
	st->need = need;
}

TEST(ctx, tp_btf, "a tp_btf program allocates and frees, and user space sees its data")
{
	struct env e;

	ASSERT(env_open(&e, "ctx_tp_btf"), "load");
	e.link = bpf_program__attach(e.prog);
	ASSERT(e.link, "attach: %s", strerror(errno));
	grab_and_drop(&e, by_getpgid, 16, 16);
	ASSERT_OK();
	ASSERT(e.st->nesting > 0, "was not under rcu_read_lock()");
	check_whole(&e);
	env_close(&e);
}

TEST(ctx, socket_test_run, "a socket filter in a test run allocates and frees")
{
	struct pc_layout pc;
	struct env e;

	ASSERT(find_pc_layout(&pc), "BTF");
	ASSERT(env_open(&e, "ctx_filter"), "load");
	e.st->need = pc.bh_off;
	grab_and_drop(&e, by_packet, 16, 16);
	ASSERT_OK();
	ASSERT_EQ(e.st->elsewhere, 0, "runs in another context");
	check_whole(&e);
	env_close(&e);
}

/*
 * The program may sleep, this section of it may not, and only RCU knows. Whether
 * the module knows too shows in its frees: complete on return, or queued.
 */
TEST(ctx, rcu_seen, "the module knows that a program cannot sleep under bpf_rcu_read_lock()")
{
	volatile struct ctx_status *st;
	struct env e;

	ASSERT(env_open(&e, "ctx_under_rcu"), "load");
	st = e.st;
	grab_and_drop(&e, by_test_run, 16, 16);
	ASSERT_OK();
	ASSERT_EQ(st->nesting, 1, "nesting of rcu_read_lock()");
	st->times = 50;
	op_once(&e, by_test_run, CTX_OP_AGAIN);
	ASSERT_OK();
	ASSERT_EQ(st->tried_again, 50, "pages under rcu_read_lock()");
	ASSERT(st->got_again < 50, "frees did not wait for the end of rcu_read_lock()");
	printf("# %u of 50 free at once\n", st->got_again);
	check_whole(&e);
	ASSERT_OK();

	st->tried_again = st->got_again = 0;
	st->op = CTX_OP_AGAIN;
	run(e.skel->progs.ctx_plain);
	ASSERT_EQ(st->nesting, 0, "nesting in the sleepable program");
	ASSERT_EQ(st->tried_again, 50, "pages in the sleepable program");
	ASSERT_EQ(st->got_again, 50, "frees of a sleepable program that were complete");
	check_whole(&e);
	env_close(&e);
}

/*
 * NMI
 */

static bool nmi_open(struct env *e)
{
	struct pc_layout pc;

	if (!find_pc_layout(&pc) || !env_open(e, "ctx_in_nmi"))
		return false;
	e->st->need = pc.nmi;
	e->link = attach_nmis(e->prog);

	return e->link;
}

static void nmi_many(struct env *e)
{
	int i;

	for (i = 0; i < 5; i++) {
		grab_and_drop(e, by_nmi, CTX_MAX_PAGES, CTX_MAX_PAGES);
		ASSERT_OK();
		/* The pages that were taken are replaced by a worker. */
		usleep(200 * 1000);
	}
	ASSERT_EQ(e->st->elsewhere, 0, "runs outside of an NMI");
	check_whole(e);
}

TEST(ctx, nmi_many, "one NMI gets 64 pages and a block of 64, and another frees them")
{
	struct env e;

	NEED_NMIS();
	ASSERT(nmi_open(&e), "load and attach");
	nmi_many(&e);
	env_close(&e);
}

/* More than is kept for contexts like this. Some kernels have more to give. */
static void nmi_too_many(struct env *e)
{
	volatile struct ctx_status *st = e->st;

	st->cnt = 0;
	st->block_cnt = CTX_ARENA_PAGES;
	op_once(e, by_nmi, CTX_OP_GRAB);
	ASSERT_OK();
	printf("# %d pages in an NMI: %s\n", CTX_ARENA_PAGES, st->block ? "yes" : "no");
	ASSERT_EQ(map_pages(e->fd), st->block ? CTX_ARENA_PAGES : 0, "all or nothing");
	if (st->block) {
		op_once(e, by_nmi, CTX_OP_DROP);
		ASSERT_OK();
	}
	usleep(200 * 1000);
	grab_and_drop(e, by_nmi, 1, CTX_MAX_PAGES);
	ASSERT_OK();
	check_whole(e);
}

TEST(ctx, nmi_too_many, "an NMI that requests more pages than there are gets all or none")
{
	struct env e;

	NEED_NMIS();
	ASSERT(nmi_open(&e), "load and attach");
	nmi_too_many(&e);
	env_close(&e);
}

static volatile bool hammer_stop;

static void *hammer(void *arg)
{
	struct env *e = arg;

	e->st->times = 100;
	while (!hammer_stop)
		run(e->skel->progs.ctx_hammer);

	return NULL;
}

static void nmi_on_top(struct env *e)
{
	volatile struct ctx_status *st = e->st;
	long end = now_ms() + 1500;

	st->op = CTX_OP_ROUND;
	while (now_ms() < end || (st->rounds < 50 && now_ms() < end + 20000)) {
		by_nmi(e);
		usleep(1000);
	}
	st->op = CTX_OP_NONE;
	printf("# %u rounds in an NMI, %u of them without %d pages at once; %u rounds below\n",
	       st->rounds, st->no_pages, CTX_ROUND_PAGES, st->hammered);
	ASSERT(st->rounds >= 50, "%u rounds in an NMI", st->rounds);
	ASSERT(st->hammered, "nothing ran below the NMIs");
	ASSERT_EQ(st->no_page, 0, "single pages that an NMI did not get");
	ASSERT_EQ(st->dirty, 0, "pages that were not zero");
}

TEST(ctx, nmi_on_top, "an NMI gets pages from an arena that it interrupts a call on")
{
	struct env e;
	pthread_t t;

	NEED_NMIS();
	ASSERT(nmi_open(&e), "load and attach");
	pin_cpu(0);
	ASSERT(thread_on(&t, 1, hammer, &e), "thread");
	nmi_on_top(&e);
	hammer_stop = true;
	pthread_join(t, NULL);
	if (!test_failed())
		check_whole(&e);
	env_close(&e);
}

/*
 * On top of the lock's holder, for certain: kprobes all along a function that
 * holds the lock for most of its length.
 */

#define PROBES_MAX 24
#define PROBES_APART 16
#define PROBES_RANGE 512

struct probe {
	struct bpf_link *link;
	int off;
};

static int probe_attach(struct env *e, struct probe *probes, const char *func)
{
	int off, n = 0;

	for (off = 0; n < PROBES_MAX; off++) {
		LIBBPF_OPTS(bpf_kprobe_opts, opts, .offset = off, .bpf_cookie = off + 1);
		struct bpf_link *link = bpf_program__attach_kprobe_opts(e->prog, func, &opts);

		/* Refused where no instruction begins. */
		if (link) {
			probes[n++] = (struct probe){ link, off };
			off += PROBES_APART;
		} else if (off > PROBES_RANGE) {
			break;
		}
	}

	return n;
}

static void probe_each(struct env *e, const struct probe *probes, int n, const char *func)
{
	volatile struct ctx_status *st = e->st;
	__u32 hit = 0, inside = 0;
	int i;

	for (i = 0; i < n; i++) {
		__u32 rounds = st->rounds, no_pages = st->no_pages;

		st->op = CTX_OP_ROUND;
		st->armed = probes[i].off + 1;
		st->times = 1;
		run(e->skel->progs.ctx_hammer);
		st->armed = 0;
		st->op = CTX_OP_NONE;
		if (st->rounds == rounds)
			continue;
		hit++;
		inside += st->no_pages != no_pages;
		ASSERT_EQ(st->no_page, 0, "a page on top of the lock's holder");
		ASSERT_EQ(st->dirty, 0, "pages that were not zero");
		/* What was used up is replaced by a worker. */
		usleep(5000);
	}
	printf("# %s(): %d probes, %u hit, %u of them under the lock\n", func, n, hit, inside);
	ASSERT(hit > 5, "only %u of %d probes were hit", hit, n);
	ASSERT(inside, "no probe was under the lock");
}

static void on_top_of(const char *func)
{
	struct probe probes[PROBES_MAX];
	struct env e;
	int i, n;

	libbpf_set_print(NULL);
	ASSERT(env_open(&e, "ctx_probe"), "load");
	n = probe_attach(&e, probes, func);
	ASSERT(n, "no probe in %s(): %s", func, strerror(errno));
	probe_each(&e, probes, n, func);
	for (i = 0; i < n; i++)
		bpf_link__destroy(probes[i].link);
	if (!test_failed())
		check_whole(&e);
	env_close(&e);
}

TEST(ctx, on_top_of_alloc, "a program that interrupts an allocation under the tree's lock gets a page")
{
	on_top_of("anl_tree_alloc");
}

TEST(ctx, on_top_of_free, "a program that interrupts a release under the tree's lock gets a page")
{
	on_top_of("anl_tree_release");
}

/* An allocation finds the magazine of its CPU empty, and another one fills it before it can. */
static void fill_on_top(struct env *e)
{
	volatile struct ctx_status *st = e->st;
	__u32 rounds = st->rounds;

	/* Without freed pages that would be reused. */
	ASSERT(wait_for(!map_pages(e->fd), 5000), "%ld pages left", map_pages(e->fd));
	st->op = CTX_OP_SINGLE;
	st->armed = 1;
	run(e->skel->progs.ctx_under_rcu);
	ASSERT_EQ(st->armed, 0, "the magazine was not filled");
	ASSERT_EQ(st->rounds - rounds, 2, "rounds, one on top of the other");
	/* A caller that can sleep empties it. */
	st->op = CTX_OP_ROUND;
	run(e->skel->progs.ctx_plain);
	st->op = CTX_OP_NONE;
}

TEST(ctx, on_top_of_fill, "two allocations that fill the magazine of a CPU at once lose no page")
{
	LIBBPF_OPTS(bpf_kprobe_opts, opts, .bpf_cookie = 1);
	struct env e;
	int i;

	ASSERT(env_open_sized(&e, "ctx_probe", 64 * CTX_MAX_PAGES), "load");
	e.link = bpf_program__attach_kprobe_opts(e.prog, "anl_cached_fill", &opts);
	ASSERT(e.link, "attach: %s", strerror(errno));
	ASSERT(pin_cpu(0), "pin");
	for (i = 0; i < 20; i++) {
		fill_on_top(&e);
		ASSERT_OK();
	}
	ASSERT_EQ(e.st->no_page, 0, "single pages");
	ASSERT_EQ(e.st->dirty, 0, "pages that were not zero");
	check_whole(&e);
	env_close(&e);
}
