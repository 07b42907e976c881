# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Other architectures: kernels of arm64 are built for, and booted, on this machine. Their root,
# "arm64", has the cross compiler, QEMU for arm64, and libraries and a few programs of arm64.
# It is made when such a kernel is first asked for. Sourced by run_qemu.sh.

cross_packages=(make gcc libc6-dev clang-19 llvm-19 bpftool dwarves sparse kmod cpio gzip
	ca-certificates qemu-system-arm gcc-aarch64-linux-gnu libc6-dev:arm64 libbpf-dev:arm64
	libelf-dev:arm64 zlib1g-dev:arm64 libcap2:arm64)

# Programs of the guests. They cannot be installed beside those of this machine.
guest_packages=(busybox-static:arm64 bpftool:arm64)

# REL
is_arm64() {
	[[ $1 = *-arm64* ]]
}

# Where the programs for a kernel are built, below the checkout: REL
programs_dir() {
	if is_arm64 "$1"; then
		echo build/arm64
	else
		echo build
	fi
}

# Their compiler: REL
programs_cc() {
	if is_arm64 "$1"; then
		echo aarch64-linux-gnu-gcc
	else
		echo gcc
	fi
}

# What make needs to build for a kernel, beside KDIR: REL
kernel_make_args() {
	! is_arm64 "$1" || echo "ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu-"
}

# The root with QEMU and the guest's programs: REL
guest_root() {
	if is_arm64 "$1"; then
		echo arm64
	else
		echo build
	fi
}

# A program of that root as the guest can run it: REL PATH
guest_program() {
	if is_arm64 "$1"; then
		echo "/guest$2"
	else
		echo "$2"
	fi
}

# The root and the guest's programs. Sets arm64_btf_rel, and root for the calling function.
prepare_arm64_root() {
	local rel
	prepare_root arm64
	if [ ! -f "$root.programs" ]; then
		# shellcheck disable=SC2016
		in_root sh -ec 'rm -rf /guest /cache/deb-arm64; mkdir /guest /cache/deb-arm64; cd /cache/deb-arm64
			apt-get download -qq "$@"
			for deb in *.deb; do dpkg-deb -x "$deb" /guest; done
			rm -rf /cache/deb-arm64' sh "${guest_packages[@]}" >"$logs/guest.log" 2>&1 </dev/null ||
			die_log "$logs/guest.log" "cannot get the programs of the guests"
		touch "$root.programs"
	fi
	get_headers backports:arm64
	arm64_btf_rel=$rel
}

# Headers of arm64 in the root. The packages of 6.12 want a native compiler of arm64 there, so
# they are unpacked; what they need from others runs here: REL
install_arm64_headers() {
	# shellcheck disable=SC2016
	in_root sh -ec 'rel=$1
		apt-get install -y -qq $(apt-cache show "linux-headers-$rel:arm64" | grep "^Depends:" |
			grep -o "linux-headers-[^ :,]*\|linux-kbuild-[^ :,]*" | sort -u)
		apt-get clean
		rm -rf /cache/deb-arm64; mkdir /cache/deb-arm64; cd /cache/deb-arm64
		apt-get download -qq "linux-headers-$rel:arm64"
		dpkg-deb -x *.deb .
		rm -rf "/usr/src/linux-headers-$rel"
		mv "usr/src/linux-headers-$rel" /usr/src
		rm -rf /cache/deb-arm64' sh "$1"
}

# The shared libraries that programs need, which are below this root: REL PROGRAM...
libraries() {
	if is_arm64 "$1"; then
		shift
		# shellcheck disable=SC2016
		in_root sh -ec 'todo="$*" seen=
			while [ -n "$todo" ]; do
				set -- $todo; file=$1; shift; todo=$*
				for lib in $(readelf -d "$file" | sed -n "s/.*(NEEDED).*\[\(.*\)\]/\1/p"); do
					case " $seen " in *" $lib "*) continue ;; esac
					seen="$seen $lib" todo="$todo /usr/lib/aarch64-linux-gnu/$lib"
					echo "/usr/lib/aarch64-linux-gnu/$lib"
				done
			done' sh "$@"
	else
		shift
		in_root ldd "$@" | grep -o '/[^ ]*\.so[^ ]*' | sort -u
	fi
}

# QEMU for a kernel, with the machine and how it gets its CPUs: REL. Only a kernel of this
# machine's architecture can use KVM.
qemu_args() {
	if is_arm64 "$1"; then
		echo "qemu-system-aarch64 -M virt,gic-version=3 -accel $([[ $accel = tcg* ]] &&
			echo "$accel" || echo tcg,thread=multi)"
	else
		echo "qemu-system-x86_64 -accel $accel"
	fi
}

# What a kernel is told about its machine: REL. Debian's kernels of arm64 set memory aside for
# devices (CMA). It counts as free, but most allocations cannot use it, which tests that fill the
# memory do not expect.
arch_args() {
	if is_arm64 "$1"; then
		echo "console=ttyAMA0 cma=0 irqchip.gicv3_pseudo_nmi=1"
	else
		echo "console=ttyS0"
	fi
}
