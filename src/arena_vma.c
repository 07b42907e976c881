// SPDX-License-Identifier: GPL-2.0
/*
 * User mappings of an arena: mmap, faults, and taking pages away again.
 *
 * Owns: @vmas, the list of user mappings, under @vma_lock. The lock nests
 * inside mmap_lock, because close() runs under that. Mappings that existed
 * before adoption were on the stock arena's list and stay there: their
 * struct anl_vma keeps what the stock arena had in vm_private_data and calls
 * the stock close(), so the stock list is right at any time.
 *
 * A user PTE is only ever set under fault_sem held for read, from a slot that
 * is live. Retiring a slot first makes it not live, then waits for fault_sem,
 * then zaps. So no user PTE of a freed page survives the free. A fault that
 * finds its slot neither free nor live has come in the middle of somebody's
 * allocation or free; it backs off and lets the access fault again.
 *
 * Faults run in process context with mmap_lock held for read, never under the
 * per-VMA lock. To back off they give up mmap_lock, since the drain that they wait
 * for may want it: get_user_pages() would otherwise try for ever with the lock
 * held, and a writer that waits keeps the drain out. Where the lock cannot be given
 * up, the access fails after some milliseconds.
 */
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "arena.h"
#include "compat.h"
#include "trace.h"

static void anl_vma_list(struct anl_arena *a, struct anl_vma *v, struct vm_area_struct *vma)
{
	v->arena = a;
	v->vma = vma;
	vma->vm_private_data = v;
	mutex_lock(&a->vma_lock);
	v->id = ++a->vma_seq;
	list_add_tail(&v->head, &a->vmas);
	mutex_unlock(&a->vma_lock);
}

/*
 * A copy of a mapping: for a moment in an mremap() that will be refused, or in the
 * child of a process that had VM_DONTCOPY removed, which 6.12 allows with
 * MADV_DOFORK. Whose pages are to be zapped has to be on the list, and there is no
 * way to refuse.
 */
static void anl_vm_open(struct vm_area_struct *vma)
{
	struct anl_vma *from = vma->vm_private_data;
	struct anl_vma *v = kzalloc(sizeof(*v), GFP_KERNEL | __GFP_NOFAIL);

	v->stock_ops = from->stock_ops;
	v->stock_private = from->stock_private;
	if (v->stock_ops) {
		vma->vm_private_data = v->stock_private;
		v->stock_ops->open(vma);
	}
	anl_vma_list(from->arena, v, vma);
}

static void anl_vm_close(struct vm_area_struct *vma)
{
	struct anl_vma *v = vma->vm_private_data;

	mutex_lock(&v->arena->vma_lock);
	list_del(&v->head);
	mutex_unlock(&v->arena->vma_lock);

	vma->vm_private_data = v->stock_private;
	if (v->stock_ops)
		v->stock_ops->close(vma);
	kfree(v);
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
 * Map the page of a live slot. Returns 0 if the slot is not live, otherwise
 * what the fault handler has to return.
 */
static vm_fault_t anl_fault_live(struct anl_arena *a, struct vm_fault *vmf, u32 pgoff)
{
	unsigned long addr = anl_uaddr(a, pgoff);
	vm_fault_t ret = 0;
	struct page *page;
	int err;

	down_read(&a->fault_sem);
	if (anl_is_live(a, pgoff)) {
		/* Pairs with the barrier in anl_set_live(). */
		smp_rmb();
		page = anl_pte_page(a, pgoff);
		if (!page) {
			ret = VM_FAULT_SIGSEGV;
		} else {
			err = vm_insert_page(vmf->vma, addr, page);
			ret = err && err != -EBUSY ? vmf_error(err) : VM_FAULT_NOPAGE;
		}
	}
	up_read(&a->fault_sem);

	return ret;
}

/* What the fault handler has to return; anything if @outcome is ANL_FAULT_AGAIN. */
static vm_fault_t anl_fault(struct anl_arena *a, struct vm_fault *vmf, enum anl_fault *outcome)
{
	u32 pgoff = vmf->pgoff;
	struct page *page;
	vm_fault_t ret;

	*outcome = ANL_FAULT_AGAIN;
	/* Before adoption has imported what exists, nothing can be said. */
	if (!smp_load_acquire(&a->ready)) {
		if (!anl_in_trace_reader())
			return 0;
		/* Adoption may be waiting for this very program. */
		*outcome = ANL_FAULT_SEGV;
		return VM_FAULT_SIGBUS;
	}
	*outcome = ANL_FAULT_SEGV;
	if (vmf->pgoff >= a->nr_slots)
		return VM_FAULT_SIGSEGV;

	ret = anl_fault_live(a, vmf, pgoff);
	if (ret == VM_FAULT_NOPAGE)
		*outcome = ANL_FAULT_MAPPED;
	else if (ret == VM_FAULT_OOM)
		*outcome = ANL_FAULT_NO_MEMORY;
	if (ret)
		return ret;
	if (pgoff >= a->nr_limit || a->map->map_flags & BPF_F_SEGV_ON_FAULT)
		return VM_FAULT_SIGSEGV;

	/* Do not allocate only to find the slot busy. */
	*outcome = ANL_FAULT_AGAIN;
	if (!rtq_is_free(&a->rt, pgoff) && !anl_spares_release(a, pgoff, 1))
		return 0;
	page = anl_get_fault_page(a);
	if (!page) {
		*outcome = ANL_FAULT_NO_MEMORY;
		return VM_FAULT_SIGBUS;
	}
	if (rtq_claim(&a->rt, pgoff, 1)) {
		put_page(page);
		return 0;
	}
	anl_map_block(a, pgoff, page, 1);
	anl_set_live(a, pgoff, 1);

	/* Somebody may have freed it already. */
	ret = anl_fault_live(a, vmf, pgoff);
	if (ret)
		*outcome = ANL_FAULT_POPULATED;

	return ret;
}

static vm_fault_t anl_vm_fault(struct vm_fault *vmf)
{
	struct anl_vma *v = vmf->vma->vm_private_data;
	struct anl_arena *a = v->arena;
	int tries = ANL_FAULT_TRIES;
	enum anl_fault outcome;
	vm_fault_t ret;

	do {
		ret = anl_fault(a, vmf, &outcome);
		anl_count(a, faults[outcome], 1);
		trace_arena_nolock_fault(a, vmf->pgoff, outcome);
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

static void anl_vma_add(struct anl_arena *a, struct anl_vma *v, struct vm_area_struct *vma)
{
	/*
	 * The stock arena sets the same two. VM_MIXEDMAP is what
	 * vm_insert_page() wants to see.
	 */
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTCOPY | VM_MIXEDMAP);
	anl_vma_list(a, v, vma);
	/* Pairs with the load in anl_vma_is_ours(). */
	smp_store_release(&vma->vm_ops, &anl_vm_ops);
}

/*
 * Take a mapping over from the stock arena.
 * Context: process context, mmap_lock of its mm held for write. Cannot fail.
 */
void anl_vma_takeover(struct anl_arena *a, struct vm_area_struct *vma)
{
	struct anl_vma *v = kzalloc(sizeof(*v), GFP_KERNEL | __GFP_NOFAIL);

	mmap_assert_write_locked(vma->vm_mm);
	v->stock_ops = vma->vm_ops;
	v->stock_private = vma->vm_private_data;
	anl_vma_add(a, v, vma);
}

/* map_mmap of an adopted arena: mmap_lock is held for write. */
int anl_vma_mmap(struct bpf_map *map, struct vm_area_struct *vma)
{
	struct anl_arena *a = container_of(map->ops, struct anl_arena, ops);
	struct anl_vma *v;

	/* All processes map the arena at the same address, in the same size. */
	if (vma->vm_start != a->user_start || vma->vm_end != anl_uaddr(a, a->nr_slots))
		return -EBUSY;

	v = kzalloc(sizeof(*v), GFP_KERNEL);
	if (!v)
		return -ENOMEM;
	anl_vma_add(a, v, vma);

	return 0;
}

/* The first mapping with an id above @id whose process still lives, and its mm. */
static struct mm_struct *anl_next_mm(struct anl_arena *a, u64 *id)
{
	struct mm_struct *mm = NULL;
	struct anl_vma *v;

	mutex_lock(&a->vma_lock);
	list_for_each_entry(v, &a->vmas, head) {
		if (v->id <= *id || !mmget_not_zero(v->vma->vm_mm))
			continue;
		mm = v->vma->vm_mm;
		*id = v->id;
		break;
	}
	mutex_unlock(&a->vma_lock);

	return mm;
}

/* How often a caller that may hold mmap_lock itself tries to get it. */
#define ANL_MMAP_TRIES 40

static bool anl_mmap_read_lock(struct mm_struct *mm, bool may_block)
{
	int tries = ANL_MMAP_TRIES;

	if (may_block) {
		mmap_read_lock(mm);
		return true;
	}
	while (!mmap_read_trylock(mm)) {
		if (!--tries)
			return false;
		anl_nap(50, 500);
	}

	return true;
}

/**
 * anl_zap_spans() - remove slots from every user mapping
 * @a: the arena
 * @spans: runs of slots that the caller is retiring; no fault can map them
 * @nr: number of runs
 * @may_block: wait for mmap_lock as long as it takes; otherwise give up after
 *	some milliseconds, since the caller may be holding it
 *
 * A process that is exiting is left alone: nothing runs in it any more, and
 * its PTEs hold references of their own. A mapping that appears meanwhile has
 * no PTEs yet.
 *
 * Context: process context. Takes mmap_lock for read, one process at a time.
 * Return: false if @may_block is false and a process could not be locked.
 */
bool anl_zap_spans(struct anl_arena *a, const struct anl_span *spans, u32 nr,
		   bool may_block)
{
	struct vm_area_struct *vma;
	struct mm_struct *mm;
	u64 id = 0;
	u32 i;

	while ((mm = anl_next_mm(a, &id))) {
		if (!anl_mmap_read_lock(mm, may_block)) {
			mmput_async(mm);
			return false;
		}
		vma = find_vma(mm, a->user_start);
		if (vma && anl_vma_is_ours(vma) &&
		    ((struct anl_vma *)vma->vm_private_data)->arena == a) {
			for (i = 0; i < nr; i++)
				anl_zap_user(vma, anl_uaddr(a, spans[i].pgoff),
					     (unsigned long)spans[i].cnt << PAGE_SHIFT);
		}
		mmap_read_unlock(mm);
		mmput_async(mm);
	}

	return true;
}
