# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The checks that all results rely on must fail where they should. Each folder below cases/
# is a sample with the expected judgement in "expected":
#	cases/splat	console.log; the lines that splat.awk reports
#	cases/boot	results.log, console.log and, unless 0, QEMU's exit code in "code"; a
#			regular expression for each line that judge() prints
#	cases/trap	console.log; "emulator" or "kernel", whichever emulator_fault() blames
# A sample that must pass expects nothing. Sourced by run_qemu.sh.

cases=$harness/cases
misjudged=()

# NAME EXPECTED GOT
must_equal() {
	[ "$2" = "$3" ] || misjudged+=("$1: expected '$2', got '$3'")
}

# Whole logs, then each line and each pattern of cases/splat/lines by itself.
splat_cases() {
	local dir line pattern awk=$harness/splat.awk lines=$cases/splat/lines/console.log
	for dir in "$cases"/splat/*/; do
		must_equal "$dir" "$(cat "$dir/expected")" "$(awk -f "$awk" "$dir/console.log")"
		if [ -s "$dir/expected" ]; then
			! awk -f "$awk" "$dir/console.log" >/dev/null || misjudged+=("$dir: exit code 0")
		fi
	done
	while IFS= read -r line; do
		must_equal "by itself" "$line" "$(awk -f "$awk" <<<"$line")"
	done <"$lines"
	while IFS= read -r pattern; do
		P=$pattern awk '$0 ~ ENVIRON["P"] { hit = 1 } END { exit !hit }' "$lines" ||
			misjudged+=("no sample for the pattern $pattern")
	done < <(awk -v list=1 -f "$awk")
	# A crash is the last line of its log, often without an end of line.
	! printf 'quiet\r\nKernel panic - not syncing: x' | awk -f "$awk" >/dev/null ||
		misjudged+=("the last line is not read")
}

# The files of a sample as a guest leaves them, with carriage returns: FOLDER
lay_out() {
	local file
	rm -rf "$build/boot-sample"
	mkdir -p "$build/boot-sample"
	for file in results.log console.log; do
		[ ! -f "$1/$file" ] || sed 's/$/\r/' "$1/$file" >"$build/boot-sample/$file"
	done
}

boot_cases_judged() {
	local dir why code mode='test' expected lines i
	for dir in "$cases"/boot/*/; do
		lay_out "$dir"
		code=$(cat "$dir/code" 2>/dev/null || echo 0)
		why=$(judge "$build/boot-sample" "$code")
		mapfile -t expected <"$dir/expected"
		lines=()
		[ -z "$why" ] || mapfile -t lines <<<"$why"
		must_equal "$dir: lines" "${#expected[@]}" "${#lines[@]}"
		for i in "${!expected[@]}"; do
			[[ ${lines[i]:-} =~ ^${expected[i]}$ ]] ||
				misjudged+=("$dir: expected '${expected[i]}', got '${lines[i]:-}'")
		done
		judged=$((judged + 1))
	done
}

trap_cases() {
	local dir accel=tcg blamed
	for dir in "$cases"/trap/*/; do
		lay_out "$dir"
		blamed=kernel
		! emulator_fault "$build/boot-sample" || blamed=emulator
		must_equal "$dir" "$(cat "$dir/expected")" "$blamed"
		judged=$((judged + 1))
	done
}

test_judgements() {
	local judged=0
	misjudged=()
	splat_cases
	result "harness.splat_checker" "${#misjudged[@]}" "$(printf '%s\n' "${misjudged[@]}")"
	misjudged=()
	boot_cases_judged
	trap_cases
	result "harness.judgements ($judged)" "${#misjudged[@]}" "$(printf '%s\n' "${misjudged[@]}")"
	rm -rf "$build/boot-sample"
}

# A guest that hangs before its tests is ended, and its boot says nothing.
test_start() {
	local dir=$build/boot-start wrong=() start_time=2 accel=tcg
	mkdir -p "$dir"
	: >"$dir/results.log"
	echo "[    0.064000] tsc: Unable to calibrate against PIT" >"$dir/console.log"
	sleep 60 9>&- &
	local -A qemu_pids=(["$dir"]=$!)
	watch_start "$dir"
	wait "${qemu_pids["$dir"]}" 2>/dev/null && wrong+=("it was not ended;")
	[ -n "$(says_nothing "$dir")" ] || wrong+=("its boot was judged;")
	echo "[    5.000000] arena_nolock: loaded" >>"$dir/console.log"
	[ -z "$(says_nothing "$dir")" ] || wrong+=("a boot with the module was not judged;")
	result "harness.hang_at_start" "${#wrong[@]}" "${wrong[*]:-}"
	rm -rf "$dir"
}

# A guest that crashes while a result is due. "stty" returns when the line that announces the
# result is out, so that the crash cannot take it along: REL
crash_guest() {
	local dir=$build/boot-crash rel=$1
	mkdir -p "$dir"
	initramfs_begin "$dir" "$rel"
	initramfs_pack "$dir" sh -c \
		'echo 1..1; stty -echo <&1; sleep 1; echo c >/proc/sysrq-trigger'
	show_guest() { cat >/dev/null; }
	start_guest "$dir" "$rel"
	follow_guest "$dir"
}

# If the line did not come, the guest never reached it; then there is a second one: REL
test_crash() {
	local dir=$build/boot-crash why missing=()
	crash_guest "$1"
	grep -aqs '^1\.\.1' "$dir/results.log" || crash_guest "$1"
	why=$(judge "$dir" "$qemu_code")
	grep -q 'Kernel panic' <<<"$why" || missing+=("the panic was not seen;")
	grep -q 'no clean power-off' <<<"$why" || missing+=("the missing power-off was not seen;")
	grep -q '1 results planned, 0 came' <<<"$why" || missing+=("the missing result was not seen;")
	[ ${#missing[@]} -eq 0 ] || missing+=("instead: $why")
	result "harness.crash_is_seen" "${#missing[@]}" "${missing[*]:-}"
}
