# SPDX-License-Identifier: GPL-2.0
#
#	make			build the module for the running kernel
#	make KDIR=<dir>		build it for another kernel, given its headers
#	make VMLINUX_BTF=<file>	with BTF from this vmlinux, or copy of /sys/kernel/btf/vmlinux
#	make modules_install	install the module for that kernel
#	make modules_uninstall	remove it
#	make dkms-install	build and install with DKMS, also for every new kernel
#	make dkms-remove	uninstall from DKMS
#	make tools		build arena_nolock-top in build/tools
#	make examples		build the examples in build/examples
#	make install-headers	install the headers for BPF programs and a pkg-config file,
#				below PREFIX=/usr/local
#	make uninstall-headers	remove them
#	make install-tools	install arena_nolock-top and arena_nolock-trace below PREFIX
#	make uninstall-tools	remove them
#	make uninstall		all of modules_uninstall, uninstall-headers, uninstall-tools, and
#				dkms-remove if there is dkms
#	make deb		build Debian packages in build/deb
#	make demo		boot a stock kernel and show the module at work
#	make test		shows that the module works: ten minutes without KVM
#	make test-all		make test and the rest of the matrix: an hour without KVM
#	make soak		a storm of everything at once, for MINUTES=10, SEED=the clock
#	make test-debug		all tests on kernels that check themselves
#	make bench		against the kernel's own arena (QUICK=1: two minutes)
#	make check		style, sparse, coccinelle, shellcheck, versions
#	make clean
#	make help		print this

KDIR ?= /lib/modules/$(shell uname -r)/build
PREFIX ?= /usr/local
VERSION := $(shell cat VERSION)
USR_SRC := /usr/src/arena_nolock-$(VERSION)

all: modules

# Kbuild makes the module's BTF from a file in the header directory, see scripts/kdir.sh. It
# exits with 0 if it cannot make BTF, and keeps BTF that was made from another file. So each
# build first deletes the module, and afterwards deletes a module that lacks BTF.
export VMLINUX_BTF
kbuild = +@args=$$(sh scripts/kdir.sh '$(KDIR)' '$(CURDIR)/build/kdir') && \
	$(MAKE) $$args M='$(CURDIR)' $(1)
check_btf = @sh scripts/check-btf.sh arena_nolock.ko

# Fails if the user may not write to a directory, or to the one in which it would be made.
writable = @dir='$(1)'; while [ ! -e "$$dir" ]; do dir=$$(dirname "$$dir"); done; \
	[ -w "$$dir" ] || { \
	echo "arena_nolock: you may not write to $(1); nothing was changed." \
	     "Use sudo make $(or $(MAKECMDGOALS),$@)." >&2; \
	exit 1; }

modules:
	@rm -f arena_nolock.ko
	$(call kbuild,modules)
	$(check_btf)

modules_install:
	$(check_btf)
	$(call writable,$(INSTALL_MOD_PATH)/lib/modules)
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules_install

# The headers tell the release. Those of the running kernel may be gone.
modules_uninstall:
	$(call writable,$(INSTALL_MOD_PATH)/lib/modules)
	@[ -e '$(KDIR)/Makefile' ] || [ '$(origin KDIR)' = file ] || { \
		echo "arena_nolock: no kernel headers at $(KDIR); nothing was changed." >&2; exit 1; }
	rel=$$(if [ -e '$(KDIR)/Makefile' ]; then \
		$(MAKE) -s --no-print-directory -C $(KDIR) kernelrelease; else uname -r; fi) && \
	rm -f $(INSTALL_MOD_PATH)/lib/modules/$$rel/updates/arena_nolock.ko* && \
	$(if $(INSTALL_MOD_PATH),true,depmod $$rel)

# Build with all warnings and sparse. "make check" does that for the kernels it tests with.
sparse:
	@rm -f arena_nolock.ko
	$(call kbuild,W=1 C=2 modules)
	$(check_btf)

check:
	tests/run_qemu.sh check

# Do not touch a source tree that belongs to a Debian package.
not_owned = @! dpkg-query -S $(USR_SRC) >/dev/null 2>&1 || { \
	echo "arena_nolock: $(USR_SRC) belongs to a Debian package; nothing was changed." \
	     "To use this source instead: apt purge arena-nolock-dkms" >&2; \
	exit 1; }

# Install the source for DKMS, also used by the Debian package.
SOURCE := Makefile Kbuild VERSION LICENSE dkms.conf
install-source:
	$(if $(DESTDIR),,$(not_owned))
	$(call writable,$(DESTDIR)$(USR_SRC))
	install -d $(DESTDIR)$(USR_SRC)/src $(DESTDIR)$(USR_SRC)/scripts
	install -m 644 $(SOURCE) $(DESTDIR)$(USR_SRC)
	install -m 644 $(filter-out src/anl_config.h,$(wildcard src/*.[ch])) $(DESTDIR)$(USR_SRC)/src
	install -m 755 scripts/*.sh $(DESTDIR)$(USR_SRC)/scripts

# Checks before dkms-install and dkms-remove change anything.
dkms-check:
	@command -v dkms >/dev/null || { \
		echo "arena_nolock: dkms not found; nothing was changed." \
		     "Install it (Debian: apt install dkms; Fedora: dnf install dkms)." >&2; \
		exit 1; }
	$(not_owned)
	$(call writable,$(USR_SRC))

# DKMS installs nothing beside a module of this version that it did not install.
dkms-alone:
	@found=$$(find /lib/modules -path '*/updates/arena_nolock.ko*' 2>/dev/null); \
	[ -z "$$found" ] || { \
		echo "arena_nolock: make modules_install has installed" $$found"; nothing was changed." \
		     "Remove it first: sudo make modules_uninstall (KDIR=<dir> for another kernel)" >&2; \
		exit 1; }

dkms-install: dkms-check dkms-alone dkms-remove
	$(MAKE) install-source
	dkms install arena_nolock/$(VERSION)

dkms-remove: dkms-check
	@! dkms status arena_nolock/$(VERSION) 2>/dev/null | grep -q ^arena_nolock || \
		dkms remove arena_nolock/$(VERSION) --all
	rm -rf $(USR_SRC)

tools:
	$(MAKE) -C tools

examples:
	$(MAKE) -C examples

install-headers:
	$(call writable,$(DESTDIR)$(PREFIX))
	install -d $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/share/pkgconfig
	install -m 644 include/*.h $(DESTDIR)$(PREFIX)/include
	sed -e 's,@PREFIX@,$(PREFIX),' -e 's,@VERSION@,$(VERSION),' packaging/arena_nolock.pc.in \
		> $(DESTDIR)$(PREFIX)/share/pkgconfig/arena_nolock.pc
	chmod 644 $(DESTDIR)$(PREFIX)/share/pkgconfig/arena_nolock.pc

uninstall-headers:
	$(call writable,$(DESTDIR)$(PREFIX))
	rm -f $(patsubst include/%,$(DESTDIR)$(PREFIX)/include/%,$(wildcard include/*.h)) \
		$(DESTDIR)$(PREFIX)/share/pkgconfig/arena_nolock.pc

install-tools:
	$(call writable,$(DESTDIR)$(PREFIX))
	$(MAKE) -C tools install

uninstall-tools:
	$(call writable,$(DESTDIR)$(PREFIX))
	$(MAKE) -C tools uninstall

uninstall: modules_uninstall uninstall-headers uninstall-tools
	! command -v dkms >/dev/null || $(MAKE) dkms-remove

help:
	@sed -n 's/^#\t\(.*\)/\1/p' Makefile | expand

# Builds a copy, since dpkg-buildpackage writes packages to the parent directory.
deb:
	@for tool in cc dpkg-buildpackage dh dh_dkms; do \
		command -v $$tool >/dev/null || { \
			echo "arena_nolock: $$tool not found." \
			     "Install it: apt install build-essential debhelper dh-dkms pkgconf" >&2; \
			exit 1; }; \
	done
	rm -rf build/deb
	mkdir -p build/deb/arena-nolock
	tar -c --exclude=./build --exclude=./.git . | tar -x -C build/deb/arena-nolock
	cd build/deb/arena-nolock && dpkg-buildpackage -us -uc -b
	rm -rf build/deb/arena-nolock
	@ls build/deb/*.deb

# What kbuild makes, for a clean without the headers.
built := *.o *.ko *.mod *.mod.c .*.o .*.cmd Module.symvers modules.order \
	src/*.o src/.*.o src/.*.cmd src/anl_config.h

clean:
	$(if $(wildcard $(KDIR)/Makefile),$(MAKE) -C $(KDIR) M=$(CURDIR) clean,rm -f $(built))
	rm -rf build

demo:
	tests/run_qemu.sh demo

test:
	tests/run_qemu.sh test

# Runs what make test runs first, and then the rest.
test-all:
	tests/run_qemu.sh test-all

test-debug:
	tests/run_qemu.sh test --kernel stable:debug --kernel backports:debug --test '*'

soak:
	tests/run_qemu.sh soak

bench:
	tests/run_qemu.sh bench

.PHONY: all modules modules_install modules_uninstall install-source install-headers \
	uninstall-headers install-tools uninstall-tools uninstall dkms-check dkms-alone \
	dkms-install dkms-remove tools examples deb sparse check clean demo test test-all test-debug \
	soak bench help
