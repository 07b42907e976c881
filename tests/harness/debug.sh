# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Kernels that check themselves, from Debian's source packages or from a tree of the
# user's: built once in the build root, and again when the source, the configuration or
# the compiler change. Sourced by run_qemu.sh. The build tree takes the place of a
# header package, so that all the rest is as for a stock kernel.

debug_packages=(bc bison flex libelf-dev libssl-dev zlib1g-dev xz-utils python3 perl patch cpio)

# The newest source of a suite: "PACKAGE VERSION".
debug_source() {
	local version
	case $1 in
	stable)
		version=$(in_root apt-cache policy linux-source | awk '/Candidate:/ { print $2 }') ;;
	backports | backports-[0-9]*)
		version=$(in_root apt-cache madison linux-source |
			awk -v series="${1#backports}" '$6 ~ /^trixie-backports/ && !v &&
				(!series || index("-" $3, series ".") == 1) { v = $3 }
				END { print v }') ;;
	previous)
		debug_source "backports-$(previous_series)"
		return ;;
	*)
		die "unknown kernel '$1': a debug kernel is of stable, backports, backports-X.Y, previous, or a directory" ;;
	esac
	[ -n "$version" ] || return 0
	in_root apt-cache show "linux-source=$version" |
		sed -n "s/^Depends: \(linux-source-[0-9.]*\).*/\1 $version/p" | sed -n 1p
}

is_debug() {
	[[ $1 = *-debug || $1 = *-kcsan ]]
}

# Arguments of such a kernel: REL. It is so slow that RCU's and the workqueues' usual limits
# would report stalls. KCSAN finds races in the kernel's own code, which must not stop it.
debug_args() {
	! is_debug "$1" ||
		echo "rcupdate.rcu_cpu_stall_timeout=300 workqueue.watchdog_thresh=300 debug_guest page_poison=1"
	[[ $1 != *-kcsan ]] || echo "panic_on_warn=0"
}

# KASAN keeps half a GiB of shadow for the address range of each arena. Memory of a
# guest in MiB: as much as a few arenas need, if this machine has it.
debug_memory() {
	awk '/MemAvailable/ { m = int($2 / 1024 * 0.7); print m < 8192 ? m : 8192 }' /proc/meminfo
}

# The configuration of a flavour, each option once, as wanted last.
debug_config() {
	local files=("$harness/debug/debug.config")
	[ "$1" = debug ] || files+=("$harness/debug/$1.config")
	cat "${files[@]}" | awk '{ key = $0 } /^# CONFIG_.* is not set/ { key = $2 } /^CONFIG_/ { sub(/=.*/, "", key) }
		key ~ /^CONFIG_/ { if (!(key in at)) { at[key] = ++n } line[at[key]] = $0 }
		END { for (i = 1; i <= n; i++) print line[i] }'
}

# The file that boots, which make knows by its name: FLAVOUR
debug_image() {
	if is_arm64 "-$1"; then
		echo arch/arm64/boot/Image
	else
		echo arch/x86/boot/bzImage
	fi
}

# Lines of the wanted configuration, a file, that the result does not have.
debug_missing() {
	grep '^CONFIG_' "$1" | grep -Fvx -f "$2" || true
}

# Changes the source, each time from the original files: DIR. An arena is 4 GiB of addresses,
# and checks that walk all of them cost seconds for each arena. A file that looks different
# stays as it is; that kernel is only slower.
# - Arenas share their shadow, see kasan_arenas.c.
# - debug objects skips address ranges that hold only what is mapped there.
# - KASAN does not check lockdep; later kernels exclude it themselves.
# - KASAN and kmemleak record 12 callers of each allocation and free, which is enough to tell
#   them apart; walking whole stacks took a fifth of the time.
debug_patch() {
	# shellcheck disable=SC2016
	in_root sh -ec 'cd "$1"; ours=$2
		for file in mm/kasan/shadow.c mm/kasan/kasan.h mm/kmemleak.c mm/vmalloc.c \
			kernel/locking/Makefile; do
			[ -f $file.orig ] || cp $file $file.orig
			cp $file.orig $file
		done
		sed -i "s/^\(#define KASAN_STACK_DEPTH\)[ \t].*/\1 12/" mm/kasan/kasan.h
		sed -i "s/^\(#define MAX_TRACE\)[ \t].*/\1 12/" mm/kmemleak.c
		sed -i "s/^\tdebug_check_no_obj_freed(vm->addr, /\tif (!(vm->flags \& VM_SPARSE))\n\t&/" mm/vmalloc.c
		! cmp mm/vmalloc.c mm/vmalloc.c.orig || echo "arenas are searched for objects"
		echo "KASAN_SANITIZE_lockdep.o := n" >>kernel/locking/Makefile
		file=mm/kasan/shadow.c
		args="(unsigned long addr, unsigned long size, gfp_t gfp_mask)"
		name=$(sed -n "s/^int \(_*kasan_populate_vmalloc\)$args\$/\1/p" $file)
		[ -n "$name" ] || { echo "no shared shadow for arenas"; exit 0; }
		sed -i -e "s/^int $name(/static int populate_exactly(/" \
			-e "s/^void \*__kasan_unpoison_vmalloc(/static void *unpoison_exactly(/" \
			-e "s/^void __kasan_poison_vmalloc(/static void poison_exactly(/" $file
		{ echo "#ifdef CONFIG_KASAN_VMALLOC"; echo "#define POPULATE $name"
			cat "$ours"; echo "#endif"; } >>$file' sh "$1" /src/tests/harness/debug/kasan_arenas.c
}

# The version of the user's own tree. Without git it is unknown, so the tree is built again.
debug_tree_version() {
	git -C "$1" describe --always --dirty --abbrev=12 2>/dev/null || date +%s
}

# The sources of a suite's package, or parts of them: DIR PACKAGE VERSION PART...
debug_unpack() {
	step "fetching the source of $2 $3"
	# shellcheck disable=SC2016
	in_root sh -ec 'dir=$1 pkg=$2 version=$3
		shift 3
		[ "$(cat "$dir/.source" 2>/dev/null)" != "$version" ] || exit 0
		rm -rf "$dir" /cache/deb; mkdir -p /cache/deb "$dir"; cd /cache/deb
		apt-get download -qq "$pkg=$version"
		dpkg-deb --fsys-tarfile ./*.deb | tar -xO --wildcards "./usr/src/linux-source-*.tar.xz" |
			tar -xJ -C "$dir" --strip-components=1 "$@"
		rm -rf /cache/deb
		echo "$version" >"$dir/.source"' sh "$1" "$2" "$3" "${@:4}"
}

# A copy of the user's tree, without what was built there: DIR TREE
debug_copy() {
	step "copying $2"
	# shellcheck disable=SC2016
	tar -C "$2" --exclude=./.git -c . |
		in_root sh -ec 'rm -rf "$1"; mkdir -p "$1"; tar -x -C "$1" --no-same-owner
			make -s -C "$1" mrproper' sh "$1"
}

# Set "rel", and see that the kernel is there: SUITE:FLAVOUR or DIRECTORY:FLAVOUR.
get_debug_kernel() {
	local spec=$1 suite=${1%:*} flavour=${1##*:} key pkg version stamp dir log missing old inputs
	local arch cc image
	key=$suite
	arch=$(kernel_make_args "-$flavour")
	cc=$(programs_cc "-$flavour")
	image=$(debug_image "$flavour")
	if [[ $suite = */* ]]; then
		[ -f "$suite/kernel/bpf/arena.c" ] ||
			die "$suite is no kernel tree with BPF arenas"
		key=tree-$(basename "$(realpath "$suite")" | tr -cd 'a-zA-Z0-9._-')
		pkg=$suite
		version=$(debug_tree_version "$suite")
	else
		read -r pkg version <<<"$(debug_source "$suite")"
		[ -n "${version:-}" ] || die "the archive has no kernel source for '$suite'"
	fi
	log=$logs/$flavour-$key.log
	dir=/usr/src/linux-$flavour-$key
	inputs=("$cache/files/$flavour.config")
	debug_config "$flavour" >"${inputs[0]}"
	[ "$flavour" != debug ] || inputs+=("$harness/debug/kasan_arenas.c")
	stamp="$version $(cat "${inputs[@]}" | sha256sum | cut -c1-16) $(in_root "$cc" -dumpfullversion) 6"
	if [ "$(cat "$cache/$flavour-$key.stamp" 2>/dev/null)" = "$stamp" ]; then
		rel=$(cat "$cache/kernel-$key:$flavour")
		return 0
	fi
	rm -f "$cache/$flavour-$key.stamp"
	old=$(cat "$cache/kernel-$key:$flavour" 2>/dev/null || true)
	# shellcheck disable=SC2016
	in_root sh -ec 'apt-get install -y -qq --no-install-recommends "$@"; apt-get clean' sh \
		"${debug_packages[@]}" >"$log" 2>&1 </dev/null ||
		die_log "$log" "cannot install what building a kernel needs"
	if [[ $suite = */* ]]; then
		debug_copy "$dir" "$suite" >>"$log" 2>&1
	else
		debug_unpack "$dir" "$pkg" "$version" >>"$log" 2>&1 </dev/null
	fi || die_log "$log" "cannot get the source of $pkg"
	in_root sh -ec "cd '$dir'
		make -s $arch tinyconfig
		scripts/kconfig/merge_config.sh -m .config '/cache/$flavour.config' >/dev/null
		scripts/config --set-str LOCALVERSION '-$flavour' --disable LOCALVERSION_AUTO
		make -s $arch olddefconfig" >>"$log" 2>&1 || die_log "$log" "cannot configure $pkg"
	[ -n "$arch" ] || debug_patch "$dir" >>"$log" 2>&1 || die_log "$log" "cannot prepare $pkg"
	missing=$(debug_missing "$cache/files/$flavour.config" "$root$dir/.config")
	[ -z "$missing" ] || say "        not in this kernel: $(tr '\n' ' ' <<<"$missing")"
	step "building a $flavour kernel from $pkg $version, which takes a while; log: ${log#"$top"/}"
	in_root sh -ec "cd '$dir'; make -j$(nproc) $arch ${image##*/} modules" >>"$log" 2>&1 &
	debug_progress $! "$log"
	wait $! || die_log "$log" "the kernel of $spec does not build"
	# shellcheck disable=SC2086 # several arguments, or none
	rel=$(in_root make -s -C "$dir" $arch kernelrelease)
	[ -z "$old" ] || as_root rm -f "$root/usr/src/linux-headers-$old" "$cache/files/vmlinuz-$old"
	in_root sh -ec "cp '$dir/$image' '/cache/vmlinuz-$rel'
		ln -sfn 'linux-$flavour-$key' '/usr/src/linux-headers-$rel'
		find '$dir' -name '*.o' -size +64k -not -path '*/scripts/*' -not -path '*/tools/*' -delete
		rm -f '$dir/vmlinux.unstripped' '$dir/vmlinux.a' '$dir'/.tmp_vmlinux*" >>"$log" 2>&1 ||
		die_log "$log" "cannot install the kernel of $spec"
	echo "$rel" >"$cache/kernel-$key:$flavour"
	echo "$stamp" >"$cache/$flavour-$key.stamp"
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
