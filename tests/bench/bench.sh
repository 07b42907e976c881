# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The bench on the host: builds it, boots the guests, and has report.sh make the
# table, results.json and the plots in build/bench. Sourced by run_qemu.sh.

bench_dir=$build/bench

build_bench() {
	local rel=$1 log=$logs/build-bench-$1.log dir=$build/$1/bench root root_name
	use_root "$(kernel_root "$rel")"
	mkdir -p "$dir"
	cp -pu "$here"/bench/kmod/* "$dir"
	in_root sh -ec "make -C '/usr/src/linux-headers-$rel' M='/src/build/$rel/bench' \
			$(kernel_make_args "$rel") modules
		make -C /src/tests/bench OUT='/src/$(programs_dir "$rel")/tests/bpf' \
			CC='$(programs_cc "$rel")'" >"$log" 2>&1 ||
		die_log "$log" "the bench does not build for $rel"
}

# Progress for the terminal; the log has all lines.
show_bench() {
	sed -un -e 's/^# /        /p' -e 's/^RESULT\t\([^\t]*\)\t.*/        \1/p' | cut -c1-110
}

# One boot: NAME REL ARGS...
boot_bench() {
	local name=$1 rel=$2 dir=$build/boot-bench-$1-$2 why
	shift 2
	mkdir -p "$dir"
	[ -z "$quick" ] || set -- "$@" --quick
	make_initramfs "$dir" "$rel" bench bench --module /arena_nolock.ko \
		--module /anl_test.ko --module /anl_bench.ko "$@"
	show_guest() { show_bench; }
	start_guest "$dir" "$rel"
	follow_guest "$dir"
	why=$(says_nothing "$dir")
	if [ -n "$why" ]; then
		step "$rel: $why"
		start_guest "$dir" "$rel"
		follow_guest "$dir"
	fi
	tr -d '\r' <"$dir/results.log" >"$bench_dir/$name-$rel.log"
	why=$(bench_judge "$dir")
	[ -z "$why" ] || {
		printf '%s\nsee %s\n' "$why" "$dir/console.log and results.log"
		bench_failed=1
	}
}

# The kernel may report faults of its own arena; these are shown, not judged.
bench_judge() {
	local dir=$1
	[ "$qemu_code" -ne 124 ] || echo "no end after $boot_time s: a hang"
	grep -aqs '^DONE' "$dir/results.log" || echo "the bench did not reach its end"
	grep -aqs 'reboot: Power down' "$dir/console.log" || echo "no clean power-off"
	! grep -aqs 'Kernel panic' "$dir/console.log" || echo "the kernel panicked"
	awk -f "$harness/splat.awk" "$dir/console.log" >"$dir/splats.log" 2>&1 || true
	sed 's/^/        kernel log: /' "$dir/splats.log" | sed -n 1,3p >&2
}

# Boot for those of the wanted cases that are in a list: NAME REL CPUS CASE...
boot_cases() {
	local name=$1 rel=$2 smp=$3 c wanted=()
	shift 3
	for c in "$@"; do
		# shellcheck disable=SC2053
		if [ "$c" = '*' ]; then
			wanted+=("$bench_case")
		elif [[ $c = $bench_case ]]; then
			wanted+=("$c")
		fi
	done
	[ ${#wanted[@]} -gt 0 ] || return 0
	step "booting $rel with $smp CPUs, -accel $accel ${qemu_extra[*]}"
	cpus=$smp
	boot_bench "$name" "$rel" --case "@($(IFS='|'; echo "${wanted[*]}"))" \
		"${bench_args[@]}"
}

# Boot all that is to be booted, and report: REL...
bench_kernels() {
	local rel asked=$cpus how=$accel
	bench_failed=0
	bench_args=()
	rm -rf "$bench_dir"
	mkdir -p "$bench_dir"
	# What only finds faults costs time, and is off as it is elsewhere.
	kernel_args="oops=panic panic=-1 loglevel=4 rcupdate.rcu_cpu_stall_timeout=60"
	for rel in "$@"; do
		# Emulated CPUs beyond those of this machine are in each other's way.
		if [ -n "$quick" ]; then
			boot_cases main "$rel" "${asked:-2}" '*'
		else
			boot_cases main "$rel" "${asked:-2}" fixed single loop bulk sizes irqoff frag \
				nmi burst objects lowmem
			boot_cases many "$rel" "${asked:-4}" scatter cpus flows
			boot_cases crowd "$rel" "${asked:-32}" crowd
		fi
		[ "$how" != kvm ] || continue
		[ -z "$quick" ] || [ "$rel" = "$1" ] || continue
		# One host thread, and a clock that counts instructions.
		accel=tcg,thread=single qemu_extra=(-icount "shift=0,sleep=off") bench_args=(--icount)
		boot_cases icount "$rel" 1 single bulk irqoff objects
		accel=$how qemu_extra=() bench_args=()
	done
	"$here/bench/report.sh" "$bench_dir" "$accel" "$quick" "$@" | tee "$bench_dir/report.txt"
	if in_root sh -c "cd '/src/${bench_dir#"$top"/}' && gnuplot plots.gp" >"$logs/gnuplot.log" 2>&1; then
		say "Plots: $(cd "$bench_dir" && shopt -s nullglob && echo *.svg)"
	else
		tail -n 5 "$logs/gnuplot.log"
		bench_failed=1
	fi
	step "results are in ${bench_dir#"$top"/}: report.txt, results.json, *.svg, *.log"
	[ "$bench_failed" -eq 0 ]
}

run_bench() {
	local rel
	for rel in "$@"; do
		step "building the bench for $rel"
		build_bench "$rel"
	done
	bench_kernels "$@"
}

# Does the bench work? Its figures are not looked at, so the kernels can have their
# turns at the same time: REL...
test_bench() {
	local quick=1 memory=1024 cpus='' bench_case='*' boot_time=300 kernel_args=$kernel_args
	local rel pids=() c n bad
	step "the bench in its quick mode"
	for rel in "$@"; do
		build_bench "$rel"
	done
	for rel in "$@"; do
		(
			trap kill_guests EXIT
			trap 'exit 143' TERM
			bench_dir=$build/bench-test-$rel
			bench_kernels "$rel" >"$logs/bench-$rel.log" 2>&1
		) &
		pids+=($!)
	done
	for rel in "$@"; do
		bad=""
		wait "${pids[0]}" || bad+="it failed; "
		pids=("${pids[@]:1}")
		bench_dir=$build/bench-test-$rel
		for c in $(in_root /src/build/tests/bpf/bench --list | cut -d' ' -f1); do
			grep -qs "^# $c took" "$bench_dir"/*.log || bad+="no case $c; "
		done
		n=$(grep -cs '^{"name": ".*"kernel": .*"met": ' "$bench_dir/results.json" || true)
		[ "${n:-0}" -gt 30 ] || bad+="$n results; "
		n=$(find "$bench_dir" -name '*.svg' -size +1k 2>/dev/null | wc -l)
		[ "$n" -ge 6 ] || bad+="$n plots; "
		result "bench.quick $rel" "$([ -z "$bad" ]; echo $?)" "${bad}see $logs/bench-$rel.log"
	done
}
