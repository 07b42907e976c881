// SPDX-License-Identifier: GPL-2.0
/*
 * Compares the layout of the running kernel's structures with that of the kernel that the
 * module was built for.
 *
 * A release string does not identify a layout: distributions may rebuild under the same
 * release, and symbol versions do not cover structures that are private to a file. So
 * when the module is loaded, it looks up each offset that it uses in the BTF of the
 * running kernel.
 *
 * Most kernels export no function that searches BTF, so the module reads BTF from sysfs.
 * It mounts sysfs itself, since the loader's mount namespace may have no sysfs on /sys.
 * The kernel is trusted to have valid BTF. The parser refuses unknown kinds of types and
 * does not read beyond the end of the file.
 *
 * Owns nothing.
 *
 * Context: module init, process context.
 */
#define pr_fmt(fmt) "arena_nolock: " fmt

#include <linux/btf.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/mount.h>
#include <linux/slab.h>

#include "compat.h"
#include "stock_arena.h"

/* Relative to the root of sysfs. */
#define BTF_FILE "kernel/btf/vmlinux"

struct layout_btf {
	const void *types, *types_end;
	const char *strings;
	u32 strings_len;
};

/* Bytes for the name of a struct or a member, and the format that sscanf() fills them by. */
#define LAYOUT_NAME 48
#define LAYOUT_FORMAT "%47s %47s %u"

/* A member that the module uses. */
struct layout_want {
	char type[LAYOUT_NAME], member[LAYOUT_NAME];
	u32 offset;
	long seen;	/* its offset in the running kernel, or -1 */
};

static struct layout_want layout_wants[32] __initdata;
static u32 layout_nr __initdata;

static bool __init layout_open(struct layout_btf *b, const void *data, size_t size)
{
	const struct btf_header *h = data;

	/* Newer kernels may append members to the header. */
	if (size < sizeof(*h) || h->magic != BTF_MAGIC || h->hdr_len > size ||
	    h->hdr_len < offsetofend(struct btf_header, str_len))
		return false;
	size -= h->hdr_len;
	if (h->type_off > size || h->type_len > size - h->type_off ||
	    h->str_off > size || h->str_len > size - h->str_off || !h->str_len)
		return false;
	b->types = data + h->hdr_len + h->type_off;
	b->types_end = b->types + h->type_len;
	b->strings = data + h->hdr_len + h->str_off;
	b->strings_len = h->str_len;

	return !b->strings[b->strings_len - 1];
}

static const char *__init layout_name(const struct layout_btf *b, u32 off)
{
	return off < b->strings_len ? b->strings + off : "";
}

/* Bytes that follow struct btf_type, or -1 for an unknown kind of type. */
static long __init layout_tail(const struct btf_type *t)
{
	long vlen = btf_type_vlen(t);

	switch (BTF_INFO_KIND(t->info)) {
	case BTF_KIND_INT:
		return sizeof(u32);
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return vlen * sizeof(struct btf_member);
	case BTF_KIND_ENUM:
		return vlen * sizeof(struct btf_enum);
	case BTF_KIND_ENUM64:
		return vlen * sizeof(struct btf_enum64);
	case BTF_KIND_FUNC_PROTO:
		return vlen * sizeof(struct btf_param);
	case BTF_KIND_VAR:
		return sizeof(struct btf_var);
	case BTF_KIND_DATASEC:
		return vlen * sizeof(struct btf_var_secinfo);
	case BTF_KIND_DECL_TAG:
		return sizeof(struct btf_decl_tag);
	case BTF_KIND_PTR:
	case BTF_KIND_FWD:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_FUNC:
	case BTF_KIND_FLOAT:
	case BTF_KIND_TYPE_TAG:
		return 0;
	default:
		return -1;
	}
}

/* Offset of a member in bytes, or -1 if the struct has no such member. */
static long __init layout_offset(const struct layout_btf *b, const struct btf_type *t,
				 const char *member)
{
	const struct btf_member *m = btf_members(t);
	u32 i;

	for (i = 0; i < btf_type_vlen(t); i++, m++)
		if (!strcmp(layout_name(b, m->name_off), member))
			return __btf_member_bit_offset(t, m) / 8;

	return -1;
}

/* The kernel may have several structs of one name; one of them must match. */
static void __init layout_look(const struct layout_btf *b, const struct btf_type *t)
{
	const char *name = layout_name(b, t->name_off);
	struct layout_want *w;
	long off;

	for (w = layout_wants; w < layout_wants + layout_nr; w++) {
		if (w->seen == w->offset || strcmp(name, w->type))
			continue;
		off = layout_offset(b, t, w->member);
		if (off >= 0)
			w->seen = off;
	}
}

static int __init layout_walk(const struct layout_btf *b)
{
	const void *pos = b->types;

	while (pos < b->types_end) {
		const struct btf_type *t = pos;
		long left = b->types_end - pos - sizeof(*t);
		long tail = left >= 0 ? layout_tail(t) : 0;

		if (tail < 0) {
			pr_err("cannot check the layout of arenas: unknown kind of type %u in this kernel's BTF; a newer version of the module is needed\n",
			       BTF_INFO_KIND(t->info));
			return -EINVAL;
		}
		if (tail > left) {
			pr_err("cannot check the layout of arenas: this kernel's BTF ends within a type\n");
			return -EINVAL;
		}
		if (BTF_INFO_KIND(t->info) == BTF_KIND_STRUCT)
			layout_look(b, t);
		pos += sizeof(*t) + tail;
	}

	return 0;
}

static int __init layout_verdict(void)
{
	const struct layout_want *w;

	for (w = layout_wants; w < layout_wants + layout_nr; w++) {
		if (w->seen == w->offset)
			continue;
		if (w->seen < 0)
			pr_err("struct %s of this kernel has no %s, unlike in the kernel that the module was built for; rebuild the module for this kernel\n",
			       w->type, w->member);
		else
			pr_err("struct %s of this kernel has %s at %ld, but the module was built for a kernel that has it at %u; rebuild the module for this kernel\n",
			       w->type, w->member, w->seen, w->offset);
		return -ENOEXEC;
	}

	return 0;
}

/* Parse the list that scripts/gen-config.sh generated. */
static bool __init layout_list(void)
{
	const char *p;

	for (p = ANL_LAYOUT; *p; p = strchrnul(p, '\n') + 1) {
		struct layout_want *w = &layout_wants[layout_nr];

		if (layout_nr == ARRAY_SIZE(layout_wants) ||
		    sscanf(p, LAYOUT_FORMAT, w->type, w->member, &w->offset) != 3)
			return false;
		w->seen = -1;
		layout_nr++;
	}

	return layout_nr;
}

/* Read the whole file. Returns memory for kvfree(), or an error pointer. */
static void *__init layout_read_file(struct file *file, size_t *size)
{
	ssize_t n = 0;
	loff_t pos = 0;
	void *data;

	*size = i_size_read(file_inode(file));
	data = kvmalloc(*size, GFP_KERNEL);
	while (data && pos < *size && (n = kernel_read(file, data + pos, *size - pos, &pos)) > 0)
		cond_resched();
	if (data && pos == *size)
		return data;
	kvfree(data);

	return ERR_PTR(!data ? -ENOMEM : n < 0 ? n : -EIO);
}

/* The same for BTF_FILE. The synchronous fput allows kern_unmount() to free the mount. */
static void *__init layout_read(size_t *size)
{
	struct file_system_type *type = get_fs_type("sysfs");
	struct vfsmount *mnt;
	struct file *file;
	void *data;

	if (!type)
		return ERR_PTR(-ENODEV);
	mnt = kern_mount(type);
	/* Taken by get_fs_type(). */
	module_put(type->owner);
	if (IS_ERR(mnt))
		return ERR_CAST(mnt);
	file = file_open_root_mnt(mnt, BTF_FILE, O_RDONLY, 0);
	data = ERR_CAST(file);
	if (!IS_ERR(file)) {
		data = layout_read_file(file, size);
		__fput_sync(file);
	}
	kern_unmount(mnt);

	return data;
}

/**
 * anl_stock_check_layout() - compare the running kernel with the one built for
 *
 * Each error is reported in the log.
 *
 * Context: module init, process context.
 * Return: 0; -ENOEXEC if a structure has another layout; -EINVAL if the kernel's BTF or
 * the module's list cannot be parsed; or the error of reading BTF.
 */
int __init anl_stock_check_layout(void)
{
	struct layout_btf b;
	size_t size;
	void *data;
	int err;

	if (!layout_list()) {
		pr_err("cannot parse the module's list of structure members; rebuild the module\n");
		return -EINVAL;
	}
	data = layout_read(&size);
	if (IS_ERR(data)) {
		pr_err("cannot read " BTF_FILE " in sysfs, error %ld; the kernel needs CONFIG_DEBUG_INFO_BTF\n",
		       PTR_ERR(data));
		return PTR_ERR(data);
	}
	err = -EINVAL;
	if (layout_open(&b, data, size))
		err = layout_walk(&b) ?: layout_verdict();
	else
		pr_err(BTF_FILE " in sysfs does not hold BTF of a known format; a newer version of the module is needed\n");
	kvfree(data);

	return err;
}
