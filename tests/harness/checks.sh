# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# make check: static checks of the sources. The kernel's own scripts come from Debian's source
# package. Sourced by run_qemu.sh.

# Coccinelle looks for the library of Python under a name that only libpython3-dev has.
check_packages=(coccinelle libpython3-dev shellcheck perl python3 xz-utils)

# The kernel's scripts/, in the root at /usr/src/linux-scripts.
get_kernel_scripts() {
	local log=$logs/check-tools.log pkg version
	read -r pkg version <<<"$(debug_source stable)"
	[ -n "${version:-}" ] || die "the archive has no kernel source"
	step "getting shellcheck, coccinelle and the kernel's scripts"
	# shellcheck disable=SC2016
	in_root sh -ec 'pkg=$1 version=$2 dir=/usr/src/linux-scripts
		shift 2
		apt-get install -y -qq --no-install-recommends "$@"
		apt-get clean
		[ "$(cat $dir/.source 2>/dev/null)" != "$version" ] || exit 0
		rm -rf $dir /cache/deb; mkdir -p $dir /cache/deb; cd /cache/deb
		apt-get download -qq "$pkg=$version"
		dpkg-deb --fsys-tarfile ./*.deb | tar -xO --wildcards "./usr/src/linux-source-*.tar.xz" |
			tar -xJ -C $dir --strip-components=1 --wildcards "*/scripts/checkpatch.pl" \
				"*/scripts/spelling.txt" "*/scripts/const_structs.checkpatch" \
				"*/scripts/coccinelle/*"
		rm -rf /cache/deb
		echo "$version" >$dir/.source' sh "$pkg" "$version" "${check_packages[@]}" \
		>"$log" 2>&1 </dev/null || die_log "$log" "cannot get the tools"
}

# Passes if the command prints nothing: NAME COMMAND...
check_silent() {
	local name=$1 log=$logs/$1.log
	shift
	"$@" >"$log" 2>&1 || true
	result "$name" "$(wc -c <"$log")" "$(head -n 30 "$log")"
}

# Sources by PATTERN..., without what is generated beside them.
sources() {
	# shellcheck disable=SC2048,SC2086 # they are patterns
	(cd "$top" && printf '%s\n' $*) | grep -v '/anl_config\.h$\|\.mod\.c$'
}

# FILES, then options of checkpatch. Lines of checkpatch.ignore are types of messages that are
# ignored, those with "programs:" only in code that runs outside of the kernel.
checkpatch() {
	# shellcheck disable=SC2016
	in_root sh -ec 'cd /src; exec perl /usr/src/linux-scripts/scripts/checkpatch.pl \
		--no-tree --terse --no-summary --max-line-length=100 --show-types "$@"' sh "$@"
}

run_checkpatch() {
	local files ignore=$harness/checks/checkpatch.ignore
	# Tracepoints have a layout of their own.
	mapfile -t files < <(sources 'src/*.[ch]' 'tests/kmod/*.[ch]' | grep -v 'trace\.h$')
	checkpatch --strict --ignore "$(sed -n '/^[A-Z]/p' "$ignore" | paste -sd,)" -f "${files[@]}"
	mapfile -t files < <(sources 'src/trace.h' 'tests/kmod/*trace.h' 'include/*.h' 'examples/*.[ch]' 'tools/*.[ch]' 'tests/bpf/*/*.[ch]' \
		'tests/lines/*.[ch]' 'tests/bench/*.[ch]' 'tests/bench/c*/*.[ch]' 'tests/demo/*.[ch]' \
		'tests/user/*.[ch]')
	checkpatch --ignore "$(sed -n 's/^programs: //p; /^[A-Z]/p' "$ignore" | paste -sd,)" \
		-f "${files[@]}"
}

# All checks that report, on a FOLDER, except for two that need the compiler of OCaml. An error
# of coccinelle is reported like a finding.
run_coccinelle() {
	# shellcheck disable=SC2016
	in_root sh -c 'for cocci in $(find /usr/src/linux-scripts/scripts/coccinelle -name "*.cocci" |
			sort); do
		grep -q "virtual report" $cocci || continue
		! grep -q "script:ocaml" $cocci || continue
		options=$(grep "^// Options:" $cocci | cut -d: -f2 |
			sed "s/--include-headers\|--no-includes//g")
		spatch --very-quiet -D report --no-includes --include-headers --jobs 2 $options \
			--cocci-file $cocci --dir "$1" 2>/tmp/cocci.err ||
			{ echo "$cocci does not work:"; cat /tmp/cocci.err; }
	done' sh "$1"
}

# Coccinelle must find the bug in the sample.
run_coccinelle_sample() {
	rm -rf "$build/cocci"
	mkdir -p "$build/cocci"
	cp "$harness/checks/coccinelle_sample.c" "$build/cocci"
	run_coccinelle /src/build/cocci >"$logs/coccinelle-sample.log" 2>&1
	grep -q 'coccinelle_sample.c:.*NULL check' "$logs/coccinelle-sample.log" ||
		{ echo "nothing seen in the sample:"; cat "$logs/coccinelle-sample.log"; }
	grep 'does not work' "$logs/coccinelle-sample.log"
}

run_shellcheck() {
	local files
	# Files without a first line of their own are checked where they are sourced.
	mapfile -t files < <(cd "$top" && grep -lE '^#!.*sh$' -r .ci scripts tests)
	# shellcheck disable=SC2016
	in_root sh -c 'cd /src; exec shellcheck -x -a "$@"' sh "${files[@]}"
}

# The version is in VERSION; others repeat it, where their readers want a literal.
run_versions() {
	local version
	version=$(cat "$top/VERSION")
	grep -q "^PACKAGE_VERSION=\"$version\"\$" "$top/dkms.conf" || echo "dkms.conf is not of $version"
	head -n 1 "$top/debian/changelog" | grep -qF "arena-nolock ($version)" ||
		echo "debian/changelog is not of $version"
	grep -q "^## $version" "$top/CHANGELOG.md" || echo "CHANGELOG.md has nothing about $version"
}

# The programs that the README shows are the example, letter by letter.
run_readme() {
	local file
	for file in count.bpf.c count.c; do
		want=$(grep -v '^// SPDX\|^/\* .* \*/$' "$top/examples/$file") awk '
			/^```c$/ { text = ""; inside = 1; next }
			/^```$/ { if (inside && text == ENVIRON["want"] "\n") found = 1; inside = 0 }
			inside { text = text $0 "\n" }
			END { exit !found }' "$top/README.md" || echo "the README does not show examples/$file"
	done
}

# The commands that the README shows build the example, and put nothing into examples/. Here the
# kernel is that of the newest headers, and "sudo" runs nothing.
run_readme_commands() {
	local dir=$build/readme
	rm -rf "$dir"
	mkdir -p "$dir/bin"
	cp -r "$top"/{examples,include} "$dir"
	awk '/^```sh$/ { text = ""; inside = 1; next }
		/^```$/ { if (inside && text ~ /gen skeleton/) printf "%s", text; inside = 0 }
		inside { text = text $0 "\n" }' "$top/README.md" >"$dir/commands"
	grep -q '/count.bpf.c$' "$dir/commands" || echo "the README has no commands for count"
	# shellcheck disable=SC2016
	in_root sh -c 'cd /src/build/readme
		btf=$(ls /usr/src/linux-headers-*/vmlinux | tail -n 1)
		sed -i "s,/sys/kernel/btf/vmlinux,$btf," commands
		ln -s "$(command -v clang-19)" bin/clang
		ln -s /bin/true bin/sudo
		PATH=$PWD/bin:$PATH sh -e commands >log 2>&1 || cat log
		grep warning log'
	[ -x "$dir/build/examples/count" ] || echo "there is no build/examples/count"
	diff -r "$top/examples" "$dir/examples"
}

# The bpftrace script has the names of contexts and outcomes as the module has them, and its
# causes are causes of the module.
run_trace_names() {
	local name kind
	for kind in ctx:CTX outcome:FAULT; do
		diff <(sed -n "s/^\t@${kind%:*}\[[0-9]*\] = \"\(.*\)\";/\1/p" "$top/tools/arena_nolock.bt") \
			<(sed -n "s/^\t{ ANL_${kind#*:}_[A-Z_]*, \"\(.*\)\" }.*/\1/p" "$top/src/stat.h")
	done
	while read -r name; do
		grep -q "^static const char \*const anl_fail_names.*\"$name\"" "$top/src/stat.c" ||
			echo "the bpftrace script has a cause '$name'"
	done < <(sed -n 's/^\t@cause\[[0-9]*\] = "\([a-z]*\) .*/\1/p' "$top/tools/arena_nolock.bt")
}

# Each message that a test has seen after a mistake is explained.
run_messages() {
	local message
	grep -A 1 'check_says(' "$top/tests/bpf/tests/test_mistake.c" |
		sed -n 's/.*"\([^"]*\)");$/\1/p' | while read -r message; do
		grep -qF "\`$message\`" "$top/docs/troubleshooting.md" ||
			echo "docs/troubleshooting.md does not explain: $message"
	done
}

# What the slab tutorial shows are parts of its example, letter by letter.
run_slab_tutorial() {
	text=$(cat "$top"/examples/procs.{h,bpf.c,c}) awk '
		/^```c$/ { part = ""; inside = 1; next }
		/^```$/ {
			if (inside && !index(ENVIRON["text"], part))
				print "docs/slab.md shows what is not in examples/procs.*: " part
			parts += inside
			inside = 0
		}
		inside { part = part $0 "\n" }
		END { if (!parts) print "docs/slab.md shows nothing" }' "$top/docs/slab.md"
}

test_sources() {
	local rel
	get_kernel_scripts
	step "checking"
	for rel in "${rels[@]}"; do
		check_module "$rel"
	done
	check_silent check.checkpatch run_checkpatch
	check_silent check.coccinelle run_coccinelle /src/src
	check_silent check.coccinelle_works run_coccinelle_sample
	check_silent check.shellcheck run_shellcheck
	check_silent check.version run_versions
	check_silent check.readme run_readme
	check_silent check.readme_commands run_readme_commands
	check_silent check.trace_names run_trace_names
	check_silent check.messages run_messages
	check_silent check.slab_tutorial run_slab_tutorial
}
