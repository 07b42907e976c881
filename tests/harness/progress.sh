# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Progress: twice a minute, how much is done and how long the rest may take. The file
# "durations" knows what each phase takes on two quiet cores without KVM; how fast this
# machine is, the phases that are over tell. Sourced by run_qemu.sh.

progress_dir=$build/progress
progress_pid=

# Each phase that will come: NAME...
plan_phases() {
	local name
	rm -rf "$progress_dir"
	mkdir -p "$progress_dir"
	for name in "$@"; do
		awk -v name="$name" '$1 == name { print "plan", name, $2 }' "$harness/durations"
	done >"$progress_dir/events"
}

# A phase begins, and the one before it ends: NAME, and DIR... of guests whose tests it waits for
phase() {
	[ ! -d "$progress_dir" ] || [ -n "$results_to" ] ||
		echo "begin $* $((SECONDS - started))" >>"$progress_dir/events"
}

# How much of its tests a guest has done, and how much there are, in seconds of "durations",
# where what has no line is one second: DIR
guest_progress() {
	{ cat "$1/results.log" 2>/dev/null || true; } | awk 'FNR == NR {
			if ($1 == "test") {
				secs[$2] = $3
				total += $3 - 1
			}
			next
		}
		/^1\.\.[0-9]/ { planned = substr($1, 4) + 0 }
		/^# [a-z_]+\.[a-z_0-9]+: [0-9]+ ms/ {
			name = substr($2, 1, length($2) - 1)
			done += (name in secs) ? secs[name] : 1
		}
		END { print "guest", done + 0, total + (planned ? planned : 300) }' \
		"$harness/durations" -
}

progress_line() {
	local now=$((SECONDS - started)) dir dirs
	read -ra dirs <<<"$(awk '$1 == "begin" { last = $0 } END { print last }' "$progress_dir/events")"
	{
		cat "$progress_dir/events"
		for dir in "${dirs[@]:2:${#dirs[@]}-3}"; do
			guest_progress "$dir"
		done
	} | awk -v now="$now" '
		$1 == "plan" { secs[$2] = $3; total += $3 }
		$1 == "begin" { finished += secs[current]; current = $2; since = $NF }
		$1 == "guest" { part += $2 / $3; guests++ }
		END {
			share = guests ? part / guests : secs[current] ? (now - since) / secs[current] : 0
			done = finished + secs[current] * (share < 0.95 ? share : 0.95)
			if (total <= 0)
				exit
			# How much slower than planned, not to be believed at the beginning.
			left = (total - done) * (now + 60) / (done + 60)
			text = left < 90 ? "a minute" : sprintf("some %d minutes", (left + 30) / 60)
			printf("%d %% done, %s left\n", 100 * done / total, text)
		}'
}

# Until progress_end, in the background.
progress_begin() {
	(
		trap 'kill "$sleeper" 2>/dev/null; exit 0' TERM
		while :; do
			sleep 30 &
			sleeper=$!
			wait "$sleeper"
			step "$(progress_line)"
		done
	) 9>&- &
	progress_pid=$!
}

progress_end() {
	[ -z "$progress_pid" ] || kill "$progress_pid" 2>/dev/null || true
	progress_pid=
}
