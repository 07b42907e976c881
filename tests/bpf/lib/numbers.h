/* SPDX-License-Identifier: GPL-2.0 */
/* Random numbers that a seed repeats, and measured ones. */
#ifndef NUMBERS_H
#define NUMBERS_H

#include <stdint.h>

/* Each process has its own state. */
extern uint64_t rng_state;
uint64_t rnd(void);

long now_us(void);
void sort_longs(long *v, long n);

#endif
