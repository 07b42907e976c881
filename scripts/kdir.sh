#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Print the arguments that make needs to build with the headers in KDIR.
#
# Kbuild gives a module BTF only if the header directory has a file "vmlinux". This can be a
# vmlinux or raw BTF, such as /sys/kernel/btf/vmlinux. Debian's header packages have the
# file. For other headers this script makes OVERLAY, a directory of symbolic links to
# everything in KDIR, with a link vmlinux to VMLINUX_BTF or to the BTF of the running
# kernel. KDIR itself is not changed.
#
# usage: kdir.sh KDIR OVERLAY
set -eu

kdir=$1
overlay=$2

die() {
	echo "arena_nolock: $*" >&2
	exit 1
}

[ -e "$kdir/Makefile" ] ||
	die "no kernel headers at $kdir. Install them (Debian: apt install linux-headers-\$(uname -r)) or name others: make KDIR=<dir>"
kdir=$(cd "$kdir" && pwd)

krel=$(cat "$kdir/include/config/kernel.release" 2>/dev/null || echo unknown)
if [ -n "${VMLINUX_BTF:-}" ]; then
	btf=$VMLINUX_BTF
elif [ -f "$kdir/vmlinux" ]; then
	echo "-C $kdir"
	exit 0
elif [ "$krel" = "$(uname -r)" ] && [ -f /sys/kernel/btf/vmlinux ]; then
	btf=/sys/kernel/btf/vmlinux
else
	die "no BTF of kernel $krel found: $kdir has no vmlinux, and another kernel is running. Name a vmlinux of that kernel, or a copy of its /sys/kernel/btf/vmlinux: make VMLINUX_BTF=<file>"
fi
if [ ! -f "$btf" ] || [ ! -r "$btf" ]; then
	die "cannot read the BTF of the target kernel: $btf"
fi

rm -rf "$overlay"
mkdir -p "$overlay"
for f in "$kdir"/* "$kdir"/.[!.]*; do
	[ ! -e "$f" ] || ln -s "$f" "$overlay/"
done
rm -f "$overlay/vmlinux"
ln -s "$(readlink -f "$btf")" "$overlay/vmlinux"

# The Makefile of a header package may set KBUILD_OUTPUT to KDIR.
echo "-C $overlay KBUILD_OUTPUT=$overlay"
