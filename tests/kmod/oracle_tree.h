/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The tree's functions under names of the test module's own. Tests put probes on
 * those of the module under test, and a name that is there twice cannot be probed.
 * To be included before any header of src/.
 */
#ifndef ANL_ORACLE_TREE_H
#define ANL_ORACLE_TREE_H

#define anl_tree_mem_size	oracle_tree_mem_size
#define anl_tree_init		oracle_tree_init
#define anl_tree_alloc		oracle_tree_alloc
#define anl_tree_claim		oracle_tree_claim
#define anl_tree_release	oracle_tree_release
#define anl_tree_nr_free	oracle_tree_nr_free
#define anl_tree_is_free	oracle_tree_is_free
#define anl_tree_check		oracle_tree_check
#define anl_lock_irqsave	oracle_lock_irqsave
#define anl_unlock_irqrestore	oracle_unlock_irqrestore

#endif
