/* SPDX-License-Identifier: GPL-2.0 */
/* Give memory back to the host. */
#ifndef HINTD_RELEASE_H
#define HINTD_RELEASE_H

#include "memory.h"
#include "runs.h"
#include "stats.h"

/**
 * struct release - how memory is given back
 * @reserved: also what others may take the place of, see struct region
 * @said_reserved: that it is kept was put into words
 * @said_error: that the system does not take memory was put into words
 */
struct release {
	bool reserved;
	bool said_reserved;
	bool said_error;
};

bool release_runs(struct release *how, const struct memory *mem,
		  struct runs *runs, struct stats *stats, uint64_t until_ns);

#endif /* HINTD_RELEASE_H */
