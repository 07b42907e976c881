# SPDX-License-Identifier: GPL-2.0
#
# Finds what must not be in a kernel log. Prints each such line; exit code 1 if
# there was one. Its own samples are in splat_samples/.

BEGIN {
	n = split("WARNING:|BUG:|Oops|general protection fault|unable to handle|" \
		"Unable to handle|KASAN:|KCSAN:|UBSAN:|KMSAN:|KFENCE:|" \
		"possible recursive locking|possible circular locking|" \
		"inconsistent lock state|suspicious RCU usage|held lock freed|" \
		"bad unlock balance|Invalid wait context|INFO: rcu|rcu_preempt detected|" \
		"rcu:.*detected stalls|rcu:.*self-detected stall|blocked for more than|" \
		"soft lockup|hard LOCKUP|Hard LOCKUP|Kernel panic|refcount_t:|Bad page|" \
		"bad page|scheduling while atomic|sleeping function called|" \
		"list_add corruption|list_del corruption|ODEBUG:|page allocation failure|" \
		"Memory leak|unreferenced object|double fault|stack guard page|" \
		"stack segment|invalid opcode|divide error|Objects remaining|" \
		"sysfs: cannot create duplicate|workqueue lockup|" \
		"Bad rss-counter|VM_BUG_ON|bad: scheduling|cut here", bad, "|")
}

{
	sub(/\r$/, "")
}

# A backtrace is no splat where somebody asked for it, or where it tells whom the
# OOM killer was called by.
/sysrq: Show backtrace|NMI backtrace for cpu|Sending NMI|invoked oom-killer/ {
	asked = NR
}

/Call Trace:/ && (!asked || NR > asked + 60) {
	print
	found = 1
}

{
	for (i = 1; i <= n; i++) {
		if ($0 ~ bad[i]) {
			print
			found = 1
			break
		}
	}
}

END {
	exit found
}
