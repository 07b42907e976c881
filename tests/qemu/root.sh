# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The build root: a Debian 13 tree in the cache that holds compiler, BPF tools,
# QEMU and kernel headers, so that the machine itself needs mmdebstrap only.
# Sourced by run_qemu.sh, which sets $cache, $top and $logs.

root=$cache/root
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
root_packages=(make gcc libc6-dev clang-19 llvm-19 libclang-rt-19-dev libbpf-dev bpftool
	dwarves sparse libcmocka-dev libelf-dev zlib1g-dev qemu-system-x86 busybox-static
	cpio gzip kmod ca-certificates)

# Mirror of the running system: the first URI in its apt sources whose path ends
# like $1. Empty if there is none.
apt_mirror() {
	{ cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list \
		/etc/apt/sources.list.d/*.sources 2>/dev/null || true; } |
		sed -n -e 's/^URIs:[[:space:]]*//p' \
			-e 's/^deb[[:space:]]\+\(\[[^]]*\][[:space:]]*\)\?//p' |
		tr ' \t' '\n\n' | sed -n "s,^\\([a-z+]*:.*/$1\\)/*\$,\\1,p" | head -n 1
}

apt_sources() {
	local main security suite
	main=$(apt_mirror debian)
	security=$(apt_mirror debian-security)
	for suite in trixie trixie-updates trixie-backports; do
		echo "deb [signed-by=$keyring] $main $suite main"
	done
	[ -z "$security" ] || echo "deb [signed-by=$keyring] $security trixie-security main"
}

host_tools() {
	local need=()
	command -v mmdebstrap >/dev/null || need+=(mmdebstrap)
	[ -f "$keyring" ] || need+=(debian-archive-keyring)
	if [ "$(id -u)" -ne 0 ]; then
		command -v newuidmap >/dev/null || need+=(uidmap)
	fi
	[ ${#need[@]} -gt 0 ] || return 0
	if [ "$(id -u)" -ne 0 ]; then
		die "please install: ${need[*]}   (as root: apt-get install ${need[*]})"
	fi
	command -v apt-get >/dev/null || die "please install: ${need[*]}"
	apt-get update -qq >"$logs/host.log" 2>&1 || true
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		"${need[@]}" >>"$logs/host.log" 2>&1 ||
		die_log "$logs/host.log" "cannot install ${need[*]}"
}

# Root in a user namespace of ours, for people who are not root.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		unshare --mount "$@"
	else
		unshare --user --map-root-user --map-auto --mount "$@"
	fi
}

# Run a command in the root, with the checkout at /src and the cache at /cache.
in_root() {
	# shellcheck disable=SC2016
	as_root bash -c '
		set -e
		root=$1 top=$2 cache=$3
		shift 3
		mkdir -p "$root/src" "$root/cache"
		mount --rbind /proc "$root/proc"
		mount --rbind /dev "$root/dev"
		mount --bind "$top" "$root/src"
		mount --bind "$cache/work" "$root/cache"
		exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
			LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
	' in_root "$root" "$top" "$cache" "$@"
}

root_stamp() {
	{ printf '%s\n' "${root_packages[@]}"; apt_sources; echo 1; } | sha256sum | cut -c1-16
}

make_root() {
	local stamp new=$cache/root.new sources=$cache/sources.list
	stamp=$(root_stamp)
	mkdir -p "$cache/work"
	if [ "$(cat "$cache/root.stamp" 2>/dev/null)" = "$stamp" ]; then
		return 0
	fi
	step "making the build root (compiler, BPF tools, QEMU)"
	[ -n "$(apt_mirror debian)" ] ||
		die "no Debian mirror in this system's apt sources; the build root is made from one"
	rm -f "$cache/root.stamp"
	as_root rm -rf "$root" "$new"
	apt_sources >"$sources"
	mkdir -p "$new"
	local include
	include=$(IFS=,; echo "${root_packages[*]}")
	if [ "$(id -u)" -eq 0 ]; then
		mmdebstrap --variant=apt --aptopt='APT::Install-Recommends "false"' \
			--include="$include" trixie "$new" "$sources" >"$logs/root.log" 2>&1 ||
			die_log "$logs/root.log" "mmdebstrap failed"
	else
		mmdebstrap --mode=unshare --format=tar --variant=apt \
			--aptopt='APT::Install-Recommends "false"' --include="$include" \
			trixie - "$sources" 2>"$logs/root.log" |
			as_root tar -C "$new" --exclude='./dev/*' -x ||
			die_log "$logs/root.log" "mmdebstrap failed"
	fi
	as_root mkdir -p "$new/etc/apt/sources.list.d" "$new/src" "$new/cache"
	as_root cp "$sources" "$new/etc/apt/sources.list"
	as_root sh -c "rm -f '$new'/etc/apt/sources.list.d/*; cp '$keyring' '$new$keyring';
		cp /etc/resolv.conf '$new/etc/resolv.conf' || true"
	mv "$new" "$root"
	rm -f "$cache/apt.stamp"
	echo "$stamp" >"$cache/root.stamp"
}

# Lists older than this many minutes are fetched again.
apt_age=360

update_root() {
	if [ -n "$(find "$cache/apt.stamp" -mmin -$apt_age 2>/dev/null)" ]; then
		return 0
	fi
	step "looking for new kernels in the archive"
	if in_root apt-get update -qq >"$logs/apt.log" 2>&1; then
		touch "$cache/apt.stamp"
	else
		say "  cannot reach the archive; using what is in the cache"
	fi
}

# Newest release of a kernel, as uname -r prints it. $1 is SUITE:FLAVOUR.
kernel_release() {
	local suite=${1%%:*} flavour=${1#*:} meta version
	case $flavour in
	amd64) meta=linux-headers-amd64 ;;
	*) meta=linux-headers-$flavour-amd64 ;;
	esac
	case $suite in
	stable)
		version=$(in_root apt-cache policy "$meta" | awk '/Candidate:/ { print $2 }') ;;
	backports)
		version=$(in_root apt-cache madison "$meta" |
			awk '$6 ~ /^trixie-backports/ && !v { v = $3 } END { print v }') ;;
	*)
		die "unknown kernel '$1': it is stable or backports, and :cloud, :amd64 or :rt" ;;
	esac
	in_root apt-cache show "$meta=$version" |
		sed -n 's/^Depends:.*linux-headers-\([0-9][^ ,]*\).*/\1/p' | head -n 1
}

# Headers into the root, and the kernel image into the cache.
get_kernel() {
	local spec=$1 rel=$2 log=$logs/kernel-$2.log old pkg tmp=$cache/work/deb
	if [ -f "$cache/work/vmlinuz-$rel" ] && [ -d "$root/usr/src/linux-headers-$rel" ]; then
		echo "$rel" >"$cache/kernel-$spec"
		return 0
	fi
	step "fetching kernel $rel"
	in_root apt-get install -y -qq --no-install-recommends "linux-headers-$rel" >"$log" 2>&1 ||
		in_root apt-get install -y -qq --no-install-recommends -t trixie-backports \
			"linux-headers-$rel" >>"$log" 2>&1 ||
		die_log "$log" "cannot install the headers of $rel"
	in_root apt-get clean
	pkg=linux-image-$rel
	# From 7.x on the image is in a package of its own.
	[ -z "$(in_root apt-cache search --names-only "^linux-binary-${rel//+/\\+}\$")" ] ||
		pkg=linux-binary-$rel
	as_root rm -rf "$tmp"
	as_root mkdir -p "$tmp"
	in_root sh -c "cd /cache/deb && apt-get -o APT::Sandbox::User=root download -qq '$pkg' &&
		dpkg-deb -x *.deb . && find . -name 'vmlinuz*' -type f -exec cp {} /cache/vmlinuz-$rel \\;" \
		>>"$log" 2>&1 || die_log "$log" "cannot fetch the image of $rel"
	as_root rm -rf "$tmp"
	[ -f "$cache/work/vmlinuz-$rel" ] || die_log "$log" "no kernel image in $pkg"

	# The release that this one replaces.
	old=$(cat "$cache/kernel-$spec" 2>/dev/null || true)
	if [ -n "$old" ] && [ "$old" != "$rel" ]; then
		in_root apt-get purge -y -qq "linux-headers-$old" >>"$log" 2>&1 || true
		in_root apt-get autoremove -y -qq >>"$log" 2>&1 || true
		as_root rm -f "$cache/work/vmlinuz-$old"
	fi
	echo "$rel" >"$cache/kernel-$spec"
}
