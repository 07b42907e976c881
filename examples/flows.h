/* SPDX-License-Identifier: GPL-2.0 */
#ifndef FLOWS_H
#define FLOWS_H

#define FLOW_DIRS 256		/* pages of bucket heads */
#define FLOW_HEADS 512		/* heads per page */

struct flow_key {
	__u32 src[4], dst[4];	/* an IPv4 address is in the first word */
	__u16 sport, dport;	/* in network byte order */
	__u8 proto, family;	/* family: 4 or 6 */
	__u16 zero;
};

/*
 * A flow. @seq is odd while the flow gets a new key, so readers of the key compare @seq
 * before and after. A flow never leaves its bucket. An idle flow is reused for another
 * flow of the same bucket.
 */
struct flow {
	__u64 next;
	__u64 seq;
	struct flow_key key;
	__u64 packets, bytes;
	__u64 first, last;	/* CLOCK_MONOTONIC, ns */
};

#endif
