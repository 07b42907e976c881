// SPDX-License-Identifier: GPL-2.0
/*
 * Runs the programs of a BPF object, and prints what each returns: the tests clients.* compare
 * that of one object on both arenas. Linked with the libbpf of the kernel's sources, since
 * libbpf before 1.7 puts the globals of an arena at its start, where the arena library does
 * not expect them.
 *
 * usage: run_object each FILE	each program alone, in an arena of its own
 *	  run_object library FILE	the tests of the kernel's arena library, in one arena
 *	  run_object pairs FILE N TIMES	for the bench: what a pair of calls takes, in ns, of N in a
 *					row, that many times
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#define MAX_THREADS 8

static int run(struct bpf_program *prog, void *ctx, __u32 size)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = ctx, .ctx_size_in = size);
	char packet[64] = {};
	int err;

	if (bpf_program__type(prog) == BPF_PROG_TYPE_SOCKET_FILTER) {
		opts.data_in = packet;
		opts.data_size_in = sizeof(packet);
	}
	err = bpf_prog_test_run_opts(bpf_program__fd(prog), &opts);
	if (err)
		printf("%s does not run: %s\n", bpf_program__name(prog), strerror(-err));

	return err ?: (int)opts.retval;
}

__attribute__((format(printf, 2, 3)))
static struct bpf_program *find(struct bpf_object *obj, const char *fmt, ...)
{
	char name[128];
	va_list args;

	va_start(args, fmt);
	vsnprintf(name, sizeof(name), fmt, args);
	va_end(args);

	return bpf_object__find_program_by_name(obj, name);
}

static int run_named(struct bpf_object *obj, const char *name, const char *suffix)
{
	struct bpf_program *prog = find(obj, "%s%s", name, suffix);

	return prog ? run(prog, NULL, 0) : -ENOENT;
}

/*
 * What the library asks the kernel's configuration for. Its lock refuses kernels that are
 * built for more than 1024 CPUs, as Debian's are; what counts is how many there are.
 */
static const char kconfig[] = "CONFIG_X86_64=y\nCONFIG_NR_CPUS=1024\n";

/* All programs of the object, or one. */
static struct bpf_object *load(const char *file, const char *only)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .kconfig = kconfig);
	struct bpf_object *obj = bpf_object__open_file(file, &opts);
	struct bpf_program *prog;

	if (obj && only)
		bpf_object__for_each_program(prog, obj)
			bpf_program__set_autoload(prog, !strcmp(bpf_program__name(prog), only));
	if (obj && bpf_object__load(obj)) {
		bpf_object__close(obj);
		return NULL;
	}

	return obj;
}

static int run_each(const char *file)
{
	struct bpf_object *names, *obj;
	struct bpf_program *prog;

	/* Some are meant to be refused. */
	libbpf_set_print(NULL);
	names = bpf_object__open_file(file, NULL);
	if (!names)
		return 1;
	bpf_object__for_each_program(prog, names) {
		const char *name = bpf_program__name(prog);

		obj = load(file, name);
		if (obj)
			printf("%s: %d\n", name, run_named(obj, name, ""));
		else
			printf("%s: refused\n", name);
		bpf_object__close(obj);
	}
	bpf_object__close(names);

	return 0;
}

struct worker {
	struct bpf_program *prog;
	pthread_t thread;
	int err;
};

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	w->err = run(w->prog, NULL, 0);

	return NULL;
}

/* A test of several threads: NAME__0 and so on, until there is none. */
static int run_parallel(struct bpf_object *obj, const char *name)
{
	struct worker w[MAX_THREADS];
	int n, i, err;

	if (run_named(obj, name, "__enabled") == -EOPNOTSUPP)
		return -EOPNOTSUPP;
	err = run_named(obj, name, "__init");
	if (err)
		return err;
	for (n = 0; n < MAX_THREADS; n++) {
		w[n].prog = find(obj, "%s__%d", name, n);
		if (!w[n].prog || pthread_create(&w[n].thread, NULL, worker_main, &w[n]))
			break;
	}
	for (i = 0; i < n; i++) {
		pthread_join(w[i].thread, NULL);
		/* EINTR: another one has given up. */
		if (w[i].err && w[i].err != -EINTR)
			err = w[i].err;
	}

	return err ?: run_named(obj, name, "__fini");
}

static int run_library(const char *file)
{
	struct bpf_object *obj = load(file, NULL);
	struct bpf_program *prog;
	__u64 reserve = 8;

	prog = obj ? find(obj, "arena_alloc_reserve") : NULL;
	if (!prog)
		return 1;
	printf("arena_alloc_reserve: %d\n", run(prog, &reserve, sizeof(reserve)));
	bpf_object__for_each_program(prog, obj) {
		const char *name = bpf_program__name(prog), *init = strstr(name, "__init");
		bool parallel = !strncmp(name, "parallel_test_", 14);
		char test[64];
		int err;

		if ((parallel && !init) || (!parallel && strncmp(name, "test_", 5)))
			continue;
		snprintf(test, sizeof(test), "%.*s", parallel ? (int)(init - name) : 63, name);
		/* Tests of the allocator set it up themselves, all others need it. */
		err = run_named(obj, strstr(name, "test_buddy") ? "arena_buddy_destroy" :
				"arena_buddy_reset", "");
		if (!err)
			err = parallel ? run_parallel(obj, test) : run(prog, NULL, 0);
		printf("%s: %d\n", test, err);
	}
	bpf_object__close(obj);

	return 0;
}

static int run_pairs(const char *file, __u64 n, int times)
{
	struct bpf_object *obj = load(file, NULL);
	struct bpf_program *prog;
	int err;

	prog = obj ? find(obj, "objects_pairs") : NULL;
	if (!prog)
		return 1;
	err = run_named(obj, "arena_buddy_reset", "");
	for (; times > 0 && !err; times--) {
		__u64 args[3] = { n };

		err = run(prog, args, sizeof(args));
		if (!err && !args[2] && n)
			printf("%.1f\n", (double)args[1] / n);
	}
	bpf_object__close(obj);

	return !!err;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 3 && !strcmp(argv[1], "each"))
		return run_each(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "library"))
		return run_library(argv[2]);
	if (argc == 5 && !strcmp(argv[1], "pairs"))
		return run_pairs(argv[2], strtoul(argv[3], NULL, 10), atoi(argv[4]));
	fprintf(stderr, "usage: run_object each|library FILE, or pairs FILE N TIMES\n");

	return 2;
}
