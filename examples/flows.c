// SPDX-License-Identifier: GPL-2.0
/*
 * flows: show the busiest flows of a network interface. An XDP program fills the table;
 * this program reads it through shared memory while it changes.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <bpf/libbpf.h>
#include <linux/types.h>

#include "arena_nolock_heap.h"
#include "cli.h"
#include "flows.h"
#include "flows.skel.h"

static const char help[] =
"usage: flows [options] INTERFACE\n"
"\n"
"Shows the flows of a network interface that have the most bytes. The flow table has no\n"
"fixed size: it allocates a page when a packet of a new flow needs one.\n"
"\n"
"  -i, --interval SECONDS  time between tables (default 2)\n"
"  -c, --count N           number of tables (default: until Ctrl-C)\n"
"  -n, --lines N           flows per table (default 20)\n"
"  -t, --idle SECONDS      idle time after which a flow can be replaced (default 30)\n"
"  -h, --help\n"
"\n"
"Needs root, and the module arena_nolock or Linux 7.0. The interface must have no XDP\n"
"program. This program attaches one that passes all packets, and detaches it at its end.\n";

static __u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);

	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* Copy a flow. Returns false if its key changes meanwhile. */
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

/* The name of a protocol, or its number in @buf. */
static const char *proto_name(unsigned int proto, char *buf, size_t size)
{
	static const char *const names[256] = {
		[IPPROTO_ICMP] = "icmp", [IPPROTO_IGMP] = "igmp", [IPPROTO_IPIP] = "ipip",
		[IPPROTO_TCP] = "tcp", [IPPROTO_UDP] = "udp", [IPPROTO_IPV6] = "ipv6",
		[IPPROTO_GRE] = "gre", [IPPROTO_ESP] = "esp", [IPPROTO_AH] = "ah",
		[IPPROTO_ICMPV6] = "icmp6", [89] = "ospf", [112] = "vrrp",
		[IPPROTO_SCTP] = "sctp", [IPPROTO_UDPLITE] = "udpl",
	};

	if (proto < 256 && names[proto])
		return names[proto];
	snprintf(buf, size, "%u", proto);

	return buf;
}

static void print_flow(const struct flow *f, __u64 now)
{
	char src[64], dst[64], proto[8];

	format_end(&f->key, f->key.src, f->key.sport, src, sizeof(src));
	format_end(&f->key, f->key.dst, f->key.dport, dst, sizeof(dst));
	printf("%-5s %-28s %-28s %10llu %12llu %7.1f\n",
	       proto_name(f->key.proto, proto, sizeof(proto)), src, dst, (unsigned long long)f->packets, (unsigned long long)f->bytes,
	       now > f->last ? (now - f->last) / 1e9 : 0.0);
}

static int by_bytes(const void *a, const void *b)
{
	const struct flow *x = a, *y = b;

	return x->bytes < y->bytes ? 1 : x->bytes > y->bytes ? -1 : 0;
}

static bool print_table(struct flows_bpf *skel, unsigned int lines)
{
	struct arena_nolock_heap_stats stats;
	size_t n = 0, room = 1024, i;
	__u64 now = now_ns(), pages = 0;
	struct flow *table;
	int d, h;

	for (i = 0; i < ARENA_NOLOCK_HEAP_CLASSES; i++) {
		arena_nolock_heap_stats(&skel->bss->heap, i, &stats);
		room += stats.objects;
		pages += stats.pages;
	}
	table = malloc(room * sizeof(*table));
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

int main(int argc, char **argv)
{
	unsigned long interval = 2, count = 0, lines = 20, idle = 30, shown = 0;
	const struct cli_option options[] = {
		{ "interval", 'i', NULL, &interval, 86400 },
		{ "count", 'c', NULL, &count, 1000000000 },
		{ "lines", 'n', NULL, &lines, 1000000 },
		{ "idle", 't', NULL, &idle, 86400 },
		{}
	};
	struct bpf_link *link = NULL;
	struct flows_bpf *skel;
	const char *interface;
	unsigned int ifindex;
	int ret = 1;

	interface = *cli_parse(argc, argv, "flows", help, options, 1);
	ifindex = if_nametoindex(interface);
	if (!ifindex) {
		fprintf(stderr, "flows: there is no interface '%s'\n", interface);
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
		fprintf(stderr, "flows: cannot attach to %s: %s\n", interface, strerror(errno));
		goto out;
	}
	cli_catch_signals();
	while (!cli_stop) {
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
