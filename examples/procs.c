// SPDX-License-Identifier: GPL-2.0
/* Prints the running programs that were started since, once a second. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <linux/types.h>
#include "arena_nolock_slab.h"
#include "procs.h"
#include "procs.skel.h"

/* Copy an object. Returns its id, or 0 if it was freed meanwhile. */
static __u64 snapshot(__u64 at, void *copy, size_t size)
{
	const __u64 *obj = (const __u64 *)at;
	__u64 id = __atomic_load_n(obj, __ATOMIC_ACQUIRE);

	memcpy(copy, obj, size);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);

	return __atomic_load_n(obj, __ATOMIC_RELAXED) == id && id >= FIRST_ID ? id : 0;
}

static void print_proc(__u64 at)
{
	char copy[sizeof(struct name) + LONG_NAME];
	struct proc p;

	if (!at || !snapshot(at, &p, sizeof(p)))
		return;
	if (snapshot(p.name, copy, sizeof(struct name) + p.len) == p.id)
		printf("%8u %s\n", p.pid, ((struct name *)copy)->text);
}

int main(int argc, char **argv)
{
	struct procs_bpf *skel;
	int i;

	if (argc > 1)
		return printf("usage: %s    prints the programs that run, once a second\n", argv[0]) < 0;
	skel = procs_bpf__open_and_load();
	if (!skel || procs_bpf__attach(skel))
		return 1;
	setlinebuf(stdout);
	for (;; sleep(1)) {
		for (i = 0; i < PROCS; i++)
			print_proc(__atomic_load_n(&skel->bss->table[i], __ATOMIC_ACQUIRE));
		printf("%llu running, %llu pages\n", skel->data->procs.objects,
		       skel->data->procs.pages + skel->data->short_names.pages +
		       skel->data->long_names.pages);
	}
}
