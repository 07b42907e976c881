#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds programs of others that use arenas, from the kernel's own sources: the sched_ext
# schedulers scx_sdt and scx_qmap, the arena library and tests of arenas. Each is built twice:
# NAME.stock as it is, and NAME.module with the kfuncs renamed, as docs/porting.md says. And
# objects.bpf.o, for the bench, from objects.bpf.c and the arena library as it is.
# Runs in the build root; harness/clients.sh calls it.
#
# usage: build.sh SOURCE-DIR VMLINUX-BTF OUT-DIR
set -euo pipefail

src=$1 btf=$2 out=$3
tools=$src/tools
bpf=$tools/testing/selftests/bpf
schedulers=(scx_sdt scx_qmap)
# Tests that need no user space of their own.
selftests=(arena_htab verifier_arena verifier_arena_large)
with=(CLANG=clang-22 LLVM_STRIP=llvm-strip-22 "VMLINUX_BTF=$btf")

# As a user does who ports.
rename() {
	find "$tools/sched_ext" "$bpf" -name build -prune -o -name '*.[ch]' -exec \
		sed -i 's/\<bpf_arena_\(alloc\|free\|reserve\)_pages\>/bpf_arena_nolock_\1_pages/g' {} +
}

# VARIANT
build_schedulers() {
	local name
	make -C "$tools/sched_ext" -j"$(nproc)" "${with[@]}" "${schedulers[@]}"
	for name in "${schedulers[@]}"; do
		cp "$tools/sched_ext/build/bin/$name" "$out/$name.$1"
	done
}

# The scheduler's build has made bpftool, libbpf's headers and vmlinux.h: VARIANT
build_selftests() {
	local built=$tools/sched_ext/build name
	# The library has prototypes of its own, which those of some kernels contradict.
	sed '/bpf_arena_[a-z]*_pages(/d' "$built/include/vmlinux.h" >"$bpf/libarena/include/vmlinux.h"
	# Tests of several threads want instructions of v4.
	make -C "$bpf/libarena" -j"$(nproc)" CLANG=clang-22 BPFTOOL="$built/sbin/bpftool" \
		BPF_CFLAGS="-mcpu=v4 -D__TARGET_ARCH_x86" INCLUDE_DIR="$tools/include" \
		LIBBPF_INCLUDE="$built/include" libarena.bpf.o
	cp "$bpf/libarena/libarena.bpf.o" "$out/libarena.bpf.o.$1"
	for name in "${selftests[@]}"; do
		clang-22 -g -O2 -mcpu=v3 --target=bpfel -D__TARGET_ARCH_x86 -DENABLE_ATOMICS_TESTS \
			-fms-extensions -Wno-microsoft-anon-tag -Wno-missing-declarations \
			-Wno-incompatible-pointer-types-discards-qualifiers \
			-I"$built/include" -I"$bpf" -I"$bpf/libarena/include" \
			-I"$tools/include/uapi" -I"$tools/include" \
			-idirafter "/usr/include/$(gcc -print-multiarch)" -idirafter /usr/include \
			-c "$bpf/progs/$name.c" -o "$out/$name.bpf.o.$1"
	done
}

# The library's objects are there.
build_objects() {
	local library=$bpf/libarena
	clang-22 -g -O2 -mcpu=v4 --target=bpfel -D__TARGET_ARCH_x86 -DENABLE_ATOMICS_TESTS \
		-Wno-missing-declarations -Wno-incompatible-pointer-types-discards-qualifiers \
		-I"$library/include" -I"$bpf" -I"$tools/include" -I"$tools/sched_ext/build/include" \
		-c "$(dirname "$0")/objects.bpf.c" -o "$library/objects.o"
	"$tools/sched_ext/build/sbin/bpftool" gen object "$out/objects.bpf.o" "$library/objects.o" \
		"$library"/{common,buddy}.bpf.o
}

rm -rf "$out"
mkdir -p "$out"
build_schedulers stock
build_selftests stock
build_objects
cc -g -O2 -Wall -Wextra -Werror -pthread -I"$tools/sched_ext/build/include" \
	"$(dirname "$0")/run_object.c" -o "$out/run_object" \
	"$tools/sched_ext/build/obj/libbpf/libbpf.a" -lelf -lz
rename
rm -rf "$tools"/sched_ext/build/{bin,obj/sched_ext}
rm -f "$bpf"/libarena/*.o
build_schedulers module
build_selftests module
