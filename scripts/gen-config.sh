#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Generate anl_config.h for the target kernel:
#  - the offsets in struct bpf_arena and related structures, from the kernel's BTF;
#  - the optional interfaces that the kernel exports, from Module.symvers;
#  - the parameters of these interfaces, found by compiling a declaration.
#
# usage: gen-config.sh KDIR OUTPUT COMPILER FLAGS...
#	COMPILER and FLAGS are those that compile the module
#
# On an error, prints one line that says what to install or to enable.
set -eu

kdir=$1
out=$2
shift 2

die() {
	echo "arena_nolock: $*" >&2
	exit 1
}

unsupported="Use a version of the module that supports this kernel."

command -v pahole >/dev/null 2>&1 ||
	die "pahole not found. Install it (Debian, Ubuntu: apt install dwarves; Fedora: dnf install dwarves)."

symvers=$kdir/Module.symvers
[ -f "$symvers" ] ||
	die "$symvers not found: $kdir is not a prepared kernel header directory. Install the headers of the target kernel (Debian: apt install linux-headers-\$(uname -r))."

# Kbuild makes the module's BTF from this file, and without it builds a module without BTF.
# If the headers lack the file, the Makefile has kdir.sh supply it.
krel=$(cat "$kdir/include/config/kernel.release" 2>/dev/null || echo unknown)
btf=$kdir/vmlinux
[ -r "$btf" ] ||
	die "$btf not found, so kbuild would build the module without BTF. Build with the module's Makefile: make KDIR=<dir> VMLINUX_BTF=<vmlinux, or a copy of /sys/kernel/btf/vmlinux>"

config=$kdir/include/config/auto.conf
need() {
	grep -q "^CONFIG_$1=y" "$config" ||
		die "kernel $krel lacks CONFIG_$1, which the module needs: $2."
}
[ -f "$config" ] || die "$config not found: the kernel headers are not configured."
need BPF_SYSCALL "there is no BPF without it"
need BPF_JIT "arenas exist only for JITed programs"
need DEBUG_INFO_BTF "kfuncs are found through BTF"
need DEBUG_INFO_BTF_MODULES "the module's kfuncs are found through its BTF"
need KPROBES "two unexported symbols are looked up through kprobes"
need KALLSYMS_ALL "the address of init_mm is a data symbol"
need MMU "an arena is mapped memory"
grep -q "^CONFIG_X86_64=y\|^CONFIG_ARM64=y" "$config" ||
	die "kernel $krel is built for an architecture that the module does not support: it supports x86-64 and arm64."
need 64BIT "arenas exist on 64-bit kernels only"
need PREEMPT_COUNT "without it preempt_count() does not tell whether a caller may sleep (Debian's kernels 6.12 for arm64 have it with PREEMPT_RT only, those of 7.x all have it)"

tmp=$(mktemp)
layout=$(mktemp)
trap 'rm -f "$tmp" "$layout" "$out.tmp"' EXIT

# STRUCT MEMBER...: print "#define ANL_OFF_<struct>_<member> <offset>" for each member, and
# append "<struct> <member> <offset>" to the list that the module checks when it is loaded.
# pahole prints a member as "type  name;  /* offset size */". Fails if a member is missing.
members() {
	struct=$1
	shift
	pahole -F btf -C "$struct" "$btf" >"$tmp" 2>/dev/null
	[ -s "$tmp" ] || return 1
	for m in "$@"; do
		awk -v m="$m" -v s="$struct" -v layout="$layout" '
			$0 ~ "[ *]" m ";" && match($0, /\/\* +[0-9]+ +[0-9]+ \*\//) {
				split(substr($0, RSTART), f, " ")
				printf "#define ANL_OFF_%s_%s %d\n", s, m, f[2]
				printf "\t\"%s %s %d\\n\" \\\n", s, m, f[2] >>layout
				found = 1
				exit
			}
			END { exit !found }' "$tmp" || return 1
	done
}

# Adoption handles all of these members. An unknown member could own pages of the arena.
arena_members="map user_vm_start user_vm_end kern_vm mt scratch_page rt spinlock nr_pages"
arena_members="$arena_members vma_list lock zap_gen zap_mutex free_irq free_work free_spans"

# STRUCT NAMES: print the members of a struct, in pahole's format, that are not in NAMES.
unknown_members() {
	pahole -F btf -C "$1" "$btf" 2>/dev/null | awk -v known=" $2 " '
		/\/\* +[0-9]+/ && !/^\t\/\*/ {
			line = $0
			sub(/ *\/\*.*/, "", line)
			sub(/^[ \t]+/, "", line)
			name = line
			sub(/;$/, "", name)
			sub(/.*[ *]/, "", name)
			if (!index(known, " " name " "))
				print line
		}'
}

optional() {
	members "$@" || true
}

# OFFSET SIZE: print the unsigned number of SIZE bytes at OFFSET of the file with BTF.
number() {
	od -An -v -j "$1" -N "$2" -t "u$2" "$btf" | tr -d ' '
}

# Print why pahole cannot read the file with BTF.
unreadable() {
	size=$(wc -c <"$btf")
	start=0
	case $(od -An -v -N 4 -t x1 "$btf" | tr -d ' ') in
	7f454c46)
		# The section header table is at the end of the file.
		if [ "$size" -lt 64 ] || [ "$(number 40 8)" -ge "$size" ]; then
			echo "is truncated: copy it again"
			return
		fi
		start=$(LC_ALL=C "${READELF:-readelf}" -SW "$btf" 2>/dev/null |
			sed -n 's/.* \.BTF  *PROGBITS  *[0-9a-f]*  *\([0-9a-f]*\) .*/\1/p')
		if [ -z "$start" ]; then
			echo "is an ELF file without BTF: name a vmlinux that was built with CONFIG_DEBUG_INFO_BTF, or a copy of /sys/kernel/btf/vmlinux"
			return
		fi
		start=$((0x$start)) ;;
	9feb*) ;;
	*)
		echo "is neither an ELF file nor raw BTF: name a vmlinux (scripts/extract-vmlinux of the kernel makes one of a compressed image) or a copy of /sys/kernel/btf/vmlinux"
		return ;;
	esac
	if [ "$size" -lt $((start + 24)) ] ||
			[ "$size" -lt $((start + $(number $((start + 4)) 4) +
				$(number $((start + 16)) 4) + $(number $((start + 20)) 4))) ]; then
		echo "is truncated: copy it again"
	else
		echo "has BTF that $(command -v pahole) ($(pahole --version)) cannot read, or that lacks struct bpf_map: install a pahole that is as new as the kernel, and check that the file is of a kernel with BPF"
	fi
}

# NAME PARAMETERS COMPILER FLAGS...: does a function that returns a page have PARAMETERS?
takes() {
	code="#include <linux/gfp.h>
struct page *(*anl_probe)($2) = $1;"
	shift 2
	printf '%s\n' "$code" | "$@" -Werror=incompatible-pointer-types -fsyntax-only -x c - \
		>/dev/null 2>&1
}

# NAME COMPILER FLAGS...: do the headers of the page allocator declare NAME?
declared() {
	code="#include <linux/gfp.h>
void *anl_probe = $1;"
	shift
	printf '%s\n' "$code" | "$@" -fsyntax-only -x c - >/dev/null 2>&1
}

exported() {
	awk -v s="$1" '$2 == s { found = 1 } END { exit !found }' "$symvers"
}

gen() {
	echo "/* Generated by scripts/gen-config.sh for $krel. Do not edit. */"
	echo "#define ANL_TARGET_RELEASE \"$krel\""
	members bpf_map ops >/dev/null ||
		die "no struct bpf_map found: $btf $(unreadable)."
	members bpf_arena map user_vm_start user_vm_end kern_vm vma_list lock ||
		die "struct bpf_arena of kernel $krel is missing or has an unknown layout. This module supports Linux 6.12 and 7.x kernels with BPF arenas."
	unknown=$(unknown_members bpf_arena "$arena_members")
	[ -z "$unknown" ] ||
		die "struct bpf_arena of kernel $krel has something that this module does not know: $unknown $unsupported"
	members vma_list head ||
		die "struct vma_list of kernel $krel has an unknown layout. $unsupported"
	optional vma_list mmap_count
	for m in scratch_page spinlock free_irq free_work free_spans; do
		optional bpf_arena "$m"
	done
	# Kernels without a range tree (6.12) have no reservations.
	if members bpf_arena rt; then
		members range_tree it_root range_size_root ||
			die "struct range_tree of kernel $krel has an unknown layout. $unsupported"
		members range_node rn_rbnode rn_start rn_last ||
			die "struct range_node of kernel $krel has an unknown layout. $unsupported"
	fi
	exported resilient_queued_spin_lock_slowpath && echo "#define ANL_HAVE_RQSPINLOCK 1"
	if exported alloc_pages_nolock_noprof; then
		echo "#define ANL_HAVE_ALLOC_PAGES_NOLOCK 1"
		if takes alloc_pages_nolock_noprof "gfp_t, int, unsigned int" "$@"; then
			echo "#define ANL_ALLOC_PAGES_NOLOCK_GFP 1"
		elif ! takes alloc_pages_nolock_noprof "int, unsigned int" "$@"; then
			die "alloc_pages_nolock() of kernel $krel takes arguments that this module does not know. $unsupported"
		fi
	fi
	# The function that frees in blocks; free_contig_range() uses it where it is declared.
	exported free_contig_range && declared __free_contig_range "$@" &&
		echo "#define ANL_HAVE_FREE_BLOCKS 1"
	exported hrtimer_setup && echo "#define ANL_HAVE_HRTIMER_SETUP 1"
	exported zap_vma_range && echo "#define ANL_HAVE_ZAP_VMA_RANGE 1"
	exported zap_vma_range || exported zap_page_range_single ||
		die "kernel $krel exports neither zap_vma_range nor zap_page_range_single. $unsupported"
	pahole -F btf -C list_lru_one "$btf" 2>/dev/null | grep -q 'spinlock_t .*lock;' &&
		echo "#define ANL_HAVE_LIST_LRU_ONE_LOCK 1"
	# Only sched_ext of the cid form makes the kernel itself allocate from an arena.
	if pahole -F btf -C sched_ext_ops_cid "$btf" 2>/dev/null | grep -q . &&
			exported register_ftrace_function &&
			grep -q "^CONFIG_DYNAMIC_FTRACE_WITH_ARGS=y" "$config" &&
			grep -aq "bpf_arena_alloc_pages_sleepable" "$btf"; then
		echo "#define ANL_HAVE_KERNEL_CLIENT 1"
	fi
	for s in register_btf_kfunc_id_set apply_to_page_range vm_insert_page; do
		exported "$s" || die "kernel $krel does not export $s. $unsupported"
	done
	echo "#define ANL_LAYOUT \\"
	cat "$layout"
	echo "	\"\""
}

gen "$@" >"$out.tmp" || exit 1
cmp -s "$out.tmp" "$out" || mv "$out.tmp" "$out"
