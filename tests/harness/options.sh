# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The command line of run_qemu.sh, see usage(), and the defaults. Sourced by run_qemu.sh.

mode='test'
specs=()
globs=()
# Tests that other guests of this run have, or none.
later=()
quick=${QUICK:-}
bench_case=${CASE:-*}
cpus=
memory=
boot_time=
start_time=300
minutes=${MINUTES:-10}
seed=${SEED:-}
jobs=
verbose=0
numa=
# At least one kernel checks itself, and is slow.
checking=

parse_options() {
	while [ $# -gt 0 ]; do
		case $1 in
		test | test-all | demo | bench | soak | packages | check | harness | prepare | shell)
			mode=$1 ;;
		--list) mode=list ;;
		--verbose) verbose=1 ;;
		--numa) numa=1 ;;
		--quick) quick=1 ;;
		--case) bench_case=${2:?}; shift ;;
		--kernel) specs+=("${2:?--kernel needs a value}"); shift ;;
		--test) globs+=("${2:?--test needs a value}"); shift ;;
		--minutes) minutes=${2:?}; shift ;;
		--seed) seed=${2:?}; shift ;;
		--cpus) cpus=${2:?}; shift ;;
		--memory) memory=${2:?}; shift ;;
		--time) boot_time=${2:?}; shift ;;
		--jobs) jobs=${2:?}; shift ;;
		--help | -h) usage; exit 0 ;;
		*) usage >&2; die "unknown argument '$1'" ;;
		esac
		shift
	done
	[ ${#specs[@]} -gt 0 ] || [ -z "${KERNEL:-}" ] || specs=("$KERNEL")
	[ ${#globs[@]} -gt 0 ] || [ -z "${TEST:-}" ] || globs=("$TEST")
	if [ "$mode" = soak ]; then
		[[ "$minutes" =~ ^[1-9][0-9]*$ ]] || die "--minutes needs a number"
		globs=('storm.*')
	fi
	default_kernels
	default_guest
}

# Kernels as SUITE:FLAVOUR.
default_kernels() {
	local i
	if [ ${#specs[@]} -eq 0 ]; then
		case $mode in
		test-all) specs=(stable backports backports:rt stable:rt previous oldstable
				backports:arm64 backports:arm64-16k stable:arm64-rt) ;;
		prepare | check) specs=(stable backports stable:rt backports:rt oldstable) ;;
		test | soak) specs=(stable backports) ;;
		bench) specs=(backports stable) ;;
		*) specs=(stable) ;;
		esac
	fi
	for i in "${!specs[@]}"; do
		case ${specs[i]} in
		*:*) ;;
		*) specs[i]=${specs[i]}:cloud ;;
		esac
	done
	[[ "${specs[*]}" != *:debug* && "${specs[*]}" != *:kcsan* ]] || checking=1
}

default_guest() {
	[ -z "$checking" ] || start_time=900
	if [ -z "$cpus" ]; then
		case $mode in
		soak) cpus=4 ;;
		bench) ;;
		*) cpus=2 ;;
		esac
	fi
	if [ -z "$memory" ]; then
		memory=2048
		[ "$mode" != bench ] || [ -z "$quick" ] || memory=1024
		[[ "${specs[*]}" != *:kcsan* ]] || memory=4096
		[[ "${specs[*]}" != *:debug* ]] || memory=$(debug_memory)
	fi
	if [ -z "$boot_time" ]; then
		boot_time=1200
		[ "$mode" != bench ] || boot_time=3600
		[ -z "$checking" ] || boot_time=7200
		[ "$mode" != soak ] || boot_time=$((boot_time + minutes * 60))
	fi
	if [ -z "$jobs" ]; then
		jobs=$(nproc)
		# These guests do not idle, and wait for locks whose holders do not run.
		[ -z "$checking" ] || jobs=$(((jobs + 1) / 2))
	fi
}
