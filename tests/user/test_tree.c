// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of src/range_tree_rqs.c against a naive model: chosen cases, then over a
 * million random operations on ranges of 1 to 2^20 pages.
 *
 *	SEED=<n>	another random sequence; the seed is printed
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "model.h"

#define MAX_PAGES	(1u << 20)

#define OK(call) do {							\
	const char *_wrong = (call);					\
	if (_wrong)							\
		fail_msg("line %d: %s", __LINE__, _wrong);		\
} while (0)

/* Ranges with something at the border of a word, a leaf, or a level. */
static const u32 sizes[] = {
	1, 2, 3, 31, 32, 33, 63, 64, 65, 127, 128, 129, 511, 512, 513, 575, 1000, 1023, 1024,
	1025, 1535, 1536, 1537, 2048, 4095, 4096, 4097, 65535, 65536, 70000, MAX_PAGES / 2 - 1,
	MAX_PAGES / 2, MAX_PAGES / 2 + 1, MAX_PAGES - 513, MAX_PAGES - 1, MAX_PAGES,
};

#define FOR_EACH_SIZE(n) \
	for (size_t _i = 0; _i < sizeof(sizes) / sizeof(sizes[0]) && ((n) = sizes[_i]); _i++)

static uint64_t seed = 20260801, rng;

/* splitmix64 */
static uint64_t rnd(void)
{
	uint64_t z = rng += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;

	return z ^ (z >> 31);
}

static u32 below(u32 n)
{
	return rnd() % n;
}

static long alloc(struct pair *p, u32 cnt)
{
	long ret;

	OK(pair_alloc(p, cnt, &ret));

	return ret;
}

static long alloc_word(struct pair *p)
{
	long ret;

	OK(pair_alloc_word(p, &ret));

	return ret;
}

static int claim(struct pair *p, u32 pgoff, u32 cnt)
{
	int ret;

	OK(pair_claim(p, pgoff, cnt, &ret));

	return ret;
}

static int release(struct pair *p, u32 pgoff, u32 cnt)
{
	int ret;

	OK(pair_release(p, pgoff, cnt, &ret));

	return ret;
}

static void init_taken(void **state)
{
	struct pair p;
	u32 n;

	FOR_EACH_SIZE(n) {
		pair_init(&p, n);
		OK(pair_compare(&p));
		assert_int_equal(alloc(&p, 1), -ENOSPC);
		assert_int_equal(claim(&p, 0, 1), -EBUSY);
		pair_exit(&p);
	}
}

static void memory(void **state)
{
	u32 n;

	/* Below a leaf there is a floor; from there on the limit is per page. */
	FOR_EACH_SIZE(n)
		assert_true(anl_tree_mem_size(n) <= 0.6 * n || anl_tree_mem_size(n) <= 128);
	assert_true(anl_tree_mem_size(MAX_PAGES) <= 0.2 * MAX_PAGES);
}

static void whole(void **state)
{
	struct pair p;
	u32 n;

	FOR_EACH_SIZE(n) {
		pair_init(&p, n);
		assert_int_equal(release(&p, 0, n), 0);
		OK(pair_compare(&p));
		assert_int_equal(alloc(&p, n + 1), -ENOSPC);
		assert_int_equal(alloc(&p, n), 0);
		OK(pair_compare(&p));
		assert_int_equal(alloc(&p, 1), -ENOSPC);
		assert_int_equal(release(&p, 0, n), 0);
		assert_int_equal(claim(&p, 0, n), 0);
		OK(pair_compare(&p));
		/* Without one page at either end. */
		assert_int_equal(release(&p, 0, n), 0);
		assert_int_equal(claim(&p, n - 1, 1), 0);
		assert_int_equal(claim(&p, 0, n), -EBUSY);
		assert_int_equal(alloc(&p, n), -ENOSPC);
		if (n > 1) {
			assert_int_equal(alloc(&p, n - 1), 0);
			assert_int_equal(release(&p, 1, n - 1), 0);
			assert_int_equal(alloc(&p, n - 1), 1);
		}
		OK(pair_compare(&p));
		pair_exit(&p);
	}
}

static void bad_arguments(void **state)
{
	static const u32 large[] = {
		UINT32_MAX, UINT32_MAX - 1, 1u << 31, (1u << 31) - 1, (1u << 31) + 1,
		UINT32_MAX - 511, UINT32_MAX - MAX_PAGES + 1, MAX_PAGES + 1,
	};
	struct pair p;
	u32 n, i;

	FOR_EACH_SIZE(n) {
		pair_init(&p, n);
		assert_int_equal(release(&p, 0, n), 0);
		assert_int_equal(alloc(&p, 0), -EINVAL);
		assert_int_equal(claim(&p, 0, 0), -EINVAL);
		assert_int_equal(release(&p, 0, 0), -EINVAL);
		assert_int_equal(claim(&p, n, 0), -EINVAL);
		assert_int_equal(claim(&p, n, 1), -EINVAL);
		assert_int_equal(release(&p, n, 1), -EINVAL);
		assert_int_equal(claim(&p, n - 1, 2), -EINVAL);
		assert_int_equal(release(&p, n - 1, 2), -EINVAL);
		assert_int_equal(claim(&p, 0, n + 1), -EINVAL);
		assert_int_equal(release(&p, 0, n + 1), -EINVAL);
		for (i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
			assert_int_equal(alloc(&p, large[i]), -ENOSPC);
			assert_int_equal(claim(&p, 0, large[i]), -EINVAL);
			assert_int_equal(claim(&p, n - 1, large[i]), -EINVAL);
			assert_int_equal(claim(&p, large[i], 1), -EINVAL);
			/* The sum wraps to a page of the range. */
			assert_int_equal(claim(&p, large[i], -large[i]), -EINVAL);
			assert_int_equal(claim(&p, large[i], 1 - large[i]), -EINVAL);
			assert_int_equal(release(&p, 0, large[i]), -EINVAL);
			assert_int_equal(release(&p, n - 1, large[i]), -EINVAL);
			assert_int_equal(release(&p, large[i], 1), -EINVAL);
			assert_int_equal(release(&p, large[i], -large[i]), -EINVAL);
			assert_int_equal(release(&p, large[i], 1 - large[i]), -EINVAL);
		}
		assert_int_equal(p.nr_free, n);
		OK(pair_compare(&p));
		pair_exit(&p);
	}
}

/* One taken page anywhere in the range makes a claim change nothing. */
static void busy(void **state)
{
	static const u32 n = 1600;
	struct pair p;
	u32 i;

	pair_init(&p, n);
	assert_int_equal(release(&p, 0, n), 0);
	for (i = 0; i < n; i++) {
		assert_int_equal(claim(&p, i, 1), 0);
		assert_int_equal(claim(&p, 0, n), -EBUSY);
		assert_int_equal(claim(&p, i, 1), -EBUSY);
		if (i && i < n - 1)
			assert_int_equal(claim(&p, i - 1, 3), -EBUSY);
		assert_int_equal(p.nr_free, n - 1);
		assert_int_equal(release(&p, i, 1), 0);
	}
	OK(pair_compare(&p));
	pair_exit(&p);
}

static void lock_errors(void **state)
{
	static const int errs[] = { -EDEADLK, -ETIMEDOUT };
	struct pair p;
	u32 i;

	pair_init(&p, 1000);
	assert_int_equal(release(&p, 100, 500), 0);
	for (i = 0; i < 2; i++) {
		shim_lock_err = errs[i];
		assert_int_equal(anl_tree_alloc(&p.rt, 1), errs[i]);
		assert_int_equal(anl_tree_alloc(&p.rt, 1000), errs[i]);
		assert_int_equal(anl_tree_claim(&p.rt, 100, 500), errs[i]);
		assert_int_equal(anl_tree_claim(&p.rt, 0, 1000), errs[i]);
		assert_int_equal(anl_tree_release(&p.rt, 0, 1000), errs[i]);
		/* These are not worth a lock. */
		assert_int_equal(anl_tree_alloc(&p.rt, 0), -EINVAL);
		assert_int_equal(anl_tree_claim(&p.rt, 0, 1001), -EINVAL);
		assert_int_equal(anl_tree_release(&p.rt, 1000, 1), -EINVAL);
		shim_lock_err = 0;
		OK(pair_compare(&p));
	}
	pair_exit(&p);
}

/* One page at a time until it is full, and again in another order. */
static void fill_and_drain(void **state)
{
	struct pair p;
	u32 n, i;

	FOR_EACH_SIZE(n) {
		/* The model's search is what takes time. */
		if (n > 4097)
			break;
		pair_init(&p, n);
		assert_int_equal(release(&p, 0, n), 0);
		for (i = 0; i < n; i++)
			assert_int_equal(alloc(&p, 1), i);
		assert_int_equal(alloc(&p, 1), -ENOSPC);
		OK(pair_compare(&p));
		for (i = 0; i < n; i++)
			assert_int_equal(release(&p, n - 1 - i, 1), 0);
		OK(pair_compare(&p));
		for (i = 0; i < n; i++)
			assert_int_equal(claim(&p, i * 1009u % n, 1), 0);
		OK(pair_compare(&p));
		pair_exit(&p);
	}
}

/* The pages of a word at a time, with holes of every kind. */
static void words(void **state)
{
	struct pair p;
	u32 n, i, nr;

	FOR_EACH_SIZE(n) {
		if (n > 4097)
			break;
		pair_init(&p, n);
		assert_int_equal(alloc_word(&p), -ENOSPC);
		assert_int_equal(release(&p, 0, n), 0);
		for (i = 0; i < n; i += BITS_PER_LONG)
			assert_int_equal(alloc_word(&p), i);
		assert_int_equal(alloc_word(&p), -ENOSPC);
		OK(pair_compare(&p));
		for (i = 0; i < n; i += 1 + below(3))
			assert_int_equal(release(&p, i, 1), 0);
		/* Words from a leaf that the tree lags behind, and from others. */
		for (nr = 0; alloc_word(&p) >= 0; nr++)
			if (nr % 3 == 0 && nr < n)
				release(&p, below(n), 1);
		assert_int_equal(p.nr_free, 0);
		OK(pair_compare(&p));
		pair_exit(&p);
	}
}

/* The same for the largest range, with no model but arithmetic. */
static void fill_largest(void **state)
{
	struct pair p;
	u32 i;

	pair_init(&p, MAX_PAGES);
	assert_int_equal(anl_tree_release(&p.rt, 0, MAX_PAGES), 0);
	for (i = 0; i < MAX_PAGES; i++)
		assert_int_equal(anl_tree_alloc(&p.rt, 1), i);
	assert_int_equal(anl_tree_alloc(&p.rt, 1), -ENOSPC);
	assert_true(anl_tree_check(&p.rt));
	/* A freed page is the next one handed out. */
	for (i = 0; i < 100000; i++) {
		u32 pgoff = below(MAX_PAGES);

		assert_int_equal(anl_tree_release(&p.rt, pgoff, 1), 0);
		assert_int_equal(anl_tree_alloc(&p.rt, 1), pgoff);
	}
	OK(pair_compare(&p));
	pair_exit(&p);
}

/* Every other run of @len pages is free, and only runs of that length fit. */
static void holes(void **state)
{
	static const u32 lens[] = { 1, 2, 3, 63, 64, 65, 500, 511, 512, 513, 1024, 5000 };
	static const u32 ns[] = { 1000, 20000, 32768, MAX_PAGES };
	struct pair p;
	u32 i, j, pos, nr;

	for (i = 0; i < 4; i++) {
		for (j = 0; j < sizeof(lens) / sizeof(lens[0]); j++) {
			u32 n = ns[i], len = lens[j];

			pair_init(&p, n);
			for (nr = 0, pos = len; pos + len <= n; pos += 2 * len, nr++)
				assert_int_equal(release(&p, pos, len), 0);
			OK(pair_compare(&p));
			assert_int_equal(alloc(&p, len + 1), -ENOSPC);
			if (nr > 2 && len > 1) {
				/* The last one grows by a page. */
				pos = len + (nr - 1) * 2 * len;
				assert_int_equal(release(&p, pos - 1, 1), 0);
				assert_int_equal(alloc(&p, len + 1), pos - 1);
				assert_int_equal(release(&p, pos - 1, len + 1), 0);
				assert_int_equal(claim(&p, pos - 1, 1), 0);
			}
			/* The model's search is quadratic here. */
			for (pos = len; nr && pos < 200 * len && pos + len <= n; pos += 2 * len)
				assert_int_equal(alloc(&p, len), pos);
			OK(pair_compare(&p));
			pair_exit(&p);
		}
	}
}

/*
 * One long run, begun and ended anywhere around the borders of words, leaves and
 * nodes, with shorter ones before it.
 */
static void across(void **state)
{
	static const u32 near[] = { 64, 512, 1024, 4096, MAX_PAGES / 4, MAX_PAGES / 2,
				    MAX_PAGES / 4 * 3, MAX_PAGES - 512 };
	struct pair p;
	u32 i, j;
	int d, e;

	pair_init(&p, MAX_PAGES);
	for (i = 0; i < 8; i++) {
		for (j = i; j < 8; j++) {
			for (d = -2; d <= 2; d++) {
				for (e = -2; e <= 2; e++) {
					u32 from = near[i] + d, to = near[j] + e;

					if (to <= from + 1)
						continue;
					assert_int_equal(anl_tree_release(&p.rt, from, to - from), 0);
					assert_int_equal(anl_tree_release(&p.rt, 0, from - 1), 0);
					if (to - from > from - 1) {
						assert_int_equal(anl_tree_alloc(&p.rt, to - from), from);
						assert_int_equal(anl_tree_alloc(&p.rt, from - 1), 0);
					} else {
						assert_int_equal(anl_tree_alloc(&p.rt, to - from), 0);
						assert_int_equal(anl_tree_alloc(&p.rt, from), -ENOSPC);
						assert_int_equal(anl_tree_release(&p.rt, 0, to), 0);
						assert_int_equal(anl_tree_claim(&p.rt, 0, to), 0);
					}
					assert_int_equal(anl_tree_nr_free(&p.rt), 0);
					assert_int_equal(anl_tree_alloc(&p.rt, 1), -ENOSPC);
				}
			}
		}
	}
	OK(pair_compare(&p));
	pair_exit(&p);
}

/* Each way to place a free run in three leaves, the third one not complete. */
static void every_run(void **state)
{
	static const u32 n = 1300;
	struct pair p;
	u32 from, len;

	pair_init(&p, n);
	for (from = 0; from < n; from += 1 + below(3)) {
		for (len = 1; from + len <= n; len += 1 + below(40)) {
			assert_int_equal(release(&p, from, len), 0);
			assert_int_equal(alloc(&p, len + 1), -ENOSPC);
			assert_int_equal(alloc(&p, len), from);
		}
	}
	OK(pair_compare(&p));
	pair_exit(&p);
}

/* Mostly short, at times any length. */
static u32 some_length(u32 n)
{
	u32 bits = below(__fls(n) + 2);

	return 1 + below(min(1u << bits, n));
}

static void random_ops(u32 n, u32 nr_ops, u32 compare_every)
{
	u32 i, grow = 0, shift = 0;
	struct pair p;

	pair_init(&p, n);
	if (below(2))
		release(&p, 0, n);
	for (i = 0; i < nr_ops; i++) {
		u32 pgoff = below(n), cnt, what = below(100);

		/* Now and then what is mostly done changes, so that it fills and drains. */
		if (i % 256 == 0) {
			grow = 10 + below(80);
			shift = below(__fls(n) + 1);
		}
		cnt = some_length(max(n >> shift, 1u));
		if (what < 2) {
			/* Beyond the end as often as not. */
			claim(&p, pgoff, n - pgoff + below(2));
		} else if (what < 4) {
			release(&p, pgoff, n - pgoff + below(2));
		} else if (what < 6) {
			/* Any argument at all. */
			if (below(2))
				claim(&p, rnd() >> below(64), rnd() >> below(64));
			else
				alloc(&p, rnd() >> below(64));
		} else if (below(100) < grow) {
			if (!below(4))
				alloc_word(&p);
			else if (below(3))
				alloc(&p, cnt);
			else
				claim(&p, pgoff, min(cnt, n - pgoff));
		} else {
			release(&p, pgoff, min(cnt, n - pgoff));
		}
		if (i % compare_every == 0)
			OK(pair_compare(&p));
	}
	OK(pair_compare(&p));
	pair_exit(&p);
}

static void random_small(void **state)
{
	u32 n, i;

	rng = seed;
	FOR_EACH_SIZE(n)
		if (n <= 4097)
			random_ops(n, 30000, 1 + n * 4);
	/* And random sizes. */
	for (i = 0; i < 400; i++)
		random_ops(1 + below(4096), 1000, 500);
}

static void random_large(void **state)
{
	u32 n;

	rng = seed + 1;
	FOR_EACH_SIZE(n)
		if (n > 4097)
			random_ops(n, n > 100000 ? 1500 : 10000, n > 100000 ? 700 : 2500);
	print_message("%lu locked operations in all\n", shim_locked);
	assert_true(shim_locked > 1000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory),
		cmocka_unit_test(init_taken),
		cmocka_unit_test(whole),
		cmocka_unit_test(bad_arguments),
		cmocka_unit_test(busy),
		cmocka_unit_test(lock_errors),
		cmocka_unit_test(fill_and_drain),
		cmocka_unit_test(words),
		cmocka_unit_test(fill_largest),
		cmocka_unit_test(holes),
		cmocka_unit_test(across),
		cmocka_unit_test(every_run),
		cmocka_unit_test(random_small),
		cmocka_unit_test(random_large),
	};
	const char *env = getenv("SEED");

	if (env && *env)
		seed = strtoull(env, NULL, 0);
	rng = seed;
	print_message("SEED=%" PRIu64 "\n", seed);

	return cmocka_run_group_tests_name("range tree", tests, NULL, NULL);
}
