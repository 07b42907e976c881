#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Do the tests notice? Breaks one feature of the module or of a header at a time, in a copy of
# the sources, boots a stock kernel with it, and wants the tests named by the mutant to fail. Not
# part of `make test`: it takes about 40 s a mutant, and more for a header.
#
# A mutant is a patch in tests/mutants/, with these lines at its head:
#	Tests: GLOB...		at least one of these tests must fail
#	Kernels: GLOB		only on kernels whose --kernel matches
#	Seen-by: FILE		a failure must come from FILE.c, such as the oracle
#
# usage: tests/mutants.sh [--kernel stable|backports|stable:debug|...] [NAME...]
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
kernel=stable
[ "${1:-}" != --kernel ] || { kernel=$2; shift 2; }
case $kernel in
*:debug | *:kcsan) seconds=900 ;;
*) seconds=120 ;;
esac
wanted=("$@")
tree=$top/build/mutant
killed=0
survived=()

survives() {
	survived+=("$1")
	echo "SURVIVED $1"
}

# A line at the head of a patch: KEY PATCH
head_of() {
	sed -n -e '/^---/q' -e "s/^$1: //p" "$2"
}

is_wanted() {
	local kernels
	if [ ${#wanted[@]} -gt 0 ]; then
		[[ " ${wanted[*]} " == *" $1 "* ]]
		return
	fi
	kernels=$(head_of Kernels "$2")
	# shellcheck disable=SC2053 # a pattern
	[[ $kernel == ${kernels:-*} ]]
}

# Only what the patch of this mutant and of the last one touch has a new date, and is built
# again: NAME PATCH
run_mutant() {
	local name=$1 log=$tree/$1.log by args=() globs g f
	mkdir -p "$tree/src"
	for f in "$top"/{src,include}/*.[ch]; do
		cmp -s "$f" "$tree/${f#"$top"/}" || cp "$f" "$tree/${f#"$top"/}"
	done
	if ! patch -d "$tree" -p1 -s -f --no-backup-if-mismatch <"$2" >"$log" 2>&1; then
		survives "$name (the patch does not apply: $log)"
		return 0
	fi
	read -ra globs <<<"$(head_of Tests "$2")"
	for g in "${globs[@]}"; do
		args+=(--test "$g")
		[[ "$g" != numa.* ]] || args+=(--numa)
	done
	by=$(head_of Seen-by "$2")
	if "$tree/tests/run_qemu.sh" test --kernel "$kernel" --time "$seconds" "${args[@]}" >"$log" 2>&1; then
		survives "$name"
	elif [ -n "$by" ] && grep -q '^ *ok 1 load' "$log" && ! grep -q "$by.c:" "$log"; then
		survives "$name (not seen by the $by)"
	elif grep -q '^ *not ok' "$log"; then
		killed=$((killed + 1))
		echo "killed   $name: $(grep -c '^ *not ok' "$log") failures, first:$(grep -m 1 '^ *not ok' "$log" | sed 's/^ *not ok [0-9]*//')"
	else
		survives "$name (no test ran: $log)"
	fi
}

# What an older tree had must not stay.
rm -rf "$tree"/{src,scripts,include,tests,tools,examples}
mkdir -p "$tree"
(cd "$top" && cp -pr Kbuild Makefile VERSION scripts include tests tools examples "$tree")
for patch in "$top"/tests/mutants/*.patch; do
	name=$(basename "$patch" .patch)
	! is_wanted "$name" "$patch" || run_mutant "$name" "$patch"
done

echo
if [ ${#survived[@]} -gt 0 ]; then
	echo "Survived:"
	printf '  %s\n' "${survived[@]}"
fi
echo "$killed killed, ${#survived[@]} survived"
[ ${#survived[@]} -eq 0 ] && [ "$killed" -gt 0 ]
