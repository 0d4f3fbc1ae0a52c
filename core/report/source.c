// SPDX-License-Identifier: GPL-2.0
/*
 * What the mm calls, and the life of the report source; see report.h.
 */
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/oom.h>
#include <linux/pageblock-flags.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include "report.h"

/*
 * How long to leave a hypervisor alone that refused a batch, ms: at first, and
 * at most, after refusing again and again.
 */
#define REFUSED_PAUSE_MIN_MS	1000
#define REFUSED_PAUSE_MAX_MS	16000

/* How long a guest out of memory waits for an ack, ms; and who stops the source. */
#define OOM_WAIT_MS	500
#define STOP_WAIT_MS	5000

struct aeration_report_source aeration_reporter = {
	.pass_work = __WORK_INITIALIZER(aeration_reporter.pass_work,
					aeration_grant_pass_fn),
	.returned = __WAIT_QUEUE_HEAD_INITIALIZER(aeration_reporter.returned),
};

static unsigned long sg_pages(struct scatterlist *sgl, unsigned int nents)
{
	struct scatterlist *sg;
	unsigned long pages = 0;
	unsigned int i;

	for_each_sg(sgl, sg, nents, i)
		pages += sg->length >> PAGE_SHIFT;
	return pages;
}

/* May these pages go? If so, take them off the budget. */
static bool spend(unsigned long pages)
{
	bool fits;

	spin_lock_bh(&aeration_watch.lock);
	fits = aeration_reporter.flushing ? aeration_reporter.budget > 0 :
		aeration_pacer_fits(aeration_reporter.budget, pages);
	if (fits) {
		aeration_reporter.budget -= min(aeration_reporter.budget,
						pages);
		aeration_reporter.unused_grants = 0;
	} else {
		aeration_reporter.budget = 0;
	}
	spin_unlock_bh(&aeration_watch.lock);
	return fits;
}

/*
 * Deliver what the mm isolated, in batches as large as the device takes. When
 * one of several fails, the mm takes all for unreported, and those that were
 * delivered are told again some time: that costs time and nothing else.
 */
static int deliver(struct scatterlist *sgl, unsigned int nents)
{
	struct aerator_batch *batch = aeration_reporter.dev->batch;
	struct scatterlist *sg;
	unsigned int i;
	int err;

	batch->nr = 0;
	for_each_sg(sgl, sg, nents, i) {
		struct aerator_block *block = &batch->block[batch->nr++];

		block->pfn = page_to_pfn(sg_page(sg));
		block->order = get_order(sg->length);
		if (batch->nr < aeration_reporter.dev->capacity &&
		    i + 1 < nents)
			continue;
		err = aeration_batch_submit(aeration_reporter.dev);
		if (err)
			return err;
		batch->nr = 0;
	}
	return 0;
}

/*
 * Called by the mm with blocks it has isolated, from a pass. An error makes it put
 * them back unreported and end the pass. The mm may have begun one by itself before
 * its work item was ours, and there is one batch.
 */
static int report_blocks(struct page_reporting_dev_info *prdev,
			 struct scatterlist *sgl, unsigned int nents)
{
	unsigned long pages = sg_pages(sgl, nents);
	int err;

	if (!aeration_reporter.mm_pace &&
	    (current_work() != &aeration_reporter.pass_work || !spend(pages))) {
		atomic64_add(nents, &aeration_stats.held_back);
		return -EAGAIN;
	}
	atomic_long_set(&aeration_reporter.isolated, pages);
	err = deliver(sgl, nents);
	atomic_long_set(&aeration_reporter.isolated, 0);
	wake_up(&aeration_reporter.returned);

	spin_lock_bh(&aeration_watch.lock);
	if (err) {
		aeration_reporter.budget = 0;
		aeration_backoff_failed(&aeration_reporter.pause,
					aeration_watch_now_ms());
		aeration_watch_pause(aeration_backoff_left(&aeration_reporter.pause,
							   aeration_watch_now_ms()));
		if (aeration_watch.mode == WATCH_QUIET)
			aeration_watch_wake();
	} else {
		aeration_backoff_well(&aeration_reporter.pause);
		/* What was asked for is not the pacer's to regret. */
		if (!aeration_reporter.flushing)
			aeration_pacer_told(&aeration_watch.pacer,
					    aeration_watch_now_ms(), pages);
		aeration_reporter.last_batch = pages;
	}
	spin_unlock_bh(&aeration_watch.lock);
	return err;
}

/* Wait until the mm has back what it has shown us. Return: false if it has not. */
static bool is_back(unsigned int ms)
{
	return wait_event_timeout(aeration_reporter.returned,
				  !atomic_long_read(&aeration_reporter.isolated),
				  msecs_to_jiffies(ms));
}

/*
 * Have blocks back that are with the hypervisor: with the ack, if that comes soon,
 * or by having the backend give up on its device.
 */
static void get_back(unsigned int ms)
{
	struct aerator_dev_info *dev = aeration_reporter.dev;

	/* What is left of a grant would be the next batch, and the next. */
	spin_lock_bh(&aeration_watch.lock);
	aeration_reporter.budget = 0;
	spin_unlock_bh(&aeration_watch.lock);
	if (is_back(ms) || !dev->ops->abandon)
		return;
	dev->ops->abandon(dev);
	is_back(ms);
}

/* The guest has run out of memory, and some of it may be with the hypervisor. */
static int on_oom(struct notifier_block *nb, unsigned long unused, void *freed)
{
	long isolated = atomic_long_read(&aeration_reporter.isolated);

	if (!isolated)
		return NOTIFY_OK;
	get_back(OOM_WAIT_MS);
	if (!atomic_long_read(&aeration_reporter.isolated))
		*(unsigned long *)freed += isolated;
	return NOTIFY_OK;
}

/*
 * Smallest order to report: what was asked for, or else the kernel's own, but no
 * blocks of more than 2 MiB, which there are where pages are large; 0 is the
 * kernel's own.
 */
static unsigned int wanted_order(void)
{
	unsigned int order = aeration_param_order();
	unsigned int most = ilog2(SZ_2M) - PAGE_SHIFT;

	return order || pageblock_order <= most ? order : most;
}

/* Begin to report for a device. Return: 0, or -EBUSY if reporting has an owner. */
static int report_start(struct aerator_dev_info *dev,
			void (*fail)(struct aerator_dev_info *dev,
				     const char *why))
{
	int err;

	aeration_reporter.oom.notifier_call = on_oom;
	aeration_reporter.dev = dev;
	aeration_reporter.prdev.report = report_blocks;
	aeration_reporter.mm_pace = false;
	aeration_reporter.budget = 0;
	aeration_reporter.flushing = false;
	aeration_reporter.unused_grants = 0;
	aeration_reporter.asked = 0;
	aeration_reporter.idle_until = 0;
	atomic_long_set(&aeration_reporter.isolated, 0);
	aeration_backoff_init(&aeration_reporter.pause, REFUSED_PAUSE_MIN_MS,
			      REFUSED_PAUSE_MAX_MS);
	err = compat_register(&aeration_reporter.prdev, wanted_order(),
			      &aeration_reporter.saved_order);
	if (err)
		return err;
	/* Nothing is granted, so no pass is run by us, before the watch starts. */
	aeration_reporter.pass = aeration_hook_take(&aeration_reporter.prdev,
						    aeration_grant_asked_fn);
	aeration_reporter.mm_pace = !aeration_reporter.pass;
	aeration_reporter.order =
		compat_reporting_order(&aeration_reporter.prdev);
	err = register_oom_notifier(&aeration_reporter.oom);
	if (err) {
		compat_unregister(&aeration_reporter.prdev,
				  &aeration_reporter.saved_order);
		return err;
	}
	aeration_watch_start(&aeration_report_watch_ops,
			     aeration_param_reserve_pages(), aeration_reporter.order);
	return 0;
}

/*
 * End reporting, and wait for react: the device must answer, or is given up. Whoever
 * wants it off now does not wait for as long as it may take.
 */
static bool report_stop(void)
{
	aeration_watch_stop();
	get_back(STOP_WAIT_MS);
	cancel_work_sync(&aeration_reporter.pass_work);
	compat_unregister(&aeration_reporter.prdev,
			  &aeration_reporter.saved_order);
	unregister_oom_notifier(&aeration_reporter.oom);
	return true;
}

static void report_retune(void)
{
	spin_lock_bh(&aeration_watch.lock);
	aeration_reporter.unused_grants = 0;
	spin_unlock_bh(&aeration_watch.lock);
	aeration_watch_retune(aeration_param_reserve_pages(),
			      aeration_reporter.order);
}

static unsigned int report_order(void)
{
	return aeration_reporter.order;
}

const struct source aeration_report_source = {
	.start = report_start,
	.stop = report_stop,
	.retune = report_retune,
	.flush = aeration_report_flush,
	.order = report_order,
};
