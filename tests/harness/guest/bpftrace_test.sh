#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# In a guest: the bpftrace script sees what the flow table does to its arena.
log=/tmp/bpftrace.log

has() {
	grep -q "$1" $log || { echo "# nothing like '$1'"; return 1; }
}

trace() {
	insmod /arena_nolock.ko || return 1
	bpftrace /arena_nolock.bt >$log 2>&1 &
	tracer=$!
	tries=0
	until has "Tracing arenas" >/dev/null; do
		sleep 1
		tries=$((tries + 1))
		[ $tries -lt 120 ] && kill -0 $tracer || return 1
	done
	/examples/flows --interval 3 --count 3 lo >/dev/null &
	flows=$!
	sleep 3
	ping -c 3 127.0.0.1 >/dev/null
	wait $flows || return 1
	sleep 5
	kill -INT $tracer
	wait $tracer
	! has "ERROR" >/dev/null || return 1
	has "^map [0-9]* 'arena' adopted: error 0, 0 pages found" &&
		has '^@allocs_by_map_and_context\[[0-9]*, [0-4]\]: [1-9]' &&
		has '^@alloc_by_process\[.*\]: [1-9]' &&
		has '^@alloc_pages:' && has '^\[1\] *[1-9]' && remove
}

# The kernel frees an arena a moment after the last program that had it.
remove() {
	tries=0
	until rmmod arena_nolock; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || return 1
		usleep 100000
	done
}

echo 1..1
if trace; then
	echo "ok 1 bpftrace"
else
	sed 's/^/# /' $log
	echo "not ok 1 bpftrace"
fi
