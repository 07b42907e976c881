/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM anl_test

#if !defined(ANL_NMI_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define ANL_NMI_TRACE_H

#include <linux/tracepoint.h>

/* In an NMI, with the arguments of nmi_handler, so that the same programs can be attached. */
TRACE_EVENT(anl_test_nmi,
	TP_PROTO(void *handler, s64 delta_ns, int handled),
	TP_ARGS(handler, delta_ns, handled),
	TP_STRUCT__entry(
		__field(int, handled)
	),
	TP_fast_assign(
		__entry->handled = handled;
	),
	TP_printk("handled=%d", __entry->handled)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE nmi_trace
#include <trace/define_trace.h>
