/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _AERATION_SYSFS_H
#define _AERATION_SYSFS_H

int aeration_sysfs_start(void);
void aeration_sysfs_stop(void);
void aeration_sysfs_ended(void);

#endif /* _AERATION_SYSFS_H */
