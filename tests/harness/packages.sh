# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# DKMS and the Debian packages on Debian 13 and 12: dkms_test.sh runs in a throwaway copy
# of each one's root, with the headers of all its kernels; then these kernels are booted
# and get the module that DKMS has built. Sourced by run_qemu.sh.

# The kernels of a root, as SUITE:FLAVOUR.
package_kernels() {
	local suite flavour
	for suite in $(case $1 in debian12) echo oldstable ;; *) echo stable backports ;; esac); do
		for flavour in cloud amd64 rt; do
			echo "$suite:$flavour"
		done
	done
}

# A line of the script becomes a result: ROOT
package_results() {
	local line why="" ended=0
	while read -r line; do
		case $line in
		"# "*) why+=${why:+$'\n'}${line#\# } ;;
		"ok "*) result "$1.${line#ok }" 0; why="" ;;
		"not ok "*) result "$1.${line#not ok }" 1 "$why"; why="" ;;
		end) ended=1 ;;
		esac
	done
	result "$1: the packages' tests reached their end" "$((1 - ended))" "see $logs/packages-$1.log"
}

# A guest whose results are one result here: DIR REL NAME
boot_script() {
	local dir=$1 why
	start_guest "$dir" "$2"
	show_guest() { cat >/dev/null; }
	follow_guest "$dir"
	why=$(judge "$dir" "$qemu_code"
		tr -d '\r' <"$dir/results.log" | grep -a -B 20 '^not ok' || true)
	result "$3" "${#why}" "$why${why:+$'\n'}see $dir"
}

# Boot a kernel with the module that DKMS built for it: ROOT REL
boot_dkms() {
	local dir=$build/boot-dkms-$2 rel=$2 f root root_name
	use_root build
	mkdir -p "$dir"
	initramfs_base "$dir" "$rel"
	mkdir -p "$dir"/ird/{kmod,lib/modules}
	# The release's own kmod: Debian 13's has the kernel unpack the module, and the kernel
	# does not know the checksums of modules that Debian 12 has packed.
	use_root "$1"
	cp -L "$root/bin/kmod" "$dir/ird/kmod/modprobe"
	for f in $(in_root ldd /bin/kmod | grep -o '/[^ ]*\.so[^ ]*' | grep -v '/libc\.so\|/ld-linux'); do
		cp -L "$root/$f" "$dir/ird/kmod/"
	done
	use_root build
	cp "$harness/guest/modprobe_test.sh" "$dir/ird/"
	cp -r "$build/packages-$1/lib/modules/$rel" "$dir/ird/lib/modules/"
	initramfs_pack "$dir" /bin/sh /modprobe_test.sh "$(cat "$top/VERSION")"
	boot_script "$dir" "$rel" "$1.modprobe $rel"
}

# The bpftrace script in a guest: REL
boot_bpftrace() {
	local dir=$build/boot-bpftrace-$1 rel=$1
	mkdir -p "$dir"
	initramfs_base "$dir" "$rel" /usr/bin/bpftrace
	cp "$harness/guest/bpftrace_test.sh" "$top/tools/arena_nolock.bt" "$build/$rel/arena_nolock.ko" \
		"$dir/ird/"
	initramfs_pack "$dir" /bin/sh /bpftrace_test.sh
	boot_script "$dir" "$rel" "tools.bpftrace $rel"
}

# One Debian release, with the headers of all its kernels: ROOT
test_packages_on() {
	local name=$1 root root_name spec rels=()
	prepare_root "$name"
	for spec in $(package_kernels "$name"); do
		get_stock_kernel "$spec"
		rels+=("$rel")
	done
	rm -rf "$build/packages-$name"
	mkdir -p "$build/packages-$name"
	step "dkms and packages on $name, for ${rels[*]}"
	package_results "$name" < <(in_fresh_root bash /src/tests/harness/dkms_test.sh /src \
		"/src/build/packages-$name" "${rels[@]}" 2>&1 | tee "$logs/packages-$name.log")
	step "booting with what dkms has built on $name"
	for rel in "${rels[@]}"; do
		boot_dkms "$name" "$rel"
	done
}

# Kernels for the bpftrace script: REL...
test_packages() {
	local rel
	step "the bpftrace script"
	for rel in "$@"; do
		boot_bpftrace "$rel"
	done
	test_packages_on debian13
	test_packages_on debian12
}
