#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Do the tests see a broken range tree or lock? Breaks a copy in one place after
# the other, and runs the tests on each. A mutant that passes all of them, or that
# cannot be made because the code has changed, is a failure.
#
#	mutants.sh		OUT=<dir> TREE_TEST=<test_tree or fuzz_tree>
#				ONLY=<part of a mutant's name>

set -euo pipefail

cd "$(dirname "$0")"
OUT=${OUT:-../../build/tests/user/mutants}
TREE_TEST=${TREE_TEST:-test_tree}
mkdir -p "$OUT"

# name, then a sed command
mutants=(
	'run across the middle is not seen|s/l->suf + r->pre >= cnt/false/'
	'run across the middle is preferred|s/if (l->max >= cnt) {/if (l->max >= cnt \&\& l->suf + r->pre < cnt) {/'
	'right half is preferred|s/if (l->max >= cnt) {/if (l->max >= cnt \&\& r->max < cnt) {/'
	'longest run leaves out the middle|s/max3(l->max, r->max, l->suf + r->pre)/max(l->max, r->max)/'
	'prefix ends at the middle|s/l->pre == half ? half + r->pre : l->pre/l->pre/'
	'suffix ends at the middle|s/r->suf == half ? half + l->suf : r->suf/r->suf/'
	'run in a word is one too short|s/return max(len, min);/return max(len - 1, min);/'
	'mask includes the page after the end|s/~0UL >> (-end % BITS_PER_LONG)/~0UL >> ((-end % BITS_PER_LONG) ? (-end % BITS_PER_LONG) - 1 : 0)/'
	'last leaf is not recomputed|s/anl_tree_sum_leaf(tree, last);//'
	'a taken leaf is not opened|s/shut |= anl_tree_open(tree, i);/;/'
	'words of an opened leaf stay|/^static bool anl_tree_open/,/^}/s/memset(tree->map.*/;/'
	'nodes on the way to an opened leaf stay|/^static bool anl_tree_open/,/^}/s/memset(&tree->node.*/;/'
	'an opened leaf waits for the tree|s/first == last \&\& !shut/first == last/'
	'what was taken as a whole is forgotten|/^static bool anl_tree_node_within/,/^}/s/return .*/return false;/'
	'words of the lowest leaf stay|s/if (anl_tree_is_shut(tree, tree->low))/if (0)/'
	'the last word is left out|s/w <= last; w++/w < last; w++/'
	'claim looks at its ends only|/^static bool anl_tree_all_free/,/^}/s/.max != size/.max > size/'
	'claim looks at whole leaves only|s/if (~tree->map\[w\] \& anl_tree_mask(w, pgoff, end))/if (0)/'
	'claim does not look up the tree|s/if (anl_tree_is_shut(tree, first) || anl_tree_is_shut(tree, last))/if (0)/'
	'claim of one leaf relies on the tree|/^static bool anl_tree_all_free/,/^}/s/if (first == last)/if (0)/'
	'double free is counted twice|s/hweight_long(old ^ new)/hweight_long(mask)/'
	'tree is not brought up to date before a search|/^long anl_tree_alloc/,/^}/s/anl_tree_sync(tree);//'
	'tree is not brought up to date for another leaf|s/if (first != last || first != tree->stale)/if (first != last)/'
	'tree is brought up to date for half of the way|s/i \&\& anl_tree_sum_node(tree, i, half)/i > 1 \&\& anl_tree_sum_node(tree, i, half)/'
	'a change of the prefix is not passed on|s/n->pre != old.pre || //'
	'a change of the suffix is not passed on|s/n->suf != old.suf || //'
	'lowest leaf is not remembered when pages become free|s/tree->low = min(tree->low, first);//'
	'lowest leaf is one too high|s,tree->low = pgoff / LEAF_PAGES;,tree->low = pgoff / LEAF_PAGES + 1;,'
	'range check overflows|s/cnt <= tree->nr_pages - pgoff/pgoff + cnt <= tree->nr_pages/'
	'exact fit is refused|s/node\[1\].max < cnt/node[1].max <= cnt/'
	'lock error is ignored by release|/^int anl_tree_release(/,/^}/s/if (ret)/if (0)/'
	'word: pages stay in the bitmap|/^static unsigned long anl_tree_take_word/,/^}/s/WRITE_ONCE(tree->map.*/;/'
	'word: pages are not counted|/^static unsigned long anl_tree_take_word/,/^}/s/WRITE_ONCE(tree->nr_free.*/;/'
	'word: tree does not lag|/^static unsigned long anl_tree_take_word/,/^}/s/tree->stale = leaf;//'
	'word: tree is not brought up to date for another leaf|/^static unsigned long anl_tree_take_word/,/^}/s/anl_tree_sync(tree);/;/'
	'word: the next one|/^long anl_tree_alloc_word/,/^}/s/pgoff \/ BITS_PER_LONG/pgoff \/ BITS_PER_LONG + 1/'
	'unlock is forgotten|/^int anl_tree_claim(/,/^}/s/anl_tree_unlock(tree, flags);//'
	'lock: is taken by all|s/atomic_cmpxchg_acquire(&lock->val, 0, me)/(atomic_set(\&lock->val, me), 0)/'
	'lock: re-entry is not seen|s/(atomic_read(&lock->val) & ANL_OWNER_MASK) == me/false/'
	'lock: re-entry of a waiter is not seen|s/ || anl_lock_waits(lock)//'
	'lock: every holder is taken for this CPU|s/ANL_OWNER_MASK) == me/ANL_OWNER_MASK)/'
	'lock: a wait for any lock is taken for re-entry|s/READ_ONCE(w\[i\].lock) == lock/READ_ONCE(w[i].lock)/'
	'lock: CPU 0 looks like no CPU|s/smp_processor_id() + 1/smp_processor_id()/'
	'lock: never times out|s/now > start + ANL_LOCK_TIMEOUT_NS/false/'
	'lock: a clock that goes back looks like a time-out|s/now > start + ANL_LOCK_TIMEOUT_NS/now - start > ANL_LOCK_TIMEOUT_NS/'
	'lock: times out at once|s/(250 \* NSEC_PER_MSEC)/0/'
	'lock: an error leaves interrupts off|/if (err) {/,/}/s/local_irq_restore(f);//'
	'lock: an error leaves preemption off|/if (err) {/,/}/s/preempt_enable();//'
	'lock: unlocking leaves interrupts off|/^void/,/^}/s/local_irq_restore(flags);//'
	'lock: unlocking wipes the queue|s/smp_store_release(&lock->owner, 0)/atomic_set_release(\&lock->val, 0)/'
	'lock: has no queue|s/nr = anl_waiter_claim(lock, me);/nr = 0;/'
	'lock: the queue is passed by|s/if (atomic_cmpxchg_acquire(&lock->val, 0, me)) {/if (!anl_lock_try(lock, me)) {/'
	'lock: all of the queue take it|s/atomic_read_acquire(&anl_waiter_of(nr)->state) == ANL_HEAD/true/'
	'lock: a waiter has no patience|s/(10 \* NSEC_PER_MSEC)/0/'
	'lock: a waiter has patience for ever|s/now > start + ANL_LOCK_PATIENCE_NS/false/'
	'lock: queueing drops the owner|s/(old & ANL_OWNER_MASK) | nr/nr/'
	'lock: the last waiter stays the tail|s/old, old & ANL_OWNER_MASK)/old, old)/'
	'lock: the head does not pass that on|s/anl_lock_pass_head(lock, nr);/;/'
	'lock: giving up ignores the hand-over|s/atomic_cmpxchg(&w->state, ANL_WAITING, ANL_GONE) != ANL_WAITING/atomic_xchg(\&w->state, ANL_GONE) == ANL_IDLE/'
	'lock: the hand-over ignores giving up|s/while (atomic_cmpxchg(\(.*\), ANL_WAITING, ANL_HEAD) .*/while (atomic_xchg(\1, ANL_HEAD) == ANL_IDLE);/'
	'lock: the hand-over stops at a waiter that has given up|s/ANL_HEAD) != ANL_WAITING);/ANL_HEAD) == ANL_IDLE);/'
	'lock: a head that leaves does not mark that|s/atomic_xchg(&w->next, ANL_LEFT)/atomic_read(\&w->next)/'
	'lock: the mark of a head that left is not seen|s/nr) != ANL_LEFT/nr) >= 0/'
	'lock: a waiter in front is not freed|s/anl_waiter_free(anl_waiter_of(prev));//'
	'lock: the last waiter is not freed|s/^\t\t\t\tanl_waiter_free(w);//'
	'lock: a waiter with a successor is not freed|s/^\t\tanl_waiter_free(w);//'
	'lock: an NMI gets a waiter that is in use|s/atomic_cmpxchg_acquire(&w->state, ANL_IDLE, ANL_WAITING) != ANL_IDLE/atomic_read(\&w->state) != ANL_IDLE || (atomic_set(\&w->state, ANL_WAITING), 0)/'
	'lock: a waiter is remembered too long|s/WRITE_ONCE(w->lock, NULL);//'
	'lock order: a free lock is taken without acquire|s/atomic_cmpxchg_acquire(&lock->val, 0, me)/atomic_cmpxchg_relaxed(\&lock->val, 0, me)/'
	'lock order: a waiter takes it without acquire|s/atomic_cmpxchg_acquire(&lock->val, old/atomic_cmpxchg_relaxed(\&lock->val, old/'
	'lock order: unlocking without release|s/smp_store_release(&lock->owner, 0)/WRITE_ONCE(lock->owner, 0)/'
)

made=0
survived=0
for mutant in "${mutants[@]}"; do
	name=${mutant%%|*}
	[[ $name == *"${ONLY:-}"* ]] || continue
	made=$((made + 1))
	case $name in
	"lock order:"*) var=LOCK src=../../src/lock.c target=test_lock_tsan ;;
	lock:*) var=LOCK src=../../src/lock.c target=test_lock ;;
	*)	var=TREE src=../../src/range_tree_rqs.c target=$TREE_TEST ;;
	esac
	sed "${mutant#*|}" "$src" >"$OUT/mutant.c"
	if cmp -s "$src" "$OUT/mutant.c"; then
		echo "NOT MADE  $name"
		survived=$((survived + 1))
		continue
	fi
	rm -f "${OUT:?}/$target"
	make -s OUT="$OUT" "$var=$OUT/mutant.c" WERROR= "$OUT/$target" \
		>"$OUT/build.log" 2>&1 || { cat "$OUT/build.log"; exit 1; }
	if [ "$target" = fuzz_tree ]; then
		args=(-max_total_time=30 -timeout=5 -len_control=0 -artifact_prefix="$OUT/")
	else
		args=()
	fi
	# A broken tree may search forever.
	r=0
	{
		TSAN_OPTIONS=halt_on_error=1 CMOCKA_TEST_ABORT=1 timeout 60 "$OUT/$target" "${args[@]}" >"$OUT/run.log" 2>&1
	} 2>/dev/null || r=$?
	if [ "$r" = 0 ]; then
		echo "SURVIVED  $name"
		survived=$((survived + 1))
	elif [ "$r" = 124 ]; then
		echo "killed    $name: runs forever"
	else
		echo "killed    $name: $(grep -a -m1 'MISMATCH\|ERROR\|runtime error\|data race\| != ' "$OUT/run.log" ||
			tail -n 1 "$OUT/run.log")"
	fi
done

echo "$made mutants, $survived survived"
[ "$made" != 0 ] && [ "$survived" = 0 ]
