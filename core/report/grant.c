// SPDX-License-Identifier: GPL-2.0
/*
 * Grant what is surplus to the mm's passes.
 */
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/vmstat.h>
#include "report.h"

/*
 * A census may take one part in this many of a CPU's time, but is never put off
 * for longer than this, ms.
 */
#define CENSUS_SHARE		50
#define CENSUS_PAUSE_MAX_MS	1000

/* Less than this, pages, is not worth a census before free memory has settled. */
#define WORTH		((16UL << 20) >> PAGE_SHIFT)

/*
 * After a census that left nothing to grant, the next is of use when WORTH more is
 * surplus, or after so long, ms: what is reported is only estimated meanwhile.
 */
#define IDLE_MS		1000

/* Grants in a row that the mm may leave unused once memory has settled. */
#define UNUSED_GRANTS	3

/*
 * The watch looks for what the mm asks for immediately, because memory may have been
 * used and freed unseen, and once more when what was freed has been free for a window.
 */
#define LOOKS_ASKED	2

static bool pass_is_running(void)
{
	return work_busy(&aeration_reporter.pass_work) & WORK_BUSY_RUNNING;
}

/* Does a pass run, or is one waiting for a worker? */
static bool pass_is_under_way(void)
{
	return work_busy(&aeration_reporter.pass_work);
}

/* What is free, blocks that a pass holds and has not shown us not included. */
static unsigned long glance_at_free(void)
{
	return global_zone_page_state(NR_FREE_PAGES) +
	       atomic_long_read(&aeration_reporter.isolated);
}

/**
 * aeration_grant_read_free - read how many pages are free
 * @free: set to the number, pages isolated for us included: they come back
 *	unless the guest takes them
 *
 * Context: any.
 * Return: false if that cannot be told, because the mm is in a pass and holds
 *	blocks that it has not shown us, or has not put back yet.
 */
bool aeration_grant_read_free(unsigned long *free)
{
	long isolated = atomic_long_read(&aeration_reporter.isolated);
	bool in_pass = pass_is_running();

	*free = global_zone_page_state(NR_FREE_PAGES) + isolated;
	if (isolated)
		return atomic_long_read(&aeration_reporter.isolated) == isolated;
	return !in_pass && !pass_is_running();
}

/**
 * aeration_grant_asked_fn - what the mm's work item runs: leave it to the watch
 * @work: the mm's work item
 *
 * Queued by the mm some time (2 s, unless somebody changed that) after a large block
 * was freed, or after a pass that left something. A pass with nothing granted would
 * isolate blocks to have them refused, and the mm puts those back behind what is
 * reported: the guest would then take reported memory first. So the watch is told that
 * something was freed, which it may have missed; the mm asks again when more is.
 *
 * Context: process context.
 */
void aeration_grant_asked_fn(struct work_struct *work)
{
	aeration_hook_rest(&aeration_reporter.prdev);
	spin_lock_bh(&aeration_watch.lock);
	aeration_reporter.asked = LOOKS_ASKED;
	/* A sampler that is not queued may be in its last decision. */
	if (!delayed_work_pending(&aeration_watch.sampler))
		aeration_watch_wake();
	spin_unlock_bh(&aeration_watch.lock);
}

static bool is_granted(void)
{
	bool granted;

	spin_lock_bh(&aeration_watch.lock);
	granted = aeration_reporter.budget;
	spin_unlock_bh(&aeration_watch.lock);
	return granted;
}

/*
 * The next pass finds as much as the last batch, if there is as much. What is
 * isolated to be refused costs as much as what is reported; a smaller rest is for the
 * next grant, which knows what there is.
 */
static void next_pass(void)
{
	spin_lock_bh(&aeration_watch.lock);
	if (aeration_reporter.last_batch &&
	    aeration_pacer_fits(aeration_reporter.budget,
				aeration_reporter.last_batch) &&
	    aeration_watch.mode != WATCH_STOPPED && !aeration_reporter.flushing)
		aeration_grant_start_pass();
	spin_unlock_bh(&aeration_watch.lock);
}

/**
 * aeration_grant_pass_fn - run a pass of the mm's, if anything is granted by now
 * @work: our own work item
 *
 * Context: process context; sleeps.
 */
void aeration_grant_pass_fn(struct work_struct *work)
{
	if (!is_granted())
		return;
	aeration_reporter.last_batch = 0;
	aeration_reporter.pass(&aeration_reporter.prdev.work.work);
	next_pass();
}

/**
 * aeration_grant_start_pass - start a pass now, or after the present one
 *
 * Context: any, while reporting is registered with the mm and the watch is running.
 */
void aeration_grant_start_pass(void)
{
	if (!aeration_reporter.mm_pace)
		queue_work(aeration_wq, &aeration_reporter.pass_work);
}

static unsigned long beyond(unsigned long pages, unsigned long others)
{
	return pages > others ? pages - others : 0;
}

/* Largest batch the mm can offer out of what was counted. */
static unsigned long largest_batch(const struct census *census)
{
	return min(census->reportable,
		   (unsigned long)PAGE_REPORTING_CAPACITY << census->largest);
}

/**
 * aeration_grant_take_census - count what is reported and reportable
 * @census: set to what was counted
 *
 * Also keeps the watch from asking for another one soon, by what this one cost.
 *
 * Context: process context, watch.lock not held; may sleep.
 */
void aeration_grant_take_census(struct census *census)
{
	u64 start = ktime_get_ns(), pause;

	aeration_reporter.order =
		compat_reporting_order(&aeration_reporter.prdev);
	aeration_census_take(aeration_reporter.order, census);
	pause = div_u64((ktime_get_ns() - start) * CENSUS_SHARE, NSEC_PER_MSEC);
	spin_lock_bh(&aeration_watch.lock);
	aeration_pacer_set_out(&aeration_watch.pacer, census->reported);
	/* What a pass has isolated is in none of these numbers. */
	aeration_pacer_set_scraps(&aeration_watch.pacer,
				  beyond(global_zone_page_state(NR_FREE_PAGES),
					 census->reported + census->reportable));
	aeration_watch_pause(min_t(u64, pause, CENSUS_PAUSE_MAX_MS));
	spin_unlock_bh(&aeration_watch.lock);
}

/*
 * Of what the mm asked for, is there a block that was freed within the window? No
 * later sample would show it, if it is less than a step. Then look again when it has
 * been free for long enough.
 */
static void look_again(unsigned int looks, unsigned long surplus)
{
	struct pacer *pacer = &aeration_watch.pacer;
	u32 window_ms = aeration_pacer_window_ms(pacer);
	unsigned long young = beyond(aeration_pacer_surplus_now(pacer), surplus);

	lockdep_assert_held(&aeration_watch.lock);
	if (looks < 2 ||
	    !aeration_pacer_fits(young, 1UL << aeration_reporter.order))
		return;
	aeration_reporter.asked = max(aeration_reporter.asked, looks - 1);
	aeration_watch_look_at(aeration_watch_now_ms() + window_ms +
			       window_ms / PACER_SLOTS + 1);
}

/*
 * Grant what is surplus and not reported yet, and have a pass report it.
 * Return: true if there is something left to do.
 */
static bool grant(unsigned long surplus)
{
	unsigned long budget, gap;
	bool settled, more = false;
	struct census census;
	unsigned int looks;
	u64 now;

	spin_lock_bh(&aeration_watch.lock);
	looks = aeration_reporter.asked;
	aeration_reporter.asked = 0;
	spin_unlock_bh(&aeration_watch.lock);
	aeration_grant_take_census(&census);
	gap = beyond(surplus, census.reported);
	budget = aeration_pacer_budget(surplus, census.reported,
				       census.reportable);
	if (!aeration_pacer_fits(budget, largest_batch(&census)))
		budget = 0;
	spin_lock_bh(&aeration_watch.lock);
	now = aeration_watch_now_ms();
	aeration_reporter.idle_gap = gap - budget;
	settled = aeration_pacer_settled(&aeration_watch.pacer, now);
	if (settled ? aeration_reporter.unused_grants >= UNUSED_GRANTS :
	    budget < WORTH)
		budget = 0;
	aeration_reporter.idle_until = budget ? 0 : now + IDLE_MS;
	if (aeration_watch.mode != WATCH_STOPPED &&
	    !aeration_reporter.flushing) {
		aeration_reporter.budget = budget;
		if (budget) {
			aeration_grant_start_pass();
			aeration_reporter.unused_grants++;
			more = true;
		}
	}
	if (settled && !aeration_reporter.flushing)
		look_again(looks, surplus);
	else
		aeration_reporter.asked = max(aeration_reporter.asked, looks);
	spin_unlock_bh(&aeration_watch.lock);
	return more;
}

static bool is_paused(void)
{
	return aeration_watch_now_ms() < aeration_watch.paused_until;
}

/*
 * How much more than what cannot be reported has to be surplus. All that moves
 * leaves some of it behind, for instance what a reported block is split into: that
 * waits until no more moves. So does what the mm asks for; the second look has its
 * time.
 */
static bool is_worth_it(unsigned long surplus)
{
	u64 now = aeration_watch_now_ms();
	unsigned long gap = beyond(surplus, aeration_watch.pacer.real.out);
	unsigned long known = now < aeration_reporter.idle_until ?
		aeration_reporter.idle_gap : 0;

	return gap >= known + WORTH ||
	       ((gap > known || (aeration_reporter.asked &&
				 now >= aeration_watch.look_at)) &&
		aeration_pacer_settled(&aeration_watch.pacer, now));
}

static bool report_wants(unsigned long surplus)
{
	return !is_paused() && is_worth_it(surplus);
}

static int report_tick(unsigned long surplus)
{
	bool paused, worth_it, more;

	spin_lock_bh(&aeration_watch.lock);
	paused = is_paused();
	worth_it = is_worth_it(surplus);
	spin_unlock_bh(&aeration_watch.lock);
	if (!worth_it || paused)
		more = worth_it;
	else
		more = pass_is_under_way() || grant(surplus);
	return more ? 0 : WATCH_IDLE;
}

/*
 * What the mm left of a grant does not outlive the surplus, of which a part is
 * reported already.
 */
static void report_sampled(unsigned long surplus)
{
	if (!aeration_reporter.flushing)
		aeration_reporter.budget =
			aeration_pacer_budget(surplus, aeration_watch.pacer.real.out,
					      aeration_reporter.budget);
}

static void report_quiet(void)
{
	aeration_reporter.budget = 0;
	aeration_reporter.unused_grants = 0;
}

const struct watch_ops aeration_report_watch_ops = {
	.read = aeration_grant_read_free,
	.glance = glance_at_free,
	.sampled = report_sampled,
	.tick = report_tick,
	.wants = report_wants,
	.quiet = report_quiet,
};
