# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the runs of tests consist of: make test, make test-all, and tests by name. The rest of
# harness/ has the parts. Sourced by run_qemu.sh.

# Kernels of this run that were tested; the verdict names them.
tested=()
# Tests of one kernel, beside those in globs: REL -> GLOB...
declare -A rel_globs=()

# The tests of examples, tools and programs of others, which make test leaves to make test-all.
program_tests=('clients.*' 'example.*' 'nomod.examples' 'nomod.scx' 'porting.*' 'top.*')

# The newest headers of all, whose types the tests are built with. Sets btf_rel.
prepare_tools() {
	local rel
	host_tools
	check_namespaces
	phase root
	prepare_root build
	phase kernels
	get_headers backports:cloud
	btf_rel=$rel
}

# Kernels and all programs for SPEC.... Sets rels.
prepare() {
	get_kernels "$@"
	probe_kvm "${rels[0]}"
	phase build
	build_for "${rels[@]}"
	find_accel
}

# The tests that make test-all runs on arm64: paths that depend on the architecture; on kernels
# with large pages, or with PREEMPT_RT, those that depend on the size of pages; and one storm.
arm64_tests=('ctx.fentry*' 'ctx.hardirq' 'ctx.on_top_of_*' 'ctx.rcu*' 'ctx.softirq' 'fault.*'
	'free.churn_mixed' 'free.complete_on_return' 'free.fault_race_*' 'heap.sizes'
	'lost.queued' 'lost.sleepable' 'lost.user_*' 'storm.all')
large_page_tests=('adopt.stock_pages*' 'alloc.fixed*' 'alloc.zeroed*' 'free.zaps*'
	'heap.large_pages' 'pool.pages_*' 'standby.*' 'portable.*' 'scratch.*' 'slab.*' 'storm.all')

# What make test does, on SPEC...; the host's tests run beside the guests.
test_core() {
	test_judgements
	test_start
	prepare "$@"
	start_job crash test_crash "${rels[0]}"
	start_job warnings check_modules "${rels[@]}"
	start_job user user_tests
	phase tests "${rels[@]/#/$build/boot-}"
	later=("${program_tests[@]}")
	run_kernels "${rels[@]}"
	later=()
	phase host
	step "results of the host's tests"
	finish_jobs
}

# Kernels of the build root without PREEMPT_RT, among REL...
plain_kernels() {
	local rel
	for rel in "$@"; do
		[[ $rel = *-rt-* || $(kernel_root "$rel") != build ]] || echo "$rel"
	done
}

# SPEC... without the one of an older series, if the archive has none. Sets rest_specs.
drop_absent() {
	local spec
	rest_specs=()
	for spec in "$@"; do
		if [[ $spec != previous:* || -n $(previous_series) ]]; then
			rest_specs+=("$spec")
		else
			skip "kernel $spec" "the archive has no series between stable and backports"
		fi
	done
}

# Programs: ours, and those of others where they can be built. One guest at a time, as the
# schedulers' storms and the profiler's samples need a CPU that is not shared: REL...
test_programs() {
	local globs=("${program_tests[@]}") jobs=1
	build_clients "$@"
	run_kernels "$@"
}

# Kernels of arm64, and everything for them, while the guests of others run: SPEC... A file that
# test_arm64 reads has their releases.
prepare_arm64() {
	get_kernels "$@"
	build_for "${rels[@]}"
	check_module "${rels[0]}"
	refusal_on_arm64
	printf '%s\n' "${rels[@]}" >"$job_dir/arm64.rels"
}

# The selection for arm64, on the kernels that the job has prepared. If it has failed, that is a
# result already.
test_arm64() {
	local rels rel
	[ -f "$job_dir/arm64.rels" ] || return 0
	mapfile -t rels <"$job_dir/arm64.rels"
	for rel in "${rels[@]}"; do
		case $rel in
		*k | *-rt-*) rel_globs[$rel]="${large_page_tests[*]}" ;;
		*) rel_globs[$rel]="${arm64_tests[*]}" ;;
		esac
	done
	phase arm64 "${rels[@]/#/$build/boot-}"
	run_kernels "${rels[@]}"
}

# What make test-all does beyond that: all tests on SPEC... too, on arm64 a selection, the rest on
# all kernels.
test_rest() {
	local core=("${rels[@]}") plain spec arm64=() numa='' globs=()
	for spec in "$@"; do
		[[ $spec != *:arm64* ]] || arm64+=("$spec")
		shift
		[[ $spec = *:arm64* ]] || set -- "$@" "$spec"
	done
	rm -f "$job_dir/arm64.rels"
	[ ${#arm64[@]} -eq 0 ] || start_job arm64 prepare_arm64 "${arm64[@]}"
	start_job config config_tests "${core[0]}"
	phase build-all
	drop_absent "$@"
	set -- "${rest_specs[@]}"
	get_kernels "$@"
	if [ $# -gt 0 ]; then
		build_for "${rels[@]}"
		start_job warnings check_modules "${rels[@]}"
	fi
	phase tests-all "${rels[@]/#/$build/boot-}"
	run_kernels "${rels[@]}"
	phase host-all
	finish_jobs
	test_arm64
	mapfile -t plain < <(plain_kernels "${core[@]}" "${rels[@]}")
	if [ ${#plain[@]} -gt 0 ]; then
		phase numa
		numa=1 globs=('numa.*')
		run_kernels "${plain[@]}"
		numa='' globs=()
	fi
	mapfile -t plain < <(plain_kernels "${core[@]}" | grep -v '^6\.')
	if [ ${#plain[@]} -gt 0 ]; then
		phase lines
		globs=('lines.*')
		run_kernels "${plain[@]}"
		globs=()
	fi
	mapfile -t plain < <(plain_kernels "${core[@]}")
	if [ ${#plain[@]} -gt 0 ]; then
		phase programs
		test_programs "${plain[@]}"
		phase bench
		test_bench "${plain[@]}"
	fi
	phase packages
	test_packages "${plain[@]}"
}

# Of all kernels, those of make test, or all if none of them is.
split_specs() {
	local spec
	core_specs=()
	rest_specs=()
	for spec in "${specs[@]}"; do
		case $spec in
		stable:cloud | backports:cloud) core_specs+=("$spec") ;;
		*) rest_specs+=("$spec") ;;
		esac
	done
	if [ ${#core_specs[@]} -eq 0 ]; then
		core_specs=("${rest_specs[@]}")
		rest_specs=()
	fi
}

whole_test() {
	local phases=(kernels build tests host)
	[ -f "$cache/root-build.stamp" ] || phases=(root "${phases[@]}")
	split_specs
	if [ "$mode" = test ]; then
		core_specs=("${specs[@]}")
	else
		phases+=(build-all tests-all host-all arm64 numa lines programs bench packages)
	fi
	begin_results
	plan_phases "${phases[@]}"
	progress_begin
	prepare_tools
	test_core "${core_specs[@]}"
	if [ "$mode" = test-all ]; then
		step "what make test covers: $passed passed, $failed failed, $skipped skipped; now the rest"
		test_rest "${rest_specs[@]}"
	fi
	progress_end
	verdict "$([ "$mode" = test ] || echo "ALL ")TESTS"
}

# Tests by name, or those of one kind.
some_tests() {
	begin_results
	prepare_tools
	prepare "${specs[@]}"
	case $mode in
	packages) test_packages "${rels[@]}"; tested=("${rels[@]}") ;;
	check) test_sources; tested=("${rels[@]}") ;;
	harness) test_judgements; test_start; test_crash "${rels[0]}"; tested=("${rels[0]}") ;;
	*) run_kernels "${rels[@]}" ;;
	esac
	verdict TESTS
}
