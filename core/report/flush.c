// SPDX-License-Identifier: GPL-2.0
/*
 * Report all surplus now: before a snapshot or a migration, say.
 */
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include "report.h"

/* A flush gives up after this many passes in a row without progress. */
#define FLUSH_IDLE_PASSES	3

/* Nobody but a flush starts a pass from now on, and none is under way. */
static void stop_passes(void)
{
	spin_lock_bh(&aeration_watch.lock);
	aeration_reporter.budget = 0;
	aeration_reporter.flushing = true;
	spin_unlock_bh(&aeration_watch.lock);
	flush_work(&aeration_reporter.pass_work);
}

static u64 pages_reported(void)
{
	return atomic64_read(&aeration_stats.bytes) >> PAGE_SHIFT;
}

/* What may be reported, whatever the window says. Return: pages. */
static unsigned long flush_budget(void)
{
	struct census census;
	unsigned long free, budget;

	aeration_grant_take_census(&census);
	spin_lock_bh(&aeration_watch.lock);
	if (aeration_grant_read_free(&free))
		aeration_pacer_sample(&aeration_watch.pacer,
				      aeration_watch_now_ms(), free);
	budget = aeration_pacer_surplus_now(&aeration_watch.pacer);
	budget = aeration_pacer_budget(budget, census.reported,
				       census.reportable);
	aeration_reporter.budget = budget;
	aeration_reporter.flushing = true;
	spin_unlock_bh(&aeration_watch.lock);
	return budget;
}

/* One round of a flush. Return: pages reported. */
static u64 flush_pass(void)
{
	u64 before = pages_reported();
	unsigned long budget;

	flush_work(&aeration_reporter.pass_work);
	budget = flush_budget();
	if (budget) {
		aeration_grant_start_pass();
		flush_work(&aeration_reporter.pass_work);
	}
	return pages_reported() - before;
}

/**
 * aeration_report_flush - report all surplus now, whatever the window says
 * @again: what was reported before, too
 *
 * Returns when nothing is left that could be reported, or when as much was
 * reported as could be at the beginning: what is freed meanwhile has no part in
 * it, or a busy guest would flush for ever.
 *
 * Context: process context under the registry's mutex, while
 *	reporting is started; sleeps.
 * Return: 0, -ERESTARTSYS if a signal came first, -EIO if the hypervisor did
 *	not take what was offered, -EOPNOTSUPP if passes cannot be started on this kernel.
 */
int aeration_report_flush(bool again)
{
	u64 errors = aeration_batch_not_taken(), left;
	unsigned int idle = 0;
	int err = 0;

	if (aeration_reporter.mm_pace)
		return -EOPNOTSUPP;
	stop_passes();
	if (again)
		aeration_refresh();
	left = flush_budget();
	while (left && idle < FLUSH_IDLE_PASSES && !err) {
		u64 pages = flush_pass();

		idle = pages ? 0 : idle + 1;
		left -= min(left, pages);
		if (aeration_batch_not_taken() != errors)
			err = -EIO;
		else if (signal_pending(current))
			err = -ERESTARTSYS;
	}
	spin_lock_bh(&aeration_watch.lock);
	aeration_reporter.flushing = false;
	aeration_reporter.budget = 0;
	aeration_watch_wake();	/* what a flush saw, no watch timer has */
	spin_unlock_bh(&aeration_watch.lock);
	return err;
}
