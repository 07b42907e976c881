// SPDX-License-Identifier: GPL-2.0
/*
 * Adoption: turns a stock arena into one of ours when a program that calls our kfuncs is
 * verified; and the operations of an adopted map.
 *
 * Owns: struct anl_arena from adoption to map_free. A map owns its arena: it is found
 * through map->ops, which points into it, and is freed in map_free, when no program, no
 * mapping and no file refers to the map any more. Each adopted map holds a reference on the
 * module.
 *
 * Adoption has two parts. The part that can fail runs in the loader: one at a time for each
 * map, other loaders of the same map wait, killably. The rest runs in a worker, which keeps
 * the map and with it the module: it waits for programs and processes that the loader has
 * no power over. All loaders of the map wait for that, for a bounded time, killably.
 *
 * Locks: anl_adoptions_lock protects the list of adoptions, a leaf. mmap_lock is taken
 * during an adoption, so nothing that runs under mmap_lock (mmap, faults) may wait for one.
 * Kfuncs take no lock here.
 */
#define pr_fmt(fmt) "arena_nolock: " fmt

#include <linux/completion.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/ratelimit.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/wait_bit.h>

#include "adopt.h"
#include "arena.h"
#include "compat.h"
#include "trace.h"

static struct workqueue_struct *anl_adopt_wq;

/* Maps whose adoption is being prepared; the entries are on the stacks of the loaders. */
struct anl_adoption {
	struct list_head head;
	struct bpf_map *map;
};

static LIST_HEAD(anl_adoptions);
static DEFINE_SPINLOCK(anl_adoptions_lock);

/* A program that loads others in a loop must not fill the log. */
static DEFINE_RATELIMIT_STATE(anl_adopted_log, 30 * HZ, 10);

/*
 * Map operations of an adopted arena
 */

static unsigned long anl_get_unmapped_area(struct file *filp, unsigned long addr,
					   unsigned long len, unsigned long pgoff,
					   unsigned long flags)
{
	struct bpf_map *map = filp->private_data;
	struct anl_arena *arena = container_of(map->ops, struct anl_arena, ops);
	unsigned long size = (unsigned long)arena->nr_slots << PAGE_SHIFT;

	if (pgoff)
		return -EINVAL;
	if (len > size)
		return -E2BIG;
	if (len != size || addr != arena->user_start)
		return -EINVAL;

	/* The address is fixed. Only with MAP_FIXED may it replace another mapping. */
	if (!(flags & MAP_FIXED) && find_vma_intersection(current->mm, addr, addr + len))
		return -EBUSY;

	return addr;
}

/*
 * Under mmap_lock. Until the seize the stock arena can map, and its mapping can be used
 * at once. Afterwards it refuses, even a call that was in progress.
 */
static int anl_map_mmap(struct bpf_map *map, struct vm_area_struct *vma)
{
	struct anl_arena *arena = container_of(map->ops, struct anl_arena, ops);
	int err;

	/* Pairs with smp_store_release() in anl_stock_seize(). */
	if (!smp_load_acquire(&arena->stock.seized)) {
		err = arena->stock.ops->map_mmap(map, vma);
		/* Likewise. */
		if (err != -EBUSY || !smp_load_acquire(&arena->stock.seized))
			return err;
	}

	return anl_vma_mmap(map, vma);
}

static int anl_direct_value_addr(const struct bpf_map *map, u64 *imm, u32 off)
{
	const struct anl_arena *arena = container_of(map->ops, struct anl_arena, ops);

	if (off >= (u64)arena->nr_slots << PAGE_SHIFT)
		return -ERANGE;
	*imm = arena->user_start;

	return 0;
}

static u64 anl_mem_usage(const struct bpf_map *map)
{
	const struct anl_arena *arena = container_of(map->ops, struct anl_arena, ops);

	return (u64)anl_nr_populated(arena) << PAGE_SHIFT;
}

/*
 * Adoption
 */

/* Free an arena that was never finished, or that nothing uses any more. */
static void anl_arena_destroy(struct anl_arena *arena)
{
	anl_refill_exit(arena);
	anl_standby_leave(arena);
	anl_pool_exit(arena);
	anl_recycle_exit(arena);
	anl_drain_exit(arena);
	anl_pgtable_exit(arena);
	anl_slots_exit(arena);
	anl_stat_exit(arena);
	anl_objcg_put(arena->objcg);
	kvfree(arena);
}

/**
 * anl_map_free() - map_free of an adopted arena
 * @map: the map, with its last reference gone
 *
 * Context: process context, may sleep.
 */
void anl_map_free(struct bpf_map *map)
{
	struct anl_arena *arena = container_of(map->ops, struct anl_arena, ops);
	const struct bpf_map_ops *stock_ops = arena->stock.ops;
	struct anl_span all = { 0, arena->nr_slots };
	struct anl_unmapped unmapped;

	/* The work has put the last reference, or one before that, but may still run. */
	flush_work(&arena->adopt_work);
	anl_stat_hide(arena);
	anl_kick_exit(&arena->kick);
	anl_recycle_stop(arena);
	anl_unmap_spans(arena, &all, 1, &unmapped);
	anl_put_pages(&unmapped.pages);

	map->ops = stock_ops;
	anl_stock_return_tree(map, arena);
	stock_ops->map_free(map);
	anl_arena_destroy(arena);
	module_put(THIS_MODULE);
}

static void anl_init_ops(struct anl_arena *arena)
{
	arena->stock.ops = arena->map->ops;
	arena->ops = *arena->stock.ops;
	arena->ops.map_free = anl_map_free;
	arena->ops.map_mmap = anl_map_mmap;
	arena->ops.map_get_unmapped_area = anl_get_unmapped_area;
	arena->ops.map_direct_value_addr = anl_direct_value_addr;
	arena->ops.map_mem_usage = anl_mem_usage;
	/* The kernel would compare inner maps by their ops, and ours are per map. */
	arena->ops.map_meta_equal = NULL;
}

static void anl_adopt_work(struct work_struct *work);

/* Everything that can fail, and nothing that changes the stock arena. */
static struct anl_arena *anl_arena_create(struct bpf_map *map)
{
	struct anl_arena *arena = kvzalloc(sizeof(*arena), GFP_KERNEL | __GFP_NOMEMALLOC);
	int err;

	if (!arena)
		return ERR_PTR(-ENOMEM);
	arena->map = map;
	arena->id = map->id;
	arena->objcg = anl_map_get_objcg(map);
	INIT_WORK(&arena->adopt_work, anl_adopt_work);
	init_completion(&arena->adopted);
	anl_init_ops(arena);
	anl_kick_init(&arena->kick);
	anl_vmas_init(arena, anl_drain_reached);

	err = anl_stock_probe(map, arena);
	if (!err)
		err = anl_stat_init(arena);
	if (!err)
		err = anl_slots_init(arena);
	if (!err)
		err = anl_drain_init(arena);
	if (!err)
		err = anl_pool_init(arena);
	if (!err)
		err = anl_standby_join(arena);
	if (!err)
		err = anl_recycle_init(arena);
	if (!err)
		err = anl_refill_init(arena);
	if (!err)
		err = anl_pgtable_init(arena);
	if (!err)
		return arena;
	anl_arena_destroy(arena);

	return ERR_PTR(err);
}

/* Slots [@from, @to) are free in the stock arena, except for those with a page. */
static void anl_import_free(struct anl_arena *arena, u32 from, u32 to)
{
	u32 pgoff, start = from;

	for (pgoff = from; pgoff < to; pgoff++) {
		pgoff = anl_next_pte(arena, pgoff, to);
		if (pgoff == to)
			break;
		if (!anl_pte_page(arena, pgoff))
			continue;
		if (pgoff > start)
			anl_slots_release(arena, start, pgoff - start);
		anl_slots_set_live(&arena->slots, pgoff, 1);
		anl_populated(&arena->pgtable, 1);
		start = pgoff + 1;
	}
	anl_slots_release(arena, start, to - start);
}

/* Slots [@from, @to) are taken in the stock arena: mapped or reserved. */
static void anl_import_taken(struct anl_arena *arena, u32 from, u32 to)
{
	u32 pgoff;

	if (from >= to)
		return;
	for (pgoff = from; pgoff < to; pgoff++) {
		if (!(pgoff % 4096))
			cond_resched();
		if (anl_pte_page(arena, pgoff))
			anl_populated(&arena->pgtable, 1);
		else if (pgoff >= arena->nr_limit)
			continue;
		anl_slots_set_live(&arena->slots, pgoff, 1);
	}
}

/* Import the pages and reservations of the stock arena. Nothing else uses it. */
static void anl_import(struct anl_arena *arena)
{
	u32 pos = 0, first = 0, cnt;

	while (pos < arena->nr_limit && anl_stock_next_free(arena, &first, &cnt)) {
		u32 end;

		if (first >= arena->nr_limit)
			break;
		end = min((u64)first + cnt, (u64)arena->nr_limit);
		anl_import_taken(arena, pos, first);
		anl_import_free(arena, first, end);
		pos = end;
		first = end;
	}
	anl_import_taken(arena, pos, arena->nr_slots);
}

/* True if no other loader is adopting the map. */
static bool anl_adopt_try_begin(struct anl_adoption *self)
{
	struct anl_adoption *other;
	bool first = true;

	spin_lock(&anl_adoptions_lock);
	list_for_each_entry(other, &anl_adoptions, head)
		first &= other->map != self->map;
	if (first)
		list_add(&self->head, &anl_adoptions);
	spin_unlock(&anl_adoptions_lock);

	return first;
}

static void anl_adopt_end(struct anl_adoption *self)
{
	spin_lock(&anl_adoptions_lock);
	list_del(&self->head);
	spin_unlock(&anl_adoptions_lock);
	wake_up_var(&anl_adoptions);
}

/*
 * The rest of an adoption, in a worker. It may wait for any time: for BPF programs that are
 * running, for processes that keep mmap_lock, and for processes that fork.
 */
static void anl_adopt_work(struct work_struct *work)
{
	struct anl_arena *arena = container_of(work, struct anl_arena, adopt_work);
	struct bpf_map *map = arena->map;
	long populated;

	/*
	 * A loader that has read the stock operations calls them without sleeping in
	 * between, and they do not sleep, so a tasks grace period waits for it.
	 */
	if (!arena->stock.seized) {
		synchronize_rcu_tasks();
		anl_stock_seize(map, arena);
	}
	/*
	 * A stock kfunc that has read the user addresses before the seize is in a BPF
	 * program, either sleepable or in an RCU read-side section. A tasks-trace grace
	 * period covers both, because it implies one of RCU; the kernel frees its own maps
	 * by that. Mappings are adopted afterwards, because a sleepable program can be in a
	 * stock fault.
	 */
	if (arena->shared)
		synchronize_rcu_tasks_trace();
	anl_stock_adopt_vmas(map, arena);
	anl_stock_take_tree(map, arena);
	anl_import(arena);
	anl_refill(arena);
	/* Pairs with smp_load_acquire() in anl_arena_of() and in anl_fault_try(). */
	smp_store_release(&arena->ready, true);
	anl_stat_show(arena);
	populated = anl_nr_populated(arena);
	trace_arena_nolock_adopt(map, populated, 0);
	if (__ratelimit(&anl_adopted_log))
		pr_info("map %u '%s': adopted, %ld of %u pages populated\n", map->id, map->name,
			populated, arena->nr_limit);
	complete_all(&arena->adopted);
	/* If it is the last, anl_map_free() runs in another work and waits for this one. */
	bpf_map_put(map);
}

/*
 * Start to adopt the map. Adoption has to wait for other users of the stock arena. Usually
 * there are none, which saves the loader some 50 ms to half a second. References tell that
 * only here, where the program is known to hold one.
 */
static int anl_adopt(struct bpf_map *map, const struct bpf_prog *prog)
{
	struct anl_arena *arena;
	int err;

	if (anl_adopted(map))
		return 0;

	arena = anl_arena_create(map);
	err = PTR_ERR_OR_ZERO(arena);
	if (err) {
		pr_warn_ratelimited("map %u '%s': not adopted, error %d; it stays a stock arena\n",
				    map->id, map->name, err);
		trace_arena_nolock_adopt(map, 0, err);
		return err;
	}
	__module_get(THIS_MODULE);

	anl_stock_divert(map, arena);
	arena->shared = anl_stock_in_use(map, prog);
	if (!arena->shared) {
		anl_stock_seize(map, arena);
		arena->shared = anl_stock_in_use(map, prog);
	}
	bpf_map_inc(map);
	queue_work(anl_adopt_wq, &arena->adopt_work);

	return 0;
}

/*
 * Wait until the map is adopted. The verifier may call once for each call in a program, so
 * the bound counts from the start of the load.
 */
static int anl_adopt_wait(struct bpf_map *map, const struct bpf_prog *prog)
{
	s64 left = prog->aux->load_time + ANL_ADOPT_WAIT_S * NSEC_PER_SEC -
		   ktime_get_boottime_ns();
	struct anl_arena *arena = anl_adopted(map);
	long ret;

	ret = wait_for_completion_killable_timeout(&arena->adopted,
						   left > 0 ? nsecs_to_jiffies(left) + 1 : 1);
	if (ret > 0)
		return 0;
	if (ret || left > 0)
		pr_warn_ratelimited("map %u '%s': %s; its adoption waits for running programs or for processes that map it, and continues in the background\n",
				    map->id, map->name,
				    ret ? "a loader was killed" : "a program was refused, load it again later");

	return ret ? -EINTR : -EBUSY;
}

/**
 * anl_adopt_filter() - filter of our kfuncs: adopt the arena of a program
 * @prog: program that is being verified
 * @kfunc_id: one of our kfuncs, which it calls
 *
 * The verifier calls this several times for each call of a kfunc. Its references on the
 * module last as long as this.
 *
 * Context: process context, preemptible, no locks held.
 * Return: 0 if the program may call the kfunc; otherwise a negative error.
 */
int anl_adopt_filter(const struct bpf_prog *prog, u32 kfunc_id)
{
	struct bpf_map *map = (struct bpf_map *)prog->aux->arena;
	struct anl_adoption self = { .map = map };
	int err;

	/*
	 * A program without an arena of its own can still get one from a map of maps; the
	 * kfuncs check their arguments.
	 */
	if (!map || anl_arena_of(map))
		return 0;

	/*
	 * Adoption waits for sleepable programs that are in a stock kfunc. In a
	 * sleepable program that loads programs it would wait for itself.
	 */
	if (anl_in_trace_reader()) {
		pr_warn_ratelimited("map %u '%s': not adopted, its first program was loaded from within a BPF program; load one with bpf(2) first\n",
				    map->id, map->name);
		trace_arena_nolock_adopt(map, 0, -EBUSY);
		return -EBUSY;
	}

	err = wait_var_event_killable(&anl_adoptions, anl_adopt_try_begin(&self));
	if (err)
		return err;
	err = anl_adopt(map, prog);
	anl_adopt_end(&self);

	return err ?: anl_adopt_wait(map, prog);
}

/**
 * anl_adopt_setup() - create the workqueue of adoptions
 *
 * Context: module init.
 * Return: 0 or -ENOMEM.
 */
int __init anl_adopt_setup(void)
{
	anl_adopt_wq = alloc_workqueue("arena_nolock_adopt", WQ_UNBOUND, WQ_MAX_ACTIVE);

	return anl_adopt_wq ? 0 : -ENOMEM;
}

/* Undo anl_adopt_setup(). Module init or exit. */
void anl_adopt_cleanup(void)
{
	destroy_workqueue(anl_adopt_wq);
}
