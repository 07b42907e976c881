/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints, for perf, ftrace, bpftrace and BPF programs. The module holds none of its
 * locks in a tracepoint, so a program attached to one may call the kfuncs.
 *
 * Fields: map is the id of the map, pgoff and cnt are in pages, err is 0 or -errno.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM arena_nolock

#if !defined(ANL_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define ANL_TRACE_H

#include <linux/tracepoint.h>

#include "arena.h"

TRACE_DEFINE_ENUM(ANL_CTX_TASK);
TRACE_DEFINE_ENUM(ANL_CTX_ATOMIC);
TRACE_DEFINE_ENUM(ANL_CTX_SOFTIRQ);
TRACE_DEFINE_ENUM(ANL_CTX_HARDIRQ);
TRACE_DEFINE_ENUM(ANL_CTX_NMI);
TRACE_DEFINE_ENUM(ANL_FAULT_MAPPED);
TRACE_DEFINE_ENUM(ANL_FAULT_POPULATED);
TRACE_DEFINE_ENUM(ANL_FAULT_AGAIN);
TRACE_DEFINE_ENUM(ANL_FAULT_SEGV);
TRACE_DEFINE_ENUM(ANL_FAULT_NO_MEMORY);
TRACE_DEFINE_ENUM(ANL_FAULT_POISONED);

#define anl_show_ctx(ctx)	__print_symbolic(ctx, ANL_CTX_NAMES)

/* A map was adopted, or its adoption failed with err. populated: its pages. */
TRACE_EVENT(arena_nolock_adopt,
	TP_PROTO(const struct bpf_map *map, long populated, int err),
	TP_ARGS(map, populated, err),
	TP_STRUCT__entry(
		__field(u32, map)
		__array(char, name, BPF_OBJ_NAME_LEN)
		__field(u32, max_pages)
		__field(long, populated)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->map = map->id;
		memcpy(__entry->name, map->name, BPF_OBJ_NAME_LEN);
		__entry->max_pages = map->max_entries;
		__entry->populated = populated;
		__entry->err = err;
	),
	TP_printk("map=%u name=%s max_pages=%u populated=%ld err=%d", __entry->map,
		  __entry->name, __entry->max_pages, __entry->populated, __entry->err)
);

DECLARE_EVENT_CLASS(arena_nolock_span,
	TP_PROTO(const struct anl_arena *arena, u32 pgoff, u32 cnt, u32 ctx),
	TP_ARGS(arena, pgoff, cnt, ctx),
	TP_STRUCT__entry(
		__field(u32, map)
		__field(u32, pgoff)
		__field(u32, cnt)
		__field(u32, ctx)
	),
	TP_fast_assign(
		__entry->map = arena->id;
		__entry->pgoff = pgoff;
		__entry->cnt = cnt;
		__entry->ctx = ctx;
	),
	TP_printk("map=%u pgoff=%u cnt=%u ctx=%s", __entry->map, __entry->pgoff,
		  __entry->cnt, anl_show_ctx(__entry->ctx))
);

DEFINE_EVENT(arena_nolock_span, arena_nolock_alloc,
	TP_PROTO(const struct anl_arena *arena, u32 pgoff, u32 cnt, u32 ctx),
	TP_ARGS(arena, pgoff, cnt, ctx)
);

DEFINE_EVENT(arena_nolock_span, arena_nolock_reserve,
	TP_PROTO(const struct anl_arena *arena, u32 pgoff, u32 cnt, u32 ctx),
	TP_ARGS(arena, pgoff, cnt, ctx)
);

/* An allocation or a reservation failed. addr: the requested address. */
DECLARE_EVENT_CLASS(arena_nolock_failure,
	TP_PROTO(const struct anl_arena *arena, unsigned long addr, u32 cnt, u32 ctx, int err),
	TP_ARGS(arena, addr, cnt, ctx, err),
	TP_STRUCT__entry(
		__field(u32, map)
		__field(u32, cnt)
		__field(unsigned long, addr)
		__field(u32, ctx)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->map = arena->id;
		__entry->cnt = cnt;
		__entry->addr = addr;
		__entry->ctx = ctx;
		__entry->err = err;
	),
	TP_printk("map=%u addr=%#lx cnt=%u ctx=%s err=%d", __entry->map, __entry->addr,
		  __entry->cnt, anl_show_ctx(__entry->ctx), __entry->err)
);

DEFINE_EVENT(arena_nolock_failure, arena_nolock_alloc_failed,
	TP_PROTO(const struct anl_arena *arena, unsigned long addr, u32 cnt, u32 ctx, int err),
	TP_ARGS(arena, addr, cnt, ctx, err)
);

DEFINE_EVENT(arena_nolock_failure, arena_nolock_reserve_failed,
	TP_PROTO(const struct anl_arena *arena, unsigned long addr, u32 cnt, u32 ctx, int err),
	TP_ARGS(arena, addr, cnt, ctx, err)
);

/* A call to free. cnt: the requested pages. found: pages and reservations among them. */
TRACE_EVENT(arena_nolock_free,
	TP_PROTO(const struct anl_arena *arena, u32 pgoff, u32 cnt, u32 found, u32 ctx),
	TP_ARGS(arena, pgoff, cnt, found, ctx),
	TP_STRUCT__entry(
		__field(u32, map)
		__field(u32, pgoff)
		__field(u32, cnt)
		__field(u32, found)
		__field(u32, ctx)
	),
	TP_fast_assign(
		__entry->map = arena->id;
		__entry->pgoff = pgoff;
		__entry->cnt = cnt;
		__entry->found = found;
		__entry->ctx = ctx;
	),
	TP_printk("map=%u pgoff=%u cnt=%u found=%u ctx=%s", __entry->map, __entry->pgoff,
		  __entry->cnt, __entry->found, anl_show_ctx(__entry->ctx))
);

/* Slots in [pgoff, pgoff + cnt) were queued. queued: their number. */
TRACE_EVENT(arena_nolock_queue,
	TP_PROTO(const struct anl_arena *arena, u32 pgoff, u32 cnt, u32 queued),
	TP_ARGS(arena, pgoff, cnt, queued),
	TP_STRUCT__entry(
		__field(u32, map)
		__field(u32, pgoff)
		__field(u32, cnt)
		__field(u32, queued)
	),
	TP_fast_assign(
		__entry->map = arena->id;
		__entry->pgoff = pgoff;
		__entry->cnt = cnt;
		__entry->queued = queued;
	),
	TP_printk("map=%u pgoff=%u cnt=%u queued=%u", __entry->map, __entry->pgoff,
		  __entry->cnt, __entry->queued)
);

/* A batch was retired with one TLB flush. done=0: slots that user space can reach stay queued. */
TRACE_EVENT(arena_nolock_drain,
	TP_PROTO(const struct anl_arena *arena, u32 spans, u32 slots, u32 pages, bool done),
	TP_ARGS(arena, spans, slots, pages, done),
	TP_STRUCT__entry(
		__field(u32, map)
		__field(u32, spans)
		__field(u32, slots)
		__field(u32, pages)
		__field(bool, done)
	),
	TP_fast_assign(
		__entry->map = arena->id;
		__entry->spans = spans;
		__entry->slots = slots;
		__entry->pages = pages;
		__entry->done = done;
	),
	TP_printk("map=%u spans=%u slots=%u pages=%u done=%d", __entry->map, __entry->spans,
		  __entry->slots, __entry->pages, __entry->done)
);

/* The worker refilled the pool. from, to: its pages before and after; target: its size. */
TRACE_EVENT(arena_nolock_refill,
	TP_PROTO(const struct anl_arena *arena, int from, int to, u32 target),
	TP_ARGS(arena, from, to, target),
	TP_STRUCT__entry(
		__field(u32, map)
		__field(int, from)
		__field(int, to)
		__field(u32, target)
	),
	TP_fast_assign(
		__entry->map = arena->id;
		__entry->from = from;
		__entry->to = to;
		__entry->target = target;
	),
	TP_printk("map=%u from=%d to=%d target=%u", __entry->map, __entry->from, __entry->to,
		  __entry->target)
);

/* A memory node has pages to zero for the pool, on one of its CPUs. */
TRACE_EVENT(arena_nolock_recycle,
	TP_PROTO(const struct anl_arena *arena, int node, u32 pages),
	TP_ARGS(arena, node, pages),
	TP_STRUCT__entry(
		__field(u32, map)
		__field(int, node)
		__field(u32, pages)
	),
	TP_fast_assign(
		__entry->map = arena->id;
		__entry->node = node;
		__entry->pages = pages;
	),
	TP_printk("map=%u node=%d pages=%u", __entry->map, __entry->node, __entry->pages)
);

/* A user fault. outcome: one of enum anl_fault. */
TRACE_EVENT(arena_nolock_fault,
	TP_PROTO(const struct anl_arena *arena, u32 pgoff, u32 outcome),
	TP_ARGS(arena, pgoff, outcome),
	TP_STRUCT__entry(
		__field(u32, map)
		__field(u32, pgoff)
		__field(u32, outcome)
	),
	TP_fast_assign(
		__entry->map = arena->id;
		__entry->pgoff = pgoff;
		__entry->outcome = outcome;
	),
	TP_printk("map=%u pgoff=%u outcome=%s", __entry->map, __entry->pgoff,
		  __print_symbolic(__entry->outcome, ANL_FAULT_NAMES))
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
