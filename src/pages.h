/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_PAGES_H
#define ANL_PAGES_H

#include <linux/types.h>

struct anl_arena;
struct list_head;
struct page;

int anl_pool_nr(const struct anl_arena *arena);
struct page *anl_get_page(struct anl_arena *arena, int nid);
int anl_get_pages(struct anl_arena *arena, u32 cnt, int nid, struct list_head *pages);
void anl_unget_pages(struct anl_arena *arena, struct list_head *pages);

#endif
