// SPDX-License-Identifier: GPL-2.0
/* Load on a scheduler; load.h says what each call does. */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "arena.h"
#include "cgroup.h"
#include "load.h"
#include "runner.h"

#define CPU1 "/sys/devices/system/cpu/cpu1/online"

#define CGROUP_CONTROL "/sys/fs/cgroup/cgroup.subtree_control"

#define CROWD 400

/* Children that end at once, some of them at the same time. */
static void forker_main(volatile long *forks)
{
	pid_t pid[8];
	int i, n;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		n = 1 + *forks % 8;
		for (i = 0; i < n; i++) {
			pid[i] = fork();
			if (!pid[i]) {
				sched_yield();
				_exit(0);
			}
		}
		for (i = 0; i < n; i++)
			waitpid(pid[i], NULL, 0);
		__sync_fetch_and_add(forks, n);
	}
}

/* Many tasks that live at the same time, so that the state of tasks grows. */
static void crowd_main(void)
{
	int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		for (i = 0; i < CROWD; i++)
			if (!fork()) {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				usleep(300000);
				_exit(0);
			}
		while (wait(NULL) > 0)
			;
	}
}

bool load_start(struct load *l)
{
	int i;

	memset(l, 0, sizeof(*l));
	/* Schedulers are told of cgroups that have this controller. */
	if (!cg_make("load_a") || !cg_make("load_b") || !write_file(CGROUP_CONTROL, "+cpu"))
		return false;
	l->forks = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (l->forks == MAP_FAILED)
		return false;
	fflush(stdout);
	for (i = 0; i < LOAD_FORKERS; i++) {
		l->forker[i] = fork();
		if (!l->forker[i])
			forker_main(l->forks);
	}
	l->crowd = fork();
	if (!l->crowd)
		crowd_main();

	return true;
}

static void load_end(pid_t *pid)
{
	if (*pid) {
		kill(*pid, SIGKILL);
		waitpid(*pid, NULL, 0);
	}
	*pid = 0;
}

void load_calm(struct load *l)
{
	int i;

	for (i = 1; i < LOAD_FORKERS; i++)
		load_end(&l->forker[i]);
	load_end(&l->crowd);
}

long load_stop(struct load *l)
{
	long forks = *l->forks;

	load_calm(l);
	load_end(&l->forker[0]);
	munmap((void *)l->forks, PAGE);
	write_file(CGROUP_CONTROL, "-cpu");

	return forks;
}

void load_pause(struct load *l, bool pause)
{
	int i, sig = pause ? SIGSTOP : SIGCONT;

	for (i = 0; i < LOAD_FORKERS; i++)
		kill(l->forker[i], sig);
	kill(l->crowd, sig);
}

static void load_move(struct load *l, int round)
{
	static const char *const cgroups[] = { "load_a", "load_b", "" };
	pid_t pid = l->forker[round % LOAD_FORKERS];
	cpu_set_t cpus;
	int i;

	CPU_ZERO(&cpus);
	for (i = 0; i < nr_cpus; i++)
		if (round % 3 || i == round % nr_cpus)
			CPU_SET(i, &cpus);
	sched_setaffinity(pid, sizeof(cpus), &cpus);
	cg_set(cgroups[round % 3], "cgroup.procs", pid);
	setpriority(PRIO_PROCESS, pid, round % 20);
}

void load_run(struct load *l, long ms)
{
	long end = now_ms() + ms * patience;

	for (; now_ms() < end; l->round++) {
		load_move(l, l->round);
		usleep(20000);
	}
}

bool cpu1_online(bool online)
{
	return write_file(CPU1, online ? "1" : "0");
}
