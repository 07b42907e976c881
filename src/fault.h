/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_FAULT_H
#define ANL_FAULT_H

#include <linux/mm_types.h>

struct vm_fault;

vm_fault_t anl_vm_fault(struct vm_fault *vmf);

#endif
