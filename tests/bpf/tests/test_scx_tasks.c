// SPDX-License-Identifier: GPL-2.0
/*
 * sched_ext schedulers of both forms that allocate in all their callbacks and keep the state
 * of tasks in the arena, under forks, moves, new weights and CPU hotplug. No allocation
 * fails, and each task finds its state as it left it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>

#include "arena.h"
#include "load.h"
#include "runner.h"
#include "scx.h"
#include "scx_tasks.h"
#include "scx_tasks.skel.h"
#include "scx_tasks_intree.skel.h"

enum sched_form { CPU, CID };
enum kfuncs { MODULE, STOCK };

#define SCX_TASKS_NAME(name) \
	[ON_##name] = #name,
static const char *const op_names[] = { SCX_TASKS_OPS(SCX_TASKS_NAME) };

/* In the kernel's BTF, and in that of our programs. */
static const char *const struct_names[][2] = {
	[CPU] = { "sched_ext_ops", "sched_ext_ops___cpu" },
	[CID] = { "sched_ext_ops_cid", "sched_ext_ops_cid___cid" },
};

struct scheduler {
	struct bpf_object *obj;
	struct bpf_map *ops;
	struct bpf_link *link;
	volatile struct scx_tasks_shared *sh;
	int arena;
};

static struct bpf_object *object_open(enum kfuncs kfuncs)
{
	const void *elf;
	size_t size;

	elf = kfuncs == STOCK ? scx_tasks_intree_bpf__elf_bytes(&size) :
				scx_tasks_bpf__elf_bytes(&size);

	return bpf_object__open_mem(elf, size, NULL);
}

static const struct btf_type *struct_of(const struct btf *btf, const char *name)
{
	int id = btf__find_by_name_kind(btf, name, BTF_KIND_STRUCT);

	return id < 0 ? NULL : btf__type_by_id(btf, id);
}

static bool has_member(const struct btf *btf, const struct btf_type *t, const char *name)
{
	int i;

	for (i = 0; i < btf_vlen(t); i++)
		if (!strcmp(btf__name_by_offset(btf, btf_members(t)[i].name_off), name))
			return true;

	return false;
}

/* Without the callbacks that this kernel does not have, as those for cgroups in 7.2's cid form. */
static bool keep_known(struct scheduler *s, enum sched_form form)
{
	const struct btf *btf = bpf_object__btf(s->obj);
	const struct btf_type *t = struct_of(btf, struct_names[form][1]), *known;
	struct btf *vmlinux = btf__load_vmlinux_btf();
	const struct btf_member *m;
	size_t size;
	char *ops = bpf_map__initial_value(s->ops, &size);

	known = vmlinux ? struct_of(vmlinux, struct_names[form][0]) : NULL;
	if (t && known && ops)
		for (m = btf_members(t); m < btf_members(t) + btf_vlen(t); m++)
			if (!has_member(vmlinux, known, btf__name_by_offset(btf, m->name_off)))
				memset(ops + m->offset / 8, 0, sizeof(void *));
	btf__free(vmlinux);

	return t && known && ops;
}

static void need_form(enum sched_form form)
{
	if (form == CID)
		NEED_SCX(scx_cid_unfit);
	else
		NEED_SCX(scx_unfit);
}

static void sched_start(struct scheduler *s, enum sched_form form, enum kfuncs kfuncs)
{
	static const char *const ops_names[] = { [CPU] = "cpu_ops", [CID] = "cid_ops" };
	struct bpf_map *bss, *other;
	size_t size;

	memset(s, 0, sizeof(*s));
	s->obj = object_open(kfuncs);
	ASSERT(s->obj, "open");
	s->ops = bpf_object__find_map_by_name(s->obj, ops_names[form]);
	other = bpf_object__find_map_by_name(s->obj, ops_names[!form]);
	ASSERT(s->ops && !bpf_map__set_autocreate(other, false), "forms");
	ASSERT(keep_known(s, form), "callbacks");
	ASSERT(!bpf_object__load(s->obj), "load: %s", strerror(errno));
	s->arena = bpf_object__find_map_fd_by_name(s->obj, "arena");
	bss = bpf_object__find_map_by_name(s->obj, ".bss");
	s->sh = bss ? bpf_map__initial_value(bss, &size) : NULL;
	ASSERT(s->sh, "memory of the programs");
	s->link = bpf_map__attach_struct_ops(s->ops);
	ASSERT(s->link && scx_state_is("enabled"), "enable: %s", strerror(errno));
}

static void sched_end(struct scheduler *s)
{
	bpf_link__destroy(s->link);
	s->link = NULL;
	ASSERT(wait_for(scx_state_is("disabled"), 20000), "it stays enabled");
}

/* A CPU goes and comes, and the scheduler stays. It says what it knows of each task. */
static void hotplug_and_dump(void)
{
	if (nr_cpus > 1) {
		ASSERT(cpu1_online(false), "offline: %s", strerror(errno));
		ASSERT(cpu1_online(true), "online: %s", strerror(errno));
	}
	ASSERT(write_file("/proc/sysrq-trigger", "D"), "dump: %s", strerror(errno));
}

static void run_under_load(struct scheduler *s, int ms, bool plug)
{
	struct load l;
	long forks;

	ASSERT(load_start(&l), "load: %s", strerror(errno));
	load_run(&l, ms);
	if (plug) {
		load_calm(&l);
		hotplug_and_dump();
	}
	forks = load_stop(&l);
	ASSERT_OK();
	ASSERT(forks > 10 || s->sh->quit, "%ld forks", forks);
}

/* Pages that the callbacks have kept. */
static long pages_kept(const struct scheduler *s)
{
	long n = 0;
	int i, k;

	for (i = 0; i < NR_OPS; i++)
		for (k = 0; k < SCX_TASKS_KEPT; k++)
			n += !!s->sh->kept[i][k];

	return n;
}

static __u64 report(const struct scheduler *s, enum sched_form form, enum kfuncs kfuncs)
{
	__u64 calls = 0, failed = 0;
	int i;

	printf("# %s form, %s:", form == CPU ? "cpu" : "cid", kfuncs == STOCK ? "stock" : "module");
	for (i = 0; i < NR_OPS; i++) {
		calls += s->sh->calls[i];
		failed += s->sh->failed[i];
		if (s->sh->failed[i])
			printf(" %llu of %llu failed in %s,", s->sh->failed[i], s->sh->calls[i],
			       op_names[i]);
		else if (!s->sh->calls[i])
			printf(" no %s,", op_names[i]);
	}
	printf(" %llu allocations failed of %llu; %llu tasks, %llu of them ended; %llu states wrong, %llu missing; %llu pages not zero, %llu spoilt\n",
	       failed, calls, s->sh->states, s->sh->states_freed, s->sh->wrong, s->sh->missing,
	       s->sh->dirty, s->sh->spoilt);

	return failed;
}

/*
 * What holds on the module whatever happened. With PREEMPT_RT a timer's interrupt can have
 * pages from the pool only. The other callbacks empty it too, and its refill is a task that
 * waits for its turn.
 */
static void check_module(struct scheduler *s, enum sched_form form)
{
	__u64 failed = report(s, form, MODULE) - (is_rt() ? s->sh->failed[ON_tick] : 0);
	long pages, kept = pages_kept(s);

	ASSERT_EQ(failed, 0, "allocations failed");
	ASSERT_EQ(s->sh->wrong, 0, "states of tasks that were not as they had left them");
	ASSERT_EQ(s->sh->missing, 0, "tasks without a state");
	ASSERT_EQ(s->sh->dirty, 0, "new pages that were not zero");
	ASSERT_EQ(s->sh->spoilt, 0, "pages that did not keep what was written");
	ASSERT_EQ(s->sh->states, s->sh->states_freed, "states allocated and freed");
	if (form == CPU) {
		ASSERT(wait_for((pages = map_pages(s->arena)) == kept, 10000),
		       "%ld pages in the arena, %ld are kept", pages, kept);
	} else {
		/* Those of the kernel are among them. */
		ASSERT(wait_for((pages = map_pages(s->arena)) <= kept + 64, 10000),
		       "%ld pages in the arena, %ld are kept", pages, kept);
		ASSERT(pages > kept, "the kernel has no page of the arena");
	}
}

static void check_called(const struct scheduler *s)
{
	static const enum scx_tasks_op always[] = {
		ON_select_cpu, ON_enqueue, ON_dispatch, ON_runnable, ON_running, ON_stopping,
		ON_quiescent, ON_set_weight, ON_set_cpumask, ON_init_task, ON_exit_task,
		ON_enable, ON_disable, ON_dump, ON_dump_task, ON_init, ON_exit,
	};
	unsigned int i;

	for (i = 0; i < sizeof(always) / sizeof(*always); i++)
		ASSERT(s->sh->calls[always[i]], "%s was not called", op_names[always[i]]);
}

static void run_module(enum sched_form form)
{
	struct scheduler s;

	need_form(form);
	sched_start(&s, form, MODULE);
	ASSERT_OK();
	run_under_load(&s, 4000, true);
	ASSERT_OK();
	ASSERT(scx_state_is("enabled"), "the kernel has ended the scheduler");
	sched_end(&s);
	ASSERT_OK();
	check_module(&s, form);
	ASSERT_OK();
	check_called(&s);
	bpf_object__close(s.obj);
}

TEST_LONG(scx, tasks_cpu, 120, "a scheduler of the cpu form can allocate in all callbacks and loses no state of a task")
{
	run_module(CPU);
}

TEST_LONG(scx, tasks_cid, 120, "a scheduler of the cid form can allocate in all callbacks and loses no state of a task")
{
	run_module(CID);
}

/* The scheduler ends itself while tasks are forked, moved and woken up. */
static void run_and_quit(enum sched_form form)
{
	struct scheduler s;
	struct load l;
	int i;

	need_form(form);
	ASSERT(load_start(&l), "load: %s", strerror(errno));
	for (i = 0; i < 2 && !test_failed(); i++) {
		sched_start(&s, form, MODULE);
		if (test_failed())
			break;
		usleep(200000 * patience);
		s.sh->quit = 1;
		if (!wait_for(scx_state_is("disabled"), 20000))
			test_fail(__FILE__, __LINE__, "it stays enabled");
		bpf_link__destroy(s.link);
		if (!test_failed())
			check_module(&s, form);
		bpf_object__close(s.obj);
	}
	load_stop(&l);
}

TEST_LONG(scx, quit_cpu, 120, "a scheduler of the cpu form that ends in the middle of a storm leaves no page behind")
{
	run_and_quit(CPU);
}

TEST_LONG(scx, quit_cid, 120, "a scheduler of the cid form that ends in the middle of a storm leaves no page behind")
{
	run_and_quit(CID);
}

/*
 * The same on the kernel's own arena, for the figures. Without CPU hotplug: an irq_work of that
 * arena which a CPU queues while it goes offline blocks all others of that CPU.
 */
static void run_stock(enum sched_form form)
{
	struct scheduler s;

	need_form(form);
	if (is_rt())
		SKIP("the kernel's own arena has no pages for interrupts with PREEMPT_RT");
	sched_start(&s, form, STOCK);
	ASSERT_OK();
	run_under_load(&s, 2000, false);
	ASSERT_OK();
	sched_end(&s);
	ASSERT_OK();
	report(&s, form, STOCK);
	bpf_object__close(s.obj);
}

TEST_LONG(scx, tasks_stock_cpu, 120, "a scheduler of the cpu form runs on the kernel's own arena, whatever that loses")
{
	run_stock(CPU);
}

TEST_LONG(scx, tasks_stock_cid, 120, "a scheduler of the cid form runs on the kernel's own arena, whatever that loses")
{
	run_stock(CID);
}
