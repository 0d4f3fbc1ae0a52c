/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which backend is in use, for main.c and sysfs.c.
 */
#ifndef _AERATION_REGISTRY_H
#define _AERATION_REGISTRY_H

#include <linux/types.h>
#include "choose/choose.h"

void aeration_registry_init(void);
void aeration_registry_exit(void);
int aeration_registry_flush(bool again, const struct aerator_dev_info *dev,
			    bool (*cancelled)(void));
int aeration_registry_restore(bool (*cancelled)(void));
unsigned int aeration_registry_order(void);
const char *aeration_registry_state(void);
unsigned int aeration_registry_capacity(void);
const char *aeration_registry_backend(void);
int aeration_registry_why(enum aerator_kind kind, char *buf, size_t size);

#endif /* _AERATION_REGISTRY_H */
