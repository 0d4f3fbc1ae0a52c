// SPDX-License-Identifier: GPL-2.0
/*
 * Report all surplus now: before a snapshot or a migration, say.
 */
#include <linux/delay.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include "../batch.h"
#include "report.h"

/* A flush gives up after this many passes in a row without progress. */
#define FLUSH_IDLE_PASSES	3

/* How often to look whether a flush that rests is still wanted, ms. */
#define REST_MS	100U

static DEFINE_MUTEX(flush_lock);	/* one at a time; is_open becomes true under it */
static bool is_open;			/* read without it, too, by one that rests */

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
	/* One that rests is not waited for. */
	if (!open)
		WRITE_ONCE(is_open, false);
	mutex_lock(&flush_lock);
	WRITE_ONCE(is_open, open);
	mutex_unlock(&flush_lock);
}

/*
 * Where much has gone just now the host has a rest, whoever took it.
 * Return: 0, or why not to go on.
 */
static int rest(bool (*cancelled)(void))
{
	unsigned int ms;

	while (READ_ONCE(is_open) && !cancelled() &&
	       (ms = aeration_manners_rest_ms()))
		msleep(min(ms, REST_MS));
	if (cancelled())
		return -EINTR;
	return READ_ONCE(is_open) ? 0 : -ENODEV;
}

/* Report until nothing is left, or as much as could be at the beginning. */
static int report_all(bool (*cancelled)(void))
{
	u64 errors = aeration_batch_not_taken(), before, done;
	unsigned long left, budget;
	unsigned int idle = 0;
	int err = rest(cancelled);

	if (err)
		return err;
	before = pages_reported();
	left = aeration_grant_all();
	budget = left;
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
		err = rest(cancelled);
		if (err)
			return err;
		budget = aeration_grant_all();
	}
	return 0;
}

/**
 * aeration_report_flush - report all surplus now, whatever the window says
 * @again: what was reported before, too
 * @at_once: the host waits for it, and says itself how fast it may go: no cap
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
 *	-ENODEV if reporting is not started, or was stopped meanwhile.
 */
int aeration_report_flush(bool again, bool at_once, bool (*cancelled)(void))
{
	int err = -ENODEV;

	mutex_lock(&flush_lock);
	if (is_open && !aeration_pass_is_ours()) {
		err = -EOPNOTSUPP;
	} else if (is_open) {
		aeration_grant_suspend(true);
		aeration_manners_at_once(at_once);
		if (again)
			aeration_known_forget();
		err = report_all(cancelled);
		aeration_manners_at_once(false);
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
