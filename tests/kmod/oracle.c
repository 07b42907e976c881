// SPDX-License-Identifier: GPL-2.0
/*
 * The oracle: does an adopted arena look as docs/design.md says it always does?
 *
 * A write of "FD REST" to /proc/anl_oracle checks the arena behind a map's file
 * descriptor, and a read of the same open file gives the verdict: "ok" with counts,
 * "bad" with the violations, one a line, "stock" for an arena that was never adopted,
 * or "busy" while it is being adopted. REST is 1 if no call runs on the arena and
 * its queue is empty; then each slot is in a lasting state, and all counts are exact.
 * With 0 the oracle checks only what holds at any instant.
 *
 * All CPUs are stopped while the arena's books are copied and compared with page
 * tables and pages. So whatever an operation does with interrupts off is done or not
 * begun, and what is seen is one instant. An NMI can still come in between, on a CPU
 * that waits; so a snapshot that shows something wrong is not believed until others
 * show it as well.
 *
 * Nothing of the module under test is called or changed. Its data is read as arena.h
 * declares it, and the tree by the functions of its own source, built into this
 * module.
 *
 * Locks: oracle_mutex serialises checks. The map and the processes are kept by
 * references.
 */
#include <linux/bpf.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kallsyms.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pgtable.h>
#include <linux/proc_fs.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/stop_machine.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "oracle_tree.h"
#include "anl_config.h"
#include "anl_test.h"
#include "arena.h"
#include "tree_check.h"

#define ORACLE_TEXT	PAGE_SIZE
/* Violations that are described; the others are counted. */
#define ORACLE_LINES	10
/* Snapshots that have to agree on a violation. */
#define ORACLE_TRIES	4
#define ORACLE_MMS	512

/* What can be wrong at an instant; found while all CPUs are stopped. */
enum oracle_wrong {
	WRONG_TABLE,
	WRONG_PTE,
	WRONG_PTE_FLAGS,
	WRONG_FREED_PAGE,
	WRONG_REFS,
	WRONG_MAPCOUNT,
	WRONG_CHARGE,
	WRONG_USER_PTE,
	WRONG_USER_PAGE,
	WRONG_POOL_EMPTY,
	WRONG_POOL_REFS,
	WRONG_POOL_DIRTY,
	WRONG_STANDBY_EMPTY,
	WRONG_STANDBY_REFS,
	WRONG_STANDBY_DIRTY,
	WRONG_STANDBY_CHARGE,
};

static const char *const oracle_wrong_text[] = {
	[WRONG_TABLE] = "the page tables do not lead to its PTE",
	[WRONG_PTE] = "its PTE is neither none nor present",
	[WRONG_PTE_FLAGS] = "its PTE is not writable",
	[WRONG_FREED_PAGE] = "its page is free memory",
	[WRONG_REFS] = "references on its page, and user PTEs",
	[WRONG_MAPCOUNT] = "user mappings counted by its page, and user PTEs",
	[WRONG_CHARGE] = "its page is charged to a memory cgroup that is not the map's",
	[WRONG_USER_PTE] = "a user PTE is not present",
	[WRONG_USER_PAGE] = "a user PTE has another page than the slot",
	[WRONG_POOL_EMPTY] = "of the pool is marked, but has no page",
	[WRONG_POOL_REFS] = "of the pool has a page with references, and user mappings",
	[WRONG_POOL_DIRTY] = "of the pool has a page that is not zero",
	[WRONG_STANDBY_EMPTY] = "of the standby is marked, but has no page",
	[WRONG_STANDBY_REFS] = "of the standby has a page with references, and user mappings",
	[WRONG_STANDBY_DIRTY] = "of the standby has a page that is not zero",
	[WRONG_STANDBY_CHARGE] = "of the standby has a page charged to another memory cgroup",
};

struct oracle_finding {
	enum oracle_wrong what;
	u32 slot;
	int have;
	int want;
};

struct oracle {
	struct bpf_map *map;
	struct anl_arena *a;
	bool rest;

	/* Copied at one instant. */
	unsigned long *live;
	unsigned long *dying;
	unsigned long *cached;
	pte_t *pte;
	u16 *users;		/* user PTEs of each slot */
	struct anl_tree rt;
	void *rt_mem;
	u32 spares[ANL_NR_SPARES];
	struct page **pool;
	unsigned long *pool_map;	/* of all nodes */
	struct anl_pool_node *pool_nodes;
	int pool_nr;
	u32 pool_target;
	struct page **standby;		/* those that are marked */
	u32 nr_standby;
	long nr_populated;
	int kicked;
	int draining;
	u64 stock_start;
	u64 stock_end;
	bool stock_tree;	/* the stock arena has free ranges of its own */
	u32 nr_discard;
	struct page *discard[64];
	struct mm_struct **mms;
	struct vm_area_struct **vmas;	/* the arena's in each of @mms, or NULL */
	u32 nr_mms;
	struct oracle_finding found[ORACLE_LINES];
	u32 nr_found;

	/* The verdict. */
	char *text;
	size_t len;
	u32 nr_bad;
};

static DEFINE_MUTEX(oracle_mutex);

static __printf(2, 3) void bad(struct oracle *o, const char *fmt, ...)
{
	va_list ap;

	if (o->nr_bad++ >= ORACLE_LINES)
		return;
	va_start(ap, fmt);
	o->len += vscnprintf(o->text + o->len, ORACLE_TEXT - o->len, fmt, ap);
	va_end(ap);
	o->len += scnprintf(o->text + o->len, ORACLE_TEXT - o->len, "\n");
}

/*
 * With all CPUs stopped
 */

static void found(struct oracle *o, enum oracle_wrong what, u32 slot, int have, int want)
{
	if (o->nr_found < ORACLE_LINES)
		o->found[o->nr_found] = (struct oracle_finding){ what, slot, have, want };
	o->nr_found++;
}

/* The page of a PTE of the kernel's; the scratch page is none. */
static struct page *oracle_page(const struct oracle *o, pte_t pte)
{
	struct page *page = pte_present(pte) ? pte_page(pte) : NULL;

	return page && page != o->a->pgtable.scratch ? page : NULL;
}

static struct mem_cgroup *oracle_not_root(struct mem_cgroup *memcg)
{
#ifdef CONFIG_MEMCG
	return memcg && memcg->css.parent ? memcg : NULL;
#else
	return NULL;
#endif
}

/* A page of the arena is charged to the map's memcg, or, from a stock arena, to none. */
static bool oracle_charged_elsewhere(const struct oracle *o, struct page *page)
{
#ifdef CONFIG_MEMCG
	struct mem_cgroup *memcg = oracle_not_root(folio_memcg(page_folio(page)));

	return memcg && (!o->map->objcg || memcg != obj_cgroup_memcg(o->map->objcg));
#else
	return false;
#endif
}

static void oracle_take_ptes(struct oracle *o)
{
	struct anl_arena *a = o->a;
	u32 slot = 0, i, n;

	while (slot < a->nr_slots) {
		unsigned long addr = anl_kaddr(a, slot);
		unsigned long table = (addr >> PMD_SHIFT) - (a->kern_start >> PMD_SHIFT);
		bool looked = false;

		n = min(a->nr_slots - slot, (u32)(PTRS_PER_PTE - pte_index(addr)));
		memcpy(o->pte + slot, a->pgtable.tables[table] + pte_index(addr),
		       n * sizeof(pte_t));
		for (i = slot; i < slot + n; i++) {
			pte_t pte = o->pte[i];

			if (pte_none(pte))
				continue;
			if (!pte_present(pte)) {
				found(o, WRONG_PTE, i, 0, 0);
				continue;
			}
			/* Once per table, since this walks from the top. */
			if (!looked && vmalloc_to_page((void *)anl_kaddr(a, i)) != pte_page(pte))
				found(o, WRONG_TABLE, i, 0, 0);
			looked = true;
			if (!oracle_page(o, pte))
				continue;
			if (!pte_write(pte))
				found(o, WRONG_PTE_FLAGS, i, 0, 0);
			if (!page_ref_count(pte_page(pte)))
				found(o, WRONG_FREED_PAGE, i, 0, 0);
			else if (oracle_charged_elsewhere(o, pte_page(pte)))
				found(o, WRONG_CHARGE, i, 0, 0);
		}
		slot += n;
	}
}

/* The PTE table of a user address, or NULL. */
static pte_t *oracle_user_table(struct mm_struct *mm, unsigned long addr)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	if (pgd_none(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, addr);
	if (p4d_none(*p4d))
		return NULL;
	pud = pud_offset(p4d, addr);
	if (pud_none(*pud) || pud_leaf(*pud))
		return NULL;
	pmd = pmd_offset(pud, addr);
	if (pmd_none(*pmd) || pmd_leaf(*pmd))
		return NULL;

	return pte_offset_kernel(pmd, addr & PMD_MASK);
}

static void oracle_take_user_pte(struct oracle *o, u32 slot, pte_t pte)
{
	struct page *page = oracle_page(o, o->pte[slot]);

	if (pte_none(pte))
		return;
	o->users[slot]++;
	if (!pte_present(pte))
		found(o, WRONG_USER_PTE, slot, 0, 0);
	else if (test_bit(slot, o->live) && pte_page(pte) != page)
		found(o, WRONG_USER_PAGE, slot, 0, 0);
}

static void oracle_take_users(struct oracle *o, struct mm_struct *mm)
{
	struct anl_arena *a = o->a;
	u32 slot = 0, i, n;

	while (slot < a->nr_slots) {
		unsigned long addr = anl_uaddr(a, slot);
		pte_t *table = oracle_user_table(mm, addr);

		n = min(a->nr_slots - slot, (u32)(PTRS_PER_PTE - pte_index(addr)));
		for (i = 0; table && i < n; i++)
			oracle_take_user_pte(o, slot + i, ptep_get(table + pte_index(addr) + i));
		slot += n;
	}
}

/*
 * The arena's mapping in a process. A mapping that was just removed from the tree is
 * not freed yet.
 */
static struct vm_area_struct *oracle_vma(const struct oracle *o, struct mm_struct *mm)
{
	struct vm_area_struct *vma = mtree_load(&mm->mm_mt, o->a->user_start);

	if (!vma || vma->vm_start != o->a->user_start || !vma->vm_file ||
	    vma->vm_file->private_data != o->map)
		return NULL;

	return vma;
}

/* References to the pages; exact only at rest. */
static void oracle_take_refs(struct oracle *o)
{
	u32 slot;

	for (slot = 0; slot < o->a->nr_slots; slot++) {
		struct page *page = oracle_page(o, o->pte[slot]);
		int users = o->users[slot];

		if (!page)
			continue;
		/* The kernel may keep a reference on a page with a memory error. */
		if (page_ref_count(page) != 1 + users && !PageHWPoison(page))
			found(o, WRONG_REFS, slot, page_ref_count(page) - 1, users);
		if (folio_mapcount(page_folio(page)) != users)
			found(o, WRONG_MAPCOUNT, slot, folio_mapcount(page_folio(page)), users);
	}
}

static struct anl_pool_node *oracle_node(const struct oracle *o, int nid)
{
	return (void *)o->pool_nodes + nid * (size_t)o->a->pool.node_size;
}

/* What is counted, of a node or of all, and what CPUs have credit for. */
static int oracle_pool_nr(const struct anl_arena *a, int nid, int nr)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		const struct anl_pool_cpu *c = per_cpu_ptr(a->pool.cpu, cpu);

		if (nid == NUMA_NO_NODE || nid == c->nid)
			nr += c->credit;
	}

	return nr;
}

/* A page that is ready for a caller. */
static void oracle_take_ready(struct oracle *o, struct page *page, u32 i, enum oracle_wrong refs,
			      enum oracle_wrong dirty)
{
	int users = folio_mapcount(page_folio(page));

	if (PageHWPoison(page))
		return;
	if (page_ref_count(page) != 1 || users)
		found(o, refs, i, page_ref_count(page), users);
	else if (memchr_inv(page_address(page), 0, PAGE_SIZE))
		found(o, dirty, i, 0, 0);
}

static void oracle_take_standby(struct oracle *o)
{
	const struct anl_pool *pool = &o->a->standby->pool;
	struct anl_pool_node *node;
	u32 i, w, bit;

	o->nr_standby = 0;
	for (i = 0; pool->max && i < nr_node_ids; i++) {
		node = (void *)pool->nodes + i * (size_t)pool->node_size;
		for (w = 0; w < pool->max; w++) {
			bit = w % BITS_PER_LONG;
			if (!(node->map[w / BITS_PER_LONG].bits & BIT(bit)))
				continue;
			if (!pool->pages[w]) {
				found(o, WRONG_STANDBY_EMPTY, w, 0, 0);
				continue;
			}
			oracle_take_ready(o, pool->pages[w], w, WRONG_STANDBY_REFS,
					  WRONG_STANDBY_DIRTY);
			if (oracle_charged_elsewhere(o, pool->pages[w]))
				found(o, WRONG_STANDBY_CHARGE, w, 0, 0);
			o->standby[o->nr_standby++] = pool->pages[w];
		}
	}
}

static void oracle_take_pool(struct oracle *o)
{
	struct anl_arena *a = o->a;
	u32 i, w;

	o->pool_nr = oracle_pool_nr(a, NUMA_NO_NODE, atomic_read(&a->pool.nr));
	o->pool_target = a->pool.target;
	if (!a->pool.max)
		return;
	memcpy(o->pool, a->pool.pages, a->pool.max * sizeof(*o->pool));
	memcpy(o->pool_nodes, a->pool.nodes, (size_t)nr_node_ids * a->pool.node_size);
	bitmap_zero(o->pool_map, a->pool.max);
	for (i = 0; i < nr_node_ids; i++)
		for (w = 0; w < BITS_TO_LONGS(a->pool.max); w++)
			o->pool_map[w] |= oracle_node(o, i)->map[w].bits;
	for_each_set_bit(i, o->pool_map, a->pool.max) {
		if (o->pool[i])
			oracle_take_ready(o, o->pool[i], i, WRONG_POOL_REFS, WRONG_POOL_DIRTY);
		else
			found(o, WRONG_POOL_EMPTY, i, 0, 0);
	}
}

/* Adoption takes the range tree away, so that no stock allocation can find a range. */
static bool oracle_stock_tree(const struct oracle *o)
{
#ifdef ANL_OFF_bpf_arena_rt
	char *rt = (char *)o->map - ANL_OFF_bpf_arena_map + ANL_OFF_bpf_arena_rt;

	return !RB_EMPTY_ROOT((struct rb_root *)(rt + ANL_OFF_range_tree_it_root)) ||
	       !RB_EMPTY_ROOT((struct rb_root *)(rt + ANL_OFF_range_tree_range_size_root));
#else
	return false;
#endif
}

static long oracle_nr_populated(const struct anl_arena *a)
{
	long nr = atomic_long_read(&a->pgtable.nr_populated);
	int cpu;

	for_each_possible_cpu(cpu)
		nr += *per_cpu_ptr(a->pgtable.populated, cpu);

	return nr;
}

static int oracle_take(void *data)
{
	struct oracle *o = data;
	struct anl_arena *a = o->a;
	struct llist_node *node;
	u32 i;

	rcu_read_lock();
	o->nr_found = 0;
	for (i = 0; i < ANL_NR_GROUPS(a->nr_slots); i++) {
		o->live[i] = atomic_long_read(&anl_group(&a->slots, i)->live);
		o->dying[i] = atomic_long_read(&anl_group(&a->slots, i)->dying);
		o->cached[i] = atomic_long_read(&anl_group(&a->slots, i)->cached);
	}
	memcpy(o->spares, a->slots.spares, sizeof(o->spares));
	o->nr_populated = oracle_nr_populated(a);
	o->kicked = atomic_read(&a->kick.pending);
	o->draining = atomic_read(&a->drain.running);
	o->stock_start = *(u64 *)((char *)o->map - ANL_OFF_bpf_arena_map +
				  ANL_OFF_bpf_arena_user_vm_start);
	o->stock_end = *(u64 *)((char *)o->map - ANL_OFF_bpf_arena_map +
				ANL_OFF_bpf_arena_user_vm_end);
	o->stock_tree = oracle_stock_tree(o);

	o->rt = a->slots.tree;
	memcpy(o->rt_mem, a->slots.tree_mem, anl_tree_mem_size(a->nr_limit));
	o->rt.map = o->rt_mem + ((void *)a->slots.tree.map - a->slots.tree_mem);
	o->rt.node = o->rt_mem + ((void *)a->slots.tree.node - a->slots.tree_mem);

	o->nr_discard = 0;
	for (node = a->pool.discard.first; node; node = node->next)
		if (o->nr_discard < ARRAY_SIZE(o->discard))
			o->discard[o->nr_discard++] =
				container_of((struct list_head *)node, struct page, lru);

	oracle_take_ptes(o);
	memset(o->users, 0, a->nr_slots * sizeof(*o->users));
	for (i = 0; i < o->nr_mms; i++) {
		o->vmas[i] = oracle_vma(o, o->mms[i]);
		if (o->vmas[i])
			oracle_take_users(o, o->mms[i]);
	}
	if (o->rest)
		oracle_take_refs(o);
	oracle_take_pool(o);
	oracle_take_standby(o);
	rcu_read_unlock();

	return 0;
}

/*
 * At leisure
 */

static void oracle_say_found(struct oracle *o)
{
	u32 i;

	for (i = 0; i < min(o->nr_found, ORACLE_LINES); i++) {
		const struct oracle_finding *f = &o->found[i];
		const char *text = oracle_wrong_text[f->what];

		if (f->have || f->want)
			bad(o, "slot %u: %s: %d and %d", f->slot, text, f->have, f->want);
		else
			bad(o, "slot %u: %s", f->slot, text);
	}
	o->nr_bad += o->nr_found - i;
}

static bool oracle_is_spare(const struct oracle *o, u32 slot)
{
	u32 i;

	for (i = 0; i < ANL_NR_SPARES; i++)
		if (o->spares[i] == slot)
			return true;

	return false;
}

static void oracle_check_spares(struct oracle *o)
{
	u32 i, k;

	for (i = 0; i < ANL_NR_SPARES; i++) {
		if (o->spares[i] == ANL_NO_SPARE)
			continue;
		if (o->spares[i] >= o->a->nr_limit)
			bad(o, "slot %u is a spare beyond the limit", o->spares[i]);
		for (k = 0; k < i; k++)
			if (o->spares[k] == o->spares[i])
				bad(o, "slot %u is two spares", o->spares[i]);
	}
}

/* Each cached slot is in the magazine of a CPU, where other CPUs find it. */
static void oracle_check_magazines(struct oracle *o)
{
	u32 groups = ANL_NR_GROUPS(o->a->nr_slots), g;
	int cpu;

	for_each_possible_cpu(cpu) {
		g = per_cpu_ptr(o->a->slots.magazine, cpu)->group;
		if (g >= groups)
			bad(o, "the magazine of CPU %d is group %u of %u", cpu, g, groups);
		else
			o->cached[g] = 0;
	}
	for (g = 0; g < groups; g++)
		if (o->cached[g])
			bad(o, "group %u has cached slots, and is no CPU's magazine", g);
}

/* The states that a slot may be in at any instant, and at rest. */
static void oracle_check_slot(struct oracle *o, u32 slot)
{
	bool inside = slot < o->a->nr_limit;
	bool free = inside && anl_tree_is_free(&o->rt, slot);
	bool live = test_bit(slot, o->live), dying = test_bit(slot, o->dying);
	bool page = oracle_page(o, o->pte[slot]);
	bool spare = inside && slot + ANL_NR_SPARES * ANL_SPARE_CHOICE >= o->a->nr_limit &&
		     oracle_is_spare(o, slot);
	bool cached = test_bit(slot, o->cached);
	int states = free + live + dying + spare + cached;

	if (states > 1)
		bad(o, "slot %u is in %d states:%s%s%s%s%s", slot, states, free ? " free" : "",
		    live ? " live" : "", dying ? " dying" : "", spare ? " spare" : "",
		    cached ? " cached" : "");
	if (page && free)
		bad(o, "slot %u is free and has a page", slot);
	if (page && spare)
		bad(o, "slot %u is a spare and has a page", slot);
	if (page && cached)
		bad(o, "slot %u is in a magazine and has a page", slot);
	if (cached && !inside)
		bad(o, "slot %u is in a magazine, beyond the limit", slot);
	if (o->users[slot] && (free || spare || cached))
		bad(o, "slot %u is free, and %u processes have a page there", slot,
		    o->users[slot]);
	if (!o->rest)
		return;

	if (inside && !states)
		bad(o, "slot %u is lost: taken, without an owner", slot);
	if (dying)
		bad(o, "slot %u is still in the queue", slot);
	if (page && !live)
		bad(o, "slot %u has a page and is not live", slot);
	if (!inside && live && !page)
		bad(o, "slot %u is beyond the limit, live, and has no page", slot);
	if (o->users[slot] && !live)
		bad(o, "slot %u is not live, and %u processes have a page there", slot,
		    o->users[slot]);
}

static int oracle_cmp(const void *a, const void *b)
{
	unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;

	return x < y ? -1 : x > y;
}

/* No page is in two places. */
static bool oracle_check_places(struct oracle *o, u32 nr_pages)
{
	u32 cap = nr_pages + o->a->pool.max + o->nr_standby + o->nr_discard, n = 0, i;
	struct page **all = kvmalloc_array(cap + 1, sizeof(*all), GFP_KERNEL);

	if (!all)
		return false;
	for (i = 0; i < o->a->nr_slots; i++)
		if (oracle_page(o, o->pte[i]))
			all[n++] = pte_page(o->pte[i]);
	for (i = 0; i < o->a->pool.max; i++)
		if (o->pool[i])
			all[n++] = o->pool[i];
	for (i = 0; i < o->nr_standby; i++)
		all[n++] = o->standby[i];
	for (i = 0; i < o->nr_discard; i++)
		all[n++] = o->discard[i];
	sort(all, n, sizeof(*all), oracle_cmp, NULL);
	for (i = 1; i < n; i++)
		if (all[i] == all[i - 1])
			bad(o, "page %#lx is in two places", page_to_pfn(all[i]));
	kvfree(all);

	return true;
}

/* The books of the pool, which are exact only at rest. */
static void oracle_check_pool(struct oracle *o)
{
	bool numa = num_node_state(N_NORMAL_MEMORY) > 1;
	u32 cap = o->a->pool.max, n = 0, level, i;
	struct anl_pool_node *node;
	int nid, nr;

	for (i = 0; i < cap; i++) {
		bool bit = test_bit(i, o->pool_map);

		if (!bit && o->pool[i])
			bad(o, "slot %u of the pool has a page and is not marked", i);
	}
	for (nid = 0; cap && nid < nr_node_ids; nid++) {
		node = oracle_node(o, nid);
		level = 0;
		for (i = 0; i < BITS_TO_LONGS(cap); i++) {
			level += hweight_long(node->map[i].bits);
			if (node->map[i].bits && !(node->sum & BIT(i)))
				bad(o, "word %u of the pool is hidden by the summary", i);
		}
		n += level;
		nr = oracle_pool_nr(o->a, nid, atomic_read(&node->nr));
		if (numa && nr != level)
			bad(o, "the pool counts %d pages of node %d and has %u", nr, nid, level);
		for (i = 0; numa && i < cap; i++)
			if (node->map[BIT_WORD(i)].bits & BIT_MASK(i) && o->pool[i] &&
			    page_to_nid(o->pool[i]) != nid)
				bad(o, "slot %u of the pool has a page of node %d, not %d", i,
				    page_to_nid(o->pool[i]), nid);
	}
	if (o->pool_nr != n)
		bad(o, "the pool counts %d pages and has %u", o->pool_nr, n);
	if (o->pool_target < o->a->pool.min || o->pool_target > o->a->pool.max)
		bad(o, "the pool aims at %u pages, which is not %u to %u", o->pool_target,
		    o->a->pool.min, o->a->pool.max);
}

/* The module's list of mappings against those that the processes have. */
static void oracle_check_vmas(struct oracle *o)
{
	struct anl_vma *v;
	u32 i;

	spin_lock(&o->a->vmas.lock);
	for (i = 0; i < o->nr_mms; i++) {
		bool listed = false;

		if (!o->vmas[i])
			continue;
		list_for_each_entry(v, &o->a->vmas.list, head)
			listed |= v->mm && v->vma == o->vmas[i] && v->arena == o->a &&
				  v == o->vmas[i]->vm_private_data;
		if (!listed)
			bad(o, "a process has a mapping that is not on the list");
	}
	list_for_each_entry(v, &o->a->vmas.list, head) {
		/* The cursor of a walk is no mapping. */
		for (i = 0; v->mm && i < o->nr_mms; i++)
			if (o->mms[i] == v->mm && o->vmas[i] != v->vma)
				bad(o, "a mapping on the list is not the process's");
	}
	spin_unlock(&o->a->vmas.lock);
}

static bool oracle_judge(struct oracle *o)
{
	u32 nr_pages = 0, nr_live = 0, nr_free = 0, slot;
	struct anl_arena *a = o->a;
	u64 nr_users = 0;

	o->len = scnprintf(o->text, ORACLE_TEXT, "bad\n");
	o->nr_bad = 0;
	oracle_say_found(o);
	if (o->stock_start != a->user_start || o->stock_end != o->stock_start)
		bad(o, "the kernel's own kfuncs are not shut out");
	if (o->stock_tree)
		bad(o, "the kernel's own arena has free ranges");
	oracle_check_spares(o);
	for (slot = 0; slot < a->nr_slots; slot++) {
		oracle_check_slot(o, slot);
		nr_pages += !!oracle_page(o, o->pte[slot]);
		nr_live += test_bit(slot, o->live);
		nr_users += o->users[slot];
		nr_free += anl_tree_is_free(&o->rt, slot) || test_bit(slot, o->cached);
		if (!(slot % 4096))
			cond_resched();
	}
	if (o->rest) {
		oracle_check_magazines(o);
		if (o->nr_populated != nr_pages)
			bad(o, "%ld pages are counted, and %u are mapped", o->nr_populated,
			    nr_pages);
		if (o->kicked || o->draining)
			bad(o, "work %#x was requested and has not begun, %d drains run",
			    o->kicked, o->draining);
		if (o->nr_discard)
			bad(o, "%u pages wait to be freed", o->nr_discard);
		oracle_check_pool(o);
		oracle_check_vmas(o);
	}
	if (!oracle_check_places(o, nr_pages))
		return false;
	/* This changes the copy. */
	if (!anl_tree_check(&o->rt))
		bad(o, "the tree contradicts its bitmap");
	if (!o->nr_bad)
		o->len = scnprintf(o->text, ORACLE_TEXT,
				   "ok slots=%u free=%u live=%u pages=%u pool=%d user_ptes=%llu processes=%u\n",
				   a->nr_slots, nr_free, nr_live, nr_pages, o->pool_nr,
				   nr_users, o->nr_mms);

	return true;
}

/* All processes, since one of them may have a mapping that the module forgot. */
static void oracle_get_mms(struct oracle *o)
{
	struct task_struct *p, *t;
	struct mm_struct *mm;
	u32 i;

	rcu_read_lock();
	for_each_process_thread(p, t) {
		if (o->nr_mms == ORACLE_MMS)
			break;
		mm = get_task_mm(t);
		if (!mm)
			continue;
		for (i = 0; i < o->nr_mms && o->mms[i] != mm; i++)
			;
		if (i < o->nr_mms)
			mmput_async(mm);
		else
			o->mms[o->nr_mms++] = mm;
	}
	rcu_read_unlock();
}

static bool oracle_alloc(struct oracle *o)
{
	size_t words = ANL_NR_GROUPS(o->a->nr_slots), cap = max(o->a->pool.max, 1U);

	o->live = kvcalloc(words, sizeof(*o->live), GFP_KERNEL);
	o->dying = kvcalloc(words, sizeof(*o->dying), GFP_KERNEL);
	o->cached = kvcalloc(words, sizeof(*o->cached), GFP_KERNEL);
	o->pte = kvcalloc(o->a->nr_slots, sizeof(*o->pte), GFP_KERNEL);
	o->users = kvcalloc(o->a->nr_slots, sizeof(*o->users), GFP_KERNEL);
	o->rt_mem = kvzalloc(anl_tree_mem_size(o->a->nr_limit), GFP_KERNEL);
	o->pool = kvcalloc(cap, sizeof(*o->pool), GFP_KERNEL);
	o->pool_map = kvcalloc(BITS_TO_LONGS(cap), sizeof(long), GFP_KERNEL);
	o->pool_nodes = kvzalloc((size_t)nr_node_ids * max(o->a->pool.node_size, 1U),
				 GFP_KERNEL);
	o->standby = kvcalloc(max(o->a->standby->pool.max, 1U), sizeof(*o->standby), GFP_KERNEL);
	o->mms = kvcalloc(ORACLE_MMS, sizeof(*o->mms), GFP_KERNEL);
	o->vmas = kvcalloc(ORACLE_MMS, sizeof(*o->vmas), GFP_KERNEL);

	return o->live && o->dying && o->cached && o->pte && o->users && o->rt_mem && o->pool &&
	       o->pool_map && o->pool_nodes && o->standby && o->mms && o->vmas;
}

static void oracle_free(struct oracle *o)
{
	u32 i;

	for (i = 0; i < o->nr_mms; i++)
		mmput(o->mms[i]);
	kvfree(o->live);
	kvfree(o->dying);
	kvfree(o->cached);
	kvfree(o->pte);
	kvfree(o->users);
	kvfree(o->rt_mem);
	kvfree(o->pool);
	kvfree(o->pool_map);
	kvfree(o->pool_nodes);
	kvfree(o->standby);
	kvfree(o->mms);
	kvfree(o->vmas);
}

static int oracle_arena(struct oracle *o)
{
	int tries = ORACLE_TRIES, err = -ENOMEM;

	if (!oracle_alloc(o))
		goto out;
	oracle_get_mms(o);
	for (;;) {
		err = stop_machine(oracle_take, o, NULL);
		if (err)
			break;
		if (!oracle_judge(o))
			err = -ENOMEM;
		if (err || !o->nr_bad || !--tries)
			break;
		msleep(1);
	}
	if (!err && o->nr_bad)
		o->len += scnprintf(o->text + o->len, ORACLE_TEXT - o->len, "%u violations\n",
				    o->nr_bad);
out:
	oracle_free(o);

	return err;
}

/* The module's arena behind a map, by the name of the function that frees it. */
static struct anl_arena *oracle_find(struct bpf_map *map)
{
	const struct bpf_map_ops *ops;
	char name[KSYM_SYMBOL_LEN];

	/* Adoption sets it when the arena around it is complete. */
	ops = smp_load_acquire(&map->ops);
	sprint_symbol(name, (unsigned long)ops->map_free);
	if (strncmp(name, "anl_map_free+0x0/", 17) || !strstr(name, "[arena_nolock"))
		return NULL;

	return container_of(ops, struct anl_arena, ops);
}

static int oracle_map(struct oracle *o)
{
	const char *why = NULL;

	if (o->map->map_type != BPF_MAP_TYPE_ARENA)
		return -EINVAL;
	o->a = oracle_find(o->map);
	if (!o->a)
		why = "stock\n";
	else if (!smp_load_acquire(&o->a->ready))	/* pairs with adoption */
		why = "busy\n";
	if (!why)
		return oracle_arena(o);
	o->len = scnprintf(o->text, ORACLE_TEXT, "%s", why);

	return 0;
}

/*
 * The file
 */

static int oracle_open(struct inode *inode, struct file *file)
{
	file->private_data = kzalloc(ORACLE_TEXT, GFP_KERNEL);

	return file->private_data ? 0 : -ENOMEM;
}

static int oracle_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);

	return 0;
}

static ssize_t oracle_write(struct file *file, const char __user *ubuf, size_t len, loff_t *pos)
{
	struct oracle *o;
	unsigned int fd, rest;
	char buf[32] = {};
	int err;

	if (len >= sizeof(buf) || copy_from_user(buf, ubuf, len) ||
	    sscanf(buf, "%u %u", &fd, &rest) != 2)
		return -EINVAL;
	o = kvzalloc(sizeof(*o), GFP_KERNEL);
	if (!o)
		return -ENOMEM;
	o->rest = rest;
	o->text = file->private_data;
	o->map = bpf_map_get(fd);
	err = PTR_ERR_OR_ZERO(o->map);
	if (!err) {
		mutex_lock(&oracle_mutex);
		memset(o->text, 0, ORACLE_TEXT);
		err = oracle_map(o);
		mutex_unlock(&oracle_mutex);
		bpf_map_put(o->map);
	}
	kvfree(o);
	*pos = 0;

	return err ?: len;
}

static ssize_t oracle_read(struct file *file, char __user *ubuf, size_t len, loff_t *pos)
{
	return simple_read_from_buffer(ubuf, len, pos, file->private_data,
				       strnlen(file->private_data, ORACLE_TEXT));
}

static const struct proc_ops oracle_ops = {
	.proc_open = oracle_open,
	.proc_release = oracle_release,
	.proc_write = oracle_write,
	.proc_read = oracle_read,
	.proc_lseek = default_llseek,
};

int anl_test_oracle_init(void)
{
	return proc_create("anl_oracle", 0600, NULL, &oracle_ops) ? 0 : -ENOMEM;
}

void anl_test_oracle_exit(void)
{
	remove_proc_entry("anl_oracle", NULL);
}

/* MODULE_IMPORT_NS() takes a name on some kernels and a string on others. */
MODULE_INFO(import_ns, "BPF_INTERNAL");
