/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What src/range_tree_rqs.c needs of the kernel, for user space: types, bit
 * operations, and a lock that only one thread uses. The lock aborts when it is
 * taken twice or released unheld, and fails when a test asks it to.
 */
#ifndef ANL_USER_SHIM_H
#define ANL_USER_SHIM_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint32_t u32;
typedef uint64_t u64;

#define BITS_PER_LONG	((int)(8 * sizeof(long)))

#define READ_ONCE(x)		(*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, val)	(*(volatile __typeof__(x) *)&(x) = (val))

/* As strict as the kernel's: both sides have one type. */
#define min(a, b) ({ __typeof__(a) _a = (a); __typeof__(b) _b = (b); \
		     (void)(&_a == &_b); _a < _b ? _a : _b; })
#define max(a, b) ({ __typeof__(a) _a = (a); __typeof__(b) _b = (b); \
		     (void)(&_a == &_b); _a > _b ? _a : _b; })
#define max3(a, b, c)	max(max(a, b), c)

static inline unsigned long __ffs(unsigned long word)
{
	return __builtin_ctzl(word);
}

static inline unsigned long __fls(unsigned long word)
{
	return BITS_PER_LONG - 1 - __builtin_clzl(word);
}

static inline unsigned int hweight_long(unsigned long word)
{
	return __builtin_popcountl(word);
}

static inline unsigned long roundup_pow_of_two(unsigned long n)
{
	return n <= 1 ? 1 : 1UL << (__fls(n - 1) + 1);
}

static inline int ilog2(unsigned long n)
{
	return __fls(n);
}

typedef struct {
	bool held;
} anl_lock_t;

/* What the next attempts to lock return; 0 lets them succeed. */
extern int shim_lock_err;
extern unsigned long shim_locked;	/* how often a lock was taken */

static inline void anl_lock_init(anl_lock_t *lock)
{
	lock->held = false;
}

static inline int anl_lock_irqsave(anl_lock_t *lock, unsigned long *flags)
{
	if (lock->held)
		abort();
	if (shim_lock_err)
		return shim_lock_err;
	lock->held = true;
	shim_locked++;
	*flags = (unsigned long)lock;

	return 0;
}

static inline void anl_unlock_irqrestore(anl_lock_t *lock, unsigned long flags)
{
	if (!lock->held || flags != (unsigned long)lock)
		abort();
	lock->held = false;
}

#endif
