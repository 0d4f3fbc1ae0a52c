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

/* Longest window, and longest that it may back off to, ms. */
#define PACER_WINDOW_MAX_MS	60000

/* Times beyond this count as this, so that no product overflows; ms. */
#define PACER_TIME_MAX_MS	(~0ULL >> 17)

/*
 * So many windows are a stretch: without a verdict of regret in it, the window in
 * force is halved.
 */
#define PACER_CALM_WINDOWS	8

/*
 * Regretting one part in this many of what was told lately doubles it, and so does
 * one in this many of what was told in a stretch.
 */
#define PACER_REGRET_SHARE	8
#define PACER_REGRET_MOST	2

/*
 * Regretting less than so many steps says nothing: as much as half a batch goes
 * beyond the budget by itself, see aeration_pacer_fits().
 */
#define PACER_REGRET_STEPS	4

/**
 * struct pacer_ledger - what was told, and taken back
 * @told: pages told in each slot and not taken back since, numbered like
 *	&pacer.low
 * @out: pages told that the guest has not taken back, as far as is known
 * @fresh: number of the first slot of which what was told is yet to be judged
 * @sorry: pages regretted since @sorry_since that are yet to be judged
 * @sorry_since: time, ms; a window ago at most
 * @calm_began: when the present stretch of @calm_told began, ms
 * @calm_told: pages told in the present stretch, those taken back since included
 * @calm_sorry: pages regretted in it; there was no verdict about them
 */
struct pacer_ledger {
	unsigned long told[PACER_SLOTS + 1];
	unsigned long out;
	u64 fresh;
	unsigned long sorry;
	u64 sorry_since;
	u64 calm_began;
	unsigned long calm_told;
	unsigned long calm_sorry;
};

/**
 * struct pacer - what is known of the guest's free memory
 * @window_ms: how long memory must have stayed free to be surplus, ms, as asked
 *	for
 * @limit_ms: the window in force does not back off beyond this, ms
 * @doubled: how many times the window in force is doubled
 * @now_ms: the latest time that any call was told, ms
 * @calm_since: when the present stretch of calm began, ms: at the last verdict of
 *	regret, or at the end of the stretch before
 * @reserve: free pages that are never surplus
 * @scraps: free pages that cannot be told, as far as is known: in pieces too small,
 *	or where too little is free
 * @step: pages by which free memory must move to count as changed
 * @newest: number of the slot that @now_ms is in, in slots since time zero
 * @low: lowest free pages seen in each slot, by slot number modulo the size;
 *	one more than PACER_SLOTS, because the newest is still being filled
 * @real: what was told to the hypervisor
 * @thought: what would have been told if the window in force were half as long;
 *	kept while it is longer than what was asked for
 * @regretted: pages taken back within @window_ms of being told, ever
 * @free: free pages at the last sample
 * @level: free pages when they last moved by @step
 * @level_since: time of that move, ms
 */
struct pacer {
	u32 window_ms;
	u32 limit_ms;
	unsigned int doubled;
	u64 now_ms;
	u64 calm_since;
	unsigned long reserve;
	unsigned long scraps;
	unsigned long step;
	u64 newest;
	unsigned long low[PACER_SLOTS + 1];
	struct pacer_ledger real;
	struct pacer_ledger thought;
	u64 regretted;
	unsigned long free;
	unsigned long level;
	u64 level_since;
};

void aeration_pacer_init(struct pacer *p, u64 now_ms, u32 window_ms,
			 u32 limit_ms,
			 unsigned long reserve, unsigned long step);
void aeration_pacer_set_reserve(struct pacer *p, unsigned long reserve);
void aeration_pacer_sample(struct pacer *p, u64 now_ms, unsigned long free);
void aeration_pacer_told(struct pacer *p, u64 now_ms, unsigned long pages);
void aeration_pacer_taken(struct pacer *p, u64 now_ms, unsigned long pages);
void aeration_pacer_shift(struct pacer *p, unsigned long pages);
void aeration_pacer_set_out(struct pacer *p, unsigned long out);
void aeration_pacer_set_scraps(struct pacer *p, unsigned long scraps);
unsigned long aeration_pacer_surplus(const struct pacer *p);
unsigned long aeration_pacer_surplus_now(const struct pacer *p);
bool aeration_pacer_settled(const struct pacer *p, u64 now_ms);
bool aeration_pacer_moved(const struct pacer *p, unsigned long free);
u64 aeration_pacer_next_ms(const struct pacer *p);
u32 aeration_pacer_period_ms(const struct pacer *p);

/**
 * aeration_pacer_window_ms - how long memory must stay free at present
 * @p: the pacer
 *
 * Return: the window in force, ms.
 */
static inline u32 aeration_pacer_window_ms(const struct pacer *p)
{
	return p->window_ms << p->doubled;
}

/**
 * aeration_pacer_budget - how much may be reported now
 * @surplus: pages that are surplus, from aeration_pacer_surplus() or
 *	aeration_pacer_surplus_now()
 * @reported: free pages that are reported already
 * @reportable: free pages that are not, in blocks that can be
 *
 * Return: pages.
 */
static inline unsigned long
aeration_pacer_budget(unsigned long surplus, unsigned long reported,
		      unsigned long reportable)
{
	if (surplus <= reported)
		return 0;
	return surplus - reported < reportable ? surplus - reported : reportable;
}

/**
 * aeration_pacer_fits - does a batch go within a budget?
 * @budget: pages that may still be reported
 * @pages: pages in the batch
 *
 * A batch is all or nothing, and the allocator makes it as large as it likes.
 * Were it to fit as a whole, the last part of every surplus would never leave.
 *
 * Return: true if half of the batch or more fits.
 */
static inline bool aeration_pacer_fits(unsigned long budget, unsigned long pages)
{
	return budget && budget >= pages - pages / 2;
}

#endif /* _AERATION_PACER_H */
