/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ANL_CLIENT_H
#define ANL_CLIENT_H

const char *anl_client_setup(void);
void anl_client_cleanup(void);

#endif
