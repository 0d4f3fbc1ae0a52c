/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _AERATION_HYPERV_CALL_H
#define _AERATION_HYPERV_CALL_H

#include "heat.h"

const char *aeration_heat_unusable(void);
u64 aeration_heat_call(struct heat_hint *hint, unsigned int nr,
		       unsigned int start);

#endif /* _AERATION_HYPERV_CALL_H */
