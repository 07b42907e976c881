/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The state of every page of an arena.
 *
 * A page of the arena is called a slot and numbered by its pgoff. It is in exactly one of
 * these states; docs/design.md draws the transitions:
 *
 *	state     tree   live  dying  kernel PTE
 *	free      free   0     0      none, or the kernel's scratch page
 *	claimed   taken  0     0      being set by the context that claimed the slot
 *	spare     taken  0     0      none; the slot waits in @spares
 *	cached    taken  0     0      none; the slot has a bit in @cached
 *	mapped    taken  1     0      the page
 *	reserved  taken  1     0      none
 *	dying     taken  0     1      still the page; none if the slot was reserved
 *	retiring  taken  0     0      being cleared by the context that took the slot
 *
 *	from      to        by
 *	free      claimed   anl_slots_alloc(), anl_slots_claim()
 *	claimed   free      anl_slots_unclaim()
 *	claimed   spare     anl_spares_fill()
 *	spare     claimed   anl_spares_pop()
 *	spare     free      anl_spares_release()
 *	free      cached    anl_cached_fill()
 *	cached    claimed   anl_cached_pop()
 *	cached    free      anl_cached_release_group(), anl_cached_fill()
 *	claimed   mapped    anl_slots_set_live(), anl_slots_set_live_one(), after the PTE was set
 *	claimed   reserved  anl_slots_set_live(), without a page
 *	claimed   dying     anl_slots_queue(), when the PTE holds something unexpected
 *	live      dying     anl_slots_free(), anl_slots_free_one()
 *	live      retiring  anl_slots_take_live()
 *	dying     retiring  anl_slots_take_dying()
 *	dying     claimed   anl_slots_take_dying_one(), for the next owner of the page
 *	retiring  dying     anl_slots_put_dying(), when user space may still reach the page
 *	retiring  free      anl_slots_release()
 *
 * Ownership: the context that atomically clears a slot's bit in @live, @dying or @cached
 * owns the slot until it hands it on. So double, overlapping and racing frees need no lock, and a
 * slot that is being allocated has no bit that a free could take.
 *
 * Locks: the tree has its own. Everything else is atomic.
 */
#ifndef ANL_SLOTS_H
#define ANL_SLOTS_H

#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/bits.h>
#include <linux/cache.h>
#include <linux/cpumask.h>
#include <linux/math.h>
#include <linux/percpu.h>
#include <linux/types.h>

#include "range_tree_rqs.h"

struct anl_arena;

/**
 * struct anl_group - states of 64 slots, one bit each
 * @live: slots that belong to the user of the arena
 * @dying: slots that wait for the drain
 * @cached: claimed slots that a magazine holds
 *
 * A CPU whose magazine is a group writes to it with each allocation, and often with the free
 * that follows. See anl_group() for what shares a cache line with it.
 */
struct anl_group {
	atomic_long_t live;
	atomic_long_t dying;
	atomic_long_t cached;
};

/*
 * Magazines are filled while so many times the slots that fit into those of all CPUs are
 * free. In a small arena all callers get the lowest slot, and the last ones are in no
 * magazine for long.
 */
#define ANL_CACHED_SHARE 8

#define ANL_GROUP(pgoff)	((u32)BIT_WORD(pgoff))
#define ANL_GROUP_SLOTS		BITS_PER_LONG
#define ANL_NR_GROUPS(nr_slots)	((u32)BITS_TO_LONGS(nr_slots))

/* How groups are stored, see anl_group(): 64 of them in a row, each 8 places after the last. */
#define ANL_GROUPS_APART	64U
#define ANL_GROUPS_BETWEEN	8U
#define ANL_GROUPS_BLOCK	(ANL_GROUPS_APART * ANL_GROUPS_BETWEEN)

/* A run of slots. */
struct anl_span {
	u32 pgoff;
	u32 cnt;
};

/* Spares: each is the highest free one of ANL_SPARE_CHOICE slots. */
#define ANL_NR_SPARES		16U
#define ANL_SPARE_CHOICE	4U
#define ANL_NO_SPARE		U32_MAX

/**
 * struct anl_magazine - the slots that a CPU allocates from
 * @group: the cached slots of this group; anybody may take them
 */
struct anl_magazine {
	u32 group;
};

/**
 * struct anl_slots - the state of every slot
 * @groups: all slots, in the order of anl_group(), in whole blocks
 * @dying_sum: one bit per group that may have dying slots
 * @magazine: one for each CPU
 * @tree_mem: memory of @tree
 * @tree: which slots are free
 * @spares: claimed slots for callers that cannot take the lock of @tree
 * @spares_missing: one of @spares was taken
 * @retire_seq: number of batches whose PTEs were cleared. A fault that finds a live slot
 *	without a page compares it, to tell a reserved slot from one that was just retired.
 *
 * What every allocation reads lies apart from what other CPUs write.
 */
struct anl_slots {
	struct anl_group *groups;
	atomic_long_t *dying_sum;
	struct anl_magazine __percpu *magazine;
	void *tree_mem;
	bool spares_missing;
	u32 spares[ANL_NR_SPARES];
	struct anl_tree tree ____cacheline_aligned_in_smp;
	atomic_t retire_seq ____cacheline_aligned_in_smp;
};

int anl_slots_init(struct anl_arena *arena);
void anl_slots_exit(struct anl_arena *arena);
void anl_slots_unclaim(struct anl_arena *arena, u32 pgoff, u32 cnt);
void anl_slots_queue(struct anl_arena *arena, u32 pgoff, u32 cnt);
u32 anl_slots_free(struct anl_arena *arena, u32 pgoff, u32 cnt);
void anl_slots_release(struct anl_arena *arena, u32 pgoff, u32 cnt);
u64 anl_slots_nr_queued(const struct anl_arena *arena);
u32 anl_spares_pop(struct anl_arena *arena);
u32 anl_spares_release(struct anl_arena *arena, u32 pgoff, u32 cnt);
void anl_spares_fill(struct anl_arena *arena);
long anl_cached_fill(struct anl_arena *arena);
u32 anl_slots_take_back(struct anl_arena *arena, u32 pgoff, u32 cnt);
u32 anl_slots_nr_cached(const struct anl_arena *arena);
long anl_slots_alloc(struct anl_arena *arena, u32 cnt);

/**
 * anl_group() - the states of a group
 * @slots: the slots of the arena
 * @g: the group
 *
 * CPUs that allocate at the same time have groups that are near each other. So neighbours are
 * stored three cache lines apart, in blocks of 512 groups. Groups that share a line are 64 apart,
 * or a multiple of that.
 *
 * Context: any.
 */
static inline struct anl_group *anl_group(const struct anl_slots *slots, u32 g)
{
	u32 block = round_down(g, ANL_GROUPS_BLOCK);

	return &slots->groups[block + g % ANL_GROUPS_APART * ANL_GROUPS_BETWEEN +
			      g / ANL_GROUPS_APART % ANL_GROUPS_BETWEEN];
}

/* The group that is the magazine of this CPU. Any context. */
static inline u32 anl_magazine(const struct anl_slots *slots)
{
	return raw_cpu_read(slots->magazine->group);
}

/**
 * anl_cached_pop() - a slot that a magazine holds
 * @group: states of a group
 * @g: its number
 *
 * cached -> claimed.
 *
 * Context: any.
 * Return: the lowest such slot of the group, or -ENOSPC.
 */
static inline long anl_cached_pop(struct anl_group *group, u32 g)
{
	unsigned long bits = atomic_long_read(&group->cached);
	u32 i;

	/* Others may take what was read, so each bit is tried once. */
	for (; bits; bits &= bits - 1) {
		i = __ffs(bits);
		if (test_and_clear_bit(i, (unsigned long *)&group->cached))
			return g * ANL_GROUP_SLOTS + i;
	}

	return -ENOSPC;
}

/**
 * anl_slots_alloc_one() - a slot for a caller that cannot sleep
 * @arena: the arena
 * @group: states of the group that is the magazine of this CPU
 * @g: its number
 *
 * free or cached -> claimed.
 *
 * Context: any.
 * Return: the slot, or an error of anl_cached_fill().
 */
static inline long anl_slots_alloc_one(struct anl_arena *arena, struct anl_group *group, u32 g)
{
	long pgoff = anl_cached_pop(group, g);

	return pgoff >= 0 ? pgoff : anl_cached_fill(arena);
}

/* Do @nr slots suffice for magazines? Any context. */
static inline bool anl_slots_suffice(u32 nr)
{
	return nr / (ANL_CACHED_SHARE * ANL_GROUP_SLOTS) >= num_online_cpus();
}

/* free -> claimed: these slots. Any context. See anl_tree_claim(). */
static inline int anl_slots_claim(struct anl_slots *slots, u32 pgoff, u32 cnt)
{
	return anl_tree_claim(&slots->tree, pgoff, cnt);
}

static inline bool anl_slots_is_free(const struct anl_slots *slots, u32 pgoff)
{
	return anl_tree_is_free(&slots->tree, pgoff);
}

static inline u32 anl_slots_nr_free(const struct anl_slots *slots)
{
	return anl_tree_nr_free(&slots->tree);
}

static inline bool anl_slots_is_live(const struct anl_slots *slots, u32 pgoff)
{
	return atomic_long_read(&anl_group(slots, ANL_GROUP(pgoff))->live) & BIT_MASK(pgoff);
}

/* Bits of group @g that lie in the slots [@pgoff, @pgoff + @cnt). */
static inline unsigned long anl_group_mask(u32 g, u32 pgoff, u32 cnt)
{
	unsigned long mask = ~0UL;

	if (g == ANL_GROUP(pgoff))
		mask &= BITMAP_FIRST_WORD_MASK(pgoff);
	if (g == ANL_GROUP(pgoff + cnt - 1))
		mask &= BITMAP_LAST_WORD_MASK(pgoff + cnt);

	return mask;
}

/**
 * anl_slots_set_live() - publish claimed slots
 * @slots: the slots of the arena
 * @pgoff: first slot
 * @cnt: number of slots, not 0
 *
 * claimed -> mapped or reserved.
 *
 * Context: any. The caller owns the slots and has set their PTEs.
 */
static inline void anl_slots_set_live(struct anl_slots *slots, u32 pgoff, u32 cnt)
{
	u32 g;

	/* Orders the PTE before the bit. Pairs with smp_rmb() in anl_fault_live(). */
	smp_mb__before_atomic();
	for (g = ANL_GROUP(pgoff); g <= ANL_GROUP(pgoff + cnt - 1); g++)
		atomic_long_or(anl_group_mask(g, pgoff, cnt), &anl_group(slots, g)->live);
	/*
	 * Orders the bit before everything that the caller does with the address. A program
	 * may publish the address by a plain store. A free of the address that was read
	 * there finds the bit in anl_slots_take_live(), because it depends on that read.
	 */
	smp_mb__after_atomic();
}

/* claimed -> mapped: a slot. Any context. The barriers are those of anl_slots_set_live(). */
static inline void anl_slots_set_live_one(struct anl_slots *slots, u32 pgoff)
{
	atomic_long_t *live = &anl_group(slots, ANL_GROUP(pgoff))->live;

	/* Orders the PTE before the bit. */
	smp_mb__before_atomic();
	set_bit(pgoff % ANL_GROUP_SLOTS, (unsigned long *)live);
	/* Orders the bit before what the caller does with the address. */
	smp_mb__after_atomic();
}

/* live -> retiring: those of the slots @mask of group @g that are live. Any context. */
static inline unsigned long anl_slots_take_live(struct anl_slots *slots, u32 g,
						unsigned long mask)
{
	atomic_long_t *live = &anl_group(slots, g)->live;

	if (!(atomic_long_read(live) & mask))
		return 0;

	return atomic_long_fetch_andnot(mask, live) & mask;
}

/* The same for one slot. Returns whether it was live. */
static inline bool anl_slots_take_live_one(struct anl_slots *slots, u32 pgoff)
{
	atomic_long_t *live = &anl_group(slots, ANL_GROUP(pgoff))->live;

	return test_and_clear_bit(pgoff % ANL_GROUP_SLOTS, (unsigned long *)live);
}

/*
 * retiring -> dying: the slots @bits of group @g. Any context. A full barrier follows what it
 * writes, so that the caller can use anl_kick_ordered().
 */
static inline void anl_slots_put_dying(struct anl_slots *slots, u32 g, unsigned long bits)
{
	atomic_long_or(bits, &anl_group(slots, g)->dying);
	/* Orders the slots before the summary. Pairs with anl_slots_take_sum(). */
	smp_mb__after_atomic();
	if (!(atomic_long_read(&slots->dying_sum[BIT_WORD(g)]) & BIT_MASK(g))) {
		atomic_long_or(BIT_MASK(g), &slots->dying_sum[BIT_WORD(g)]);
		/* For anl_kick_ordered(), as above if the bit is set already. */
		smp_mb__after_atomic();
	}
}

/* live -> dying: one slot. Any context. Returns whether it was live. */
static inline bool anl_slots_free_one(struct anl_slots *slots, u32 pgoff)
{
	if (!anl_slots_take_live_one(slots, pgoff))
		return false;
	anl_slots_put_dying(slots, ANL_GROUP(pgoff), BIT_MASK(pgoff));

	return true;
}

/*
 * Clear word @i of the summary: the caller now scans these groups. The exchange is a full
 * barrier before the caller reads them; pairs with anl_slots_put_dying().
 */
static inline unsigned long anl_slots_take_sum(struct anl_slots *slots, u32 i)
{
	if (!atomic_long_read(&slots->dying_sum[i]))
		return 0;

	return atomic_long_xchg(&slots->dying_sum[i], 0);
}

/* dying -> retiring: all of group @g. */
static inline unsigned long anl_slots_take_dying(struct anl_slots *slots, u32 g)
{
	return atomic_long_xchg(&anl_group(slots, g)->dying, 0);
}

/*
 * dying -> claimed: one slot. The full barrier orders the bit before what the caller reads of the
 * page. Any context. Returns whether it was dying.
 */
static inline bool anl_slots_take_dying_one(struct anl_slots *slots, u32 pgoff)
{
	atomic_long_t *dying = &anl_group(slots, ANL_GROUP(pgoff))->dying;

	return test_and_clear_bit(pgoff % ANL_GROUP_SLOTS, (unsigned long *)dying);
}

/*
 * Cut the lowest run of set bits out of @bits, which has one. Returns the first of them, and
 * their number in @cnt.
 */
static inline u32 anl_cut_run(unsigned long *bits, u32 *cnt)
{
	u32 first = __ffs(*bits);
	unsigned long above = *bits + BIT(first);

	*cnt = (above ? __ffs(above) : BITS_PER_LONG) - first;
	*bits &= above;

	return first;
}

/* Before the PTEs of retiring slots are cleared. */
static inline void anl_slots_begin_retire(struct anl_slots *slots)
{
	atomic_inc(&slots->retire_seq);
	/*
	 * Orders the live bits before the counter, and the counter before the PTEs. Pairs
	 * with smp_rmb() in anl_fault_live().
	 */
	smp_mb__after_atomic();
}

/* Is one of the spares, which are at the upper end, below @pgoff? */
static inline bool anl_spares_below(const struct anl_slots *slots, u32 pgoff)
{
	u32 i;

	if (pgoff + ANL_NR_SPARES * ANL_SPARE_CHOICE < slots->tree.nr_pages)
		return false;
	for (i = 0; i < ANL_NR_SPARES; i++)
		if (READ_ONCE(slots->spares[i]) < pgoff)
			return true;

	return false;
}

#endif
