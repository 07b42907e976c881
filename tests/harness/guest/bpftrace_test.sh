#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# In a guest: the bpftrace script sees what the flow table does to its arena, and prints it
# once.
log=/tmp/bpftrace.log

has() {
	grep -q "$1" $log || { echo "# nothing like '$1'"; return 1; }
}

stamps() {
	grep -c '^[0-9][0-9]:[0-9][0-9]:[0-9][0-9]$' $log
}

# Print what the script has printed after its last but one time.
last_figures() {
	awk '/^[0-9][0-9]:[0-9][0-9]:[0-9][0-9]$/ { before = text; text = "" }
		{ text = text $0 "\n" }
		END { printf "%s", before }' $log
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
	# The first figures may still have a part of this.
	before=$(stamps)
	tries=0
	until [ "$(stamps)" -ge $((before + 3)) ]; do
		sleep 1
		tries=$((tries + 1))
		[ $tries -lt 120 ] || return 1
	done
	! last_figures | grep '^@alloc' || { echo "# old figures again"; return 1; }
	kill -INT $tracer
	wait $tracer
	! has "ERROR\|WARNING" >/dev/null || return 1
	has "^map [0-9]* 'arena' adopted: error 0, 0 pages found" &&
		has '^@alloc\[[0-9]*, softirq\]: [1-9]' &&
		has '^@total_alloc_by_process\[.*\]: [1-9]' &&
		! has '^@ctx\|^@seen' >/dev/null &&
		has '^@alloc_cnt:' && has '^\[1\] *[1-9]' && remove
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
