// SPDX-License-Identifier: GPL-2.0
/*
 * The two arenas, the kernel's own and one that the module has adopted, and the
 * programs that work on them (bench.bpf.c, compiled once for each).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>

#include "core.h"
#include "bench_intree.skel.h"
#include "bench_module.skel.h"

const char *const side_names[SIDES] = { "in tree", "module" };

const char *const prog_names[PROGS] = {
	"sleepable", "under_rcu", "atomic", "touch",
};

bool runs_in(int side, int prog)
{
	return side == MODULE || prog == SLEEPABLE || prog == TOUCH || intree_atomic;
}

struct bpf_object *open_object(int side)
{
	struct bpf_object *obj;
	const void *elf;
	size_t size;

	elf = side == INTREE ? bench_intree_bpf__elf_bytes(&size) :
			       bench_module_bpf__elf_bytes(&size);
	obj = bpf_object__open_mem(elf, size, NULL);
	if (!obj)
		die("the BPF object: %s", strerror(errno));

	return obj;
}

void arena_open(struct arena *a, int side, __u32 pages)
{
	struct bpf_program *p;
	struct bpf_map *map;
	size_t size;
	int i;

	memset(a, 0, sizeof(*a));
	a->side = side;
	a->obj = open_object(side);
	map = bpf_object__find_map_by_name(a->obj, "arena");
	bpf_map__set_max_entries(map, pages);
	bpf_object__for_each_program(p, a->obj)
		if (!runs_in(side, ATOMIC) && strcmp(bpf_program__name(p), "sleepable") &&
		    strcmp(bpf_program__name(p), "touch"))
			bpf_program__set_autoload(p, false);
	if (bpf_object__load(a->obj))
		die("load, %s: %s", side_names[side], strerror(errno));
	a->map_fd = bpf_map__fd(map);
	a->base = (__u64)bpf_map__initial_value(map, &size);
	a->sh = bpf_map__initial_value(bpf_object__find_map_by_name(a->obj, ".bss"), &size);
	if (!a->base || !a->sh)
		die("no memory map");
	for (i = 0; i < PROGS; i++) {
		p = bpf_object__find_program_by_name(a->obj, prog_names[i]);
		a->fds[i] = bpf_program__fd(p);
	}
}

static void arena_close(struct arena *a)
{
	bpf_link__destroy(a->link);
	bpf_object__close(a->obj);
	memset(a, 0, sizeof(*a));
}

void arena_attach(struct arena *a, const char *prog)
{
	a->link = bpf_program__attach(bpf_object__find_program_by_name(a->obj, prog));
	if (!a->link)
		die("attach %s: %s", prog, strerror(errno));
}

int arenas_open(struct arena *a, __u32 pages, int prog)
{
	int side, first = runs_in(INTREE, prog) ? INTREE : MODULE;

	for (side = first; side < SIDES; side++)
		arena_open(&a[side], side, pages);
	settle();

	return first;
}

void arenas_close(struct arena *a, int first)
{
	int side;

	for (side = first; side < SIDES; side++)
		arena_close(&a[side]);
	settle();
}

long arena_pages(struct arena *a)
{
	char path[64], *p;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", a->map_fd);
	p = strstr(read_text(path), "memlock:");

	return p ? atol(p + strlen("memlock:")) / (long)PAGE : -1;
}

void run_prog(struct arena *a, int prog, __u64 slot)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &slot, .ctx_size_in = sizeof(slot));

	if (bpf_prog_test_run_opts(a->fds[prog], &opts))
		die("%s of %s: %s", prog_names[prog], side_names[a->side], strerror(errno));
}

volatile struct bench_slot *set_slot(struct arena *a, int slot, struct todo t)
{
	volatile struct bench_slot *s = &a->sh->slot[slot];

	s->n = t.n ?: 1;
	s->cnt = t.cnt ?: 1;
	s->step = t.step ?: 1;
	s->addr = t.addr;
	s->alloc_ns = s->free_ns = s->done = s->failed = s->before = 0;
	s->hits = s->hits_failed = 0;
	__atomic_store_n(&s->op, t.op, __ATOMIC_SEQ_CST);

	return s;
}

volatile struct bench_slot *run(struct arena *a, int prog, struct todo t)
{
	volatile struct bench_slot *s = set_slot(a, 0, t);

	run_prog(a, prog, 0);

	return s;
}
