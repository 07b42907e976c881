// SPDX-License-Identifier: GPL-2.0
/*
 * The stock arena: the kernel's own. Everything that the module knows about it is
 * in this file.
 *
 * struct bpf_arena is private to the kernel and differs between versions and
 * flavours. Its offsets come from the BTF of the kernel that the module is built
 * for (anl_config.h).
 *
 * The stock arena's list of user mappings cannot be used to find them. Where children
 * inherit mappings (6.12 with MADV_DOFORK), an entry points to the first of the copies
 * only, which may be gone. But each entry counts its copies. So the mappings are looked
 * up in i_mmap, the interval tree of the inode that the descriptors of all maps share,
 * and compared with the count. perf, io_uring and others map the same inode. Every
 * mapping of an arena begins at offset 0, so only mappings that cover the arena's last
 * page are visited.
 *
 * Owns nothing but a pointer to that inode's mapping.
 *
 * Locks: the stock arena's mutex protects its list of user mappings and its user
 * addresses. On 7.x its spinlock protects its range tree. The mutex nests inside
 * mmap_lock, as in the kernel. i_mmap_rwsem nests inside mmap_lock as well. The kernel
 * may reclaim memory under the mutex, so with i_mmap_rwsem held the mutex is only tried.
 *
 * Context: process context, may sleep.
 */
#define pr_fmt(fmt) "arena_nolock: " fmt

#include <linux/anon_inodes.h>
#include <linux/delay.h>
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

/* The mapping of the inode that the descriptors of all maps share. */
static struct address_space *stock_mapping;

/* The kernel's i_mmap tree, ordered by page offset. It is only searched here. */
#define STOCK_VMA_FIRST(vma)	((vma)->vm_pgoff)
#define STOCK_VMA_LAST(vma)	((vma)->vm_pgoff + vma_pages(vma) - 1)
INTERVAL_TREE_DEFINE(struct vm_area_struct, shared.rb, unsigned long, shared.rb_subtree_last,
		     STOCK_VMA_FIRST, STOCK_VMA_LAST, static inline __maybe_unused, stock_vma)

/* Number of user mappings that the stock arena counts. The caller holds the stock lock. */
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

/* The result of one search for the user mappings of a map. */
struct stock_vmas {
	struct mm_struct *mm;	/* has a mapping that is not ours yet; with a reference */
	bool elsewhere;		/* one mapping is at another address */
	bool all;		/* all mappings were found */
};

/*
 * The stock arena counts a mapping before the kernel inserts it into the tree, until
 * after the kernel has removed it from there. So if the locked tree has as many mappings
 * as the stock arena counts, it has all of them.
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
		/* An address space without users is exiting and has no more faults. */
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

/* Searches, about 1 to 2 ms apart, before an adoption fails because mappings change. */
#define STOCK_LOOK_TRIES 1000

/*
 * Check that all user mappings can be found, before the adoption changes anything.
 * Returns 0, -EBUSY if they cannot, or -EINTR if the loader was killed.
 */
static int stock_finds_vmas(struct bpf_map *map, const struct anl_arena *arena)
{
	int tries = STOCK_LOOK_TRIES;
	struct stock_vmas look;

	for (;;) {
		/* A failing mremap() has the mapping at another address for a moment. */
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

/* Guard around the 4 GiB, 32 KiB on each side, for an instruction's 16-bit offset. */
#define STOCK_GUARD_SZ SZ_64K

/**
 * anl_stock_probe() - read the addresses and sizes of a stock arena
 * @map: the map
 * @arena: the new arena, gets the addresses and sizes
 *
 * Changes nothing in the stock arena.
 *
 * Context: process context, may sleep.
 * Return: 0; -EINVAL if the stock arena is not as expected, or -EBUSY if its user
 * mappings cannot be found, both with a message in the log; -EINTR if the loader was
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
		pr_warn_ratelimited("map %u '%s': cannot adopt: unexpected size or type of its kernel mapping; rebuild the module for the running kernel\n",
				    map->id, map->name);
		return -EINVAL;
	}
	if (!start || !PAGE_ALIGNED(start) || !PAGE_ALIGNED(end) || end <= start ||
	    end - start > SZ_4G) {
		pr_warn_ratelimited("map %u '%s': cannot adopt: unexpected user addresses %#llx to %#llx; rebuild the module for the running kernel\n",
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
		pr_warn_ratelimited("map %u '%s': cannot adopt: its user mappings at %#llx keep changing; load the program again\n",
				    map->id, map->name, start);

	return err;
}

/**
 * anl_stock_divert() - replace the map's operations with those of the module
 * @map: the map
 * @arena: the arena that adopts the map
 *
 * Until anl_stock_seize() the stock kfuncs, faults of stock mappings, and calls that
 * read the stock operations before still work. This cannot be undone. No later step of
 * the adoption can fail.
 *
 * Context: process context.
 */
void anl_stock_divert(struct bpf_map *map, struct anl_arena *arena)
{
	/* Publishes @arena. Pairs with smp_load_acquire() in anl_adopted(). */
	smp_store_release(&map->ops, &arena->ops);
}

/**
 * anl_stock_seize() - make the stock kfuncs fail on this map
 * @map: a map whose operations are ours
 * @arena: its arena
 *
 * Sets the end of the stock arena's user addresses to their start. The stock kfuncs then
 * find no room for allocations and reservations, and nothing to free. The stock arena
 * gets no more mappings except by fork. Stock map_direct_value_addr() fails for all
 * offsets but 0, and so does the load of a program that calls it. Therefore the caller
 * first waits for loaders that may have read the stock operations.
 *
 * Context: process context, may sleep.
 */
void anl_stock_seize(struct bpf_map *map, struct anl_arena *arena)
{
	mutex_lock(stock_lock(map));
	WRITE_ONCE(*stock_user_vm_end(map), *stock_user_vm_start(map));
	/*
	 * Orders the new end before @seized. Pairs with smp_load_acquire() in
	 * anl_map_mmap().
	 */
	smp_store_release(&arena->stock.seized, true);
	mutex_unlock(stock_lock(map));
}

/*
 * Number of references that programs and maps of maps hold. @refcnt counts them and
 * those of descriptors, @usercnt only those of descriptors. The counters cannot be read
 * together, so a descriptor that is opened or closed between the reads could hide another
 * reference. Therefore read them in both orders and return the larger difference.
 */
static s64 stock_kernel_refs(struct bpf_map *map)
{
	s64 users = atomic64_read(&map->usercnt), refs, most;

	/* Orders the read of @usercnt before that of @refcnt. */
	smp_rmb();
	refs = atomic64_read(&map->refcnt);
	most = refs - users;
	/* Orders the read of @refcnt before the second one of @usercnt. */
	smp_rmb();
	users = atomic64_read(&map->usercnt);

	return max(most, refs - users);
}

/**
 * anl_stock_in_use() - can the stock arena have users besides a program?
 * @map: the map, after a change of the stock arena
 * @prog: the program that is being verified
 *
 * Users are BPF programs that call stock kfuncs, and loaders that have read the stock
 * operations. A program holds a reference on its map from before the verifier calls the
 * map's operations until the program has stopped running. A map of maps holds a
 * reference on the maps in it, where programs can find them. @prog holds one reference.
 * The kernel counts references of sleepable programs a second time, and marks a map that
 * was removed from a map of maps, because a program that found it there may still use
 * it. A program on the LSM hook bpf_map gets a pointer to a map of which a task opens
 * another descriptor.
 *
 * Context: process context, of the task that loads @prog.
 * Return: false if there is no such user, and a later user sees the change.
 */
bool anl_stock_in_use(struct bpf_map *map, const struct bpf_prog *prog)
{
	unsigned long flags;
	bool others = false;
	int i;

	/* Orders the change before the reads: a user not counted here sees the change. */
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
 * anl_stock_adopt_vmas() - adopt the existing user mappings
 * @map: a map that was seized
 * @arena: the arena that adopts them
 *
 * While mmap_lock of a process is held for write, no fault and no fork of that process
 * is in flight. So on return no stock fault handler runs on the arena, and later copies
 * of mappings belong to the module.
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
		/* Not under mmap_lock: reclaim may wait for it. */
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

/*
 * Wait for deferred stock frees. The caller excludes new ones.
 *
 * irq_work_sync() would spin. An irq_work that a CPU has queued while it went offline runs
 * only when that CPU is online again, see kick.c.
 */
static void stock_wait_frees(struct bpf_map *map)
{
#ifdef ANL_OFF_bpf_arena_free_work
	struct work_struct *work = STOCK(map, free_work, struct work_struct);
	struct irq_work *irq_work = STOCK(map, free_irq, struct irq_work);

	do {
		while (irq_work_is_busy(irq_work))
			fsleep(100);
		/* The irq_work has queued the work. Pairs with atomic_cmpxchg() of the kernel. */
		smp_rmb();
		flush_work(work);
		/* If the lock times out, the worker requeues itself with nothing done. */
	} while (!llist_empty(STOCK(map, free_spans, struct llist_head)) || work_busy(work));
#endif
}
#endif

/**
 * anl_stock_take_tree() - move the range tree from the stock arena to ours
 * @map: a map that was seized and whose mappings are ours; BPF programs no longer use it
 *	with stock kfuncs
 * @arena: its arena, gets the tree
 *
 * The remaining stock allocations are the kernel's own (sched_ext). No grace period
 * covers them. One that read the user addresses before the seize may not have taken the
 * tree's lock yet. It holds that lock from before it searches the tree until it has set
 * its PTEs. So it has either finished when we take the lock, or finds an empty tree and
 * fails. No stock free or fault is left to insert ranges into the empty tree.
 *
 * Kernels without a range tree allocate under the mutex, which the seize held.
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
 * anl_stock_return_tree() - return the range tree, so that the stock arena frees it
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
 * anl_stock_next_free() - find the next run of free pages of the stock arena
 * @arena: an arena that has the stock arena's range tree
 * @pgoff: where the search starts; set to the first page of the run
 * @cnt: set to the length of the run
 *
 * Distinguishes reservations, which have no page, from free pages. Kernels without a
 * range tree have no reservations, so the run is the rest of the arena; pages that are
 * mapped there are not free either.
 *
 * Context: process context.
 * Return: false if there is no further run.
 */
bool anl_stock_next_free(struct anl_arena *arena, u32 *pgoff, u32 *cnt)
{
#ifdef ANL_OFF_bpf_arena_rt
	struct rb_node *rb = arena->stock.ranges.rb_root.rb_node, *best = NULL;

	/* The ranges are disjoint, so their order by end is that by start. */
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
 * anl_stock_init() - find the inode that the descriptors of all maps share
 *
 * The kernel never frees this inode, so no reference is kept.
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
	/* Synchronously: if init fails, the kernel frees @fops with the module. */
	__fput_sync(file);

	return 0;
}
