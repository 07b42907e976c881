#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Fail, and delete the module, if it has no BTF: kbuild only warns when it cannot make BTF,
# and the kernel would refuse the module's kfuncs.
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

[ -f "$ko" ] || die "$ko has not been built."
[ -n "$readelf" ] ||
	die "readelf not found, so the module's BTF cannot be checked. Install it (Debian: apt install binutils) or name another: make READELF=llvm-readelf"
LC_ALL=C "$readelf" -SW "$ko" 2>/dev/null | grep -q '[] ]\.BTF ' ||
	die "$ko came out without BTF, so it has been deleted: no program could call its kfuncs. The build's output has the error of pahole or of the headers' resolve_btfids. Build with a pahole that is as new as the kernel, and with BTF of that kernel: make VMLINUX_BTF=<vmlinux, or a copy of /sys/kernel/btf/vmlinux>"
