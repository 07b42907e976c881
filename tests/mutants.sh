#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Do the tests notice? Breaks one feature of the module at a time, in a copy of
# the sources, boots a stock kernel with it, and wants the tests named here to
# fail. Not part of `make test`: it takes about 20 s a mutant.
#
# usage: tests/mutants.sh [--kernel stable|backports|stable:debug|...] [NAME...]
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
kernel=stable
[ "${1:-}" != --kernel ] || { kernel=$2; shift 2; }
tree=$top/build/mutant
killed=0
survived=()
by=

# NAME FILES SED-SCRIPT TEST-GLOB...
mutant() {
	local name=$1 script=$3 args=() files f g
	read -ra files <<<"$2"
	shift 3
	[ ${#wanted[@]} -eq 0 ] || [[ " ${wanted[*]} " == *" $name "* ]] || return 0
	rm -rf "$tree/src"
	cp -r "$top/src" "$tree/src"
	for f in "${files[@]}"; do
		sed -i "$script" "$tree/src/$f"
		if cmp -s "$top/src/$f" "$tree/src/$f"; then
			survived+=("$name (the change does not apply to $f)")
			return 0
		fi
	done
	for g in "$@"; do
		args+=(--test "$g")
		[[ "$g" != numa.* ]] || args+=(--numa)
	done
	if "$tree/tests/run_qemu.sh" test --kernel "$kernel" --time 120 "${args[@]}" \
			>"$tree/$name.log" 2>&1; then
		survived+=("$name")
		echo "SURVIVED $name"
	elif [ -n "$by" ] && grep -q '^ *ok 1 load' "$tree/$name.log" &&
			! grep -q "$by.c:" "$tree/$name.log"; then
		survived+=("$name (not seen by the $by)")
		echo "SURVIVED $name"
	elif grep -q '^ *not ok' "$tree/$name.log"; then
		killed=$((killed + 1))
		echo "killed   $name: $(grep -c '^ *not ok' "$tree/$name.log") failures, first:$(grep -m 1 '^ *not ok' "$tree/$name.log" | sed 's/^ *not ok [0-9]*//')"
	else
		survived+=("$name (no test ran: $tree/$name.log)")
	fi
}

wanted=("$@")
mkdir -p "$tree"
(cd "$top" && cp -pr Kbuild Makefile VERSION scripts include tests tools examples "$tree")

mutant zero charge.c 's/ | __GFP_ZERO//' 'alloc.zeroed*'
mutant lowest range_tree_rqs.c 's/if (l->max >= cnt) {/if (r->max < cnt \&\& l->max >= cnt) {/' 'alloc.*'
mutant half_done alloc.c 's/^\t\tanl_slots_unclaim(arena, pgoff, cnt);/\t\t;/' 'alloc.*' 'limits.*'
mutant half_populated alloc.c 's/if (!anl_unpopulate(arena, pgoff, cnt) || fixed/anl_slots_unclaim(arena, pgoff, cnt); if (1/' 'alloc.*' 'limits.*'
mutant stray arena_pgtable.c '/^int anl_keep_stray(/,/^}/s/if (!anl_pte_page(arena, pgoff))/if (1)/' 'alloc.stray'
mutant stray_silent arena_pgtable.c '/^int anl_keep_stray(/,/^}/s/pr_err_ratelimited(/no_printk(/' 'alloc.stray'
mutant flags kfunc.c 's/if (!flags \&\& cnt)/if (cnt)/' 'alloc.*'
mutant node alloc.c 's/nid != NUMA_NO_NODE \&\&/0 \&\&/' 'alloc.*'
mutant misaligned alloc.c 's/if (cnt > arena->nr_limit || addr \& ~PAGE_MASK)/if (cnt > arena->nr_limit)/' 'alloc.*'
mutant any_map adopt.h 's/if (ops->map_free != anl_map_free)/if (!ops)/' 'alloc.*'
mutant max_entries stock_arena.c 's/min(arena->nr_slots, map->max_entries)/arena->nr_slots/' 'alloc.*' 'fault.*' 'limits.*'
mutant no_zap arena_free_deferred.c 's/if (anl_zap_spans(.*/if (0)/' 'free.*'
mutant no_flush arena_pgtable.c 's/^\t\tanl_flush_tlb_kernel_range(start, end);/\t\t;/' 'free.*'
mutant early_release arena_free_deferred.c 's/^\tanl_unmap_spans(arena, batch->spans, batch->nr, &unmapped);/\tfor (i = 0; i < batch->nr; i++) anl_slots_release(arena, batch->spans[i].pgoff, batch->spans[i].cnt);\n&/' 'free.*'
mutant fault_unchecked fault.c 's/if (anl_slots_is_live(&arena->slots, pgoff) \&\& anl_pte_page(arena, pgoff) == page)/if (1)/' 'free.*'
mutant double_free slots.h 's/return atomic_long_fetch_andnot(mask, \&slots->live\[w\]) \& mask;/atomic_long_andnot(mask, \&slots->live[w]); return mask;/' 'free.*'
mutant no_drain kick.c 's/mod_delayed_work(anl_drain_wq, \&kick->drain, 0);/;/' 'free.*'
mutant free_waits arena_free_deferred.c 's/^#define ANL_CALL_NAPS .*/#define ANL_CALL_NAPS 100000/' 'free.long_under_mmap_lock'
mutant zap_waits vma.c 's/while (!mmap_read_trylock(mm))/for (mmap_read_lock(mm); 0;)/' 'free.long_under_mmap_lock' 'bounded.stuck'
mutant all_stuck arena_free_deferred.c '/^static void anl_retire_reached(/,/^}/s/if (anl_slot_users(arena, pgoff) != ANL_USERS_NONE)/if (1)/' 'bounded.stuck'
mutant zaps_all arena_pgtable.c 's/return folio_mapped(page_folio(page)) ? .*/return ANL_USERS_MAPPED;/' 'free.zaps*'
mutant zaps_singly vma.c 's/while (last < end \&\& anl_slot_users(arena, last) .*/while (0)/' 'free.zaps*'
mutant no_retry arena_free_deferred.c 's/^\tqueue_delayed_work(anl_drain_wq, .*/\t;/' 'bounded.stuck'
mutant spare_order slots.h '/^static inline bool anl_spares_below/,/^}/s/< pgoff)/< 0)/' 'alloc.*'
mutant defers kfunc.c '/^static void anl_free(/,/^}/s/if (may_sleep)/if (0)/' 'free.*'
mutant sleeps kfunc.c 's/return !preempt_count() .*/return true;/' 'ctx.*'
mutant reserve_nothing kfunc.c '/^static int anl_reserve(/,/^}/s/err = anl_claim(.*/err = 0;/' 'reserve.*'
mutant reserve_fault fault.c 's/== seq ? VM_FAULT_SIGSEGV :/== seq ? 0 :/' 'reserve.*'
mutant segv_flag fault.c 's/ || arena->map->map_flags \& BPF_F_SEGV_ON_FAULT//' 'fault.*'
mutant oom_sigsegv fault.c '/anl_alloc_fault_page/,/anl_slots_claim/s/VM_FAULT_SIGBUS/VM_FAULT_SIGSEGV/' 'limits.*'
mutant fault_lock fault.c 's/^\t\tmmap_read_unlock(vmf->vma->vm_mm);/\t\t*ret = VM_FAULT_NOPAGE;/' 'fault.gup_and_drain'
mutant fault_tries fault.c 's/^#define ANL_FAULT_TRIES .*/#define ANL_FAULT_TRIES 1000000/' 'fault.mem_and_drain'
mutant adopt_order 'adopt.c fault.c' '/^static void anl_adopt_work(struct work_struct \*work)$/,/^}/{/if (arena->shared)/,+1d; s/^\tanl_stock_adopt_vmas(map, arena);/&\n\tif (arena->shared) synchronize_rcu_tasks_trace();/}; s/if (!anl_in_trace_reader())/if (1)/' 'adopt.during_copy'
mutant adopt_kill adopt.c 's/wait_for_completion_killable_timeout/wait_for_completion_timeout/' 'hostile.lock_holder'
mutant adopt_bound adopt.c 's/^#define ANL_ADOPT_WAIT_S .*/#define ANL_ADOPT_WAIT_S 1000/' 'hostile.lock_holder'
mutant seize_first adopt.c 's/^\tanl_stock_divert(map, arena);/\tanl_stock_seize(map, arena);\n\tanl_nap(20000, 30000);\n&/' 'adopt.referrers'
mutant vma_search stock_arena.c 's/unsigned long last = arena->nr_slots - 1;/unsigned long last = arena->nr_slots;/' 'adopt.faulted_*'
mutant memlock adopt.c 's/return (u64)atomic_long_read(&arena->pgtable.nr_populated) << PAGE_SHIFT;/return 0;/' 'limits.*' 'alloc.*'
mutant uncharged charge.c 's/charge->gfp = charge->memcg ? __GFP_ACCOUNT : 0;/charge->gfp = 0;/' 'limits.*'
mutant oom_kill alloc.c 's/GFP_KERNEL | __GFP_RETRY_MAYFAIL/GFP_KERNEL/' 'limits.*'
mutant stock_works stock_arena.c 's/WRITE_ONCE(\*stock_user_vm_end(map), .*/;/' 'adopt.*'
mutant old_mappings stock_arena.c '/^void anl_stock_adopt_vmas(/,/^}/s/^\tfor (;;) {/\treturn;\n&/' 'adopt.*' 'free.*'
mutant map_elsewhere 'adopt.c vma.c' 's/if (vma->vm_start != arena->user_start || .*/if (0)/
	s/if (len != size || addr != arena->user_start)/if (0)/' 'adopt.*' 'fault.*' 'limits.*'
mutant unloadable adopt.c 's/__module_get(THIS_MODULE);//; s/module_put(THIS_MODULE);//' 'lifetime.*'
mutant leak adopt.c 's/^\tanl_put_pages(&unmapped.pages);//' 'lifetime.*'
mutant memalloc charge.c 's/charge->memalloc = current->flags & PF_MEMALLOC;/charge->memalloc = 0;/;s/__GFP_NOMEMALLOC | charge->gfp/charge->gfp/' 'watermark.*'
mutant memalloc_charge charge.c 's/charge->memalloc = current->flags & PF_MEMALLOC;/charge->memalloc = 0;/' 'watermark.limit*'
mutant memalloc_victim charge.c 's/__GFP_NOMEMALLOC | charge->gfp/charge->gfp/' 'watermark.oom_victim'
mutant memalloc_lost charge.c 's/current->flags |= PF_MEMALLOC;/;/' 'watermark.softirq'
mutant numa_off charge.c 's/static_branch_enable(&anl_numa);/;/' 'numa.*'
mutant numa_local charge.c 's/nid = numa_mem_id();/nid = 0;/' 'numa.local'
mutant numa_refill refill.c 's/^\t\tanl_refill_nodes(arena, &charge);/\t\t;/' 'numa.ready'
mutant numa_any pool.c 's/anl_try_pages(\&charge, __GFP_THISNODE, /anl_try_pages(\&charge, 0, /;/anl_pool_get_node_page(struct/,/^}/s/page = anl_pool_pop_node(arena, nid);/page = anl_pool_pop(arena);/' 'numa.*'
mutant numa_nearest charge.c 's/if (zonelist_zone_idx(z) <= gfp_zone(GFP_KERNEL))/if (0)/' 'numa.named'
mutant pool_leak pool.c '/^void anl_pool_exit(/,/^}/s/put_page(page);/;/' 'lifetime.*'
mutant no_growth refill.c 's/used > target - target \/ 4 || READ_ONCE(arena->pool.missed)/0/' 'pool.*'
mutant no_shrinker refill.c '/^static unsigned long anl_shrink_count(/,/^}/s/return s.nr;/return SHRINK_EMPTY;/' 'pool.*'
mutant shrinker_global refill.c 's/SHRINKER_NUMA_AWARE | SHRINKER_MEMCG_AWARE/0/' 'pool.reclaimed'
mutant no_backoff refill.c 's/if (arena->refill.delay \&\& left > 0) {/if (0) {/' 'pool.refill_backoff'
mutant backoff_stays refill.c 's/^#define ANL_BACKOFF_\(MIN\|MAX\) .*/#define ANL_BACKOFF_\1 (100UL * HZ)/' 'pool.refill_backoff'
mutant growth_reclaims refill.c 's/promised > 0 ? GFP_KERNEL | __GFP_NORETRY : GFP_NOWAIT;/GFP_KERNEL | __GFP_NORETRY;/' 'pool.refill_spares_cache'
mutant fault_oom compat.h '/^static inline bool anl_task_in_memcg(/,/^}/s/if (!memcg)/if (1)/' 'limits.fault_spares_creator'
mutant poison_pop pool.c '/^struct page \*anl_pool_pop_node(/,/^}/s/unlikely(PageHWPoison(page))/0/' 'poison.*'
# Either check keeps a page out that was live when it got its error.
mutant poison_recycle pool.c '/^struct page \*anl_pool_pop_node(/,/^}/s/unlikely(PageHWPoison(page))/0/; s/if (page_count(page) != 1 || PageHWPoison(page))/if (page_count(page) != 1)/' 'poison.live_hard'
mutant not_lent pool.c 's/return anl_pool_take(arena, n, cnt, 0, NUMA_NO_NODE, pages);/return n;/' 'pool.*'
mutant without_reserve pool.c '/^int anl_pool_push(/,/^}/s/if (!words)/if (0)/' 'pool.none'
mutant no_decay refill.c 's/if (arena->refill.used < target \/ 4)/if (0)/' 'pool.*'
if [ "$kernel" = stable ]; then
	# Later kernels can do without the reserve, and know what is taken.
	mutant no_pool pool.c 's/arena->pool.max = min(.*/arena->pool.max = 0;/' 'ctx.*'
	mutant disinherit vma.c 's/^\tif (inherited)/\tif (0)/' 'hostile.fork_loop'
	mutant import_pages adopt.c '/^static void anl_import_free(/,/^}/s/if (!anl_pte_page(arena, pgoff))/if (1)/' 'adopt.*'
fi
if [ "$kernel" = backports ]; then
	mutant kernel_allocates stock_arena.c 's/^\t\*stock_[a-z]*(map) = RB_ROOT_CACHED;/\t;/' 'adopt.kernel_allocates'
	mutant raw_reader compat.h 's/ || READ_ONCE(current->bpf_ctx)//' 'adopt.during_copy_raw'
	mutant import_taken adopt.c '/^static void anl_import_taken(/,/^}/s/anl_slots_set_live(&arena->slots, pgoff, 1);/;/' 'adopt.*'
	mutant reservations adopt.c '/^static void anl_import_taken(/,/^}/s/else if (pgoff >= arena->nr_limit)/else/' 'adopt.*'
	mutant scratch_freed arena_pgtable.c 's/if (page == arena->pgtable.scratch)/if (0)/' 'scratch.*'
	mutant scratch_kept arena_pgtable.c 's/if (anl_clear_scratch(arena, pgoff + i) .*/if (1 || anl_clear_scratch(arena, pgoff + i) \&\&/' 'scratch.*'
	mutant scratch_queue alloc.c '/^static void anl_leave_slots(/,/^}/s/anl_slots_queue(arena, pgoff, cnt);/;/' 'scratch.*'
fi

mutant lost_write arena_free_deferred.c 's/^\tanl_unmap_spans(arena, batch->spans, batch->nr, &unmapped);/\tfor (i = 0; i < batch->nr; i++) anl_slots_release(arena, batch->spans[i].pgoff, batch->spans[i].cnt);\n&/' 'lost.sleepable' 'lost.queued'
mutant lost_flush arena_pgtable.c 's/^\t\tanl_flush_tlb_kernel_range(start, end);/\t\t;/' 'lost.sleepable' 'lost.queued'
mutant lost_zap arena_free_deferred.c 's/if (anl_zap_spans(.*/if (0)/' 'lost.user_*'
mutant storm_release arena_free_deferred.c 's/^\tanl_unmap_spans(arena, batch->spans, batch->nr, &unmapped);/\tfor (i = 0; i < batch->nr; i++) anl_slots_release(arena, batch->spans[i].pgoff, batch->spans[i].cnt);\n&/' 'storm.*'
mutant storm_leak adopt.c 's/^\tanl_put_pages(&unmapped.pages);//' 'storm.*'
mutant misfit_layout stock_layout.c 's/err = layout_walk(&b) ?: layout_verdict();/err = 0;/' 'misfit.*'
mutant misfit_release arena_nolock.c 's/if (strcmp(init_utsname()->release, ANL_TARGET_RELEASE)) {/if (0) {/' 'misfit.*'
mutant misfit_btf arena_nolock.c 's/if (!THIS_MODULE->btf_data) {/if (0) {/' 'misfit.*'
mutant insmod_sys stock_layout.c 's|file_open_root_mnt(mnt, BTF_FILE, |filp_open("/sys/" BTF_FILE, |' 'insmod.*'
mutant heir_unlisted vma.c 's/^\tanl_vma_list(from->arena, avma, vma);/\tINIT_LIST_HEAD(\&avma->head); avma->arena = from->arena; avma->vma = vma; vma->vm_private_data = v;/' 'hostile.heir'
mutant heir_of_stock stock_arena.c '/^void anl_stock_adopt_vmas(/,/^}/s/^\t\tmmput_async(mm);/&\n\t\treturn;/' 'hostile.heir_of_stock'
mutant fuzz_reserve kfunc.c 's/if (!(addr & ~PAGE_MASK) \&\& pgoff < arena->nr_limit/if (pgoff < arena->nr_limit/' 'hostile.arguments'
mutant fuzz_clamp kfunc.c 's/^\t\tcnt = min(cnt, arena->nr_slots - pgoff);/\t\tif (cnt > arena->nr_slots - pgoff) return;/' 'hostile.arguments'
mutant stale pool.c 's/^\t\tclear_highpage(page);/\t\t;/' 'hostile.stale'

mutant stat_ctx stat.h 's/return ANL_CTX_HARDIRQ;/return ANL_CTX_ATOMIC;/' 'stat.counts'
mutant stat_cause stat.h 's/return ANL_FAIL_ARGS;/return ANL_FAIL_LOCK;/' 'stat.failures'
mutant stat_hidden adopt.c 's/^\tanl_stat_show(arena);/\t;/' 'stat.file'
mutant stat_latency arena_free_deferred.c 's/^\t\t\tanl_note_latency(arena, since);/\t\t\t;/' 'stat.queue'
mutant trace_failed kfunc.c 's/^\t\ttrace_arena_nolock_alloc_failed(.*/\t\t;/' 'trace.*'
mutant trace_queue slots.c 's/^\ttrace_arena_nolock_queue(.*/\t;/' 'trace.events'

# What the oracle has to see, whether or not a test would notice by itself.
by=oracle
mutant o_live_stays slots.h 's/return atomic_long_fetch_andnot(mask, \&slots->live\[w\]) \& mask;/return atomic_long_read(\&slots->live[w]) \& mask;/' 'oracle.counts'
mutant o_nr_populated arena_pgtable.c 's/^\tatomic_long_sub(unmapped->nr_pages, &arena->pgtable.nr_populated);/\t;/' 'oracle.counts'
mutant o_release_more arena_free_deferred.c 's/anl_slots_release(arena, batch->spans\[i\].pgoff, batch->spans\[i\].cnt);/anl_slots_release(arena, batch->spans[i].pgoff, batch->spans[i].cnt + 1);/' 'oracle.counts'
mutant o_lost arena_free_deferred.c 's/anl_slots_release(arena, batch->spans\[i\].pgoff, batch->spans\[i\].cnt);/;/' 'oracle.counts'
mutant o_page_twice arena_pgtable.c 's/pte = mk_pte(page + i, PAGE_KERNEL)/pte = mk_pte(page, PAGE_KERNEL)/' 'oracle.counts'
mutant o_user_pte arena_free_deferred.c 's/if (anl_zap_spans(.*/if (0)/' 'oracle.counts'
mutant o_pte_stays arena_pgtable.c '/^static bool anl_unmap_ptes(/,/^}/s/pte_clear(anl_init_mm, addr, ptep);/;/' 'oracle.counts'
mutant o_reference fault.c 's/err = vm_insert_page(/get_page(page); &/' 'oracle.counts'
mutant o_pool_dirty pool.c 's/^\t\tclear_highpage(page);/\t\t;/' 'oracle.*'
mutant o_pool_nr pool.c 's/^\t\tatomic_dec(&arena->pool.nr);/\t\t;/' 'oracle.*'
mutant o_pool_pointer pool.c 's/smp_store_release(&arena->pool.pages\[i\], NULL);/;/' 'oracle.*'
mutant o_spare_kept slots.c 's/cmpxchg(&slots->spares\[i\], spare, ANL_NO_SPARE) != spare)/0)/' 'alloc.whole_arena' 'alloc.limit'
mutant o_kick_stays kick.h 's/atomic_andnot(what, &kick->pending);/if (what == ANL_KICK_REFILL) &/' 'oracle.counts'
mutant o_never_drained kick.c 's/mod_delayed_work(anl_drain_wq, \&kick->drain, 0);/;/' 'oracle.counts'
mutant o_draining arena_free_deferred.c 's/^\tatomic_dec(&arena->drain.running);/\t;/' 'oracle.counts'
mutant o_vma_unlisted vma.c 's/list_add_tail(&avma->head, &arena->vmas.list);/INIT_LIST_HEAD(\&avma->head);/' 'oracle.counts'
mutant o_stock_open stock_arena.c 's/WRITE_ONCE(\*stock_user_vm_end(map), .*/;/' 'oracle.counts'
[ "$kernel" != backports ] ||
	mutant o_stock_tree stock_arena.c 's/^\t\*stock_[a-z]*(map) = RB_ROOT_CACHED;/\t;/' 'oracle.counts'
mutant o_tree_sum range_tree_rqs.c 's/n->max = max3(l->max, r->max, l->suf + r->pre);/n->max = max(l->max, r->max);/' 'oracle.counts'
mutant o_tree_low range_tree_rqs.c 's/^\ttree->low = min(tree->low, first);/\t;/' 'oracle.*' 'alloc.*'
mutant o_tree_count range_tree_rqs.c 's/WRITE_ONCE(tree->nr_free, tree->nr_free + cnt);/WRITE_ONCE(tree->nr_free, tree->nr_free + cnt + 1);/' 'oracle.counts'

# What only shows when an allocation fails.
by=
if [[ $kernel == *:debug ]]; then
	mutant i_unclaim alloc.c '/^static long anl_populate_atomic(/,/^}/s/anl_slots_unclaim(arena, pgoff, cnt);/;/' 'inject.starved'
	mutant i_unpopulate alloc.c 's/if (!anl_unpopulate(arena, pgoff, cnt) || fixed/anl_slots_unclaim(arena, pgoff, cnt); if (1/' 'inject.alloc_sleepable'
	mutant i_batch arena_free_deferred.c 's/if (cnt > 2 \* ANL_STACK_SPANS)/if (cnt)/; s/^\tif (!batch) {/\tif (0) {/' 'inject.free_sleepable'
	mutant i_fault fault.c '/anl_alloc_fault_page/,/anl_slots_claim/s/VM_FAULT_SIGBUS/VM_FAULT_SIGSEGV/' 'inject.fault'
	mutant i_fault_lost fault.c '/anl_alloc_fault_page/,/anl_slots_claim/s/if (!page) {/if (!page \&\& anl_slots_claim(\&arena->slots, pgoff, 1)) return 0; if (!page) {/' 'inject.fault'
	mutant i_mmap vma.c '/^int anl_vma_mmap(/,/^}/s/return -ENOMEM;/return 0;/' 'inject.mmap'
	mutant i_mmap_error vma.c '/^int anl_vma_mmap(/,/^}/s/return -ENOMEM;/return -EINVAL;/' 'inject.mmap'
	mutant i_create_leaks adopt.c '/^static struct anl_arena \*anl_arena_create(/,/^}/s/^\tanl_arena_destroy(arena);/\t;/' 'inject.adopt'
	mutant i_seize_early stock_arena.c '/^int anl_stock_probe(/,/^}/s/^\tend = .*/&\n\tWRITE_ONCE(*stock_user_vm_end(map), start);/' 'inject.adopt'
	mutant i_prefill arena_pgtable.c '/^static int anl_pgtable_prefill(/,/^}/s/if (err)/if (0)/' 'inject.adopt_no_pages'
	mutant i_unget pool.c '/^int anl_get_pages(/,/^}/s/anl_unget_pages(arena, &got);/;/' 'inject.pages_come_back'
	mutant i_put alloc.c '/^static u32 anl_unpopulate(/,/^}/s/anl_put_pages(&unmapped.pages);/;/' 'inject.pages_come_back'
fi

echo
if [ ${#survived[@]} -gt 0 ]; then
	echo "Survived:"
	printf '  %s\n' "${survived[@]}"
fi
echo "$killed killed, ${#survived[@]} survived"
[ ${#survived[@]} -eq 0 ]
