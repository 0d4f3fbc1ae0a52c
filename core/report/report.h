/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The report source: free blocks for transient backends, isolated and taken
 * back by the kernel's own free page reporting.
 *
 * The mm runs passes over the free lists. Left alone it starts one every 2 s
 * and stops each after a sixteenth of a list. Here the watch over free memory
 * has the pacer say how much is surplus; that is granted as a budget, and passes
 * are started back to back until the budget is used up. A pass that finds no
 * budget left ends with an error, and the mm puts its blocks back unreported,
 * behind those that are reported. So no pass begins while nothing is granted.
 *
 * All passes are run by one work item of ours, so there is one at a time, and
 * whoever waits for that item waits for the pass. The mm's own work item runs a
 * function of ours that leaves what the mm asks for to the watch: were the mm's
 * item queued by us as well, on another workqueue, it could run twice at once, and
 * cancelling it would wait for one of the two.
 *
 * A guest that runs out of memory while blocks are in flight gets them back: the
 * OOM notifier waits for the ack for a moment, and then has the backend abandon
 * its device.
 *
 * source.c has the mm's callback, the OOM notifier, start and stop; grant.c
 * decides; flush.c does not wait for a decision; census.c counts; refresh.c forgets;
 * hook.c takes the mm's work item.
 *
 * Locks: watch.lock protects what is marked so. Start, stop and flush are
 * serialised by the registry's mutex.
 */
#ifndef _AERATION_REPORT_H
#define _AERATION_REPORT_H

#include <linux/atomic.h>
#include <linux/notifier.h>
#include <linux/wait.h>
#include <aeration/compat.h>
#include "../batch.h"
#include "../pace/backoff.h"
#include "../pace/watch.h"
#include "../params.h"
#include "../queues.h"
#include "../source.h"

/**
 * struct aeration_report_source - the one report source
 * @prdev: what the mm knows of us; between start and stop
 * @dev: the backend's device; constant while @prdev is registered
 * @order: smallest order that the mm reports; the administrator may change it,
 *	it is read anew before each census
 * @saved_order: for compat_unregister(); constant like @dev
 * @pass: the mm's function that runs a pass; constant like @dev
 * @mm_pace: the mm runs its passes by itself, and no window is kept; constant like @dev
 * @pass_work: runs @pass. Queued under watch.lock while the watch is running, or
 *	by a flush; cancelled by stopping, once the watch has stopped
 * @last_batch: pages in the last batch that the present pass reported; a pass's own
 * @isolated: pages the mm has shown us and not taken back; written by a pass
 * @returned: the OOM notifier waits here for @isolated to be nothing
 * @oom: the notifier; registered from start to stop
 * @budget: pages that may still be reported; under watch.lock
 * @flushing: any batch goes as long as there is a budget; under watch.lock
 * @unused_grants: grants in a row of which the mm used nothing; under
 *	watch.lock
 * @asked: so many censuses are due because the mm would have run a pass; under
 *	watch.lock
 * @idle_until: until this time, ms, a census is of use only if there is more
 *	surplus than @idle_gap beyond what is reported; under watch.lock
 * @idle_gap: pages, of which the last census has shown that they cannot be
 *	reported; under watch.lock
 * @pause: after a refusal; under watch.lock
 */
struct aeration_report_source {
	struct page_reporting_dev_info prdev;
	struct aerator_dev_info *dev;
	unsigned int order;
	struct compat_order saved_order;
	work_func_t pass;
	bool mm_pace;
	struct work_struct pass_work;
	unsigned long last_batch;
	atomic_long_t isolated;
	wait_queue_head_t returned;
	struct notifier_block oom;
	unsigned long budget;
	bool flushing;
	unsigned int unused_grants;
	unsigned int asked;
	u64 idle_until;
	unsigned long idle_gap;
	struct backoff pause;
};

extern struct aeration_report_source aeration_reporter;
extern const struct source aeration_report_source;

/**
 * struct census - free memory by whether it is reported
 * @reported: free pages in blocks that are reported
 * @reportable: free pages in blocks that are not and that the mm would report
 * @largest: largest order among the latter
 */
struct census {
	unsigned long reported;
	unsigned long reportable;
	unsigned int largest;
};

/* census.c */
void aeration_census_take(unsigned int order, struct census *out);

/* flush.c */
int aeration_report_flush(bool again);

/* hook.c */
void aeration_hook_rest(struct page_reporting_dev_info *prdev);
work_func_t aeration_hook_take(struct page_reporting_dev_info *prdev,
			       work_func_t fn);

/* refresh.c */
void aeration_refresh(void);

/* grant.c */
extern const struct watch_ops aeration_report_watch_ops;
void aeration_grant_asked_fn(struct work_struct *work);
void aeration_grant_pass_fn(struct work_struct *work);
void aeration_grant_start_pass(void);
void aeration_grant_take_census(struct census *census);
bool aeration_grant_read_free(unsigned long *free);

#endif /* _AERATION_REPORT_H */
