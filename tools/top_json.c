// SPDX-License-Identifier: GPL-2.0
/*
 * arena_nolock-top: JSON, with everything that is in the files.
 *
 * "key value" becomes a member, "key name=value ..." an object, and lines
 * "key.cause name=value ..." one object with an object for each cause. So a key has only
 * [a-z0-9_], and jq needs no quotes. The man page has the format.
 */
#include <ctype.h>
#include <time.h>

#include "top.h"

static void show_key(const char *s, int len)
{
	int i;

	putchar('"');
	for (i = 0; i < len; i++)
		putchar(isalnum((unsigned char)s[i]) ? tolower((unsigned char)s[i]) : '_');
	fputs("\":", stdout);
}

static void show_string(const char *s, int len)
{
	int i;

	putchar('"');
	for (i = 0; i < len; i++) {
		if (s[i] == '"' || s[i] == '\\')
			putchar('\\');
		if ((unsigned char)s[i] < 0x20)
			printf("\\u%04x", s[i]);
		else
			putchar(s[i]);
	}
	putchar('"');
}

static void show_pairs(const char *line)
{
	const char *sep = "";
	struct stat_pair pair;

	putchar('{');
	while (stat_next_pair(&line, &pair)) {
		fputs(sep, stdout);
		sep = ",";
		show_key(pair.name, pair.len);
		printf("%lld", pair.value);
	}
	putchar('}');
}

static void show_value(const char *key, const char *val)
{
	int len = strcspn(val, "\n");

	if (!strncmp(key, "map_name ", 9))
		show_string(val, len);
	else if (strcspn(val, "=") < (size_t)len)
		show_pairs(val);
	else if (len && (int)strspn(val, "-0123456789") == len)
		printf("%.*s", len, val);
	else
		show_string(val, len);
}

static void show_arena(const struct arena *a)
{
	const char *line, *group = NULL, *sep = "";
	int group_len = 0;

	putchar('{');
	for (line = a->file.text; line && *line; line = stat_next_line(line)) {
		int len = strcspn(line, " \n"), prefix = strcspn(line, ". \n");
		const char *val = line + len + (line[len] == ' ');

		if (group && (prefix != group_len || strncmp(line, group, prefix + 1))) {
			putchar('}');
			group = NULL;
			sep = ",";
		}
		fputs(sep, stdout);
		sep = ",";
		if (prefix < len) {
			if (!group) {
				show_key(line, prefix);
				putchar('{');
			}
			group = line;
			group_len = prefix;
			show_key(line + prefix + 1, len - prefix - 1);
		} else {
			show_key(line, len);
		}
		show_value(line, val);
	}
	fputs(group ? "}}" : "}", stdout);
}

void json_show(void)
{
	int i;

	printf("{\"time\":%lld,\"arenas\":[", (long long)time(NULL));
	for (i = 0; i < nr_arenas; i++) {
		if (i)
			putchar(',');
		show_arena(&arenas[i]);
	}
	puts("]}");
}
