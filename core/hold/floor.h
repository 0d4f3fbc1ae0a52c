/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The floor: how much memory must be free while more of it is held.
 *
 * A guest whose memory is held can allocate what is free, and no more until the
 * hypervisor has given memory back. So what is free must last for as long as it
 * takes to notice and to restore, at the speed at which the guest allocates.
 *
 * Pure, like the pacer: no lock, no clock, no allocation; the caller serialises.
 */
#ifndef _AERATION_FLOOR_H
#define _AERATION_FLOOR_H

#include <linux/types.h>

/*
 * How far back to look, in slots and ms a slot: some sampling periods at the
 * default window, and long enough for a burst to fill several of them.
 */
#define FLOOR_SLOTS	8
#define FLOOR_SLOT_MS	64

/**
 * struct floor_slot - pages not in use in a slot, its beginning included
 * @high: the most
 * @low: the least
 * @fall: the furthest that they fell, from any time in it to a later one
 */
struct floor_slot {
	unsigned long high;
	unsigned long low;
	unsigned long fall;
};

/**
 * struct floor - how fast the guest allocates, and the hypervisor gives back
 * @newest: number of the newest slot, in slots since time zero
 * @slot: the slots, by number modulo FLOOR_SLOTS
 * @unused: pages not in use at the last sample
 * @ns_per_page: what restoring a page took, ns, as a running mean
 */
struct floor {
	u64 newest;
	struct floor_slot slot[FLOOR_SLOTS];
	unsigned long unused;
	unsigned long ns_per_page;
};

void aeration_floor_init(struct floor *f, u64 now_ms, unsigned long unused);
void aeration_floor_sample(struct floor *f, u64 now_ms, unsigned long unused);
void aeration_floor_restored(struct floor *f, unsigned long pages, u64 ns);
unsigned long aeration_floor_pages(const struct floor *f);

#endif /* _AERATION_FLOOR_H */
