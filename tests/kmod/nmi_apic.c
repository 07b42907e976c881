// SPDX-License-Identifier: GPL-2.0
/*
 * NMIs of x86. The CPU that expects one claims it, and then it reaches the kernel's tracepoint
 * nmi_handler. Two that arrive together become one, and the second would stay unclaimed.
 */
#include <linux/nmi.h>
#include <linux/smp.h>
#include <asm/apic.h>
#include <asm/nmi.h>

#include "nmi.h"

static int apic_nmi(unsigned int cmd, struct pt_regs *regs)
{
	if (!anl_nmi_pending())
		return NMI_DONE;
	anl_nmi_done();

	return NMI_HANDLED;
}

static int apic_init(void)
{
	return register_nmi_handler(NMI_LOCAL, apic_nmi, 0, "anl_test");
}

static void apic_exit(void)
{
	unregister_nmi_handler(NMI_LOCAL, "anl_test");
}

static void apic_send(int cpu)
{
	apic->send_IPI(cpu, NMI_VECTOR);
}

const struct anl_nmi_source anl_nmi_apic = {
	.tracepoint = "nmi_handler",
	.init = apic_init,
	.exit = apic_exit,
	.send = apic_send,
};
