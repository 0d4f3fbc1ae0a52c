// SPDX-License-Identifier: GPL-2.0
/*
 * Grant what is surplus to the mm's passes; see report.h.
 *
 * Before memory has settled half of what is surplus may be reported: what is known of
 * it is an estimate. Then there is time to count.
 */
#include <linux/limits.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/time64.h>
#include "../pace/backoff.h"
#include "report.h"

/*
 * Less than this, pages, is not worth a pass before free memory has settled; nor less
 * than one part in so many of what is reported, which a pass has to walk over, under
 * zone->lock.
 */
#define WORTH		((16UL << 20) >> PAGE_SHIFT)
#define WORTH_SHARE	256

/*
 * Passes that were not worth it may take one part in this many of a CPU's time. One that
 * took longer than a pause of so long, ms, would be for, was held up by others.
 */
#define PASS_SHARE		50
#define PASS_PAUSE_MAX_MS	5000

/*
 * A grant of which the mm used nothing is followed by another after so long, ms, or
 * once memory has settled; then by so many at most.
 */
#define UNUSED_MS	1000
#define UNUSED_GRANTS	3

/*
 * How long to leave a hypervisor alone that refused a batch, ms: at first, and
 * at most, after refusing again and again.
 */
#define REFUSED_MIN_MS	1000
#define REFUSED_MAX_MS	16000

/*
 * What the mm asks for is looked for immediately, because memory may have been
 * used and freed unseen, and once more when what was freed has been free for a window.
 */
#define LOOKS_ASKED	2

/**
 * struct grant - what a decision goes by besides the pacer
 * @lock: protects what follows
 * @pause: after a refusal
 * @pass_at: the next pass is not before this time, ms
 * @unused: grants in a row, since memory settled, of which the mm used nothing
 * @unused_until: before this time, ms, no more is granted while memory moves
 * @asked: so many looks are due because the mm would have run a pass
 * @asks: how often it has asked
 * @asked_at: when it did last, ms
 * @look_at: the next look is not before this time, ms
 * @suspended: nothing is granted, but what a flush grants
 * @asked_only: so it is always; constant while reporting is started
 */
static struct grant {
	spinlock_t lock;	/* see above */
	struct backoff pause;
	u64 pass_at;
	unsigned int unused;
	u64 unused_until;
	unsigned int asked;
	unsigned int asks;
	u64 asked_at;
	u64 look_at;
	bool suspended;
	bool asked_only;
} state = {
	.lock = __SPIN_LOCK_UNLOCKED(state.lock),
};

static unsigned long beyond(unsigned long pages, unsigned long others)
{
	return pages > others ? pages - others : 0;
}

/* How much a pass has to report to be worth it where so much is reported, pages. */
static unsigned long worth(unsigned long reported)
{
	return max(WORTH, reported / WORTH_SHARE);
}

static int ms_until(u64 ms)
{
	u64 now = aeration_watch_now_ms();

	return ms > now ? min_t(u64, ms - now, INT_MAX) : 0;
}

/* What a pass may take, pages. */
static unsigned long most(void)
{
	return aeration_manners_most((unsigned long)PAGE_REPORTING_CAPACITY <<
				     aeration_census_largest());
}

/* The hypervisor took a batch. What a flush grants is not the pacer's to regret. */
static void on_told(unsigned long pages)
{
	struct pacer *pacer;
	bool suspended;

	aeration_census_told(pages);
	spin_lock(&state.lock);
	suspended = state.suspended || state.asked_only;
	state.unused = 0;
	state.unused_until = 0;
	aeration_backoff_well(&state.pause);
	spin_unlock(&state.lock);
	pacer = aeration_watch_lock();
	if (suspended)
		aeration_pacer_set_out(pacer, pacer->real.out + pages);
	else
		aeration_pacer_told(pacer, aeration_watch_now_ms(), pages);
	aeration_watch_unlock();
}

static void on_refused(void)
{
	spin_lock(&state.lock);
	aeration_backoff_failed(&state.pause, aeration_watch_now_ms());
	state.unused = 0;
	state.unused_until = 0;
	spin_unlock(&state.lock);
	/* The tick says when to go on. */
	aeration_watch_kick();
}

static bool on_ended(unsigned long pages, u64 ns)
{
	u64 pause = div_u64(ns, NSEC_PER_MSEC / PASS_SHARE);

	aeration_manners_spent(pages);
	if (pages >= worth(aeration_known_reported()))
		return !aeration_manners_rest_ms();
	spin_lock(&state.lock);
	state.pass_at = aeration_watch_now_ms() +
			min_t(u64, pause, PASS_PAUSE_MAX_MS);
	spin_unlock(&state.lock);
	return false;
}

/* Something was freed that the watch may have missed; the mm asks again if more is. */
static void on_asked(void)
{
	spin_lock(&state.lock);
	state.asked = LOOKS_ASKED;
	state.asks++;
	state.asked_at = aeration_watch_now_ms();
	state.look_at = 0;
	spin_unlock(&state.lock);
	aeration_watch_kick();
}

const struct pass_listener aeration_grant_listener = {
	.told = on_told,
	.refused = on_refused,
	.ended = on_ended,
	.asked = on_asked,
};

/**
 * aeration_grant_start - begin with nothing granted, asked for or counted
 * @asked_only: nothing is granted but what a flush grants
 *
 * Context: process context, before the watch starts.
 */
void aeration_grant_start(bool asked_only)
{
	spin_lock(&state.lock);
	aeration_backoff_init(&state.pause, REFUSED_MIN_MS, REFUSED_MAX_MS);
	state.pass_at = 0;
	state.unused = 0;
	state.unused_until = 0;
	state.asked = 0;
	state.asked_at = 0;
	state.look_at = 0;
	state.suspended = false;
	state.asked_only = asked_only;
	spin_unlock(&state.lock);
	aeration_known_nothing();
	aeration_manners_start();
}

/**
 * aeration_grant_retune - what could not be reported may be, now
 *
 * Context: process context.
 */
void aeration_grant_retune(void)
{
	spin_lock(&state.lock);
	state.unused = 0;
	state.unused_until = 0;
	spin_unlock(&state.lock);
}

/**
 * aeration_grant_suspend - grant nothing for a while, or go on
 * @suspend: which
 *
 * On return no pass is under way.
 *
 * Context: process context, not twice at a time; sleeps.
 */
void aeration_grant_suspend(bool suspend)
{
	spin_lock(&state.lock);
	state.suspended |= suspend;
	aeration_pass_limit(0);
	spin_unlock(&state.lock);
	aeration_pass_wait();
	if (suspend)
		return;
	spin_lock(&state.lock);
	state.suspended = false;
	spin_unlock(&state.lock);
	/* What was reported meanwhile, no watch timer has seen. */
	aeration_watch_kick();
}

/**
 * aeration_grant_all - grant all that is free beyond the reserve
 *
 * Context: process context, while suspended; sleeps until all memory is counted.
 * Return: pages, of which the pass takes what the cap leaves; not 0 if one has begun.
 */
unsigned long aeration_grant_all(void)
{
	unsigned long free, budget, reported;
	struct pacer *pacer;

	aeration_known_anew();
	while (!aeration_known_count())
		cond_resched();
	pacer = aeration_watch_lock();
	if (aeration_pass_read_free(&free))
		aeration_pacer_sample(pacer, aeration_watch_now_ms(), free);
	budget = aeration_pacer_surplus_now(pacer);
	aeration_watch_unlock();
	reported = aeration_known_reported();
	budget = aeration_pacer_budget(budget, reported,
				       aeration_known_reportable(reported));
	aeration_pass_grant(min(budget, most()), true);
	return budget;
}

/*
 * Does what a pass offers go within a budget? The mm stops a pass after a sixteenth of
 * a list, in whole batches, and one batch more. While memory moves all of them have to
 * go, as a pass in vain costs as much as another; once it has settled, the first.
 */
static bool is_enough(unsigned long budget, unsigned long pages, bool settled)
{
	unsigned int largest = aeration_census_largest();
	unsigned long batch = (unsigned long)PAGE_REPORTING_CAPACITY << largest;
	unsigned long offer = pages;

	if (!settled)
		offer = min(offer, batch * (DIV_ROUND_UP(pages, 16 * batch) + 1));
	batch = min(batch, pages);
	if (settled)
		offer = batch;
	return budget && budget >= offer - batch / 2;
}

/*
 * Of what the mm asked for, is there a block that was freed within the window? No
 * later sample would show it, if it is less than a step. Then look again when it has
 * been free for long enough. What it has asked for since is for the next tick.
 */
static void look_again(unsigned long surplus, unsigned int asks)
{
	struct pacer *pacer;
	unsigned long young;
	u32 window_ms;

	pacer = aeration_watch_lock();
	window_ms = aeration_pacer_window_ms(pacer);
	young = beyond(aeration_pacer_surplus_now(pacer), surplus);
	aeration_watch_unlock();
	if (!aeration_pacer_fits(young, 1UL << aeration_pass_order()))
		young = 0;
	spin_lock(&state.lock);
	if (state.asks == asks) {
		if (state.asked)
			state.asked = young ? state.asked - 1 : 0;
		state.look_at = aeration_watch_now_ms() + window_ms +
				window_ms / PACER_SLOTS + 1;
	}
	spin_unlock(&state.lock);
}

/* Nothing is to be done now. Return: when there may be, though nothing moves. */
static int later(const struct watch_sample *sample)
{
	int next = WATCH_IDLE;

	if (!sample->settled)
		return sample->next_ms;
	spin_lock(&state.lock);
	state.unused = 0;
	if (state.asked)
		next = ms_until(state.look_at);
	spin_unlock(&state.lock);
	return next;
}

/* Grant what is surplus and not reported yet. Return: false if that is too little. */
static bool grant(unsigned long surplus, bool settled)
{
	unsigned long reported = aeration_known_reported(), budget;
	unsigned long pages = aeration_known_reportable(reported);
	u64 now = aeration_watch_now_ms();
	bool ok;

	budget = aeration_pacer_budget(surplus, reported, pages);
	if (!is_enough(budget, pages, settled))
		return false;
	spin_lock(&state.lock);
	ok = !state.suspended && aeration_known_since(1) &&
	     (settled ? state.unused < UNUSED_GRANTS :
			budget >= worth(reported) &&
			now >= state.unused_until);
	if (ok) {
		if (settled)
			state.unused++;
		else
			state.unused_until = now + UNUSED_MS;
		aeration_pass_grant(min(budget, most()), false);
	}
	spin_unlock(&state.lock);
	return ok;
}

/* Has all memory been counted since it last moved, and since the mm asked? */
static bool is_counted(void)
{
	struct pacer *pacer;
	u64 moved, asked;

	pacer = aeration_watch_lock();
	moved = pacer->level_since;
	aeration_watch_unlock();
	spin_lock(&state.lock);
	asked = state.asked_at;
	spin_unlock(&state.lock);
	return aeration_known_since(max(moved, asked));
}

/*
 * There is something to grant, maybe. Once memory has settled there is time to count
 * all of it first: no pass is to be in vain.
 */
static int decide(const struct watch_sample *sample, unsigned int asks)
{
	if (!(sample->settled && is_counted()) && !aeration_known_wait_ms())
		aeration_known_count();
	if (sample->settled && !is_counted())
		return max(1, aeration_known_wait_ms());
	if (grant(sample->surplus, sample->settled))
		return sample->period_ms;
	if (sample->settled)
		look_again(sample->surplus, asks);
	return later(sample);
}

/*
 * Is it worth while to look closer? What moves leaves scraps behind, for instance what
 * a reported block is split into: those wait until no more moves. So does what the mm
 * asks for; the second look has its time.
 */
static bool is_worth_it(const struct watch_sample *sample, unsigned long gap,
			unsigned long reported)
{
	bool asked;

	if (!sample->settled)
		return gap >= worth(reported);
	spin_lock(&state.lock);
	asked = state.asked && !ms_until(state.look_at);
	spin_unlock(&state.lock);
	return gap || asked;
}

static int report_tick(const struct watch_sample *sample)
{
	unsigned long reported = aeration_known_reported();
	unsigned long gap = beyond(sample->surplus, reported);
	unsigned int asks;
	bool suspended;
	int paused;

	spin_lock(&state.lock);
	asks = state.asks;
	suspended = state.suspended || state.asked_only;
	paused = max3(ms_until(state.pass_at), (int)aeration_manners_rest_ms(),
		      (int)aeration_backoff_left(&state.pause,
						 aeration_watch_now_ms()));
	/* What the mm left of a grant does not outlive the surplus. */
	if (!suspended)
		aeration_pass_limit(gap);
	spin_unlock(&state.lock);
	if (suspended)
		return WATCH_IDLE;
	if (!is_worth_it(sample, gap, reported))
		return later(sample);
	if (paused)
		return paused;
	if (aeration_pass_is_under_way())
		return sample->period_ms;
	return decide(sample, asks);
}

const struct watch_ops aeration_report_watch_ops = {
	.read = aeration_pass_read_free,
	.tick = report_tick,
};
