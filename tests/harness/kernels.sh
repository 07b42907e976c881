# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Stock kernels from Debian's archive: headers in a root, images in the cache. Kernels that
# check themselves are built by debug.sh. Sourced by run_qemu.sh, after root.sh.

# The newest release of a series that the archive has, or nothing: X.Y FLAVOUR. The archive
# keeps kernels of backports for a while after the next series has taken their place.
series_release() {
	local flavour=$2-amd64
	[ -n "$1" ] || return 0
	[ "$2" != amd64 ] || flavour=amd64
	in_root apt-cache pkgnames "linux-headers-$1." |
		sed -n "s/^linux-headers-\(${1//./\\.}\.[^-]*-$flavour\)\$/\1/p" | sort -V | tail -1
}

# The series before that of backports, or nothing if it is that of stable.
previous_series() {
	local series newest stable
	newest=$(kernel_release backports:cloud)
	stable=$(kernel_release stable:cloud)
	series=$(in_root apt-cache pkgnames linux-headers- |
		sed -n 's/^linux-headers-\([0-9]*\.[0-9]*\)\.[^-]*-cloud-amd64$/\1/p' | sort -uV |
		awk -v newest="$newest" 'index(newest, $1 ".") == 1 { found = 1 } !found { last = $1 } END { print last }')
	[[ -z $series || $stable = "$series".* ]] || echo "$series"
}

# Newest release of a kernel, as uname -r prints it. $1 is SUITE:FLAVOUR. Debian 12 has
# newer kernels than its own under names with their version.
kernel_release() {
	local suite=${1%%:*} flavour=${1#*:} meta=linux-headers version
	[ "$suite" != oldstable ] || meta+=-6.12
	case $flavour in
	amd64) meta+=-amd64 ;;
	arm64) meta+=-cloud-arm64:arm64 ;;
	arm64-rt) meta+=-rt-arm64:arm64 ;;
	arm64-*) meta+=-$flavour:arm64 ;;
	*) meta+=-$flavour-amd64 ;;
	esac
	case $suite in
	previous)
		series_release "$(previous_series)" "$flavour"
		return 0 ;;
	backports-[0-9]*)
		series_release "${suite#backports-}" "$flavour"
		return 0 ;;
	stable | oldstable)
		version=$(in_root apt-cache policy "$meta" | awk '/Candidate:/ { print $2 }') ;;
	backports)
		version=$(in_root apt-cache madison "$meta" |
			awk '$6 ~ /^trixie-backports/ && !v { v = $3 } END { print v }') ;;
	*)
		die "unknown kernel '$1': it is stable, backports, backports-X.Y, previous or oldstable, and :cloud, :amd64, :rt, :debug or :kcsan; or stable or backports with :arm64, :arm64-16k, :arm64-rt or :arm64-nmi" ;;
	esac
	[ -n "$version" ] && [ "$version" != "(none)" ] || return 0
	in_root apt-cache show "$meta=$version" |
		sed -n 's/^Depends:.*linux-headers-\([0-9][^ ,]*\).*/\1/p' | sed -n 1p
}

install_headers() {
	local log=$logs/kernel-$1.log pkg=linux-headers-$1
	if is_arm64 "$1"; then
		install_arm64_headers "$1" >"$log" 2>&1 </dev/null || return 1
	else
		# An interrupted run may have left packages half installed. Headers of 6.12 bring
		# the kernel along, which needs no initrd of its own here.
		in_root env INITRD=No sh -c "dpkg --configure -a && {
			apt-get install -y -qq '$pkg' ||
				apt-get install -y -qq -t '$(root_suite)-backports' '$pkg'; } &&
			apt-get clean" >"$log" 2>&1 </dev/null || return 1
	fi
	# Without this script kbuild of 7.x does not run sparse, and headers lack it.
	in_root sh -ec "cd '/usr/src/linux-headers-$1/scripts'
		[ ! -e checker-valid.sh ] || exit 0
		printf '#!/bin/sh\\necho 1\\n' >checker-valid.sh
		chmod 755 checker-valid.sh" >>"$log" 2>&1
}

fetch_image() {
	local log=$logs/image-$1.log pkg=linux-image-$1 deb=/cache/deb-$root_name
	# From 7.x on the image is in a package of its own.
	[ -z "$(in_root apt-cache search --names-only "^linux-binary-${1//+/\\+}\$")" ] ||
		pkg=linux-binary-$1
	! is_arm64 "$1" || pkg+=:arm64
	in_root sh -ec "rm -rf $deb; mkdir $deb; cd $deb
		if [ -f '/boot/vmlinuz-$1' ]; then
			cp '/boot/vmlinuz-$1' .
		else
			apt-get download -qq '$pkg'
			dpkg-deb -x *.deb .
		fi
		find . -name 'vmlinuz*' -type f -exec cp {} '/cache/vmlinuz-$1.new' \\;
		mv '/cache/vmlinuz-$1.new' '/cache/vmlinuz-$1'
		rm -rf $deb" >"$log" 2>&1 </dev/null
}

# The newest release of SPEC with its headers in the root. Sets rel.
get_headers() {
	local old
	old=$(cat "$root.kernel-$1" 2>/dev/null || true)
	rel=$(kernel_release "$1")
	[ -n "$rel" ] || die "the archive has no kernel for '$1'"
	[ ! -f "$root.headers-$rel" ] || return 0
	step "installing the headers of $rel"
	if install_headers "$rel"; then
		touch "$root.headers-$rel"
	elif [ -n "$old" ]; then
		say "        WARNING: cannot get $rel; staying with $old"
		rel=$old
	else
		rm -f "$root.apt"
		die_log "$logs/kernel-$rel.log" "cannot install the headers of $rel"
	fi
}

# And its image in the cache. The release that it replaces is removed.
get_stock_kernel() {
	local old
	old=$(cat "$root.kernel-$1" 2>/dev/null || true)
	get_headers "$1"
	if [ ! -f "$cache/files/vmlinuz-$rel" ]; then
		step "fetching the image of $rel"
		fetch_image "$rel" || {
			rm -f "$root.apt"
			die_log "$logs/image-$rel.log" "cannot fetch the image of $rel"
		}
	fi
	echo "$rel" >"$root.kernel-$1"
	if [ -n "$old" ] && [ "$old" != "$rel" ]; then
		in_root sh -c "apt-get purge -y -qq 'linux-headers-$old'; apt-get autoremove -y -qq
			rm -rf '/usr/src/linux-headers-$old'" \
			>"$logs/purge-$root_name.log" 2>&1 </dev/null || true
		as_root rm -f "$cache/files/vmlinuz-$old" "$root.headers-$old"
	fi
}

get_kernel() {
	local root=$root root_name=$root_name
	case $1 in
	*:debug | *:kcsan) get_debug_kernel "$1" ;;
	oldstable:*) prepare_root debian12; get_stock_kernel "$1" ;;
	*:arm64-nmi) prepare_arm64_root; get_debug_kernel "$1" ;;
	*:arm64*) prepare_arm64_root; get_stock_kernel "$1" ;;
	*) get_stock_kernel "$1" ;;
	esac
}
