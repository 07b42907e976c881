#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds the module for stock Debian kernels, boots them in QEMU, and runs the
# tests or the demo there. Whatever that needs goes into a cache directory; this
# machine itself needs mmdebstrap. See --help.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
here=$top/tests
cache=${ARENA_NOLOCK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/arena_nolock}
build=$top/build
logs=$build/logs
started=$SECONDS

usage() {
	cat <<'USAGE'
usage: tests/run_qemu.sh [test|demo|prepare] [options]

  test      all tests on all kernels of the matrix (default)
  demo      the demo on the newest stable kernel
  prepare   make or update the build root and the kernels, and build

  --kernel SUITE[:FLAVOUR]  stable or backports; cloud (default), amd64 or rt.
                            May be given several times; default: both, cloud
  --test GLOB               only tests whose group.name matches, and neither the
                            build checks nor the harness's own; several times
  --cpus N                  CPUs of the guest (default 2)
  --memory MIB              memory of the guest (default 2048)
  --time SECONDS            limit for one boot (default 600)
  --help

Environment: KERNEL, TEST (as the options), ARENA_NOLOCK_CACHE (default
~/.cache/arena_nolock), QEMU_ACCEL (default: KVM if it works, otherwise TCG).

Examples:
  tests/run_qemu.sh --kernel backports --test 'free.*'
  KERNEL=stable:rt make test

Logs are in build/logs, results in build/results.ktap.
USAGE
}

say() {
	printf '%s\n' "$*"
}

step() {
	printf '[%4ds] %s\n' $((SECONDS - started)) "$*"
}

die() {
	printf '\n%s\n' "run_qemu.sh: $*" >&2
	exit 1
}

die_log() {
	printf '\n--- last lines of %s\n' "$1" >&2
	tail -n 30 "$1" >&2
	die "$2"
}

mode=test
specs=()
globs=()
cpus=2
memory=2048
boot_time=600
while [ $# -gt 0 ]; do
	case $1 in
	test | demo | prepare) mode=$1 ;;
	--kernel) specs+=("${2:?--kernel needs a value}"); shift ;;
	--test) globs+=("${2:?--test needs a value}"); shift ;;
	--cpus) cpus=${2:?}; shift ;;
	--memory) memory=${2:?}; shift ;;
	--time) boot_time=${2:?}; shift ;;
	--help | -h) usage; exit 0 ;;
	*) usage >&2; die "unknown argument '$1'" ;;
	esac
	shift
done
[ ${#specs[@]} -gt 0 ] || [ -z "${KERNEL:-}" ] || specs=("$KERNEL")
[ ${#globs[@]} -gt 0 ] || [ -z "${TEST:-}" ] || globs=("$TEST")
if [ ${#specs[@]} -eq 0 ]; then
	specs=(stable backports)
	[ "$mode" != demo ] || specs=(stable)
fi
for i in "${!specs[@]}"; do
	case ${specs[i]} in
	*:*) ;;
	*) specs[i]=${specs[i]}:cloud ;;
	esac
done

mkdir -p "$logs" "$cache"
# shellcheck source=tests/qemu/root.sh
. "$here/qemu/root.sh"

exec 9>"$cache/lock"
flock -n 9 || { step "waiting for another run that uses $cache"; flock 9; }

#
# Results
#

passed=0
failed=0
skipped=0
failures=()
skips=()
ktap=$build/results.ktap
count=0

# A result of the host's own: NAME, 0 or not, and what to say.
result() {
	count=$((count + 1))
	if [ "$2" -eq 0 ]; then
		passed=$((passed + 1))
		echo "ok $count $1" | tee -a "$ktap"
	else
		failed=$((failed + 1))
		failures+=("$1: ${3:-}")
		printf 'not ok %d %s\n# %s\n' "$count" "$1" "${3:-}" | tee -a "$ktap"
	fi
}

skip() {
	count=$((count + 1))
	skipped=$((skipped + 1))
	skips+=("$1: $2")
	echo "ok $count $1 # SKIP $2" | tee -a "$ktap"
}

#
# Building
#

# A copy of the sources, since kbuild cleans whatever lies below a module.
copy_sources() {
	mkdir -p "$1"
	(cd "$top" && cp -pu Kbuild Makefile VERSION "$1" && cp -pru src scripts "$1")
}

build_module() {
	local rel=$1 log=$logs/build-$1.log dir=$build/$1
	copy_sources "$dir"
	if ! in_root make -C "/src/build/$rel" KDIR="/usr/src/linux-headers-$rel" W=1 \
			>"$log" 2>&1; then
		die_log "$log" "the module does not build for $rel"
	fi
	mkdir -p "$dir/kmod"
	cp -pu "$here"/kmod/* "$dir/kmod"
	in_root make -C "/usr/src/linux-headers-$rel" M="/src/build/$rel/kmod" modules \
		>"$log.kmod" 2>&1 ||
		die_log "$log.kmod" "the test module does not build for $rel"
}

# Warnings and sparse, on a tree that has not been built.
check_module() {
	local rel=$1 log=$logs/check-$1.log dir=$build/check-$1
	rm -rf "$dir"
	copy_sources "$dir"
	in_root make -C "/src/build/check-$rel" KDIR="/usr/src/linux-headers-$rel" check \
		>"$log" 2>&1 || true
	grep -n 'warning:\|error:' "$log" >"$log.warnings" || true
	result "build.warnings $rel" "$([ ! -s "$log.warnings" ] && [ -f "$dir/arena_nolock.ko" ]; echo $?)" \
		"see $log"
	if grep -q 'sparse is not available' "$log"; then
		skip "build.sparse $rel" "these headers come without scripts/checker-valid.sh"
	else
		result "build.sparse $rel" "$(grep -q '  CHECK ' "$log"; echo $?)" "sparse did not run: $log"
	fi
	rm -rf "$dir"
}

build_tests() {
	local rel=$1 log=$logs/build-tests.log
	in_root make -C /src/tests/bpf -j2 OUT=/src/build/tests/bpf \
		VMLINUX_BTF="/usr/src/linux-headers-$rel/vmlinux" >"$log" 2>&1 ||
		die_log "$log" "the tests do not build"
}

user_tests() {
	local log=$logs/user-tests.log
	[ -f "$here/user/Makefile" ] || return 0
	step "range tree in user space: cmocka, then libFuzzer"
	in_root make -C /src/tests/user OUT=/src/build/tests/user check >"$log" 2>&1 && r=0 || r=$?
	grep -a '^\[' "$log" | grep -a 'FAILED\|PASSED' || true
	result "range_tree.model" "$r" "see $log"
	in_root make -C /src/tests/user OUT=/src/build/tests/user FUZZ_SECONDS=10 fuzz \
		>"$log.fuzz" 2>&1 && r=0 || r=$?
	result "range_tree.fuzz" "$r" "see $log.fuzz"
}

#
# Booting
#

accel() {
	if [ -n "${QEMU_ACCEL:-}" ]; then
		echo "$QEMU_ACCEL"
	elif [ -w /dev/kvm ] && in_root timeout 5 qemu-system-x86_64 -accel kvm -cpu host \
			-display none -monitor none -serial none -S -no-shutdown \
			>"$logs/kvm.log" 2>&1; then
		echo kvm
	elif [ -w /dev/kvm ] && [ ! -s "$logs/kvm.log" ]; then
		# It was stopped by the time limit, without a complaint.
		echo kvm
	else
		echo "tcg,thread=multi"
	fi
}

# The initramfs: DIR REL PROGRAM ARGS...
make_initramfs() {
	local dir=$1 rel=$2 prog=$3 f
	shift 3
	rm -rf "$dir/ird"
	mkdir -p "$dir"/ird/{bin,lib,lib64,proc,sys,dev,tmp}
	cp "$root/bin/busybox" "$dir/ird/bin/"
	cp "$here/qemu/init" "$dir/ird/init"
	chmod 755 "$dir/ird/init"
	cp "$build/tests/bpf/$prog" "$dir/ird/$prog"
	cp "$build/$rel/arena_nolock.ko" "$dir/ird/"
	cp "$build/$rel/kmod/anl_test.ko" "$dir/ird/"
	for f in $(in_root ldd "/src/build/tests/bpf/$prog" "$(in_root sh -c 'command -v bpftool')" |
			grep -o '/[^ ]*\.so[^ ]*' | sort -u); do
		cp -L "$root/$f" "$dir/ird/lib/"
	done
	cp -L "$root/lib64/ld-linux-x86-64.so.2" "$dir/ird/lib64/"
	cp -L "$root/usr/sbin/bpftool" "$dir/ird/bin/"
	printf '%s\n' "$@" >"$dir/ird/what"
	in_root sh -c "cd '/src/${dir#"$top"/}/ird' && find . | cpio -o -H newc --quiet |
		gzip -1 >'../initramfs.gz'"
	rm -rf "$dir/ird"
}

# Boot what make_initramfs made, in the background: DIR REL. Sets qemu_pid.
start_guest() {
	local dir=/src/${1#"$top"/} kvm_cpu=max
	rm -f "$1"/{console,results}.log
	: >"$1/results.log"
	in_root timeout "$boot_time" qemu-system-x86_64 -accel "$accel" -cpu "$kvm_cpu" \
		-smp "$cpus" -m "$memory" -display none -monitor none -no-reboot \
		-nic none -serial "file:$dir/console.log" -serial "file:$dir/results.log" \
		-kernel "/cache/vmlinuz-$2" -initrd "$dir/initramfs.gz" \
		-append "console=ttyS0 oops=panic panic_on_warn=1 panic=-1 rcupdate.rcu_cpu_stall_timeout=60 loglevel=6" \
		>"$1/qemu.log" 2>&1 </dev/null &
	qemu_pid=$!
}

# Why a boot was not a success, one reason a line: DIR QEMU-EXIT-CODE
judge() {
	local dir=$1 code=$2 planned got
	[ "$code" -ne 124 ] || echo "no end after $boot_time s: a hang"
	[ "$code" -eq 0 ] || [ "$code" -eq 124 ] || echo "QEMU failed with code $code: $(head -n 1 "$dir/qemu.log")"
	grep -aq 'reboot: Power down' "$dir/console.log" 2>/dev/null || echo "no clean power-off"
	grep -aq '^end: ' "$dir/results.log" || echo "the guest did not reach its end"
	planned=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$dir/results.log" | tail -n 1)
	got=$(grep -ac '^\(not \)\?ok ' "$dir/results.log" || true)
	[ "${planned:-none}" = "$got" ] || echo "${planned:-no} results planned, $got came"
	awk -f "$here/qemu/splat.awk" "$dir/console.log" | head -n 5 | sed 's/^/kernel log: /' || true
}

# Print result lines of the guest as they come until QEMU ends. Sets qemu_code.
follow_guest() {
	local dir=$1 n=0 m
	while :; do
		kill -0 "$qemu_pid" 2>/dev/null && alive=1 || alive=0
		m=$(grep -ac '' "$dir/results.log" || true)
		if [ "$m" -gt "$n" ]; then
			sed -n "$((n + 1)),${m}p" "$dir/results.log" | tr -d '\r' | show_guest
			n=$m
		fi
		[ "$alive" -eq 1 ] || break
		sleep 0.5
	done
	wait "$qemu_pid" && qemu_code=0 || qemu_code=$?
}

run_kernel() {
	local rel=$1 dir=$build/boot-$1 args=(--module /arena_nolock.ko) g reason line why
	for g in "${globs[@]}"; do
		args+=(--test "$g")
	done
	step "booting $rel"
	mkdir -p "$dir"
	make_initramfs "$dir" "$rel" runner /runner "${args[@]}"
	show_guest() { grep -a --line-buffered '^ok\|^not ok\|^# test_\|^# runner' | sed -u 's/^/    /' || true; }
	start_guest "$dir" "$rel"
	follow_guest "$dir"

	tr -d '\r' <"$dir/results.log" >"$dir/results.ktap"
	echo "# Subtest: $rel" >>"$ktap"
	sed 's/^/    /' "$dir/results.ktap" >>"$ktap"
	while read -r line; do
		case $line in
		"not ok "*)
			failed=$((failed + 1))
			failures+=("$rel ${line#not ok * }") ;;
		"ok "*"# SKIP "*)
			skipped=$((skipped + 1))
			skips+=("$rel ${line#ok * }") ;;
		*)
			passed=$((passed + 1)) ;;
		esac
	done < <(grep -a '^ok \|^not ok ' "$dir/results.ktap")
	why=$(judge "$dir" "$qemu_code")
	result "boot $rel: no splat, no hang, all results, clean power-off" \
		"$([ -z "$why" ]; echo $?)" "$why"
}

# The checks that everything else relies on have to fail where they should.
harness_tests() {
	local f bad=() dir=$build/boot-crash rel=$1 why
	step "testing the harness: splat checker, then a guest that crashes"
	for f in "$here"/qemu/splat_samples/*.txt; do
		if awk -f "$here/qemu/splat.awk" "$f" >/dev/null; then
			[[ ${f##*/} == good-* ]] || bad+=("${f##*/}")
		else
			[[ ${f##*/} == bad-* ]] || bad+=("${f##*/}")
		fi
	done
	result "harness.splat_checker" "${#bad[@]}" "wrong verdict: ${bad[*]:-}"

	mkdir -p "$dir"
	make_initramfs "$dir" "$rel" runner sh -c 'echo 1..1; echo c >/proc/sysrq-trigger'
	show_guest() { cat >/dev/null; }
	start_guest "$dir" "$rel"
	follow_guest "$dir"
	why=$(judge "$dir" "$qemu_code")
	local missing=()
	grep -q 'Kernel panic' <<<"$why" || missing+=("panic not seen")
	grep -q 'no clean power-off' <<<"$why" || missing+=("power-off not missed")
	grep -q '1 results planned, 0 came' <<<"$why" || missing+=("result not missed")
	result "harness.crash_is_seen" "${#missing[@]}" "${missing[*]:-}"
}

#
# Main
#

host_tools
make_root
update_root
rels=()
for spec in "${specs[@]}"; do
	rel=$(kernel_release "$spec")
	[ -n "$rel" ] || die "the archive has no kernel for '$spec'"
	get_kernel "$spec" "$rel"
	rels+=("$rel")
done
newest=$(printf '%s\n' "${rels[@]}" | sort -V | tail -n 1)
# One set of BPF objects runs on all kernels; the newest knows the most types.
btf_rel=$newest
if [ "$mode" = test ] || [ "$mode" = prepare ] || [ "$mode" = demo ]; then
	case " ${specs[*]} " in
	*" backports:"*) ;;
	*)
		btf_rel=$(kernel_release backports:cloud)
		get_kernel backports:cloud "$btf_rel" ;;
	esac
fi
step "building for ${rels[*]}"
for rel in "${rels[@]}"; do
	build_module "$rel"
done
build_tests "$btf_rel"
[ "$mode" != prepare ] || { step "ready"; exit 0; }
accel=$(accel)
[ "$accel" = kvm ] || say "        no KVM on this machine: QEMU emulates, which is slow but sound"

if [ "$mode" = demo ]; then
	dir=$build/boot-demo
	mkdir -p "$dir"
	make_initramfs "$dir" "${rels[0]}" demo /demo --module /arena_nolock.ko
	step "booting a stock ${rels[0]}"
	show_guest() { grep -av '^end: ' || true; }
	start_guest "$dir" "${rels[0]}"
	follow_guest "$dir"
	echo 1..0 >>"$dir/results.log"
	why=$(judge "$dir" "$qemu_code")
	code=$(sed -n 's/^end: \([0-9]*\).*/\1/p' "$dir/results.log")
	[ "${code:-1}" -eq 0 ] || why="${why:+$why$'\n'}the demo reports a failure"
	if [ -n "$why" ]; then
		printf '%s\n\nDEMO FAILED\n' "$why"
		exit 1
	fi
	printf '\nDEMO PASSED on %s in %d s\n' "${rels[0]}" $((SECONDS - started))
	exit 0
fi

echo "KTAP version 1" >"$ktap"
if [ ${#globs[@]} -eq 0 ]; then
	step "checking for warnings, and with sparse"
	for rel in "${rels[@]}"; do
		check_module "$rel"
	done
	user_tests
	harness_tests "${rels[0]}"
fi
for rel in "${rels[@]}"; do
	run_kernel "$rel"
done
echo "1..$count" >>"$ktap"

echo
if [ ${#skips[@]} -gt 0 ]; then
	echo "Skipped:"
	printf '  %s\n' "${skips[@]}"
fi
if [ ${#failures[@]} -gt 0 ]; then
	echo "Failed:"
	printf '  %s\n' "${failures[@]}"
fi
echo
verdict=PASSED
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ] || verdict=FAILED
echo "TESTS $verdict on ${rels[*]} in $((SECONDS - started)) s"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$verdict" = PASSED ]
