# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Roots: Debian trees in the cache, so that the machine itself needs mmdebstrap only.
# "build" has compiler, BPF tools, QEMU and kernel headers; "debian13" and "debian12" have
# what the users of these releases have: their compiler, dkms, and the tools for packages;
# "arm64" is the build root for kernels of arm64, see arch.sh.
# This file makes and updates them, and runs commands in them; kernels.sh fills them.
# Sourced by run_qemu.sh, which sets $cache, $top and $logs.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
build_packages=(make gcc libc6-dev clang-19 llvm-19 libclang-rt-19-dev libbpf-dev bpftool
	dwarves sparse libcmocka-dev libelf-dev zlib1g-dev qemu-system-x86 busybox-static
	cpio gzip kmod ca-certificates gnuplot-nox bpftrace)
user_packages=(build-essential dwarves sparse kmod openssl pkgconf dkms dh-dkms debhelper
	lintian)

# Choose a root for the commands that follow. In a function that has "root" and
# "root_name" as locals, for the rest of that function.
use_root() {
	root_name=$1
	root=$cache/root-$1
}
use_root build

# The root that the headers of a release are in: REL
kernel_root() {
	case $1 in
	*+deb12*) echo debian12 ;;
	*-arm64*) echo arm64 ;;
	*) echo build ;;
	esac
}

root_suite() {
	case $root_name in
	debian12) echo bookworm ;;
	*) echo trixie ;;
	esac
}

# URIs in the apt sources of the running system, lists of mirrors resolved.
apt_uris() {
	local uri
	{ cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list \
		/etc/apt/sources.list.d/*.sources 2>/dev/null || true; } |
		sed -n -e 's/^URIs:[[:space:]]*//p' \
			-e 's/^deb[[:space:]]\+\(\[[^]]*\][[:space:]]*\)\?//p' |
		tr '[:blank:]' '\n' | while read -r uri; do
			case $uri in
			mirror+file:*) sed 's/[[:space:]].*//' "/${uri#mirror+file:*/}" 2>/dev/null || true ;;
			*:*) echo "$uri" ;;
			esac
		done
}

# The first of them whose path ends like $1; nothing if there is none.
apt_mirror() {
	apt_uris | sed -n "s,^\\([a-z+]*:.*/$1\\)/*\$,\\1,p" | sed -n 1p
}

# Sources for the root, given its main mirror and that of security updates.
apt_sources() {
	local suite part
	suite=$(root_suite)
	for part in "" -updates -backports; do
		echo "deb [signed-by=$keyring] $1 $suite$part main"
	done
	[ -z "$2" ] || echo "deb [signed-by=$keyring] $2 $suite-security main"
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
	step "installing ${need[*]} on this machine"
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		"${need[@]}" >>"$logs/host.log" 2>&1 </dev/null ||
		die_log "$logs/host.log" "cannot install ${need[*]}"
}

# Commands enter a root by namespaces.
check_namespaces() {
	as_root true >"$logs/host.log" 2>&1 ||
		die_log "$logs/host.log" "this machine does not let $(id -un) make namespaces; run it as root, or allow unprivileged user namespaces and give $(id -un) ranges in /etc/subuid and /etc/subgid"
}

# Run as root, or as root of a user namespace. With as_root_exec set to exec, the command
# replaces this shell.
as_root_exec=

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		$as_root_exec unshare --mount "$@"
	else
		$as_root_exec unshare --user --map-root-user --map-auto --mount "$@"
	fi
}

# Run a command in the root, with the checkout at /src and the cache at /cache.
in_root() {
	# shellcheck disable=SC2016
	as_root bash -c '
		set -e
		root=$1 top=$2 cache=$3 fresh=$4 xattr=$5
		shift 5
		if [ -n "$fresh" ]; then
			mount -t tmpfs -o size=75% fresh "$fresh"
			mkdir "$fresh/upper" "$fresh/scratch" "$fresh/root"
			mount -t overlay -o "lowerdir=$root,upperdir=$fresh/upper,workdir=$fresh/scratch$xattr" \
				overlay "$fresh/root"
			root=$fresh/root
		fi
		mount --rbind /proc "$root/proc"
		mount --rbind /dev "$root/dev"
		mount --bind "$top" "$root/src"
		mount --bind "$cache/files" "$root/cache"
		exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
			LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive TERM="${TERM:-dumb}" "$@"
	' in_root "$root" "$top" "$cache" "${fresh:-}" \
		"$([ "$(id -u)" -eq 0 ] || echo ,userxattr)" "$@"
}

# The same, and what the command writes outside of /src and /cache is dropped afterwards.
in_fresh_root() {
	local fresh=$cache/fresh
	mkdir -p "$fresh"
	in_root "$@"
}

root_packages() {
	case $root_name in
	build) echo "${build_packages[@]}" ;;
	arm64) echo "${cross_packages[@]}" ;;
	*) echo "${user_packages[@]}" ;;
	esac
}

# A root is made again when this changes; the number is the version of make_root.
root_stamp() {
	{ root_packages; apt_mirror debian; apt_mirror debian-security; echo 5; } |
		sha256sum | cut -c1-16
}

# Jobs make several roots at the same time, so each has its files to itself.
make_root() {
	local stamp new=$root.new sources=$root.list proxy=$root.proxy log=$logs/root-$root_name.log
	local suite main security include mirror options dir
	stamp=$(root_stamp)
	suite=$(root_suite)
	mkdir -p "$cache/files"
	if [ "$(cat "$root.stamp" 2>/dev/null)" = "$stamp" ]; then
		return 0
	fi
	# The kernels whose headers it had go with it.
	case $root_name in
	build)
		step "making the build root (compiler, BPF tools, QEMU)"
		rm -f "$cache"/kernel-*:{debug,kcsan} "$cache"/{debug,kcsan}-*.stamp ;;
	arm64)
		step "making the root arm64 (cross compiler, BPF tools, QEMU)"
		rm -f "$root.programs" "$cache"/kernel-*:arm64-nmi "$cache"/arm64-nmi-*.stamp ;;
	*)
		step "making the root $root_name (its compiler, dkms, tools for packages)" ;;
	esac
	rm -f "$root.stamp" "$root.apt" "$root".kernel-* "$root".headers-*
	as_root rm -rf "$root" "$new"
	mkdir -p "$new"
	main=$(apt_mirror debian)
	security=$(apt_mirror debian-security)
	mirror=()
	if [ -n "$main" ]; then
		apt_sources "$main" "$security" >"$sources"
		mirror=("$sources")
	fi
	include=$(root_packages | tr ' ' ,)
	options=(--variant=apt "--include=$include" --aptopt='APT::Install-Recommends "false"'
		--dpkgopt=force-unsafe-io)
	[ "$root_name" != arm64 ] || options+=("--architectures=$(dpkg --print-architecture),arm64")
	for dir in doc man locale info; do
		options+=("--dpkgopt=path-exclude=/usr/share/$dir/*")
	done
	if [ "$(id -u)" -eq 0 ]; then
		mmdebstrap "${options[@]}" "$suite" "$new" "${mirror[@]}" >"$log" 2>&1 </dev/null ||
			die_log "$log" "mmdebstrap failed"
	else
		mmdebstrap --mode=unshare --format=tar "${options[@]}" "$suite" - "${mirror[@]}" \
			2>"$log" </dev/null |
			as_root tar -C "$new" --exclude='./dev/*' -x ||
			die_log "$log" "mmdebstrap failed"
	fi
	if [ -z "$main" ]; then
		# No Debian system: mmdebstrap knew mirrors, and the other suites are there too.
		main=$(sed -n "s/^deb \(\[[^]]*\] \)\?\([^ ]*\) $suite .*/\2/p" "$new/etc/apt/sources.list" | sed -n 1p)
		security=$(sed -n "s/^deb \(\[[^]]*\] \)\?\([^ ]*\) $suite-security .*/\2/p" \
			"$new/etc/apt/sources.list" | sed -n 1p)
		apt_sources "$main" "$security" >"$sources"
	fi
	# Proxies of this machine are needed in the root too.
	{ apt-config dump 2>/dev/null | grep -i '^Acquire::[a-z]*::proxy ' || true; } >"$proxy"
	if [ -n "${http_proxy:-}" ]; then
		echo "Acquire::http::Proxy \"$http_proxy\";" >>"$proxy"
	fi
	# shellcheck disable=SC2016
	as_root sh -ec '
		new=$1 sources=$2 proxy=$3 keyring=$4
		mkdir -p "$new/src" "$new/cache"
		rm -f "$new"/etc/apt/sources.list.d/*
		cp "$sources" "$new/etc/apt/sources.list"
		cp "$proxy" "$new/etc/apt/apt.conf.d/99proxy"
		cp "$keyring" "$new$keyring"
		printf "%s\n" "APT::Install-Recommends \"false\";" "APT::Sandbox::User \"root\";" \
			"Acquire::Retries \"2\";" "Acquire::http::Timeout \"30\";" \
			>"$new/etc/apt/apt.conf.d/98arena"
	' sh "$new" "$sources" "$proxy" "$keyring" || die "cannot set up $new"
	mv "$new" "$root"
	echo "$stamp" >"$root.stamp"
}

# Lists older than this many minutes are fetched again.
apt_age=360

update_root() {
	# shellcheck disable=SC2016
	as_root sh -c 'rm -f "$1"; cat /etc/resolv.conf >"$1" 2>/dev/null' sh "$root/etc/resolv.conf" || true
	if [ -n "$(find "$root.apt" -mmin -$apt_age 2>/dev/null)" ]; then
		return 0
	fi
	step "looking for new kernels in the archive of $(root_suite)"
	if in_root apt-get update -qq --error-on=any >"$logs/apt-$root_name.log" 2>&1 </dev/null; then
		touch "$root.apt"
	else
		say "        WARNING: cannot reach the archive; using what is in the cache"
	fi
}

# Choose a root, and have it there and up to date.
prepare_root() {
	use_root "$1"
	make_root
	update_root
}
