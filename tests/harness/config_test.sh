#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The build must refuse kernels that the module cannot work with, and name what is missing.
# Tries that on headers that lack one thing at a time. Then builds the module with headers that
# lack only optional things.
#
# Runs in a mount namespace of its own, in which it hides /sys.
#
# usage: config_test.sh SOURCES KDIR
set -eu

src=$1
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

# NAME SAYS: what was spoilt, and the one line that must name it.
refused() {
	rm -f "$dir/out" "$dir/out.tmp"
	if sh "$gen" "$dir/kdir" "$dir/out" true >"$dir/log" 2>&1; then
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
sh "$gen" "$dir/kdir" "$dir/out" true >"$dir/log" 2>&1 || complain "good headers refused: $(cat "$dir/log")"
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
sed -i '/^CONFIG_X86_64=/d; /^CONFIG_ARM64=/d' "$dir/kdir/include/config/auto.conf"
refused architecture "is built for an architecture that the module does not support"
fresh
rm "$dir/kdir/Module.symvers"
refused symvers "is not a prepared kernel header directory"
fresh
rm "$dir/kdir/include/config/auto.conf"
refused auto.conf "are not configured"
fresh
rm "$dir/kdir/vmlinux"
refused vmlinux "vmlinux not found, so kbuild would build the module without BTF"

# Another file in place of vmlinux: NAME SAYS
no_btf() {
	fresh
	rm "$dir/kdir/vmlinux"
	cp "$dir/$1" "$dir/kdir/vmlinux"
	refused "$1" "no struct bpf_map found: .* $2"
}
objcopy -O binary --only-section=.BTF "$kdir/vmlinux" "$dir/raw"
cp /bin/true "$dir/program"
head -c 1000000 "$kdir/vmlinux" >"$dir/half_vmlinux"
head -c 1000000 "$dir/raw" >"$dir/half_raw"
head -c 10 "$dir/raw" >"$dir/bit_of_raw"
echo hello >"$dir/text"
: >"$dir/empty"
no_btf program "is an ELF file without BTF"
no_btf half_vmlinux "is truncated"
no_btf half_raw "is truncated"
no_btf bit_of_raw "is truncated"
no_btf text "is neither an ELF file nor raw BTF"
no_btf empty "is neither an ELF file nor raw BTF"

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
printf '#!/bin/sh\ncase $* in --version) echo v1.0 ;; esac\n' >"$dir/bin/pahole"
no_btf raw "cannot read, or .*: install a pahole that is as new as the kernel"
rm "$dir/bin/pahole"

# Headers that kbuild can build with, in a directory of their own.
whole() {
	rm -rf "$dir/kdir"
	mkdir "$dir/kdir"
	for f in "$kdir"/* "$kdir"/.[!.]*; do
		ln -s "$(readlink -f "$f")" "$dir/kdir/${f##*/}"
	done
	rm "$dir/kdir/include" "$dir/kdir/Makefile" "$dir/kdir/Module.symvers"
	cp -r "$kdir/include" "$dir/kdir"
	cp "$kdir/Module.symvers" "$dir/kdir"
	sed "s,^KBUILD_OUTPUT=.*,KBUILD_OUTPUT=$dir/kdir," "$kdir/Makefile" >"$dir/kdir/Makefile"
}

contents() {
	find "$dir/kdir" -printf '%p %l %s %T+\n' | sort
}

mkdir "$dir/source"
(cd "$src" && cp -r Kbuild Makefile VERSION src scripts "$dir/source")
rm -f "$dir/source/src/anl_config.h"
ko=$dir/source/arena_nolock.ko

# MAKE-ARGUMENTS...
build() {
	make -C "$dir/source" -j2 KDIR="$dir/kdir" "$@" >"$dir/log" 2>&1
}

# NAME MAKE-ARGUMENTS...: must build a module with BTF.
builds() {
	name=$1
	shift
	if ! build "$@"; then
		complain "$name: does not build: $(tail -n 15 "$dir/log")"
	elif ! readelf -SW "$ko" | grep -q ' \.BTF '; then
		complain "$name: a module without BTF"
	fi
}

# NAME SAYS MAKE-ARGUMENTS...: must fail, and leave no module, not even of an earlier build.
builds_not() {
	name=$1
	says=$2
	shift 2
	echo old >"$ko"
	if build "$@"; then
		complain "$name: make ends with 0"
	elif ! grep -q "$says" "$dir/log"; then
		complain "$name: not '$says' but: $(tail -n 5 "$dir/log")"
	fi
	[ ! -e "$ko" ] || complain "$name: there is a module"
}

# Headers without vmlinux, as those of Ubuntu.
whole
rm "$dir/kdir/vmlinux"
contents >"$dir/before"
builds_not "no BTF" "no BTF of kernel .* found: .*make VMLINUX_BTF=<file>"
builds_not "unreadable BTF" "cannot read the BTF of the target kernel" VMLINUX_BTF="$dir/nothing"
builds_not "another file for BTF" "is neither an ELF file nor raw BTF" VMLINUX_BTF="$dir/text"
builds "raw BTF" VMLINUX_BTF="$dir/raw"
builds "vmlinux" VMLINUX_BTF="$(readlink -f "$kdir/vmlinux")"
if mount -t tmpfs config_test /sys; then
	mkdir -p /sys/kernel/btf
	cp "$dir/raw" /sys/kernel/btf/vmlinux
	printf '#!/bin/sh\n[ "$*" = -r ] && cat %s\n' "$kdir/include/config/kernel.release" \
		>"$dir/bin/uname"
	chmod +x "$dir/bin/uname"
	builds "BTF of the running kernel"
	rm "$dir/bin/uname"
else
	complain "cannot hide /sys"
fi
contents | diff "$dir/before" - ||
	complain "the header directory was changed"

# Kbuild does not always notice that there is no BTF.
printf '#!/bin/sh\ncase $* in *-J*) ;; *) exec %s "$@" ;; esac\n' "$pahole" >"$dir/bin/pahole"
chmod +x "$dir/bin/pahole"
whole
builds_not "pahole that makes no BTF" "BTF"
rm "$dir/bin/pahole"
cp /bin/true "$ko"
if sh "$src/scripts/check-btf.sh" "$ko" 2>"$dir/log"; then
	complain "a module without BTF passes"
fi
grep -q 'came out without BTF' "$dir/log" || complain "no BTF, but: $(cat "$dir/log")"
[ ! -e "$ko" ] || complain "a module without BTF is left"

# No memory cgroups.
whole
sed -i '/CONFIG_MEMCG\(_V1\)\?\>/d; /CONFIG_CGROUP_WRITEBACK\>/d' \
	"$dir/kdir/include/config/auto.conf" "$dir/kdir/include/generated/autoconf.h"
builds "without MEMCG"

# PARAMETERS: headers whose alloc_pages_nolock() has these.
nolock() {
	whole
	[ -n "$(sed -n '/\talloc_pages_nolock_noprof\t/p' "$kdir/Module.symvers")" ] ||
		printf '0x00000000\talloc_pages_nolock_noprof\tvmlinux\tEXPORT_SYMBOL_GPL\t\n' \
			>>"$dir/kdir/Module.symvers"
	{
		grep -v alloc_pages_nolock "$gfp" | sed '$d'
		echo "struct page *alloc_pages_nolock_noprof($1);"
		echo "#define alloc_pages_nolock(...) alloc_hooks(alloc_pages_nolock_noprof(__VA_ARGS__))"
		echo "#endif"
	} >"$dir/gfp.h"
}
gfp=$(sed -n 's,^include \(.*\)/Makefile$,\1,p' "$kdir/Makefile")/include/linux/gfp.h
[ -f "$gfp" ] || gfp=$kdir/include/linux/gfp.h
nolock "int nid, unsigned int order"
builds "alloc_pages_nolock(nid, order)" KCFLAGS="-include $dir/gfp.h"
nolock "gfp_t gfp_flags, int nid, unsigned int order"
builds "alloc_pages_nolock(gfp, nid, order)" KCFLAGS="-include $dir/gfp.h"
nolock "unsigned int order"
builds_not "alloc_pages_nolock(order)" "takes arguments that this module does not know" \
	KCFLAGS="-include $dir/gfp.h"

exit "$bad"
