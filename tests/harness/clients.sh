# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Programs of others that use arenas, for the tests clients.* and the case objects of the bench.
# clients/build.sh builds them from the kernel's own sources, which Debian has as a package; for
# the newest series of kernels, again when the source, the compiler or that directory change.
# Sourced by run_qemu.sh.

clients_packages=(clang-22 llvm-22 python3 libssl-dev xz-utils)

# What is taken from the source.
clients_parts=(tools/sched_ext tools/lib tools/bpf tools/scripts tools/build tools/include
	tools/arch tools/testing/selftests/bpf scripts kernel/bpf/disasm.c kernel/bpf/disasm.h
	include/uapi Makefile)

# Are tests selected that need them, or a case of the bench that compares with them?
wants_clients() {
	local glob
	if [ "$mode" = bench ]; then
		# shellcheck disable=SC2053
		[[ -z $quick && objects = $bench_case ]]
		return
	fi
	for glob in "${globs[@]}"; do
		# shellcheck disable=SC2053 # it is a pattern
		[[ clients. = $glob || $glob = clients.* ]] && return 0
	done
	return 1
}

# The series of a kernel, if it is the newest; otherwise nothing: REL. The schedulers of older
# series do not load on Debian's kernels, whose BTF contradicts their prototypes. They are built
# for x86 only.
clients_series() {
	local minor=${1#*.}
	local series=${1%%.*}.${minor%%.*}
	[[ $btf_rel != "$series".* ]] || is_arm64 "$1" || echo "$series"
}

# Where the clients of a kernel are, if they were built: REL
clients_dir() {
	echo "$cache/files/clients-$(clients_series "$1")"
}

# SERIES REL
get_clients() {
	local series=$1 rel=$2 log=$logs/clients-$1.log dir=/usr/src/clients-$1 pkg version stamp
	read -r pkg version <<<"$(debug_source "backports-$series")"
	if [ -z "${version:-}" ]; then
		step "no clients for $series: the archive does not have its source"
		return 0
	fi
	stamp="$version $(cat "$here"/clients/* "$harness/clients.sh" | sha256sum | cut -c1-16)"
	stamp+=" $(in_root apt-cache policy clang-22 | awk '/Candidate:/ { print $2 }')"
	[ "$(cat "$cache/clients-$series.stamp" 2>/dev/null)" != "$stamp" ] || return 0
	step "building clients from $pkg $version"
	# shellcheck disable=SC2016
	in_root sh -ec 'apt-get install -y -qq --no-install-recommends "$@"; apt-get clean' sh \
		"${clients_packages[@]}" >"$log" 2>&1 </dev/null ||
		die_log "$log" "cannot install what building the clients needs"
	# A build that failed may have left a source that it had changed.
	in_root rm -rf "$dir"
	debug_unpack "$dir" "$pkg" "$version" "${clients_parts[@]/#/$pkg/}" >>"$log" 2>&1 </dev/null ||
		die_log "$log" "cannot get the source of the clients"
	in_root /src/tests/clients/build.sh "$dir" "/usr/src/linux-headers-$rel/vmlinux" \
		"/cache/clients-$series" >>"$log" 2>&1 </dev/null ||
		die_log "$log" "the clients do not build"
	in_root rm -rf "$dir"
	echo "$stamp" >"$cache/clients-$series.stamp"
}

# The clients of the series that is tested, if they are wanted: REL...
build_clients() {
	local rel series
	wants_clients || return 0
	for rel in "$@"; do
		series=$(clients_series "$rel")
		[ -z "$series" ] || get_clients "$series" "$rel"
	done
}
