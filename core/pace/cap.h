/* SPDX-License-Identifier: GPL-2.0 */
/*
 * No more than so much in a second: what goes is a debt that shrinks at that speed, and
 * a second's worth of debt is free. Pure; the caller serialises.
 */
#ifndef _AERATION_CAP_H
#define _AERATION_CAP_H

#include <linux/math64.h>
#include <linux/types.h>

/* What a debt is counted by, ms; and what is as long as ever, so that nothing overflows. */
#define CAP_MS		1000
#define CAP_EVER_MS	3600000ULL

/**
 * struct cap - what has gone lately
 * @debt: pages
 * @at_ms: when it was so much, ms
 */
struct cap {
	u64 debt;
	u64 at_ms;
};

/* What of it is left by now, pages. */
static inline u64 cap_owed(const struct cap *cap, u64 now_ms, u32 rate)
{
	u64 ms = now_ms > cap->at_ms ? now_ms - cap->at_ms : 0;
	u64 paid = div_u64((ms < CAP_EVER_MS ? ms : CAP_EVER_MS) * rate, CAP_MS);

	return rate && cap->debt > paid ? cap->debt - paid : 0;
}

/**
 * aeration_cap_wait - for how long nothing more is to go
 * @cap: the cap
 * @now_ms: the time, ms
 * @rate: pages a second, which may have changed; 0: no cap
 *
 * Return: ms, 0 if more may go.
 */
static inline u64 aeration_cap_wait(const struct cap *cap, u64 now_ms, u32 rate)
{
	u64 owed = cap_owed(cap, now_ms, rate);

	return owed > rate ? div_u64((owed - rate) * CAP_MS, rate) + 1 : 0;
}

/**
 * aeration_cap_spend - take note of what has gone
 * @cap: the cap; all 0 at first
 * @now_ms: the time, ms; one before the last call's counts as the same
 * @rate: pages a second, or 0: no cap
 * @pages: pages that have gone
 *
 * Return: for how long nothing more is to go, ms.
 */
static inline u64 aeration_cap_spend(struct cap *cap, u64 now_ms, u32 rate,
				     unsigned long pages)
{
	cap->debt = cap_owed(cap, now_ms, rate) + (rate ? pages : 0);
	if (now_ms > cap->at_ms)
		cap->at_ms = now_ms;
	return aeration_cap_wait(cap, now_ms, rate);
}

#endif /* _AERATION_CAP_H */
