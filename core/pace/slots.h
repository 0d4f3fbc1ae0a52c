/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The slots that a window is divided into, for the files of the pacer. Pure.
 */
#ifndef _AERATION_SLOTS_H
#define _AERATION_SLOTS_H

#include <linux/math64.h>
#include "pacer.h"

#define PACER_RING	(PACER_SLOTS + 1)

static inline unsigned long smaller(unsigned long a, unsigned long b)
{
	return a < b ? a : b;
}

static inline u64 earlier(u64 a, u64 b)
{
	return a < b ? a : b;
}

/* A sum that stays at the largest number there is instead of wrapping. */
static inline unsigned long sum(unsigned long a, unsigned long b)
{
	return a + b < a ? ~0UL : a + b;
}

/* Slots that a window of this length is divided into, at least 1. */
static inline u32 slots_of(u32 window_ms)
{
	if (!window_ms)
		return 1;
	return window_ms < PACER_SLOTS ? window_ms : PACER_SLOTS;
}

/* Number of the slot that a time is in. */
static inline u64 slot_at(u32 window_ms, u64 ms)
{
	return div_u64(ms * slots_of(window_ms), window_ms ? window_ms : 1);
}

/* The first millisecond of a slot. */
static inline u64 slot_start(u32 window_ms, u64 slot)
{
	u32 slots = slots_of(window_ms);

	return div_u64(slot * (window_ms ? window_ms : 1) + slots - 1, slots);
}

/* Length of the longest slot, ms. */
static inline u32 slot_ms(u32 window_ms)
{
	return window_ms ? (window_ms - 1) / slots_of(window_ms) + 1 : 1;
}

/* Where a slot is in the ring. */
static inline unsigned int at(u64 slot)
{
	u32 rest;

	div_u64_rem(slot, PACER_RING, &rest);
	return rest;
}

/* How many slots, the newest first, have the last @ms milliseconds in them. */
static inline u64 slots_within(const struct pacer *p, u32 ms)
{
	u64 from = p->now_ms > ms ? p->now_ms - ms : 0;

	return p->newest - slot_at(aeration_pacer_window_ms(p), from) + 1;
}

/* How long a stretch of calm is, ms. */
static inline u64 calm_ms(const struct pacer *p)
{
	return (u64)PACER_CALM_WINDOWS * aeration_pacer_window_ms(p);
}

#endif /* _AERATION_SLOTS_H */
