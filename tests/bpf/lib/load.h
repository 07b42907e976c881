/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Load on a scheduler: processes that fork all the time, a crowd that lives at the same
 * time, moves between CPUs and cgroups, and a CPU that goes and comes.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <sys/types.h>

#define LOAD_FORKERS 3

struct load {
	pid_t forker[LOAD_FORKERS];
	pid_t crowd;
	volatile long *forks;
	int round;
};

bool load_start(struct load *l);
/*
 * For some time, times patience, move tasks of the load and change their weight. The cgroups
 * are load_a and load_b.
 */
void load_run(struct load *l, long ms);
/* Stop all of it for a while. Not after load_calm(). */
void load_pause(struct load *l, bool pause);
/* Leave one process that forks. */
void load_calm(struct load *l);
/* The number of forks in all. */
long load_stop(struct load *l);

bool cpu1_online(bool online);

#endif
