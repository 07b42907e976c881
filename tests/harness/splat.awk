# SPDX-License-Identifier: GPL-2.0
#
# Finds what must not be in a kernel log: prints each such line, and exits with 1
# if there is one. With -v list=1 it prints its patterns instead. selftest.sh tests it
# with the samples in cases/splat.

function pattern(re) {
	patterns[++nr_patterns] = re
}

BEGIN {
	# Reports with a name.
	pattern("WARNING:")
	pattern("BUG:")
	pattern("BUG [^ ]+ \\(")
	pattern("Oops")
	pattern("cut here")
	pattern("[Kk]ernel panic")
	pattern("VM_BUG_ON|kernel BUG at")
	# Traps.
	pattern("general protection fault")
	pattern("[Uu]nable to handle")
	pattern("double fault")
	pattern("Internal error:")
	pattern("stack segment")
	pattern("invalid opcode|divide error")
	pattern("stack guard page|stack-protector")
	pattern("Missing ENDBR")
	# Sanitizers and debug options.
	pattern("KASAN:")
	pattern("KCSAN:")
	pattern("KMSAN:")
	pattern("KFENCE:")
	pattern("UBSAN:")
	pattern("ODEBUG:")
	pattern("kmemleak:.*suspected|unreferenced object")
	pattern("refcount_t:")
	pattern("list_(add|del) (corruption|double)")
	pattern("[Bb]ad page")
	pattern("[Bb]ad rss-counter")
	pattern("page_owner tracks|nonzero _refcount|nonzero mapcount")
	pattern("Objects remaining")
	pattern("[Ll]eaked|Memory leak")
	pattern("vmalloc_node_range.*overlap|Trying to vfree|Bad address \\(")
	# Locks and contexts.
	pattern("possible recursive locking")
	pattern("possible circular locking|possible irq lock inversion")
	pattern("inconsistent lock state|HARDIRQ-safe|SOFTIRQ-safe")
	pattern("bad unlock balance|held lock freed|lock held when returning")
	pattern("[Ii]nvalid wait context")
	pattern("suspicious RCU usage")
	pattern("scheduling while atomic|bad: scheduling")
	pattern("sleeping function called")
	pattern("[Vv]oluntary context switch within RCU")
	# Stalls.
	pattern("rcu.*(detected|self-detected).*stall")
	pattern("rcu_tasks.*(stall|blocked)|INFO: rcu")
	pattern("blocked for more than")
	pattern("soft lockup")
	pattern("[Hh]ard LOCKUP")
	pattern("workqueue lockup")
	pattern("rqspinlock.*(deadlock|timeout)|deadlock detected")
	# Memory, outside of tests that announce it.
	pattern("page allocation failure")
	pattern("invoked oom-killer")
	pattern("[Oo]ut of memory")
	# Modules.
	pattern("sysfs: cannot create duplicate")
	pattern("[Uu]nknown symbol|disagrees about version|Invalid module format")
	pattern("failed to validate module .* BTF|BTF.*mismatch")

	if (list) {
		for (i = 1; i <= nr_patterns; i++)
			print patterns[i]
		exit 0
	}
}

{
	sub(/\r$/, "")
}

# Tests announce that they drive a memory cgroup into its limit.
/anl_test: expect oom begin/ {
	oom = 1
}

/anl_test: expect oom end/ {
	oom = 0
}

# Or that they make the kernel's own allocations fail, some of which warn.
/anl_test: expect allocation failures begin/ {
	failures = 1
}

/anl_test: expect allocation failures end/ {
	failures = 0
}

# Or that they load a module that does not fit the kernel.
/anl_test: expect refusal begin/ {
	refusal = 1
}

/anl_test: expect refusal end/ {
	refusal = 0
}

refusal && /version magic|Unknown symbol/ {
	next
}

# KCSAN names the two functions that race. Races between functions of the kernel are ignored,
# unless one works on its caller's data and the module called it.
/BUG: KCSAN: / {
	others = !/anl_|arena_nolock/
	callee = /(in|\/) _*((find|bitmap|list|llist|rb)_|mem[a-z]+[+ ])/
	report = $0
}

others && / by (task|interrupt)/ {
	frame = 0
}

others && ++frame == 3 && callee && /\[arena_nolock\]/ {
	print report
	found = 1
}

others {
	others = !/====================/ || /BUG: KCSAN/
	next
}

# Or that they request backtraces, so that one without a name is not a splat.
/expect backtraces begin/ {
	backtraces = 1
}

/expect backtraces end/ {
	backtraces = 0
}

oom && /invoked oom-killer/ {
	allowed++
	allowed_until = NR + 40
	next
}

oom && /[Oo]ut of memory/ {
	next
}

failures && /VM_FAULT_OOM leaked out/ {
	next
}

failures && /page allocation failure|vmalloc error/ {
	allowed++
	allowed_until = NR + 40
	next
}

# x86 has a capital letter there, arm64 has none.
/Call [Tt]race:/ {
	if (backtraces)
		next
	if (allowed > 0 && NR <= allowed_until) {
		allowed--
		next
	}
	allowed = 0
	print
	found = 1
	next
}

{
	for (i = 1; i <= nr_patterns; i++) {
		if ($0 ~ patterns[i]) {
			print
			found = 1
			break
		}
	}
}

END {
	exit list ? 0 : found
}
