/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_VMA_H
#define ANL_VMA_H

#include <linux/list.h>
#include <linux/mm_types.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

struct anl_arena;
struct anl_span;
struct bpf_map;

/**
 * struct anl_vmas - the user mappings of an arena
 * @lock: protects the other members; nests inside mmap_lock
 * @list: struct anl_vma in ascending order of their ids, and the cursors of walks
 * @seq: last id given
 * @drain: retires the queue for a work that holds the mmap_lock of a mapping; constant
 */
struct anl_vmas {
	spinlock_t lock;
	struct list_head list;
	u64 seq;
	void (*drain)(struct anl_arena *arena, struct mm_struct *mm);
};

/**
 * struct anl_vma - a user mapping of an arena
 * @head: in the arena's list; an entry without @mm is the cursor of a walk
 * @refs: one of the mapping, one of each walk and work that uses it
 * @arena: the arena; valid as long as the mapping exists
 * @vma: the kernel's view of the mapping; valid as long as the mapping exists
 * @mm: its address space; a reference keeps the struct
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
 * @stuck: slots that stay in the queue because they could not be reached
 */
struct anl_reach {
	int naps;
	struct mm_struct *held;
	bool worker;
	u32 stuck;
};

void anl_vmas_init(struct anl_arena *arena,
		   void (*drain)(struct anl_arena *arena, struct mm_struct *mm));
int anl_vma_mmap(struct bpf_map *map, struct vm_area_struct *vma);
struct anl_vma *anl_vma_alloc(gfp_t gfp);
void anl_vma_adopt(struct anl_arena *arena, struct vm_area_struct *vma, struct anl_vma *avma);
bool anl_vma_is_ours(const struct vm_area_struct *vma);
bool anl_vma_is_stock(const struct vm_area_struct *vma);
int anl_zap_spans(struct anl_arena *arena, const struct anl_span *spans, u32 nr,
		  struct anl_reach *reach);

#endif
