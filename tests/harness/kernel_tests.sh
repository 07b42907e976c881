# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The tests in guests: several kernels at a time, shown one after the other. Sourced by
# run_qemu.sh.

show_results() {
	if [ "$verbose" -eq 1 ]; then
		sed -u 's/^/    /'
	else
		sed -un '/^\(not \)\?ok \|^# [a-z_]*\.c:\|^# storm:/s/^/    /p'
	fi
}

# REL
start_kernel() {
	local rel=$1 dir=$build/boot-$1${numa:+-numa} args=(--module /arena_nolock.ko) g own
	read -ra own <<<"${rel_globs[$1]:-}"
	for g in "${globs[@]}" "${own[@]}"; do
		args+=(--test "$g")
	done
	for g in "${later[@]}"; do
		args+=(--skip "$g")
	done
	! is_debug "$rel" || args+=(--slow 5)
	[ "$mode" != soak ] || args+=(--minutes "$minutes")
	[ -z "$seed" ] || args+=(--seed "$seed")
	step "booting $rel"
	mkdir -p "$dir"
	make_initramfs "$dir" "$rel" runner runner "${args[@]}"
	start_guest "$dir" "$rel"
}

# Show what a started kernel does, and count its results: REL
finish_kernel() {
	local rel=$1 dir=$build/boot-$1${numa:+-numa} why
	step "results of $rel"
	show_guest() { show_results; }
	follow_guest "$dir"
	why=$(says_nothing "$dir")
	if [ -n "$why" ]; then
		repeats+=("$rel: $why")
		step "$rel: $why"
		start_kernel "$rel"
		follow_guest "$dir"
	fi
	tr -d '\r' <"$dir/results.log" >"$dir/results.ktap"
	guest_results "$rel" "$dir/results.ktap"
	why=$(judge "$dir" "$qemu_code")
	[ -z "$why" ] || why+=$'\n'"see $dir/console.log and results.log"
	result "boot $rel${numa:+ with memory nodes}: no splat, no hang, all results, clean power-off" \
		"${#why}" "$why"
}

# REL...
run_kernels() {
	local rels=("$@") next=0 rel
	# Results of an earlier run are no progress of this one.
	for rel in "${rels[@]}"; do
		rm -f "$build/boot-$rel${numa:+-numa}/results.log"
	done
	for rel in "${rels[@]}"; do
		while [ ${#qemu_pids[@]} -lt "$jobs" ] && [ "$next" -lt ${#rels[@]} ]; do
			start_kernel "${rels[next]}"
			next=$((next + 1))
		done
		finish_kernel "$rel"
	done
	tested+=("$@")
}
