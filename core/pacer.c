// SPDX-License-Identifier: GPL-2.0
/*
 * Report only memory that stayed free for a whole window.
 *
 * The lowest free memory of each of PACER_SLOTS slots is kept, so that the
 * minimum over a window costs a fixed amount of memory and time. A slot leaves
 * the window as a whole: the window in force is never shorter than asked for,
 * and longer by at most one slot.
 *
 * Memory that is taken back soon after it was told is regretted: keeping it
 * would have been cheaper. The window in force is then doubled, up to a limit,
 * and halved again when nothing was regretted for some windows. What was told
 * lately is kept slot by slot, like the minimum. docs/pacing.md says why.
 */
#include "pacer.h"

#define PACER_RING	(PACER_SLOTS + 1)

static unsigned long less_reserve(const struct pacer *p, unsigned long free)
{
	return free > p->reserve ? free - p->reserve : 0;
}

static unsigned long smaller(unsigned long a, unsigned long b)
{
	return a < b ? a : b;
}

/**
 * aeration_pacer_init - start a window that knows nothing yet
 * @p: the pacer
 * @now_ms: the time, ms, on any clock that does not run backwards
 * @window_ms: length of the window, ms, 0 to PACER_WINDOW_MAX_MS; 0 makes all
 *	free memory above the reserve surplus at once, and never backs off
 * @limit_ms: how long the window may become by backing off, ms, 0 to
 *	PACER_WINDOW_MAX_MS; no more than @window_ms: it never backs off
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

	p->window_ms = window_ms;
	p->limit_ms = limit_ms;
	p->doubled = 0;
	p->calm_since = now_ms;
	p->reserve = reserve;
	p->step = step;
	p->slot_ms = (window_ms + PACER_SLOTS - 1) / PACER_SLOTS;
	if (!p->slot_ms)
		p->slot_ms = 1;
	p->newest = now_ms / p->slot_ms;
	for (i = 0; i < PACER_RING; i++) {
		p->low[i] = 0;
		p->told[i] = 0;
	}
	p->out = 0;
	p->regretted = 0;
	p->sorry = 0;
	p->sorry_since = now_ms;
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

/*
 * Start the slots after the newest one, up to @slot. Nobody looked since the
 * last sample, in the early part of @slot either: the lower of the samples on
 * either side stands for them.
 */
static void advance(struct pacer *p, u64 slot, unsigned long free)
{
	unsigned long unseen = smaller(p->free, free);
	u64 started = slot - p->newest;
	u64 i;

	if (started > PACER_RING)
		started = PACER_RING;
	for (i = 0; i < started; i++) {
		p->low[(slot - i) % PACER_RING] = unseen;
		p->told[(slot - i) % PACER_RING] = 0;
	}
	p->newest = slot;
}

/* Is a slot, by number, in the ring, and not one that is yet to come? */
static bool known(const struct pacer *p, u64 slot)
{
	return slot <= p->newest && p->newest - slot < PACER_RING;
}

/*
 * Two slots become one. What was before the oldest slot is not known: nothing
 * is surplus before the longer window has passed.
 */
static void double_window(struct pacer *p)
{
	struct pacer was = *p;
	u64 i, n;

	p->slot_ms *= 2;
	p->newest /= 2;
	p->doubled++;
	for (i = 0; i < PACER_RING; i++)
		p->told[i] = 0;
	for (i = 0; i < PACER_RING && i <= p->newest; i++) {
		unsigned long *low = &p->low[(p->newest - i) % PACER_RING];
		unsigned long *told = &p->told[(p->newest - i) % PACER_RING];

		*low = p->free;
		for (n = 2 * (p->newest - i); n <= 2 * (p->newest - i) + 1; n++) {
			if (known(&was, n)) {
				*low = smaller(*low, was.low[n % PACER_RING]);
				*told += was.told[n % PACER_RING];
			} else if (n < was.newest) {
				*low = 0;
			}
		}
	}
}

/* One slot becomes two. Which of them it was told in is not known: the first. */
static void halve_window(struct pacer *p, u64 now_ms)
{
	struct pacer was = *p;
	u64 i;

	p->slot_ms /= 2;
	p->newest = 2 * was.newest + (now_ms / p->slot_ms > 2 * was.newest);
	p->doubled--;
	for (i = 0; i < PACER_RING && i <= p->newest; i++) {
		u64 n = p->newest - i;

		p->low[n % PACER_RING] = was.low[n / 2 % PACER_RING];
		p->told[n % PACER_RING] =
			n % 2 ? 0 : was.told[n / 2 % PACER_RING];
	}
}

/*
 * The guest took back what it had told the hypervisor. It is not known which:
 * the latest is assumed, and that is regretted if it is in the ring. A guest may
 * take what it needs bit by bit, so what is regretted within a window counts
 * together.
 */
static void take_back(struct pacer *p, u64 now_ms, unsigned long pages)
{
	unsigned long lately, regret = 0;
	unsigned int i;

	if (now_ms < p->sorry_since ||
	    now_ms - p->sorry_since > aeration_pacer_window_ms(p)) {
		p->sorry = 0;
		p->sorry_since = now_ms;
	}
	lately = p->sorry;
	for (i = 0; i < PACER_RING && i <= p->newest; i++) {
		unsigned long *told = &p->told[(p->newest - i) % PACER_RING];
		unsigned long part = smaller(*told, pages - regret);

		lately += *told;
		*told -= part;
		regret += part;
	}
	p->regretted += regret;
	p->sorry += regret;
	if (!regret || p->sorry < lately / PACER_REGRET_SHARE ||
	    p->sorry < p->step)
		return;
	p->sorry = 0;
	p->calm_since = now_ms;
	if (p->window_ms && 2 * (u64)aeration_pacer_window_ms(p) <= p->limit_ms)
		double_window(p);
}

static void calm_down(struct pacer *p, u64 now_ms)
{
	while (p->doubled && now_ms >= p->calm_since &&
	       now_ms - p->calm_since >=
	       (u64)PACER_CALM_WINDOWS * aeration_pacer_window_ms(p)) {
		p->calm_since += (u64)PACER_CALM_WINDOWS * aeration_pacer_window_ms(p);
		halve_window(p, now_ms);
	}
}

/**
 * aeration_pacer_sample - take note of how much is free
 * @p: the pacer
 * @now_ms: the time, ms; one before the last sample's counts as the same
 * @free: free pages, those in flight to the hypervisor included
 */
void aeration_pacer_sample(struct pacer *p, u64 now_ms, unsigned long free)
{
	u64 slot = now_ms / p->slot_ms;

	if (slot > p->newest)
		advance(p, slot, free);
	else
		p->low[p->newest % PACER_RING] =
			smaller(p->low[p->newest % PACER_RING], free);
	p->free = free;

	if (free < p->out)
		aeration_pacer_taken(p, now_ms, p->out - free);
	calm_down(p, now_ms);

	if (aeration_pacer_moved(p, free)) {
		p->level = free;
		p->level_since = now_ms;
	}
}

/**
 * aeration_pacer_told - take note of what was told to the hypervisor
 * @p: the pacer
 * @now_ms: the time, ms; one before the last sample's counts as the same
 * @pages: pages told; they count as free
 */
void aeration_pacer_told(struct pacer *p, u64 now_ms, unsigned long pages)
{
	u64 slot = now_ms / p->slot_ms;

	if (slot > p->newest)
		advance(p, slot, p->free);
	p->told[p->newest % PACER_RING] += pages;
	p->out += pages;
}

/**
 * aeration_pacer_taken - take note of what the guest took back
 * @p: the pacer
 * @now_ms: the time, ms
 * @pages: pages that had been told to the hypervisor
 *
 * For a caller that knows. What aeration_pacer_sample() can tell it notes by itself:
 * memory that was told is taken last, so when less is free than is told, the
 * difference was taken back.
 */
void aeration_pacer_taken(struct pacer *p, u64 now_ms, unsigned long pages)
{
	pages = smaller(pages, p->out);
	p->out -= pages;
	take_back(p, now_ms, pages);
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
	p->out = out;
}

/**
 * aeration_pacer_window_ms - how long memory must stay free at present
 * @p: the pacer
 *
 * Return: the window in force, ms.
 */
u32 aeration_pacer_window_ms(const struct pacer *p)
{
	return p->window_ms << p->doubled;
}

/**
 * aeration_pacer_surplus - memory that stayed free for a whole window, less the reserve
 * @p: the pacer
 *
 * Return: pages, reported ones included.
 */
unsigned long aeration_pacer_surplus(const struct pacer *p)
{
	unsigned long low = p->free;
	unsigned int i;

	if (p->window_ms)
		for (i = 0; i < PACER_RING; i++)
			low = smaller(low, p->low[i]);
	return less_reserve(p, low);
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

/**
 * aeration_pacer_settled - has free memory stayed the same for two windows?
 * @p: the pacer
 * @now_ms: the time, ms
 *
 * Return: true if sampling may stop until aeration_pacer_moved() says otherwise.
 */
bool aeration_pacer_settled(const struct pacer *p, u64 now_ms)
{
	u64 quiet = 2 * (u64)aeration_pacer_window_ms(p);

	if (quiet < PACER_SETTLE_MIN_MS)
		quiet = PACER_SETTLE_MIN_MS;
	return now_ms >= p->level_since && now_ms - p->level_since > quiet;
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
 * Return: time between two samples, ms.
 */
u32 aeration_pacer_period_ms(const struct pacer *p)
{
	if (p->slot_ms < PACER_PERIOD_MIN_MS)
		return PACER_PERIOD_MIN_MS;
	if (p->slot_ms > PACER_PERIOD_MAX_MS)
		return PACER_PERIOD_MAX_MS;
	return p->slot_ms;
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
unsigned long aeration_pacer_budget(unsigned long surplus,
				    unsigned long reported,
				    unsigned long reportable)
{
	if (surplus <= reported)
		return 0;
	return smaller(surplus - reported, reportable);
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
bool aeration_pacer_fits(unsigned long budget, unsigned long pages)
{
	return budget && budget >= pages - pages / 2;
}
