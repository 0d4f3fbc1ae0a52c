// SPDX-License-Identifier: GPL-2.0
/*
 * Report all surplus now: before a snapshot or a migration, say.
 */
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include "../batch.h"
#include "report.h"

/* A flush gives up after this many passes in a row without progress. */
#define FLUSH_IDLE_PASSES	3

static DEFINE_MUTEX(flush_lock);	/* protects is_open, and one at a time */
static bool is_open;

static u64 pages_reported(void)
{
	return atomic64_read(&aeration_stats.bytes) >> PAGE_SHIFT;
}

/**
 * aeration_flush_open - reporting has started, or is about to stop
 * @open: which
 *
 * Context: process context; sleeps until nothing of what is here is under way.
 */
void aeration_flush_open(bool open)
{
	mutex_lock(&flush_lock);
	is_open = open;
	mutex_unlock(&flush_lock);
}

/* Report until nothing is left, or as much as could be at the beginning. */
static int report_all(bool (*cancelled)(void))
{
	u64 errors = aeration_batch_not_taken(), before = pages_reported(), done;
	unsigned long left = aeration_grant_all(), budget = left;
	unsigned int idle = 0;

	while (budget) {
		aeration_pass_wait();
		done = pages_reported() - before;
		before += done;
		left -= min(left, done);
		idle = done ? 0 : idle + 1;
		if (aeration_batch_not_taken() != errors)
			return -EIO;
		if (!left || idle == FLUSH_IDLE_PASSES)
			break;
		if (cancelled())
			return -EINTR;
		budget = aeration_grant_all();
	}
	return 0;
}

/**
 * aeration_report_flush - report all surplus now, whatever the window says
 * @again: what was reported before, too
 * @cancelled: does whoever asked not want it any more?
 *
 * Returns when nothing is left that could be reported, or when as much was
 * reported as could be at the beginning: what is freed meanwhile has no part in
 * it, or a busy guest would flush for ever.
 *
 * Context: process context, no lock of the core held; sleeps. Nothing is granted any
 *	more once reporting is stopped, and then it ends.
 * Return: 0, -EINTR if it was cancelled, -EIO if the hypervisor did
 *	not take what was offered, -EOPNOTSUPP if passes cannot be started on this kernel,
 *	-ENODEV if reporting is not started.
 */
int aeration_report_flush(bool again, bool (*cancelled)(void))
{
	int err = -ENODEV;

	mutex_lock(&flush_lock);
	if (is_open && !aeration_pass_is_ours()) {
		err = -EOPNOTSUPP;
	} else if (is_open) {
		aeration_grant_suspend(true);
		if (again)
			aeration_known_forget();
		err = report_all(cancelled);
		aeration_grant_suspend(false);
	}
	mutex_unlock(&flush_lock);
	return err;
}

/**
 * aeration_report_refresh - report once more what was reported, when it is its time
 *
 * Context: process context; sleeps.
 * Return: false if reporting is not started, or at the mm's own pace.
 */
bool aeration_report_refresh(void)
{
	bool open;

	mutex_lock(&flush_lock);
	open = is_open && aeration_pass_is_ours();
	if (open) {
		aeration_grant_suspend(true);
		aeration_known_forget();
		aeration_grant_suspend(false);
	}
	mutex_unlock(&flush_lock);
	return open;
}
