# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Kernels that check themselves, from Debian's source packages: built once in the
# build root, and again when the source, the configuration or the compiler change.
# Sourced by run_qemu.sh. The build tree takes the place of a header package, so that
# all the rest is as for a stock kernel.

debug_packages=(bc bison flex libssl-dev xz-utils python3 perl patch cpio)

# The newest source of a suite: "PACKAGE VERSION".
debug_source() {
	local version
	case $1 in
	stable)
		version=$(in_root apt-cache policy linux-source | awk '/Candidate:/ { print $2 }') ;;
	backports)
		version=$(in_root apt-cache madison linux-source |
			awk '$6 ~ /^trixie-backports/ && !v { v = $3 } END { print v }') ;;
	*)
		die "unknown kernel '$1:debug': it is stable:debug or backports:debug" ;;
	esac
	[ -n "$version" ] || return 0
	in_root apt-cache show "linux-source=$version" |
		sed -n "s/^Depends: \(linux-source-[0-9.]*\).*/\1 $version/p" | sed -n 1p
}

# What such a kernel is told: REL. It is so slow that what is a stall elsewhere is none.
debug_args() {
	[[ $1 != *-debug ]] ||
		echo "rcupdate.rcu_cpu_stall_timeout=300 workqueue.watchdog_thresh=300 debug_guest"
}

# KASAN keeps half a GiB of shadow for the address range of each arena. Memory of a
# guest in MiB: as much as a few arenas need, if this machine has it.
debug_memory() {
	awk '/MemAvailable/ { m = int($2 / 1024 * 0.7); print m < 8192 ? m : 8192 }' /proc/meminfo
}

# Lines of the wanted configuration that the result does not have.
debug_missing() {
	grep '^CONFIG_' "$here/qemu/debug.config" | grep -Fvx -f "$1" || true
}

# Set "rel", and see that the kernel is there: stable or backports.
get_debug_kernel() {
	local suite=$1 pkg version stamp dir log=$logs/debug-$1.log missing old
	dir=/usr/src/linux-debug-$suite
	read -r pkg version <<<"$(debug_source "$suite")"
	[ -n "${version:-}" ] || die "the archive has no kernel source for '$suite'"
	stamp="$version $(sha256sum "$here/qemu/debug.config" | cut -c1-16) $(in_root gcc -dumpfullversion) 2"
	if [ "$(cat "$cache/debug-$suite.stamp" 2>/dev/null)" = "$stamp" ]; then
		rel=$(cat "$cache/kernel-$suite:debug")
		return 0
	fi
	rm -f "$cache/debug-$suite.stamp"
	old=$(cat "$cache/kernel-$suite:debug" 2>/dev/null || true)
	# shellcheck disable=SC2016
	in_root sh -ec 'apt-get install -y -qq --no-install-recommends "$@"; apt-get clean' sh \
		"${debug_packages[@]}" >"$log" 2>&1 </dev/null ||
		die_log "$log" "cannot install what building a kernel needs"
	step "fetching the source of $pkg $version"
	# shellcheck disable=SC2016
	in_root sh -ec 'dir=$1 pkg=$2 version=$3
		[ "$(cat "$dir/.source" 2>/dev/null)" != "$version" ] || exit 0
		rm -rf "$dir" /cache/deb; mkdir -p /cache/deb "$dir"; cd /cache/deb
		apt-get download -qq "$pkg=$version"
		dpkg-deb --fsys-tarfile ./*.deb | tar -xO --wildcards "./usr/src/linux-source-*.tar.xz" |
			tar -xJ -C "$dir" --strip-components=1
		rm -rf /cache/deb
		echo "$version" >"$dir/.source"' sh "$dir" "$pkg" "$version" >>"$log" 2>&1 </dev/null ||
		die_log "$log" "cannot get the source of $pkg"
	cp "$here/qemu/debug.config" "$cache/work/debug.config"
	in_root sh -ec "cd $dir
		make -s tinyconfig
		scripts/kconfig/merge_config.sh -m .config /cache/debug.config >/dev/null
		scripts/config --set-str LOCALVERSION -debug --disable LOCALVERSION_AUTO
		make -s olddefconfig" >>"$log" 2>&1 || die_log "$log" "cannot configure $pkg"
	missing=$(debug_missing "$root$dir/.config")
	[ -z "$missing" ] || say "        not in this kernel: $(tr '\n' ' ' <<<"$missing")"
	step "building a debug kernel from $pkg $version, which takes a while; log: ${log#"$top"/}"
	in_root sh -ec "cd $dir; make -j$(nproc) bzImage modules" >>"$log" 2>&1 &
	debug_progress $! "$log"
	wait $! || die_log "$log" "the debug kernel does not build"
	rel=$(in_root make -s -C "$dir" kernelrelease)
	[ -z "$old" ] || as_root rm -f "$root/usr/src/linux-headers-$old" "$cache/work/vmlinuz-$old"
	in_root sh -ec "cp $dir/arch/x86/boot/bzImage '/cache/vmlinuz-$rel'
		ln -sfn linux-debug-$suite '/usr/src/linux-headers-$rel'
		find $dir -name '*.o' -size +64k -not -path '*/scripts/*' -not -path '*/tools/*' -delete
		rm -f $dir/vmlinux.unstripped $dir/vmlinux.a $dir/.tmp_vmlinux*" >>"$log" 2>&1 ||
		die_log "$log" "cannot install the debug kernel"
	echo "$rel" >"$cache/kernel-$suite:debug"
	echo "$stamp" >"$cache/debug-$suite.stamp"
}

# A line a minute, as long as a process lives: PID LOG
debug_progress() {
	local n=0
	while kill -0 "$1" 2>/dev/null; do
		sleep 2
		n=$((n + 1))
		[ $((n % 30)) -ne 0 ] ||
			step "$(grep -c '^  CC ' "$2" || true) files compiled"
	done
}
