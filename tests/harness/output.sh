# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What is printed on the way: steps, with the seconds since the start, and the reason why
# a run cannot continue. Sourced by run_qemu.sh, which sets $started.

say() {
	printf '%s\n' "$*"
}

step() {
	printf '[%4ds] %s\n' $((SECONDS - started)) "$*"
}

die() {
	printf '\n%s\n' "run_qemu.sh: $*" >&2
	exit 1
}

# LOG TEXT...
die_log() {
	printf '\n--- last lines of %s\n' "$1" >&2
	tail -n 30 "$1" >&2
	shift
	die "$*"
}
