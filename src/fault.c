// SPDX-License-Identifier: GPL-2.0
/*
 * Page faults of user space.
 *
 * A user PTE is set in one place, anl_fault_live(), with the page locked (PG_locked), after
 * the fault has seen the slot live. A free makes the slot not live first. If it then finds
 * the page neither locked nor mapped (anl_slot_users()), no user PTE exists and no fault
 * will set one. The free never waits for the lock: it looks, and a page that is locked, or
 * that cannot be unmapped, stays in the queue.
 *
 * While the page is locked nothing allocates in a way that reclaims, is throttled or runs
 * BPF programs. The page table was allocated before: the core fills @prealloc_pte before it
 * calls the handler. If MADV_DONTNEED removes the empty table in between (PT_RECLAIM),
 * vm_insert_page() allocates another one with PF_MEMALLOC set: that may use one page of the
 * emergency reserves, and does not sleep.
 *
 * A fault that finds its slot neither free nor live came in the middle of an allocation or
 * a free. It backs off and lets the access fault again. To back off it drops mmap_lock:
 * get_user_pages() would otherwise retry for ever with the lock held, and a queued writer
 * keeps the drain out. Where the lock cannot be dropped, the access fails after some
 * milliseconds.
 *
 * Owns nothing.
 * Context: process context, with mmap_lock held for read, never under the per-VMA lock.
 */
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "arena.h"
#include "compat.h"
#include "fault.h"
#include "trace.h"

/* With DEBUG_VM pmd_populate() of arm64 compares with init_mm, which is not exported. */
#define init_mm (*anl_init_mm)
#include <asm/pgalloc.h>
#undef init_mm

/* How often a fault that cannot drop mmap_lock tries. */
#define ANL_FAULT_TRIES 40

/*
 * May the fault be retried here, after a nap? If not, *@ret is what to return. Once
 * mmap_lock is dropped nothing pins the VMA or the arena, and only the grace period in
 * anl_exit() keeps this code. So the nap comes first.
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
 * Install the page table that the core has allocated, before the page is locked. The core
 * frees what is left in @prealloc_pte.
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
		/*
		 * Orders the contents of the table before the table. Pairs with the address
		 * dependency of a walk without a lock.
		 */
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
	/* Normally the table exists, see anl_install_table(). If not: no reclaim. */
	flags = memalloc_noreclaim_save();
	err = vm_insert_page(vmf->vma, addr, page);
	memalloc_noreclaim_restore(flags);
	if (err == -ENOMEM)
		return VM_FAULT_RETRY;

	return err && err != -EBUSY ? vmf_error(err) : VM_FAULT_NOPAGE;
}

/* How often to look whether another fault has unlocked the page. */
#define ANL_LOCK_SPINS 100

static bool anl_trylock_page(struct page *page)
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
 * the slot is changing, otherwise what the fault handler returns.
 */
static vm_fault_t anl_fault_live(struct anl_arena *arena, struct vm_fault *vmf, u32 pgoff)
{
	int seq = atomic_read(&arena->slots.retire_seq);
	vm_fault_t ret = VM_FAULT_RETRY;
	struct page *page;

	/* Orders @seq before the bit. Pairs with anl_slots_begin_retire(). */
	smp_rmb();
	if (!anl_slots_is_live(&arena->slots, pgoff))
		return 0;
	/* Orders the bit before the PTE. Pairs with anl_slots_set_live(). */
	smp_rmb();
	page = anl_pte_page(arena, pgoff);
	if (!page) {
		/*
		 * A live slot without a page is reserved, unless it was retired meanwhile.
		 * Orders the PTE before the counter. Pairs with anl_slots_begin_retire().
		 */
		smp_rmb();
		return atomic_read(&arena->slots.retire_seq) == seq ? VM_FAULT_SIGSEGV :
								      VM_FAULT_RETRY;
	}

	/* Until the page is locked, the slot may be retired and the page freed. */
	if (!get_page_unless_zero(page))
		return VM_FAULT_RETRY;
	if (anl_trylock_page(page)) {
		/*
		 * Orders the lock of the page before the bit. Pairs with
		 * anl_slots_take_live(): either we see that the slot is not live, or
		 * anl_slot_users() sees that the page is locked.
		 */
		smp_mb();
		if (anl_slots_is_live(&arena->slots, pgoff) && anl_pte_page(arena, pgoff) == page)
			ret = anl_insert(vmf, anl_uaddr(arena, pgoff), page);
		unlock_page(page);
	}
	put_page(page);

	return ret;
}

/* What a result of anl_fault_live() means; @mapped if the page is mapped now. */
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

/* One try. The result means nothing if @outcome is ANL_FAULT_AGAIN. */
static vm_fault_t anl_fault_try(struct anl_arena *arena, struct vm_fault *vmf,
				enum anl_fault *outcome)
{
	u32 pgoff = vmf->pgoff;
	struct page *page;
	vm_fault_t ret;

	*outcome = ANL_FAULT_AGAIN;
	/*
	 * Until adoption has imported the slots, their states mean nothing. Pairs with
	 * smp_store_release() in anl_adopt_work().
	 */
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

	/* Check first: an allocation would be wasted if the slot is busy. */
	*outcome = ANL_FAULT_AGAIN;
	if (!anl_slots_is_free(&arena->slots, pgoff) && !anl_slots_take_back(arena, pgoff, 1))
		return 0;
	page = anl_alloc_fault_page(arena);
	if (!page) {
		*outcome = ANL_FAULT_NO_MEMORY;
		return VM_FAULT_SIGBUS;
	}
	if (anl_slots_claim(&arena->slots, pgoff, 1)) {
		put_page(page);
		return 0;
	}
	if (!anl_map_block(arena, pgoff, page, 1)) {
		put_page(page);
		return 0;
	}
	anl_slots_set_live(&arena->slots, pgoff, 1);

	/* A BPF program may have freed it already. */
	ret = anl_fault_live(arena, vmf, pgoff);
	if (ret)
		*outcome = anl_fault_outcome(ret, ANL_FAULT_POPULATED);

	return ret;
}

/* The fault handler of our mappings. */
vm_fault_t anl_vm_fault(struct vm_fault *vmf)
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
