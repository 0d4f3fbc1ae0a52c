/* SPDX-License-Identifier: GPL-2.0 */
/* Give memory back to the host. */
#ifndef HINTD_RELEASE_H
#define HINTD_RELEASE_H

#include "memory.h"
#include "runs.h"
#include "stats.h"

void release_runs(const struct memory *mem, const struct runs *runs,
		  struct stats *stats);

#endif /* HINTD_RELEASE_H */
