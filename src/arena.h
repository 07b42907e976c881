/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An adopted arena, and what the files of the module offer each other.
 *
 * Every page of the arena (a slot, numbered by its pgoff) is in exactly one of
 * these states; docs/design.md draws the transitions:
 *
 *	state     tree   live  dying  kernel PTE
 *	free      free   0     0      none (or the kernel's scratch page)
 *	claimed   taken  0     0      being filled by the one who claimed it
 *	spare     taken  0     0      none; waits in @spares to be claimed
 *	mapped    taken  1     0      the page
 *	reserved  taken  1     0      none
 *	dying     taken  0     1      still the page; none if it was reserved
 *	retiring  taken  0     0      being cleared by the one who took it
 *
 * The context that atomically clears a slot's bit in @live or @dying owns the
 * slot until it hands it on. Page tables and frees need no other lock; the tree
 * has its own.
 *
 * A user PTE is set only under the lock of the page (PG_locked), after the fault
 * has seen the slot live. So a slot that is not live, and whose page is neither
 * locked nor mapped, is out of reach of user space; see anl_slot_users().
 */
#ifndef ANL_ARENA_H
#define ANL_ARENA_H

#include <linux/bpf.h>
#include <linux/completion.h>
#include <linux/hrtimer.h>
#include <linux/irq_work.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mm.h>
#include <linux/rbtree.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "pool.h"
#include "range_tree_rqs.h"
#include "stat.h"

/* A run of slots. */
struct anl_span {
	u32 pgoff;
	u32 cnt;
};

/* Runs of slots that one TLB flush and one walk of the user mappings retire. */
struct anl_batch {
	u32 nr;
	u32 cap;
	u32 slots;	/* in all of them */
	u32 retired;	/* runs that have been in it */
	struct anl_span spans[];
};

#define ANL_BATCH_CAP \
	((u32)((PAGE_SIZE - sizeof(struct anl_batch)) / sizeof(struct anl_span)))

/* Slots that the tree gets back under one lock. */
#define ANL_RELEASE_SLOTS 2048u

/* Slots kept claimed, each of them one of several; see pool.c. */
#define ANL_NR_SPARES	16U
#define ANL_SPARE_CHOICE 4U
#define ANL_NO_SPARE	U32_MAX

/* Bits of anl_arena.kicked. */
#define ANL_KICK_DRAIN	BIT(0)
#define ANL_KICK_REFILL	BIT(1)

/**
 * struct anl_arena - what the module knows about an adopted arena
 * @ops: what map->ops points to; a copy of the stock ops with ours on top
 * @stock_ops: what map->ops pointed to
 * @map: the map; it owns us and frees us in map_free
 * @id: its id, which the map itself loses before it is freed
 * @objcg: whom its memory is charged to; the map drops its own reference before
 *	it is freed, while @refill_work may still run
 * @ready: set once, when adoption has finished
 * @user_start: user address of slot 0, in bytes
 * @kern_start: kernel address of slot 0, in bytes
 * @nr_slots: pages in the user mapping, and bits in @live and @dying
 * @nr_limit: pages that may be populated: @nr_slots or max_entries if less
 * @nr_populated: slots that hold a page
 * @tree: which slots are taken; locks itself
 * @tree_mem: memory of @tree
 * @live: slots whose owner is the user of the arena
 * @dying: slots waiting for the drain
 * @dying_sum: one bit per word of @dying that may be non-zero
 * @tables: the kernel's PTE tables of the arena, filled in adoption
 * @scratch: page that the kernel maps after a fault of its own, or NULL
 * @retire_seq: counts the batches whose PTEs were cleared; tells a fault that a
 *	live slot without a page is reserved, and was not just retired
 * @vma_lock: protects @vmas and @vma_seq; nests inside mmap_lock
 * @vmas: user mappings, struct anl_vma, in ascending order of their ids, and the
 *	cursors of walks
 * @vma_seq: last id given
 * @pool: pages ready for callers that cannot sleep
 * @spares: claimed slots for callers that meet the tree's lock on their own CPU
 * @spares_missing: one of @spares was taken
 * @kicked: what was asked for: a refill that has not begun, a drain that has not
 *	ended
 * @kick: takes work from any context to where the workqueue can be used
 * @pause: starts @drain_work after a moment
 * @drain_work: retires dying slots; delayed while they cannot be reached
 * @refill_work: fills @pool
 * @refill_after: end of the back-off of @refill_work, in jiffies; the worker's
 * @refill_delay: length of that back-off, 0 for none; the worker's
 * @drain_batch: memory of @drain_work
 * @retry: jiffies until @drain_work looks again at slots that it could not reach;
 *	the worker's
 * @draining: drains of the queue that are in progress
 * @kick_ns: when @drain_work was last asked for
 * @drain_ns_max: longest time that slots can have been in the queue; the worker's
 * @stat: counters, see stat.h
 * @stat_file: where people can read them
 * @seized: the stock kfuncs fail on the map, and mappings are ours from the start
 * @shared: other programs may have used the stock arena when it was seized
 * @adopt_work: adoption from the seize on; holds a reference on the map
 * @adopted: completed when @ready is set
 * @stock_ranges: root of the stock arena's tree of free ranges, taken in adoption
 *	and returned to it before it is freed; walked by adoption only
 * @stock_sizes: root of the same ranges by size
 */
struct anl_arena {
	struct bpf_map_ops ops;
	const struct bpf_map_ops *stock_ops;
	struct bpf_map *map;
	u32 id;
	struct obj_cgroup *objcg;
	bool ready;
	unsigned long user_start;
	unsigned long kern_start;
	u32 nr_slots;
	u32 nr_limit;
	atomic_long_t nr_populated;

	struct anl_tree tree;
	void *tree_mem;
	atomic_long_t *live;
	atomic_long_t *dying;
	atomic_long_t *dying_sum;
	pte_t **tables;
	struct page *scratch;

	atomic_t retire_seq;
	spinlock_t vma_lock;
	struct list_head vmas;
	u64 vma_seq;

	struct anl_pool pool;
	u32 spares[ANL_NR_SPARES];
	bool spares_missing;

	atomic_t kicked;
	struct irq_work kick;
	struct hrtimer pause;
	struct delayed_work drain_work;
	struct delayed_work refill_work;
	unsigned long refill_after;
	unsigned long refill_delay;
	struct anl_batch *drain_batch;
	unsigned long retry;
	atomic_t draining;
	u64 kick_ns;
	u64 drain_ns_max;

	struct anl_stat __percpu *stat;
	struct dentry *stat_file;

	bool seized;
	bool shared;
	struct work_struct adopt_work;
	struct completion adopted;
	struct rb_root_cached stock_ranges;
	struct rb_root_cached stock_sizes;
};

/**
 * struct anl_vma - a user mapping of an arena
 * @head: in the arena's list; an entry without @mm is the cursor of a walk
 * @refs: one of the mapping, one of each walk and work that uses it
 * @arena: the arena; valid as long as the mapping exists
 * @vma: what the mapping is to the kernel; valid as long as the mapping exists
 * @mm: its address space, of which a reference keeps the struct
 * @start: its user address, in bytes
 * @id: its place in the list
 * @misses: passes of the drain worker in a row that did not get mmap_lock
 * @wait: waits for mmap_lock when the drain worker has failed to get it too often
 * @stock_ops: what the stock arena had in vm_ops, NULL for a mapping of our own
 * @stock_private: what it had in vm_private_data
 */
struct anl_vma {
	struct list_head head;
	refcount_t refs;
	struct anl_arena *arena;
	struct vm_area_struct *vma;
	struct mm_struct *mm;
	unsigned long start;
	u64 id;
	u32 misses;
	struct work_struct wait;
	const struct vm_operations_struct *stock_ops;
	void *stock_private;
};

/**
 * struct anl_reach - how hard to try to reach the user mappings of slots
 * @naps: how often to sleep for a moment; all obstacles share this number
 * @held: address space whose mmap_lock the caller holds for read, or NULL
 * @worker: the caller is the drain worker, which can try again later
 * @stuck: slots that stay in the queue since they could not be reached
 */
struct anl_reach {
	int naps;
	struct mm_struct *held;
	bool worker;
	u32 stuck;
};

/* Can user space reach the page of a slot that is not live? */
enum anl_users {
	ANL_USERS_NONE,		/* no, and no fault will change that */
	ANL_USERS_MAPPED,	/* yes */
	ANL_USERS_COMING,	/* a fault is about to map the page, or to find the slot not live */
};

extern struct workqueue_struct *anl_refill_wq, *anl_drain_wq, *anl_wait_wq;

static inline unsigned long anl_kaddr(const struct anl_arena *arena, u32 pgoff)
{
	return arena->kern_start + ((unsigned long)pgoff << PAGE_SHIFT);
}

static inline unsigned long anl_uaddr(const struct anl_arena *arena, u32 pgoff)
{
	return arena->user_start + ((unsigned long)pgoff << PAGE_SHIFT);
}

static inline bool anl_is_live(const struct anl_arena *arena, u32 pgoff)
{
	return atomic_long_read(&arena->live[BIT_WORD(pgoff)]) & BIT_MASK(pgoff);
}

/* Is one of the spares, which are at the upper end, below @pgoff? */
static inline bool anl_spare_below(const struct anl_arena *arena, u32 pgoff)
{
	u32 i;

	if (pgoff + ANL_NR_SPARES * ANL_SPARE_CHOICE < arena->nr_limit)
		return false;
	for (i = 0; i < ANL_NR_SPARES; i++)
		if (READ_ONCE(arena->spares[i]) < pgoff)
			return true;

	return false;
}

/* Bits of word @w that lie in the slots [@pgoff, @pgoff + @cnt). */
static inline unsigned long anl_word_mask(u32 w, u32 pgoff, u32 cnt)
{
	unsigned long mask = ~0UL;

	if (w == BIT_WORD(pgoff))
		mask &= BITMAP_FIRST_WORD_MASK(pgoff);
	if (w == BIT_WORD(pgoff + cnt - 1))
		mask &= BITMAP_LAST_WORD_MASK(pgoff + cnt);

	return mask;
}

/**
 * anl_may_sleep() - may the caller of a kfunc sleep?
 *
 * The verifier specialises kfuncs by the program's sleepability only for
 * kfuncs of the kernel itself, so a kfunc of a module asks at run time.
 * Programs that may not sleep run under rcu_read_lock(), with preemption or
 * interrupts off, or in an interrupt; each shows in one of the three.
 */
static inline bool anl_may_sleep(void)
{
	return !preempt_count() && !irqs_disabled() && !rcu_preempt_depth();
}

/**
 * anl_nap() - sleep for a moment
 * @min_us: at least so many microseconds, unless somebody wakes us
 * @max_us: and not many more than these
 *
 * A BPF program keeps its task on its CPU. Where ordinary timers run in a thread of
 * that CPU, as with PREEMPT_RT, the thread stops before the CPU goes offline, which in
 * turn waits for tasks that cannot leave it. So this one is a timer of the hard
 * interrupt.
 *
 * Context: process context, may sleep.
 */
static inline void anl_nap(u32 min_us, u32 max_us)
{
	ktime_t time = ns_to_ktime((u64)min_us * NSEC_PER_USEC);

	__set_current_state(TASK_UNINTERRUPTIBLE);
	schedule_hrtimeout_range(&time, (u64)(max_us - min_us) * NSEC_PER_USEC,
				 HRTIMER_MODE_REL_HARD);
}

/* arena_pgtable.c */
int anl_pgtable_prefill(struct anl_arena *arena);
struct page *anl_pte_page(const struct anl_arena *arena, u32 pgoff);
u32 anl_next_pte(const struct anl_arena *arena, u32 pgoff, u32 end);
bool anl_map_page(struct anl_arena *arena, u32 pgoff, struct page *page);
u32 anl_map_pages(struct anl_arena *arena, u32 pgoff, u32 cnt, struct list_head *pages);
u32 anl_map_block(struct anl_arena *arena, u32 pgoff, struct page *page, u32 cnt);
bool anl_keep_stray(struct anl_arena *arena, u32 pgoff);
enum anl_users anl_slot_users(const struct anl_arena *arena, u32 pgoff);

/* What anl_unmap_spans() found. */
struct anl_unmapped {
	struct list_head pages;	/* the pages, linked through page->lru */
	u32 nr_pages;
};

void anl_unmap_spans(struct anl_arena *arena, const struct anl_span *spans, u32 nr,
		     struct anl_unmapped *unmapped);
void anl_put_pages(struct list_head *pages);

/* arena_free_deferred.c */
int anl_free_init(struct anl_arena *arena);
void anl_free_exit(struct anl_arena *arena);
void anl_kick(struct anl_arena *arena, int what);
void anl_set_live(struct anl_arena *arena, u32 pgoff, u32 cnt);
void anl_queue_slots(struct anl_arena *arena, u32 pgoff, u32 cnt);
u32 anl_free_queued(struct anl_arena *arena, u32 pgoff, u32 cnt);
void anl_release(struct anl_arena *arena, u32 pgoff, u32 cnt);
u32 anl_free_now(struct anl_arena *arena, u32 pgoff, u32 cnt);
void anl_drain_now(struct anl_arena *arena);
void anl_drain_reached(struct anl_arena *arena, struct mm_struct *mm);

u32 anl_spare_pop(struct anl_arena *arena);
bool anl_spares_release(struct anl_arena *arena, u32 pgoff, u32 cnt);
void anl_spares_fill(struct anl_arena *arena);
bool anl_populate(struct anl_arena *arena, u32 pgoff, u32 cnt, int nid);
struct page *anl_get_fault_page(struct anl_arena *arena);
void *anl_zalloc(struct anl_arena *arena, size_t size);
void __percpu *anl_zalloc_percpu(struct anl_arena *arena, size_t size);

/* vma.c */
int anl_vma_mmap(struct bpf_map *map, struct vm_area_struct *vma);
struct anl_vma *anl_vma_alloc(gfp_t gfp);
void anl_vma_takeover(struct anl_arena *arena, struct vm_area_struct *vma, struct anl_vma *avma);
bool anl_vma_is_ours(const struct vm_area_struct *vma);
bool anl_vma_is_stock(const struct vm_area_struct *vma);
bool anl_zap_spans(struct anl_arena *arena, const struct anl_span *spans, u32 nr,
		   struct anl_reach *reach);

/* arena_nolock.c */
struct anl_arena *anl_arena_of(struct bpf_map *map);
void *bpf_arena_nolock_alloc_pages(void *p__map, void *addr__ign, u32 page_cnt,
				   int node_id, u64 flags);
void bpf_arena_nolock_free_pages(void *p__map, void *ptr__ign, u32 page_cnt);
int bpf_arena_nolock_reserve_pages(void *p__map, void *ptr__ign, u32 page_cnt);

#endif
