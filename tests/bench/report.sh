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
		for name in main many crowd icount; do
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

# The block of report.sh that writes plots.gp. A colour is a kernel; dashes and hollow points
# are the kernel's own arena; ticks are the values that were measured.
{
	echo "set terminal svg size 860,460 font 'sans-serif,14' background '#ffffff'"
	echo "set grid; set key outside right center Left reverse samplen 3 spacing 1.3"
	echo "set style data linespoints; set pointsize 0.9; set datafile missing 'NaN'"
	echo "set style fill solid 0.5 noborder; set format y '%g'"
	# SERIES: an axis that has the x values of its data as tics; 1024 is 1k. A tic that is close
	# to the next one has no label.
	x_axis() {
		cat "$1"-*.dat | sort -n -u -k1,1 | awk '
			function show(v, next_v) {
				if (next_v && v >= 16384 && next_v <= 2 * v)
					return ""
				if (v % 1024 == 0)
					return v / 1024 "k"
				return v % 100000 == 0 ? v / 1000000 "M" : v
			}
			NR == 1 { first = $1; printf "set xtics (" }
			NR > 1 { printf "\"%s\" %s, ", show(v, $1), v }
			{ v = $1 }
			END { printf "\"%s\" %s); set xrange [%s:%s]", show(v, 0), v, first * 0.85, v * 1.15 }'
	}
	# FILE TITLE XLABEL YLABEL SCALE-OF-Y LEAST-Y SETTINGS SERIES [CONTROL]; values below the
	# least are drawn there.
	plot() {
		local file=$1 title=$2 x=$3 y=$4 scale=$5 least=$6 settings=$7 s=$8 control=${9:-}
		local rel short list=() i=0 colours=('#0072b2' '#d55e00' '#009e73') open=(6 8 4) full=(7 9 5)
		for rel in "${rels[@]}"; do
			short=${rel%%+*}
			[ -f "$s-$rel.dat" ] || continue
			if [ -n "$control" ] && [ -f "$control-$rel.dat" ] && [ ${#list[@]} -eq 0 ]; then
				list+=("'$control-$rel.dat' using 1:(\$3/$scale) with filledcurves y1=$least lc rgb '#dddddd' title 'control, $short'")
			fi
			if grep -qv ' NaN [^ ]*$' "$s-$rel.dat"; then
				list+=("'$s-$rel.dat' using 1:(\$2/$scale < $least ? $least : \$2/$scale) lc rgb '${colours[i]}' dt 2 pt ${open[i]} title '$short, in tree'")
			fi
			list+=("'$s-$rel.dat' using 1:(\$3/$scale < $least ? $least : \$3/$scale) lc rgb '${colours[i]}' lw 2 pt ${full[i]} title '$short, module'")
			i=$((i + 1))
		done
		[ ${#list[@]} -gt 0 ] || return 0
		echo "set output '$file.svg'; set title '$title'; set xlabel '$x'; set ylabel '$y'"
		echo "unset logscale; set yrange [$least:*]; $(x_axis "$s"); $settings"
		echo "plot $(IFS=,; echo "${list[*]}")"
	}
	rels=("$@")
	# shellcheck disable=SC2016 # $1 is gnuplot's: the number of pages
	{
		plot alloc_pages 'Allocation, callers that can sleep' 'pages in the call' 'µs a page' \
			'1000/$1' 1 'set logscale xy' alloc_by_pages_sleepable
		plot alloc_pages_atomic 'Allocation, callers that cannot sleep' 'pages in the call' \
			'µs a page' '1000/$1' 0.1 'set logscale xy' alloc_by_pages_atomic
		plot free_pages 'Free, callers that can sleep' 'pages in the call' 'µs a page' \
			'1000/$1' 0.1 'set logscale xy' free_by_pages_sleepable
	}
	plot frag 'Allocation of a page among free ranges' 'free ranges' 'µs' 1000 0.5 \
		'set logscale xy' frag
	plot cpus 'Allocate, use, free: all CPUs together' 'CPUs' 'thousand/s' 1000 0 '' cpus
	plot flows 'New flows in the flow table: all CPUs together' 'CPUs' 'thousand/s' 1000 0 '' flows
	plot irqoff_alloc 'Longest delay of a timer interrupt: allocation' 'pages' 'ms' 1000 0.01 \
		'set logscale xy' irqoff_alloc irqoff_control
	plot irqoff_free 'Longest delay of a timer interrupt: free' 'pages' 'ms' 1000 0.01 \
		'set logscale xy' irqoff_free irqoff_control
	: >ipis.dat
	i=0
	for rel in "$@"; do
		[ -f "ipis-$rel.dat" ] || continue
		awk -v i=$i -v rel="${rel%%+*}" '{ print i, rel, $2, $3 }' "ipis-$rel.dat" >>ipis.dat
		i=$((i + 1))
	done
	if [ $i -gt 0 ]; then
		echo "set output 'ipis.svg'; set title 'TLB-flush IPIs for 4096 scattered frees'; set xlabel ''"
		echo "set ylabel 'IPIs'; unset logscale; set logscale y; set yrange [1:100000]; set xrange [-0.6:$i-0.4]"
		echo "set boxwidth 0.35; unset xtics; set xtics ($(awk '{ printf "%s\"%s\" %s", (NR > 1 ? ", " : ""), $2, $1 }' ipis.dat))"
		echo "plot 'ipis.dat' using (\$1-0.2):3 with boxes lc rgb '#999999' title 'in tree'," \
			"'' using (\$1+0.2):4 with boxes lc rgb '#0072b2' title 'module'," \
			"'' using (\$1-0.2):3:3 with labels offset 0,0.6 notitle," \
			"'' using (\$1+0.2):4:4 with labels offset 0,0.6 notitle"
	fi
} >plots.gp
