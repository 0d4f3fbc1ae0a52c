/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How much free memory there is that blocks can be made of and programs can have,
 * and how much of it the kernel itself wants to keep.
 *
 * Those are not all free pages. A zone keeps some back from allocations that
 * could have been served by a higher one (lowmem_reserve), and some for atomic
 * ones; pages of CMA and of movable zones serve no allocation of the kernel's.
 * In a large guest what is counted too many is more than all watermarks are.
 */
#ifndef _AERATION_ZONES_H
#define _AERATION_ZONES_H

#include <linux/types.h>

unsigned long aeration_zones_free(void);
unsigned long aeration_zones_large(unsigned int order);
unsigned long aeration_zones_out_of_reach(void);
unsigned long aeration_zones_marks(void);
long aeration_zones_spare(int nid);
unsigned long aeration_zones_share(int nid, unsigned long pages);
bool aeration_zones_short(int nid);

#endif /* _AERATION_ZONES_H */
