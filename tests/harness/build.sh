# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Builds the modules for each kernel, in the root that has its headers, and the programs of
# the tests once for all kernels. Sourced by run_qemu.sh.

build_jobs=$(nproc)

# A copy of the sources, since kbuild cleans everything below a module's directory: DIR
copy_sources() {
	mkdir -p "$1"
	(cd "$top" && cp -pu Kbuild Makefile VERSION "$1" && cp -pru src scripts "$1")
}

# The module, and the test module beside it: REL
build_module() {
	local rel=$1 log=$logs/build-$1.log dir=$build/$1 arch root root_name
	use_root "$(kernel_root "$rel")"
	read -ra arch <<<"$(kernel_make_args "$rel")"
	copy_sources "$dir"
	if ! in_root make -C "/src/build/$rel" -j"$build_jobs" "${arch[@]}" \
			KDIR="/usr/src/linux-headers-$rel" W=1 >"$log" 2>&1; then
		die_log "$log" "the module does not build for $rel"
	fi
	mkdir -p "$dir/kmod"
	cp -pu "$here"/kmod/* "$dir/kmod"
	in_root make -C "/usr/src/linux-headers-$rel" M="/src/build/$rel/kmod" -j"$build_jobs" \
		"${arch[@]}" modules >"$log.kmod" 2>&1 ||
		die_log "$log.kmod" "the test module does not build for $rel"
}

# One set of BPF objects runs on all kernels of an architecture; REL is the newest, which has
# most types.
build_tests() {
	local rel=$1 log=$logs/build-tests.log dir out root root_name
	! is_arm64 "$rel" || log=$logs/build-tests-arm64.log
	use_root "$(kernel_root "$rel")"
	dir=$(programs_dir "$rel")
	out=$top/$dir/tests/bpf
	mkdir -p "$out"
	# Make does not notice another vmlinux, as files of packages keep their old dates.
	if [ "$(cat "$out/btf" 2>/dev/null)" != "$rel" ]; then
		rm -f "$out/vmlinux.h"
		echo "$rel" >"$out/btf"
	fi
	in_root make -C /src/tests/bpf -j"$build_jobs" OUT="/src/$dir/tests/bpf" \
		CC="$(programs_cc "$rel")" VMLINUX_BTF="/usr/src/linux-headers-$rel/vmlinux" >"$log" 2>&1 ||
		die_log "$log" "the tests do not build"
}

# REL as above.
build_programs() {
	local rel=$1 log=$logs/build-programs.log dir cc root root_name
	! is_arm64 "$rel" || log=$logs/build-programs-arm64.log
	use_root "$(kernel_root "$rel")"
	dir=/src/$(programs_dir "$rel")
	cc=$(programs_cc "$rel")
	in_root make -C /src/tools OUT="$dir/tools" CC="$cc" >"$log" 2>&1 ||
		die_log "$log" "the tools do not build"
	in_root make -C /src/examples -j"$build_jobs" OUT="$dir/examples" CC="$cc -Werror" \
		VMLINUX_BTF="/usr/src/linux-headers-$rel/vmlinux" >>"$log" 2>&1 ||
		die_log "$log" "the examples do not build"
}

# Kernels with their headers, for SPEC.... Sets rels.
get_kernels() {
	local spec
	rels=()
	for spec in "$@"; do
		get_kernel "$spec"
		rels+=("$rel")
	done
}

# What the guests need, all at the same time: REL...
build_for() {
	local rel types=() commands=()
	[ "$mode" != test-all ] && ! wants_lines || commands+=(build_lines)
	for rel in "$@"; do
		commands+=("build_module $rel")
		if is_arm64 "$rel"; then
			types[1]=$arm64_btf_rel
		else
			types[0]=$btf_rel
		fi
	done
	for rel in "${types[@]}"; do
		commands+=("build_tests $rel" "build_programs $rel")
	done
	step "building for $*"
	all_of "${commands[@]}"
	build_clients "$@"
}
