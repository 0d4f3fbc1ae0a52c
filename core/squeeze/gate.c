// SPDX-License-Identifier: GPL-2.0
/*
 * How much of what is cached a squeeze takes, and when it has to end; see gate.h.
 */
#include <linux/math64.h>
#include <linux/minmax.h>
#include "gate.h"

/**
 * aeration_gate_cold - how much of what is cached nobody has used lately
 * @now: what the guest is like
 * @least: pages that stay cached in any case
 *
 * What was used twice is active, and stays. The mm turns active pages into inactive
 * ones when it finds too few of those, so no more is taken than what is cold now.
 *
 * Return: pages.
 */
unsigned long aeration_gate_cold(const struct gate_now *now,
				 unsigned long least)
{
	unsigned long keep = max(now->busy, least);

	return now->cached - min(now->cached, keep);
}

/**
 * aeration_gate_begin - begin a squeeze
 * @gate: it
 * @now: what the guest is like
 * @keep: pages of files that stay cached
 * @within_ms: how long it may take, ms
 */
void aeration_gate_begin(struct gate *gate, const struct gate_now *now,
			 unsigned long keep, u32 within_ms)
{
	*gate = (struct gate){
		.began = *now,
		.base = *now,
		.looked = now->cached,
		.until = now->ms + within_ms,
		.keep = keep,
		.slice = GATE_SLICE_FIRST,
	};
}

/**
 * aeration_gate_base - it has looked at what goes on in any case
 * @gate: the squeeze, which has taken nothing yet
 * @now: what the guest is like
 * @us: so long has it looked, us
 * @stalled_us: so long did somebody wait for memory meanwhile, us
 */
void aeration_gate_base(struct gate *gate, const struct gate_now *now, u64 us,
			u64 stalled_us)
{
	gate->base = *now;
	gate->looked = now->cached;
	gate->base_stalled = div64_u64(min(stalled_us, us) << 10,
				       max_t(u64, us, 1));
}

static bool is_stalled(const struct gate *gate)
{
	u64 before = (gate->rested_us * gate->base_stalled) >> 10;

	return gate->stalled_us > before + max_t(u64, GATE_STALL_LEAST_US,
						 div_u64(gate->rested_us,
							 GATE_STALL_SHARE));
}

/* What would have been read again since it began to take. */
static u64 read_again_anyway(const struct gate *gate, u64 ms)
{
	u64 before = gate->base.refaults - gate->began.refaults;

	return div64_u64(before * (ms - gate->base.ms),
			 max_t(u64, gate->base.ms - gate->began.ms, 1));
}

static unsigned long may_be_read_again(const struct gate *gate)
{
	return max_t(unsigned long, GATE_REFAULT_LEAST,
		     gate->taken / GATE_REFAULT_SHARE);
}

static bool is_read_again(const struct gate *gate, const struct gate_now *now)
{
	u64 anyway = GATE_REFAULT_BASE * read_again_anyway(gate, now->ms);

	return now->refaults - gate->base.refaults + now->again >
	       anyway + may_be_read_again(gate);
}

/**
 * aeration_gate_doubts - may so much have been read again that it has to be looked for?
 * @gate: the squeeze
 * @now: what the guest is like
 *
 * Return: true if more was cached since it was looked for last than may be read again,
 *	whatever it was.
 */
bool aeration_gate_doubts(const struct gate *gate, const struct gate_now *now)
{
	return now->cached + gate->taken >
	       gate->looked + may_be_read_again(gate);
}

/**
 * aeration_gate_looked - it was looked for
 * @gate: the squeeze
 * @now: what the guest is like
 */
void aeration_gate_looked(struct gate *gate, const struct gate_now *now)
{
	gate->looked = now->cached + gate->taken;
}

/**
 * aeration_gate_next - may more be taken?
 * @gate: the squeeze
 * @now: what the guest is like
 * @room: set to how many pages may be, if so
 *
 * Return: GATE_OPEN, or why not.
 */
enum gate_end aeration_gate_next(const struct gate *gate,
				 const struct gate_now *now,
				 unsigned long *room)
{
	if (now->stalls != gate->began.stalls || is_stalled(gate))
		return GATE_PRESSURE;
	if (is_read_again(gate, now))
		return GATE_REFAULTS;
	if (now->cached < gate->keep + GATE_SLICE_LEAST)
		return GATE_ENOUGH;
	if (now->ms >= gate->until)
		return GATE_LATE;
	if (gate->barren)
		return GATE_BARREN;
	*room = now->cached - gate->keep;
	return GATE_OPEN;
}

/**
 * aeration_gate_slice - how much is asked of the kernel's reclaim at once
 * @gate: the squeeze
 * @room: how many pages may be taken
 *
 * Return: pages.
 */
unsigned long aeration_gate_slice(const struct gate *gate, unsigned long room)
{
	return min(gate->slice, room);
}

/**
 * aeration_gate_took - a slice has ended
 * @gate: the squeeze
 * @asked: so many pages should have been taken, not 0
 * @pages: so many were
 * @us: so long did it take, us
 *
 * The next one is such that it takes the time that one should.
 */
void aeration_gate_took(struct gate *gate, unsigned long asked,
			unsigned long pages, u64 us)
{
	u64 fitting = div64_u64((u64)asked * GATE_SLICE_MS * 1000,
				max_t(u64, us, 1));

	gate->taken += pages;
	gate->barren = pages < asked / 8;
	fitting = min_t(u64, fitting, 2 * gate->slice);
	gate->slice = clamp_t(u64, fitting, GATE_SLICE_LEAST, GATE_SLICE_MOST);
}

/**
 * aeration_gate_rested - a rest has ended
 * @gate: the squeeze
 * @us: so long was it, us
 * @stalled_us: so long did somebody wait for memory meanwhile, us
 */
void aeration_gate_rested(struct gate *gate, u64 us, u64 stalled_us)
{
	if (gate->rested_us >= GATE_REST_WINDOW_US) {
		gate->rested_us /= 2;
		gate->stalled_us /= 2;
	}
	gate->rested_us += us;
	gate->stalled_us += stalled_us;
}
