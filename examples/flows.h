/* SPDX-License-Identifier: GPL-2.0 */
#ifndef FLOWS_H
#define FLOWS_H

#define FLOW_DIRS 256		/* pages of bucket heads */
#define FLOW_HEADS 512		/* heads in such a page */

struct flow_key {
	__u32 src[4], dst[4];	/* IPv4 in the first word */
	__u16 sport, dport;	/* as on the wire */
	__u8 proto, family;	/* family: 4 or 6 */
	__u16 zero;
};

/*
 * A flow. "seq" is odd while it gets a new key: who reads the key looks at seq before
 * and afterwards. A flow stays in its bucket; one that was idle for long becomes
 * another one of that bucket.
 */
struct flow {
	__u64 next;
	__u64 seq;
	struct flow_key key;
	__u64 packets, bytes;
	__u64 first, last;	/* CLOCK_MONOTONIC, ns */
};

#endif
