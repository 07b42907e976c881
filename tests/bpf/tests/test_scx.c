// SPDX-License-Identifier: GPL-2.0
/*
 * sched_ext schedulers of the cid form (7.x). The kernel itself allocates from their arena
 * whenever they are enabled, in chunks of four pages. That must work on a stock arena, on an
 * adopted one, and while it is being adopted; and the pages are the arena's like all others.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "kernel_user.h"
#include "oracle.h"
#include "runner.h"
#include "arena.h"
#include "scx.h"
#include "scx_cid.skel.h"

/* What the kernel takes from the arena at a time. */
#define CHUNK 4

/* How long an adoption is kept waiting. */
#define HOLD_MS 1000

struct scheduler {
	struct scx_cid_bpf *skel;
	struct bpf_link *link;
	char *base;
	__u32 pages;
	int fd;
};

/* With @init the scheduler has a program that calls our kfuncs, and so the arena is adopted. */
static bool sched_open(struct scheduler *s, bool init)
{
	size_t size;

	memset(s, 0, sizeof(*s));
	s->skel = scx_cid_bpf__open();
	if (!s->skel)
		return false;
	if (!init) {
		bpf_program__set_autoload(s->skel->progs.cid_init, false);
		s->skel->struct_ops.cid_ops->init = NULL;
	}
	if (scx_cid_bpf__load(s->skel)) {
		scx_cid_bpf__destroy(s->skel);
		return false;
	}
	s->fd = bpf_map__fd(s->skel->maps.arena);
	s->pages = bpf_map__max_entries(s->skel->maps.arena);
	s->base = bpf_map__initial_value(s->skel->maps.arena, &size);

	return true;
}

static bool sched_enable(struct scheduler *s)
{
	s->link = bpf_map__attach_struct_ops(s->skel->maps.cid_ops);

	return s->link && scx_state_is("enabled");
}

static bool sched_disable(struct scheduler *s)
{
	bpf_link__destroy(s->link);
	s->link = NULL;

	return wait_for(scx_state_is("disabled"), 10000);
}

static void sched_close(struct scheduler *s)
{
	scx_cid_bpf__destroy(s->skel);
}

/* Does the machine go on while the scheduler is enabled? */
static bool sched_works(void)
{
	int i;

	for (i = 0; i < 20; i++)
		usleep(5000);

	return scx_state_is("enabled");
}

TEST(scx, adopted, "a cid-form scheduler is enabled on an adopted arena, again and again")
{
	struct scheduler s;
	int i;

	NEED_SCX(scx_cid_unfit);
	ASSERT(sched_open(&s, true), "load");
	for (i = 1; i <= 3; i++) {
		s.skel->bss->allocate = i == 1;
		ASSERT(sched_enable(&s), "round %d: %s", i, strerror(errno));
		ASSERT(sched_works(), "the kernel has ended the scheduler");
		ASSERT(map_pages(s.fd) >= CHUNK * i, "%ld pages after %d times", map_pages(s.fd), i);
		ASSERT(sched_disable(&s), "it stays enabled");
	}
	ASSERT(s.skel->bss->page, "no page for the scheduler's own program");
	sched_close(&s);
}

TEST(scx, stock, "a cid-form scheduler whose arena is not adopted works as without the module")
{
	struct scheduler s;

	NEED_SCX(scx_cid_unfit);
	ASSERT(sched_open(&s, false), "load");
	ASSERT(sched_enable(&s), "enable: %s", strerror(errno));
	ASSERT(sched_works(), "the kernel has ended the scheduler");
	ASSERT(sched_disable(&s), "it stays enabled");
	sched_close(&s);
}

TEST(scx, adopted_while_enabled, "an arena keeps the kernel's pages when it is adopted")
{
	struct scheduler s;
	struct arena a;
	long stock, pages;

	NEED_SCX(scx_cid_unfit);
	ASSERT(sched_open(&s, false), "load");
	ASSERT(sched_enable(&s), "enable: %s", strerror(errno));
	stock = map_pages(s.fd);
	ASSERT(arena_attach(&a, s.fd, s.base, s.pages), "adopt");
	ASSERT(sched_works(), "the kernel has ended the scheduler");
	pages = map_pages(s.fd);
	ASSERT(pages >= CHUNK, "%ld pages of the kernel's", pages);
	/* A stock arena of 7.2 does not count its pages. */
	if (stock)
		ASSERT_EQ(pages, stock, "pages");
	/* The rest of the arena, and not the kernel's pages. */
	ASSERT(arena_alloc_once(&a, SLEEPABLE, NULL, s.pages - pages), "the rest");
	ASSERT(!arena_alloc_once(&a, SLEEPABLE, NULL, 1), "a page more than there are");
	ASSERT(sched_disable(&s), "it stays enabled");
	arena_close(&a);
	sched_close(&s);
}

TEST(scx, last_pages, "the kernel and programs can both have the last pages of an arena")
{
	struct scheduler s;
	struct arena a;
	void *rest;

	NEED_SCX(scx_cid_unfit);
	ASSERT(sched_open(&s, true), "load");
	ASSERT(arena_attach(&a, s.fd, s.base, s.pages), "programs");
	ASSERT_EQ(map_pages(s.fd), 0, "pages before the scheduler is enabled");
	rest = arena_alloc_once(&a, SLEEPABLE, NULL, s.pages);
	ASSERT(rest, "all pages");
	/* There is a link, though the kernel has ended the scheduler. */
	ASSERT(!sched_enable(&s), "enabled without a page");
	ASSERT(sched_disable(&s), "state");

	arena_free(&a, SLEEPABLE, arena_page(&a, 7), CHUNK);
	ASSERT(sched_enable(&s), "enable with the last pages: %s", strerror(errno));
	ASSERT(sched_works(), "the kernel has ended the scheduler");
	ASSERT(!arena_alloc_once(&a, SLEEPABLE, NULL, 1), "a page more than there are");
	/* User space sees what the kernel has there. */
	ASSERT_EQ(user_read_sig(arena_page(&a, 7), NULL), 0, "signal");
	ASSERT_EQ(map_pages(s.fd), s.pages, "pages");
	ASSERT(sched_disable(&s), "it stays enabled");
	arena_close(&a);
	sched_close(&s);
}

static void *adopt(void *arg)
{
	struct scheduler *s = arg;
	struct arena a;

	if (!arena_attach(&a, s->fd, s->base, s->pages))
		return NULL;
	arena_close(&a);

	return arg;
}

static void *release_lock(void *arg)
{
	usleep(HOLD_MS * 1000);

	return kernel_user_go() ? arg : NULL;
}

TEST_LONG(scx, during_adoption, 120, "a cid-form scheduler that is enabled during adoption waits for it")
{
	void *adopted, *released;
	pthread_t t, release;
	struct kernel_user k;
	struct scheduler s;
	int i;

	NEED_SCX(scx_cid_unfit);
	for (i = 0; i < 3; i++) {
		ASSERT(sched_open(&s, false), "load");
		/* Adoption waits for the stock arena's lock. */
		ASSERT(kernel_user_start(&k, "hold", s.fd, 60000), "the lock cannot be held");
		ASSERT(!pthread_create(&t, NULL, adopt, &s), "thread");
		ASSERT(wait_for(oracle_ask(s.fd, false) == ORACLE_BUSY, 10000), "no adoption");
		ASSERT(!pthread_create(&release, NULL, release_lock, &s), "thread");
		ASSERT(sched_enable(&s), "round %d: %s", i, strerror(errno));
		ASSERT(!kernel_user_held(), "the adoption goes on");
		ASSERT(sched_works(), "the kernel has ended the scheduler");
		ASSERT_EQ(kernel_user_join(&k), 0, "error of the lock's holder");
		pthread_join(release, &released);
		pthread_join(t, &adopted);
		ASSERT(released && adopted, "not adopted");
		ASSERT(map_pages(s.fd) >= CHUNK, "%ld pages", map_pages(s.fd));
		ASSERT(sched_disable(&s), "it stays enabled");
		sched_close(&s);
	}
}

TEST(scx, turned_off, "with kernel_client=N a cid-form scheduler works on a stock arena only")
{
	struct scheduler s;

	NEED_SCX(scx_cid_unfit);
	/* The kernel frees the arenas of other tests in a worker. */
	ASSERT(wait_for(!mod_unload(), 10000), "unload");
	ASSERT_EQ(mod_load("kernel_client=N"), 0, "load");
	ASSERT(sched_open(&s, true), "load");
	ASSERT(!sched_enable(&s), "enabled on an adopted arena");
	ASSERT(sched_disable(&s), "state");
	sched_close(&s);
	ASSERT(sched_open(&s, false), "load");
	ASSERT(sched_enable(&s), "enable on a stock arena: %s", strerror(errno));
	ASSERT(sched_disable(&s), "it stays enabled");
	sched_close(&s);
	ASSERT(wait_for(!mod_unload(), 10000), "unload");
	ASSERT_EQ(mod_load(""), 0, "load");
}
