/* SPDX-License-Identifier: GPL-2.0 */
/* Between nmi.c and the sources of NMIs. */
#ifndef ANL_NMI_H
#define ANL_NMI_H

#include <linux/types.h>

struct anl_nmi_source {
	const char *tracepoint;		/* with the arguments of nmi_handler */
	int (*init)(void);
	void (*exit)(void);
	bool (*works)(void);		/* after the first NMI; NULL: yes */
	void (*run)(bool run);		/* around the following; NULL: nothing to do */
	void (*send)(int cpu);		/* NULL: NMIs arrive as long as the source runs */
};

extern const struct anl_nmi_source anl_nmi_apic, anl_nmi_counter;

/* For the handlers: is an NMI wanted on this CPU, and: it has come. */
bool anl_nmi_pending(void);
void anl_nmi_done(void);

#endif
