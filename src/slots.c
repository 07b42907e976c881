// SPDX-License-Identifier: GPL-2.0
/*
 * Transitions of slots that take more than one atomic operation; slots.h has the states
 * and the others.
 *
 * The queue is a bitmap, the @dying words of all groups. Queueing a slot sets its bit: that
 * needs no memory, cannot fail, merges neighbours by itself, and is safe in an NMI.
 * @dying_sum tells the drain which groups to scan.
 *
 * An NMI that interrupts the holder of the tree's lock cannot claim a slot in the tree. A
 * few slots at the upper end of the arena, the spares, are claimed beforehand for such
 * callers. The tree's lock protects an entry of @spares that is set, and taking it back; only
 * its taking by such a caller is an xchg() without the lock. So whoever finds a spare taken
 * in the tree finds it in @spares, too. Spares never make an allocation fail or move it to a
 * higher address: a caller that meets one releases it and retries.
 *
 * A caller that cannot sleep and wants one page claims all free slots in a group of 64, under
 * one acquisition of the tree's lock, and leaves the others to the next such callers on its
 * CPU: the CPU's magazine. They are in the group's @cached, and the magazine only says where.
 * So whoever wants such a slot, a fixed address for example, takes its bit as the CPU does,
 * and a CPU that goes offline leaves nothing behind. Filling a magazine is done with the
 * tree's lock held, so that no slot is between tree and bitmap for longer. Other callers on
 * the CPU, which get the lowest addresses, empty its magazine first.
 *
 * Owns: struct anl_slots.
 * Context: any, unless a function says otherwise.
 */
#include <linux/cpumask.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "arena.h"
#include "queue.h"

/* Slots that are released under one acquisition of the tree's lock. */
#define ANL_RELEASE_SLOTS 2048u

/**
 * anl_slots_unclaim() - release slots that were never live
 * @arena: the arena
 * @pgoff: first slot
 * @cnt: number of slots
 *
 * claimed -> free, or dying if the tree's lock is unavailable.
 *
 * Context: any. The caller has claimed the slots, and their PTEs are empty.
 */
void anl_slots_unclaim(struct anl_arena *arena, u32 pgoff, u32 cnt)
{
	u32 n;

	for (; cnt; pgoff += n, cnt -= n) {
		n = min(cnt, ANL_RELEASE_SLOTS);
		if (anl_tree_release(&arena->slots.tree, pgoff, n)) {
			anl_slots_queue(arena, pgoff, cnt);
			return;
		}
	}
}

/**
 * anl_slots_queue() - put slots that the caller owns into the queue
 * @arena: the arena
 * @pgoff: first slot
 * @cnt: number of slots, not 0
 *
 * claimed or retiring -> dying.
 *
 * Context: any.
 */
void anl_slots_queue(struct anl_arena *arena, u32 pgoff, u32 cnt)
{
	u32 g;

	for (g = ANL_GROUP(pgoff); g <= ANL_GROUP(pgoff + cnt - 1); g++)
		anl_slots_put_dying(&arena->slots, g, anl_group_mask(g, pgoff, cnt));
	anl_slots_queued(arena, pgoff, cnt, cnt);
}

/**
 * anl_slots_free() - free from a context that cannot sleep
 * @arena: the arena
 * @pgoff: first slot
 * @cnt: number of slots, not 0, inside the arena
 *
 * live -> dying, for those that are live.
 *
 * Context: any. Two atomic operations per 64 slots, no memory, cannot fail.
 * Return: number of slots that were live.
 */
u32 anl_slots_free(struct anl_arena *arena, u32 pgoff, u32 cnt)
{
	u32 g, found = 0;

	for (g = ANL_GROUP(pgoff); g <= ANL_GROUP(pgoff + cnt - 1); g++) {
		unsigned long bits = anl_slots_take_live(&arena->slots, g,
							 anl_group_mask(g, pgoff, cnt));

		if (!bits)
			continue;
		anl_slots_put_dying(&arena->slots, g, bits);
		found += hweight_long(bits);
	}
	anl_slots_queued(arena, pgoff, cnt, found);

	return found;
}

/**
 * anl_slots_release() - make slots free
 * @arena: the arena
 * @pgoff: first slot
 * @cnt: number of slots; the tree does not contain those beyond the limit, which an
 *	adopted arena can have
 *
 * retiring -> free. The tree's lock can only time out here, when another CPU held it for a
 * quarter of a second. The slots must not get lost then.
 *
 * Context: process context, interrupts on.
 */
void anl_slots_release(struct anl_arena *arena, u32 pgoff, u32 cnt)
{
	u32 end = min(pgoff + cnt, arena->nr_limit), n;

	for (; pgoff < end; pgoff += n) {
		n = min(end - pgoff, ANL_RELEASE_SLOTS);
		while (anl_tree_release(&arena->slots.tree, pgoff, n))
			cond_resched();
	}
}

/**
 * anl_slots_nr_queued() - number of dying slots
 * @arena: the arena
 *
 * Context: process context, may sleep. A sum over the time that it takes.
 */
u64 anl_slots_nr_queued(const struct anl_arena *arena)
{
	u32 nr = ANL_NR_GROUPS(arena->nr_slots), g;
	u64 sum = 0;

	for (g = 0; g < nr; g++) {
		sum += hweight_long(atomic_long_read(&anl_group(&arena->slots, g)->dying));
		if (!(g % 4096))
			cond_resched();
	}

	return sum;
}

/**
 * anl_spares_pop() - a slot for a caller that cannot take the tree's lock
 * @arena: the arena
 *
 * spare -> claimed.
 *
 * Context: any.
 * Return: a slot that the caller owns, or ANL_NO_SPARE.
 */
u32 anl_spares_pop(struct anl_arena *arena)
{
	struct anl_slots *slots = &arena->slots;
	u32 i, pgoff;

	for (i = 0; i < ANL_NR_SPARES; i++) {
		if (READ_ONCE(slots->spares[i]) == ANL_NO_SPARE)
			continue;
		pgoff = xchg(&slots->spares[i], ANL_NO_SPARE);
		if (pgoff == ANL_NO_SPARE)
			continue;
		WRITE_ONCE(slots->spares_missing, true);
		anl_kick(&arena->kick, ANL_KICK_REFILL);

		return pgoff;
	}

	return ANL_NO_SPARE;
}

/**
 * anl_spares_release() - release spares that are in the way
 * @arena: the arena
 * @pgoff: first slot that the caller wants
 * @cnt: number of slots
 *
 * spare -> free.
 *
 * Context: any. Takes the tree's lock, and releases nothing if it is unavailable.
 * Return: number of spares among the slots. If there were any, the caller can retry.
 */
u32 anl_spares_release(struct anl_arena *arena, u32 pgoff, u32 cnt)
{
	struct anl_slots *slots = &arena->slots;
	u32 i, spare, nr = 0;
	unsigned long flags;

	if (anl_tree_lock(&slots->tree, &flags))
		return 0;
	for (i = 0; i < ANL_NR_SPARES; i++) {
		spare = READ_ONCE(slots->spares[i]);
		if (spare == ANL_NO_SPARE || spare < pgoff || spare - pgoff >= cnt ||
		    cmpxchg(&slots->spares[i], spare, ANL_NO_SPARE) != spare)
			continue;
		anl_tree_release_locked(&slots->tree, spare, 1);
		nr++;
	}
	anl_tree_unlock(&slots->tree, flags);
	if (nr)
		WRITE_ONCE(slots->spares_missing, true);

	return nr;
}

/* Claim the highest free one of the slots that spare @i may be. */
static void anl_spare_fill(struct anl_slots *slots, u32 i)
{
	u32 pgoff = slots->tree.nr_pages - i * ANL_SPARE_CHOICE;
	u32 end = pgoff - ANL_SPARE_CHOICE;
	unsigned long flags;

	if (anl_tree_lock(&slots->tree, &flags))
		return;
	while (READ_ONCE(slots->spares[i]) == ANL_NO_SPARE && pgoff-- > end)
		if (!anl_tree_claim_locked(&slots->tree, pgoff, 1))
			WRITE_ONCE(slots->spares[i], pgoff);
	anl_tree_unlock(&slots->tree, flags);
}

/**
 * anl_spares_fill() - claim the spares that are missing
 * @arena: the arena
 *
 * At the upper end of the arena, and fewer if few slots are free. The refill worker calls
 * this. It is also called after fast-path allocations, so that an interrupted lock holder
 * replaces the spare that its NMI used.
 *
 * Context: any.
 */
void anl_spares_fill(struct anl_arena *arena)
{
	struct anl_slots *slots = &arena->slots;
	u32 want = anl_slots_nr_free(slots) / (4 * ANL_SPARE_CHOICE), i;

	WRITE_ONCE(slots->spares_missing, false);
	for (i = 0; i < min(want, ANL_NR_SPARES); i++)
		if (READ_ONCE(slots->spares[i]) == ANL_NO_SPARE)
			anl_spare_fill(slots, i);
}

/* Release the slots @bits of group @g, which nothing else uses. The tree is locked. */
static void anl_release_group_locked(struct anl_slots *slots, u32 g, unsigned long bits)
{
	u32 first, cnt;

	while (bits) {
		first = anl_cut_run(&bits, &cnt);
		anl_tree_release_locked(&slots->tree, g * ANL_GROUP_SLOTS + first, cnt);
	}
}

/* cached -> free: the slots @mask of group @g. Any context. Returns how many. */
static u32 anl_cached_release_group(struct anl_arena *arena, u32 g, unsigned long mask)
{
	struct anl_slots *slots = &arena->slots;
	atomic_long_t *cached = &anl_group(slots, g)->cached;
	unsigned long bits, flags;

	if (!(atomic_long_read(cached) & mask))
		return 0;
	if (anl_tree_lock(&slots->tree, &flags))
		return 0;
	bits = atomic_long_fetch_andnot(mask, cached) & mask;
	anl_release_group_locked(slots, g, bits);
	anl_tree_unlock(&slots->tree, flags);

	return hweight_long(bits);
}

/* cached -> free: those of the slots that are in magazines. Any context. Returns how many. */
static u32 anl_cached_release(struct anl_arena *arena, u32 pgoff, u32 cnt)
{
	u32 first = ANL_GROUP(pgoff), last = ANL_GROUP(pgoff + cnt - 1), g, nr = 0;
	int cpu;

	if (last - first < nr_cpu_ids) {
		for (g = first; g <= last; g++)
			nr += anl_cached_release_group(arena, g, anl_group_mask(g, pgoff, cnt));
		return nr;
	}
	for_each_possible_cpu(cpu) {
		g = READ_ONCE(per_cpu_ptr(arena->slots.magazine, cpu)->group);
		if (g >= first && g <= last)
			nr += anl_cached_release_group(arena, g, anl_group_mask(g, pgoff, cnt));
	}

	return nr;
}

/**
 * anl_slots_take_back() - release slots that are kept for later allocations
 * @arena: the arena
 * @pgoff: first slot that the caller wants
 * @cnt: number of slots, not 0
 *
 * spare or cached -> free.
 *
 * Context: any. Takes the tree's lock, and releases nothing if it is unavailable.
 * Return: number of slots released. If there were any, the caller can retry.
 */
u32 anl_slots_take_back(struct anl_arena *arena, u32 pgoff, u32 cnt)
{
	return anl_spares_release(arena, pgoff, cnt) + anl_cached_release(arena, pgoff, cnt);
}

/*
 * claimed -> cached: the slots @bits of group @g, which becomes the magazine of this CPU. The
 * tree is locked, so no NMI on this CPU fills it meanwhile.
 */
static void anl_cached_put(struct anl_slots *slots, u32 g, unsigned long bits)
{
	u32 old;

	atomic_long_or(bits, &anl_group(slots, g)->cached);
	old = this_cpu_xchg(slots->magazine->group, g);
	if (old == g)
		return;
	bits = atomic_long_xchg(&anl_group(slots, old)->cached, 0);
	anl_release_group_locked(slots, old, bits);
}

/**
 * anl_cached_fill() - fill the magazine of this CPU, and take a slot from it
 * @arena: the arena
 *
 * free -> claimed, and others in its group free -> cached.
 *
 * Context: any.
 * Return: the lowest free slot, which the caller owns; -ENOSPC; or -EDEADLK or -ETIMEDOUT if
 * the tree's lock is unavailable.
 */
long anl_cached_fill(struct anl_arena *arena)
{
	struct anl_slots *slots = &arena->slots;
	unsigned long flags, bits;
	long pgoff;
	int err;

	if (!anl_slots_suffice(anl_slots_nr_free(slots)))
		return anl_tree_alloc(&slots->tree, 1);

	err = anl_tree_lock(&slots->tree, &flags);
	if (err)
		return err;
	pgoff = anl_tree_alloc_word_locked(&slots->tree, &bits);
	if (pgoff >= 0) {
		bits &= ~BIT_MASK(pgoff);
		/* A group without others may be another CPU's magazine. */
		if (bits)
			anl_cached_put(slots, ANL_GROUP(pgoff), bits);
	}
	anl_tree_unlock(&slots->tree, flags);

	return pgoff;
}

/**
 * anl_slots_nr_cached() - number of slots in magazines
 * @arena: the arena
 *
 * Context: process context, may sleep. A sum over the time that it takes.
 */
u32 anl_slots_nr_cached(const struct anl_arena *arena)
{
	u32 nr = ANL_NR_GROUPS(arena->nr_slots), g, sum = 0;

	for (g = 0; g < nr; g++) {
		sum += hweight_long(atomic_long_read(&anl_group(&arena->slots, g)->cached));
		if (!(g % 4096))
			cond_resched();
	}

	return sum;
}

/**
 * anl_slots_alloc() - claim the lowest slots in a row
 * @arena: the arena
 * @cnt: number of slots
 *
 * free -> claimed. What other CPUs have in their magazines is not seen.
 *
 * Context: any.
 * Return: the first slot, or an error of anl_tree_alloc().
 */
long anl_slots_alloc(struct anl_arena *arena, u32 cnt)
{
	struct anl_slots *slots = &arena->slots;

	anl_cached_release_group(arena, anl_magazine(slots), ~0UL);

	return anl_tree_alloc(&slots->tree, cnt);
}

/**
 * anl_slots_init() - all slots taken, no slot live
 * @arena: the arena; its sizes are known
 *
 * Context: process context, may sleep.
 * Return: 0, or -ENOMEM with the rest left to anl_slots_exit().
 */
int anl_slots_init(struct anl_arena *arena)
{
	struct anl_slots *slots = &arena->slots;
	u32 nr = ANL_NR_GROUPS(arena->nr_slots);
	u32 places = round_up(nr, ANL_GROUPS_BLOCK);
	int cpu;

	memset32(slots->spares, ANL_NO_SPARE, ANL_NR_SPARES);
	slots->groups = anl_zalloc(arena, places * sizeof(*slots->groups));
	slots->dying_sum = anl_zalloc(arena, BITS_TO_LONGS(nr) * sizeof(*slots->dying_sum));
	slots->magazine = anl_zalloc_percpu(arena, sizeof(*slots->magazine));
	slots->tree_mem = anl_zalloc(arena, anl_tree_mem_size(arena->nr_limit));
	if (!slots->groups || !slots->dying_sum || !slots->magazine || !slots->tree_mem)
		return -ENOMEM;
	/* The last group to have cached slots, if ever. */
	for_each_possible_cpu(cpu)
		per_cpu_ptr(slots->magazine, cpu)->group = nr - 1;
	anl_tree_init(&slots->tree, slots->tree_mem, arena->nr_limit);

	return 0;
}

/* Undo anl_slots_init(), or the part of it that succeeded. Nothing uses the arena. */
void anl_slots_exit(struct anl_arena *arena)
{
	kvfree(arena->slots.groups);
	kvfree(arena->slots.dying_sum);
	free_percpu(arena->slots.magazine);
	kvfree(arena->slots.tree_mem);
}
