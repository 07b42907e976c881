// SPDX-License-Identifier: GPL-2.0
/*
 * Reservations: addresses that nobody gets until they are freed.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "runner.h"
#include "arena.h"

TEST_EACH(reserve, results, 64, 0,
	  "0 inside the arena, -EINVAL outside, -EBUSY for what is taken")
{
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 8), 8), 0, "reserve");
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 63), 1), 0, "reserve the last page");
	ASSERT_EQ(sem_reserve(s, cx, s->base, 1), 0, "reserve the first page");

	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 64), 1), -EINVAL, "behind the arena");
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, -1), 1), -EINVAL, "before the arena");
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 60), 5), -EINVAL, "over the end");
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 1), 64), -EINVAL, "more than fits");
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 1), UINT_MAX), -EINVAL, "4G pages");
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 1), 1U << 31), -EINVAL, "2G pages");

	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 40) + 8, 1), -EINVAL, "misaligned");

	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 8), 1), -EBUSY, "reserved already");
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 4), 5), -EBUSY, "reserved at the end");
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 15), 5), -EBUSY, "reserved at the start");
	ASSERT(sem_alloc(s, cx, sem_page(s, 30), 2) == sem_page(s, 30), "alloc");
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 31), 1), -EBUSY, "allocated");
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 25), 20), -EBUSY, "allocated in the middle");

	/* What failed has claimed nothing. */
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 1), 7), 0, "pages 1 to 7");
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 16), 14), 0, "pages 16 to 29");
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 32), 31), 0, "pages 32 to 62");
	ASSERT(!sem_alloc_once(s, cx, NULL, 1), "alloc in an arena with nothing free");
	ASSERT_EQ(sem_pages(s), 2, "populated pages: reservations are not");
}

TEST_EACH(reserve, none, 64, 0,
	  "reserving no page is fine anywhere and changes nothing")
{
	ASSERT_EQ(sem_reserve(s, cx, s->base, 0), 0, "inside");
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 64), 0), 0, "outside");
	ASSERT(sem_alloc(s, cx, NULL, 64) == s->base, "alloc of all");
	ASSERT_EQ(sem_reserve(s, cx, s->base, 0), 0, "taken");
}

TEST_EACH(reserve, whole_arena, 1000, 0,
	  "the whole arena can be reserved, and freed")
{
	ASSERT_EQ(sem_reserve(s, cx, s->base, 1000), 0, "reserve");
	ASSERT(!sem_alloc_once(s, cx, NULL, 1), "alloc in a reserved arena");
	ASSERT_EQ(sem_pages(s), 0, "populated pages");
	sem_free(s, cx, s->base, 1000);
	ASSERT(sem_freed(s, cx, s->base, 1000), "free not finished");
	ASSERT(sem_alloc(s, CX_SYS, NULL, 1000) == s->base, "alloc afterwards");
}

TEST_EACH(reserve, avoided, 64, 0,
	  "allocations leave reservations out")
{
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 2), 2), 0, "reserve");
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 6), 1), 0, "reserve");
	ASSERT(sem_alloc(s, cx, NULL, 3) == sem_page(s, 7), "3 pages");
	ASSERT(sem_alloc(s, cx, NULL, 2) == s->base, "2 pages");
	ASSERT(sem_alloc(s, cx, NULL, 2) == sem_page(s, 4), "2 more pages");
	ASSERT(sem_alloc(s, cx, NULL, 1) == sem_page(s, 10), "1 page");
	ASSERT(!sem_alloc_once(s, cx, sem_page(s, 2), 1), "fixed in a reservation");
	ASSERT(!sem_alloc_once(s, cx, sem_page(s, 6), 1), "fixed in a reservation of one");
}

TEST_EACH(reserve, user_fault, 64, 0,
	  "a user access to a reserved page is SIGSEGV, next to it is not")
{
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 8), 2), 0, "reserve");
	ASSERT_EQ(user_read_sig(sem_page(s, 8), NULL), SIGSEGV, "read");
	ASSERT_EQ(user_write_sig(sem_page(s, 9), 1), SIGSEGV, "write");
	ASSERT_EQ(user_read_sig(sem_page(s, 7), NULL), 0, "page before");
	ASSERT_EQ(user_write_sig(sem_page(s, 10), 1), 0, "page behind");
	ASSERT_EQ(sem_pages(s), 2, "populated pages");
	ASSERT_EQ(sem_read(s, cx, sem_page(s, 8)), 0, "word that BPF reads");
}

TEST_EACH(reserve, freed, 64, 0,
	  "a free ends the reservation, as far as it reaches")
{
	ASSERT_EQ(sem_reserve(s, cx, s->base, 10), 0, "reserve");
	sem_free(s, cx, sem_page(s, 2), 3);
	ASSERT(sem_freed(s, cx, sem_page(s, 2), 3), "free not finished");
	ASSERT(sem_alloc(s, cx, sem_page(s, 2), 3) == sem_page(s, 2), "alloc of what was freed");
	ASSERT_EQ(user_diff(sem_page(s, 2), 3, 0), 0, "words that are not zero");
	ASSERT_EQ(user_read_sig(sem_page(s, 5), NULL), SIGSEGV, "the rest, user read");
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 5), 1), -EBUSY, "the rest, reserve");
	ASSERT(sem_alloc(s, cx, NULL, 1) == sem_page(s, 10), "the rest, alloc");
}

TEST(reserve, freed_at_once, "after a sleepable free of a reservation its addresses are free at once")
{
	struct sem s;
	int round;

	ASSERT(sem_open(&s, 64, 0), "load");
	for (round = 0; round < 16; round++) {
		ASSERT_EQ(sem_reserve(&s, CX_SYS, s.base, 64), 0, "reserve");
		sem_free(&s, CX_SYS, s.base, 64);
	}
	ASSERT_EQ(user_read_sig(s.base, NULL), 0, "user read");
	sem_close(&s);
}

TEST_EACH(reserve, after_free, 64, 0,
	  "a freed page can be reserved")
{
	ASSERT(sem_alloc(s, cx, NULL, 4) == s->base, "alloc");
	user_mark(s->base, 4, 1);
	sem_free(s, cx, s->base, 4);
	ASSERT(sem_freed(s, cx, s->base, 4), "free not finished");
	ASSERT_EQ(sem_reserve(s, cx, s->base, 4), 0, "reserve");
	ASSERT_EQ(user_read_sig(s->base, NULL), SIGSEGV, "user read");
}

TEST_EACH(reserve, faulted, 64, 0,
	  "a page that user space brought in cannot be reserved")
{
	ASSERT_EQ(user_write_sig(sem_page(s, 5), 7), 0, "user write");
	ASSERT_EQ(sem_reserve(s, cx, sem_page(s, 4), 3), -EBUSY, "reserve");
	ASSERT_EQ(sem_read(s, cx, sem_page(s, 5)), 7, "word that BPF reads");
}
