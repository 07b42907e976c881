/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The tree's functions under names of the test module's own. Tests put probes on
 * those of the module under test, and a name that is there twice cannot be probed.
 * To be included before any header of src/.
 */
#ifndef ANL_ORACLE_RTQ_H
#define ANL_ORACLE_RTQ_H

#define rtq_mem_size		oracle_rtq_mem_size
#define rtq_init		oracle_rtq_init
#define rtq_alloc		oracle_rtq_alloc
#define rtq_claim		oracle_rtq_claim
#define rtq_release		oracle_rtq_release
#define rtq_nr_free		oracle_rtq_nr_free
#define rtq_is_free		oracle_rtq_is_free
#define rtq_check		oracle_rtq_check
#define anl_lock_irqsave	oracle_lock_irqsave
#define anl_unlock_irqrestore	oracle_unlock_irqrestore

#endif
