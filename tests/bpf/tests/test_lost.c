// SPDX-License-Identifier: GPL-2.0
/*
 * Writes after an allocation are never lost. One CPU frees a page and another allocates it
 * in an interrupt. The second CPU has used the page before, so its TLB still has a
 * translation of the address. If the address were free before that translation is gone, the
 * new owner would write to the old page.
 *
 * The same with mappings of user space, which must not show the old page either.
 *
 * On 7.x the kernel's own arena loses writes. The tests try it in the same way to show that
 * they detect lost writes.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/perf_event.h>
#include <linux/types.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "lost.h"
#include "oracle.h"
#include "runner.h"
#include "arena.h"
#include "lost.skel.h"
#include "lost_intree.skel.h"

#define ROUNDS 200
#define WATCH_ROUNDS 100
/* Rounds that went wrong in the kernel's own arena, and suffice. */
#define ENOUGH 20

struct lost {
	struct lost_bpf *mod;
	struct lost_intree_bpf *intree;
	struct bpf_link *link;
	int alloc, free, free_queued, read, swap, fd;
	volatile struct lost_shared *sh;
	char *base;
	int perf;
};

static bool lost_open(struct lost *l, bool intree, __u32 flags)
{
	size_t len;

	memset(l, 0, sizeof(*l));
	l->perf = -1;
#define FDS(skel)								\
	do {									\
		l->alloc = bpf_program__fd((skel)->progs.lost_alloc);		\
		l->free = bpf_program__fd((skel)->progs.lost_free);		\
		l->free_queued = bpf_program__fd((skel)->progs.lost_free_queued); \
		l->read = bpf_program__fd((skel)->progs.lost_read);		\
		l->swap = bpf_program__fd((skel)->progs.lost_swap);		\
		l->fd = bpf_map__fd((skel)->maps.arena);			\
		l->sh = &(skel)->bss->sh;					\
		l->base = bpf_map__initial_value((skel)->maps.arena, &len);	\
	} while (0)
	if (intree) {
		l->intree = lost_intree_bpf__open();
		if (!l->intree ||
		    bpf_map__set_map_flags(l->intree->maps.arena, BPF_F_MMAPABLE | flags) ||
		    lost_intree_bpf__load(l->intree))
			return false;
		FDS(l->intree);
	} else {
		l->mod = lost_bpf__open();
		if (!l->mod ||
		    bpf_map__set_map_flags(l->mod->maps.arena, BPF_F_MMAPABLE | flags) ||
		    lost_bpf__load(l->mod))
			return false;
		FDS(l->mod);
	}
	l->sh->page = l->sh->look = (uintptr_t)l->base + 5 * PAGE;

	return true;
}

static void lost_close(struct lost *l)
{
	bpf_link__destroy(l->link);
	if (l->perf >= 0)
		close(l->perf);
	lost_bpf__destroy(l->mod);
	lost_intree_bpf__destroy(l->intree);
}

/* The taker, in an interrupt of a timer on another CPU than ours. */
static bool lost_attach(struct lost *l, int cpu)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_period = 2 * 1000 * 1000,
	};

	/* It takes its time, and is not to be slowed down for that. */
	write_file("/proc/sys/kernel/perf_cpu_time_max_percent", "0");
	l->perf = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	if (l->perf < 0)
		return false;
	l->link = bpf_program__attach_perf_event(l->mod ? l->mod->progs.lost_take :
						 l->intree->progs.lost_take, l->perf);

	return l->link;
}

static int run(int prog)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	return bpf_prog_test_run_opts(prog, &opts);
}

struct score {
	int rounds, lost;
};

static bool lost_alloc(struct lost *l)
{
	l->sh->val = 0;

	return wait_for(!run(l->alloc) && l->sh->val, 5000);
}

/* One CPU frees, the other one takes; both look what is there. */
static void round_of(struct lost *l, bool queued, struct score *s)
{
	volatile struct lost_shared *sh = l->sh;

	sh->mark = 0x1000 + s->rounds;
	ASSERT(lost_alloc(l), "cannot allocate the page");
	ASSERT_EQ(sh->val, sh->page, "address of the page");
	sh->phase = LOST_WARM;
	ASSERT(wait_for(sh->phase == LOST_HUNT, 5000), "the other CPU does not begin");
	ASSERT(!run(queued ? l->free_queued : l->free), "free");
	ASSERT(wait_for(sh->phase == LOST_GOT, 5000), "the other CPU does not get the page");
	/* Let its interrupt end, and the flushes that waited for that. */
	usleep(3000);
	ASSERT(!run(l->read), "read");
	s->rounds++;
	s->lost += sh->val != sh->mark;
	sh->phase = LOST_IDLE;
	ASSERT(!run(l->free), "free");
}

static void lost_rounds(struct lost *l, bool queued, int rounds, int enough, struct score *s)
{
	memset(s, 0, sizeof(*s));
	while (s->rounds < rounds && s->lost < enough && !test_failed())
		round_of(l, queued, s);
	l->sh->phase = LOST_IDLE;
}

static void module_keeps(bool queued)
{
	struct score s;
	struct lost l;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	ASSERT(lost_open(&l, false, 0), "load");
	ASSERT(pin_cpu(0) && lost_attach(&l, 1), "attach");
	lost_rounds(&l, queued, ROUNDS, ROUNDS, &s);
	printf("# %d of %d rounds lost a write; %llu found the page at once, %llu saw the old one\n",
	       s.lost, s.rounds, l.sh->hot, l.sh->stale);
	ASSERT_OK();
	ASSERT_EQ(s.lost, 0, "writes lost");
	ASSERT_EQ(l.sh->stale, 0, "new pages that were not zero");
	lost_close(&l);
}

TEST(lost, sleepable, "a write to a new page is not lost after a sleepable free of its address")
{
	module_keeps(false);
}

TEST(lost, queued, "a write to a new page is not lost after a deferred free of its address")
{
	module_keeps(true);
}

static void intree_loses(bool queued)
{
	struct score s;
	struct lost l;

	if (nr_cpus < 2)
		SKIP("needs two CPUs");
	if (!has_intree_nonsleepable)
		SKIP("the kernel's own arena does not work in interrupts");
	if (is_rt())
		SKIP("the kernel's own arena has no pages for interrupts with PREEMPT_RT");
	ASSERT(lost_open(&l, true, 0), "load");
	ASSERT(pin_cpu(0) && lost_attach(&l, 1), "attach");
	lost_rounds(&l, queued, ROUNDS, ENOUGH, &s);
	printf("# in tree: %d of %d rounds lost a write; %llu found the page at once, %llu saw the old one\n",
	       s.lost, s.rounds, l.sh->hot, l.sh->stale);
	lost_close(&l);
	ASSERT_OK();
	if (!s.lost)
		SKIP("the kernel's own arena has lost nothing here");
}

TEST(lost, sleepable_intree, "the test detects lost writes: the kernel's own arena loses some")
{
	intree_loses(false);
}

TEST(lost, queued_intree, "the test detects lost writes after deferred frees in the kernel's own arena")
{
	intree_loses(true);
}

/*
 * User mappings
 */

#define WATCHERS 2

/* Shared with a process of its own. */
struct watch {
	struct lost *l;
	uint64_t round;		/* there is a page to look at */
	uint64_t seen[WATCHERS]; /* round in which each has looked last */
	uint64_t wrong[WATCHERS];
	uint64_t what[WATCHERS]; /* what was read instead */
	bool stop;
};

/* Reads all the time, so that there is a user PTE and a translation of it. */
static void watch_page(struct watch *w, int nr)
{
	volatile __u64 *page = (volatile __u64 *)w->l->sh->page;
	uint64_t seen = 0, now;
	__u64 val;

	while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
		now = __atomic_load_n(&w->round, __ATOMIC_ACQUIRE);
		if (user_read_sig((void *)page, &val))
			val = 0;
		if (now == seen || __atomic_load_n(&w->round, __ATOMIC_ACQUIRE) != now)
			continue;
		if (val != now) {
			w->what[nr] = val;
			w->wrong[nr]++;
		}
		/* The program has to find this. */
		user_write_sig((void *)(page + 1 + nr), now);
		seen = now;
		__atomic_store_n(&w->seen[nr], now, __ATOMIC_RELEASE);
	}
}

static void *watch_thread(void *arg)
{
	watch_page(arg, 0);

	return NULL;
}

static pid_t watch_process(struct watch *w)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin_cpu(1 % nr_cpus);
	if (map_at(w->l->fd, w->l->base, LOST_PAGES))
		watch_page(w, 1);
	_exit(0);
}

/* The program writes and user space looks, user space writes and the program looks. */
static void watch_round(struct watch *w, bool queued, struct score *s)
{
	volatile struct lost_shared *sh = w->l->sh;
	uint64_t wrong = w->wrong[0] + w->wrong[1], round = s->rounds + 1;
	bool lost = false;
	int i;

	ASSERT(lost_alloc(w->l), "cannot allocate the page");
	sh->mark = round;
	sh->val = 0;
	ASSERT(!run(w->l->swap) && sh->val, "cannot free and allocate the page");
	__atomic_store_n(&w->round, round, __ATOMIC_RELEASE);
	for (i = 0; i < WATCHERS; i++) {
		ASSERT(wait_for(__atomic_load_n(&w->seen[i], __ATOMIC_ACQUIRE) == round, 10000),
		       "user space does not get on");
		sh->look = sh->page + 8 * (1 + i);
		ASSERT(!run(w->l->read), "read");
		lost |= sh->val != round;
	}
	s->rounds++;
	s->lost += lost || w->wrong[0] + w->wrong[1] != wrong;
	ASSERT(!run(queued ? w->l->free_queued : w->l->free), "free");
}

static void watch_rounds(bool intree, bool queued, int rounds, struct score *s)
{
	struct watch *w = mmap(NULL, sizeof(*w), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_t thread;
	struct lost l;
	pid_t pid;

	memset(s, 0, sizeof(*s));
	ASSERT(w != MAP_FAILED, "mmap");
	ASSERT(lost_open(&l, intree, BPF_F_SEGV_ON_FAULT), "load");
	w->l = &l;
	ASSERT(pin_cpu(0), "pin");
	ASSERT(thread_on(&thread, 1 % nr_cpus, watch_thread, w), "thread");
	fflush(stdout);
	pid = watch_process(w);
	ASSERT(pid > 0, "fork");
	while (s->rounds < rounds && (!intree || s->lost < ENOUGH) && !test_failed())
		watch_round(w, queued, s);
	__atomic_store_n(&w->stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	waitpid(pid, NULL, 0);
	printf("# %s%d of %d rounds went wrong; thread read %llu instead, process %llu\n",
	       intree ? "in tree: " : "", s->lost, s->rounds, (unsigned long long)w->what[0],
	       (unsigned long long)w->what[1]);
	lost_close(&l);
	munmap(w, sizeof(*w));
}

static void module_shows(bool queued)
{
	struct score s;

	watch_rounds(false, queued, WATCH_ROUNDS, &s);
	ASSERT_OK();
	ASSERT_EQ(s.lost, 0, "rounds in which user space and program saw different pages");
}

TEST(lost, user_sleepable, "no user mapping of a page survives a sleepable free")
{
	module_shows(false);
}

TEST(lost, user_queued, "no user mapping of a page survives a deferred free")
{
	module_shows(true);
}

/*
 * The kernel's handler returns a page that a free may have given away meanwhile. What
 * then holds that page may have locked it, and the process waits for ever.
 */
TEST(lost, user_intree, "the test detects user mappings that survive a free, if the kernel's own arena has one")
{
	struct score s;

	if (!has_intree_nonsleepable)
		SKIP("the kernel's own arena does not work in all contexts");
	if (!test_named("lost.user_intree"))
		SKIP("it may hang the kernel's own fault handler permanently; run if named");
	watch_rounds(true, false, ROUNDS, &s);
	ASSERT_OK();
	if (!s.lost)
		SKIP("the kernel's own arena has shown no old page here");
}
