// SPDX-License-Identifier: GPL-2.0
/*
 * How much memory must be free while more of it is held; see floor.h.
 */
#include <linux/math64.h>
#include "floor.h"

/* One part in this many of the mean cost is replaced by each restore. */
#define COST_SHARE	4

/* A restore slower than this is a hiccup, not a cost, ns a page. */
#define COST_MAX_NS	100000

/* Time the slots cover, ns. */
#define SPAN_NS		(FLOOR_SLOTS * FLOOR_SLOT_MS * 1000000ULL)

/**
 * aeration_floor_init - begin with a guest that has not allocated anything lately
 * @f: the floor
 * @now_ms: the time, ms
 * @unused: pages the guest does not use: free ones and held ones
 */
void aeration_floor_init(struct floor *f, u64 now_ms, unsigned long unused)
{
	unsigned int i;

	f->newest = div_u64(now_ms, FLOOR_SLOT_MS);
	for (i = 0; i < FLOOR_SLOTS; i++)
		f->grown[i] = 0;
	f->unused = unused;
	f->ns_per_page = 0;
}

/**
 * aeration_floor_sample - take note of how much the guest does not use
 * @f: the floor
 * @now_ms: the time, ms; one before the last sample's counts as the same
 * @unused: pages the guest does not use: free ones and held ones
 *
 * Memory that was taken and given back within a slot does not show: it did not
 * need any more than there was.
 */
void aeration_floor_sample(struct floor *f, u64 now_ms, unsigned long unused)
{
	u64 slot = div_u64(now_ms, FLOOR_SLOT_MS);
	u64 i, passed = slot > f->newest ? slot - f->newest : 0;

	if (passed > FLOOR_SLOTS)
		passed = FLOOR_SLOTS;
	for (i = 0; i < passed; i++)
		f->grown[(slot - i) % FLOOR_SLOTS] = 0;
	if (slot > f->newest)
		f->newest = slot;
	if (unused < f->unused)
		f->grown[f->newest % FLOOR_SLOTS] += f->unused - unused;
	f->unused = unused;
}

/**
 * aeration_floor_restored - take note of what a restore cost
 * @f: the floor
 * @pages: pages that were restored, at least 1
 * @ns: how long that took, ns
 */
void aeration_floor_restored(struct floor *f, unsigned long pages, u64 ns)
{
	u64 cost = div64_ul(ns, pages);

	if (cost > COST_MAX_NS)
		cost = COST_MAX_NS;
	if (f->ns_per_page)
		f->ns_per_page += (unsigned long)cost / COST_SHARE -
				  f->ns_per_page / COST_SHARE;
	else
		f->ns_per_page = (unsigned long)cost;
}

/**
 * aeration_floor_pages - how much must be free beyond the reserve
 * @f: the floor
 *
 * What the guest began to use during the time the slots cover, and what it would
 * begin to use at that speed while as much again is restored, which is bounded
 * by the former: a hypervisor that is slower than its guest is not helped by
 * having less to give.
 *
 * Return: pages.
 */
unsigned long aeration_floor_pages(const struct floor *f)
{
	unsigned long grown = 0;
	u64 restore_ns;
	unsigned int i;

	for (i = 0; i < FLOOR_SLOTS; i++)
		grown += f->grown[i];
	restore_ns = (u64)grown * f->ns_per_page;
	if (restore_ns >= SPAN_NS)
		return 2 * grown;
	/* In ms on both sides, so that the product does not overflow. */
	return grown + (unsigned long)div_u64(restore_ns, 1000000) * grown /
		       (FLOOR_SLOTS * FLOOR_SLOT_MS);
}
