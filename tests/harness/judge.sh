# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Judges a boot by what it left in its directory: results.log, console.log, and QEMU's exit
# code. selftest.sh tests this file with the samples in cases/. Sourced by run_qemu.sh.

# Why a boot was not a success, one reason a line: DIR QEMU-EXIT-CODE
judge() {
	local dir=$1 code=$2
	[ "$code" -ne 124 ] || echo "no end after $boot_time s: a hang"
	[ "$code" -eq 0 ] || [ "$code" -eq 124 ] ||
		echo "QEMU failed with code $code: $(head -n 1 "$dir/qemu.log" 2>/dev/null)"
	grep -aqs 'reboot: Power down' "$dir/console.log" || echo "no clean power-off"
	judge_results "$dir"
	judge_log "$dir"
}

# All planned results came, and the exit code fits them; the demo has no results.
judge_results() {
	local dir=$1 planned got end bad
	end=$(sed -n 's/^end: \([0-9]*\).*/\1/p' "$dir/results.log" | tail -n 1)
	[ -n "$end" ] || echo "the guest did not reach its end"
	if [ "$mode" = demo ]; then
		[ "${end:-0}" -eq 0 ] || echo "the demo ended with code $end"
		return 0
	fi
	planned=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$dir/results.log" | head -n 1)
	got=$(grep -ac '^\(not \)\?ok ' "$dir/results.log" || true)
	bad=$(grep -ac '^not ok ' "$dir/results.log" || true)
	[ "${planned:-none}" = "$got" ] || echo "${planned:-no} results planned, $got came"
	[ "${end:-0}" -eq 0 ] || [ "$bad" -gt 0 ] ||
		echo "the runner ended with code $end, though no test failed"
}

# No splat in the kernel log, which must exist. The lines after the first splat are shown,
# since the output of a run is often all that is kept.
judge_log() {
	local dir=$1 splat
	splat=$(awk -f "$harness/splat.awk" "$dir/console.log" 2>&1 | sed -n 1,5p || true)
	[ -n "$splat" ] || return 0
	printf 'kernel log: %s\n' "${splat//$'\n'/$'\n'kernel log: }"
	tr -d '\r' 2>/dev/null <"$dir/console.log" |
		grep -aFx -m 1 -A 44 -e "${splat%%$'\n'*}" | sed 's/^/    /' || true
}

# Why a boot says nothing about what is tested, if that is so: DIR
says_nothing() {
	local dir=$1
	if emulator_fault "$dir"; then
		echo "QEMU ran code that had been replaced;" \
			"$(grep -am 1 -o 'RIP: .*' "$dir/console.log" | tr -d '\r')"
	elif [[ $accel = tcg* ]] && [ ! -s "$dir/results.log" ] && [ -z "$(judge_log "$dir")" ] &&
			! grep -aqs 'arena_nolock' "$dir/console.log"; then
		echo "the kernel did not come as far as its init"
	fi
}

# Whether QEMU failed, in the one way that is known. When a CPU stores into code, QEMU first
# drops the translation of that code; until the store is done, another CPU can have the old
# code translated again, and that translation stays. So a CPU can run into a breakpoint by
# which the kernel patched its code, long after the breakpoint is gone. Then the trap comes
# from the kernel's own code, and memory has no int3 before RIP.
emulator_fault() {
	local dir=$1 first
	[[ $accel = tcg* ]] || return 1
	first=$(awk -f "$harness/splat.awk" "$dir/console.log" 2>/dev/null | sed -n 1p)
	[[ $first = *'Oops: int3'* ]] || return 1
	tr -d '\r' <"$dir/console.log" | awk '
		/Oops: int3/ { seen = 1 }
		seen && !rip && /RIP: 0010:/ {
			rip = 1
			core = / RIP: 0010:[a-zA-Z_0-9.]+\+0x[0-9a-f]+\/0x[0-9a-f]+$/ && !/:bpf_prog_/
		}
		seen && !code && /Code: / {
			code = 1
			stale = match($0, / [0-9a-f][0-9a-f] </) && substr($0, RSTART + 1, 2) != "cc"
		}
		END { exit !(core && stale) }'
}
