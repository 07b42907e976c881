// SPDX-License-Identifier: GPL-2.0
/*
 * A module and a kernel that do not fit each other: the load fails, the log says why, and
 * nothing of the module stays behind.
 *
 * The kernel is the running one. The test changes a copy of the module: it replaces a
 * string by another of the same length, such as the release that the module was built for,
 * the name of a symbol that it looks up, or an offset in its list.
 *
 * The group insmod loads a module that fits where /sys is missing.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oracle.h"
#include "runner.h"
#include "arena.h"

#define DOCTORED "/tmp/doctored.ko"

struct image {
	char *data;
	size_t size;
};

static bool image_read(struct image *im)
{
	int fd = open(module_path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	bool ok;

	if (fd < 0)
		return false;
	fstat(fd, &st);
	im->size = st.st_size;
	im->data = malloc(im->size);
	ok = im->data && read(fd, im->data, im->size) == (ssize_t)im->size;
	close(fd);

	return ok;
}

static bool image_write(const struct image *im)
{
	int fd = open(DOCTORED, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, im->data, im->size) == (ssize_t)im->size;

	return !close(fd) && ok;
}

/* Replace @old wherever it follows @before; returns how often. */
static int image_replace(struct image *im, const char *before, const char *old, const char *new)
{
	char *pos = im->data, *end = im->data + im->size;
	size_t n = strlen(old), len = strlen(before);
	int count = 0;

	while ((pos = memmem(pos, end - pos, old, n))) {
		if (pos - im->data >= (long)len && !memcmp(pos - len, before, len)) {
			memcpy(pos, new, n);
			count++;
		}
		pos += n;
	}

	return count;
}

/* The same for whole strings. What is before one need not be a string's end. */
static int image_replace_string(struct image *im, const char *old, const char *new)
{
	char *pos = im->data, *end = im->data + im->size;
	size_t n = strlen(old);
	int count = 0;

	while ((pos = memmem(pos, end - pos, old, n + 1))) {
		if (pos > im->data && !isprint((unsigned char)pos[-1])) {
			memcpy(pos, new, n);
			count++;
		}
		pos += n;
	}

	return count;
}

static bool unload(void)
{
	return wait_for(!mod_unload(), 10000);
}

/* Nothing is there, and the module that fits works as ever. */
static void check_traces(void)
{
	struct arena a;
	char *text;

	ASSERT(!mod_loaded(), "a part of the module is in sysfs");
	text = read_file("/proc/modules");
	ASSERT(text && !strstr(text, "arena_nolock "), "the module is in /proc/modules");
	ASSERT(!arena_open(&a, 16, 0), "programs can call the kfuncs");
	ASSERT_EQ(mod_load(""), 0, "load of the module that fits");
	ASSERT(arena_open(&a, 16, 0), "load of a program");
	ASSERT(arena_alloc(&a, SLEEPABLE, NULL, 16) == a.base, "alloc");
	arena_close(&a);
}

/* Load what was doctored, and see it refused. @says: what the log has to have. */
static void refused(struct image *im, int err, const char *says)
{
	bool said;
	long mark;
	int got;

	ASSERT(image_write(im), "cannot write " DOCTORED);
	ASSERT(unload(), "not removed");
	write_file("/dev/kmsg", "anl_test: expect refusal begin\n");
	mark = klog_mark();
	got = mod_load_file(DOCTORED, "");
	said = strstr(klog_since(mark), says);
	write_file("/dev/kmsg", "anl_test: expect refusal end\n");
	if (!got)
		unload();
	if (!said)
		printf("# the log has: %s\n", klog_since(mark));
	if (got == err && said)
		check_traces();
	if (!mod_loaded())
		mod_load("");
	unlink(DOCTORED);
	ASSERT_EQ(got, err, "error of the load");
	ASSERT(said, "the log does not say '%s'", says);
}

/* Where symbols have versions, the kernel leaves it at these and does not compare releases. */
TEST(misfit, vermagic, "the kernel refuses a module built for another configuration")
{
	struct image im;

	ASSERT(image_read(&im), "read");
	ASSERT(image_replace(&im, "", " mod_unload ", " mod_unloab "), "no vermagic");
	refused(&im, -ENOEXEC, "version magic");
}

TEST(misfit, release, "the module refuses another release even if its vermagic fits")
{
	struct utsname uts;
	char other[65];
	struct image im;

	uname(&uts);
	strcpy(other, uts.release);
	other[0]++;
	ASSERT(image_read(&im), "read");
	ASSERT(image_replace_string(&im, uts.release, other), "no release");
	refused(&im, -ENOEXEC, "arena_nolock: built for kernel ");
}

TEST(misfit, offset, "the module refuses a kernel of the same release whose arena has a member at another offset")
{
	struct image im;
	char *pos;

	ASSERT(image_read(&im), "read");
	pos = memmem(im.data, im.size, "bpf_arena user_vm_end ", 22);
	ASSERT(pos && (pos = strchr(pos, '\n')), "no list of members");
	pos[-1] = pos[-1] == '9' ? '0' : pos[-1] + 1;
	refused(&im, -ENOEXEC, "struct bpf_arena of this kernel has user_vm_end at ");
}

TEST(misfit, member, "the module refuses a kernel of the same release whose arena lacks a member")
{
	struct image im;

	ASSERT(image_read(&im), "read");
	ASSERT(image_replace(&im, "", "bpf_arena kern_vm ", "bpf_arena kern_wm "), "list");
	refused(&im, -ENOEXEC, "struct bpf_arena of this kernel has no kern_wm");
}

TEST(misfit, struct_gone, "the module refuses a kernel of the same release that lacks a struct")
{
	struct image im;

	ASSERT(image_read(&im), "read");
	ASSERT(image_replace(&im, "", "vma_list head ", "vma_lost head "), "list");
	refused(&im, -ENOEXEC, "struct vma_lost of this kernel has no head");
}

TEST(misfit, no_kernel_btf, "the module refuses a kernel that does not show its BTF")
{
	struct image im;

	ASSERT(image_read(&im), "read");
	ASSERT(image_replace_string(&im, "kernel/btf/vmlinux", "kernel/btf/nothing"), "name");
	refused(&im, -ENOENT, "arena_nolock: cannot read kernel/btf/");
}

TEST(misfit, odd_kernel_btf, "the module refuses a kernel whose BTF it cannot parse")
{
	struct image im;

	ASSERT(image_read(&im), "read");
	/* A file of the same directory that is none. */
	ASSERT(image_replace_string(&im, "kernel/btf/vmlinux", "kernel///////notes"), "name");
	refused(&im, -EINVAL, "does not hold BTF");
}

/* Load the module from a process with namespaces of its own, and see whether that worked. */
static int load_in(int flags, bool hide)
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		if (unshare(flags) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
			_exit(100);
		if (umount2("/sys", MNT_DETACH))
			_exit(101);
		if (hide && mount("hidden", "/sys", "tmpfs", 0, NULL))
			_exit(102);
		if (!access("/sys/kernel/btf/vmlinux", F_OK))
			_exit(103);
		_exit(-mod_load_file(module_path, ""));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 99;

	return WEXITSTATUS(status);
}

/* What a container has that loads modules. */
static void check_load_in(int flags, bool hide, const char *what)
{
	struct arena a;
	int err;

	ASSERT(unload(), "%s: not removed", what);
	err = load_in(flags, hide);
	if (!err && arena_open(&a, 16, 0)) {
		if (arena_alloc(&a, SLEEPABLE, NULL, 16) != a.base)
			test_fail(__FILE__, __LINE__, "%s: alloc", what);
		arena_close(&a);
	} else {
		test_fail(__FILE__, __LINE__, "%s: load: error %d", what, err);
	}
	if (!mod_loaded())
		mod_load("");
}

TEST(insmod, no_sys, "the module loads in a mount namespace without /sys")
{
	check_load_in(CLONE_NEWNS, false, "nothing at /sys");
}

TEST(insmod, other_sys, "the module loads in a mount namespace that has something else at /sys")
{
	check_load_in(CLONE_NEWNS, true, "a tmpfs at /sys");
}

/* Sysfs has a superblock for each network namespace. That of this one is a new one. */
TEST(insmod, other_net, "the module loads in a network namespace that has no sysfs yet")
{
	if (access("/proc/self/ns/net", F_OK))
		SKIP("this kernel has no network namespaces");
	check_load_in(CLONE_NEWNS | CLONE_NEWNET, false, "a network namespace");
}

TEST(misfit, no_btf, "the module refuses to load without BTF of its own")
{
	struct image im;

	ASSERT(image_read(&im), "read");
	ASSERT(image_replace_string(&im, ".BTF", ".XTF"), "no such section");
	refused(&im, -ENOEXEC, "arena_nolock: the module has no BTF");
}

TEST(misfit, no_init_mm, "the module refuses a kernel without KALLSYMS_ALL")
{
	struct image im;

	ASSERT(image_read(&im), "read");
	ASSERT(image_replace_string(&im, "init_mm", "init_mn"), "name");
	refused(&im, -ENOENT,
		"arena_nolock: cannot find init_mm; the kernel needs CONFIG_KALLSYMS_ALL");
}

TEST(misfit, no_flush, "the module refuses a kernel that has no function to flush the TLB")
{
	struct image im;

#ifndef __x86_64__
	SKIP("the function is inline on this architecture");
#endif
	ASSERT(image_read(&im), "read");
	ASSERT(image_replace_string(&im, "flush_tlb_kernel_range", "flush_tlb_kernel_ranch"),
	       "name");
	refused(&im, -ENOENT, "arena_nolock: cannot find flush_tlb_kernel_range");
}

TEST(misfit, no_kprobes, "the module refuses a kernel without KPROBES")
{
	struct image im;

	ASSERT(image_read(&im), "read");
	ASSERT(image_replace(&im, "", "register_kprobe", "register_kprobo"), "name");
	refused(&im, -ENOENT, "register_kprobo (err -2)");
}
