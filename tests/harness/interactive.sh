# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Guests to look at: the demo, and a shell. Sourced by run_qemu.sh.

run_demo() {
	local dir=$build/boot-demo rel=$1 why
	mkdir -p "$dir"
	make_initramfs "$dir" "$rel" demo demo --module /arena_nolock.ko
	step "booting a stock $rel"
	echo
	show_guest() { sed -u '/^end: /d'; }
	start_guest "$dir" "$rel"
	follow_guest "$dir"
	why=$(judge "$dir" "$qemu_code")
	if [ -n "$why" ]; then
		printf '\n%s\nLogs: %s\n\nDEMO FAILED\n' "$why" "$dir"
		exit 1
	fi
	printf '\nDEMO PASSED on %s in %d s\n' "$rel" $((SECONDS - started))
}

run_shell() {
	local dir=$build/boot-shell rel=$1 machine root root_name
	mkdir -p "$dir"
	make_initramfs "$dir" "$rel" runner setsid -c sh -c \
		'echo "insmod /arena_nolock.ko; runner --help; exit powers off"; exec sh -i'
	# Its console is this terminal, both ways; a splat does not end it.
	read -ra machine <<<"$(qemu_args "$rel")"
	use_root "$(guest_root "$rel")"
	in_root "${machine[@]}" -cpu "$(cpu_model "$rel")" -smp "$cpus" -m "$memory" \
		-display none -no-reboot -nic none -serial mon:stdio -serial null \
		-kernel "/cache/vmlinuz-$rel" -initrd "/src/build/boot-shell/initramfs.gz" \
		-append "$(arch_args "$rel") quiet arena_nolock.shell"
}
