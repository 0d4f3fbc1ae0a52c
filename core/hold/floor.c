// SPDX-License-Identifier: GPL-2.0
/*
 * How much memory must be free while more of it is held; see floor.h.
 */
#include <linux/math64.h>
#include <linux/minmax.h>
#include "floor.h"

/* One part in this many of the mean cost is replaced by each restore. */
#define COST_SHARE	4

/* A restore slower than this is a hiccup, not a cost, ns a page. */
#define COST_MAX_NS	100000

/* Time the slots cover, ns. */
#define SPAN_NS		(FLOOR_SLOTS * FLOOR_SLOT_MS * 1000000ULL)

static struct floor_slot *slot_of(struct floor *f, u64 nr)
{
	return &f->slot[nr % FLOOR_SLOTS];
}

/* It begins with what was not in use when anybody last looked. */
static void begin_slot(struct floor *f, u64 nr)
{
	*slot_of(f, nr) = (struct floor_slot) {
		.high = f->unused,
		.low = f->unused,
	};
}

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
	f->unused = unused;
	for (i = 0; i < FLOOR_SLOTS; i++)
		begin_slot(f, i);
	f->ns_per_page = 0;
}

/**
 * aeration_floor_sample - take note of how much the guest does not use
 * @f: the floor
 * @now_ms: the time, ms; one before the last sample's counts as the same
 * @unused: pages the guest does not use: free ones and held ones
 *
 * Memory that was taken, given back and taken again counts once: what was given back
 * is there for it.
 */
void aeration_floor_sample(struct floor *f, u64 now_ms, unsigned long unused)
{
	u64 slot = div_u64(now_ms, FLOOR_SLOT_MS);
	u64 i, passed = slot > f->newest ? slot - f->newest : 0;
	struct floor_slot *now;

	if (passed > FLOOR_SLOTS)
		passed = FLOOR_SLOTS;
	for (i = 0; i < passed; i++)
		begin_slot(f, slot - i);
	if (slot > f->newest)
		f->newest = slot;
	now = slot_of(f, f->newest);
	now->high = max(now->high, unused);
	now->low = min(now->low, unused);
	now->fall = max(now->fall, now->high - unused);
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

/* The furthest that what is not in use fell, from any time in the slots to a later one. */
static unsigned long furthest_fall(const struct floor *f)
{
	unsigned long high = 0, most = 0;
	unsigned int i;

	/* From the oldest to the newest. */
	for (i = 1; i <= FLOOR_SLOTS; i++) {
		const struct floor_slot *slot =
			&f->slot[(f->newest + i) % FLOOR_SLOTS];

		/* What was before the slot is above; its own falls it knows. */
		if (high > slot->low)
			most = max(most, high - slot->low);
		most = max(most, slot->fall);
		high = max(high, slot->high);
	}
	return most;
}

/**
 * aeration_floor_pages - how much must be free beyond the reserve
 * @f: the floor
 *
 * The most that the guest's use grew by during the time the slots cover, and what it
 * would begin to use at that speed while as much again is restored, which is bounded
 * by the former: a hypervisor that is slower than its guest is not helped by
 * having less to give.
 *
 * Return: pages.
 */
unsigned long aeration_floor_pages(const struct floor *f)
{
	unsigned long grown = furthest_fall(f);
	u64 restore_ns = (u64)grown * f->ns_per_page;

	if (restore_ns >= SPAN_NS)
		return 2 * grown;
	/* In ms on both sides, so that the product does not overflow. */
	return grown + (unsigned long)div_u64(restore_ns, 1000000) * grown /
		       (FLOOR_SLOTS * FLOOR_SLOT_MS);
}
