# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Results: counts them, writes build/results.ktap, and prints the summary and the verdict.
# Sourced by run_qemu.sh.

ktap=$build/results.ktap
count=0
passed=0
failed=0
skipped=0
failures=()
skips=()
repeats=()
# A job in the background has its results here; finish_jobs counts them.
results_to=
# Set while the run has not printed its verdict yet.
verdict_due=

begin_results() {
	echo "KTAP version 1" >"$ktap"
	verdict_due=1
}

# A result of the host: NAME CODE WHY. Code 0 is a pass.
result() {
	if [ -n "$results_to" ]; then
		echo "result $(printf '%q ' "$1" "$2" "${3:-}")" >>"$results_to"
		return 0
	fi
	count=$((count + 1))
	if [ "$2" -eq 0 ]; then
		passed=$((passed + 1))
		echo "ok $count $1" | tee -a "$ktap"
	else
		failed=$((failed + 1))
		failures+=("$1"$'\n'"${3:-}")
		# shellcheck disable=SC2001
		{ sed 's/^/# /' <<<"${3:-}"; echo "not ok $count $1"; } | tee -a "$ktap"
	fi
}

# NAME WHY
skip() {
	if [ -n "$results_to" ]; then
		echo "skip $(printf '%q ' "$1" "$2")" >>"$results_to"
		return 0
	fi
	count=$((count + 1))
	skipped=$((skipped + 1))
	skips+=("$1: $2")
	echo "ok $count $1 # SKIP $2" | tee -a "$ktap"
}

# The results of a guest's tests, as a subtest: NAME FILE
guest_results() {
	local name=$1 line why=""
	{
		echo "    KTAP version 1"
		echo "    # Subtest: $name"
		sed -e '/^KTAP version/d' -e '/^end: /d' -e 's/^/    /' "$2"
	} >>"$ktap"
	while read -r line; do
		case $line in
		"# "*)
			why+=${why:+$'\n'}${line#\# } ;;
		"not ok "*)
			failed=$((failed + 1))
			failures+=("$name ${line#not ok * }"$'\n'"$why") ;;
		"ok "*"# SKIP "*)
			skipped=$((skipped + 1))
			skips+=("$name ${line#ok * }") ;;
		*)
			passed=$((passed + 1)) ;;
		esac
		case $line in
		"ok "* | "not ok "*) why="" ;;
		esac
	done < <(grep -a '^ok \|^not ok \|^# [a-z_]*\.c:' "$2")
}

# HEADING LINE...
list_of() {
	[ $# -gt 1 ] || return 0
	printf '\n%s\n' "$1"
	shift
	printf '%s\n' "$@" | sed -e '/^$/d' -e 's/^/  /'
}

# The last lines of a run, and its exit code: WHAT, such as "TESTS"
verdict() {
	local word=PASSED kernels
	kernels=$(printf '%s\n' "${tested[@]}" | awk '!seen[$0]++' | paste -sd' ')
	echo "1..$count" >>"$ktap"
	list_of "Skipped:" "${skips[@]}"
	list_of "Booted a second time:" "${repeats[@]}"
	list_of "Failed:" "${failures[@]/%/$'\n'}"
	[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ] || word=FAILED
	verdict_due=
	echo
	echo "$1 $word on $kernels in $((SECONDS - started)) s"
	echo "$passed passed, $failed failed, $skipped skipped"
	[ $word = PASSED ]
}

# A run that ends before its verdict has failed as well.
missing_verdict() {
	[ -z "$verdict_due" ] || printf '\n%s\n' "TESTS FAILED: the run ended before its results were complete"
}
