#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# DKMS and the Debian packages as a user runs them. packages.sh runs this in a throwaway
# copy of a root that has dkms and kernel headers. Prints a line "ok NAME" or "not ok
# NAME" for each result, after an explanation if there is one, and "end" at its end.
#
# usage: dkms_test.sh SOURCE OUT RELEASE...
#	OUT gets the packages, and lib/modules of each release with what DKMS installed
set -u

src=$1
out=$2
shift 2
rels=("$@")
version=$(cat "$src/VERSION")
mod=arena_nolock/$version
log=$(mktemp)

# NAME COMMAND...: the command's output is shown if it fails.
check() {
	local name=$1
	shift
	if "$@" >"$log" 2>&1 </dev/null; then
		echo "ok $name"
	else
		tail -n 15 "$log" | sed 's/^/# /'
		echo "not ok $name"
		return 1
	fi
}

installed() {
	find "/lib/modules/$1/updates/dkms" -name 'arena_nolock.ko*' 2>/dev/null
}

# Where only headers are installed, dkms leaves depmod to the kernel's own package.
is_installed() {
	[ -f "/lib/modules/$1/modules.dep" ] || depmod "$1"
	dkms status "$mod" -k "$1"
	dkms status "$mod" -k "$1" | grep -q ': installed$' || return 1
	[ -n "$(installed "$1")" ] || { echo "no module in updates/dkms"; return 1; }
	[ "$(modinfo -k "$1" -F version arena_nolock)" = "$version" ] ||
		{ echo "modinfo: version $(modinfo -k "$1" -F version arena_nolock)"; return 1; }
}

is_gone() {
	local rel
	dkms status "$mod"
	! dkms status "$mod" 2>/dev/null | grep -qv '^Warning' || return 1
	for rel in "${rels[@]}"; do
		[ -z "$(installed "$rel")" ] || { installed "$rel"; return 1; }
	done
	[ ! -e /var/lib/dkms/arena_nolock ] || { ls -R /var/lib/dkms/arena_nolock; return 1; }
}

# The signature at the end of the module is the DKMS key's, and of this very module.
is_signed() {
	local ko=$log.ko size len
	case $(installed "$1") in
	*.xz) xz -dc "$(installed "$1")" >"$ko" ;;
	*.zst) zstd -qdc "$(installed "$1")" >"$ko" ;;
	*) cp "$(installed "$1")" "$ko" ;;
	esac
	[ "$(tail -c 28 "$ko")" = "~Module signature appended~" ] || { echo "no signature"; return 1; }
	size=$(stat -c %s "$ko")
	len=$((0x$(tail -c 32 "$ko" | head -c 4 | od -An -tx1 | tr -d ' ')))
	head -c $((size - 40 - len)) "$ko" >"$log.content"
	tail -c $((40 + len)) "$ko" | head -c "$len" >"$log.p7s"
	openssl x509 -inform DER -in /var/lib/dkms/mok.pub -out "$log.pem" &&
		openssl cms -verify -binary -inform DER -in "$log.p7s" -content "$log.content" \
			-certfile "$log.pem" -noverify -out /dev/null || return 1
	# It would not have been with another module.
	printf x | dd of="$log.content" bs=1 seek=4096 conv=notrunc status=none
	! openssl cms -verify -binary -inform DER -in "$log.p7s" -content "$log.content" \
		-certfile "$log.pem" -noverify -out /dev/null 2>&1
}

# DKMS does not build for a kernel that cannot be supported, and says why: RELEASE
is_refused() {
	local code text
	text=$(dkms build "$mod" -k "$1" 2>&1) && code=0 || code=$?
	echo "$text"
	grep -q 'BUILD_EXCLUSIVE' <<<"$text" || { echo "no reason given"; return 1; }
	[ "$code" -eq 77 ] || { echo "exit code $code"; return 1; }
	! dkms status "$mod" -k "$1" | grep -q installed
}

# Nor do the headers of such a kernel fail to install, if that is how it comes: RELEASE
is_passed_over() {
	local text
	text=$(run-parts --exit-on-error --arg="$1" /etc/kernel/header_postinst.d 2>&1) ||
		{ echo "$text"; return 1; }
	echo "$text"
	grep -q "passing over $1" <<<"$text" && ! dkms status "$mod" -k "$1" | grep -q installed
}

# Headers of a kernel that is none: RELEASE, and a sed script for its configuration.
fake_headers() {
	mkdir -p "/lib/modules/$1" "/usr/src/fake-$1"
	cp -a "/usr/src/linux-headers-${rels[0]}/." "/usr/src/fake-$1"
	sed -i "$2" "/usr/src/fake-$1/.config" "/usr/src/fake-$1/include/config/auto.conf"
	ln -sfn "/usr/src/fake-$1" "/lib/modules/$1/build"
}

# All files but those of tools that keep books or keys of their own.
files() {
	find / -xdev \( -path /proc -o -path /dev -o -path /sys -o -path /tmp -o -path /src \
		-o -path /cache -o -path /var/cache -o -path /var/log -o -path /var/lib/apt \
		-o -path /var/lib/dpkg \) -prune -o -print | grep -v '^/var/lib/dkms/mok\|/lib/modules/' | sort
	find /lib/modules -name 'arena_nolock*'
}

leaves_nothing() {
	files >"$log.after"
	diff "$log.before" "$log.after"
}

build_packages() {
	rm -rf /tmp/source
	mkdir /tmp/source
	tar -C "$src" --exclude=./build --exclude=./.git -c . | tar -x -C /tmp/source --no-same-owner
	make -C /tmp/source deb || return 1
	cp /tmp/source/build/deb/*.deb "$out"
}

lintian_clean() {
	lintian --allow-root --fail-on error,warning /tmp/source/build/deb/*.changes
}

dev_package_works() {
	[ "$(pkg-config --modversion arena_nolock)" = "$version" ] || return 1
	[ "$(pkg-config --variable=includedir arena_nolock)" = /usr/include ] || return 1
	cmp "$src/include/arena_nolock.h" /usr/include/arena_nolock.h &&
		cmp "$src/include/arena_nolock_slab.h" /usr/include/arena_nolock_slab.h &&
		dpkg -L arena-nolock-dev | grep -q '/examples/count.bpf.c'
}

# What the headers' package does when it is installed, for a kernel without the module.
headers_arrive() {
	dkms unbuild "$mod" -k "$1" && [ -z "$(installed "$1")" ] || return 1
	"/var/lib/dpkg/info/linux-headers-$1.postinst" configure
}

manual_is_there() {
	local page
	for page in man4/arena_nolock.4 man8/arena_nolock-top.8 man8/arena_nolock-trace.8; do
		dpkg -S "/usr/share/man/$page.gz" || return 1
	done
}

# Each parameter of the module is in the file for modprobe, and nothing in it is active.
modprobe_file_complete() {
	local param file=/etc/modprobe.d/arena_nolock.conf
	! grep -v '^#\|^$' $file || return 1
	for param in $(modinfo -k "${rels[0]}" -F parm arena_nolock | cut -d: -f1); do
		grep -q "^#options arena_nolock $param=" $file || { echo "no $param"; return 1; }
	done
}

# The module is not loaded at boot, and the line that would load it is there.
modules_load_file_off() {
	! grep -v '^#\|^$' /etc/modules-load.d/arena_nolock.conf &&
		grep -q '^#arena_nolock$' /etc/modules-load.d/arena_nolock.conf
}

# Links between the documents lead to files of the packages, but for the tests and examples.
documents_are_there() {
	local doc=/usr/share/doc/arena-nolock-dkms file link missing=0
	for file in "$doc/README.md"* "$doc"/docs/*.md*; do
		for link in $({ zcat -f "$file"; } | grep -o '](\([^)#:]*\)' | cut -c3- | grep '\.md$'); do
			ls "$(dirname "$file")/$link"* >/dev/null 2>&1 ||
				{ echo "$file: no $link"; missing=1; }
		done
	done
	return "$missing"
}

# make TARGET does not work, and changes nothing: TARGET SAYS [PATH [USER [VARIABLE=VALUE...]]]
make_refuses() {
	local before text as=()
	[ -z "${4:-}" ] || as=(setpriv --reuid "$4" --clear-groups)
	before=$(find /usr/src /var/lib/dkms -printf '%p %T+\n' | sort)
	! text=$(PATH=${3:-$PATH} "${as[@]}" make -C "$src" "$1" "${@:5}" 2>&1) || { echo "$text"; return 1; }
	echo "$text"
	grep -q "$2" <<<"$text" || return 1
	diff <(echo "$before") <(find /usr/src /var/lib/dkms -printf '%p %T+\n' | sort)
}

# What make examples would do, without VMLINUX_BTF: whether or not this kernel has BTF.
examples_for_running_kernel() {
	make -C "$src" -n examples OUT=/tmp/none >"$log.make" 2>&1 ||
		{ cat "$log.make"; return 1; }
	grep 'btf dump file /sys/kernel/btf/vmlinux' "$log.make" || { cat "$log.make"; return 1; }
}

# What kbuild left behind goes away without headers.
cleans_without_headers() {
	local dir=/tmp/clean
	mkdir -p $dir/src $dir/build && cp "$src"/{Makefile,VERSION} $dir &&
		touch $dir/{arena_nolock.ko,arena_nolock.mod.c,.module-common.o,modules.order,build/file} \
			$dir/src/{alloc.o,.alloc.o.cmd,anl_config.h,alloc.c} || return 1
	make -C $dir KDIR=/none clean || return 1
	[ "$(cd $dir && find . -type f | sort | xargs)" = "./Makefile ./VERSION ./src/alloc.c" ] ||
		{ find $dir; return 1; }
}

# The module of the running kernel goes away without its headers, that of another one does not.
uninstalls_without_headers() {
	local root=/tmp/uninstall rel
	rel=$(uname -r)
	mkdir -p "$root/lib/modules/$rel/updates" && touch "$root/lib/modules/$rel/updates/arena_nolock.ko" &&
		! make -C "$src" modules_uninstall KDIR=/none INSTALL_MOD_PATH=$root &&
		[ -e "$root/lib/modules/$rel/updates/arena_nolock.ko" ] &&
		make -C "$src" modules_uninstall INSTALL_MOD_PATH=$root &&
		[ ! -e "$root/lib/modules/$rel/updates/arena_nolock.ko" ]
}

# DKMS would refuse to install the module where make modules_install did: RELEASE
refuses_second_module() {
	local file=/lib/modules/$1/updates/arena_nolock.ko code=0
	mkdir -p "${file%/*}" && touch "$file" || return 1
	make_refuses dkms-install "$file; nothing was changed.*make modules_uninstall" || code=1
	rm "$file"
	rmdir "${file%/*}"
	return $code
}

mkdir -p "$out"

# What make needs here, and no dkms.
tools=$(mktemp -d)
for tool in make sh cat uname rm grep install; do
	ln -s "$(command -v "$tool")" "$tools/"
done
check make.dkms_install_needs_dkms make_refuses dkms-install "dkms not found" "$tools"
check make.dkms_remove_needs_dkms make_refuses dkms-remove "dkms not found" "$tools"
check make.deb_needs_all_tools make_refuses deb "dpkg-buildpackage not found\|cc not found" "$tools"
check make.examples_need_cc make_refuses examples "cc not found. Install" "$tools" "" \
	"VMLINUX_BTF=$src/VERSION" OUT=/tmp/none
ln -s /bin/true "$tools/cc"
check make.examples_need_clang make_refuses examples "clang not found. Install" "$tools" "" \
	"VMLINUX_BTF=$src/VERSION" OUT=/tmp/none
ln -s /bin/true "$tools/dpkg-buildpackage"
ln -s /bin/true "$tools/dh"
check make.deb_needs_dh_dkms make_refuses deb "dh_dkms not found" "$tools"
rm -rf "$tools"

# Nor for a user without root.
for target in install-headers install-tools modules_uninstall install-source; do
	check "make.${target}_needs_root" make_refuses "$target" "Use sudo make $target" "" nobody
done
check make.uninstall_needs_root make_refuses uninstall "Use sudo make uninstall" "" nobody
check make.modules_uninstall_needs_headers make_refuses modules_uninstall "no kernel headers at /none" \
	"" "" KDIR=/none
check make.uninstalls_without_headers uninstalls_without_headers
check make.cleans_without_headers cleans_without_headers
check make.dkms_install_needs_no_other refuses_second_module "${rels[0]}"
check make.examples_for_running_kernel examples_for_running_kernel
check make.examples_need_btf make_refuses examples "no BTF at" "" "" VMLINUX_BTF=/none OUT=/tmp/none

# The source, by hand.
check source.install make -C "$src" install-source
check dkms.add dkms add "$mod"
for rel in "${rels[@]}"; do
	check "dkms.build $rel" dkms build "$mod" -k "$rel" || {
		tail -n 15 "/var/lib/dkms/$mod/build/make.log" 2>/dev/null | sed 's/^/# /'
		continue
	}
	check "dkms.install $rel" dkms install "$mod" -k "$rel"
	check "dkms.status $rel" is_installed "$rel"
	check "dkms.signed $rel" is_signed "$rel"
	mkdir -p "$out/lib/modules/$rel"
	cp -r "/lib/modules/$rel/updates" "/lib/modules/$rel"/modules.* "$out/lib/modules/$rel"
done
fake_headers 6.1.0-fake-amd64 ""
check dkms.refuses_old_kernel is_refused 6.1.0-fake-amd64
check dkms.passes_over_old_kernel is_passed_over 6.1.0-fake-amd64
fake_headers 6.12.0-fake-amd64 '/^CONFIG_KALLSYMS_ALL=/d'
check dkms.refuses_config is_refused 6.12.0-fake-amd64
fake_headers 6.12.0-fake-arm64 '/^CONFIG_PREEMPT_COUNT=/d'
check dkms.refuses_no_preempt_count is_refused 6.12.0-fake-arm64
check dkms.passes_over_no_preempt_count is_passed_over 6.12.0-fake-arm64
rm -rf /usr/src/fake-* /lib/modules/*-fake-*
check dkms.remove dkms remove "$mod" --all
check dkms.removed is_gone
rm -rf "/usr/src/arena_nolock-$version"

# The packages.
files >"$log.before"
check package.build build_packages
check package.lintian lintian_clean
check package.readme_command grep -qF "apt install ./build/deb/arena-nolock-{dkms,dev,tools}_*.deb" \
	"$src/README.md"
check package.install apt-get install -y -qq --no-install-recommends \
	"$out"/arena-nolock-{dkms,dev,tools}_*.deb
check package.manual manual_is_there
check package.dev dev_package_works
check package.tools arena_nolock-top --version
check package.headers_arrive headers_arrive "${rels[0]}"
check package.built_for_headers is_installed "${rels[0]}"
check package.modprobe_file modprobe_file_complete
check package.modules_load_file modules_load_file_off
check package.documents documents_are_there
check make.dkms_install_spares_package make_refuses dkms-install "belongs to a Debian package"
check make.dkms_remove_spares_package make_refuses dkms-remove "belongs to a Debian package"
check make.install_source_spares_package make_refuses install-source "belongs to a Debian package"
check package.purge apt-get purge -y -qq arena-nolock-dkms arena-nolock-dev arena-nolock-tools
check package.purged is_gone
check package.leaves_nothing leaves_nothing
rm -f "$log"*
echo end
