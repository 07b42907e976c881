# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Guests: the accelerator, the initramfs, QEMU's command line, start and end. guest/init is
# what runs in them. Sourced by run_qemu.sh.

kernel_args="oops=panic panic_on_warn=1 panic=-1 loglevel=6 rcupdate.rcu_cpu_stall_timeout=60"
# DIR of a guest -> pid of its QEMU
declare -A qemu_pids=()
qemu_extra=()
accel=

# See in the background whether KVM runs a kernel, which needs no root to panic early: REL.
# A KVM that cannot run it may stop the guest permanently, so there is a limit.
probe_kvm() {
	local dir=$build/boot-kvm
	[ -z "$accel" ] && [ -z "${QEMU_ACCEL:-}" ] && [ -w /dev/kvm ] || return 0
	! is_arm64 "$1" || return 0
	rm -rf "$dir"
	mkdir -p "$dir"
	# QEMU may abort. Its parent is a shell of its own, so that the message goes to the log.
	(
		as_root_exec='exec'
		in_root timeout 15 qemu-system-x86_64 -accel kvm -cpu max -m 512 -display none \
			-monitor none -nic none -no-reboot -serial "file:/src/build/boot-kvm/console.log" \
			-kernel "/cache/vmlinuz-$1" -append "console=ttyS0 panic=-1" &
		trap 'kill $! 2>/dev/null' TERM
		wait $! || exit 1
	) >"$dir/qemu.log" 2>&1 </dev/null 9>&- &
	qemu_pids[$dir]=$!
}

# What KVM's probe said. Sets accel.
find_accel() {
	local dir=$build/boot-kvm pid
	[ -z "$accel" ] || return 0
	accel=${QEMU_ACCEL:-}
	[ -z "$accel" ] || return 0
	accel="tcg,thread=multi"
	pid=${qemu_pids[$dir]:-}
	if [ -n "$pid" ]; then
		while kill -0 "$pid" 2>/dev/null && ! grep -qs 'internal error' "$dir/qemu.log"; do
			sleep 0.2
		done
		kill "$pid" 2>/dev/null || true
		wait "$pid" || true
		unset "qemu_pids[$dir]"
		! grep -aqs 'Kernel panic - not syncing: VFS' "$dir/console.log" || accel=kvm
	fi
	[ "$accel" = kvm ] ||
		say "        KVM does not work on this machine: QEMU emulates, which is slow but sound"
}

# String instructions are emulated byte by byte, so the guest's CPU has no fast
# ones, and the kernel clears memory without them. And KASAN of 7.3 takes good addresses for bad ones if an interrupt
# comes at a bad moment of booting with five levels of page tables. On arm64, QEMU's own way to
# sign pointers is several times as fast as the architecture's: REL
cpu_model() {
	local model=max
	if is_arm64 "$1"; then
		echo "$model,pauth-impdef=on"
		return 0
	fi
	[[ $accel != tcg* ]] || model+=,-erms,-fsrm
	! is_debug "$1" || model+=,-la57
	echo "$model"
}

# An initramfs with busybox and our init: DIR REL. initramfs_pack completes it.
initramfs_begin() {
	local ird=$1/ird root root_name
	use_root "$(guest_root "$2")"
	rm -rf "$ird"
	mkdir -p "$ird"/{bin,examples,lib,lib64,proc,sys,dev,tmp}
	cp -L "$root/$(guest_program "$2" /usr/bin/busybox)" "$ird/bin/"
	cp "$harness/guest/init" "$ird/init"
	chmod 755 "$ird/init"
}

# And programs, which are those of the guest's root or, below /src, our own, with the tools and
# the examples: DIR REL PROGRAM...
initramfs_base() {
	local ird=$1/ird rel=$2 out f root root_name
	use_root "$(guest_root "$rel")"
	out=$(programs_dir "$rel")
	initramfs_begin "$1" "$rel"
	shift 2
	set -- "$@" "$(guest_program "$rel" /usr/sbin/bpftool)" "/src/$out/tools/arena_nolock-top"
	for f in $(libraries "$rel" "$@" "/src/$out/examples/count"); do
		cp -L "$root/$f" "$ird/lib/"
	done
	is_arm64 "$rel" || cp -L "$root/lib64/ld-linux-x86-64.so.2" "$ird/lib64/"
	for f in "$@"; do
		case $f in
		/src/*) cp "$top/${f#/src/}" "$ird/bin/" ;;
		*) cp -L "$root/$f" "$ird/bin/" ;;
		esac
	done
	find "$top/$out/examples" -maxdepth 1 -type f -perm -100 -exec cp {} "$ird/examples/" \;
}

# What init is to run: DIR COMMAND ARGS...
initramfs_pack() {
	local dir=$1
	shift
	printf '%s\n' "$@" >"$dir/ird/what"
	in_root sh -c "cd '/src/${dir#"$top"/}/ird' && find . | cpio -o -H newc --quiet |
		gzip -1 >'../initramfs.gz'"
	rm -rf "$dir/ird"
}

# With one of our programs and the modules of a kernel: DIR REL PROGRAM ARGS...
make_initramfs() {
	local dir=$1 rel=$2 prog=$3
	shift 3
	initramfs_base "$dir" "$rel" "/src/$(programs_dir "$rel")/tests/bpf/$prog"
	cp "$build/$rel/arena_nolock.ko" "$dir/ird/"
	cp "$build/$rel/kmod/anl_test.ko" "$dir/ird/"
	if wants_clients && [ -d "$(clients_dir "$rel")" ]; then
		cp -r "$(clients_dir "$rel")" "$dir/ird/clients"
	fi
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

# Boot the initramfs in DIR in the background: DIR REL. Sets qemu_pids[DIR].
start_guest() {
	local dir=/src/${1#"$top"/} machine lines accel=$accel
	lines=$(lines_args "$1" "$2")
	[ -z "$lines" ] || accel=tcg,thread=multi
	read -ra machine <<<"$(qemu_args "$2") $(machine_args | tr '\n' ' ') $lines"
	rm -f "$1"/{console,results}.log "$1/monitor"
	: >"$1/results.log"
	(
		as_root_exec='exec'
		use_root "$(guest_root "$2")"
		in_root timeout "$boot_time" "${machine[@]}" "${qemu_extra[@]}" \
			-cpu "$(cpu_model "$2")" -display none -no-reboot -nic none \
			-monitor "unix:$dir/monitor,server=on,wait=off" \
			-serial "file:$dir/console.log" -serial "file:$dir/results.log" \
			-kernel "/cache/vmlinuz-$2" -initrd "$dir/initramfs.gz" \
			-append "$(arch_args "$2") $kernel_args $(debug_args "$2")"
	) >"$1/qemu.log" 2>&1 </dev/null 9>&- &
	qemu_pids[$1]=$!
}

# End a guest that has not come as far as its tests in a time in which it should: DIR
watch_start() {
	local pid=${qemu_pids[$1]} seconds
	for ((seconds = 0; seconds < start_time; seconds++)); do
		[ ! -s "$1/results.log" ] && kill -0 "$pid" 2>/dev/null || return 0
		sleep 1
	done
	kill "$pid" 2>/dev/null || true
}

# Show what the guest reports, through "show_guest", until it ends. Sets qemu_code.
follow_guest() {
	local follower pid=${qemu_pids[$1]}
	watch_start "$1" 9>&- &
	tail -n +1 -s 0.3 -f --pid="$pid" "$1/results.log" 9>&- |
		sed -u 's/\r$//' | show_guest &
	follower=$!
	wait "$pid" && qemu_code=0 || qemu_code=$?
	unset "qemu_pids[$1]"
	wait "$follower" || true
}

kill_guests() {
	[ ${#qemu_pids[@]} -eq 0 ] || kill "${qemu_pids[@]}" 2>/dev/null || true
}
