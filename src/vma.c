// SPDX-License-Identifier: GPL-2.0
/*
 * User mappings of an arena: mmap, close, and removing pages from them.
 *
 * A walk keeps its place in the list of mappings by a cursor, and the mapping that it has
 * found by a reference. Mappings that existed before adoption were on the stock arena's list
 * and stay there: their struct anl_vma keeps what the stock arena had in vm_private_data and
 * calls the stock close(), so the stock list is right at any time.
 *
 * Zapping takes mmap_lock for read, by trylock. A process whose lock is unavailable is left
 * out, and only slots that are still mapped somewhere have to wait for it. The drain worker
 * tries again later. When it has failed for a mapping ANL_WAIT_AFTER times in a row, a work
 * item of that mapping waits for the lock in its place, so that a process that always has a
 * writer queued cannot keep its pages in the queue for ever.
 *
 * Owns: struct anl_vmas and every struct anl_vma.
 * Locks: the list has a spinlock, which nests inside mmap_lock, because close() runs under
 * that.
 */
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "arena.h"
#include "compat.h"
#include "fault.h"

static void anl_wait_work(struct work_struct *work);

/**
 * anl_vmas_init() - an empty list
 * @arena: the arena
 * @drain: retires the queue; called with the mmap_lock of @mm held for read
 *
 * Context: process context.
 */
void anl_vmas_init(struct anl_arena *arena,
		   void (*drain)(struct anl_arena *arena, struct mm_struct *mm))
{
	spin_lock_init(&arena->vmas.lock);
	INIT_LIST_HEAD(&arena->vmas.list);
	arena->vmas.drain = drain;
}

/**
 * anl_vma_alloc() - memory for what the module knows about a mapping
 * @gfp: how to allocate
 *
 * Context: process context, may sleep.
 * Return: memory for anl_vma_adopt() or kfree(), or NULL.
 */
struct anl_vma *anl_vma_alloc(gfp_t gfp)
{
	struct anl_vma *avma = kzalloc(sizeof(*avma), gfp);

	if (avma) {
		refcount_set(&avma->refs, 1);
		INIT_WORK(&avma->wait, anl_wait_work);
	}

	return avma;
}

static void anl_vma_put(struct anl_vma *avma)
{
	if (!refcount_dec_and_test(&avma->refs))
		return;
	mmdrop(avma->mm);
	kfree(avma);
}

static void anl_vma_list(struct anl_arena *arena, struct anl_vma *avma, struct vm_area_struct *vma)
{
	avma->arena = arena;
	avma->vma = vma;
	avma->start = vma->vm_start;
	avma->mm = vma->vm_mm;
	mmgrab(avma->mm);
	vma->vm_private_data = avma;
	spin_lock(&arena->vmas.lock);
	avma->id = ++arena->vmas.seq;
	list_add_tail(&avma->head, &arena->vmas.list);
	spin_unlock(&arena->vmas.lock);
}

/*
 * A copy of a mapping: for a moment in an mremap() that will be refused, or in the child of
 * a process that had VM_DONTCOPY removed, which 6.12 allows with MADV_DOFORK. A mapping
 * whose pages are to be zapped must be on the list, and open() cannot refuse. This is the
 * one allocation that may use the emergency reserves: a task that the OOM killer has chosen
 * must not wait here for the memory that it holds.
 */
static void anl_vm_open(struct vm_area_struct *vma)
{
	struct anl_vma *from = vma->vm_private_data;
	struct anl_vma *avma = anl_vma_alloc(GFP_KERNEL | __GFP_NOFAIL);

	avma->stock_ops = from->stock_ops;
	avma->stock_private = from->stock_private;
	if (avma->stock_ops) {
		vma->vm_private_data = avma->stock_private;
		avma->stock_ops->open(vma);
	}
	anl_vma_list(from->arena, avma, vma);
}

static void anl_vm_close(struct vm_area_struct *vma)
{
	struct anl_vma *avma = vma->vm_private_data;

	spin_lock(&avma->arena->vmas.lock);
	list_del(&avma->head);
	spin_unlock(&avma->arena->vmas.lock);

	vma->vm_private_data = avma->stock_private;
	if (avma->stock_ops)
		avma->stock_ops->close(vma);
	anl_vma_put(avma);
}

/* The arena's user address is fixed; a mapping is all of it or nothing. */
static int anl_vm_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	return -EINVAL;
}

static int anl_vm_mremap(struct vm_area_struct *vma)
{
	return -EINVAL;
}

static const struct vm_operations_struct anl_vm_ops = {
	.open = anl_vm_open,
	.close = anl_vm_close,
	.may_split = anl_vm_may_split,
	.mremap = anl_vm_mremap,
	.fault = anl_vm_fault,
};

/* Is this a mapping with our operations? Any context. */
bool anl_vma_is_ours(const struct vm_area_struct *vma)
{
	/* Pairs with smp_store_release() in anl_vma_add(). */
	return smp_load_acquire(&vma->vm_ops) == &anl_vm_ops;
}

/* Does the stock arena count this mapping? It cannot be closed meanwhile. */
bool anl_vma_is_stock(const struct vm_area_struct *vma)
{
	return !anl_vma_is_ours(vma) || ((struct anl_vma *)vma->vm_private_data)->stock_ops;
}

static void anl_vma_add(struct anl_arena *arena, struct anl_vma *avma, struct vm_area_struct *vma)
{
	/* The stock arena sets the first two. vm_insert_page() requires VM_MIXEDMAP. */
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTCOPY | VM_MIXEDMAP);
	anl_vma_list(arena, avma, vma);
	/* Pairs with smp_load_acquire() in anl_vma_is_ours(). */
	smp_store_release(&vma->vm_ops, &anl_vm_ops);
}

/**
 * anl_vma_adopt() - adopt a mapping of the stock arena
 * @arena: the arena
 * @vma: the mapping
 * @avma: memory of anl_vma_alloc(), which belongs to the mapping from now on
 *
 * Context: process context, mmap_lock of its mm held for write. Cannot fail.
 */
void anl_vma_adopt(struct anl_arena *arena, struct vm_area_struct *vma, struct anl_vma *avma)
{
	bool inherited = !(vma->vm_flags & VM_DONTCOPY);

	mmap_assert_write_locked(vma->vm_mm);
	avma->stock_ops = vma->vm_ops;
	avma->stock_private = vma->vm_private_data;
	anl_vma_add(arena, avma, vma);
	/* The process has requested that, with MADV_DOFORK. */
	if (inherited)
		vm_flags_clear(vma, VM_DONTCOPY);
}

/**
 * anl_vma_mmap() - map_mmap of an adopted arena
 * @map: the map
 * @vma: the mapping
 *
 * Context: process context, mmap_lock held for write.
 * Return: 0; -EBUSY if it is not the arena's address and size; -ENOMEM.
 */
int anl_vma_mmap(struct bpf_map *map, struct vm_area_struct *vma)
{
	struct anl_arena *arena = container_of(map->ops, struct anl_arena, ops);
	struct anl_vma *avma;

	/* All processes map the arena at the same address, in the same size. */
	if (vma->vm_start != arena->user_start || vma->vm_end != anl_uaddr(arena, arena->nr_slots))
		return -EBUSY;

	avma = anl_vma_alloc(GFP_KERNEL_ACCOUNT | __GFP_NOMEMALLOC);
	if (!avma)
		return -ENOMEM;
	anl_vma_add(arena, avma, vma);

	return 0;
}

/* A walk over the mappings that existed when it began. */
struct anl_walk {
	struct anl_vma cursor;
	u64 last;
};

static void anl_walk_begin(struct anl_arena *arena, struct anl_walk *walk)
{
	walk->cursor.mm = NULL;
	spin_lock(&arena->vmas.lock);
	walk->last = arena->vmas.seq;
	list_add(&walk->cursor.head, &arena->vmas.list);
	spin_unlock(&arena->vmas.lock);
}

static void anl_walk_end(struct anl_arena *arena, struct anl_walk *walk)
{
	spin_lock(&arena->vmas.lock);
	list_del(&walk->cursor.head);
	spin_unlock(&arena->vmas.lock);
}

/* The next mapping whose process still lives, with a reference on both, or NULL. */
static struct anl_vma *anl_walk_next(struct anl_arena *arena, struct anl_walk *walk)
{
	struct anl_vma *avma = &walk->cursor, *found = NULL;

	spin_lock(&arena->vmas.lock);
	list_for_each_entry_continue(avma, &arena->vmas.list, head) {
		if (avma->mm && avma->id > walk->last)
			break;
		if (!avma->mm || !mmget_not_zero(avma->mm))
			continue;
		refcount_inc(&avma->refs);
		list_move(&walk->cursor.head, &avma->head);
		found = avma;
		break;
	}
	spin_unlock(&arena->vmas.lock);

	return found;
}

/* The mapping, if it still exists. mmap_lock is held. */
static struct vm_area_struct *anl_vma_find(const struct anl_vma *avma)
{
	struct vm_area_struct *vma = find_vma(avma->mm, avma->start);

	return vma && anl_vma_is_ours(vma) && vma->vm_private_data == avma ? vma : NULL;
}

/* Passes that may fail to lock a mapping before its work waits for the lock. */
#define ANL_WAIT_AFTER 6

/* The drain worker did not get the mmap_lock of the mapping. */
static void anl_vma_missed(struct anl_vma *avma)
{
	u32 misses = READ_ONCE(avma->misses) + 1;

	WRITE_ONCE(avma->misses, misses);
	if (misses < ANL_WAIT_AFTER)
		return;
	refcount_inc(&avma->refs);
	if (!queue_work(anl_wait_wq, &avma->wait))
		anl_vma_put(avma);
}

/*
 * Wait for mmap_lock, however long it takes, and run a pass of the drain with it. The work
 * holds nothing else, and no drain waits for it. While the mapping exists, its file keeps
 * the map and so the arena.
 */
static void anl_wait_work(struct work_struct *work)
{
	struct anl_vma *avma = container_of(work, struct anl_vma, wait);

	if (mmget_not_zero(avma->mm)) {
		mmap_read_lock(avma->mm);
		if (anl_vma_find(avma))
			avma->arena->vmas.drain(avma->arena, avma->mm);
		mmap_read_unlock(avma->mm);
		mmput_async(avma->mm);
	}
	WRITE_ONCE(avma->misses, 0);
	anl_vma_put(avma);
}

static bool anl_any_mapped(const struct anl_arena *arena, const struct anl_span *spans, u32 nr)
{
	u32 i, end;

	for (i = 0; i < nr; i++) {
		end = spans[i].pgoff + spans[i].cnt;
		if (anl_next_mapped(arena, spans[i].pgoff, end) < end)
			return true;
	}

	return false;
}

/* Is a fault in flight on one of the slots? */
static bool anl_any_coming(const struct anl_arena *arena, const struct anl_span *spans, u32 nr)
{
	u32 i, pgoff, end;

	for (i = 0; i < nr; i++) {
		end = spans[i].pgoff + spans[i].cnt;
		pgoff = anl_next_mapped(arena, spans[i].pgoff, end);
		for (; pgoff < end; pgoff = anl_next_mapped(arena, pgoff + 1, end))
			if (anl_slot_users(arena, pgoff) == ANL_USERS_COMING)
				return true;
	}

	return false;
}

/* Zap the slots that users map, neighbours together. mmap_lock is held for read. */
static void anl_zap_vma(const struct anl_arena *arena, struct vm_area_struct *vma,
			const struct anl_span *spans, u32 nr)
{
	u32 i, pgoff, end, last;

	for (i = 0; i < nr; i++) {
		end = spans[i].pgoff + spans[i].cnt;
		for (pgoff = spans[i].pgoff; (pgoff = anl_next_mapped(arena, pgoff, end)) < end;
		     pgoff = last) {
			last = pgoff + 1;
			while (last < end && anl_slot_users(arena, last) != ANL_USERS_NONE)
				last++;
			anl_zap_user(vma, anl_uaddr(arena, pgoff),
				     (unsigned long)(last - pgoff) << PAGE_SHIFT);
			cond_resched();
		}
	}
}

/* Sleep for a moment, if any time to wait is left. */
static bool anl_try_nap(struct anl_reach *reach)
{
	if (reach->naps <= 0)
		return false;
	reach->naps--;
	anl_nap(50, 500);

	return true;
}

static bool anl_try_mmap_lock(struct mm_struct *mm, struct anl_reach *reach)
{
	while (!mmap_read_trylock(mm))
		if (!anl_try_nap(reach))
			return false;

	return true;
}

/* Returns 0, or -EBUSY if the mmap_lock of the mapping was unavailable. */
static int anl_zap_one(const struct anl_arena *arena, struct anl_vma *avma,
		       const struct anl_span *spans, u32 nr, struct anl_reach *reach)
{
	bool held = avma->mm == reach->held;
	struct vm_area_struct *vma;

	if (!held && !anl_try_mmap_lock(avma->mm, reach)) {
		if (reach->worker)
			anl_vma_missed(avma);
		return -EBUSY;
	}
	vma = anl_vma_find(avma);
	if (vma)
		anl_zap_vma(arena, vma, spans, nr);
	if (!held)
		mmap_read_unlock(avma->mm);
	if (reach->worker)
		WRITE_ONCE(avma->misses, 0);

	return 0;
}

/**
 * anl_zap_spans() - remove slots from every user mapping
 * @arena: the arena
 * @spans: runs of slots that the caller is retiring; none of them is live
 * @nr: number of runs
 * @reach: how long to wait, in total, for mmap_lock and for faults in flight
 *
 * Zaps only what is mapped, and stops when nothing is mapped any more. A process that is
 * exiting is left alone: nothing runs in it any more, and its PTEs hold references of their
 * own. A mapping that appears meanwhile has no PTEs yet, and gets none.
 *
 * Context: process context, may sleep, and may hold mmap_lock. Tries mmap_lock for
 * read, one process at a time, and allocates nothing.
 * Return: 0 if user space can reach none of the slots. Otherwise -EBUSY, and
 * anl_slot_users() tells which ones it may reach.
 */
int anl_zap_spans(struct anl_arena *arena, const struct anl_span *spans, u32 nr,
		  struct anl_reach *reach)
{
	int err = 0;
	struct anl_walk walk;
	struct anl_vma *avma;

	if (!anl_any_mapped(arena, spans, nr))
		return 0;
	/* A fault in flight may map its page in a process that the walk has passed. */
	while (anl_any_coming(arena, spans, nr)) {
		if (!anl_try_nap(reach)) {
			err = -EBUSY;
			break;
		}
	}

	anl_walk_begin(arena, &walk);
	while (anl_any_mapped(arena, spans, nr) && (avma = anl_walk_next(arena, &walk))) {
		struct mm_struct *mm = avma->mm;

		err = anl_zap_one(arena, avma, spans, nr, reach) ?: err;
		anl_vma_put(avma);
		mmput_async(mm);
	}
	anl_walk_end(arena, &walk);

	return err && anl_any_mapped(arena, spans, nr) ? -EBUSY : 0;
}
