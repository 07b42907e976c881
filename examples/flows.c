// SPDX-License-Identifier: GPL-2.0
/*
 * flows: the busiest flows of a network interface. The table is filled by XDP and read
 * here through shared memory, while it changes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <bpf/libbpf.h>
#include <linux/types.h>

#include "arena_nolock_slab.h"
#include "flows.h"
#include "flows.skel.h"

static volatile sig_atomic_t stop;

static const char help[] =
"usage: flows [options] INTERFACE\n"
"\n"
"Shows the flows through a network interface with the most bytes. The table has no\n"
"fixed size: its pages come when packets of new flows do.\n"
"\n"
"  -i, --interval SECONDS  between two tables (default 2)\n"
"  -c, --count N           end after so many tables (default: Ctrl-C)\n"
"  -n, --lines N           flows in a table (default 20)\n"
"  -t, --idle SECONDS      a flow idle for so long may make room for another (default 30)\n"
"  -h, --help\n"
"\n"
"Needs root, and the module arena_nolock or Linux 7.0. The interface must have no XDP\n"
"program yet; ours passes all packets on, and is gone when this program ends.\n";

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static __u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);

	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* A copy of a flow of one moment, or false if it is being changed. */
static bool snapshot(const struct flow *f, struct flow *copy)
{
	__u64 seq = __atomic_load_n(&f->seq, __ATOMIC_ACQUIRE);

	memcpy(copy, f, sizeof(*copy));
	__atomic_thread_fence(__ATOMIC_ACQUIRE);

	return !(seq & 1) && __atomic_load_n(&f->seq, __ATOMIC_RELAXED) == seq;
}

static void format_end(const struct flow_key *key, const __u32 *addr, __u16 port, char *text,
		       size_t size)
{
	char ip[INET6_ADDRSTRLEN];

	inet_ntop(key->family == 6 ? AF_INET6 : AF_INET, addr, ip, sizeof(ip));
	snprintf(text, size, key->family == 6 ? "[%s]:%u" : "%s:%u", ip, ntohs(port));
}

static void print_flow(const struct flow *f, __u64 now)
{
	char src[64], dst[64], proto[8];

	format_end(&f->key, f->key.src, f->key.sport, src, sizeof(src));
	format_end(&f->key, f->key.dst, f->key.dport, dst, sizeof(dst));
	snprintf(proto, sizeof(proto), "%u", f->key.proto);
	printf("%-5s %-28s %-28s %10llu %12llu %7.1f\n",
	       f->key.proto == IPPROTO_TCP ? "tcp" : f->key.proto == IPPROTO_UDP ? "udp" : proto,
	       src, dst, (unsigned long long)f->packets, (unsigned long long)f->bytes,
	       now > f->last ? (now - f->last) / 1e9 : 0.0);
}

static int by_bytes(const void *a, const void *b)
{
	const struct flow *x = a, *y = b;

	return x->bytes < y->bytes ? 1 : x->bytes > y->bytes ? -1 : 0;
}

static bool print_table(struct flows_bpf *skel, unsigned int lines)
{
	size_t n = 0, room = skel->data->flows.objects + 1024, i;
	struct flow *table = malloc(room * sizeof(*table));
	__u64 now = now_ns(), pages = skel->data->flows.pages;
	int d, h;

	if (!table)
		return false;
	for (d = 0; d < FLOW_DIRS; d++) {
		const __u64 *heads = (const __u64 *)skel->bss->dirs[d];

		pages += !!heads;
		for (h = 0; heads && h < FLOW_HEADS; h++) {
			const struct flow *f;

			f = (const struct flow *)__atomic_load_n(&heads[h], __ATOMIC_ACQUIRE);
			for (; f && n < room; f = (const struct flow *)f->next)
				n += snapshot(f, &table[n]);
		}
	}
	qsort(table, n, sizeof(*table), by_bytes);
	printf("%zu flows in %llu pages, %llu taken over; %llu packets, %llu of no flow, %llu not counted\n",
	       n,
	       (unsigned long long)pages,
	       (unsigned long long)skel->bss->reused,
	       (unsigned long long)skel->bss->packets, (unsigned long long)skel->bss->others,
	       (unsigned long long)skel->bss->lost);
	printf("%-5s %-28s %-28s %10s %12s %7s\n", "PROTO", "FROM", "TO", "PACKETS", "BYTES",
	       "IDLE/s");
	for (i = 0; i < n && i < lines; i++)
		print_flow(&table[i], now);
	printf("\n");
	fflush(stdout);
	free(table);

	return true;
}

static unsigned long number(const char *what, const char *text, unsigned long max)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || !n || n > max) {
		fprintf(stderr, "flows: %s has to be a number from 1 to %lu, not '%s'\n", what,
			max, text);
		exit(2);
	}

	return n;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "interval", required_argument, NULL, 'i' },
		{ "count", required_argument, NULL, 'c' },
		{ "lines", required_argument, NULL, 'n' },
		{ "idle", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	unsigned long interval = 2, count = 0, lines = 20, idle = 30, shown = 0;
	struct bpf_link *link = NULL;
	struct flows_bpf *skel;
	unsigned int ifindex;
	int c, ret = 1;

	while ((c = getopt_long(argc, argv, "i:c:n:t:h", options, NULL)) != -1) {
		switch (c) {
		case 'i':
			interval = number("the interval", optarg, 86400);
			break;
		case 'c':
			count = number("the count", optarg, 1000000000);
			break;
		case 'n':
			lines = number("the number of lines", optarg, 1000000);
			break;
		case 't':
			idle = number("the idle time", optarg, 86400);
			break;
		case 'h':
			fputs(help, stdout);
			return 0;
		default:
			fputs(help, stderr);
			return 2;
		}
	}
	if (optind + 1 != argc) {
		fputs(help, stderr);
		return 2;
	}
	ifindex = if_nametoindex(argv[optind]);
	if (!ifindex) {
		fprintf(stderr, "flows: there is no interface '%s'\n", argv[optind]);
		return 2;
	}
	skel = flows_bpf__open();
	if (!skel)
		return 1;
	skel->rodata->idle_ns = idle * 1000000000ull;
	if (flows_bpf__load(skel))
		goto out;
	link = bpf_program__attach_xdp(skel->progs.on_packet, ifindex);
	if (!link) {
		fprintf(stderr, "flows: cannot attach to %s: %s\n", argv[optind], strerror(errno));
		goto out;
	}
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	while (!stop) {
		sleep(interval);
		if (!print_table(skel, lines))
			goto out;
		if (count && ++shown == count)
			break;
	}
	ret = 0;
out:
	bpf_link__destroy(link);
	flows_bpf__destroy(skel);

	return ret;
}
