/* SPDX-License-Identifier: GPL-2.0 */
/* What the pacer's tests share. */
#ifndef UNIT_PACER_HELP_H
#define UNIT_PACER_HELP_H

#include "ktap.h"
#include "pacer.h"

#define STEP	4096

/* What a window may be too long by: a sixteenth of it, 1 ms at least. */
static inline u32 slot_of(u32 window)
{
	return window > PACER_SLOTS ?
	       (window + PACER_SLOTS - 1) / PACER_SLOTS : 1;
}

/* Sample the same level for a while. */
static inline u64 rest(struct pacer *p, u64 now, u64 ms, unsigned long free)
{
	u64 end = now + ms;

	for (; now < end; now += aeration_pacer_period_ms(p))
		aeration_pacer_sample(p, now, free);
	return now;
}

/*
 * Double the window in force so many times, as far as the limit allows, and wait
 * until nothing of that is in the window any more. Return: the time.
 */
static inline u64 back_off(struct pacer *p, u64 now, unsigned int times,
			   unsigned long free)
{
	unsigned int i;

	for (i = 0; i < times; i++) {
		now += 2 * (u64)aeration_pacer_window_ms(p) + 2;
		aeration_pacer_sample(p, now, free);
		aeration_pacer_told(p, now, free);
		aeration_pacer_taken(p, now, free);
	}
	for (i = 0; i < 3; i++) {
		now += aeration_pacer_window_ms(p) + 1;
		aeration_pacer_sample(p, now, free);
	}
	return now;
}

#endif
