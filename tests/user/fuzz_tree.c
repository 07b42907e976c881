// SPDX-License-Identifier: GPL-2.0
/*
 * libFuzzer target: the input is read as a size and then operations on a range of
 * that many pages, each compared with the naive model.
 */
#include <stdio.h>

#include "model.h"

#define LARGE	0xa5

struct input {
	const uint8_t *at;
	size_t left;
};

static u32 take(struct input *in, u32 bytes)
{
	u32 val = 0;

	while (bytes--) {
		val <<= 8;
		if (in->left) {
			val |= *in->at++;
			in->left--;
		}
	}

	return val;
}

/* A number up to about @n, likely to be close to a border of something. */
static u32 number(struct input *in, u32 n)
{
	u32 how = take(in, 1);

	switch (how >> 5) {
	case 0:
		return how & 31;
	case 1:
		return n - (how & 31) + 8;
	case 2:
		return n / 2 - (how & 31) + 16;
	case 3:
		return take(in, 1) * 64 - (how & 31) + 16;
	case 4:
		return take(in, 2) * 512 - (how & 31) + 16;
	case 5:
		return take(in, 2) % n;
	case 6:
		return take(in, 3) % n;
	default:
		return take(in, 4);
	}
}

static void require(const char *wrong)
{
	if (!wrong)
		return;
	fprintf(stderr, "MISMATCH: %s\n", wrong);
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	u32 kind = take(&in, 1), n;
	struct pair p;
	long lret;
	int ret;

	/* Large ranges are slow to model, and small ones have all the borders. */
	if (kind == LARGE)
		n = 1 + take(&in, 3) % (1u << 20);
	else
		n = 1 + take(&in, 2) % (1u << 12);

	pair_init(&p, n);
	if (kind & 1)
		require(pair_release(&p, 0, n, &ret));

	while (in.left) {
		u32 op = take(&in, 1), pgoff;

		shim_lock_err = 0;
		if (op >= 252) {
			/* The lock cannot be had, and nothing may change. */
			shim_lock_err = op & 1 ? -EDEADLK : -ETIMEDOUT;
			if (anl_tree_alloc(&p.rt, 1) != shim_lock_err ||
			    anl_tree_claim(&p.rt, 0, 1) != shim_lock_err ||
			    anl_tree_release(&p.rt, 0, n) != shim_lock_err)
				require("a lock error got lost");
			continue;
		}
		switch (op % 4) {
		case 0:
			require(pair_alloc(&p, number(&in, n), &lret));
			break;
		case 1:
			pgoff = number(&in, n);
			require(pair_claim(&p, pgoff, number(&in, n), &ret));
			break;
		case 2:
			pgoff = number(&in, n);
			require(pair_release(&p, pgoff, number(&in, n), &ret));
			break;
		default:
			/* Often one page, as most programs request. */
			if (op & 8)
				require(pair_alloc_word(&p, &lret));
			else if (op & 4)
				require(pair_release(&p, number(&in, n) % n, 1, &ret));
			else
				require(pair_alloc(&p, 1 + (op >> 3), &lret));
		}
	}
	shim_lock_err = 0;
	require(pair_compare(&p));
	pair_exit(&p);

	return 0;
}
