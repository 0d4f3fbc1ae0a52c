// SPDX-License-Identifier: GPL-2.0
/*
 * Report only memory that stayed free for a whole window.
 *
 * The lowest free memory of each slot is kept, so that the minimum over a window
 * costs a fixed amount of memory and time. A window has PACER_SLOTS slots, or as
 * many as it has milliseconds. Its length need not be a multiple of that: slots
 * are then of uneven length, by a millisecond. A slot leaves the window as a
 * whole: the window in force is never shorter than asked for, and longer by less
 * than one slot.
 *
 * Memory that is taken back soon after it was told is regretted: keeping it
 * would have been cheaper. The window in force is then doubled, up to a limit,
 * and halved again when nothing was regretted for some windows, and nothing would
 * have been with half the window. What was told lately is kept slot by slot, like
 * the minimum. docs/pacing.md says why.
 */
#include "ledger.h"
#include "pacer.h"
#include "slots.h"

static unsigned long less_reserve(const struct pacer *p, unsigned long free)
{
	return free > p->reserve ? free - p->reserve : 0;
}

/**
 * aeration_pacer_init - start a window that knows nothing yet
 * @p: the pacer
 * @now_ms: the time, ms, on any clock that does not run backwards
 * @window_ms: length of the window, ms, 0 to PACER_WINDOW_MAX_MS, which is what
 *	more counts as; 0 makes all free memory above the reserve surplus at once,
 *	and never backs off
 * @limit_ms: how long the window may become by backing off, ms, likewise; it is
 *	doubled for as long as it stays within. Less than twice @window_ms: it
 *	never backs off
 * @reserve: free pages that are never surplus
 * @step: pages by which free memory must move to count as changed
 *
 * What was free before is unknown, so a full window has to pass before
 * anything is surplus.
 */
void aeration_pacer_init(struct pacer *p, u64 now_ms, u32 window_ms,
			 u32 limit_ms,
			 unsigned long reserve, unsigned long step)
{
	unsigned int i;

	if (now_ms > PACER_TIME_MAX_MS)
		now_ms = PACER_TIME_MAX_MS;
	p->window_ms = smaller(window_ms, PACER_WINDOW_MAX_MS);
	p->limit_ms = smaller(limit_ms, PACER_WINDOW_MAX_MS);
	p->doubled = 0;
	p->now_ms = now_ms;
	p->calm_since = now_ms;
	p->reserve = reserve;
	p->scraps = 0;
	p->step = step;
	p->newest = slot_at(p->window_ms, now_ms);
	for (i = 0; i < PACER_RING; i++)
		p->low[i] = 0;
	aeration_ledger_begin(p, &p->real, 0);
	aeration_ledger_begin(p, &p->thought, 0);
	p->regretted = 0;
	p->free = 0;
	p->level = 0;
	p->level_since = now_ms;
}

/**
 * aeration_pacer_set_reserve - change how many pages are never surplus
 * @p: the pacer
 * @reserve: free pages that are never surplus
 */
void aeration_pacer_set_reserve(struct pacer *p, unsigned long reserve)
{
	p->reserve = reserve;
}

/* Lowest free memory in so many slots, the newest first; pages. */
static unsigned long lowest_of(const struct pacer *p, u64 slots)
{
	unsigned long low = p->free;
	u64 i;

	for (i = 0; i < slots; i++)
		low = smaller(low, p->low[at(p->newest - i)]);
	return low;
}

/* What may be told if so much was free: the reserve may be made of scraps. */
static unsigned long tellable(const struct pacer *p, unsigned long low)
{
	return smaller(less_reserve(p, low),
		       low > p->scraps ? low - p->scraps : 0);
}

/* What would have been told by now with half the window in force; pages. */
static unsigned long thought_surplus(const struct pacer *p)
{
	u32 half = aeration_pacer_window_ms(p) / 2;

	return tellable(p, lowest_of(p, slots_within(p, half)));
}

/* What would have been told by now with the window in force; pages. */
static unsigned long window_surplus(const struct pacer *p)
{
	u32 window_ms = aeration_pacer_window_ms(p);

	return tellable(p, lowest_of(p, slots_within(p, window_ms)));
}

/*
 * Tell in thought what is surplus with half the window. It only grows when a slot
 * begins.
 */
static void think(struct pacer *p)
{
	unsigned long surplus;

	if (!p->doubled)
		return;
	surplus = thought_surplus(p);
	if (surplus > p->thought.out)
		aeration_ledger_tell(p, &p->thought, surplus - p->thought.out);
}

/*
 * Start the slots after the newest one, up to the one of this time. Nobody
 * looked since the last sample, in the early part of that slot either: the lower
 * of the samples on either side stands for them.
 */
static void advance(struct pacer *p, u64 now_ms, unsigned long free)
{
	unsigned long unseen = smaller(p->free, free);
	u64 slot, started;

	if (now_ms > PACER_TIME_MAX_MS)
		now_ms = PACER_TIME_MAX_MS;
	if (now_ms < p->now_ms)
		now_ms = p->now_ms;
	slot = slot_at(aeration_pacer_window_ms(p), now_ms);
	started = slot - p->newest;
	if (started > PACER_RING)
		started = PACER_RING;
	for (; started; started--) {
		p->newest = slot - started + 1;
		p->now_ms = slot_start(aeration_pacer_window_ms(p), p->newest);
		p->low[at(p->newest)] = unseen;
		p->real.told[at(p->newest)] = 0;
		p->thought.told[at(p->newest)] = 0;
		think(p);
	}
	p->now_ms = now_ms;
}

/*
 * Lowest free memory from one time to another, both included. What was before
 * the oldest slot is not known and counts as nothing.
 */
static unsigned long lowest(const struct pacer *p, u64 from_ms, u64 to_ms)
{
	u64 slot = slot_at(aeration_pacer_window_ms(p), from_ms);
	u64 last = slot_at(aeration_pacer_window_ms(p), to_ms);
	unsigned long low = p->free;

	if (last > p->newest)
		last = p->newest;
	if (slot + PACER_RING <= p->newest)
		return 0;
	for (; slot <= last; slot++)
		low = smaller(low, p->low[at(slot)]);
	return low;
}

/*
 * Sort what is known into the slots of a window of another length. Where a slot
 * is divided, its lowest stands for all parts, so nothing becomes surplus too
 * early; what was told in it counts as told at its beginning. What is told in
 * thought from then on is that of another window, and begins with what is surplus;
 * half of a window that was doubled is the window before.
 */
static void resize(struct pacer *p, unsigned int doubled)
{
	struct pacer was = *p;
	u32 old = aeration_pacer_window_ms(p), new;
	u64 i;

	p->doubled = doubled;
	new = aeration_pacer_window_ms(p);
	p->newest = slot_at(new, p->now_ms);
	for (i = 0; i < PACER_RING; i++) {
		u64 slot = p->newest - i;

		p->real.told[i] = 0;
		if (i <= p->newest)
			p->low[at(slot)] = lowest(&was, slot_start(new, slot),
						  slot_start(new, slot + 1) - 1);
	}
	for (i = 0; i < PACER_RING && i <= was.newest; i++) {
		u64 slot = slot_at(new, slot_start(old, was.newest - i));
		unsigned long *told = &p->real.told[at(slot)];

		if (slot + PACER_RING > p->newest)
			*told = sum(*told, was.real.told[at(was.newest - i)]);
	}
	aeration_ledger_begin(p, &p->thought, doubled > was.doubled ?
		     window_surplus(&was) : thought_surplus(p));
}

/*
 * Too much of what was told was taken back. That is judged once: a guest
 * that takes more of the same does not show that the longer window is too short.
 */
static void be_sorry(struct pacer *p)
{
	if (p->window_ms && 2 * aeration_pacer_window_ms(p) <= p->limit_ms)
		resize(p, p->doubled + 1);
	aeration_ledger_close(p, &p->real);
	p->calm_since = p->now_ms;
}

/*
 * With half the window this would have been regretted: leave it as it is for
 * another stretch.
 */
static void think_better(struct pacer *p, unsigned long free)
{
	u64 unused = 0;

	if (!p->doubled || free >= p->thought.out)
		return;
	if (aeration_ledger_take_back(p, &p->thought, p->thought.out - free, &unused)) {
		aeration_ledger_close(p, &p->thought);
		p->calm_since = p->now_ms;
	}
}

/* After a stretch without a verdict the next begins, with half the window. */
static void calm_down(struct pacer *p)
{
	while (p->window_ms && p->now_ms - p->calm_since >= calm_ms(p)) {
		if (p->doubled) {
			p->calm_since += calm_ms(p);
			resize(p, p->doubled - 1);
		} else {
			p->calm_since = p->now_ms;
		}
		aeration_ledger_begin_stretch(p, &p->real);
	}
}

/**
 * aeration_pacer_sample - take note of how much is free
 * @p: the pacer
 * @now_ms: the time, ms; one before the last call's counts as the same
 * @free: free pages, those in flight to the hypervisor included
 */
void aeration_pacer_sample(struct pacer *p, u64 now_ms, unsigned long free)
{
	unsigned long *low;

	advance(p, now_ms, free);
	low = &p->low[at(p->newest)];
	*low = smaller(*low, free);
	p->free = free;

	if (free < p->real.out)
		aeration_pacer_taken(p, now_ms, p->real.out - free);
	think_better(p, free);
	calm_down(p);
	aeration_ledger_turn_page(p, &p->real);
	aeration_ledger_turn_page(p, &p->thought);

	if (aeration_pacer_moved(p, free)) {
		p->level = free;
		p->level_since = p->now_ms;
	}
}

/**
 * aeration_pacer_told - take note of what was told to the hypervisor
 * @p: the pacer
 * @now_ms: the time, ms; one before the last call's counts as the same
 * @pages: pages told; they count as free
 */
void aeration_pacer_told(struct pacer *p, u64 now_ms, unsigned long pages)
{
	advance(p, now_ms, p->free);
	aeration_ledger_tell(p, &p->real, pages);
}

/**
 * aeration_pacer_taken - take note of what the guest took back
 * @p: the pacer
 * @now_ms: the time, ms; one before the last call's counts as the same
 * @pages: pages that had been told to the hypervisor
 *
 * For a caller that knows. What aeration_pacer_sample() can tell it notes by itself:
 * memory that was told is taken last, so when less is free than is told, the
 * difference was taken back.
 */
void aeration_pacer_taken(struct pacer *p, u64 now_ms, unsigned long pages)
{
	advance(p, now_ms, p->free);
	pages = smaller(pages, p->real.out);
	if (aeration_ledger_take_back(p, &p->real, pages, &p->regretted))
		be_sorry(p);
}

/**
 * aeration_pacer_set_out - correct how much of what was told is not taken back
 * @p: the pacer
 * @out: pages
 *
 * What is less than was thought is not regretted: it was not seen to be taken.
 */
void aeration_pacer_set_out(struct pacer *p, unsigned long out)
{
	p->real.out = out;
}

/**
 * aeration_pacer_set_scraps - how much of what is free cannot be told
 * @p: the pacer
 * @scraps: free pages in pieces smaller than the hypervisor is told of, or where too
 *	little is free
 *
 * A shorter window would not tell them, so it would not regret them either.
 */
void aeration_pacer_set_scraps(struct pacer *p, unsigned long scraps)
{
	p->scraps = scraps;
}

/**
 * aeration_pacer_surplus - memory that stayed free for a whole window, less the reserve
 * @p: the pacer
 *
 * Return: pages, reported ones included.
 */
unsigned long aeration_pacer_surplus(const struct pacer *p)
{
	u32 window_ms = aeration_pacer_window_ms(p);

	return less_reserve(p, lowest_of(p, window_ms ?
					 slots_within(p, window_ms) : 0));
}

/**
 * aeration_pacer_surplus_now - memory that is free at this moment, less the reserve
 * @p: the pacer
 *
 * Return: pages at the last sample, reported ones included; what a flush uses.
 */
unsigned long aeration_pacer_surplus_now(const struct pacer *p)
{
	return less_reserve(p, p->free);
}

/* How long free memory has to stay the same to count as settled, ms. */
static u64 settle_ms(const struct pacer *p)
{
	u64 ms = 2 * (u64)aeration_pacer_window_ms(p);

	return ms < PACER_SETTLE_MIN_MS ? PACER_SETTLE_MIN_MS : ms;
}

/**
 * aeration_pacer_settled - has free memory stayed the same for two windows?
 * @p: the pacer
 * @now_ms: the time, ms
 *
 * Return: true if sampling may stop until aeration_pacer_moved() says otherwise.
 */
bool aeration_pacer_settled(const struct pacer *p, u64 now_ms)
{
	return now_ms >= p->level_since &&
	       now_ms - p->level_since > settle_ms(p);
}

/**
 * aeration_pacer_next_ms - when a sample is of use although nothing changes
 * @p: the pacer
 *
 * While free memory stays as it is, the surplus grows only when a slot leaves the
 * window in which less was free, or when the window gets shorter.
 *
 * Return: the earliest time, ms, at which the surplus has grown by a step, a window
 *	that has backed off is halved, or free memory counts as settled.
 */
u64 aeration_pacer_next_ms(const struct pacer *p)
{
	u32 window_ms = aeration_pacer_window_ms(p);
	u64 i, slots = slots_within(p, window_ms);
	u64 next = p->level_since + settle_ms(p) + 1;
	unsigned long lowest = lowest_of(p, slots), newer = p->free;

	if (!p->window_ms)
		return next;
	if (p->doubled)
		next = earlier(next, p->calm_since + calm_ms(p));
	for (i = 0; i < slots && newer - lowest >= p->step; i++) {
		u64 slot = p->newest - i;
		u64 left = slot_start(window_ms, slot + 1) + window_ms;

		next = earlier(next, left);
		newer = smaller(newer, p->low[at(slot)]);
	}
	return next;
}

/**
 * aeration_pacer_moved - is free memory a step away from where it was?
 * @p: the pacer
 * @free: free pages, those in flight to the hypervisor included
 *
 * Return: true if the difference to the last level is a step or more.
 */
bool aeration_pacer_moved(const struct pacer *p, unsigned long free)
{
	unsigned long gap = free > p->level ? free - p->level : p->level - free;

	return gap >= p->step;
}

/**
 * aeration_pacer_period_ms - how often to sample while free memory changes
 * @p: the pacer
 *
 * Does not get longer with the window in force: memory that is used for a short
 * time must not be overlooked just where that happens.
 *
 * Return: time between two samples, ms.
 */
u32 aeration_pacer_period_ms(const struct pacer *p)
{
	u32 slot = slot_ms(p->window_ms);

	if (slot < PACER_PERIOD_MIN_MS)
		return PACER_PERIOD_MIN_MS;
	if (slot > PACER_PERIOD_MAX_MS)
		return PACER_PERIOD_MAX_MS;
	return slot;
}
