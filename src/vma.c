// SPDX-License-Identifier: GPL-2.0
/*
 * User mappings of an arena: mmap, faults, and taking pages away again.
 *
 * Owns: @vmas, the list of user mappings, under @vma_lock, a spinlock that nests
 * inside mmap_lock, because close() runs under that. A walk keeps its place in the
 * list by a cursor, and the mapping that it has found by a reference. Mappings that
 * existed before adoption were on the stock arena's list and stay there: their
 * struct anl_vma keeps what the stock arena had in vm_private_data and calls the
 * stock close(), so the stock list is right at any time.
 *
 * A user PTE is set in one place, with the page locked (PG_locked), after the fault
 * has seen the slot live. A free makes the slot not live first. So if it then finds
 * the page neither locked nor mapped (anl_slot_users()), no user PTE exists and no
 * fault will set one. The free never waits for the lock: it looks, and a page that
 * is locked or that cannot be unmapped stays in the queue.
 *
 * With the page locked nothing allocates in a way that reclaims, is throttled or runs
 * BPF programs. The page table has been allocated before: by the core, which fills
 * @prealloc_pte before it calls the handler. If MADV_DONTNEED takes the empty table
 * away in between (PT_RECLAIM), vm_insert_page() allocates another one, and does so
 * with PF_MEMALLOC set: it may use one page of the reserves, and does not sleep.
 *
 * A fault that finds its slot neither free nor live has come in the middle of an
 * allocation or a free; it backs off and lets the access fault again. Faults run in
 * process context with mmap_lock held for read, never under the per-VMA lock. To back
 * off they drop mmap_lock, since get_user_pages() would otherwise retry for ever with
 * the lock held, and a queued writer keeps the drain out. Where the lock cannot be
 * dropped, the access fails after some milliseconds.
 *
 * Zapping takes mmap_lock for read, by trylock. A process whose lock cannot be had is
 * left out, and only the slots that are mapped somewhere wait for it. The drain worker
 * tries again later. When it has failed for a mapping ANL_WAIT_AFTER times in a row, a work
 * item of that mapping waits for the lock in its stead, so that a process which always
 * has a writer queued cannot keep its pages in the queue for ever.
 */
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <asm/pgalloc.h>

#include "arena.h"
#include "compat.h"
#include "trace.h"

static void anl_wait_work(struct work_struct *work);

/**
 * anl_vma_alloc() - what the module needs to know a mapping
 * @gfp: how to allocate
 *
 * Context: process context, may sleep.
 * Return: memory for anl_vma_takeover() or kfree(), or NULL.
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
	spin_lock(&arena->vma_lock);
	avma->id = ++arena->vma_seq;
	list_add_tail(&avma->head, &arena->vmas);
	spin_unlock(&arena->vma_lock);
}

/*
 * A copy of a mapping: for a moment in an mremap() that will be refused, or in the
 * child of a process that had VM_DONTCOPY removed, which 6.12 allows with
 * MADV_DOFORK. A mapping whose pages are to be zapped must be on the list, and open()
 * cannot refuse. This is the one allocation that may use the reserves: a task that
 * the OOM killer has chosen must not wait here for the memory that it holds.
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

	spin_lock(&avma->arena->vma_lock);
	list_del(&avma->head);
	spin_unlock(&avma->arena->vma_lock);

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

/* How often a fault that cannot give up mmap_lock tries. */
#define ANL_FAULT_TRIES 40

/*
 * May the fault be tried again here, after a nap? If not, *@ret is what to return.
 * With mmap_lock given up, nothing keeps the mapping, nor the arena, nor, but for
 * the wait in module exit, this code. So the nap comes before.
 */
static bool anl_fault_again(struct vm_fault *vmf, int *tries, vm_fault_t *ret)
{
	if (vmf->flags & FAULT_FLAG_ALLOW_RETRY) {
		*ret = VM_FAULT_RETRY;
		if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
			return false;
		anl_nap(20, 100);
		mmap_read_unlock(vmf->vma->vm_mm);
		return false;
	}
	*ret = VM_FAULT_SIGBUS;
	if (!--*tries || fatal_signal_pending(current))
		return false;
	anl_nap(50, 500);

	return true;
}

/*
 * Put the page table that the core has allocated in place, before the page is locked.
 * The core frees what is left in @prealloc_pte.
 */
static void anl_install_table(struct vm_fault *vmf)
{
	struct mm_struct *mm = vmf->vma->vm_mm;
	spinlock_t *ptl;

	if (!vmf->prealloc_pte)
		return;
	ptl = pmd_lock(mm, vmf->pmd);
	if (pmd_none(*vmf->pmd)) {
		mm_inc_nr_ptes(mm);
		/* Walks without a lock see the table's contents if they see the table. */
		smp_wmb();
		pmd_populate(mm, vmf->pmd, vmf->prealloc_pte);
		vmf->prealloc_pte = NULL;
	}
	spin_unlock(ptl);
}

/* Set the user PTE. The page is locked, and its slot was live after that. */
static vm_fault_t anl_insert(struct vm_fault *vmf, unsigned long addr, struct page *page)
{
	unsigned int flags;
	int err;

	if (PageHWPoison(page))
		return VM_FAULT_HWPOISON;
	/* Normally the table is there, see anl_install_table(). If not: no reclaim. */
	flags = memalloc_noreclaim_save();
	err = vm_insert_page(vmf->vma, addr, page);
	memalloc_noreclaim_restore(flags);
	if (err == -ENOMEM)
		return VM_FAULT_RETRY;

	return err && err != -EBUSY ? vmf_error(err) : VM_FAULT_NOPAGE;
}

/* How often to look whether a page that another fault has locked is unlocked again. */
#define ANL_LOCK_SPINS 100

static bool anl_lock_page(struct page *page)
{
	int spins = ANL_LOCK_SPINS;

	while (!trylock_page(page)) {
		if (!spins--)
			return false;
		cpu_relax();
	}

	return true;
}

/*
 * Map the page of a live slot. Returns 0 if the slot is not live, VM_FAULT_RETRY if
 * the slot is changing, otherwise what the fault handler has to return.
 */
static vm_fault_t anl_fault_live(struct anl_arena *arena, struct vm_fault *vmf, u32 pgoff)
{
	int seq = atomic_read(&arena->retire_seq);
	vm_fault_t ret = VM_FAULT_RETRY;
	struct page *page;

	/* Pairs with the barrier in anl_retire_spans(). */
	smp_rmb();
	if (!anl_is_live(arena, pgoff))
		return 0;
	/* Pairs with the barrier in anl_set_live(). */
	smp_rmb();
	page = anl_pte_page(arena, pgoff);
	if (!page) {
		/* Live without a page is reserved, unless a retire came in between. */
		smp_rmb();
		return atomic_read(&arena->retire_seq) == seq ? VM_FAULT_SIGSEGV : VM_FAULT_RETRY;
	}

	/* The slot may be retired, and its page freed, at any time before it is locked. */
	if (!get_page_unless_zero(page))
		return VM_FAULT_RETRY;
	if (anl_lock_page(page)) {
		/*
		 * Pairs with the atomic in anl_take_live(): either we see that the slot
		 * is not live, or anl_slot_users() sees that the page is locked.
		 */
		smp_mb();
		if (anl_is_live(arena, pgoff) && anl_pte_page(arena, pgoff) == page)
			ret = anl_insert(vmf, anl_uaddr(arena, pgoff), page);
		unlock_page(page);
	}
	put_page(page);

	return ret;
}

/* What anl_fault_live() has returned, and what it is called if the page is mapped. */
static enum anl_fault anl_fault_outcome(vm_fault_t ret, enum anl_fault mapped)
{
	switch (ret) {
	case VM_FAULT_NOPAGE:
		return mapped;
	case VM_FAULT_RETRY:
		return ANL_FAULT_AGAIN;
	case VM_FAULT_HWPOISON:
		return ANL_FAULT_POISONED;
	default:
		return ANL_FAULT_SEGV;
	}
}

/* What the fault handler has to return; anything if @outcome is ANL_FAULT_AGAIN. */
static vm_fault_t anl_fault_try(struct anl_arena *arena, struct vm_fault *vmf, enum anl_fault *outcome)
{
	u32 pgoff = vmf->pgoff;
	struct page *page;
	vm_fault_t ret;

	*outcome = ANL_FAULT_AGAIN;
	/* Before adoption has imported what exists, nothing can be said. */
	if (!smp_load_acquire(&arena->ready)) {
		if (!anl_in_trace_reader())
			return 0;
		/* Adoption may be waiting for this very program. */
		*outcome = ANL_FAULT_SEGV;
		return VM_FAULT_SIGBUS;
	}
	*outcome = ANL_FAULT_SEGV;
	if (vmf->pgoff >= arena->nr_slots)
		return VM_FAULT_SIGSEGV;

	anl_install_table(vmf);
	ret = anl_fault_live(arena, vmf, pgoff);
	if (ret) {
		*outcome = anl_fault_outcome(ret, ANL_FAULT_MAPPED);
		return ret;
	}
	if (pgoff >= arena->nr_limit || arena->map->map_flags & BPF_F_SEGV_ON_FAULT)
		return VM_FAULT_SIGSEGV;

	/* Do not allocate only to find the slot busy. */
	*outcome = ANL_FAULT_AGAIN;
	if (!anl_tree_is_free(&arena->tree, pgoff) && !anl_spares_release(arena, pgoff, 1))
		return 0;
	page = anl_get_fault_page(arena);
	if (!page) {
		*outcome = ANL_FAULT_NO_MEMORY;
		return VM_FAULT_SIGBUS;
	}
	if (anl_tree_claim(&arena->tree, pgoff, 1)) {
		put_page(page);
		return 0;
	}
	if (!anl_map_block(arena, pgoff, page, 1)) {
		put_page(page);
		return 0;
	}
	anl_set_live(arena, pgoff, 1);

	/* A BPF program may have freed it already. */
	ret = anl_fault_live(arena, vmf, pgoff);
	if (ret)
		*outcome = anl_fault_outcome(ret, ANL_FAULT_POPULATED);

	return ret;
}

static vm_fault_t anl_vm_fault(struct vm_fault *vmf)
{
	struct anl_vma *avma = vmf->vma->vm_private_data;
	struct anl_arena *arena = avma->arena;
	int tries = ANL_FAULT_TRIES;
	enum anl_fault outcome;
	vm_fault_t ret;

	do {
		ret = anl_fault_try(arena, vmf, &outcome);
		anl_count(arena, faults[outcome], 1);
		trace_arena_nolock_fault(arena, vmf->pgoff, outcome);
	} while (outcome == ANL_FAULT_AGAIN && anl_fault_again(vmf, &tries, &ret));

	return ret;
}

static const struct vm_operations_struct anl_vm_ops = {
	.open = anl_vm_open,
	.close = anl_vm_close,
	.may_split = anl_vm_may_split,
	.mremap = anl_vm_mremap,
	.fault = anl_vm_fault,
};

bool anl_vma_is_ours(const struct vm_area_struct *vma)
{
	/* Pairs with the store in anl_vma_add(). */
	return smp_load_acquire(&vma->vm_ops) == &anl_vm_ops;
}

/* Does the stock arena count this mapping? It cannot be closed meanwhile. */
bool anl_vma_is_stock(const struct vm_area_struct *vma)
{
	return !anl_vma_is_ours(vma) || ((struct anl_vma *)vma->vm_private_data)->stock_ops;
}

static void anl_vma_add(struct anl_arena *arena, struct anl_vma *avma, struct vm_area_struct *vma)
{
	/*
	 * The stock arena sets the same two. VM_MIXEDMAP is what
	 * vm_insert_page() wants to see.
	 */
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTCOPY | VM_MIXEDMAP);
	anl_vma_list(arena, avma, vma);
	/* Pairs with the load in anl_vma_is_ours(). */
	smp_store_release(&vma->vm_ops, &anl_vm_ops);
}

/**
 * anl_vma_takeover() - take a mapping over from the stock arena
 * @arena: the arena
 * @vma: the mapping
 * @avma: memory of anl_vma_alloc(), which is the mapping's from now on
 *
 * Context: process context, mmap_lock of its mm held for write. Cannot fail.
 */
void anl_vma_takeover(struct anl_arena *arena, struct vm_area_struct *vma, struct anl_vma *avma)
{
	bool inherited = !(vma->vm_flags & VM_DONTCOPY);

	mmap_assert_write_locked(vma->vm_mm);
	avma->stock_ops = vma->vm_ops;
	avma->stock_private = vma->vm_private_data;
	anl_vma_add(arena, avma, vma);
	/* The process has asked for that, with MADV_DOFORK. */
	if (inherited)
		vm_flags_clear(vma, VM_DONTCOPY);
}

/* map_mmap of an adopted arena: mmap_lock is held for write. */
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
	spin_lock(&arena->vma_lock);
	walk->last = arena->vma_seq;
	list_add(&walk->cursor.head, &arena->vmas);
	spin_unlock(&arena->vma_lock);
}

static void anl_walk_end(struct anl_arena *arena, struct anl_walk *walk)
{
	spin_lock(&arena->vma_lock);
	list_del(&walk->cursor.head);
	spin_unlock(&arena->vma_lock);
}

/* The next mapping whose process still lives, with a reference on both, or NULL. */
static struct anl_vma *anl_walk_next(struct anl_arena *arena, struct anl_walk *walk)
{
	struct anl_vma *avma = &walk->cursor, *found = NULL;

	spin_lock(&arena->vma_lock);
	list_for_each_entry_continue(avma, &arena->vmas, head) {
		if (avma->mm && avma->id > walk->last)
			break;
		if (!avma->mm || !mmget_not_zero(avma->mm))
			continue;
		refcount_inc(&avma->refs);
		list_move(&walk->cursor.head, &avma->head);
		found = avma;
		break;
	}
	spin_unlock(&arena->vma_lock);

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

/* The drain worker did not get the mapping's mmap_lock. */
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
 * Wait for mmap_lock as long as it takes, and run a pass of the drain with it. The
 * work holds nothing else, and no drain waits for it. While the mapping exists, its
 * file keeps the map and so the arena.
 */
static void anl_wait_work(struct work_struct *work)
{
	struct anl_vma *avma = container_of(work, struct anl_vma, wait);

	if (mmget_not_zero(avma->mm)) {
		mmap_read_lock(avma->mm);
		if (anl_vma_find(avma))
			anl_drain_reached(avma->arena, avma->mm);
		mmap_read_unlock(avma->mm);
		mmput_async(avma->mm);
	}
	WRITE_ONCE(avma->misses, 0);
	anl_vma_put(avma);
}

/* The first of the slots [@pgoff, @end) that users map, or @end. */
static u32 anl_next_mapped(const struct anl_arena *arena, u32 pgoff, u32 end)
{
	for (; pgoff < end; pgoff++) {
		if (anl_slot_users(arena, pgoff) != ANL_USERS_NONE)
			break;
		if (!(pgoff % 1024))
			cond_resched();
	}

	return pgoff;
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

/* Sleep for a moment, if there is any left of the time to wait in. */
static bool anl_reach_nap(struct anl_reach *reach)
{
	if (reach->naps <= 0)
		return false;
	reach->naps--;
	anl_nap(50, 500);

	return true;
}

static bool anl_mmap_read_lock(struct mm_struct *mm, struct anl_reach *reach)
{
	while (!mmap_read_trylock(mm))
		if (!anl_reach_nap(reach))
			return false;

	return true;
}

/* False if the mapping's mmap_lock could not be had. */
static bool anl_zap_one(const struct anl_arena *arena, struct anl_vma *avma,
			const struct anl_span *spans, u32 nr, struct anl_reach *reach)
{
	bool held = avma->mm == reach->held;
	struct vm_area_struct *vma;

	if (!held && !anl_mmap_read_lock(avma->mm, reach)) {
		if (reach->worker)
			anl_vma_missed(avma);
		return false;
	}
	vma = anl_vma_find(avma);
	if (vma)
		anl_zap_vma(arena, vma, spans, nr);
	if (!held)
		mmap_read_unlock(avma->mm);
	if (reach->worker)
		WRITE_ONCE(avma->misses, 0);

	return true;
}

/**
 * anl_zap_spans() - remove slots from every user mapping
 * @arena: the arena
 * @spans: runs of slots that the caller is retiring; none of them is live
 * @nr: number of runs
 * @reach: how long to wait for faults that are mapping one of the pages, and for
 *	mmap_lock, all in all
 *
 * Only what is mapped is zapped, and no process is looked at after the last mapping is
 * gone. A process that is exiting is left alone: nothing runs in it any more, and its
 * PTEs hold references of their own. A mapping that appears meanwhile has no PTEs yet,
 * and gets none.
 *
 * Context: process context, may sleep, and may hold mmap_lock. Tries mmap_lock for
 * read, one process at a time, and allocates nothing.
 * Return: true if user space can reach none of the slots. Otherwise anl_slot_users()
 * tells which ones it may reach.
 */
bool anl_zap_spans(struct anl_arena *arena, const struct anl_span *spans, u32 nr,
		   struct anl_reach *reach)
{
	bool all = true;
	struct anl_walk walk;
	struct anl_vma *avma;

	if (!anl_any_mapped(arena, spans, nr))
		return true;
	/* A fault in flight may map its page in a process that the walk has passed. */
	while (anl_any_coming(arena, spans, nr)) {
		if (!anl_reach_nap(reach)) {
			all = false;
			break;
		}
	}

	anl_walk_begin(arena, &walk);
	while (anl_any_mapped(arena, spans, nr) && (avma = anl_walk_next(arena, &walk))) {
		struct mm_struct *mm = avma->mm;

		all &= anl_zap_one(arena, avma, spans, nr, reach);
		anl_vma_put(avma);
		mmput_async(mm);
	}
	anl_walk_end(arena, &walk);

	return all || !anl_any_mapped(arena, spans, nr);
}
