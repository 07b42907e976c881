# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The tests lines.* count the cache lines that CPUs write. A plugin for QEMU records them, and
# shares the memory of a PCI device with the guest; tests/lines has both. Guests that run other
# tests do without, since it makes them several times as slow. Sourced by run_qemu.sh.

lines_plugin=build/lines/plugin.so

# Are tests selected that need it?
wants_lines() {
	[[ " ${globs[*]}" = *' lines.'* ]]
}

build_lines() {
	local log=$logs/build-lines.log root root_name
	use_root build
	mkdir -p "$build/lines"
	in_root gcc -std=gnu11 -O2 -Wall -Wextra -Werror -Wno-unused-parameter -shared -fPIC \
		-fvisibility=hidden -o "/src/$lines_plugin" /src/tests/lines/plugin.c >"$log" 2>&1 ||
		die_log "$log" "the plugin for QEMU does not build"
}

# What QEMU is told of it, if anything; QEMU then has to emulate: DIR REL
lines_args() {
	local shm=${1#"$top"/}/lines.shm
	wants_lines && ! is_arm64 "$2" || return 0
	rm -f "$top/$shm"
	truncate -s 4M "$top/$shm"
	echo "-plugin /src/$lines_plugin,shm=/src/$shm -device ivshmem-plain,memdev=lines" \
		"-object memory-backend-file,id=lines,share=on,size=4M,mem-path=/src/$shm"
}
