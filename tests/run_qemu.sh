#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds the module for stock Debian kernels, boots them in QEMU, and runs the tests or the
# demo there. Everything that this needs goes into a cache directory; the machine itself
# needs mmdebstrap only. The parts are in harness/, one job a file. See --help.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
here=$top/tests
harness=$here/harness
cache=${ARENA_NOLOCK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/arena_nolock}
build=$top/build
logs=$build/logs
started=$SECONDS

usage() {
	cat <<'USAGE'
usage: tests/run_qemu.sh [test|test-all|demo|bench|soak|packages|check|harness|prepare|shell]
                         [options]

  test      what shows that the module works (default): warnings, tree and lock in user space,
            the harness's own checks, and the module's tests on both suites
  test-all  test, and the rest: kernels with PREEMPT_RT, of Debian 12, of the series before the
            newest; some tests on arm64; guests with memory nodes; examples, tools and programs
            of others; builds that must be refused; the bench in its quick mode; packages
  demo      the demo on the newest stable kernel
  bench     the bench against the kernel's own arena; results in build/bench
  soak      a storm of everything at once (tests storm.*) on both suites, for minutes
  packages  dkms and the Debian packages, on Debian 13 and 12 (a part of test-all)
  check     the sources: checkpatch, sparse, coccinelle, shellcheck, versions
  harness   the harness's own checks (a part of test)
  prepare   make or update the build root and the kernels, and build
  shell     a shell in a guest, with the module, the tests and bpftool at hand

  --kernel SUITE[:FLAVOUR]  stable, backports, backports-X.Y for an older series that is
                            still in the archive, previous for the newest of these, or
                            oldstable (6.12 for Debian 12);
                            cloud (default), amd64, rt; debug or kcsan, also with a
                            kernel tree in place of the suite; with stable or backports
                            also arm64 (cloud), arm64-16k, arm64-rt, and arm64-nmi, which
                            is built with pseudo-NMIs. May be given several times;
                            default: stable and backports; for test-all, check and
                            prepare also both with rt, and oldstable; for test-all also
                            previous, and arm64, arm64-16k and arm64-rt. test-all runs
                            some tests only on arm64
  --test GLOB               only tests whose group.name matches, and neither the
                            build checks nor the harness's own; several times
  --list                    list the tests
  --quick                   a bench of less than two minutes
  --case GLOB               only these cases of the bench
  --minutes N               how long a soak lasts on each kernel (default 10)
  --seed N                  seed of the storm's random numbers (default: the clock)
  --cpus N                  CPUs of the guest (default 2; soak 4; bench 2, and 4)
  --memory MIB              memory of the guest (default 2048)
  --numa                    a guest of three memory nodes, for the tests numa.*: node 0
                            with a CPU and half of the memory, 1 with the other CPUs,
                            2 with the other half
  --time SECONDS            limit for one boot (default 1200, bench 3600, debug kernels 7200)
  --jobs N                  guests at a time (default: CPUs of this machine, half of them
                            for debug kernels)
  --verbose                 show all output of the guest's tests
  --help

Environment: KERNEL, TEST, QUICK=1, CASE, MINUTES, SEED (as the options),
ARENA_NOLOCK_CACHE (default ~/.cache/arena_nolock), QEMU_ACCEL (default: KVM if it works, otherwise TCG).

Examples:
  tests/run_qemu.sh --kernel backports --test 'free.*'
  KERNEL=stable:rt make test

Results are in build/results.ktap, logs of builds in build/logs, of guests in
build/boot-RELEASE (console.log, results.log, and monitor, a socket of QEMU's).
USAGE
}

# shellcheck source=tests/harness/output.sh
. "$harness/output.sh"
# shellcheck source=tests/harness/options.sh
. "$harness/options.sh"
# shellcheck source=tests/harness/root.sh
. "$harness/root.sh"
# shellcheck source=tests/harness/arch.sh
. "$harness/arch.sh"
# shellcheck source=tests/harness/kernels.sh
. "$harness/kernels.sh"
# shellcheck source=tests/harness/debug.sh
. "$harness/debug.sh"
# shellcheck source=tests/harness/jobs.sh
. "$harness/jobs.sh"
# shellcheck source=tests/harness/results.sh
. "$harness/results.sh"
# shellcheck source=tests/harness/progress.sh
. "$harness/progress.sh"
# shellcheck source=tests/harness/build.sh
. "$harness/build.sh"
# shellcheck source=tests/harness/clients.sh
. "$harness/clients.sh"
# shellcheck source=tests/harness/lines.sh
. "$harness/lines.sh"
# shellcheck source=tests/harness/host_tests.sh
. "$harness/host_tests.sh"
# shellcheck source=tests/harness/judge.sh
. "$harness/judge.sh"
# shellcheck source=tests/harness/guest.sh
. "$harness/guest.sh"
# shellcheck source=tests/harness/kernel_tests.sh
. "$harness/kernel_tests.sh"
# shellcheck source=tests/harness/selftest.sh
. "$harness/selftest.sh"
# shellcheck source=tests/harness/interactive.sh
. "$harness/interactive.sh"
# shellcheck source=tests/harness/packages.sh
. "$harness/packages.sh"
# shellcheck source=tests/harness/checks.sh
. "$harness/checks.sh"
# shellcheck source=tests/harness/matrix.sh
. "$harness/matrix.sh"
# shellcheck source=tests/bench/bench.sh
. "$here/bench/bench.sh"
parse_options "$@"
mkdir -p "$logs" "$cache"

# A guest, a job or a half-made root is of no use without us.
cleanup() {
	progress_end
	kill_guests
	kill_jobs
	missing_verdict
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

exec 9>"$cache/lock"
flock -n 9 || { step "waiting for another run that uses $cache"; flock 9; }

case $mode in
demo | shell | bench | prepare | list)
	prepare_tools
	prepare "${specs[@]}"
	case $mode in
	demo) run_demo "${rels[0]}" ;;
	shell) run_shell "${rels[0]}" ;;
	bench) run_bench "${rels[@]}" ;;
	list) in_root /src/build/tests/bpf/runner --list ;;
	prepare) step "ready" ;;
	esac ;;
*)
	# A page that is not zeroed should look like it, which Debian's default hides.
	kernel_args+=" init_on_alloc=0"
	if [[ $mode = test* ]] && [ ${#globs[@]} -eq 0 ]; then
		whole_test
	else
		some_tests
	fi ;;
esac
