# SPDX-License-Identifier: GPL-2.0
#
#	make			build the module for the running kernel
#	make KDIR=<dir>		build it for another kernel, given its headers
#	make VMLINUX_BTF=<file>	with BTF from this vmlinux, or copy of /sys/kernel/btf/vmlinux
#	make modules_install	install it for that kernel
#	make dkms-install	have DKMS build and install it, for each new kernel too
#	make dkms-remove	and take it away again
#	make tools		arena_nolock-top, in build/tools
#	make examples		in build/examples
#	make install-headers	for BPF programs, with a pkg-config file; PREFIX=/usr/local
#	make deb		Debian packages, in build/deb
#	make demo		boot a stock kernel and show the module at work
#	make test		all tests on all kernels of the matrix
#	make soak		a storm of everything at once, for MINUTES=10, SEED=the clock
#	make test-debug		all tests on kernels that check themselves
#	make bench		against the kernel's own arena (QUICK=1: two minutes)
#	make check		style, sparse, coccinelle, shellcheck, versions
#	make clean

KDIR ?= /lib/modules/$(shell uname -r)/build
PREFIX ?= /usr/local
VERSION := $(shell cat VERSION)
USR_SRC := /usr/src/arena_nolock-$(VERSION)

all: modules

# Kbuild makes the module's BTF from a file in the header directory, see scripts/kdir.sh.
# Kbuild ends with 0 if it cannot, and keeps BTF that was made from another file. So each
# build starts without the module, and deletes a module that lacks BTF.
export VMLINUX_BTF
kbuild = +@args=$$(sh scripts/kdir.sh '$(KDIR)' '$(CURDIR)/build/kdir') && \
	$(MAKE) $$args M='$(CURDIR)' $(1)
check_btf = @sh scripts/check-btf.sh arena_nolock.ko

modules:
	@rm -f arena_nolock.ko
	$(call kbuild,modules)
	$(check_btf)

modules_install:
	$(check_btf)
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules_install

# Without warnings, and with sparse; check does it for kernels of its own.
sparse:
	@rm -f arena_nolock.ko
	$(call kbuild,W=1 C=2 modules)
	$(check_btf)

check:
	tests/run_qemu.sh check

# The source tree of a Debian package is that package's.
not_owned = @! dpkg-query -S $(USR_SRC) >/dev/null 2>&1 || { \
	echo "arena_nolock: $(USR_SRC) belongs to a Debian package; nothing was changed." \
	     "To use this source instead: apt purge arena-nolock-dkms" >&2; \
	exit 1; }

# The source as DKMS wants it, for "dkms add" and for Debian's package.
SOURCE := Makefile Kbuild VERSION LICENSE dkms.conf
install-source:
	$(if $(DESTDIR),,$(not_owned))
	install -d $(DESTDIR)$(USR_SRC)/src $(DESTDIR)$(USR_SRC)/scripts
	install -m 644 $(SOURCE) $(DESTDIR)$(USR_SRC)
	install -m 644 $(filter-out src/anl_config.h,$(wildcard src/*.[ch])) $(DESTDIR)$(USR_SRC)/src
	install -m 755 scripts/*.sh $(DESTDIR)$(USR_SRC)/scripts

# Before anything is changed.
dkms-check:
	@command -v dkms >/dev/null || { \
		echo "arena_nolock: dkms not found; nothing was changed." \
		     "Install it (Debian: apt install dkms; Fedora: dnf install dkms)." >&2; \
		exit 1; }
	$(not_owned)

dkms-install: dkms-remove
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
	install -d $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/share/pkgconfig
	install -m 644 include/*.h $(DESTDIR)$(PREFIX)/include
	sed -e 's,@PREFIX@,$(PREFIX),' -e 's,@VERSION@,$(VERSION),' packaging/arena_nolock.pc.in \
		> $(DESTDIR)$(PREFIX)/share/pkgconfig/arena_nolock.pc
	chmod 644 $(DESTDIR)$(PREFIX)/share/pkgconfig/arena_nolock.pc

# A copy is built, since the results come to lie beside it.
deb:
	@for tool in cc dpkg-buildpackage dh dh_dkms; do \
		command -v $$tool >/dev/null || { \
			echo "arena_nolock: $$tool not found." \
			     "Install it: apt install build-essential debhelper dh-dkms" >&2; \
			exit 1; }; \
	done
	rm -rf build/deb
	mkdir -p build/deb/arena-nolock
	tar -c --exclude=./build --exclude=./.git . | tar -x -C build/deb/arena-nolock
	cd build/deb/arena-nolock && dpkg-buildpackage -us -uc -b
	rm -rf build/deb/arena-nolock
	@ls build/deb/*.deb

clean:
	$(MAKE) -C $(KDIR) M=$(CURDIR) clean
	rm -rf build

demo:
	tests/run_qemu.sh demo

test:
	tests/run_qemu.sh test

test-debug:
	tests/run_qemu.sh test --kernel stable:debug --kernel backports:debug --test '*'

soak:
	tests/run_qemu.sh soak

bench:
	tests/run_qemu.sh bench

.PHONY: all modules modules_install install-source install-headers dkms-check dkms-install \
	dkms-remove tools examples deb sparse check clean demo test test-debug soak bench
