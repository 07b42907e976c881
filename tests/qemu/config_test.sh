#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The build has to refuse kernels that the module cannot work with, and to say what is
# missing. Tries that on headers that lack one thing at a time.
#
# usage: config_test.sh SOURCES KDIR
set -eu

gen=$1/scripts/gen-config.sh
kdir=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0

# Headers like the real ones, to be spoilt.
fresh() {
	rm -rf "$dir/kdir"
	mkdir -p "$dir/kdir/include/config"
	cp "$kdir/include/config/auto.conf" "$kdir/include/config/kernel.release" \
		"$dir/kdir/include/config"
	cp "$kdir/Module.symvers" "$dir/kdir"
	ln -s "$(readlink -f "$kdir/vmlinux")" "$dir/kdir/vmlinux"
}

complain() {
	echo "$*"
	bad=1
}

# NAME SAYS: what was spoilt, and what has to be said about it, in one line.
refused() {
	rm -f "$dir/out" "$dir/out.tmp"
	if sh "$gen" "$dir/kdir" "$dir/out" >"$dir/log" 2>&1; then
		complain "$1: not refused"
	elif ! grep -q "^arena_nolock: .*$2" "$dir/log"; then
		complain "$1: not '$2' but: $(head -n 1 "$dir/log")"
	elif [ "$(wc -l <"$dir/log")" -ne 1 ]; then
		complain "$1: more than one line: $(cat "$dir/log")"
	elif [ -e "$dir/out" ] || [ -e "$dir/out.tmp" ]; then
		complain "$1: something was generated"
	fi
}

fresh
sh "$gen" "$dir/kdir" "$dir/out" >"$dir/log" 2>&1 || complain "good headers refused: $(cat "$dir/log")"
grep -q 'ANL_OFF_bpf_arena_user_vm_end' "$dir/out" || complain "no offsets from good headers"

for option in BPF_SYSCALL BPF_JIT DEBUG_INFO_BTF DEBUG_INFO_BTF_MODULES KPROBES KALLSYMS_ALL \
		MMU 64BIT PREEMPT_COUNT; do
	fresh
	sed -i "/^CONFIG_$option=/d" "$dir/kdir/include/config/auto.conf"
	refused "$option" "lacks CONFIG_$option, which the module needs"
done

for symbol in register_btf_kfunc_id_set apply_to_page_range vm_insert_page; do
	fresh
	sed -i "/\t$symbol\t/d" "$dir/kdir/Module.symvers"
	refused "$symbol" "does not export $symbol"
done

fresh
rm "$dir/kdir/Module.symvers"
refused symvers "is not a prepared kernel header directory"
fresh
rm "$dir/kdir/include/config/auto.conf"
refused auto.conf "are not configured"
fresh
rm "$dir/kdir/vmlinux"
refused vmlinux "no BTF of kernel .* found"
fresh
rm "$dir/kdir/vmlinux"
cp /bin/true "$dir/kdir/vmlinux"
refused "another file for vmlinux" "no readable BTF"

# Offsets of a kernel whose arena has one thing more.
mkdir "$dir/bin"
pahole=$(command -v pahole)
PATH=$dir/bin:$PATH
for member in 'struct kmem_cache *        slabs;' 'struct page *              pages[4];' \
		'unsigned int               big:1;' 'void                       (*fn)(int);' \
		'struct mutex               lock2 __attribute__((__aligned__(64)));'; do
	cat >"$dir/bin/pahole" <<-EOF
		#!/bin/sh
		$pahole "\$@" | sed 's,^struct bpf_arena {,&\n\t$member /* 4096 8 */,'
	EOF
	chmod +x "$dir/bin/pahole"
	fresh
	refused "$member" "has something that this module does not know: "
done

exit "$bad"
