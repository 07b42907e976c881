/* SPDX-License-Identifier: GPL-2.0 */
#ifndef HOTPLUG_H
#define HOTPLUG_H

#define HOTPLUG_PAGES	64
/* What is taken of the pool at once. */
#define HOTPLUG_TAKEN	16

#endif
