/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A pause that grows each time that something fails again. Pure; the caller
 * serialises.
 */
#ifndef _AERATION_BACKOFF_H
#define _AERATION_BACKOFF_H

#include <linux/types.h>

/**
 * struct backoff - when to try again
 * @min_ms: the first pause, ms, at least 1
 * @max_ms: the longest one, ms
 * @next_ms: the one after the next failure, ms
 * @until_ms: not before this time, ms; 0: at any time
 */
struct backoff {
	u32 min_ms;
	u32 max_ms;
	u32 next_ms;
	u64 until_ms;
};

/**
 * aeration_backoff_well - it did not fail: no pause
 * @b: the pause
 */
static inline void aeration_backoff_well(struct backoff *b)
{
	b->next_ms = b->min_ms;
	b->until_ms = 0;
}

/**
 * aeration_backoff_init - begin with no pause
 * @b: the pause
 * @min_ms: the first one, ms, at least 1
 * @max_ms: the longest one, ms
 */
static inline void aeration_backoff_init(struct backoff *b, u32 min_ms,
					 u32 max_ms)
{
	b->min_ms = min_ms;
	b->max_ms = max_ms;
	aeration_backoff_well(b);
}

/**
 * aeration_backoff_failed - it failed: begin a pause, longer than the last
 * @b: the pause
 * @now_ms: the time, ms
 */
static inline void aeration_backoff_failed(struct backoff *b, u64 now_ms)
{
	b->until_ms = now_ms + b->next_ms;
	b->next_ms = 2 * b->next_ms < b->max_ms ? 2 * b->next_ms : b->max_ms;
}

/**
 * aeration_backoff_left - how long the pause still is
 * @b: the pause
 * @now_ms: the time, ms
 *
 * Return: ms, 0 if there is none.
 */
static inline u32 aeration_backoff_left(const struct backoff *b, u64 now_ms)
{
	return b->until_ms > now_ms ? (u32)(b->until_ms - now_ms) : 0;
}

#endif /* _AERATION_BACKOFF_H */
