// SPDX-License-Identifier: GPL-2.0
/*
 * What the mm calls, and the passes that we have it run; see report.h.
 */
#include <linux/ktime.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/pageblock-flags.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/vmstat.h>
#include <linux/wait.h>
#include <aeration/compat.h>
#include "../batch.h"
#include "../params.h"
#include "../queues.h"
#include "report.h"

/*
 * How long an ack is waited for by who wants blocks back, ms: a host may stall for a
 * second, and not every device comes back from being abandoned. A guest out of memory
 * does not wait as long where one part in so many of it is what it lacks, maybe.
 */
#define WAIT_MS		5000
#define MUCH_WAIT_MS	500
#define MUCH_SHARE	32

/* How long a pass may take to put back what the hypervisor has acked, ms. */
#define END_MS		100

static void pass_fn(struct work_struct *work);

/**
 * struct pass - the passes
 * @prdev: what the mm knows of us; between start and stop
 * @dev: the backend's device; constant while @prdev is registered
 * @saved_order: for compat_unregister(); constant like @dev
 * @run: the mm's function that runs a pass, or NULL: the mm runs them at its own pace,
 *	and no window is kept; constant like @dev
 * @listener: who hears of it; constant like @dev
 * @work: runs @run. Queued under @lock while something is granted; cancelled by
 *	stopping, after @closed
 * @running: @run is being called; written by @work, read at any time
 * @last_batch: pages in the last batch that the present pass reported; @work's own
 * @went: pages that it has reported; likewise
 * @device_ns: what the hypervisor took for that, ns; likewise
 * @isolated: pages the mm has shown us and not taken back; written by a pass
 * @returned: who has to have them back waits here, for @isolated to be nothing and
 *	for the pass to end
 * @lock: protects what follows
 * @budget: pages that may still be reported
 * @any: any batch goes as long as there is a budget
 * @closed: nothing is granted any more
 */
struct pass {
	struct page_reporting_dev_info prdev;
	struct aerator_dev_info *dev;
	struct compat_order saved_order;
	work_func_t run;
	const struct pass_listener *listener;
	struct work_struct work;
	bool running;
	unsigned long last_batch;
	unsigned long went;
	u64 device_ns;
	atomic_long_t isolated;
	wait_queue_head_t returned;
	spinlock_t lock;	/* see above */
	unsigned long budget;
	bool any;
	bool closed;
};

static struct pass pass = {
	.work = __WORK_INITIALIZER(pass.work, pass_fn),
	.returned = __WAIT_QUEUE_HEAD_INITIALIZER(pass.returned),
	.lock = __SPIN_LOCK_UNLOCKED(pass.lock),
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

/*
 * May these pages go? If so, take them off the budget: whoever has set that to nothing
 * sees what is isolated.
 */
static bool spend(unsigned long pages)
{
	bool fits;

	spin_lock(&pass.lock);
	fits = pass.any ? pass.budget > 0 :
			  aeration_pacer_fits(pass.budget, pages);
	pass.budget -= fits ? min(pass.budget, pages) : pass.budget;
	if (fits)
		atomic_long_set(&pass.isolated, pages);
	spin_unlock(&pass.lock);
	return fits;
}

/* Likewise, but the mm goes at its own pace where passes are not run by us. */
static bool may_go(unsigned long pages)
{
	if (READ_ONCE(pass.run))
		return current_work() == &pass.work && spend(pages);
	atomic_long_set(&pass.isolated, pages);
	return true;
}

/*
 * Deliver what the mm isolated, in batches as large as the device takes. When
 * one of several fails, the mm takes all for unreported, and those that were
 * delivered are told again some time: that costs time and nothing else.
 */
static int deliver(struct scatterlist *sgl, unsigned int nents)
{
	struct aerator_batch *batch = pass.dev->batch;
	struct scatterlist *sg;
	unsigned int i;
	int err;

	batch->nr = 0;
	for_each_sg(sgl, sg, nents, i) {
		struct aerator_block *block = &batch->block[batch->nr++];

		block->pfn = page_to_pfn(sg_page(sg));
		block->order = get_order(sg->length);
		if (batch->nr < pass.dev->capacity && i + 1 < nents)
			continue;
		err = aeration_batch_submit(pass.dev);
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
	u64 start;
	int err;

	if (!may_go(pages)) {
		atomic64_add(nents, &aeration_stats.held_back);
		return -EAGAIN;
	}
	start = ktime_get_ns();
	err = deliver(sgl, nents);
	pass.device_ns += ktime_get_ns() - start;
	atomic_long_set(&pass.isolated, 0);
	wake_up(&pass.returned);
	if (err) {
		aeration_pass_limit(0);
		pass.listener->refused();
	} else {
		pass.last_batch = pages;
		pass.went += pages;
		pass.listener->told(pages);
	}
	return err;
}

/* As aeration_pass_grant(), under the lock. */
static void start_granted(void)
{
	lockdep_assert_held(&pass.lock);
	if (pass.budget && !pass.closed && pass.run)
		queue_work(aeration_wq, &pass.work);
}

static bool is_granted(void)
{
	bool granted;

	spin_lock(&pass.lock);
	granted = pass.budget;
	spin_unlock(&pass.lock);
	return granted;
}

/*
 * The next pass finds as much as this one, if there is as much, and its last batch has
 * to fit, too: what is isolated to be refused costs as much as what is reported. A
 * smaller rest is for the next grant, which knows what there is.
 */
static void next_pass(void)
{
	spin_lock(&pass.lock);
	if (pass.went && !pass.any &&
	    pass.budget >= pass.went - pass.last_batch / 2)
		start_granted();
	spin_unlock(&pass.lock);
}

/* Run a pass of the mm's, if anything is granted by now. */
static void pass_fn(struct work_struct *work)
{
	u64 start = ktime_get_ns();

	if (!is_granted())
		return;
	pass.went = 0;
	pass.device_ns = 0;
	WRITE_ONCE(pass.running, true);
	smp_mb();	/* before blocks are taken, see aeration_pass_read_free() */
	pass.run(&pass.prdev.work.work);
	smp_store_release(&pass.running, false); /* after blocks are back, likewise */
	wake_up(&pass.returned);
	if (pass.listener->ended(pass.went,
				 ktime_get_ns() - start - pass.device_ns))
		next_pass();
}

/*
 * What the mm's work item runs: leave it to who decides.
 *
 * Queued by the mm some time (2 s, unless somebody changed that) after a large block
 * was freed, or after a pass that left something. A pass with nothing granted would
 * isolate blocks to have them refused, and the mm puts those back behind what is
 * reported: the guest would then take reported memory first.
 */
static void pass_asked_fn(struct work_struct *work)
{
	aeration_hook_rest(&pass.prdev);
	pass.listener->asked();
}

/*
 * Smallest order to report: what was asked for, or else the kernel's own, but no blocks
 * of more than 2 MiB, which there are where pages are large, nor such that a small guest
 * would keep much of its memory; 0 is the kernel's own.
 */
static unsigned int wanted_order(void)
{
	unsigned int order = aeration_param_order();
	unsigned int most = min_t(unsigned int, ilog2(SZ_2M) - PAGE_SHIFT,
				  aeration_census_fitting());

	return order || pageblock_order <= most ? order : max(most, 1U);
}

/**
 * aeration_pass_start - register with the mm
 * @dev: the backend's device
 * @listener: who hears of passes; a constant
 *
 * Nothing is granted yet, so no pass is run by us.
 *
 * Context: process context under the registry's mutex, while stopped; may sleep.
 * Return: 0, or -EBUSY if reporting has an owner.
 */
int aeration_pass_start(struct aerator_dev_info *dev,
			const struct pass_listener *listener)
{
	int err;

	pass.dev = dev;
	pass.listener = listener;
	pass.prdev.report = report_blocks;
	/* Until the mm's work item is known, and it has begun no pass of its own. */
	pass.run = pass_fn;
	pass.budget = 0;
	pass.any = false;
	pass.closed = false;
	atomic_long_set(&pass.isolated, 0);
	err = compat_register(&pass.prdev, wanted_order(), &pass.saved_order);
	if (err)
		return err;
	WRITE_ONCE(pass.run,
		   aeration_hook_take(&pass.prdev, pass_asked_fn));
	return 0;
}

/**
 * aeration_pass_stop - have everything back, and leave the mm alone
 *
 * The device must answer, or is given up: whoever wants it off does not wait for as
 * long as it may take.
 *
 * Context: process context under the registry's mutex; sleeps until the mm has put
 *	its blocks back. On return nobody is heard any more.
 */
void aeration_pass_stop(void)
{
	spin_lock(&pass.lock);
	pass.closed = true;
	spin_unlock(&pass.lock);
	aeration_pass_get_back(false);
	cancel_work_sync(&pass.work);
	compat_unregister(&pass.prdev, &pass.saved_order);
}

/**
 * aeration_pass_is_ours - are passes run by us?
 *
 * Context: any, between start and stop.
 * Return: false if the mm runs them at its own pace.
 */
bool aeration_pass_is_ours(void)
{
	return pass.run;
}

/**
 * aeration_pass_order - how small a block the mm reports
 *
 * Context: any, between start and stop.
 * Return: its order; the administrator may change it at any time.
 */
unsigned int aeration_pass_order(void)
{
	return compat_reporting_order(&pass.prdev);
}

/**
 * aeration_pass_is_under_way - does a pass run, or wait for a worker?
 *
 * Context: any.
 * Return: true if so.
 */
bool aeration_pass_is_under_way(void)
{
	return work_busy(&pass.work);
}

/**
 * aeration_pass_read_free - read how many pages are free
 * @free: set to the number, pages isolated for us included: they come back
 *	unless the guest takes them
 *
 * Context: any.
 * Return: false if that cannot be told, because the mm is in a pass and holds
 *	blocks that it has not shown us, or has not put back yet.
 */
bool aeration_pass_read_free(unsigned long *free)
{
	long isolated = atomic_long_read(&pass.isolated);
	bool in_pass = smp_load_acquire(&pass.running);	/* before what is free */

	*free = global_zone_page_state(NR_FREE_PAGES) + isolated;
	smp_rmb();	/* a pass that began since shows, if it has taken anything */
	if (isolated)
		return atomic_long_read(&pass.isolated) == isolated;
	return !in_pass && !READ_ONCE(pass.running);
}

/**
 * aeration_pass_grant - say how much may be reported, and begin
 * @pages: pages; takes the place of what was granted before
 * @any: one pass, in which a batch goes while anything is left of it; otherwise each
 *	batch has to fit
 *
 * Context: process context, between start and stop.
 */
void aeration_pass_grant(unsigned long pages, bool any)
{
	spin_lock(&pass.lock);
	pass.budget = pages;
	pass.any = any;
	start_granted();
	spin_unlock(&pass.lock);
}

/**
 * aeration_pass_limit - what is left of a grant is no more than this
 * @pages: pages
 *
 * Context: process context.
 */
void aeration_pass_limit(unsigned long pages)
{
	spin_lock(&pass.lock);
	pass.budget = min(pass.budget, pages);
	spin_unlock(&pass.lock);
}

/**
 * aeration_pass_wait - wait for the pass that is under way
 *
 * Context: process context, between start and stop; sleeps.
 */
void aeration_pass_wait(void)
{
	flush_work(&pass.work);
}

/* Wait until nothing is with the hypervisor. Return: false if something is. */
static bool is_back(unsigned int ms)
{
	return wait_event_timeout(pass.returned,
				  !atomic_long_read(&pass.isolated),
				  msecs_to_jiffies(ms));
}

/*
 * The mm has the blocks as soon as the pass goes on, which has nothing granted and
 * ends. It is not the pass that waits here: it allocates before it isolates.
 */
static void await_end(void)
{
	wait_event_timeout(pass.returned, !READ_ONCE(pass.running),
			   msecs_to_jiffies(END_MS));
}

/**
 * aeration_pass_get_back - have blocks back that are with the hypervisor
 * @oom: the guest is out of memory
 *
 * What is left of a grant would be the next batch, and the next: it is taken back. If
 * the ack does not come in time the backend gives up on its device.
 *
 * Context: process context, by who is out of memory too; sleeps; allocates nothing.
 * Return: pages that came back.
 */
unsigned long aeration_pass_get_back(bool oom)
{
	unsigned long much = totalram_pages() / MUCH_SHARE, isolated;
	unsigned int ms;

	aeration_pass_limit(0);
	isolated = atomic_long_read(&pass.isolated);
	if (!isolated)
		return 0;
	ms = oom && (isolated >= much || !pass.dev->ops->abandon) ?
	     MUCH_WAIT_MS : WAIT_MS;
	if (!is_back(ms) && pass.dev->ops->abandon) {
		pass.dev->ops->abandon(pass.dev);
		is_back(ms);
	}
	await_end();
	return atomic_long_read(&pass.isolated) ? 0 : isolated;
}
