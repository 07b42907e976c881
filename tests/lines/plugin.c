// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin for QEMU that records which cache lines of memory each CPU accesses while it is in
 * certain functions of the kernel, with everything that they call. The kernel and the module
 * are those that are shipped.
 *
 * A call starts with the execution of the function's address. The last 64-bit store before it
 * has pushed the return address, and execution of that address ends the call. An interrupt in
 * between would be recorded too, so callers have interrupts off.
 *
 * A directory tells which CPUs have a copy of a line, as if caches were infinite. All accesses
 * of kernel code update it: a store invalidates the copies of other CPUs, a load adds one. An
 * access is a transfer if it invalidates a copy, or finds the line with other CPUs only.
 *
 * QEMU does not report what a CPU stores by itself, namely the frame of an exception and the
 * bits "accessed" and "dirty" of PTEs, nor what devices store.
 *
 * CPUs run in threads of their own. Each has its own part of the shared memory. Accesses to the
 * directory are atomic.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lines_shm.h"
#include "qemu_plugin.h"

/* Addresses of the kernel have this bit set. */
#define KERNEL (1ULL << 63)

/* Lines in 16 GiB of physical memory. Those above are never transfers. */
#define NR_LINES (1ULL << (34 - LINES_SHIFT))

EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

/**
 * struct cpu - where a CPU is
 * @pushed: the last 64-bit value that it stored
 * @ret: the return address of the call that is recorded, or 0
 */
struct cpu {
	uint64_t pushed;
	uint64_t ret;
} __attribute__((aligned(64)));

static struct cpu cpus[LINES_CPUS];
static struct lines_shm *shm;
/* For each line, a bit for each CPU that has a copy. */
static uint8_t *directory;

/* Returns whether the access is a transfer. */
static bool update_directory(unsigned int nr, uint64_t line, bool store)
{
	uint8_t me = 1U << nr, old;

	if (line >= NR_LINES)
		return false;
	if (store)
		return __atomic_exchange_n(&directory[line], me, __ATOMIC_RELAXED) & ~me;
	old = __atomic_fetch_or(&directory[line], me, __ATOMIC_RELAXED);

	return old && !(old & me);
}

static struct lines_line *find(struct lines_cpu *set, uint64_t line)
{
	uint32_t i;

	for (i = 0; i < LINES_SLOTS; i++) {
		struct lines_line *l = &set->line[lines_slot(line, i)];

		if (!l->line)
			l->line = line;
		if (l->line == line)
			return l;
	}
	set->lost++;

	return NULL;
}

static void add_pc(struct lines_line *l, uint64_t pc)
{
	int i;

	for (i = 0; i < LINES_PCS && l->pc[i] && l->pc[i] != pc; i++)
		;
	if (i < LINES_PCS)
		l->pc[i] = pc;
}

static void access_line(unsigned int nr, uint64_t line, uint64_t vaddr, uint64_t pc, bool store)
{
	bool transfer = update_directory(nr, line, store);
	struct lines_line *l;

	if (!cpus[nr].ret || (!store && !transfer))
		return;
	l = find(&shm->cpu[nr], line + 1);
	if (!l)
		return;
	if (!l->vaddr)
		l->vaddr = vaddr;
	l->writes += store;
	l->transfers += transfer;
	add_pc(l, pc);
}

static void accessed(unsigned int nr, qemu_plugin_meminfo_t info, uint64_t vaddr, void *data)
{
	bool store = qemu_plugin_mem_is_store(info);
	unsigned int size = 1U << qemu_plugin_mem_size_shift(info);
	struct qemu_plugin_hwaddr *hwaddr;
	uint64_t phys, last;

	if (nr >= LINES_CPUS)
		return;
	if (store && size == sizeof(uint64_t))
		cpus[nr].pushed = qemu_plugin_mem_get_value(info).data.u64;
	if (!shm->on)
		return;
	hwaddr = qemu_plugin_get_hwaddr(info, vaddr);
	if (!hwaddr || qemu_plugin_hwaddr_is_io(hwaddr))
		return;

	if (store && cpus[nr].ret)
		shm->cpu[nr].stores++;
	phys = qemu_plugin_hwaddr_phys_addr(hwaddr);
	last = phys + size - 1;
	access_line(nr, phys >> LINES_SHIFT, vaddr, (uint64_t)data, store);
	if (last >> LINES_SHIFT != phys >> LINES_SHIFT)
		access_line(nr, last >> LINES_SHIFT, vaddr + size - 1, (uint64_t)data, store);
}

/* A call starts a block of instructions, and so does a return. */
static void executed(unsigned int nr, void *data)
{
	uint64_t pc = (uint64_t)data;
	int i;

	if (nr >= LINES_CPUS)
		return;
	if (cpus[nr].ret) {
		if (pc == cpus[nr].ret)
			cpus[nr].ret = 0;
		return;
	}
	for (i = 0; i < LINES_ENTRIES && shm->on; i++) {
		if (pc == shm->entry[i]) {
			cpus[nr].ret = cpus[nr].pushed;
			shm->cpu[nr].calls++;
		}
	}
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	uint64_t start = qemu_plugin_tb_vaddr(tb);
	size_t i;

	if (!(start & KERNEL))
		return;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, QEMU_PLUGIN_CB_NO_REGS, (void *)start);
	for (i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		qemu_plugin_register_vcpu_mem_cb(insn, accessed, QEMU_PLUGIN_CB_NO_REGS,
						 QEMU_PLUGIN_MEM_RW,
						 (void *)qemu_plugin_insn_vaddr(insn));
	}
}

/* The argument is "shm=FILE". */
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc,
			       char **argv)
{
	int fd = argc == 1 && !strncmp(argv[0], "shm=", 4) ? open(argv[0] + 4, O_RDWR) : -1;

	if (fd < 0)
		return -1;
	shm = mmap(NULL, sizeof(*shm), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	directory = mmap(NULL, NR_LINES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (shm == MAP_FAILED || directory == MAP_FAILED)
		return -1;
	shm->ready = LINES_READY;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);

	return 0;
}
