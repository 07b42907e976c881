// SPDX-License-Identifier: GPL-2.0
/*
 * The tracepoints of trace.h, in a file of their own: they are below everything else.
 */
#include "arena.h"

#define CREATE_TRACE_POINTS
#include "trace.h"
