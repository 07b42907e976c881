// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's own arena, seen from outside.
 *
 * struct bpf_arena is private to the kernel, and differs per version and per
 * flavour. The offsets used here come from the BTF of the kernel that the
 * module is built for (anl_config.h). Everything that the module knows about
 * the stock arena is in this file.
 *
 * The stock arena has a list of its user mappings, but not one to find them by:
 * where children inherit mappings (6.12, with MADV_DOFORK) it has the first one
 * only, which may be gone. The list has the number of all of them, though. They are
 * found in the interval tree of mappings (i_mmap) of the inode that the descriptors of
 * all maps share; and if those are as many, none is still being made. perf, io_uring
 * and others map the same inode. Only mappings that cover the arena's last page are
 * visited: every mapping of an arena begins at offset 0.
 *
 * Locks: the stock arena's own mutex, for its list of user mappings and its
 * user addresses; where its range tree has a spinlock (7.x), that as well. mmap_lock is
 * taken outside of the mutex, as the kernel does. i_mmap_rwsem nests inside
 * mmap_lock; the mutex, under which the kernel may reclaim memory, is only tried
 * under it.
 */
#define pr_fmt(fmt) "arena_nolock: " fmt

#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/interval_tree_generic.h>
#include <linux/irq_work.h>
#include <linux/rbtree.h>
#include <linux/refcount.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "arena.h"
#include "compat.h"
#include "lock.h"

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

/* What all user mappings of all maps are mappings of. */
static struct address_space *stock_mapping;

/* The tree as the kernel keeps it, by page offset; it is only searched here. */
#define STOCK_VMA_FIRST(vma)	((vma)->vm_pgoff)
#define STOCK_VMA_LAST(vma)	((vma)->vm_pgoff + vma_pages(vma) - 1)
INTERVAL_TREE_DEFINE(struct vm_area_struct, shared.rb, unsigned long, shared.rb_subtree_last,
		     STOCK_VMA_FIRST, STOCK_VMA_LAST, static inline __maybe_unused, stock_vma)

/* User mappings that the stock arena counts. Called with the stock lock held. */
static long stock_nr_vmas(struct bpf_map *map)
{
	struct list_head *head = STOCK(map, vma_list, struct list_head), *pos;
	long nr = 0;

	list_for_each(pos, head) {
#ifdef ANL_OFF_vma_list_mmap_count
		char *vml = (char *)pos - ANL_OFF_vma_list_head;

		nr += refcount_read((refcount_t *)(vml + ANL_OFF_vma_list_mmap_count));
#else
		nr++;
#endif
	}

	return nr;
}

/* What a look at the user mappings of a map has found. */
struct stock_vmas {
	struct mm_struct *mm;	/* referenced; of one that is not ours yet */
	bool elsewhere;		/* one of them is at another address */
	bool all;		/* it was all of them, none is coming or going */
};

/*
 * A mapping is counted before it gets into the tree, and leaves the tree before it is
 * not counted any more. So with the tree locked, what is counted beyond what is in
 * there is coming or going.
 */
static struct stock_vmas stock_look(struct bpf_map *map, const struct anl_arena *arena,
				    bool want_mm)
{
	unsigned long last = arena->nr_slots - 1;
	struct stock_vmas look = {};
	struct vm_area_struct *vma;
	long nr = 0;

	i_mmap_lock_read(stock_mapping);
	for (vma = stock_vma_iter_first(&stock_mapping->i_mmap, last, last); vma && !look.mm;
	     vma = stock_vma_iter_next(vma, last, last)) {
		cond_resched();
		if (vma->vm_file->private_data != map || !anl_vma_is_stock(vma))
			continue;
		nr++;
		if (vma->vm_start != arena->user_start)
			look.elsewhere = true;
		/* A process without users is exiting and does not fault any more. */
		else if (want_mm && !anl_vma_is_ours(vma) && mmget_not_zero(vma->vm_mm))
			look.mm = vma->vm_mm;
	}
	if (!look.mm && mutex_trylock(stock_lock(map))) {
		look.all = stock_nr_vmas(map) == nr;
		mutex_unlock(stock_lock(map));
	}
	i_mmap_unlock_read(stock_mapping);

	return look;
}

/* How long mappings that come and go may keep an arena from being adopted. */
#define STOCK_LOOK_TRIES 1000

/*
 * Before anything is changed: can all user mappings be found? 0, -EBUSY if not, or
 * -EINTR if the loader was killed.
 */
static int stock_finds_vmas(struct bpf_map *map, const struct anl_arena *arena)
{
	int tries = STOCK_LOOK_TRIES;
	struct stock_vmas look;

	for (;;) {
		/* For a moment there is one elsewhere in each mremap() that fails. */
		look = stock_look(map, arena, false);
		if (look.all && !look.elsewhere)
			return 0;
		if (fatal_signal_pending(current))
			return -EINTR;
		if (!--tries)
			return -EBUSY;
		anl_nap(1000, 2000);
	}
}

/* Room on either side of the 4 GiB for the 16-bit offset of an instruction. */
#define STOCK_GUARD_SZ SZ_64K

/**
 * anl_stock_probe() - read what a stock arena looks like
 * @map: the map
 * @arena: gets the addresses and sizes
 *
 * Refuses what does not look like the arena that the module was built for,
 * before anything is changed.
 *
 * Context: process context, may sleep.
 * Return: 0; -EINVAL or -EBUSY after saying what is wrong; -EINTR if the loader was
 * killed.
 */
int anl_stock_probe(struct bpf_map *map, struct anl_arena *arena)
{
	struct vm_struct *vm = *STOCK(map, kern_vm, struct vm_struct *);
	u64 start, end;
	int err;

	mutex_lock(stock_lock(map));
	start = *stock_user_vm_start(map);
	end = *stock_user_vm_end(map);
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

	arena->user_start = start;
	arena->nr_slots = (end - start) >> PAGE_SHIFT;
	arena->nr_limit = min(arena->nr_slots, map->max_entries);
	arena->kern_start = (unsigned long)vm->addr + STOCK_GUARD_SZ / 2 + (u32)start;
#ifdef ANL_OFF_bpf_arena_scratch_page
	arena->pgtable.scratch = *STOCK(map, scratch_page, struct page *);
#endif

	err = stock_finds_vmas(map, arena);
	if (err == -EBUSY)
		pr_warn_ratelimited("map %u '%s': cannot find all of its user mappings at %#llx\n",
				    map->id, map->name, start);

	return err;
}

/**
 * anl_stock_divert() - make new users of the map's operations come to the module
 * @map: the map
 * @arena: the arena that takes it over
 *
 * The stock kfuncs, faults of stock mappings, and calls that have read the stock
 * operations before work on until anl_stock_seize(). There is no way back, and nothing
 * after this can fail.
 *
 * Context: process context.
 */
void anl_stock_divert(struct bpf_map *map, struct anl_arena *arena)
{
	/* Pairs with the load in anl_adopted(). */
	smp_store_release(&map->ops, &arena->ops);
}

/**
 * anl_stock_seize() - make the stock kfuncs fail on this map
 * @map: a map whose operations are ours
 * @arena: its arena
 *
 * An arena without user addresses has no room for allocations and
 * reservations, and nothing to free. The end is moved to the start; a start of
 * 0 would wrap. A stock map_direct_value_addr() fails now, for all offsets but 0, and
 * with it the program that is being loaded. So the caller has waited for the loaders
 * that may have read the stock operations. From here on the stock arena gets no
 * mappings but by fork.
 *
 * Context: process context, may sleep.
 */
void anl_stock_seize(struct bpf_map *map, struct anl_arena *arena)
{
	mutex_lock(stock_lock(map));
	WRITE_ONCE(*stock_user_vm_end(map), *stock_user_vm_start(map));
	/* Pairs with the loads in anl_map_mmap(). */
	smp_store_release(&arena->stock.seized, true);
	mutex_unlock(stock_lock(map));
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

/**
 * anl_stock_in_use() - may others be working with the stock arena?
 * @map: the map, after the change to the stock arena that they are to be judged by
 * @prog: the program that is being verified
 *
 * They are BPF programs that call stock kfuncs, and loaders that have read the stock
 * operations. A program holds a reference on its map from before the verifier calls
 * the map's operations until it has stopped running, and so do maps of maps in which
 * programs can find it; one of them is @prog's. Sleepable programs are counted
 * apart. A map that left a map of maps was marked when it left: a program that found
 * it there may still have it. And a program on the hook of bpf_map (LSM) is given maps
 * of which a task gets another descriptor.
 *
 * Context: process context, of the task that loads @prog.
 * Return: false if there is none, and the next one sees the change.
 */
bool anl_stock_in_use(struct bpf_map *map, const struct bpf_prog *prog)
{
	unsigned long flags;
	bool others = false;
	int i;

	/* The change comes before the counts are read. */
	smp_mb();
	if (atomic64_read(&map->sleepable_refcnt) > prog->sleepable ||
	    atomic64_read(&map->usercnt) > 1 ||
	    READ_ONCE(map->free_after_mult_rcu_gp) || READ_ONCE(map->free_after_rcu_gp))
		return true;
	local_irq_save(flags);
	for (i = 0; i < 8; i++)
		others |= stock_kernel_refs(map) > 1;
	local_irq_restore(flags);

	return others;
}

/**
 * anl_stock_adopt_vmas() - take over the user mappings that exist
 * @map: a map that was seized
 * @arena: the arena that takes them over
 *
 * With mmap_lock held for write no fault of that process is in flight, nor a fork, so
 * after this no stock fault handler runs on the arena, and copies come to us.
 *
 * Context: process context, may sleep.
 */
void anl_stock_adopt_vmas(struct bpf_map *map, struct anl_arena *arena)
{
	struct vm_area_struct *vma;
	struct anl_vma *avma = NULL;
	struct stock_vmas look;
	struct mm_struct *mm;

	for (;;) {
		/* Before mmap_lock is taken, which reclaim may have to wait for. */
		if (!avma)
			avma = anl_vma_alloc(GFP_KERNEL | __GFP_NOFAIL);
		look = stock_look(map, arena, true);
		mm = look.mm;
		if (!mm && look.all)
			break;
		if (!mm) {
			anl_nap(100, 500);
			continue;
		}
		mmap_write_lock(mm);
		vma = find_vma(mm, arena->user_start);
		if (vma && vma->vm_start == arena->user_start && vma->vm_mm == mm &&
		    !anl_vma_is_ours(vma) && vma->vm_file && vma->vm_file->private_data == map) {
			anl_vma_adopt(arena, vma, avma);
			avma = NULL;
		}
		mmap_write_unlock(mm);
		mmput_async(mm);
	}
	kfree(avma);
}

#ifdef ANL_OFF_bpf_arena_rt
static void stock_lock_tree(struct bpf_map *map, unsigned long *flags)
{
#ifdef ANL_OFF_bpf_arena_spinlock
	while (anl_lock_irqsave(STOCK(map, spinlock, anl_lock_t), flags))
		cond_resched();
#else
	mutex_lock(stock_lock(map));
#endif
}

static void stock_unlock_tree(struct bpf_map *map, unsigned long flags)
{
#ifdef ANL_OFF_bpf_arena_spinlock
	anl_unlock_irqrestore(STOCK(map, spinlock, anl_lock_t), flags);
#else
	mutex_unlock(stock_lock(map));
#endif
}

static struct rb_root_cached *stock_ranges(struct bpf_map *map)
{
	return (struct rb_root_cached *)(STOCK(map, rt, char) + ANL_OFF_range_tree_it_root);
}

static struct rb_root_cached *stock_sizes(struct bpf_map *map)
{
	return (struct rb_root_cached *)(STOCK(map, rt, char) +
					 ANL_OFF_range_tree_range_size_root);
}

/* No stock free comes any more. Wait for those that were deferred. */
static void stock_wait_frees(struct bpf_map *map)
{
#ifdef ANL_OFF_bpf_arena_free_work
	struct work_struct *work = STOCK(map, free_work, struct work_struct);

	do {
		irq_work_sync(STOCK(map, free_irq, struct irq_work));
		flush_work(work);
		/* It starts itself anew, with nothing done, if the lock times out. */
	} while (!llist_empty(STOCK(map, free_spans, struct llist_head)) || work_busy(work));
#endif
}
#endif

/**
 * anl_stock_take_tree() - take the range tree away from the stock arena
 * @map: a map that was seized, whose mappings are ours, and which no BPF program uses
 *	with stock kfuncs any more
 * @arena: its arena, which keeps the tree
 *
 * What is left are allocations of the kernel itself (sched_ext), which no grace period
 * covers. One that read the user addresses before the seize can still be on its way to
 * the lock. It holds that from before it searches the tree until its PTEs are set. So
 * it has either done all of that by now, or finds an empty tree and fails. Nothing puts
 * ranges into the empty tree: frees and faults are over.
 *
 * Kernels without a range tree allocate under the mutex that the seize has taken.
 *
 * Context: process context, may sleep.
 */
void anl_stock_take_tree(struct bpf_map *map, struct anl_arena *arena)
{
#ifdef ANL_OFF_bpf_arena_rt
	unsigned long flags;

	stock_wait_frees(map);
	stock_lock_tree(map, &flags);
	arena->stock.ranges = *stock_ranges(map);
	arena->stock.sizes = *stock_sizes(map);
	*stock_ranges(map) = RB_ROOT_CACHED;
	*stock_sizes(map) = RB_ROOT_CACHED;
	stock_unlock_tree(map, flags);
#endif
}

/**
 * anl_stock_return_tree() - give the stock arena its range tree, to free it
 * @map: a map without users
 * @arena: its arena
 *
 * Context: map_free.
 */
void anl_stock_return_tree(struct bpf_map *map, struct anl_arena *arena)
{
#ifdef ANL_OFF_bpf_arena_rt
	*stock_ranges(map) = arena->stock.ranges;
	*stock_sizes(map) = arena->stock.sizes;
#endif
}

/**
 * anl_stock_next_free() - the next run of pages that the stock arena has free
 * @arena: an arena that has the stock arena's range tree
 * @pgoff: where to start looking; set to the first page of the run
 * @cnt: set to the length of the run
 *
 * Tells reservations, which have no page, from free pages. Kernels without a
 * range tree have no reservations: there all pages that are not mapped are free.
 *
 * Context: process context.
 * Return: false if there is no further run.
 */
bool anl_stock_next_free(struct anl_arena *arena, u32 *pgoff, u32 *cnt)
{
#ifdef ANL_OFF_bpf_arena_rt
	struct rb_node *rb = arena->stock.ranges.rb_root.rb_node, *best = NULL;

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
	if (best) {
		char *rn = (char *)best - ANL_OFF_range_node_rn_rbnode;
		u32 first = *(u32 *)(rn + ANL_OFF_range_node_rn_start);
		u32 last = *(u32 *)(rn + ANL_OFF_range_node_rn_last);

		*pgoff = max(*pgoff, first);
		*cnt = last - *pgoff + 1;
	}

	return best;
#else
	if (*pgoff >= arena->map->max_entries)
		return false;
	*cnt = arena->map->max_entries - *pgoff;

	return true;
#endif
}

/**
 * anl_stock_init() - find what user mappings of maps are mappings of
 *
 * The inode is the kernel's, and there as long as the kernel is.
 *
 * Context: module init.
 * Return: 0 or a negative error.
 */
int __init anl_stock_init(void)
{
	static const struct file_operations fops = { .owner = THIS_MODULE };
	struct file *file = anon_inode_getfile("arena_nolock", &fops, NULL, O_RDONLY);

	if (IS_ERR(file))
		return PTR_ERR(file);
	stock_mapping = file->f_mapping;
	/* Not later: init can still fail, and takes the operations with it. */
	__fput_sync(file);

	return 0;
}
