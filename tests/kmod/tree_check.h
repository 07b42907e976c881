/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_TREE_CHECK_H
#define ANL_TREE_CHECK_H

struct anl_tree;

bool anl_tree_check(struct anl_tree *tree);

#endif
