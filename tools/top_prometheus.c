// SPDX-License-Identifier: GPL-2.0
/* arena_nolock-top: the text format of Prometheus, for node_exporter's textfile collector. */
#include "top.h"

struct metric {
	const char *name;	/* after "arena_nolock_"; counters end in "_total" */
	const char *key;	/* in the file */
	const char *label;	/* of the names in the key's line, or NULL for "key value" */
	const char *help;
};

static const struct metric metrics[] = {
	{ "max_pages", "max_pages", NULL, "Pages that the arena can hold." },
	{ "populated_pages", "populated_pages", NULL, "Pages that hold memory." },
	{ "free_pages", "free_pages", NULL, "Page addresses that an allocation can take." },
	{ "queue_pages", "queued_pages", NULL, "Freed pages that wait for the drain." },
	{ "pool_pages", "pool_nr", NULL, "Pages ready for callers that cannot sleep." },
	{ "pool_target_pages", "pool_target", NULL, "Pages that the pool should hold now." },
	{ "pool_min_pages", "pool_min", NULL, "Least target of the pool." },
	{ "pool_max_pages", "pool_max", NULL, "Greatest target of the pool." },
	{ "standby_pages", "standby_nr", NULL, "Pages ready for all arenas of the memory cgroup." },
	{ "standby_max_pages", "standby_max", NULL, "Pages that these should be." },
	{ "allocs_total", "allocs", "context", "Successful allocations." },
	{ "allocated_pages_total", "allocated_pages", NULL, "Pages of successful allocations." },
	{ "frees_total", "frees", "context", "Calls to free." },
	{ "freed_pages_total", "freed_pages", NULL,
	  "Pages and reservations that calls to free found." },
	{ "reserves_total", "reserves", "context", "Successful reservations." },
	{ "faults_total", "faults", "outcome", "Page faults of user space." },
	{ "alloc_failed_total", "alloc_failed", "context", "Failed allocations." },
	{ "reserve_failed_total", "reserve_failed", "context", "Failed reservations." },
	{ "queued_pages_total", "queued_pages_total", NULL,
	  "Pages and reservations that were queued for the drain." },
	{ "reused_pages_total", "reused_pages", NULL,
	  "Pages in the queue that were allocated again at the same address." },
	{ "drains_total", "drains", NULL, "Batches that the drain retired." },
	{ "drained_pages_total", "drained_pages", NULL,
	  "Pages and reservations that the drain retired." },
	{ "drain_latency_max_seconds", "drain_latency_max_us", NULL,
	  "Longest time that a freed page waited for the drain." },
	{ "refills_total", "refills", NULL, "Runs of the worker that refills the pool." },
	{ "standby_taken_pages_total", "standby_pages", NULL,
	  "Pages that the arena has taken from those of the memory cgroup." },
};

static void show_label_value(const char *s, int len)
{
	int i;

	for (i = 0; i < len; i++) {
		if (s[i] == '"' || s[i] == '\\')
			putchar('\\');
		putchar(s[i]);
	}
}

static void begin_sample(const struct metric *m, const struct arena *a)
{
	int len;
	const char *name = arena_name(a, &len);

	printf("arena_nolock_%s{map=\"%u\",name=\"", m->name, a->id);
	show_label_value(name, len);
	putchar('"');
}

static void show_value(const struct metric *m, const struct arena *a)
{
	long long value = stat_value(&a->file, m->key, NULL);

	if (value < 0)
		return;
	begin_sample(m, a);
	if (strstr(m->name, "_seconds"))
		printf("} %.6f\n", value / 1e6);
	else
		printf("} %lld\n", value);
}

static void show_pairs(const struct metric *m, const struct arena *a, const char *cause,
		       int cause_len, const char *line)
{
	struct stat_pair pair;

	while (line && stat_next_pair(&line, &pair)) {
		begin_sample(m, a);
		if (cause)
			printf(",cause=\"%.*s\"", cause_len, cause);
		printf(",%s=\"%.*s\"} %lld\n", m->label, pair.len, pair.name, pair.value);
	}
}

/* The lines "key.cause". */
static void show_causes(const struct metric *m, const struct arena *a)
{
	size_t len = strlen(m->key);
	const char *line, *cause;

	for (line = a->file.text; line; line = stat_next_line(line)) {
		int cause_len;

		if (strncmp(line, m->key, len) || line[len] != '.')
			continue;
		cause = line + len + 1;
		cause_len = strcspn(cause, " \n");
		show_pairs(m, a, cause, cause_len, cause + cause_len + 1);
	}
}

static void show_metric(const struct metric *m)
{
	size_t len = strlen(m->name);
	bool counter = len > 6 && !strcmp(m->name + len - 6, "_total");
	int i;

	printf("# HELP arena_nolock_%s %s\n", m->name, m->help);
	printf("# TYPE arena_nolock_%s %s\n", m->name, counter ? "counter" : "gauge");
	for (i = 0; i < nr_arenas; i++) {
		if (!m->label) {
			show_value(m, &arenas[i]);
			continue;
		}
		show_pairs(m, &arenas[i], NULL, 0, stat_line(&arenas[i].file, m->key));
		show_causes(m, &arenas[i]);
	}
}

void prometheus_show(void)
{
	int i;

	printf("# HELP arena_nolock_arenas Adopted arenas.\n"
	       "# TYPE arena_nolock_arenas gauge\n"
	       "arena_nolock_arenas %d\n", nr_arenas);
	for (i = 0; nr_arenas && i < ARRAY_SIZE(metrics); i++)
		show_metric(&metrics[i]);
}
