// SPDX-License-Identifier: GPL-2.0
/* Prints the number of context switches, once a second. */
#include <stdio.h>
#include <unistd.h>
#include "count.skel.h"

int main(int argc, char **argv)
{
	struct count_bpf *skel;

	if (argc > 1)
		return printf("usage: %s    prints the context switches, once a second\n", argv[0]) < 0;
	skel = count_bpf__open_and_load();
	if (!skel || count_bpf__attach(skel))
		return 1;
	setlinebuf(stdout);
	for (;; sleep(1))
		if (skel->bss->page)
			printf("%llu context switches\n", *(volatile __u64 *)skel->bss->page);
}
