// SPDX-License-Identifier: GPL-2.0
/*
 * Test-only module: what tests need that user space and BPF programs cannot do.
 * The module under test knows nothing of it.
 */
#include <linux/init.h>
#include <linux/module.h>

#include "anl_test.h"

static int __init anl_test_init(void)
{
	int err = anl_test_oracle_init();

	if (err)
		return err;
	anl_test_nmi_init();
	err = anl_test_stock_init();
	if (err)
		goto no_stock;
	err = anl_test_stray_init();
	if (err)
		goto no_stray;
	err = anl_test_ballast_init();
	if (err)
		goto no_ballast;
	err = anl_test_lines_init();
	if (err)
		goto no_lines;
	err = anl_test_kfuncs_init();
	if (err)
		goto no_kfuncs;

	return 0;

no_kfuncs:
	anl_test_lines_exit();
no_lines:
	anl_test_ballast_exit();
no_ballast:
	anl_test_stray_exit();
no_stray:
	anl_test_stock_exit();
no_stock:
	anl_test_nmi_exit();
	anl_test_oracle_exit();
	return err;
}

static void __exit anl_test_exit(void)
{
	anl_test_lines_exit();
	anl_test_ballast_exit();
	anl_test_stray_exit();
	anl_test_stock_exit();
	anl_test_nmi_exit();
	anl_test_oracle_exit();
}

module_init(anl_test_init);
module_exit(anl_test_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Oracle, kfuncs and NMIs for the tests of arena_nolock");
