// SPDX-License-Identifier: GPL-2.0
/*
 * The mm's own work item runs a function of ours instead of its pass.
 *
 * That leans on what is private to mm/page_reporting.c: what the work item runs, and
 * three numbers for its state. Both are looked at each time; where they are not what
 * they are known to be, everything is left as it is.
 */
#define pr_fmt(fmt) "aeration: " fmt

#include <linux/atomic.h>
#include <linux/printk.h>
#include <linux/rcupdate.h>
#include <linux/string.h>
#include "report.h"

/* What the mm's pass is called. */
#define PASS	"page_reporting_process"

/**
 * enum mm_state - the states of struct page_reporting_dev_info, by the mm's numbers
 * @MM_IDLE: no pass is wanted
 * @MM_REQUESTED: one has been queued
 * @MM_ACTIVE: one runs
 */
enum mm_state {
	MM_IDLE,
	MM_REQUESTED,
	MM_ACTIVE,
};

static bool is_known(struct page_reporting_dev_info *prdev)
{
	int state = atomic_read(&prdev->state);
	char name[64];

	snprintf(name, sizeof(name), "%ps", prdev->work.work.func);
	if (str_has_prefix(name, PASS) && state >= MM_IDLE &&
	    state <= MM_ACTIVE)
		return true;
	pr_warn("free page reporting of this kernel is not what it is known to be (%s, state %d): it goes at its own pace, window and flush have no effect\n",
		name, state);
	return false;
}

/**
 * aeration_hook_rest - tell the mm that what it requested is done
 * @prdev: device info that is registered
 *
 * As after a pass that found nothing: the next large block that is freed has the mm
 * queue its work item again. A pass that is under way sees to the state when it ends.
 *
 * Context: any.
 */
void aeration_hook_rest(struct page_reporting_dev_info *prdev)
{
	atomic_cmpxchg(&prdev->state, MM_REQUESTED, MM_IDLE);
}

/**
 * aeration_hook_take - have a function of ours run instead of the mm's pass
 * @prdev: device info that has just been registered
 * @fn: what its work item runs from now on, until it is unregistered
 *
 * Registering initialises the work item, in each kernel, and requests a first pass.
 * That is called off, or waited for if it has begun: the workqueue tells a work item
 * that is running by its function, so it must not run meanwhile. While a pass is
 * requested nobody queues another; a pass that ran in between has changed that.
 *
 * Context: process context; may sleep. The report callback is called, if at all, by
 *	the pass that is waited for.
 * Return: the mm's function, which runs a pass if it is called with the work item, or
 *	NULL with nothing changed if this kernel's reporting is not known.
 */
work_func_t aeration_hook_take(struct page_reporting_dev_info *prdev,
			       work_func_t fn)
{
	work_func_t pass = prdev->work.work.func;

	if (!is_known(prdev))
		return NULL;
	do {
		atomic_set(&prdev->state, MM_REQUESTED);
		synchronize_rcu();	/* those who saw another state */
		cancel_delayed_work_sync(&prdev->work);
	} while (atomic_read(&prdev->state) != MM_REQUESTED);
	WRITE_ONCE(prdev->work.work.func, fn);
	aeration_hook_rest(prdev);
	return pass;
}
