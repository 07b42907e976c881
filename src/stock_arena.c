// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's own arena, seen from outside.
 *
 * struct bpf_arena is private to the kernel, and differs per version and per
 * flavour. The offsets used here come from the BTF of the kernel that the
 * module is built for (anl_config.h). Everything that the module knows about
 * the stock arena is in this file.
 *
 * Locks: the stock arena's own mutex, for its list of user mappings and its
 * user addresses; on 7.x its spinlock as well, which covers the address range
 * while pages are allocated. mmap_lock is taken outside of the mutex, as the
 * kernel does.
 */
#define pr_fmt(fmt) "arena_nolock: " fmt

#include <linux/irq_work.h>
#include <linux/rbtree.h>
#include <linux/refcount.h>
#include <linux/sched/mm.h>
#include <linux/vmalloc.h>

#include "anl_lock.h"
#include "compat.h"
#include "stock_arena.h"

#define STOCK(map, member, type) \
	((type *)((char *)(map) - ANL_OFF_bpf_arena_map + ANL_OFF_bpf_arena_##member))

static u64 *stock_user_vm_start(struct bpf_map *map)
{
	return STOCK(map, user_vm_start, u64);
}

static u64 *stock_user_vm_end(struct bpf_map *map)
{
	return STOCK(map, user_vm_end, u64);
}

static struct mutex *stock_lock(struct bpf_map *map)
{
	return STOCK(map, lock, struct mutex);
}

/*
 * Has a process inherited a mapping? 6.12 can be told to let it, by MADV_DOFORK. The
 * stock list then knows one of the two, and possibly the one that is gone. Called with
 * the stock lock held.
 */
static bool stock_has_copies(struct bpf_map *map)
{
#ifdef ANL_OFF_vma_list_mmap_count
	struct list_head *head = STOCK(map, vma_list, struct list_head), *pos;

	list_for_each(pos, head) {
		char *vml = (char *)pos - ANL_OFF_vma_list_head;

		if (refcount_read((refcount_t *)(vml + ANL_OFF_vma_list_mmap_count)) != 1)
			return true;
	}
#endif
	return false;
}

static int stock_refuse_copies(struct bpf_map *map)
{
	pr_warn_ratelimited("map %u '%s': a process has inherited its mapping, and cannot be found; adopt the arena before any such fork, or do not use MADV_DOFORK\n",
			    map->id, map->name);
	return -EBUSY;
}

/* Room on either side of the 4 GiB for the 16-bit offset of an instruction. */
#define STOCK_GUARD_SZ SZ_64K

/**
 * anl_stock_probe() - read what a stock arena looks like
 * @map: the map
 * @a: gets the addresses and sizes
 *
 * Refuses what does not look like the arena that the module was built for,
 * before anything is changed.
 *
 * Context: process context, may sleep.
 * Return: 0; or -EINVAL or -EBUSY after saying what is wrong.
 */
int anl_stock_probe(struct bpf_map *map, struct anl_arena *a)
{
	struct vm_struct *vm = *STOCK(map, kern_vm, struct vm_struct *);
	u64 start, end;
	bool copies;

	mutex_lock(stock_lock(map));
	start = *stock_user_vm_start(map);
	end = *stock_user_vm_end(map);
	copies = stock_has_copies(map);
	mutex_unlock(stock_lock(map));

	if (!vm || get_vm_area_size(vm) != SZ_4G + STOCK_GUARD_SZ || !(vm->flags & VM_SPARSE)) {
		pr_warn_ratelimited("map %u '%s': its kernel mapping does not look like an arena's\n",
				    map->id, map->name);
		return -EINVAL;
	}
	if (!start || !PAGE_ALIGNED(start) || !PAGE_ALIGNED(end) || end <= start ||
	    end - start > SZ_4G) {
		pr_warn_ratelimited("map %u '%s': cannot adopt an arena with user addresses %#llx to %#llx\n",
				    map->id, map->name, start, end);
		return -EINVAL;
	}
	if (copies)
		return stock_refuse_copies(map);

	a->user_start = start;
	a->nr_slots = (end - start) >> PAGE_SHIFT;
	a->nr_limit = min(a->nr_slots, map->max_entries);
	a->kern_start = (unsigned long)vm->addr + STOCK_GUARD_SZ / 2 + (u32)start;
#ifdef ANL_OFF_bpf_arena_scratch_page
	a->scratch = *STOCK(map, scratch_page, struct page *);
#endif

	return 0;
}

/**
 * anl_stock_seize() - make the stock kfuncs fail on this map, and ours work
 * @map: the map
 * @a: the arena that takes it over
 *
 * An arena without user addresses has no room for allocations and
 * reservations, and nothing to free. The end is moved to the start; a start of
 * 0 would wrap. From here on mmap comes to us, so the stock list of mappings
 * only shrinks. There is no way back, and nothing after this can fail.
 *
 * Context: process context, may sleep.
 * Return: 0, or -EBUSY with nothing changed, after saying why.
 */
int anl_stock_seize(struct bpf_map *map, struct anl_arena *a)
{
	mutex_lock(stock_lock(map));
	if (stock_has_copies(map)) {
		mutex_unlock(stock_lock(map));
		return stock_refuse_copies(map);
	}
	WRITE_ONCE(*stock_user_vm_end(map), *stock_user_vm_start(map));
	/* Pairs with the load in anl_arena_of(). */
	smp_store_release(&map->ops, &a->ops);
	mutex_unlock(stock_lock(map));

	return 0;
}

/*
 * References of the kernel's own: from programs, and from maps of maps. Those of
 * file descriptors are counted in both counters, but the two cannot be read as
 * one, so a descriptor that comes or goes between the reads must not hide another
 * reference: read in both orders, and take what is more.
 */
static s64 stock_kernel_refs(struct bpf_map *map)
{
	s64 users = atomic64_read(&map->usercnt), refs, most;

	/* First users, then references. */
	smp_rmb();
	refs = atomic64_read(&map->refcnt);
	most = refs - users;
	/* And the other way round. */
	smp_rmb();
	users = atomic64_read(&map->usercnt);

	return max(most, refs - users);
}

/*
 * Can a BPF program be running that works on this map with stock kfuncs? Those
 * that have the map hold a reference until nobody runs in them any more, and so
 * do maps of maps in which others can find it; one is of @prog. Sleepable programs
 * are counted apart. A map that left a map of maps may still be in the hands of
 * a program that found it there, and was marked when it left.
 */
static bool stock_may_be_in_use(struct bpf_map *map, const struct bpf_prog *prog)
{
	unsigned long flags;
	bool others = false;
	int i;

	if (atomic64_read(&map->sleepable_refcnt) > prog->sleepable ||
	    READ_ONCE(map->free_after_mult_rcu_gp) || READ_ONCE(map->free_after_rcu_gp))
		return true;
	local_irq_save(flags);
	for (i = 0; i < 8; i++)
		others |= stock_kernel_refs(map) > 1;
	local_irq_restore(flags);

	return others;
}

/**
 * anl_stock_quiesce() - wait until no stock code works on the arena's pages
 * @map: a map that was seized and whose user mappings were taken over
 * @prog: the program that is being verified
 *
 * A call that read the user addresses before they were moved is in a BPF
 * program: either sleepable, or in an RCU read-side section. A tasks-trace grace
 * period covers both, since it implies one of RCU; the kernel frees its own maps
 * by that. If no other program has the map there is nothing to wait for: one that
 * comes later reads the addresses as they are now. That is the usual case, and
 * spares it some 50 ms on 6.12.
 *
 * Context: process context, not in a sleepable BPF program.
 */
void anl_stock_quiesce(struct bpf_map *map, const struct bpf_prog *prog)
{
	/* The addresses were moved before we look who is there. */
	smp_mb();
	if (stock_may_be_in_use(map, prog))
		synchronize_rcu_tasks_trace();
#ifdef ANL_OFF_bpf_arena_free_work
	irq_work_sync(STOCK(map, free_irq, struct irq_work));
	flush_work(STOCK(map, free_work, struct work_struct));
#endif
}

/* A mapping on the stock list that is not ours yet, and a reference on its mm. */
static struct mm_struct *stock_next_mm(struct bpf_map *map)
{
	struct list_head *head = STOCK(map, vma_list, struct list_head), *pos;
	struct mm_struct *mm = NULL;

	mutex_lock(stock_lock(map));
	list_for_each(pos, head) {
		char *vml = (char *)pos - ANL_OFF_vma_list_head;
		struct vm_area_struct *vma =
			*(struct vm_area_struct **)(vml + ANL_OFF_vma_list_vma);

		/* A process without users is exiting and does not fault any more. */
		if (anl_vma_is_ours(vma) || !mmget_not_zero(vma->vm_mm))
			continue;
		mm = vma->vm_mm;
		break;
	}
	mutex_unlock(stock_lock(map));

	return mm;
}

/**
 * anl_stock_takeover_vmas() - take over the user mappings that exist
 * @map: a map that was seized
 * @a: the arena that takes them over
 *
 * Under mmap_lock for write nobody is in a fault of that process, so after
 * this no stock fault handler runs on the arena.
 *
 * Context: process context, may sleep.
 */
void anl_stock_takeover_vmas(struct bpf_map *map, struct anl_arena *a)
{
	struct vm_area_struct *vma;
	struct mm_struct *mm;

	while ((mm = stock_next_mm(map))) {
		mmap_write_lock(mm);
		vma = find_vma(mm, a->user_start);
		if (vma && vma->vm_start == a->user_start && !anl_vma_is_ours(vma) &&
		    vma->vm_file && vma->vm_file->private_data == map)
			anl_vma_takeover(a, vma);
		mmap_write_unlock(mm);
		mmput_async(mm);
	}
}

/**
 * anl_stock_next_free() - the next run of pages that the stock arena has free
 * @map: a map that was seized and has become quiet
 * @pgoff: where to start looking; set to the first page of the run
 * @cnt: set to the length of the run
 *
 * Tells reservations, which have no page, from free pages. Kernels without a
 * range tree have no reservations: there all pages that are not mapped are free.
 *
 * Context: process context.
 * Return: false if there is no further run.
 */
bool anl_stock_next_free(struct bpf_map *map, u32 *pgoff, u32 *cnt)
{
#ifdef ANL_OFF_bpf_arena_rt
	struct rb_root_cached *root =
		(struct rb_root_cached *)(STOCK(map, rt, char) + ANL_OFF_range_tree_it_root);
	struct rb_node *rb = root->rb_root.rb_node, *best = NULL;

	/* The nodes are disjoint, so those that end later also start later. */
	while (rb) {
		char *rn = (char *)rb - ANL_OFF_range_node_rn_rbnode;

		if (*(u32 *)(rn + ANL_OFF_range_node_rn_last) >= *pgoff) {
			best = rb;
			rb = rb->rb_left;
		} else {
			rb = rb->rb_right;
		}
	}
	if (!best)
		return false;
	{
		char *rn = (char *)best - ANL_OFF_range_node_rn_rbnode;
		u32 first = *(u32 *)(rn + ANL_OFF_range_node_rn_start);
		u32 last = *(u32 *)(rn + ANL_OFF_range_node_rn_last);

		*pgoff = max(*pgoff, first);
		*cnt = last - *pgoff + 1;
	}

	return true;
#else
	if (*pgoff >= map->max_entries)
		return false;
	*cnt = map->max_entries - *pgoff;

	return true;
#endif
}
