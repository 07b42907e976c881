# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Several things at a time: builds that wait for nothing but a CPU, and the tests on the
# host, which run beside the guests. Sourced by run_qemu.sh.

job_dir=$build/jobs
job_names=()
declare -A job_pids=()

# Run COMMAND..., each one word with its arguments, at the same time. A failure ends the run;
# the command itself has printed the reason.
all_of() {
	local command pids=() pid bad=0
	for command in "$@"; do
		# shellcheck disable=SC2086 # a command with its arguments
		$command &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid" || bad=1
	done
	[ $bad -eq 0 ] || exit 1
}

# Run COMMAND... in the background, in a process group of its own, and keep its results for
# finish_jobs. Guests come first: only they have tests with time limits. NAME COMMAND...
start_job() {
	local name=$1
	shift
	mkdir -p "$job_dir"
	: >"$job_dir/$name.results"
	set -m
	(
		set +m
		qemu_pids=() job_pids=()
		results_to=$job_dir/$name.results
		renice -n 10 -p "$BASHPID" >/dev/null 2>&1 || true
		"$@"
	) >"$job_dir/$name.log" 2>&1 </dev/null 9>&- &
	job_pids[$name]=$!
	set +m
	job_names+=("$name")
}

# Wait for all jobs, and count their results.
finish_jobs() {
	local name pid
	for name in "${job_names[@]}"; do
		pid=${job_pids[$name]}
		if ! wait "$pid"; then
			echo "result $(printf '%q' "host.$name") 1 $(printf '%q' \
				"it broke off: $(tail -n 10 "$job_dir/$name.log")")" \
				>>"$job_dir/$name.results"
		fi
		unset "job_pids[$name]"
		# shellcheck disable=SC1090 # calls of result() and skip()
		. "$job_dir/$name.results"
	done
	job_names=()
}

kill_jobs() {
	local pid
	for pid in "${job_pids[@]}"; do
		kill -- "-$pid" 2>/dev/null || true
	done
}
