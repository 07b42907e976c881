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
 * found in the tree of mappings (i_mmap) of the inode that the descriptors of all maps
 * share; and if those are as many, none is still being made.
 *
 * Locks: the stock arena's own mutex, for its list of user mappings and its
 * user addresses; on 7.x its spinlock as well, for its range tree. mmap_lock is
 * taken outside of the mutex, as the kernel does. i_mmap_rwsem nests inside
 * mmap_lock; the mutex, under which the kernel may reclaim memory, is only tried
 * under it.
 */
#define pr_fmt(fmt) "arena_nolock: " fmt

#include <linux/anon_inodes.h>
#include <linux/fs.h>
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

/* What all user mappings of all maps are mappings of. */
static struct address_space *stock_mapping;

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
static struct stock_vmas stock_look(struct bpf_map *map, u64 start, bool want_mm)
{
	struct stock_vmas look = {};
	struct rb_node *rb;
	long nr = 0;

	i_mmap_lock_read(stock_mapping);
	for (rb = rb_first_cached(&stock_mapping->i_mmap); rb && !look.mm; rb = rb_next(rb)) {
		struct vm_area_struct *vma = rb_entry(rb, struct vm_area_struct, shared.rb);

		if (vma->vm_file->private_data != map || !anl_vma_is_stock(vma))
			continue;
		nr++;
		if (vma->vm_start != start)
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

/* Before anything is changed: can all user mappings be found? */
static bool stock_finds_vmas(struct bpf_map *map, u64 start)
{
	int tries = STOCK_LOOK_TRIES;
	struct stock_vmas look;

	for (;;) {
		/* For a moment there is one elsewhere in each mremap() that fails. */
		look = stock_look(map, start, false);
		if (look.all && !look.elsewhere)
			return true;
		if (!--tries)
			return false;
		anl_nap(1000, 2000);
	}
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
	if (!stock_finds_vmas(map, start)) {
		pr_warn_ratelimited("map %u '%s': cannot find all of its user mappings at %#llx\n",
				    map->id, map->name, start);
		return -EBUSY;
	}

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
 * 0 would wrap. From here on mmap comes to us, so the stock arena gets no mappings
 * but by fork. There is no way back, and nothing after this can fail.
 *
 * Context: process context, may sleep.
 */
void anl_stock_seize(struct bpf_map *map, struct anl_arena *a)
{
	mutex_lock(stock_lock(map));
	WRITE_ONCE(*stock_user_vm_end(map), *stock_user_vm_start(map));
	/* Pairs with the load in anl_arena_of(). */
	smp_store_release(&map->ops, &a->ops);
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

/*
 * Can a BPF program be running that works on this map with stock kfuncs? Those
 * that have the map hold a reference until nobody runs in them any more, and so
 * do maps of maps in which others can find it; one is of @prog. Sleepable programs
 * are counted apart. A map that left a map of maps may still be in the hands of
 * a program that found it there, and was marked when it left. And a program on the
 * hook of bpf_map (LSM) is given maps of which somebody gets another descriptor.
 */
static bool stock_may_be_in_use(struct bpf_map *map, const struct bpf_prog *prog)
{
	unsigned long flags;
	bool others = false;
	int i;

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
 * anl_stock_quiesce() - wait until no stock kfunc works on the arena's pages
 * @map: a map that was seized
 * @prog: the program that is being verified
 *
 * A call that read the user addresses before they were moved is in a BPF
 * program: either sleepable, or in an RCU read-side section. A tasks-trace grace
 * period covers both, since it implies one of RCU; the kernel frees its own maps
 * by that. If no other program has the map there is nothing to wait for: one that
 * comes later reads the addresses as they are now. That is the usual case, and
 * spares it some 50 ms on 6.12.
 *
 * This is no time to hold up faults: a sleepable program can be in one. So mappings
 * are taken over afterwards.
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

/**
 * anl_stock_takeover_vmas() - take over the user mappings that exist
 * @map: a map that was seized
 * @a: the arena that takes them over
 *
 * Under mmap_lock for write nobody is in a fault of that process, nor in a fork, so
 * after this no stock fault handler runs on the arena, and copies come to us.
 *
 * Context: process context, may sleep.
 */
void anl_stock_takeover_vmas(struct bpf_map *map, struct anl_arena *a)
{
	struct vm_area_struct *vma;
	struct anl_vma *v = NULL;
	struct stock_vmas look;
	struct mm_struct *mm;

	for (;;) {
		look = stock_look(map, a->user_start, true);
		mm = look.mm;
		if (!mm && look.all) {
			kfree(v);
			return;
		}
		if (!mm) {
			anl_nap(100, 500);
			continue;
		}
		v = v ?: anl_vma_alloc(GFP_KERNEL | __GFP_NOFAIL);
		mmap_write_lock(mm);
		vma = find_vma(mm, a->user_start);
		if (vma && vma->vm_start == a->user_start && vma->vm_mm == mm &&
		    !anl_vma_is_ours(vma) && vma->vm_file && vma->vm_file->private_data == map) {
			anl_vma_takeover(a, v, vma);
			v = NULL;
		}
		mmap_write_unlock(mm);
		mmput_async(mm);
	}
}

#ifdef ANL_OFF_bpf_arena_rt
/* Not all 7.x kernels look closely at what a free is told once there is no room. */
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
#endif

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
	struct rb_node *rb, *best = NULL;
	unsigned long flags;

	stock_lock_tree(map, &flags);
	rb = root->rb_root.rb_node;
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
	stock_unlock_tree(map, flags);

	return best;
#else
	if (*pgoff >= map->max_entries)
		return false;
	*cnt = map->max_entries - *pgoff;

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
