// SPDX-License-Identifier: GPL-2.0
/* What the bench prints: see main.c for the format. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

void note(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

void die(const char *fmt, ...)
{
	va_list ap;

	printf("# FAILED: ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	exit(1);
}

const char *num(double v)
{
	static char bufs[8][32];
	static int next;
	char *buf = bufs[next++ % 8];

	if (isnan(v) || isinf(v))
		return "-";
	snprintf(buf, sizeof(bufs[0]), fabs(v) < 100 ? "%.3g" : "%.0f", v);

	return buf;
}

void result(const char *name, struct result r, const char *fmt, ...)
{
	char remark[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(remark, sizeof(remark), fmt, ap);
	va_end(ap);
	printf("RESULT\t%s%s\t%s\t%s\t%s\t%s\t%s\t%s\n", icount ? "icount." : "", name,
	       icount && !strcmp(r.unit, "ns") ? "instructions" : r.unit,
	       r.better ?: "less", num(r.v[INTREE]), num(r.v[MODULE]),
	       r.target ?: "-", remark[0] ? remark : "-");
}

void point(const char *plot, double x, double intree, double module)
{
	printf("POINT\t%s\t%s\t%s\t%s\n", plot, num(x), num(intree), num(module));
}
