// SPDX-License-Identifier: GPL-2.0
/* What coccinelle must find something in, so that its silence means something. */
#include <linux/slab.h>

void sample(void *p)
{
	if (p)
		kfree(p);
}
