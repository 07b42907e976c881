// SPDX-License-Identifier: GPL-2.0
/*
 * Copies and clears of arena memory, include/arena_nolock_mem.h. Each request is repeated here
 * on a model, and all bytes around it are compared.
 */
#include <errno.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>

#include "mem.h"
#include "runner.h"
#include "arena.h"
#include "mem.skel.h"

#define SMALL_PAGE 4096		/* of most architectures */
#define SRC 64			/* offsets in the arena; a request may cross a small page */
#define DST (2 * SMALL_PAGE - 40)
#define SMALL 24		/* up to this size, with each alignment of both sides */

struct model {
	unsigned char arena[4 * SMALL_PAGE];
	unsigned char buf[MEM_BUF];
};

static struct mem_bpf *skel;
static struct model model;
static unsigned char *base;
static __u32 serial;

static bool run(struct bpf_program *prog)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	return !bpf_prog_test_run_opts(bpf_program__fd(prog), &opts);
}

static void open_mem(void)
{
	skel = mem_bpf__open_and_load();
	ASSERT(skel, "load: %s", strerror(errno));
	ASSERT(run(skel->progs.mem_setup) && skel->bss->page, "no pages");
	base = (unsigned char *)skel->bss->page;
}

/* Other bytes in every place, each time. */
static void fill(void)
{
	size_t i;

	serial++;
	for (i = 0; i < sizeof(model.arena); i++)
		model.arena[i] = i * 7 + (i >> 8) + serial;
	for (i = 0; i < sizeof(model.buf); i++)
		model.buf[i] = 255 - (i * 5 + (i >> 8) + serial);
	memcpy(base, model.arena, sizeof(model.arena));
	memcpy(skel->bss->buf, model.buf, sizeof(model.buf));
}

static void request(bool constant, __u32 op, __u32 size, __u32 src_off, __u32 dst_off)
{
	struct mem_request *req = &skel->bss->req;
	unsigned char *src = model.arena + SRC + src_off, *dst = model.arena + DST + dst_off;
	unsigned char *buf = model.buf;

	*req = (struct mem_request){
		.op = op, .size = size, .src = (__u64)base + SRC + src_off,
		.dst = (__u64)base + DST + dst_off,
	};
	switch (op) {
	case MEM_TO:
		req->off = src_off;
		memcpy(dst, buf + src_off, size);
		break;
	case MEM_TO_WORDS:
		memcpy(dst, buf, size);
		break;
	case MEM_FROM:
		req->off = dst_off;
		memcpy(buf + dst_off, src, size);
		break;
	case MEM_FROM_WORDS:
		memcpy(buf, src, size);
		break;
	case MEM_CLEAR:
		memset(dst, 0, size);
		break;
	default:
		memcpy(dst, src, size);
	}
	ASSERT(run(constant ? skel->progs.mem_constant : skel->progs.mem_variable), "run");
	ASSERT_EQ(req->done, 1, "requests done");
	ASSERT(!memcmp(base, model.arena, sizeof(model.arena)) &&
	       !memcmp(skel->bss->buf, model.buf, sizeof(model.buf)),
	       "operation %u of %u bytes, source at +%u, destination at +%u: wrong bytes", op, size,
	       src_off, dst_off);
}

static void one_size(bool constant, __u32 size)
{
	__u32 op, i, n;

	for (op = 0; op < MEM_OPS; op++) {
		if (op >= MEM_STACK_1 && size > MEM_STACK)
			break;
		/* All alignments of a small size, some of others. */
		n = size <= SMALL && !constant ? 64 : 9;
		fill();
		for (i = 0; i < n; i++) {
			request(constant, op, size, n == 64 ? i % 8 : i * 5 % 8,
				n == 64 ? i / 8 : i * 3 % 8);
			ASSERT_OK();
		}
	}
}

TEST_LONG(mem, variable, 120, "copies and clears of variable size change the right bytes and no others")
{
	__u32 size;

	open_mem();
	ASSERT_OK();
	for (size = 0; size <= 136; size++) {
		one_size(false, size);
		ASSERT_OK();
	}
	for (size = MEM_BUF / 2 - 8; size <= MEM_BUF / 2 + 8; size++) {
		one_size(false, size);
		ASSERT_OK();
	}
	mem_bpf__destroy(skel);
}

#define SIZE(n) n,

TEST(mem, constant, "copies and clears of constant size change the right bytes and no others")
{
	static const __u32 sizes[] = { MEM_SIZES(SIZE) };
	size_t i;

	open_mem();
	ASSERT_OK();
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		one_size(true, sizes[i]);
		ASSERT_OK();
	}
	mem_bpf__destroy(skel);
}

TEST(mem, record, "a structure is copied from arena memory and back, with members of any type")
{
	struct mem_record first = { 7, 1234, 5, "first" }, second = { 8, 1, 6, "second" };
	struct mem_record *r;

	open_mem();
	ASSERT_OK();
	memset(base, 0xa5, 4 * sizeof(*r));
	r = (struct mem_record *)base;
	r[0] = first;
	skel->bss->record = second;
	skel->bss->record_at = (__u64)base;
	ASSERT(run(skel->progs.mem_copy_record), "run");
	first.id++;
	first.len++;
	ASSERT(!memcmp(&r[0], &first, sizeof(first)), "changed: %llu, %u", (unsigned long long)r[0].id,
	       r[0].len);
	ASSERT(!memcmp(&r[1], &second, sizeof(second)), "from a global");
	ASSERT(!memcmp(&r[2], &first, sizeof(first)), "arena to arena");
	ASSERT_EQ(*(unsigned char *)&r[3], 0xa5, "the byte behind");
	mem_bpf__destroy(skel);
}
