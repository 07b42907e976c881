#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes, from what the bench printed on some kernels, a table for people on stdout, and
# results.json, data files and plots.gp for gnuplot in DIR.
#
# usage: report.sh DIR ACCEL QUICK RELEASE...
set -euo pipefail

dir=$1 accel=$2 quick=$3
shift 3
cd "$dir"

rows() {
	local rel name
	for rel in "$@"; do
		for name in main many icount; do
			[ ! -f "$name-$rel.log" ] || sed -n "s/^RESULT\t/$rel\t/p" "$name-$rel.log"
		done
	done
}

rows "$@" >rows.tsv

echo
echo "arena_nolock against the kernel's own arena, on stock Debian kernels"
echo "QEMU -accel $accel on $(nproc) CPUs of this machine${quick:+; the quick mode, good for a look only}"
sed -n 's/^# \(.* CPUs; clock .*\)/guest: \1/p' ./*.log | sort -u
[ "$accel" = kvm ] || echo "Emulated: only the proportions mean anything. icount.*: instructions, on one CPU."
awk -F '\t' -v json=results.json '
function judge(target, ratio, module) {
	if (target == "-")
		return "-"
	if (target ~ /^x/)
		return ratio == "-" ? "-" : (ratio + 0 >= substr(target, 2) + 0 ? "met" : "NOT MET")
	if (module == "-")
		return "-"
	if (target ~ /^max/)
		return module + 0 <= substr(target, 4) + 0 ? "met" : "NOT MET"
	return module + 0 >= substr(target, 4) + 0 ? "met" : "NOT MET"
}
function show(target) {
	if (sub(/^x/, ">= ", target))
		target = target " x"
	sub(/^max/, "<= ", target)
	sub(/^min/, ">= ", target)
	return target
}
function quote(s) {
	gsub(/\\/, "\\\\", s)
	gsub(/"/, "\\\"", s)
	return "\"" s "\""
}
function jnum(s) {
	return s == "-" ? "null" : s
}
BEGIN {
	print "[" >json
}
# Each boot tells it.
$2 ~ /zero1$/ && seen[$1 $2]++ {
	next
}
{
	kernel = $1; name = $2; unit = $3; better = $4; intree = $5; module = $6
	target = $7; remark = $8 == "-" ? "" : $8
	if (intree == "-" || module == "-" || intree + 0 <= 0 || module + 0 <= 0)
		ratio = "-"
	else
		ratio = better == "less" ? intree / module : module / intree
	if (name ~ /^(icount.)?zero1|growth$|^fixed/)
		ratio = "-"
	if (target ~ /^x/ && ratio == "-")
		target = "-"
	met = judge(target, ratio, module)
	if (kernel != last) {
		printf "\n%s\n%-26s %-12s %11s %11s %8s  %-9s %s\n", kernel, "case", "unit", "in tree",
			"module", "ratio", "target", ""
		last = kernel
	}
	printf "%-26s %-12s %11s %11s %8s  %-9s %s\n", name, unit, intree, module,
		(ratio == "-" ? "-" : sprintf((ratio < 10 ? "%.2f" : "%.0f"), ratio)), show(target),
		(met == "-" ? "" : met)
	if (remark != "")
		printf "    %s\n", remark
	if (met == "met") nr_met++
	if (met == "NOT MET") missed[++nr_missed] = kernel " " name
	printf "%s{\"name\": %s, \"kernel\": %s, \"unit\": %s, \"intree\": %s, \"module\": %s, \"ratio\": %s, \"target\": %s, \"met\": %s, \"remark\": %s}",
		(shown++ ? ",\n" : ""), quote(name), quote(kernel), quote(unit), jnum(intree), jnum(module),
		(ratio == "-" ? "null" : sprintf("%.4g", ratio)),
		(target == "-" ? "null" : quote(target)), (met == "-" ? "null" : met == "met" ? "true" : "false"),
		quote(remark) >json
}
END {
	print "\n]" >json
	printf "\n%d targets met, %d not met\n", nr_met, nr_missed
	for (i = 1; i <= nr_missed; i++)
		print "  not met: " missed[i]
}' rows.tsv

# Data and plots; a kernel without a series is left out of it.
for rel in "$@"; do
	{ cat "main-$rel.log" "many-$rel.log" 2>/dev/null || true; } | sed -n 's/^POINT\t//p' | sed 's/\t-/\tNaN/g' |
		awk -F '\t' -v rel="$rel" '{ print $2, $3, $4 >($1 "-" rel ".dat") }'
done

{
	echo "set terminal svg size 800,500 font 'sans-serif,14' background '#ffffff'"
	echo "set grid; set key left top; set style data linespoints; set pointsize 0.8"
	echo "set datafile missing 'NaN'"
	# FILE TITLE XLABEL YLABEL SCALE-OF-Y SETTINGS SERIES...
	plot() {
		local file=$1 title=$2 x=$3 y=$4 scale=$5 settings=$6 rel s short label list=() colour=1
		shift 6
		for rel in "${rels[@]}"; do
			short=${rel%%+*}
			for s in "$@"; do
				[ -f "$s-$rel.dat" ] || continue
				if grep -qv ' NaN [^ ]*$' "$s-$rel.dat"; then
					list+=("'$s-$rel.dat' using 1:(\$2/$scale) lc $colour dt 2 title '$short in tree${s#"$1"}'")
				fi
				label="$short module${s#"$1"}"
				[[ $s != *_control ]] || label="$short, doing nothing"
				list+=("'$s-$rel.dat' using 1:(\$3/$scale) lc $colour title '$label'")
				colour=$((colour + 1))
			done
		done
		[ ${#list[@]} -gt 0 ] || return 0
		echo "set output '$file.svg'; set title '$title'; set xlabel '$x'; set ylabel '$y'"
		echo "unset logscale; $settings"
		echo "plot $(IFS=,; echo "${list[*]}")"
	}
	rels=("$@")
	plot alloc_pages 'Allocation, programs that can sleep' 'pages' 'µs' 1000 'set logscale xy' \
		alloc_by_pages_sleepable
	plot alloc_pages_atomic 'Allocation, programs that cannot sleep' 'pages' 'µs' 1000 \
		'set logscale xy' alloc_by_pages_atomic
	plot free_pages 'Free, programs that can sleep' 'pages' 'µs' 1000 'set logscale xy' \
		free_by_pages_sleepable
	plot frag 'Allocation of a page among free ranges' 'free ranges' 'µs' 1000 'set logscale xy' frag
	plot cpus 'Allocate, use, free: all CPUs together' 'CPUs' 'thousand/s' 1000 \
		'set yrange [0:*]' cpus
	echo "set yrange [*:*]"
	plot irqoff_alloc 'Longest delay of a timer interrupt: allocation' 'pages' 'µs' 1 \
		'set logscale xy' irqoff_alloc irqoff_control
	plot irqoff_free 'Longest delay of a timer interrupt: free' 'pages' 'µs' 1 \
		'set logscale xy' irqoff_free
	echo "set style data histogram; set style fill solid 0.6; set boxwidth 0.8"
	list=()
	for rel in "$@"; do
		[ ! -f "ipis-$rel.dat" ] || list+=("'ipis-$rel.dat' using (\$2+1):xtic('${rel%%+*}') title 'in tree'" \
			"'' using (\$3+1) title 'module'")
	done
	if [ ${#list[@]} -gt 0 ]; then
		echo "set output 'ipis.svg'; set title 'TLB-flush IPIs for 4096 scattered frees'; set xlabel ''"
		echo "set ylabel 'IPIs'; unset logscale; set logscale y; set yrange [1:*]; set key right top"
		echo "plot $(IFS=,; echo "${list[*]}")"
	fi
} >plots.gp
