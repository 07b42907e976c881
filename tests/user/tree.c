// SPDX-License-Identifier: GPL-2.0
/* The tree under test, which the Makefile names, and its check. */
#include TREE
#include "tree_check.c"
