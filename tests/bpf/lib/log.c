// SPDX-License-Identifier: GPL-2.0
#include <stdarg.h>
#include <stdio.h>
#include <bpf/libbpf.h>

#include "log.h"

static char text[1 << 16];
static size_t text_len;

static int keep(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	int n;

	if (level == LIBBPF_DEBUG)
		return 0;
	n = vsnprintf(text + text_len, sizeof(text) - text_len, fmt, ap);
	if (n > 0 && text_len + n < sizeof(text))
		text_len += n;

	return n;
}

void log_keep(void)
{
	libbpf_set_print(keep);
}

const char *log_kept(void)
{
	return text;
}
