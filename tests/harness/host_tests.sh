# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Tests that need no guest: a build without warnings, what the build must refuse, and the
# range tree and the lock in user space. Sourced by run_qemu.sh.

# The sparse of Debian 13 is too old for headers of 7.x: it lacks a keyword, and does not
# know that the length of a literal is constant.
sparse="sparse -D__typeof_unqual__=__typeof__ '-D__builtin_strlen(s)=(sizeof(s)-1)'"

# Warnings and sparse, in a fresh build. Sources that passed are not checked again: REL
check_module() {
	local rel=$1 log=$logs/check-$1.log dir=$build/check-$1 stamp state root root_name
	local check=$sparse
	# The atomics of arm64 cast a constant to each size, then choose one.
	! is_arm64 "$rel" || check+=" -Wno-cast-truncate"
	use_root "$(kernel_root "$rel")"
	stamp=$(cd "$top" && find Kbuild Makefile src scripts -type f -exec sha256sum {} + | sort |
		sha256sum)
	state="$stamp $(stat -c %Y "$root/usr/src/linux-headers-$rel/.config")"
	if [ "$(cat "$log.passed" 2>/dev/null)" != "$state" ]; then
		rm -rf "$dir" "$log.passed"
		copy_sources "$dir"
		# shellcheck disable=SC2046 # several arguments, or none
		in_root make -C "/src/build/check-$rel" -j"$build_jobs" $(kernel_make_args "$rel") \
			KDIR="/usr/src/linux-headers-$rel" sparse CHECK="$check" >"$log" 2>&1 || true
		grep -n 'warning:\|error:\|WARNING:\|ERROR:' "$log" >"$log.warnings" || true
		[ -f "$dir/arena_nolock.ko" ] || echo "no module was built" >>"$log.warnings"
		rm -rf "$dir"
	fi
	result "build.warnings $rel" "$(wc -l <"$log.warnings")" \
		"$(head -n 5 "$log.warnings"; echo "see $log")"
	result "build.sparse $rel" "$(grep -q '^ *CHECK ' "$log"; echo $?)" "sparse did not run: $log"
	if [ ! -s "$log.warnings" ] && grep -q '^ *CHECK ' "$log"; then
		echo "$state" >"$log.passed"
	fi
}

# REL...
check_modules() {
	local rel
	for rel in "$@"; do
		check_module "$rel"
	done
}

# Debian's 6.12 for arm64 has no PREEMPT_COUNT without PREEMPT_RT: the build must say so.
refusal_on_arm64() {
	local rel log=$logs/refusal-arm64.log dir=refusal-arm64 r=1 root root_name
	use_root arm64
	get_headers stable:arm64
	rm -rf "${build:?}/$dir"
	copy_sources "$build/$dir"
	# shellcheck disable=SC2046 # several arguments
	if in_root make -C "/src/build/$dir" $(kernel_make_args "$rel") \
			KDIR="/usr/src/linux-headers-$rel" >"$log" 2>&1; then
		echo "the module was built" >>"$log"
	elif grep -q 'lacks CONFIG_PREEMPT_COUNT, which the module needs' "$log"; then
		r=0
	fi
	result "build.refusal_on_arm64 $rel" "$r" "$(tail -n 5 "$log")"
}

# What the build must refuse: REL
config_tests() {
	local why r root root_name
	use_root "$(kernel_root "$1")"
	why=$(in_root sh /src/tests/harness/config_test.sh /src "/usr/src/linux-headers-$1" 2>&1) &&
		r=0 || r=$?
	result "build.misfit_refused $1" "$r" "$why"
}

# The range tree and the lock in user space: cmocka, then libFuzzer.
user_tests() {
	local log=$logs/user-tests.log r
	in_root make -C /src/tests/user -j"$build_jobs" OUT=/src/build/tests/user check \
		>"$log" 2>&1 && r=0 || r=$?
	result "range_tree.model" "$r" "$(tail -n 5 "$log"; echo "see $log")"
	in_root make -C /src/tests/user OUT=/src/build/tests/user FUZZ_SECONDS=10 fuzz \
		>"$log.fuzz" 2>&1 && r=0 || r=$?
	result "range_tree.fuzz" "$r" "$(tail -n 5 "$log.fuzz"; echo "see $log.fuzz")"
}
