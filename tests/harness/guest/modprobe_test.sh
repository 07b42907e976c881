#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# In a guest: the module that DKMS has built, as modprobe finds it, at work.
# usage: modprobe_test.sh VERSION
count=0

check() {
	count=$((count + 1))
	name=$1
	shift
	if "$@" >/tmp/check.log 2>&1; then
		echo "ok $count $name"
	else
		sed 's/^/# /' /tmp/check.log
		echo "not ok $count $name"
	fi
}

# kmod's own, not the shell's.
modprobe() {
	LD_LIBRARY_PATH=/kmod:/lib /kmod/modprobe "$@"
}

# The profiler runs on an arena of the module, and loses nothing.
profile() {
	/examples/stackprof --duration 4 --frequency 50 >/tmp/stacks 2>/tmp/summary &
	pid=$!
	sleep 2
	arena_nolock-top --once
	arena_nolock-top --once | grep -q '^1 adopted arena' || return 1
	! modprobe -r arena_nolock || return 1
	wait $pid || return 1
	cat /tmp/summary
	grep -q ' 0 samples lost' /tmp/summary && grep -q ';.* [1-9]' /tmp/stacks
}

# The kernel frees an arena a moment after the last program that had it.
remove() {
	tries=0
	until modprobe -r arena_nolock; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || return 1
		usleep 100000
	done
}

echo 1..6
check modprobe modprobe arena_nolock pool_pages=300
check version grep -qx "$1" /sys/module/arena_nolock/version
check parameter grep -qx 300 /sys/module/arena_nolock/parameters/pool_pages
check profile profile
check remove remove
check removed test ! -e /sys/module/arena_nolock
