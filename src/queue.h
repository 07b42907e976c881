/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What follows when slots have become dying. Apart from slots.h, as tracepoints need arena.h.
 */
#ifndef ANL_QUEUE_H
#define ANL_QUEUE_H

#include "arena.h"
#include "trace.h"

/**
 * anl_slots_queued() - account for slots that are dying now, and request the drain
 * @arena: the arena
 * @pgoff: first slot of the operation
 * @cnt: number of slots of the operation
 * @nr: how many of them were put into the queue, by anl_slots_put_dying()
 *
 * Context: any.
 */
static inline void anl_slots_queued(struct anl_arena *arena, u32 pgoff, u32 cnt, u32 nr)
{
	if (!nr)
		return;
	anl_count(arena, queued_pages, nr);
	trace_arena_nolock_queue(arena, pgoff, cnt, nr);
	anl_kick_ordered(&arena->kick, ANL_KICK_DRAIN);
}

#endif
