/* SPDX-License-Identifier: GPL-2.0 */
/* What libbpf says to a user. */
#ifndef LOG_H
#define LOG_H

/* Keep its warnings from here to the end of the test. */
void log_keep(void);
const char *log_kept(void);

#endif
