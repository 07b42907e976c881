/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the test module offer each other. */
#ifndef ANL_TEST_H
#define ANL_TEST_H

/* ballast.c */
int anl_test_ballast_init(void);
void anl_test_ballast_exit(void);

/* kfuncs.c */
int anl_test_kfuncs_init(void);

/* lines.c */
int anl_test_lines_init(void);
void anl_test_lines_exit(void);

/* nmi.c */
void anl_test_nmi_init(void);
void anl_test_nmi_exit(void);

/* oracle.c */
int anl_test_oracle_init(void);
void anl_test_oracle_exit(void);

/* stock.c */
int anl_test_stock_init(void);
void anl_test_stock_exit(void);

/* stray.c */
int anl_test_stray_init(void);
void anl_test_stray_exit(void);

#endif
