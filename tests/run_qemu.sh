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
usage: tests/run_qemu.sh [test|demo|bench|soak|packages|check|prepare|shell] [options]

  test      all tests on all kernels of the matrix (default)
  demo      the demo on the newest stable kernel
  bench     the bench against the kernel's own arena; results in build/bench
  soak      a storm of everything at once (tests storm.*) on both suites, for minutes
  packages  dkms and the Debian packages, on Debian 13 and 12 (a part of test)
  check     the sources: checkpatch, sparse, coccinelle, shellcheck, versions
  prepare   make or update the build root and the kernels, and build
  shell     a shell in a guest, with the module, the tests and bpftool at hand

  --kernel SUITE[:FLAVOUR]  stable, backports, or oldstable (6.12 for Debian 12);
                            cloud (default), amd64, rt; debug or kcsan, also with a
                            kernel tree in place of the suite. May be given several
                            times; default: stable and backports, cloud and rt, and
                            oldstable; for bench and soak the first two as cloud
  --test GLOB               only tests whose group.name matches, and neither the
                            build checks nor the harness's own; several times
  --list                    what tests there are
  --quick                   a bench of less than two minutes
  --case GLOB               only these cases of the bench
  --minutes N               how long a soak lasts on each kernel (default 10)
  --seed N                  where the numbers of a storm come from (default: the clock)
  --cpus N                  CPUs of the guest (default 2; soak 4; bench 2, and 4)
  --memory MIB              memory of the guest (default 2048)
  --numa                    a guest of three memory nodes, for the tests numa.*: node 0
                            with a CPU and half of the memory, 1 with the other CPUs,
                            2 with the other half
  --time SECONDS            limit for one boot (default 1200, bench 3600, debug kernels 7200)
  --jobs N                  guests at a time (default: CPUs of this machine, half of them
                            for debug kernels)
  --verbose                 all that the guest's tests print
  --help

Environment: KERNEL, TEST, QUICK=1, CASE, MINUTES, SEED (as the options),
ARENA_NOLOCK_CACHE (default ~/.cache/arena_nolock), QEMU_ACCEL (default: KVM if it works, otherwise TCG).

Examples:
  tests/run_qemu.sh --kernel backports --test 'free.*'
  KERNEL=stable:rt make test

Results are in build/results.ktap, logs of builds in build/logs, of guests in
build/boot-RELEASE (console.log, results.log, and monitor, a socket of QEMU's).
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

mode='test'
specs=()
globs=()
quick=${QUICK:-}
bench_case=${CASE:-*}
cpus=
memory=
boot_time=
minutes=${MINUTES:-10}
seed=${SEED:-}
jobs=
verbose=0
numa=
declare -A qemu_pids=()
qemu_extra=()
while [ $# -gt 0 ]; do
	case $1 in
	test | demo | bench | soak | packages | check | prepare | shell) mode=$1 ;;
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
if [ ${#specs[@]} -eq 0 ]; then
	case $mode in
	test | prepare | check) specs=(stable backports stable:rt backports:rt oldstable) ;;
	bench) specs=(backports stable) ;;
	soak) specs=(stable backports) ;;
	*) specs=(stable) ;;
	esac
fi
if [ "$mode" = soak ]; then
	[[ "$minutes" =~ ^[1-9][0-9]*$ ]] || die "--minutes needs a number"
	globs=('storm.*')
	[ -n "$cpus" ] || cpus=4
fi
[ -n "$cpus" ] || [ "$mode" = bench ] || cpus=2
if [ -z "$memory" ]; then
	memory=2048
	[ "$mode" != bench ] || [ -z "$quick" ] || memory=1024
	[[ "${specs[*]}" != *:debug* ]] || memory=debug
	[[ "${specs[*]}" != *:kcsan* ]] || memory=${memory/2048/4096}
fi
# Kernels that check themselves are slow.
checking=
[[ "${specs[*]}" != *:debug* && "${specs[*]}" != *:kcsan* ]] || checking=1
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
for i in "${!specs[@]}"; do
	case ${specs[i]} in
	*:*) ;;
	*) specs[i]=${specs[i]}:cloud ;;
	esac
done

mkdir -p "$logs" "$cache"
# shellcheck source=tests/qemu/root.sh
. "$here/qemu/root.sh"
# shellcheck source=tests/qemu/debug.sh
. "$here/qemu/debug.sh"
[ "$memory" != debug ] || memory=$(debug_memory)
# shellcheck source=tests/qemu/packages.sh
. "$here/qemu/packages.sh"
# shellcheck source=tests/qemu/checks.sh
. "$here/qemu/checks.sh"
# shellcheck source=tests/bench/bench.sh
. "$here/bench/bench.sh"

# A guest, or a half-made root, is of no use without us.
cleanup() {
	[ ${#qemu_pids[@]} -eq 0 ] || kill "${qemu_pids[@]}" 2>/dev/null || true
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

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
repeats=()
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
		failures+=("$1"$'\n'"${3:-}")
		# shellcheck disable=SC2001
		{ sed 's/^/# /' <<<"${3:-}"; echo "not ok $count $1"; } | tee -a "$ktap"
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
	local rel=$1 log=$logs/build-$1.log dir=$build/$1 root root_name
	use_root "$(kernel_root "$rel")"
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

# The sparse of Debian 13 is older than what headers of 7.x need: it lacks a keyword,
# and does not take the length of a string for a constant.
sparse="sparse -D__typeof_unqual__=__typeof__ '-D__builtin_strlen(s)=(sizeof(s)-1)'"

# Warnings and sparse, on a tree that has not been built. One that passed is not
# checked again.
check_module() {
	local rel=$1 log=$logs/check-$1.log dir=$build/check-$1 stamp state root root_name
	use_root "$(kernel_root "$rel")"
	stamp=$(cd "$top" && find Kbuild Makefile src scripts -type f -exec sha256sum {} + | sort |
		sha256sum)
	state="$stamp $(stat -c %Y "$root/usr/src/linux-headers-$rel/.config")"
	if [ "$(cat "$log.passed" 2>/dev/null)" != "$state" ]; then
		rm -rf "$dir" "$log.passed"
		copy_sources "$dir"
		in_root make -C "/src/build/check-$rel" KDIR="/usr/src/linux-headers-$rel" sparse \
			CHECK="$sparse" >"$log" 2>&1 || true
		grep -n 'warning:\|error:\|WARNING:\|ERROR:' "$log" >"$log.warnings" || true
		[ -f "$dir/arena_nolock.ko" ] || echo "no module came of it" >>"$log.warnings"
		rm -rf "$dir"
	fi
	result "build.warnings $rel" "$(wc -l <"$log.warnings")" \
		"$(head -n 5 "$log.warnings"; echo "see $log")"
	result "build.sparse $rel" "$(grep -q '^ *CHECK ' "$log"; echo $?)" "sparse did not run: $log"
	if [ ! -s "$log.warnings" ] && grep -q '^ *CHECK ' "$log"; then
		echo "$state" >"$log.passed"
	fi
}

build_tests() {
	local rel=$1 log=$logs/build-tests.log out=$build/tests/bpf
	mkdir -p "$out"
	# Files of packages are older than what was made of their predecessors.
	if [ "$(cat "$out/btf" 2>/dev/null)" != "$rel" ]; then
		rm -f "$out/vmlinux.h"
		echo "$rel" >"$out/btf"
	fi
	in_root make -C /src/tests/bpf -j2 OUT=/src/build/tests/bpf \
		VMLINUX_BTF="/usr/src/linux-headers-$rel/vmlinux" >"$log" 2>&1 ||
		die_log "$log" "the tests do not build"
	in_root make -C /src/tools OUT=/src/build/tools >"$log.tools" 2>&1 ||
		die_log "$log.tools" "the tools do not build"
	in_root make -C /src/examples OUT=/src/build/examples CC="gcc -Werror" \
		VMLINUX_BTF="/usr/src/linux-headers-$rel/vmlinux" >"$log.examples" 2>&1 ||
		die_log "$log.examples" "the examples do not build"
}

# What the build has to refuse: REL
config_tests() {
	local why r root root_name
	use_root "$(kernel_root "$1")"
	why=$(in_root sh /src/tests/qemu/config_test.sh /src "/usr/src/linux-headers-$1" 2>&1) &&
		r=0 || r=$?
	result "build.misfit_refused $1" "$r" "$why"
}

user_tests() {
	local log=$logs/user-tests.log r why
	step "range tree in user space: cmocka, then libFuzzer"
	in_root make -C /src/tests/user OUT=/src/build/tests/user check >"$log" 2>&1 && r=0 || r=$?
	result "range_tree.model" "$r" "$(tail -n 5 "$log"; echo "see $log")"
	in_root make -C /src/tests/user OUT=/src/build/tests/user FUZZ_SECONDS=10 fuzz \
		>"$log.fuzz" 2>&1 && r=0 || r=$?
	result "range_tree.fuzz" "$r" "$(tail -n 5 "$log.fuzz"; echo "see $log.fuzz")"
}

#
# Booting
#

# KVM only if it really runs this kernel: REL. One without a root panics early.
find_accel() {
	local dir=$build/boot-kvm
	accel=${QEMU_ACCEL:-}
	[ -z "$accel" ] || return 0
	accel="tcg,thread=multi"
	if [ -w /dev/kvm ]; then
		mkdir -p "$dir"
		in_root timeout 15 qemu-system-x86_64 -accel kvm -cpu max -m 512 -display none \
			-monitor none -nic none -no-reboot -serial "file:/src/build/boot-kvm/console.log" \
			-kernel "/cache/vmlinuz-$1" -append "console=ttyS0 panic=-1" \
			>"$dir/qemu.log" 2>&1 </dev/null || true
		! grep -aqs 'Kernel panic - not syncing: VFS' "$dir/console.log" || accel=kvm
	fi
	[ "$accel" = kvm ] ||
		say "        KVM does not work on this machine: QEMU emulates, which is slow but sound"
}

# String instructions are emulated byte by byte, so the kernel had better not use them
# to clear memory. And KASAN of 7.3 takes good addresses for bad ones if an interrupt
# comes at a bad moment of booting with five levels of page tables: REL
cpu_model() {
	local model=max
	[[ $accel != tcg* ]] || model+=,-erms,-fsrm
	! is_debug "$1" || model+=,-la57
	echo "$model"
}

# What every guest has, with more programs, which are those of the build root or, below
# /src, of ours: DIR PROGRAM...
initramfs_base() {
	local ird=$1/ird f
	shift
	rm -rf "$ird"
	mkdir -p "$ird"/{bin,examples,lib,lib64,proc,sys,dev,tmp}
	cp "$root/bin/busybox" "$ird/bin/"
	cp "$here/qemu/init" "$ird/init"
	chmod 755 "$ird/init"
	set -- "$@" /usr/sbin/bpftool /src/build/tools/arena_nolock-top
	for f in $(in_root ldd "$@" /src/build/examples/count | grep -o '/[^ ]*\.so[^ ]*' | sort -u); do
		cp -L "$root/$f" "$ird/lib/"
	done
	cp -L "$root/lib64/ld-linux-x86-64.so.2" "$ird/lib64/"
	for f in "$@"; do
		case $f in
		/src/*) cp "$top/${f#/src/}" "$ird/bin/" ;;
		*) cp -L "$root/$f" "$ird/bin/" ;;
		esac
	done
	find "$build/examples" -maxdepth 1 -type f -perm -100 -exec cp {} "$ird/examples/" \;
}

# Close it: DIR COMMAND ARGS...
initramfs_pack() {
	local dir=$1
	shift
	printf '%s\n' "$@" >"$dir/ird/what"
	in_root sh -c "cd '/src/${dir#"$top"/}/ird' && find . | cpio -o -H newc --quiet |
		gzip -1 >'../initramfs.gz'"
	rm -rf "$dir/ird"
}

# The initramfs: DIR REL PROGRAM ARGS...
make_initramfs() {
	local dir=$1 rel=$2 prog=$3
	shift 3
	initramfs_base "$dir" "/src/build/tests/bpf/$prog"
	cp "$build/$rel/arena_nolock.ko" "$dir/ird/"
	cp "$build/$rel/kmod/anl_test.ko" "$dir/ird/"
	[ "$prog" != bench ] || cp "$build/$rel/bench/anl_bench.ko" "$dir/ird/"
	initramfs_pack "$dir" "$@"
}

# How the guest's CPUs and memory are divided. Each CPU is a socket, as the kernel warns
# about a socket in two nodes; and node 1 is nearer to 2 than to 0.
machine_args() {
	echo "-smp $cpus${numa:+,sockets=$cpus,cores=1,threads=1} -m $memory"
	[ -z "$numa" ] || echo "-object memory-backend-ram,id=ram0,size=$((memory / 2))M" \
		"-object memory-backend-ram,id=ram2,size=$((memory - memory / 2))M" \
		"-numa node,nodeid=0,cpus=0,memdev=ram0 -numa node,nodeid=1,cpus=1-$((cpus - 1))" \
		"-numa node,nodeid=2,memdev=ram2 -numa dist,src=0,dst=1,val=20" \
		"-numa dist,src=0,dst=2,val=30 -numa dist,src=1,dst=2,val=15"
}

# Boot what make_initramfs made, in the background: DIR REL. Sets qemu_pids[DIR].
start_guest() {
	local dir=/src/${1#"$top"/} machine
	read -ra machine <<<"$(machine_args | tr '\n' ' ')"
	rm -f "$1"/{console,results}.log "$1/monitor"
	: >"$1/results.log"
	(
		as_root_exec='exec'
		in_root timeout "$boot_time" qemu-system-x86_64 -accel "$accel" "${qemu_extra[@]}" -cpu "$(cpu_model "$2")" \
			"${machine[@]}" -display none -no-reboot -nic none \
			-monitor "unix:$dir/monitor,server=on,wait=off" \
			-serial "file:$dir/console.log" -serial "file:$dir/results.log" \
			-kernel "/cache/vmlinuz-$2" -initrd "$dir/initramfs.gz" \
			-append "$kernel_args $(debug_args "$2")"
	) >"$1/qemu.log" 2>&1 </dev/null 9>&- &
	qemu_pids[$1]=$!
}

# Show what the guest reports, through "show_guest", until it ends. Sets qemu_code.
follow_guest() {
	local follower pid=${qemu_pids[$1]}
	tail -n +1 -s 0.3 -f --pid="$pid" "$1/results.log" 9>&- |
		sed -u 's/\r$//' | show_guest &
	follower=$!
	wait "$pid" && qemu_code=0 || qemu_code=$?
	unset "qemu_pids[$1]"
	wait "$follower" || true
}

# Why a boot was not a success, one reason a line: DIR QEMU-EXIT-CODE
judge() {
	local dir=$1 code=$2 planned got end bad splat
	[ "$code" -ne 124 ] || echo "no end after $boot_time s: a hang"
	[ "$code" -eq 0 ] || [ "$code" -eq 124 ] ||
		echo "QEMU failed with code $code: $(head -n 1 "$dir/qemu.log" 2>/dev/null)"
	grep -aqs 'reboot: Power down' "$dir/console.log" || echo "no clean power-off"
	end=$(sed -n 's/^end: \([0-9]*\).*/\1/p' "$dir/results.log" | tail -n 1)
	[ -n "$end" ] || echo "the guest did not reach its end"
	if [ "$mode" = demo ]; then
		[ "${end:-0}" -eq 0 ] || echo "the demo ended with code $end"
	else
		planned=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$dir/results.log" | head -n 1)
		got=$(grep -ac '^\(not \)\?ok ' "$dir/results.log" || true)
		bad=$(grep -ac '^not ok ' "$dir/results.log" || true)
		[ "${planned:-none}" = "$got" ] || echo "${planned:-no} results planned, $got came"
		[ "${end:-0}" -eq 0 ] || [ "$bad" -gt 0 ] ||
			echo "the runner ended with code $end, though no test failed"
	fi
	# A log that is not there is no clean log.
	splat=$(awk -f "$here/qemu/splat.awk" "$dir/console.log" 2>&1 | sed -n 1,5p || true)
	[ -z "$splat" ] || printf 'kernel log: %s\n' "${splat//$'\n'/$'\n'kernel log: }"
	# Often what is printed here is all that is left of a boot.
	[ -z "$splat" ] || tr -d '\r' 2>/dev/null <"$dir/console.log" |
		grep -aFx -m 1 -A 44 -e "${splat%%$'\n'*}" | sed 's/^/    /' || true
}

# Whether it was QEMU that failed, in the one way that is known: when a CPU stores into
# code, QEMU throws the translation of that code away first, and until the store is done
# another CPU can have the old code translated again, which then stays. So a CPU can run
# into a breakpoint by which the kernel patched its code, long after it is gone: the trap
# comes from the kernel's own code, and there is no int3 in memory before RIP.
emulator_fault() {
	local dir=$1 first
	[[ $accel = tcg* ]] || return 1
	first=$(awk -f "$here/qemu/splat.awk" "$dir/console.log" 2>/dev/null | sed -n 1p)
	[[ $first = *'Oops: int3'* ]] || return 1
	tr -d '\r' <"$dir/console.log" | awk '
		/Oops: int3/ { seen = 1 }
		seen && !rip && /RIP: 0010:/ {
			rip = 1
			core = / RIP: 0010:[a-zA-Z_0-9.]+\+0x[0-9a-f]+\/0x[0-9a-f]+$/ && !/:bpf_prog_/
		}
		seen && !code && /Code: / {
			code = 1
			stale = match($0, / [0-9a-f][0-9a-f] </) && substr($0, RSTART + 1, 2) != "cc"
		}
		END { exit !(core && stale) }'
}

show_results() {
	if [ "$verbose" -eq 1 ]; then
		sed -u 's/^/    /'
	else
		sed -un '/^\(not \)\?ok \|^# [a-z_]*\.c:\|^# storm:/s/^/    /p'
	fi
}

start_kernel() {
	local rel=$1 dir=$build/boot-$1${numa:+-numa} args=(--module /arena_nolock.ko) g
	for g in "${globs[@]}"; do
		args+=(--test "$g")
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
	local rel=$1 dir=$build/boot-$1${numa:+-numa} line rip why=""
	step "results of $rel"
	show_guest() { show_results; }
	follow_guest "$dir"
	if emulator_fault "$dir"; then
		rip=$(grep -am 1 -o 'RIP: .*' "$dir/console.log" | tr -d '\r')
		repeats+=("$rel, as QEMU ran code that had been replaced; $rip")
		step "$rel: QEMU ran code that had been replaced ($rip)"
		start_kernel "$rel"
		follow_guest "$dir"
	fi

	tr -d '\r' <"$dir/results.log" >"$dir/results.ktap"
	{
		echo "    KTAP version 1"
		echo "    # Subtest: $rel"
		sed -e '/^KTAP version/d' -e '/^end: /d' -e 's/^/    /' "$dir/results.ktap"
	} >>"$ktap"
	while read -r line; do
		case $line in
		"# "*)
			why+=${why:+$'\n'}${line#\# } ;;
		"not ok "*)
			failed=$((failed + 1))
			failures+=("$rel ${line#not ok * }"$'\n'"$why") ;;
		"ok "*"# SKIP "*)
			skipped=$((skipped + 1))
			skips+=("$rel ${line#ok * }") ;;
		*)
			passed=$((passed + 1)) ;;
		esac
		case $line in
		"ok "* | "not ok "*) why="" ;;
		esac
	done < <(grep -a '^ok \|^not ok \|^# [a-z_]*\.c:' "$dir/results.ktap")
	why=$(judge "$dir" "$qemu_code")
	[ -z "$why" ] || why+=$'\n'"see $dir/console.log and results.log"
	result "boot $rel${numa:+ with memory nodes}: no splat, no hang, all results, clean power-off" \
		"$([ -z "$why" ]; echo $?)" "$why"
}

# Several guests run at a time, and are shown one after the other: REL...
run_kernels() {
	local rels=("$@") next=0 rel
	for rel in "${rels[@]}"; do
		while [ ${#qemu_pids[@]} -lt "$jobs" ] && [ "$next" -lt ${#rels[@]} ]; do
			start_kernel "${rels[next]}"
			next=$((next + 1))
		done
		finish_kernel "$rel"
	done
}

# What a boot leaves behind, made up, and what has to be said about it:
# NAME CODE RESULTS CONSOLE REASON; no reason means that it must pass.
judged=0
misjudged=()
judge_sample() {
	local dir=$build/boot-sample why
	rm -rf "$dir"
	mkdir -p "$dir"
	printf '%b' "$3" >"$dir/results.log"
	[ "$4" = none ] || printf '%b' "$4" >"$dir/console.log"
	why=$(judge "$dir" "$2")
	judged=$((judged + 1))
	if [ -z "$5" ]; then
		[ -z "$why" ] || misjudged+=("$1: not passed: $why")
	else
		grep -q "$5" <<<"$why" || misjudged+=("$1: not '$5' but '$why'")
	fi
	rm -rf "$dir"
}

# A trap at a breakpoint, and whether it is QEMU's fault: NAME 0-OR-1 RIP CODE
trap_sample() {
	local dir=$build/boot-sample accel=tcg r
	mkdir -p "$dir"
	printf '[ 1.0] %s\r\n' "quiet" "Oops: int3: 0000 [#1] SMP NOPTI" "CPU: 1 UID: 0" \
		"RIP: 0010:$3" "Code: $4" "Call Trace:" >"$dir/console.log"
	emulator_fault "$dir" && r=0 || r=$?
	judged=$((judged + 1))
	[ "$r" -eq "$2" ] || misjudged+=("$1: a trap that is taken for $r, not $2")
	rm -rf "$dir"
}

# The checks that everything else relies on have to fail where they should.
harness_tests() {
	local dir=$build/boot-crash rel=$1 why r good='KTAP version 1\n1..2\nok 1 a.b\nok 2 a.c\nend: 0\n'
	local off='[ 9.9] quiet\r\n[ 10.0] reboot: Power down\r\n' missing=()
	step "testing the harness: its checks, then a guest that crashes"
	why=$("$here/qemu/splat_test.sh" 2>&1) && r=0 || r=$?
	result "harness.splat_checker" "$r" "$why"

	judge_sample good 0 "$good" "$off" ""
	judge_sample failure 0 'KTAP version 1\n1..1\nnot ok 1 a.b\nend: 1\n' "$off" ""
	judge_sample hang 124 "$good" "$off" "a hang"
	judge_sample qemu 1 "$good" "$off" "QEMU failed"
	judge_sample reset 0 "$good" '[ 9.9] quiet\r\n' "no clean power-off"
	judge_sample silent 0 "$good" none "kernel log: "
	judge_sample unfinished 0 '1..2\nok 1 a.b\nok 2 a.c\n' "$off" "did not reach its end"
	judge_sample missing 0 '1..2\nok 1 a.b\nend: 0\n' "$off" "2 results planned, 1 came"
	judge_sample extra 0 '1..1\nok 1 a.b\nok 2 a.c\nend: 0\n' "$off" "1 results planned, 2 came"
	judge_sample nothing 0 'end: 0\n' "$off" "no results planned"
	judge_sample code 0 '1..1\nok 1 a.b\nend: 139\n' "$off" "ended with code 139"
	judge_sample splat 0 "$good" "[ 1.0] BUG: Bad page state\r\n$off" "kernel log: .*Bad page"
	trap_sample stale 0 __mod_timer+0x1c3/0x370 "41 8b 4f 20 66 <90> f7 c1"
	trap_sample int3 1 __mod_timer+0x1c3/0x370 "41 8b 4f 20 cc <90> f7 c1"
	trap_sample module 1 "anl_kick_handler+0x13/0x70 [arena_nolock]" "41 8b 4f 20 66 <90> f7 c1"
	trap_sample freed 1 0xffffffffc0401234 "cc cc cc cc cc <cc> cc cc"
	trap_sample program 1 bpf_prog_0123456789abcdef_storm+0x13/0x70 "41 8b 4f 20 66 <90> f7 c1"
	trap_sample unread 1 __mod_timer+0x1c3/0x370 "Unable to access opcode bytes at 0x36."
	result "harness.judgements ($judged)" "${#misjudged[@]}" "$(printf '%s\n' "${misjudged[@]}")"

	mkdir -p "$dir"
	make_initramfs "$dir" "$rel" runner sh -c 'echo 1..1; echo c >/proc/sysrq-trigger'
	show_guest() { cat >/dev/null; }
	start_guest "$dir" "$rel"
	follow_guest "$dir"
	why=$(judge "$dir" "$qemu_code")
	grep -q 'Kernel panic' <<<"$why" || missing+=("the panic was not seen;")
	grep -q 'no clean power-off' <<<"$why" || missing+=("the power-off was not missed;")
	grep -q '1 results planned, 0 came' <<<"$why" || missing+=("the result was not missed;")
	result "harness.crash_is_seen" "${#missing[@]}" "${missing[*]:-}"
}

run_demo() {
	local dir=$build/boot-demo rel=$1 why
	mkdir -p "$dir"
	make_initramfs "$dir" "$rel" demo demo --module /arena_nolock.ko
	step "booting a stock $rel"
	echo
	show_guest() { sed -u '/^end: /d'; }
	start_guest "$dir" "$rel"
	follow_guest "$dir"
	why=$(judge "$dir" "$qemu_code")
	if [ -n "$why" ]; then
		printf '\n%s\nLogs: %s\n\nDEMO FAILED\n' "$why" "$dir"
		exit 1
	fi
	printf '\nDEMO PASSED on %s in %d s\n' "$rel" $((SECONDS - started))
}

run_shell() {
	local dir=$build/boot-shell rel=$1
	mkdir -p "$dir"
	make_initramfs "$dir" "$rel" runner setsid -c sh -c \
		'echo "insmod /arena_nolock.ko; runner --help; exit powers off"; exec sh -i'
	# Its console is this terminal, both ways; a splat does not end it.
	in_root qemu-system-x86_64 -accel "$accel" -cpu "$(cpu_model "$rel")" -smp "$cpus" -m "$memory" \
		-display none -no-reboot -nic none -serial mon:stdio -serial null \
		-kernel "/cache/vmlinuz-$rel" -initrd "/src/build/boot-shell/initramfs.gz" \
		-append "${kernel_args%% oops*} quiet arena_nolock.shell"
}

#
# Main
#

kernel_args="console=ttyS0 oops=panic panic_on_warn=1 panic=-1 loglevel=6 rcupdate.rcu_cpu_stall_timeout=60"
host_tools
check_namespaces
prepare_root build
rels=()
for spec in "${specs[@]}"; do
	get_kernel "$spec"
	rels+=("$rel")
done
# One set of BPF objects runs on all kernels; the newest knows the most types.
get_headers backports:cloud
btf_rel=$rel

step "building for ${rels[*]}"
for rel in "${rels[@]}"; do
	build_module "$rel"
done
build_tests "$btf_rel"

case $mode in
prepare)
	step "ready"
	exit 0 ;;
list)
	in_root /src/build/tests/bpf/runner --list
	exit 0 ;;
esac
find_accel "${rels[0]}"
case $mode in
demo)
	run_demo "${rels[0]}"
	exit 0 ;;
shell)
	run_shell "${rels[0]}"
	exit 0 ;;
bench)
	run_bench "${rels[@]}" || exit 1
	exit 0 ;;
esac

# A page that is not zeroed should look like it, which Debian's default hides.
kernel_args+=" init_on_alloc=0"

echo "KTAP version 1" >"$ktap"
whole=0
[ "$mode" != test ] || [ ${#globs[@]} -gt 0 ] || whole=1
if [ $whole -eq 1 ]; then
	step "checking for warnings, and with sparse"
	for rel in "${rels[@]}"; do
		check_module "$rel"
	done
	config_tests "${rels[0]}"
	user_tests
	harness_tests "${rels[0]}"
fi
case $mode in
packages) test_packages "${rels[@]}" ;;
check) test_sources ;;
*) run_kernels "${rels[@]}" ;;
esac
if [ $whole -eq 1 ]; then
	plain_rels=()
	for rel in "${rels[@]}"; do
		[[ $rel = *-rt-* || $(kernel_root "$rel") != build ]] || plain_rels+=("$rel")
	done
	numa=1 globs=('numa.*')
	[ ${#plain_rels[@]} -eq 0 ] || run_kernels "${plain_rels[@]}"
	numa='' globs=()
	[ ${#plain_rels[@]} -eq 0 ] || test_bench "${plain_rels[@]}"
	test_packages "${plain_rels[@]}"
fi
echo "1..$count" >>"$ktap"

if [ ${#skips[@]} -gt 0 ]; then
	printf '\n%s\n' "Skipped:"
	printf '  %s\n' "${skips[@]}"
fi
if [ ${#repeats[@]} -gt 0 ]; then
	printf '\n%s\n' "Booted a second time:"
	printf '  %s\n' "${repeats[@]}"
fi
if [ ${#failures[@]} -gt 0 ]; then
	printf '\n%s\n' "Failed:"
	printf '%s\n' "${failures[@]/%/$'\n'}" | sed -e '/^$/d' -e 's/^/  /'
fi
echo
verdict=PASSED
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ] || verdict=FAILED
echo "TESTS $verdict on ${rels[*]} in $((SECONDS - started)) s"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$verdict" = PASSED ]
