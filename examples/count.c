// SPDX-License-Identifier: GPL-2.0
/* Prints the number of NMIs on this machine, once a second. */
#include <stdio.h>
#include <unistd.h>
#include "count.skel.h"

int main(int argc, char **argv)
{
	struct count_bpf *skel;

	if (argc > 1)
		return printf("usage: %s    prints the NMIs, once a second\n", argv[0]) < 0;
	skel = count_bpf__open_and_load();
	if (!skel || count_bpf__attach(skel))
		return 1;
	setlinebuf(stdout);
	for (;; sleep(1))
		if (skel->bss->counter)
			printf("%llu NMIs\n", *skel->bss->counter);
}
