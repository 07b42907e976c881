// SPDX-License-Identifier: GPL-2.0
/* Reservations: no allocation gets their addresses until a free ends them. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "runner.h"
#include "arena.h"

TEST_EACH(reserve, results, 64, 0,
	  "a reservation returns 0 inside the arena, -EINVAL outside, and -EBUSY if a page is taken")
{
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 8), 8), 0, "reserve");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 63), 1), 0, "reserve the last page");
	ASSERT_EQ(arena_reserve(a, ctx, a->base, 1), 0, "reserve the first page");

	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 64), 1), -EINVAL, "behind the arena");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, -1), 1), -EINVAL, "before the arena");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 60), 5), -EINVAL, "over the end");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 1), 64), -EINVAL, "more than fits");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 1), UINT_MAX), -EINVAL, "4G pages");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 1), 1U << 31), -EINVAL, "2G pages");

	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 40) + 8, 1), -EINVAL, "misaligned");

	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 8), 1), -EBUSY, "reserved already");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 4), 5), -EBUSY, "reserved at the end");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 15), 5), -EBUSY, "reserved at the start");
	ASSERT(arena_alloc(a, ctx, arena_page(a, 30), 2) == arena_page(a, 30), "alloc");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 31), 1), -EBUSY, "allocated");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 25), 20), -EBUSY, "allocated in the middle");

	/* What failed has claimed nothing. */
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 1), 7), 0, "pages 1 to 7");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 16), 14), 0, "pages 16 to 29");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 32), 31), 0, "pages 32 to 62");
	ASSERT(!arena_alloc_once(a, ctx, NULL, 1), "alloc in an arena with nothing free");
	ASSERT_EQ(arena_pages(a), 2, "populated pages: reservations are not");
}

TEST_EACH(reserve, none, 64, 0,
	  "a reservation of no page succeeds anywhere and changes nothing")
{
	ASSERT_EQ(arena_reserve(a, ctx, a->base, 0), 0, "inside");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 64), 0), 0, "outside");
	ASSERT(arena_alloc(a, ctx, NULL, 64) == a->base, "alloc of all");
	ASSERT_EQ(arena_reserve(a, ctx, a->base, 0), 0, "taken");
}

TEST_EACH(reserve, whole_arena, 1000, 0,
	  "the whole arena can be reserved, and freed")
{
	ASSERT_EQ(arena_reserve(a, ctx, a->base, 1000), 0, "reserve");
	ASSERT(!arena_alloc_once(a, ctx, NULL, 1), "alloc in a reserved arena");
	ASSERT_EQ(arena_pages(a), 0, "populated pages");
	arena_free(a, ctx, a->base, 1000);
	ASSERT(arena_freed(a, ctx, a->base, 1000), "free not finished");
	ASSERT(arena_alloc(a, SLEEPABLE, NULL, 1000) == a->base, "alloc afterwards");
}

TEST_EACH(reserve, avoided, 64, 0,
	  "allocations avoid reservations")
{
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 2), 2), 0, "reserve");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 6), 1), 0, "reserve");
	ASSERT(arena_alloc(a, ctx, NULL, 3) == arena_page(a, 7), "3 pages");
	ASSERT(arena_alloc(a, ctx, NULL, 2) == a->base, "2 pages");
	ASSERT(arena_alloc(a, ctx, NULL, 2) == arena_page(a, 4), "2 more pages");
	ASSERT(arena_alloc(a, ctx, NULL, 1) == arena_page(a, 10), "1 page");
	ASSERT(!arena_alloc_once(a, ctx, arena_page(a, 2), 1), "fixed in a reservation");
	ASSERT(!arena_alloc_once(a, ctx, arena_page(a, 6), 1), "fixed in a reservation of one");
}

TEST_EACH(reserve, user_fault, 64, 0,
	  "a user access to a reserved page raises SIGSEGV, and works next to it")
{
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 8), 2), 0, "reserve");
	ASSERT_EQ(user_read_sig(arena_page(a, 8), NULL), SIGSEGV, "read");
	ASSERT_EQ(user_write_sig(arena_page(a, 9), 1), SIGSEGV, "write");
	ASSERT_EQ(user_read_sig(arena_page(a, 7), NULL), 0, "page before");
	ASSERT_EQ(user_write_sig(arena_page(a, 10), 1), 0, "page behind");
	ASSERT_EQ(arena_pages(a), 2, "populated pages");
	ASSERT_EQ(arena_read(a, ctx, arena_page(a, 8)), 0, "word that BPF reads");
}

TEST_EACH(reserve, freed, 64, 0,
	  "a free ends the reservation of the pages that it covers")
{
	ASSERT_EQ(arena_reserve(a, ctx, a->base, 10), 0, "reserve");
	arena_free(a, ctx, arena_page(a, 2), 3);
	ASSERT(arena_freed(a, ctx, arena_page(a, 2), 3), "free not finished");
	ASSERT(arena_alloc(a, ctx, arena_page(a, 2), 3) == arena_page(a, 2),
	       "alloc of what was freed");
	ASSERT_EQ(user_diff(arena_page(a, 2), 3, 0), 0, "words that are not zero");
	ASSERT_EQ(user_read_sig(arena_page(a, 5), NULL), SIGSEGV, "the rest, user read");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 5), 1), -EBUSY, "the rest, reserve");
	ASSERT(arena_alloc(a, ctx, NULL, 1) == arena_page(a, 10), "the rest, alloc");
}

TEST(reserve, freed_at_once, "a sleepable free of a reservation frees its addresses before it returns")
{
	struct arena a;
	int round;

	ASSERT(arena_open(&a, 64, 0), "load");
	for (round = 0; round < 16; round++) {
		ASSERT_EQ(arena_reserve(&a, SLEEPABLE, a.base, 64), 0, "reserve");
		arena_free(&a, SLEEPABLE, a.base, 64);
	}
	ASSERT_EQ(user_read_sig(a.base, NULL), 0, "user read");
	arena_close(&a);
}

TEST_EACH(reserve, after_free, 64, 0,
	  "a freed page can be reserved")
{
	ASSERT(arena_alloc(a, ctx, NULL, 4) == a->base, "alloc");
	user_mark(a->base, 4, 1);
	arena_free(a, ctx, a->base, 4);
	ASSERT(arena_freed(a, ctx, a->base, 4), "free not finished");
	ASSERT_EQ(arena_reserve(a, ctx, a->base, 4), 0, "reserve");
	ASSERT_EQ(user_read_sig(a->base, NULL), SIGSEGV, "user read");
}

TEST_EACH(reserve, faulted, 64, 0,
	  "a reservation of a page that a user fault populated fails")
{
	ASSERT_EQ(user_write_sig(arena_page(a, 5), 7), 0, "user write");
	ASSERT_EQ(arena_reserve(a, ctx, arena_page(a, 4), 3), -EBUSY, "reserve");
	ASSERT_EQ(arena_read(a, ctx, arena_page(a, 5)), 7, "word that BPF reads");
}
