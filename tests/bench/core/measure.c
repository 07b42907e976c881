// SPDX-License-Identifier: GPL-2.0
/* Clocks, what the kernel tells about itself, and samples. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core.h"

double zero_ns;

double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

char *read_text(const char *path)
{
	static __thread char buf[1 << 16];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	if (fd >= 0)
		close(fd);
	if (n < 0)
		die("%s: %s", path, strerror(errno));
	buf[n] = 0;

	return buf;
}

void write_text(const char *path, const char *fmt, ...)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), n;
	char buf[64];
	va_list ap;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if (fd < 0 || write(fd, buf, n) < 0)
		die("%s: %s", path, strerror(errno));
	close(fd);
}

double read_num(const char *path)
{
	return atof(read_text(path));
}

double busy_us(void)
{
	double idle = read_num(INSTRUMENT "idle_us");

	return nr_cpus * now_us() - idle;
}

double meminfo_kib(const char *key)
{
	char *p = strstr(read_text("/proc/meminfo"), key);

	return p ? atof(p + strlen(key) + 1) : NONE;
}

double ipis(void)
{
	char *p = strstr(read_text("/proc/interrupts"), "CAL:"), *end;
	double sum = 0;

	for (p = p ? p + 4 : ""; *p && *p != '\n'; p = end) {
		double v = strtod(p, &end);

		if (end == p)
			break;
		sum += v;
	}

	return sum;
}

void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity: %s", strerror(errno));
}

void settle(void)
{
	double end = now_us() + 60e6, t, b;

	usleep(2000);
	do {
		t = now_us();
		b = busy_us();
		usleep(5000);
		t = now_us() - t;
		b = busy_us() - b;
	} while (b > t * 0.2 && now_us() < end);
	if (now_us() >= end)
		note("the CPUs were not idle within a minute");
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

void add(struct sample *s, double v)
{
	if (s->n < MAX_RUNS)
		s->v[s->n++] = v;
}

double median(struct sample *s)
{
	qsort(s->v, s->n, sizeof(s->v[0]), by_value);
	return s->n ? s->v[s->n / 2] : NONE;
}

double smallest(struct sample *s)
{
	qsort(s->v, s->n, sizeof(s->v[0]), by_value);
	return s->n ? s->v[0] : NONE;
}

void zero_measure(void)
{
	struct sample s = {};
	int i;

	for (i = 0; i < 5; i++)
		add(&s, read_num(INSTRUMENT "zero_ns"));
	zero_ns = median(&s);
}

double unzeroed(double ns, double pages)
{
	return isnan(ns) ? NONE : fmax(ns - pages * zero_ns, 1);
}
