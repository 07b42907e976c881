// SPDX-License-Identifier: GPL-2.0
/*
 * The tree's own functions, for the oracle: it asks a copy of the tree of the module
 * under test what is free, and checks it with anl_tree_check().
 */
#include "oracle_tree.h"
#include "lock.c"
#include "range_tree_rqs.c"
#include "tree_check.c"
