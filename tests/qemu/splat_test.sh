#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The test of splat.awk, on the samples in splat_samples/: in bad-lines.txt each
# line by itself is a splat, and each pattern has a line; the other bad-*.txt and
# the good-*.txt are whole logs. Says what is wrong, if anything.
set -euo pipefail
cd "$(dirname "$0")"

status=0

wrong() {
	echo "$*"
	status=1
}

is_clean() {
	awk -f splat.awk >/dev/null
}

while IFS= read -r line; do
	! is_clean <<<"$line" || wrong "not seen: $line"
done <splat_samples/bad-lines.txt

while IFS= read -r pattern; do
	P=$pattern awk '$0 ~ ENVIRON["P"] { hit = 1 } END { exit !hit }' splat_samples/bad-lines.txt ||
		wrong "no sample for the pattern $pattern"
done < <(awk -v list=1 -f splat.awk)

for file in splat_samples/*.txt; do
	if is_clean <"$file"; then
		[[ $file == */good-* ]] || wrong "no splat seen in $file"
	else
		[[ $file == */bad-* ]] || wrong "a splat seen in $file: $(awk -f splat.awk "$file" | head -n 1)"
	fi
done

# A crash is the last thing in its log, often without an end of line.
! printf 'quiet\r\nKernel panic - not syncing: x' | is_clean || wrong "last line not read"

exit $status
