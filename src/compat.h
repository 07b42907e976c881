/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Differences between kernels, so that the rest of the module is written for one kernel.
 *
 * The choices depend on what the target kernel's headers, Module.symvers and BTF have.
 * scripts/gen-config.sh generates anl_config.h from the latter two.
 */
#ifndef ANL_COMPAT_H
#define ANL_COMPAT_H

#include <linux/bpf.h>
#include <linux/gfp.h>
#include <linux/hrtimer.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/rcupdate_trace.h>
#include <linux/sched/mm.h>

#include "anl_config.h"

/* Kfunc flags that only some kernels have; 0 on other kernels. */
#ifdef KF_TRUSTED_ARGS
#define ANL_KF_TRUSTED_ARGS KF_TRUSTED_ARGS
#else
#define ANL_KF_TRUSTED_ARGS 0
#endif
#ifdef KF_ARENA_RET
#define ANL_KF_ARENA_RET KF_ARENA_RET
#define ANL_KF_ARENA_ARG2 KF_ARENA_ARG2
#else
#define ANL_KF_ARENA_RET 0
#define ANL_KF_ARENA_ARG2 0
#endif
#ifdef KF_SPINLOCK_SAFE
#define ANL_KF_SPINLOCK_SAFE KF_SPINLOCK_SAFE
#else
#define ANL_KF_SPINLOCK_SAFE 0
#endif

/* Symbols that no kernel exports; see compat.c. */
extern struct mm_struct *anl_init_mm;
int anl_compat_init(void);
void anl_flush_tlb_kernel_range(unsigned long start, unsigned long end);

/*
 * Fill an empty kernel PTE. Returns false if the PTE is not empty.
 *
 * Kernels that install scratch pages have ptep_try_set(), because their fault handler
 * also fills empty PTEs, without a lock. On other kernels the owner of the slot is the
 * only writer of its PTE.
 *
 * Orders the zeroing of the page before the PTE, and the PTE before what the caller does
 * next. ptep_try_set() is a full barrier and waits until page table walks see the PTE.
 * set_pte() is no barrier, and arm64 defers that wait if the caller runs while the kernel
 * changes many PTEs (lazy MMU mode).
 */
static inline bool anl_pte_try_set(pte_t *ptep, pte_t pte)
{
#ifdef ptep_try_set
	return ptep_try_set(ptep, pte);
#else
	if (!pte_none(ptep_get(ptep)))
		return false;
	/* Pairs with the address dependency of an access through the PTE. */
	smp_wmb();
	set_pte(ptep, pte);
#ifdef CONFIG_ARM64
	dsb(ishst);
	isb();
#endif
	return true;
#endif
}

/*
 * Drop the arena's reference on @nr adjacent pages, each of which was allocated for itself or
 * split off a block. Pages with a memory error do not return to the free lists.
 *
 * Where the kernel can do so, it frees them in blocks, which is several times cheaper. Older
 * kernels have a free_contig_range() that does not, and warns about pages with other references.
 */
static inline void anl_put_run(struct page *page, u32 nr)
{
#ifdef ANL_HAVE_FREE_BLOCKS
	if (nr > 1) {
		free_contig_range(page_to_pfn(page), nr);
		return;
	}
#endif
	for (; nr; nr--)
		__free_page(page++);
}

/*
 * Before a batch of pages is freed, the first one of a list or a later one. Where they are freed
 * one by one, a CPU returns the more of them at once to the free lists, with interrupts off, the
 * more it has freed without an allocation: up to two thousand. Each allocation halves that.
 */
static inline void anl_put_pause(int nid, bool first)
{
#ifndef ANL_HAVE_FREE_BLOCKS
	int n = first ? CONFIG_PCP_BATCH_SCALE_MAX : 1;
	struct page *page;

	while (n-- && (page = alloc_pages_node(nid, __GFP_NOMEMALLOC | __GFP_NOWARN, 0)))
		__free_page(page);
#endif
}

/* Set up a timer with a relative expiry, whose callback runs in hard interrupt context. */
static inline void anl_timer_setup(struct hrtimer *timer,
				   enum hrtimer_restart (*fn)(struct hrtimer *))
{
#ifdef ANL_HAVE_HRTIMER_SETUP
	hrtimer_setup(timer, fn, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
#else
	hrtimer_init(timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	timer->function = fn;
#endif
}

static inline void anl_zap_user(struct vm_area_struct *vma, unsigned long addr,
				unsigned long size)
{
#ifdef ANL_HAVE_ZAP_VMA_RANGE
	zap_vma_range(vma, addr, size);
#else
	zap_page_range_single(vma, addr, size, NULL);
#endif
}

/*
 * A page for callers in any context. NULL on kernels without alloc_pages_nolock().
 *
 * Where the function has no gfp argument (6.15 to 6.17), it charges every page. If
 * @account is 0, it charges the memcg of the current task.
 */
static inline struct page *anl_alloc_page_nolock(gfp_t account, int nid)
{
#if defined(ANL_ALLOC_PAGES_NOLOCK_GFP)
	return alloc_pages_nolock(account, nid, 0);
#elif defined(ANL_HAVE_ALLOC_PAGES_NOLOCK)
	return alloc_pages_nolock(nid, 0);
#else
	return NULL;
#endif
}

/* Can alloc_pages_nolock() serve the caller? */
static inline bool anl_may_alloc_nolock(void)
{
#if defined(ANL_ALLOC_PAGES_NOLOCK_GFP) || defined(ANL_HAVE_ALLOC_PAGES_NOLOCK)
	return !IS_ENABLED(CONFIG_PREEMPT_RT) || (!in_nmi() && !in_hardirq());
#else
	return false;
#endif
}

#ifdef CONFIG_MEMCG
/* The objcg that pays for a map's memory, with a reference, or NULL. */
static inline struct obj_cgroup *anl_map_get_objcg(const struct bpf_map *map)
{
	if (map->objcg)
		obj_cgroup_get(map->objcg);
	return map->objcg;
}

static inline void anl_objcg_put(struct obj_cgroup *objcg)
{
	if (objcg)
		obj_cgroup_put(objcg);
}

/*
 * The memcg of an objcg, NULL for the root. The first function takes a reference, for
 * callers that sleep. The result of the second one is valid in an RCU read-side critical
 * section only. It takes no reference, since an NMI must not drop the last one.
 */
static inline struct mem_cgroup *anl_objcg_get_memcg(struct obj_cgroup *objcg)
{
	return objcg ? get_mem_cgroup_from_objcg(objcg) : NULL;
}

static inline struct mem_cgroup *anl_objcg_memcg_rcu(struct obj_cgroup *objcg)
{
	return objcg ? obj_cgroup_memcg(objcg) : NULL;
}

/* Does the current task belong to @memcg or to a descendant of it? NULL is the root. */
static inline bool anl_task_in_memcg(struct mem_cgroup *memcg)
{
	bool in;

	if (!memcg)
		return true;
	rcu_read_lock();
	in = mem_cgroup_is_descendant(mem_cgroup_from_task(current), memcg);
	rcu_read_unlock();

	return in;
}
#else
/* Without CONFIG_MEMCG maps have no objcg, and nothing is charged. */
static inline struct obj_cgroup *anl_map_get_objcg(const struct bpf_map *map)
{
	return NULL;
}

static inline void anl_objcg_put(struct obj_cgroup *objcg)
{
}

static inline struct mem_cgroup *anl_objcg_get_memcg(struct obj_cgroup *objcg)
{
	return NULL;
}

static inline struct mem_cgroup *anl_objcg_memcg_rcu(struct obj_cgroup *objcg)
{
	return NULL;
}

static inline bool anl_task_in_memcg(struct mem_cgroup *memcg)
{
	return true;
}
#endif

/* Parameters of a list_lru_walk_cb. Older kernels pass the lock of the node. */
#ifdef ANL_HAVE_LIST_LRU_ONE_LOCK
#define ANL_LRU_WALK_ARGS(item, arg) \
	struct list_head *item, struct list_lru_one *list, void *arg
#else
#define ANL_LRU_WALK_ARGS(item, arg) \
	struct list_head *item, struct list_lru_one *list, spinlock_t *lock, void *arg
#endif

/*
 * True inside a sleepable BPF program, where waiting for a tasks-trace grace period would
 * deadlock. Readers of 7.x that trc_reader_nesting does not count have current->bpf_ctx.
 */
static inline bool anl_in_trace_reader(void)
{
	return READ_ONCE(current->trc_reader_nesting) > 0 || READ_ONCE(current->bpf_ctx);
}

#endif
