// SPDX-License-Identifier: GPL-2.0
/*
 * Counts packets and bytes of each flow in XDP. The table has no fixed size: bucket heads
 * and flows are in an arena, whose pages are allocated as traffic needs them.
 *
 * CPUs share the table without a lock. A CPU completes a new flow before it publishes the
 * flow at the front of its bucket with compare-and-swap. The CPU that makes the sequence
 * number of an idle flow odd reuses the flow. Two races are accepted: a packet of the old
 * flow can be counted for the new one; and a flow can be in the table twice, so that its
 * packets are counted in two lines.
 *
 * Flows come from a heap, which has a cache of them for each CPU. A heap can return memory under
 * a reader; here it cannot, as no flow is freed once it is published.
 */
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "arena_nolock_heap.h"
#include "flows.h"

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define CHAIN 64		/* the most flows of a bucket that a search visits */

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 262144);		/* 1 GiB at most */
	__ulong(map_extra, 0x100010000000);
} arena SEC(".maps");

const volatile __u64 idle_ns = 30000000000;

struct arena_nolock_heap heap;
__u64 dirs[FLOW_DIRS];
__u64 packets, others, lost, reused;

static __always_inline __u64 hash_of(const struct flow_key *key)
{
	const __u32 *w = (const void *)key;
	__u64 hash = 0;
	int i;

	for (i = 0; i < (int)sizeof(*key) / 4; i++) {
		hash = (hash ^ w[i]) * 0x9e3779b97f4a7c15;
		hash ^= hash >> 29;
	}

	return hash;
}

static __always_inline int same(struct flow __arena *f, const struct flow_key *key)
{
	__u32 __arena *have = (__u32 __arena *)&f->key;
	const __u32 *want = (const void *)key;
	int i;

	for (i = 0; i < (int)sizeof(*key) / 4; i++)
		if (have[i] != want[i])
			return 0;

	return 1;
}

static __always_inline void start(struct flow __arena *f, const struct flow_key *key, __u64 now)
{
	__u32 __arena *to = (__u32 __arena *)&f->key;
	const __u32 *from = (const void *)key;
	int i;

	for (i = 0; i < (int)sizeof(*key) / 4; i++)
		to[i] = from[i];
	/* Clang 19 merges two stores into a memset(), and loses the address space. */
	f->packets = 0;
	barrier();
	f->bytes = 0;
	f->first = now;
	f->last = now;
}

/* Give an idle flow a new key. Returns 0 if another CPU is doing so. */
static __always_inline int take_over(struct flow __arena *f, const struct flow_key *key,
				     __u64 now)
{
	__u64 seq = f->seq;

	if (seq & 1 || f->last + idle_ns > now)
		return 0;
	if (__sync_val_compare_and_swap(&f->seq, seq, seq + 1) != seq)
		return 0;
	start(f, key, now);
	__sync_fetch_and_add(&f->seq, 1);
	__sync_fetch_and_add(&reused, 1);

	return 1;
}

static __always_inline struct flow __arena *find(const struct flow_key *key, __u64 now)
{
	struct flow __arena *mine = NULL, *f;
	__u64 hash = hash_of(key), idle = 0, first, at, seen = 0;
	__u64 __arena *head;
	int i;

	head = (__u64 __arena *)arena_nolock_page_once(&arena,
			&dirs[hash / FLOW_HEADS % FLOW_DIRS]);
	if (!head)
		return NULL;
	head += hash % FLOW_HEADS;
	first = *(volatile __u64 __arena *)head;
	at = first;
	bpf_for(i, 0, CHAIN) {
		if (at != seen) {
			f = (struct flow __arena *)at;
			if (same(f, key)) {
				arena_nolock_heap_free(&arena, &heap, mine);
				return f;
			}
			if (!idle && f->last + idle_ns <= now)
				idle = at;
			at = f->next;
			continue;
		}
		/* Not found. If others are inserted before ours, the next turns visit only them. */
		f = (struct flow __arena *)idle;
		if (!mine && idle && take_over(f, key, now))
			return f;
		if (!mine) {
			mine = arena_nolock_heap_alloc(&arena, &heap, sizeof(*mine));
			if (!mine)
				return NULL;
			start(mine, key, now);
		}
		mine->next = first;
		at = __sync_val_compare_and_swap(head, first, (__u64)mine);
		if (at == first)
			return mine;
		seen = first;
		first = at;
	}
	arena_nolock_heap_free(&arena, &heap, mine);

	return NULL;
}

/* Returns 0 if the packet does not belong to a flow. */
static __always_inline int parse(struct xdp_md *ctx, struct flow_key *key)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *l4;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct ipv6hdr *ip6 = (void *)(eth + 1);
	struct udphdr *ports;

	if ((void *)(eth + 1) > end)
		return 0;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		if ((void *)(ip + 1) > end || ip->ihl < 5 || ip->frag_off & bpf_htons(0x1fff))
			return 0;
		key->family = 4;
		key->proto = ip->protocol;
		key->src[0] = ip->saddr;
		key->dst[0] = ip->daddr;
		l4 = (void *)ip + ip->ihl * 4;
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		if ((void *)(ip6 + 1) > end)
			return 0;
		key->family = 6;
		key->proto = ip6->nexthdr;
		__builtin_memcpy(key->src, &ip6->saddr, sizeof(key->src));
		__builtin_memcpy(key->dst, &ip6->daddr, sizeof(key->dst));
		l4 = ip6 + 1;
	} else {
		return 0;
	}
	/* TCP and UDP have their ports at the same offset. Other protocols have none. */
	ports = l4;
	if ((key->proto == IPPROTO_TCP || key->proto == IPPROTO_UDP) &&
	    (void *)(ports + 1) <= end) {
		key->sport = ports->source;
		key->dport = ports->dest;
	}

	return 1;
}

SEC("xdp")
int on_packet(struct xdp_md *ctx)
{
	__u64 now = bpf_ktime_get_ns(), bytes = ctx->data_end - ctx->data;
	struct flow_key key = {};
	struct flow __arena *f;

	__sync_fetch_and_add(&packets, 1);
	if (!parse(ctx, &key)) {
		__sync_fetch_and_add(&others, 1);
		return XDP_PASS;
	}
	f = find(&key, now);
	if (!f) {
		__sync_fetch_and_add(&lost, 1);
		return XDP_PASS;
	}
	__sync_fetch_and_add(&f->packets, 1);
	__sync_fetch_and_add(&f->bytes, bytes);
	f->last = now;

	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
