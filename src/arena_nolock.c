// SPDX-License-Identifier: GPL-2.0
/*
 * arena_nolock: BPF arenas whose page kfuncs work in every context.
 *
 * This file holds the module's ends: init and exit, the kfuncs, and adoption,
 * which turns a stock arena into one of ours when a program that calls our
 * kfuncs is verified.
 *
 * Owns: struct anl_arena from adoption to map_free. A map owns its arena: it
 * is found through map->ops, which points into it, and is freed in map_free,
 * when no program, no mapping and no file refers to the map any more. Each
 * adopted map holds a reference on the module.
 *
 * Adoption has two parts. What can fail runs in the loader: one at a time for each map,
 * other loaders of the map wait for it. The rest runs in a worker, which keeps the map
 * and with it the module: it waits for programs and processes that the loader has no
 * power over. All loaders of the map wait for that, for a bounded time, and can be
 * killed. mmap_lock is taken meanwhile, so nothing that runs under mmap_lock (mmap,
 * faults) may wait for an adoption. Kfuncs take no lock here.
 */
#define pr_fmt(fmt) "arena_nolock: " fmt

#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/completion.h>
#include <linux/init.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/nodemask.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/utsname.h>
#include <linux/wait_bit.h>

#include "arena.h"
#include "compat.h"
#include "stock_arena.h"
#include "trace.h"

/*
 * WQ_HIGHPRI: callers that cannot sleep depend on the refill and on the drain. The drain
 * frees memory, so it needs a rescuer (WQ_MEM_RECLAIM). Works that wait for mmap_lock,
 * for as long as its holders want, have a queue of their own, so that however many of
 * them wait, no drain waits behind them.
 */
struct workqueue_struct *anl_refill_wq, *anl_drain_wq, *anl_wait_wq;

static struct workqueue_struct *anl_adopt_wq;

/* How long a program may be loading until it is refused because adoption takes longer. */
#define ANL_ADOPT_WAIT_S 10

/* Maps whose adoption is being prepared, an entry on the stack of each loader at it. */
struct anl_adoption {
	struct list_head head;
	struct bpf_map *map;
};

static LIST_HEAD(anl_adoptions);
static DEFINE_SPINLOCK(anl_adoptions_lock);

static void anl_map_free(struct bpf_map *map);

/* The arena behind a map if it is one of ours, complete or not. */
static struct anl_arena *anl_adopted(struct bpf_map *map)
{
	/* Pairs with the store in anl_stock_divert(). */
	const struct bpf_map_ops *ops = smp_load_acquire(&map->ops);

	if (ops->map_free != anl_map_free)
		return NULL;

	return container_of(ops, struct anl_arena, ops);
}

/**
 * anl_arena_of() - the adopted arena behind a map
 * @map: any map
 *
 * Context: any.
 * Return: the arena, or NULL if the map is no arena, or not adopted yet.
 */
struct anl_arena *anl_arena_of(struct bpf_map *map)
{
	struct anl_arena *arena = anl_adopted(map);

	/* Pairs with the store in anl_adopt_work(). */
	return arena && smp_load_acquire(&arena->ready) ? arena : NULL;
}

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

	/* The address is the arena's or none; without MAP_FIXED, evict nobody. */
	if (!(flags & MAP_FIXED) && find_vma_intersection(current->mm, addr, addr + len))
		return -EBUSY;

	return addr;
}

/*
 * Under mmap_lock. Until the seize the stock arena can map, and its mapping can be used
 * at once; afterwards it refuses, also a call that was on its way.
 */
static int anl_map_mmap(struct bpf_map *map, struct vm_area_struct *vma)
{
	struct anl_arena *arena = container_of(map->ops, struct anl_arena, ops);
	int err;

	/* Pairs with the store in anl_stock_seize(). */
	if (!smp_load_acquire(&arena->seized)) {
		err = arena->stock_ops->map_mmap(map, vma);
		/* The same. */
		if (err != -EBUSY || !smp_load_acquire(&arena->seized))
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

	return (u64)atomic_long_read(&arena->nr_populated) << PAGE_SHIFT;
}

/*
 * Adoption
 */

/* Free an arena that nobody uses, or that was never finished. */
static void anl_arena_destroy(struct anl_arena *arena)
{
	anl_pool_exit(arena);
	anl_free_exit(arena);
	anl_stat_exit(arena);
	kvfree(arena->tables);
	kvfree(arena->tree_mem);
	anl_objcg_put(arena->objcg);
	kvfree(arena);
}

/* Process context, last reference to the map gone. */
static void anl_map_free(struct bpf_map *map)
{
	struct anl_arena *arena = container_of(map->ops, struct anl_arena, ops);
	const struct bpf_map_ops *stock_ops = arena->stock_ops;
	struct anl_span all = { 0, arena->nr_slots };
	struct anl_unmapped unmapped;

	/* It has put the last reference, or one before that; its end may be still to come. */
	flush_work(&arena->adopt_work);
	anl_stat_hide(arena);
	/* Nobody is left to ask for work but the works themselves, so they go first. */
	disable_delayed_work_sync(&arena->refill_work);
	disable_delayed_work_sync(&arena->drain_work);
	irq_work_sync(&arena->kick);
	hrtimer_cancel(&arena->pause);
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
	arena->stock_ops = arena->map->ops;
	arena->ops = *arena->stock_ops;
	arena->ops.map_free = anl_map_free;
	arena->ops.map_mmap = anl_map_mmap;
	arena->ops.map_get_unmapped_area = anl_get_unmapped_area;
	arena->ops.map_direct_value_addr = anl_direct_value_addr;
	arena->ops.map_mem_usage = anl_mem_usage;
	/* A template of inner maps would be compared by ops, and ours are per map. */
	arena->ops.map_meta_equal = NULL;
}

static void anl_adopt_work(struct work_struct *work);

/* All that can fail, and nothing that changes the stock arena. */
static struct anl_arena *anl_arena_create(struct bpf_map *map)
{
	struct anl_arena *arena = kvzalloc(sizeof(*arena), GFP_KERNEL | __GFP_NOMEMALLOC);
	unsigned long tables;
	int err = -ENOMEM;

	if (!arena)
		return ERR_PTR(-ENOMEM);
	arena->map = map;
	arena->id = map->id;
	arena->objcg = anl_map_get_objcg(map);
	spin_lock_init(&arena->vma_lock);
	INIT_LIST_HEAD(&arena->vmas);
	INIT_WORK(&arena->adopt_work, anl_adopt_work);
	init_completion(&arena->adopted);
	anl_init_ops(arena);
	anl_pool_prepare(arena);

	err = anl_stock_probe(map, arena);
	if (err)
		goto fail;

	err = anl_stat_init(arena);
	if (err)
		goto fail;
	err = anl_free_init(arena);
	if (err)
		goto fail;
	err = anl_pool_init(arena);
	if (err)
		goto fail;

	tables = ((anl_kaddr(arena, arena->nr_slots) - 1) >> PMD_SHIFT) -
		 (arena->kern_start >> PMD_SHIFT) + 1;
	arena->tables = anl_zalloc(arena, tables * sizeof(*arena->tables));
	arena->tree_mem = anl_zalloc(arena, anl_tree_mem_size(arena->nr_limit));
	err = -ENOMEM;
	if (!arena->tables || !arena->tree_mem)
		goto fail;
	anl_tree_init(&arena->tree, arena->tree_mem, arena->nr_limit);

	err = anl_pgtable_prefill(arena);
	if (err)
		goto fail;

	return arena;

fail:
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
			anl_release(arena, start, pgoff - start);
		anl_set_live(arena, pgoff, 1);
		atomic_long_inc(&arena->nr_populated);
		start = pgoff + 1;
	}
	anl_release(arena, start, to - start);
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
			atomic_long_inc(&arena->nr_populated);
		else if (pgoff >= arena->nr_limit)
			continue;
		anl_set_live(arena, pgoff, 1);
	}
}

/* Make the pages and reservations of the stock arena ours. Nobody else runs. */
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

/* False if somebody else is adopting the map. */
static bool anl_adopt_begin(struct anl_adoption *self)
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
 * The rest of an adoption, in a worker. What it waits for may take any time: BPF
 * programs that are running, processes that keep mmap_lock, processes that fork.
 */
static void anl_adopt_work(struct work_struct *work)
{
	struct anl_arena *arena = container_of(work, struct anl_arena, adopt_work);
	struct bpf_map *map = arena->map;

	/*
	 * A loader that has read the stock operations calls them without sleeping in
	 * between, and they do not sleep.
	 */
	if (!arena->seized) {
		synchronize_rcu_tasks();
		anl_stock_seize(map, arena);
	}
	/*
	 * A stock kfunc that has read the user addresses before the seize is in a BPF
	 * program, either sleepable or in an RCU read-side section. A tasks-trace grace
	 * period covers both, since it implies one of RCU; the kernel frees its own maps
	 * by that. Mappings are taken over afterwards: a sleepable program can be in a
	 * stock fault.
	 */
	if (arena->shared)
		synchronize_rcu_tasks_trace();
	anl_stock_takeover_vmas(map, arena);
	anl_stock_take_tree(map, arena);
	anl_import(arena);
	anl_refill(arena);
	/* Pairs with the loads in anl_arena_of() and in the fault handler. */
	smp_store_release(&arena->ready, true);
	anl_stat_show(arena);
	trace_arena_nolock_adopt(map, atomic_long_read(&arena->nr_populated), 0);
	complete_all(&arena->adopted);
	/* If it is the last, anl_map_free() runs in another work, and waits for this one. */
	bpf_map_put(map);
}

/*
 * Start to adopt the map. Others that may be using the stock arena are to be waited for.
 * Usually there are none, which spares the loader some 50 ms to half a second. That can
 * be told by references only here, where the program is known to hold one.
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
 * Wait until the map is adopted. The verifier may ask once for each call in a program, so
 * the bound counts from the begin of the load.
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

/*
 * Called by the verifier, several times per program, for each of our kfuncs
 * that a program calls. Process context, preemptible, no locks held. The
 * verifier's references on the module last as long as this.
 */
static int anl_kfunc_filter(const struct bpf_prog *prog, u32 kfunc_id)
{
	struct bpf_map *map = (struct bpf_map *)prog->aux->arena;
	struct anl_adoption self = { .map = map };
	int err;

	/*
	 * A program without an arena of its own can still get at one through a
	 * map of maps; the kfuncs look at what they are given.
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

	err = wait_var_event_killable(&anl_adoptions, anl_adopt_begin(&self));
	if (err)
		return err;
	err = anl_adopt(map, prog);
	anl_adopt_end(&self);

	return err ?: anl_adopt_wait(map, prog);
}

/*
 * The kfuncs
 */

/* Slot of an address. Only its lower 32 bits count, as in the stock arena. */
static u32 anl_pgoff(const struct anl_arena *arena, unsigned long addr)
{
	return (u32)(addr - (u32)arena->user_start) >> PAGE_SHIFT;
}

/* Give back a claim whose slots nobody has seen. */
static void anl_unclaim(struct anl_arena *arena, u32 pgoff, u32 cnt)
{
	u32 n;

	for (; cnt; pgoff += n, cnt -= n) {
		n = min(cnt, ANL_RELEASE_SLOTS);
		if (anl_tree_release(&arena->tree, pgoff, n)) {
			anl_queue_slots(arena, pgoff, cnt);
			return;
		}
	}
}

/* Where the slots of a claim are wanted. */
#define ANL_ANYWHERE (-1L)

/* How often a claim that spares are in the way of is tried. */
#define ANL_CLAIM_TRIES 8

/* Take @cnt slots out of the tree, from @pgoff on or wherever they fit. */
static long anl_claim(struct anl_arena *arena, long pgoff, u32 cnt, bool may_sleep)
{
	int tries = ANL_CLAIM_TRIES;
	bool drained = false;
	long ret;

	for (;;) {
		if (pgoff == ANL_ANYWHERE)
			ret = anl_tree_alloc(&arena->tree, cnt);
		else
			ret = anl_tree_claim(&arena->tree, pgoff, cnt) ?: pgoff;
		if (ret >= 0) {
			/* It has to be the lowest address; a spare may be on that. */
			if (pgoff != ANL_ANYWHERE || !anl_spare_below(arena, ret) || !tries--)
				return ret;
			anl_unclaim(arena, ret, cnt);
			anl_spares_release(arena, 0, ret);
			continue;
		}

		if (ret != -ENOSPC && ret != -EBUSY) {
			/* The lock: in an NMI, its holder is whom we interrupted. */
			if (pgoff == ANL_ANYWHERE && cnt == 1) {
				u32 spare = anl_spare_pop(arena);

				if (spare != ANL_NO_SPARE)
					return spare;
			}
			return ret;
		}
		/* Others may claim spares again meanwhile, but not for ever. */
		if (tries-- && (pgoff == ANL_ANYWHERE ?
				anl_spares_release(arena, 0, arena->nr_limit) :
				anl_spares_release(arena, pgoff, cnt)))
			continue;
		if (!may_sleep || drained)
			return ret;
		/* What is in the queue is as good as free to who can wait. */
		anl_drain_now(arena);
		drained = true;
		tries = ANL_CLAIM_TRIES;
	}
}

/*
 * The way of most calls, with nothing in it that is not needed: one page, for a
 * caller that cannot sleep, from the pool. Negative if anything is in the way.
 */
static long anl_alloc_one(struct anl_arena *arena, int nid)
{
	struct page *page = anl_pool_get_page(arena, nid);
	LIST_HEAD(pages);
	long pgoff;

	if (!page)
		return -ENOMEM;
	pgoff = anl_tree_alloc(&arena->tree, 1);
	if (pgoff >= 0 && anl_spare_below(arena, pgoff)) {
		/* The long way knows what to do then. */
		anl_unclaim(arena, pgoff, 1);
	} else if (pgoff >= 0) {
		if (anl_map_page(arena, pgoff, page)) {
			anl_set_live(arena, pgoff, 1);
			if (READ_ONCE(arena->spares_missing))
				anl_spares_fill(arena);
			return pgoff;
		}
		/* Scratch pages are the drain's business. */
		if (!anl_keep_stray(arena, pgoff))
			anl_queue_slots(arena, pgoff, 1);
	}
	list_add(&page->lru, &pages);
	anl_unget_pages(arena, &pages);

	return -EAGAIN;
}

/*
 * Give back claimed slots of which some may have been populated. The exception is a
 * slot with a page that the arena did not know, see anl_keep_stray(). Returns whether
 * there was one.
 */
static bool anl_unpopulate(struct anl_arena *arena, u32 pgoff, u32 cnt)
{
	u32 end = pgoff + cnt, left = cnt;

	while (pgoff < end) {
		struct anl_span span = { pgoff, 0 };
		struct anl_unmapped unmapped;

		while (pgoff < end && !anl_is_live(arena, pgoff))
			pgoff++;
		span.cnt = pgoff++ - span.pgoff;
		if (!span.cnt)
			continue;
		anl_unmap_spans(arena, &span, 1, &unmapped);
		anl_put_pages(&unmapped.pages);
		anl_release(arena, span.pgoff, span.cnt);
		left -= span.cnt;
	}

	return left;
}

/* Leave claimed slots to the drain, of which slot @bad holds what is in the way. */
static void anl_leave_slots(struct anl_arena *arena, u32 pgoff, u32 cnt, u32 bad)
{
	if (!anl_keep_stray(arena, bad)) {
		anl_queue_slots(arena, pgoff, cnt);
		return;
	}
	if (bad > pgoff)
		anl_queue_slots(arena, pgoff, bad - pgoff);
	if (bad + 1 < pgoff + cnt)
		anl_queue_slots(arena, bad + 1, pgoff + cnt - bad - 1);
}

/* Tries of a caller that cannot flush TLBs and runs into scratch pages. */
#define ANL_SCRATCH_TRIES 4

/*
 * Pages for claimed slots, for a caller that cannot sleep. A scratch page in the
 * way can only be removed with a TLB flush. That is the drain's business: leave it
 * the slots with the pages that they hold by now, and go elsewhere, if it
 * need not be these. Returns the first slot, or an error with nothing claimed.
 */
static long anl_populate_atomic(struct anl_arena *arena, long pgoff, u32 cnt, int nid, bool here)
{
	int tries = ANL_SCRATCH_TRIES;
	LIST_HEAD(pages);
	u32 n;

	if (!anl_get_pages(arena, cnt, nid, &pages)) {
		anl_unclaim(arena, pgoff, cnt);
		return -ENOMEM;
	}
	while ((n = anl_map_pages(arena, pgoff, cnt, &pages)) < cnt) {
		anl_leave_slots(arena, pgoff, cnt, pgoff + n);
		pgoff = -EAGAIN;
		if (!here && --tries && anl_get_pages(arena, n, nid, &pages))
			pgoff = anl_claim(arena, ANL_ANYWHERE, cnt, false);
		if (pgoff < 0) {
			anl_unget_pages(arena, &pages);
			return pgoff;
		}
	}

	return pgoff;
}

/* The same for a caller that can sleep, which only a stray page can drive elsewhere. */
static long anl_populate_sleeping(struct anl_arena *arena, long pgoff, u32 cnt, int nid, bool here)
{
	int tries = ANL_SCRATCH_TRIES;

	while (!anl_populate(arena, pgoff, cnt, nid)) {
		if (!anl_unpopulate(arena, pgoff, cnt) || here || !--tries)
			return -ENOMEM;
		pgoff = anl_claim(arena, ANL_ANYWHERE, cnt, true);
		if (pgoff < 0)
			return pgoff;
	}

	return pgoff;
}

/* The first slot, or -EINVAL, -ENOSPC, -EBUSY, -ENOMEM, -EAGAIN or what the lock said. */
static long anl_alloc_slots(struct anl_arena *arena, unsigned long addr, u32 cnt, int nid,
			    bool may_sleep)
{
	long pgoff = addr ? anl_pgoff(arena, addr) : ANL_ANYWHERE;

	if (nid != NUMA_NO_NODE && ((unsigned int)nid >= nr_node_ids || !node_online(nid)))
		return -EINVAL;
	if (cnt > arena->nr_limit || addr & ~PAGE_MASK)
		return -EINVAL;
	/* More than the machine has cannot work; do not push everybody out first. */
	if (cnt > totalram_pages())
		return -ENOMEM;

	if (cnt == 1 && !addr && !may_sleep) {
		long one = anl_alloc_one(arena, nid);

		if (one >= 0)
			return one;
	}

	pgoff = anl_claim(arena, pgoff, cnt, may_sleep);
	if (pgoff < 0)
		return pgoff;
	if (!may_sleep) {
		pgoff = anl_populate_atomic(arena, pgoff, cnt, nid, addr);
		if (pgoff < 0)
			return pgoff;
	} else {
		pgoff = anl_populate_sleeping(arena, pgoff, cnt, nid, addr);
		if (pgoff < 0)
			return pgoff;
	}
	anl_set_live(arena, pgoff, cnt);

	return pgoff;
}

static void *anl_alloc(struct anl_arena *arena, unsigned long addr, u32 cnt, int nid, u64 flags)
{
	bool may_sleep = anl_may_sleep();
	enum anl_ctx ctx = anl_current_ctx(may_sleep);
	long pgoff = -EINVAL;

	if (!flags && cnt)
		pgoff = anl_alloc_slots(arena, addr, cnt, nid, may_sleep);
	if (pgoff < 0) {
		anl_count(arena, alloc_fails[anl_fail_cause(pgoff)][ctx], 1);
		trace_arena_nolock_alloc_failed(arena, addr, cnt, ctx, pgoff);
		return NULL;
	}
	anl_count(arena, allocs[ctx], 1);
	anl_count(arena, alloc_pages, cnt);
	trace_arena_nolock_alloc(arena, pgoff, cnt, ctx);

	return (void *)anl_uaddr(arena, pgoff);
}

static void anl_free(struct anl_arena *arena, unsigned long addr, u32 cnt)
{
	bool may_sleep = anl_may_sleep();
	enum anl_ctx ctx = anl_current_ctx(may_sleep);
	u32 pgoff = anl_pgoff(arena, addr), found = 0;

	if (pgoff < arena->nr_slots) {
		cnt = min(cnt, arena->nr_slots - pgoff);
		if (may_sleep)
			found = anl_free_now(arena, pgoff, cnt);
		else
			found = anl_free_queued(arena, pgoff, cnt);
	}
	anl_count(arena, frees[ctx], 1);
	anl_count(arena, free_pages, found);
	trace_arena_nolock_free(arena, pgoff, cnt, found, ctx);
}

static int anl_reserve(struct anl_arena *arena, unsigned long addr, u32 cnt)
{
	bool may_sleep = anl_may_sleep();
	enum anl_ctx ctx = anl_current_ctx(may_sleep);
	u32 pgoff = anl_pgoff(arena, addr);
	long err = -EINVAL;

	if (!(addr & ~PAGE_MASK) && pgoff < arena->nr_limit && cnt <= arena->nr_limit - pgoff)
		err = anl_claim(arena, pgoff, cnt, may_sleep);
	if (err < 0) {
		anl_count(arena, reserve_fails[anl_fail_cause(err)][ctx], 1);
		trace_arena_nolock_reserve_failed(arena, addr, cnt, ctx, err);
		return err == -EINVAL ? -EINVAL : -EBUSY;
	}
	anl_set_live(arena, pgoff, cnt);
	anl_count(arena, reserves[ctx], 1);
	trace_arena_nolock_reserve(arena, pgoff, cnt, ctx);

	return 0;
}

__bpf_kfunc_start_defs();

/**
 * bpf_arena_nolock_alloc_pages() - allocate pages of an arena
 * @p__map: the arena
 * @addr__ign: user-space address of the first page, aligned to pages; or NULL for
 *	the lowest address at which they fit
 * @page_cnt: number of pages, at most what the arena has
 * @node_id: preferred NUMA node, or NUMA_NO_NODE (-1)
 * @flags: 0
 *
 * The pages are zeroed, and mapped for BPF programs and on demand for user
 * space. All of them are allocated or none. Semantics are those of
 * bpf_arena_alloc_pages() of Linux 7.3.
 *
 * Context: any, NMI included. Sleeps, reclaims and takes as many pages as there
 * are if the caller can sleep; otherwise takes pages from the pool
 * first.
 * Return: the user-space address of the first page, or NULL if the arguments
 * make no sense, no address or no memory was left, or @p__map is not an adopted
 * arena.
 */
__bpf_kfunc void *bpf_arena_nolock_alloc_pages(void *p__map, void *addr__ign, u32 page_cnt,
					       int node_id, u64 flags)
{
	struct anl_arena *arena = anl_arena_of(p__map);

	if (!arena)
		return NULL;

	return anl_alloc(arena, (unsigned long)addr__ign, page_cnt, node_id, flags);
}

/**
 * bpf_arena_nolock_free_pages() - free pages or reservations of an arena
 * @p__map: the arena
 * @ptr__ign: address of the first page, as user space or as the program sees it;
 *	rounded down to a page
 * @page_cnt: number of pages; what lies outside of the arena is ignored
 *
 * Pages that are not allocated are ignored. From a caller that can sleep, the
 * pages are unmapped everywhere and their addresses free on return; from any
 * other, that happens soon afterwards. Semantics are those of
 * bpf_arena_free_pages() of Linux 7.3, except that an address is never free
 * before the old page is out of reach.
 *
 * Context: any, NMI included. Needs no memory and cannot fail.
 */
__bpf_kfunc void bpf_arena_nolock_free_pages(void *p__map, void *ptr__ign, u32 page_cnt)
{
	struct anl_arena *arena = anl_arena_of(p__map);

	if (!arena || !ptr__ign || !page_cnt)
		return;

	anl_free(arena, (unsigned long)ptr__ign, page_cnt);
}

/**
 * bpf_arena_nolock_reserve_pages() - keep addresses of an arena from being used
 * @p__map: the arena
 * @ptr__ign: address of the first page, aligned to pages
 * @page_cnt: number of pages; 0 is nothing to do
 *
 * Allocations leave the pages out, and a user access to them is a SIGSEGV.
 * bpf_arena_nolock_free_pages() ends the reservation. Semantics are those of
 * bpf_arena_reserve_pages() of Linux 7.3, except that a misaligned address is
 * an error.
 *
 * Context: any, NMI included.
 * Return: 0; -EINVAL outside of the arena or for a map that is no adopted
 * arena; -EBUSY if any of the pages is taken.
 */
__bpf_kfunc int bpf_arena_nolock_reserve_pages(void *p__map, void *ptr__ign, u32 page_cnt)
{
	struct anl_arena *arena = anl_arena_of(p__map);

	if (!arena)
		return -EINVAL;
	if (!page_cnt)
		return 0;

	return anl_reserve(arena, (unsigned long)ptr__ign, page_cnt);
}

__bpf_kfunc_end_defs();

#define ANL_KF_FLAGS (ANL_KF_ARENA_ARG2 | ANL_KF_TRUSTED_ARGS | ANL_KF_SPINLOCK_SAFE)

BTF_KFUNCS_START(anl_kfunc_ids)
BTF_ID_FLAGS(func, bpf_arena_nolock_alloc_pages, ANL_KF_ARENA_RET | ANL_KF_FLAGS)
BTF_ID_FLAGS(func, bpf_arena_nolock_free_pages, ANL_KF_FLAGS)
BTF_ID_FLAGS(func, bpf_arena_nolock_reserve_pages, ANL_KF_FLAGS)
BTF_KFUNCS_END(anl_kfunc_ids)

static const struct btf_kfunc_id_set anl_kfunc_set = {
	.owner = THIS_MODULE,
	.set = &anl_kfunc_ids,
	.filter = anl_kfunc_filter,
};

/*
 * Module
 */

static int __init anl_init(void)
{
	int err;

	if (strcmp(init_utsname()->release, ANL_TARGET_RELEASE)) {
		pr_err("built for kernel %s, but this is %s; layouts differ, so it has to be rebuilt\n",
		       ANL_TARGET_RELEASE, init_utsname()->release);
		return -ENOEXEC;
	}
	/* Without BTF the registration below does nothing and reports success. */
	if (!THIS_MODULE->btf_data) {
		pr_err("the module has no BTF, so no program could find its kfuncs; build it with pahole installed, for a kernel with CONFIG_DEBUG_INFO_BTF_MODULES\n");
		return -ENOEXEC;
	}

	err = anl_stock_check_layout();
	if (err)
		return err;
	err = anl_compat_init();
	if (err)
		return err;
	err = anl_stock_init();
	if (err)
		return err;

	anl_refill_wq = alloc_workqueue("arena_nolock_refill", WQ_UNBOUND | WQ_HIGHPRI, 0);
	if (!anl_refill_wq)
		return -ENOMEM;
	err = -ENOMEM;
	anl_drain_wq = alloc_workqueue("arena_nolock_drain",
				       WQ_UNBOUND | WQ_HIGHPRI | WQ_MEM_RECLAIM, 0);
	if (!anl_drain_wq)
		goto no_drain;
	anl_wait_wq = alloc_workqueue("arena_nolock_wait", WQ_UNBOUND, WQ_MAX_ACTIVE);
	if (!anl_wait_wq)
		goto no_wait;
	anl_adopt_wq = alloc_workqueue("arena_nolock_adopt", WQ_UNBOUND, WQ_MAX_ACTIVE);
	if (!anl_adopt_wq)
		goto no_adopt;
	err = anl_shrinker_init();
	if (err)
		goto no_shrinker;
	anl_debugfs_init();

	err = register_btf_kfunc_id_set(BPF_PROG_TYPE_UNSPEC, &anl_kfunc_set);
	if (err) {
		pr_err("cannot register kfuncs: error %d\n", err);
		goto no_kfuncs;
	}

	return 0;

no_kfuncs:
	anl_debugfs_exit();
	anl_shrinker_exit();
no_shrinker:
	destroy_workqueue(anl_adopt_wq);
no_adopt:
	destroy_workqueue(anl_wait_wq);
no_wait:
	destroy_workqueue(anl_drain_wq);
no_drain:
	destroy_workqueue(anl_refill_wq);
	return err;
}

static void __exit anl_exit(void)
{
	/* The last instructions of anl_map_free() run after its module_put(). */
	synchronize_rcu_tasks();
	anl_debugfs_exit();
	anl_shrinker_exit();
	destroy_workqueue(anl_adopt_wq);
	destroy_workqueue(anl_wait_wq);
	destroy_workqueue(anl_drain_wq);
	destroy_workqueue(anl_refill_wq);
}

module_init(anl_init);
module_exit(anl_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("BPF arenas whose page kfuncs work in every context");
MODULE_VERSION(ANL_VERSION);
