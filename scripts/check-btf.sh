#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Delete the module and fail if the module has no BTF. Kbuild only warns if it cannot make
# BTF, and no program could call the kfuncs of such a module.
#
# usage: check-btf.sh MODULE
set -eu

ko=$1
readelf=$(command -v "${READELF:-readelf}" || command -v llvm-readelf || true)

die() {
	rm -f "$ko"
	echo "arena_nolock: $*" >&2
	exit 1
}

[ -f "$ko" ] || die "$ko not found: build the module first, with make."
[ -n "$readelf" ] ||
	die "readelf not found, so the module's BTF cannot be checked. Install it (Debian: apt install binutils) or name another: make READELF=llvm-readelf"
LC_ALL=C "$readelf" -SW "$ko" 2>/dev/null | grep -q '[] ]\.BTF ' ||
	die "$ko came out without BTF and was deleted: no program could call its kfuncs. The output of the build has the error of pahole or of the headers' resolve_btfids. Use a pahole that is as new as the kernel, and BTF of that kernel: make VMLINUX_BTF=<vmlinux, or a copy of /sys/kernel/btf/vmlinux>"
