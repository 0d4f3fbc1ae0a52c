/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The pacer decides how much free memory may be reported, and when.
 *
 * It is pure: it allocates nothing, takes no lock, reads no clock and no
 * allocator state. Its caller passes in what it needs and serialises the calls.
 * The same object code runs in user space, where it is tested.
 */
#ifndef _AERATION_PACER_H
#define _AERATION_PACER_H

#include <linux/types.h>

/* Slots a window is divided into; more would sharpen its edge and cost memory. */
#define PACER_SLOTS		16

/* Shortest and longest time between two samples while memory changes, ms. */
#define PACER_PERIOD_MIN_MS	20
#define PACER_PERIOD_MAX_MS	1000

/* A guest counts as settled no sooner than this after its last change, ms. */
#define PACER_SETTLE_MIN_MS	500

/* Longest window, ms: beyond the 30 s to which a window may back off. */
#define PACER_WINDOW_MAX_MS	60000

/**
 * struct pacer - what is known of the guest's free memory
 * @window_ms: how long memory must have stayed free to be surplus, ms
 * @reserve: free pages that are never surplus
 * @step: pages by which free memory must move to count as changed
 * @slot_ms: width of one slot, ms
 * @newest: number of the newest slot, in slots since time zero
 * @low: lowest free pages seen in each slot, by slot number modulo the size;
 *	one more than PACER_SLOTS, because the newest is still being filled
 * @free: free pages at the last sample
 * @level: free pages when they last moved by @step
 * @level_since: time of that move, ms
 */
struct pacer {
	u32 window_ms;
	unsigned long reserve;
	unsigned long step;
	u32 slot_ms;
	u64 newest;
	unsigned long low[PACER_SLOTS + 1];
	unsigned long free;
	unsigned long level;
	u64 level_since;
};

void pacer_init(struct pacer *p, u64 now_ms, u32 window_ms,
		unsigned long reserve, unsigned long step);
void pacer_set_reserve(struct pacer *p, unsigned long reserve);
void pacer_sample(struct pacer *p, u64 now_ms, unsigned long free);
unsigned long pacer_surplus(const struct pacer *p);
unsigned long pacer_surplus_now(const struct pacer *p);
bool pacer_settled(const struct pacer *p, u64 now_ms);
bool pacer_moved(const struct pacer *p, unsigned long free);
u32 pacer_period_ms(const struct pacer *p);
unsigned long pacer_budget(unsigned long surplus, unsigned long reported,
			   unsigned long reportable);
bool pacer_fits(unsigned long budget, unsigned long pages);

#endif /* _AERATION_PACER_H */
