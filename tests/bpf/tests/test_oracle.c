// SPDX-License-Identifier: GPL-2.0
/*
 * The oracle itself: it counts what an arena has, and raises no alarm while an arena is in
 * use from all contexts. tests/mutants.sh shows that it raises one for a fault.
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <sys/mman.h>

#include "oracle.h"
#include "runner.h"
#include "arena.h"

/* A count in the last verdict, or -1. */
static long oracle_count(const char *what)
{
	char key[32];
	const char *p;
	long n = -1;

	snprintf(key, sizeof(key), " %s=", what);
	p = strstr(oracle_text(), key);
	if (p)
		sscanf(p + strlen(key), "%ld", &n);

	return n;
}

#define ASSERT_COUNT(what, n) ASSERT_EQ(oracle_count(what), n, what)

TEST(oracle, counts, "the oracle sees pages, reservations and user mappings of an arena")
{
	struct peer peer;
	struct arena a;

	ASSERT(arena_open(&a, 1000, 0), "load");
	ASSERT(oracle_rest(a.fd), "empty");
	ASSERT_COUNT("slots", 1000);
	ASSERT_COUNT("live", 0);
	ASSERT_COUNT("pages", 0);
	ASSERT_COUNT("user_ptes", 0);
	ASSERT(oracle_count("free") > 950, "%ld slots are free", oracle_count("free"));
	ASSERT(arena_alloc(&a, UNDER_RCU, a.base, 1), "alloc");
	ASSERT(wait_for(arena_stat(&a, "pool_nr", NULL) > 0, 5000), "nothing is kept ready");
	arena_free(&a, SLEEPABLE, a.base, 1);
	ASSERT(oracle_rest(a.fd), "empty again");
	ASSERT(oracle_count("pool") > 0, "nothing is kept ready");

	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 7) == a.base, "alloc");
	ASSERT_EQ(arena_reserve(&a, SLEEPABLE, arena_page(&a, 20), 3), 0, "reserve");
	user_mark(arena_page(&a, 5), 6, 1);
	ASSERT(peer_start(&peer, &a), "peer");
	ASSERT_EQ(peer_write(&peer, arena_page(&a, 30), 1), 0, "signal in the peer");
	ASSERT_EQ(peer_write(&peer, arena_page(&a, 5), 1), 0, "signal in the peer");
	ASSERT(oracle_rest(a.fd), "in use");
	ASSERT_COUNT("live", 11 + 3 + 1);
	ASSERT_COUNT("pages", 11 + 1);
	ASSERT_COUNT("user_ptes", 6 + 2);

	arena_free(&a, SLEEPABLE, arena_page(&a, 1), 2);
	ASSERT(oracle_rest(a.fd), "two pages freed");
	ASSERT_COUNT("live", 9 + 3 + 1);
	ASSERT_COUNT("pages", 9 + 1);

	arena_free(&a, UNDER_RCU, a.base, 1000);
	ASSERT(oracle_rest(a.fd), "freed");
	ASSERT_COUNT("live", 0);
	ASSERT_COUNT("pages", 0);
	ASSERT_COUNT("user_ptes", 0);
	peer_stop(&peer);
	arena_close(&a);
}

TEST(oracle, stock, "the oracle recognises an arena that the module has not adopted")
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARENA, "stock", 0, 0, 10, &opts), hash;

	ASSERT(fd >= 0, "arena");
	ASSERT_EQ(oracle_ask(fd, true), ORACLE_STOCK, "verdict");
	hash = bpf_map_create(BPF_MAP_TYPE_HASH, "hash", 4, 4, 1, NULL);
	ASSERT(hash >= 0, "hash");
	ASSERT_EQ(oracle_ask(hash, true), ORACLE_NONE, "verdict on a hash");
	ASSERT_EQ(oracle_ask(12345, true), ORACLE_NONE, "verdict on no map");
	close(hash);
	close(fd);
}

struct busy {
	struct arena *arena;
	enum context ctx;
	int slot;
	atomic_bool *stop;
};

static void *busy_churn(void *arg)
{
	struct busy *b = arg;

	while (!atomic_load(b->stop)) {
		struct arena_req r = {
			.op = REQ_CHURN, .addr = (__u64)arena_page(b->arena, 512), .cnt = 50,
			.node = -1, .val = 1,
		};

		if (!arena_run(b->arena, b->ctx, b->slot, &r) || r.ret)
			test_fail(__FILE__, __LINE__, "churn: %llu rounds went wrong", r.ret);
	}

	return NULL;
}

/* User space brings pages in, and a program takes them away. */
static void *busy_fault(void *arg)
{
	struct busy *b = arg;
	int i;

	while (!atomic_load(b->stop)) {
		for (i = 512; i < 640; i++)
			user_write_sig(arena_page(b->arena, i), i);
		for (i = 512; i < 640; i += 32) {
			struct arena_req r = {
				.op = REQ_FREE, .addr = (__u64)arena_page(b->arena, i), .cnt = 32,
			};

			arena_run(b->arena, i % 64 ? BH_OFF : SLEEPABLE, b->slot, &r);
		}
	}

	return NULL;
}

#define BUSY_ASKED 100

TEST(oracle, under_load, "the oracle raises no false alarm while an arena is in use from all contexts")
{
	atomic_bool stop = false;
	struct busy b[] = {
		{ .ctx = SLEEPABLE, .slot = 1 }, { .ctx = BH_OFF, .slot = 2 },
		{ .ctx = UNDER_RCU, .slot = 3 }, { .slot = 4 },
	};
	int i, n = sizeof(b) / sizeof(*b);
	pthread_t threads[4];
	struct arena a;

	ASSERT(arena_open(&a, 1024, 0), "load");
	for (i = 0; i < n; i++) {
		b[i].arena = &a;
		b[i].stop = &stop;
		ASSERT(thread_on(&threads[i], i % nr_cpus, i < 3 ? busy_churn : busy_fault, &b[i]),
		       "thread");
	}
	for (i = 0; i < BUSY_ASKED && oracle_load(a.fd); i++)
		usleep(2000);
	atomic_store(&stop, true);
	while (n--)
		pthread_join(threads[n], NULL);
	ASSERT_OK();
	ASSERT(arena_reset(&a), "the arena does not get empty");
	ASSERT(oracle_rest(a.fd), "at the end");
	arena_close(&a);
}
