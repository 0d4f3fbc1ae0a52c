// SPDX-License-Identifier: GPL-2.0
/*
 * Free memory that goes without anybody needing it; see pacer.h. Pure.
 */
#include "pacer.h"
#include "slots.h"

static unsigned long less(unsigned long free, unsigned long pages)
{
	return free > pages ? free - pages : 0;
}

/**
 * aeration_pacer_shift - so much of what was free has gone, and nobody needs it
 * @p: the pacer
 * @pages: pages; a step or less, because a sample may have come in between
 *
 * As if it had not been free before either: less is surplus, and what was told of it is
 * not regretted.
 */
void aeration_pacer_shift(struct pacer *p, unsigned long pages)
{
	unsigned int i;

	for (i = 0; i < PACER_RING; i++)
		p->low[i] = less(p->low[i], pages);
	p->free = less(p->free, pages);
	p->level = less(p->level, pages);
	p->real.out = smaller(p->real.out, p->free);
	p->thought.out = smaller(p->thought.out, p->free);
}
