// SPDX-License-Identifier: GPL-2.0
/*
 * User-space side of the oracle; oracle.h says what each call does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "oracle.h"
#include "runner.h"

/* How long an arena may take to come to rest, under emulation on a busy host. */
#define REST_MS 15000

static char text[8192];
static bool no_rest, paused;

enum oracle_verdict oracle_ask(int map_fd, bool rest)
{
	static const char *const verdicts[] = {
		[ORACLE_OK] = "ok", [ORACLE_BAD] = "bad", [ORACLE_STOCK] = "stock",
		[ORACLE_BUSY] = "busy",
	};
	int fd = open("/proc/anl_oracle", O_RDWR | O_CLOEXEC), i;
	char ask[32];
	ssize_t n;

	text[0] = 0;
	if (fd < 0)
		return ORACLE_NONE;
	n = snprintf(ask, sizeof(ask), "%d %d", map_fd, rest);
	if (write(fd, ask, n) == n) {
		n = pread(fd, text, sizeof(text) - 1, 0);
		text[n < 0 ? 0 : n] = 0;
	}
	close(fd);
	for (i = ORACLE_OK; i < ORACLE_NONE; i++)
		if (!strncmp(text, verdicts[i], strlen(verdicts[i])))
			return i;

	return ORACLE_NONE;
}

const char *oracle_text(void)
{
	return text;
}

/* Ask until all is well, or time is up. */
static bool oracle_insist(int map_fd, bool rest, long ms)
{
	enum oracle_verdict v;
	char *line, *save;

	if (access("/proc/anl_oracle", F_OK)) {
		test_fail(__FILE__, __LINE__, "there is no oracle");
		return false;
	}
	wait_for((v = oracle_ask(map_fd, rest)) == ORACLE_OK || v == ORACLE_STOCK, ms);
	if (v == ORACLE_OK || v == ORACLE_STOCK)
		return true;
	test_fail(__FILE__, __LINE__, "the oracle finds the arena %s", v == ORACLE_BAD ?
		  (rest ? "not in order at rest" : "not in order") : "not usable");
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		printf("# oracle.c: %s\n", line);

	return false;
}

bool oracle_rest(int map_fd)
{
	return oracle_insist(map_fd, true, REST_MS);
}

/* What never holds is seen each time; only memory for the answer may be short. */
bool oracle_load(int map_fd)
{
	enum oracle_verdict v = oracle_ask(map_fd, false);

	return v == ORACLE_OK || oracle_insist(map_fd, false, v == ORACLE_BAD ? 0 : REST_MS);
}

void oracle_no_rest(void)
{
	no_rest = true;
}

void oracle_pause(bool pause)
{
	paused = pause;
}

void oracle_check(void)
{
	struct bpf_map_info info;
	__u32 id = 0, len;
	int fd;

	if (access("/proc/anl_oracle", F_OK))
		return;
	while (!test_failed() && !bpf_map_get_next_id(id, &id)) {
		fd = bpf_map_get_fd_by_id(id);
		if (fd < 0)
			continue;
		len = sizeof(info);
		memset(&info, 0, sizeof(info));
		if (!bpf_map_get_info_by_fd(fd, &info, &len) &&
		    info.type == BPF_MAP_TYPE_ARENA)
			oracle_insist(fd, !no_rest, REST_MS);
		close(fd);
	}
}

/*
 * A worker frees closed arenas. KASAN has half a GiB of shadow for each, so a test that
 * opens one after the other could run out of memory.
 */
static void await_memory(void)
{
	if (patience > 1)
		wait_for(read_meminfo("MemAvailable") > read_meminfo("MemTotal") / 8, 20000);
}

/*
 * All skeletons end here (see the Makefile). What they have attached is what may
 * still be at work.
 */
void __real_bpf_object__destroy_skeleton(struct bpf_object_skeleton *s);

void __wrap_bpf_object__destroy_skeleton(struct bpf_object_skeleton *s)
{
	if (s && !paused && !test_failed()) {
		bpf_object__detach_skeleton(s);
		oracle_check();
	}
	__real_bpf_object__destroy_skeleton(s);
	await_memory();
}
