# SPDX-License-Identifier: GPL-2.0
#
#	make			build the module for the running kernel
#	make KDIR=<dir>		build it for another kernel, given its headers
#	make modules_install	install it for that kernel
#	make demo		boot a stock kernel and show the module at work
#	make test		all tests on all kernels of the matrix
#	make soak		a storm of everything at once, for MINUTES=10, SEED=the clock
#	make test-debug		all tests on kernels that check themselves
#	make bench		against the kernel's own arena (QUICK=1: two minutes)
#	make check		warning-free build and sparse, for KDIR
#	make clean

KDIR ?= /lib/modules/$(shell uname -r)/build

all: modules

modules modules_install:
	@test -e $(KDIR)/Makefile || { \
		echo "arena_nolock: no kernel headers at $(KDIR)." \
		     "Install them (Debian: apt install linux-headers-\$$(uname -r)) or name others: make KDIR=<dir>" >&2; \
		exit 1; }
	$(MAKE) -C $(KDIR) M=$(CURDIR) $@

check:
	$(MAKE) -C $(KDIR) M=$(CURDIR) W=1 C=2 modules

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

.PHONY: all modules modules_install check clean demo test test-debug soak bench
