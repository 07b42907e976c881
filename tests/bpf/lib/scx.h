/* SPDX-License-Identifier: GPL-2.0 */
/* What sched_ext of this kernel can do, and what it does. */
#ifndef SCX_H
#define SCX_H

#include <stdbool.h>

#define SCX_STATE "/sys/kernel/sched_ext/state"

bool scx_state_is(const char *what);

/* Why schedulers do not work here, or NULL. */
const char *scx_unfit(void);
/* The same for those of the cid form, */
const char *scx_cid_unfit(void);
/* and for those that create queues. */
const char *scx_queues_unfit(void);

#define NEED_SCX(unfit)				\
	do {					\
		const char *why_ = unfit();	\
						\
		if (why_)			\
			SKIP(why_);		\
	} while (0)

#endif
