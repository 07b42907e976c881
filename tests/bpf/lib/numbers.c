// SPDX-License-Identifier: GPL-2.0
/* Numbers; numbers.h says what each call does. */
#include <stdlib.h>
#include <time.h>

#include "numbers.h"

uint64_t rng_state;

/* SplitMix64 */
uint64_t rnd(void)
{
	uint64_t z = rng_state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;

	return z ^ z >> 31;
}

long now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);

	return ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int compare(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return x < y ? -1 : x > y;
}

void sort_longs(long *v, long n)
{
	qsort(v, n, sizeof(*v), compare);
}
