# SPDX-License-Identifier: GPL-2.0
# How BPF programs become skeletons, for the makefiles of tests/bpf, tests/demo and
# tests/bench. All build in OUT and share the vmlinux.h that tests/bpf makes there.

common := $(dir $(lastword $(MAKEFILE_LIST)))
OUT ?= $(common)../../build/tests/bpf
CLANG ?= $(shell command -v clang-19 || command -v clang || echo clang)
BPFTOOL ?= bpftool
INCLUDE := $(common)../../include
HEADERS := $(wildcard *.h lib/*.h progs/*.h core/*.h $(common)lib/*.h $(INCLUDE)/*.h)

# The architecture, as <bpf/bpf_tracing.h> calls it.
TARGET_ARCH := $(patsubst aarch64,arm64,$(patsubst x86_64,x86,$(firstword $(subst -, ,$(shell $(CC) -dumpmachine)))))

# 6.12 refuses the sign-extending loads of v4 from arena memory.
BPF_CFLAGS := -g -O2 -Wall -Wextra -Werror -Wno-unused-parameter \
	-Wno-missing-declarations -Wno-address-of-packed-member -target bpf -mcpu=v3 \
	-D__TARGET_ARCH_$(TARGET_ARCH) -I$(OUT) -I. -I$(common)lib -I$(INCLUDE) \
	-idirafter /usr/include/$(shell $(CC) -print-multiarch)
CFLAGS ?= -g -O2
CFLAGS += -std=gnu11 -Wall -Wextra -Werror -Wno-unused-parameter -I$(OUT) -I. \
	-I$(common)lib -I$(INCLUDE)
LDLIBS := -lbpf -lelf -lz -lpthread

all:

$(OUT)/%.bpf.o: %.bpf.c $(HEADERS) | $(OUT)/vmlinux.h
	$(CLANG) $(BPF_CFLAGS) -c $< -o $@

$(OUT)/%.skel.h: $(OUT)/%.bpf.o
	$(BPFTOOL) gen skeleton $< name $*_bpf > $@.tmp
	mv $@.tmp $@

.PHONY: all
.SECONDARY:
