/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _AERATION_SYSFS_H
#define _AERATION_SYSFS_H

#include <linux/sysfs.h>

extern const struct attribute_group aeration_sysfs_squeeze;
extern const struct attribute_group aeration_sysfs_squeezed;

int aeration_sysfs_start(void);
void aeration_sysfs_stop(void);
void aeration_sysfs_ended(void);

#endif /* _AERATION_SYSFS_H */
