// SPDX-License-Identifier: GPL-2.0
/*
 * What the mm calls, and the life of the report source; see report.h.
 */
#include <linux/mm.h>
#include <linux/oom.h>
#include <linux/scatterlist.h>
#include "report.h"

/*
 * How long to leave a hypervisor alone that refused a batch, ms: at first, and
 * at most, after refusing again and again.
 */
#define REFUSED_PAUSE_MIN_MS	1000
#define REFUSED_PAUSE_MAX_MS	16000

/* How long a guest out of memory waits for an ack, ms. */
#define OOM_WAIT_MS	500

struct report_source reporter;

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
static bool spend(unsigned long pages, unsigned int nents)
{
	bool fits;

	spin_lock_bh(&reporter.lock);
	fits = reporter.flushing ? reporter.budget > 0 : pacer_fits(reporter.budget, pages);
	if (fits) {
		reporter.budget -= min(reporter.budget, pages);
		reporter.unused_grants = 0;
	} else {
		reporter.budget = 0;
		/* The mm found a whole batch that the watch timers missed. */
		if (reporter.mode == WATCH_QUIET && nents == PAGE_REPORTING_CAPACITY)
			sampler_wake();
	}
	spin_unlock_bh(&reporter.lock);
	return fits;
}

/*
 * Deliver what the mm isolated, in batches as large as the device takes. When
 * one of several fails, the mm takes all for unreported, and those that were
 * delivered are told again some time: that costs time and nothing else.
 */
static int deliver(struct scatterlist *sgl, unsigned int nents)
{
	struct aerator_batch *batch = &reporter.dev->batch;
	struct scatterlist *sg;
	unsigned int i;
	int err;

	batch->nr = 0;
	for_each_sg(sgl, sg, nents, i) {
		struct aerator_block *block = &batch->block[batch->nr++];

		block->pfn = page_to_pfn(sg_page(sg));
		block->order = get_order(sg->length);
		if (batch->nr < reporter.dev->capacity && i + 1 < nents)
			continue;
		err = batch_submit(reporter.dev);
		if (err)
			return err;
		batch->nr = 0;
	}
	return 0;
}

/*
 * Called by the mm with blocks it has isolated, from its work item. An error
 * makes it put them back unreported and end the pass.
 */
static int report_blocks(struct page_reporting_dev_info *prdev,
			 struct scatterlist *sgl, unsigned int nents)
{
	unsigned long pages = sg_pages(sgl, nents);
	int err;

	if (!spend(pages, nents)) {
		atomic64_add(nents, &aeration_stats.held_back);
		return -EAGAIN;
	}
	atomic_long_set(&reporter.isolated, pages);
	err = deliver(sgl, nents);
	atomic_long_set(&reporter.isolated, 0);
	wake_up(&reporter.returned);

	spin_lock_bh(&reporter.lock);
	if (err) {
		reporter.budget = 0;
		reporter.paused_until = sampler_now_ms() + reporter.pause_ms;
		reporter.pause_ms = min(2 * reporter.pause_ms, REFUSED_PAUSE_MAX_MS);
		if (reporter.mode == WATCH_QUIET)
			sampler_wake();
	} else {
		reporter.pause_ms = REFUSED_PAUSE_MIN_MS;
		if (reporter.budget && reporter.mode != WATCH_STOPPED && !reporter.flushing)
			sampler_start_pass();
	}
	spin_unlock_bh(&reporter.lock);
	return err;
}

/*
 * The guest has run out of memory, and some of it may be with the hypervisor. It
 * comes back with the ack, or when the backend gives up on its device.
 */
static int on_oom(struct notifier_block *nb, unsigned long unused, void *freed)
{
	long isolated = atomic_long_read(&reporter.isolated);

	if (!isolated)
		return NOTIFY_OK;
	if (!wait_event_timeout(reporter.returned, !atomic_long_read(&reporter.isolated),
				msecs_to_jiffies(OOM_WAIT_MS)) &&
	    reporter.dev->ops->abandon) {
		reporter.dev->ops->abandon(reporter.dev);
		wait_event_timeout(reporter.returned,
				   !atomic_long_read(&reporter.isolated),
				   msecs_to_jiffies(OOM_WAIT_MS));
	}
	if (!atomic_long_read(&reporter.isolated))
		*(unsigned long *)freed += isolated;
	return NOTIFY_OK;
}

/**
 * report_init - prepare what report_start() arms
 *
 * Context: process context, once, before anything else here; may sleep.
 * Return: 0 or a negative error.
 */
int report_init(void)
{
	spin_lock_init(&reporter.lock);
	init_waitqueue_head(&reporter.returned);
	reporter.oom.notifier_call = on_oom;
	return sampler_init();
}

/**
 * report_exit - undo report_init()
 *
 * Context: process context, after the last report_stop(); may sleep.
 */
void report_exit(void)
{
	sampler_exit();
}

/**
 * report_start - begin to report for a device
 * @dev: a transient backend's device, kept until report_stop()
 *
 * Context: process context under the registry's mutex; may sleep.
 * Return: 0, or -EBUSY if another driver owns free page reporting.
 */
int report_start(struct aerator_dev_info *dev)
{
	int err;

	reporter.dev = dev;
	reporter.prdev.report = report_blocks;
	reporter.budget = 0;
	reporter.flushing = false;
	atomic_long_set(&reporter.isolated, 0);
	reporter.pause_ms = REFUSED_PAUSE_MIN_MS;
	reporter.paused_until = 0;
	err = compat_register(&reporter.prdev, param_order(), &reporter.saved_order);
	if (err)
		return err;
	reporter.order = compat_reporting_order(&reporter.prdev);
	err = register_oom_notifier(&reporter.oom);
	if (err) {
		compat_unregister(&reporter.prdev, &reporter.saved_order);
		return err;
	}
	sampler_start();
	return 0;
}

/**
 * report_stop - end reporting, and wait until no block is in flight
 *
 * The device must answer, or be made to: react is waited for.
 *
 * Context: process context under the registry's mutex; may sleep.
 */
void report_stop(void)
{
	sampler_stop();
	compat_unregister(&reporter.prdev, &reporter.saved_order);
	unregister_oom_notifier(&reporter.oom);
}

/**
 * report_retune - take over changed parameters
 *
 * A changed window starts anew; a changed reserve applies to the next sample.
 *
 * Context: process context under the registry's mutex, between report_start()
 *	and report_stop().
 */
void report_retune(void)
{
	spin_lock_bh(&reporter.lock);
	if (reporter.pacer.window_ms != param_window_ms())
		sampler_reset_pacer();
	pacer_set_reserve(&reporter.pacer, param_reserve_pages());
	reporter.unused_grants = 0;
	sampler_wake();
	spin_unlock_bh(&reporter.lock);
}

/**
 * report_order - smallest order that is reported
 *
 * Context: any.
 * Return: the order, 0 before the first report_start().
 */
unsigned int report_order(void)
{
	return reporter.order;
}
