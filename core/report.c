// SPDX-License-Identifier: GPL-2.0
/*
 * The report source: free blocks for transient backends, isolated and taken
 * back by the kernel's own free page reporting.
 *
 * The mm runs passes over the free lists. Left alone it starts one every 2 s
 * and stops each after a sixteenth of a list. Here a sampler watches free
 * memory, asks the pacer how much is surplus, grants that as a budget and
 * starts passes back to back until the budget is used up. A pass that finds no
 * budget left ends with an error, and the mm puts its blocks back unreported.
 *
 * Sampling has three modes, enum watch_mode. While memory changes, an ordinary
 * timer samples it. Once it has settled, one deferrable timer on each CPU looks
 * whether it moved: those never wake an idle CPU, yet run on whichever CPU is
 * busy, and nothing but a busy CPU can free memory.
 *
 * Locks: src.lock protects everything in struct report_source that is not
 * marked otherwise, and is taken from timers. report_start(), report_stop()
 * and report_flush() are serialised by the registry's mutex.
 */
#define pr_fmt(fmt) "aeration: " fmt

#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/scatterlist.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>
#include <aeration/compat.h>
#include "core.h"
#include "pacer.h"

/* Free memory counts as changed when it moves by this many smallest blocks. */
#define STEP_BLOCKS	8

/* A census may take one part in this many of a CPU's time. */
#define CENSUS_SHARE	50

/* How long to leave a hypervisor alone that refused a batch, ms. */
#define REFUSED_PAUSE_MS	1000

/* A flush gives up after this many passes in a row without progress. */
#define FLUSH_IDLE_PASSES	3

/**
 * enum watch_mode - who looks at free memory
 * @WATCH_STOPPED: nobody; nothing may be armed
 * @WATCH_ACTIVE: the sampler, by an ordinary timer
 * @WATCH_QUIET: one deferrable timer on each CPU
 */
enum watch_mode {
	WATCH_STOPPED,
	WATCH_ACTIVE,
	WATCH_QUIET,
};

/**
 * struct report_source - the one report source
 * @prdev: what the mm knows of us; between report_start() and report_stop()
 * @dev: the backend's device; constant while @prdev is registered
 * @order: smallest order that the mm reports; constant like @dev
 * @sampler: takes a sample and re-arms itself while WATCH_ACTIVE; queued under
 *	@lock, cancelled by report_stop() after it set WATCH_STOPPED
 * @lock: see above; taken with bottom halves off
 * @pacer: what is surplus
 * @mode: who looks at free memory
 * @budget: pages that may still be reported
 * @flushing: any batch goes as long as there is a budget
 * @census_at: no census before this time, ms
 * @paused_until: no pass before this time, ms
 */
struct report_source {
	struct page_reporting_dev_info prdev;
	struct aerator_dev_info *dev;
	unsigned int order;
	struct delayed_work sampler;
	spinlock_t lock;	/* see above */
	struct pacer pacer;
	enum watch_mode mode;
	unsigned long budget;
	bool flushing;
	u64 census_at;
	u64 paused_until;
};

static struct report_source src;
static DEFINE_PER_CPU(struct timer_list, watch_timer);

static u64 now_ms(void)
{
	return ktime_to_ms(ktime_get());
}

/* Free pages; what is in flight comes back unless the guest takes it. */
static unsigned long free_pages_now(void)
{
	return global_zone_page_state(NR_FREE_PAGES) +
	       atomic64_read(&aeration_stats.in_flight);
}

/*
 * The mm holds blocks isolated during a pass. Those it has not shown us yet
 * are missing from the count of free pages.
 */
static bool sample_is_blurred(void)
{
	return (work_busy(&src.prdev.work.work) & WORK_BUSY_RUNNING) &&
	       !atomic64_read(&aeration_stats.in_flight);
}

static void start_pass(void)
{
	mod_delayed_work(system_freezable_wq, &src.prdev.work, 0);
}

static void start_sampling(void)
{
	lockdep_assert_held(&src.lock);
	src.mode = WATCH_ACTIVE;
	mod_delayed_work(system_freezable_wq, &src.sampler, 0);
}

static unsigned long watch_period(void)
{
	return max(1UL, msecs_to_jiffies(pacer_period_ms(&src.pacer)));
}

static void watch_expired(struct timer_list *timer)
{
	spin_lock(&src.lock);
	if (src.mode == WATCH_QUIET) {
		if (pacer_moved(&src.pacer, free_pages_now()))
			start_sampling();
		else
			mod_timer(timer, jiffies + watch_period());
	}
	spin_unlock(&src.lock);
}

/* Hand over from the sampler to the watch timers. */
static void go_quiet(void)
{
	int cpu;

	cpus_read_lock();
	spin_lock_bh(&src.lock);
	if (src.mode == WATCH_ACTIVE) {
		src.mode = WATCH_QUIET;
		for_each_online_cpu(cpu) {
			struct timer_list *timer = per_cpu_ptr(&watch_timer, cpu);

			if (timer_pending(timer))
				continue;
			timer->expires = jiffies + watch_period();
			add_timer_on(timer, cpu);
		}
	}
	spin_unlock_bh(&src.lock);
	cpus_read_unlock();
}

/* Largest batch the mm can offer out of so many unreported pages. */
static unsigned long largest_batch(unsigned long reportable)
{
	return min(reportable,
		   (unsigned long)PAGE_REPORTING_CAPACITY << MAX_PAGE_ORDER);
}

/* Count what is reported and reportable, and when to do so next. */
static void take_census(struct census *census)
{
	u64 start = ktime_get_ns(), cost;

	census_take(src.order, census);
	cost = ktime_get_ns() - start;
	spin_lock_bh(&src.lock);
	src.census_at = now_ms() + div_u64(cost * CENSUS_SHARE, NSEC_PER_MSEC);
	spin_unlock_bh(&src.lock);
}

/* Grant what is surplus and not reported yet, and have a pass report it. */
static void grant(unsigned long surplus)
{
	struct census census;
	unsigned long budget;

	take_census(&census);
	budget = pacer_budget(surplus, census.reported, census.reportable);
	if (!pacer_fits(budget, largest_batch(census.reportable)))
		budget = 0;
	spin_lock_bh(&src.lock);
	if (src.mode == WATCH_STOPPED)
		budget = 0;
	src.budget = budget;
	if (budget)
		start_pass();
	spin_unlock_bh(&src.lock);
}

/*
 * Take a sample. Return: surplus to grant in pages, 0 if there is nothing to
 * decide yet. Sets @settled if sampling may end.
 */
static unsigned long sample(bool *settled)
{
	unsigned long surplus = 0;
	u64 now = now_ms();

	spin_lock_bh(&src.lock);
	pacer_sample(&src.pacer, now, free_pages_now());
	if (now >= src.census_at && now >= src.paused_until)
		surplus = pacer_surplus(&src.pacer);
	*settled = pacer_settled(&src.pacer, now);
	spin_unlock_bh(&src.lock);
	atomic64_inc(&aeration_stats.samples);
	return surplus;
}

static void sampler_fn(struct work_struct *work)
{
	bool settled = false;

	if (!sample_is_blurred()) {
		unsigned long surplus = sample(&settled);

		if (surplus && !atomic64_read(&aeration_stats.in_flight))
			grant(surplus);
	}
	if (settled) {
		go_quiet();
		return;
	}
	spin_lock_bh(&src.lock);
	if (src.mode == WATCH_ACTIVE)
		mod_delayed_work(system_freezable_wq, &src.sampler,
				 watch_period());
	spin_unlock_bh(&src.lock);
}

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

	spin_lock_bh(&src.lock);
	fits = src.flushing ? src.budget > 0 : pacer_fits(src.budget, pages);
	if (fits) {
		src.budget -= min(src.budget, pages);
	} else {
		src.budget = 0;
		/* The mm found a whole batch that the watch timers missed. */
		if (src.mode == WATCH_QUIET && nents == PAGE_REPORTING_CAPACITY)
			start_sampling();
	}
	spin_unlock_bh(&src.lock);
	return fits;
}

/* Deliver what the mm isolated, in batches as large as the device takes. */
static int deliver(struct scatterlist *sgl, unsigned int nents)
{
	struct aerator_batch *batch = &src.dev->batch;
	struct scatterlist *sg;
	unsigned int i;
	int err;

	batch->nr = 0;
	for_each_sg(sgl, sg, nents, i) {
		struct aerator_block *block = &batch->block[batch->nr++];

		block->pfn = page_to_pfn(sg_page(sg));
		block->order = get_order(sg->length);
		if (batch->nr < src.dev->capacity && i + 1 < nents)
			continue;
		err = batch_submit(src.dev);
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
	int err;

	if (!spend(sg_pages(sgl, nents), nents)) {
		atomic64_add(nents, &aeration_stats.held_back);
		return -EAGAIN;
	}
	err = deliver(sgl, nents);

	spin_lock_bh(&src.lock);
	if (err) {
		src.budget = 0;
		src.paused_until = now_ms() + REFUSED_PAUSE_MS;
	} else if (src.budget && src.mode != WATCH_STOPPED && !src.flushing) {
		start_pass();
	}
	spin_unlock_bh(&src.lock);
	return err;
}

static void reset_pacer(void)
{
	lockdep_assert_held(&src.lock);
	pacer_init(&src.pacer, now_ms(), param_window_ms(),
		   param_reserve_pages(), STEP_BLOCKS << src.order);
}

/**
 * report_init - prepare what report_start() arms
 *
 * Context: process context, once, before anything else here.
 */
void report_init(void)
{
	int cpu;

	spin_lock_init(&src.lock);
	INIT_DELAYED_WORK(&src.sampler, sampler_fn);
	for_each_possible_cpu(cpu)
		timer_setup(per_cpu_ptr(&watch_timer, cpu), watch_expired,
			    TIMER_DEFERRABLE | TIMER_PINNED);
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

	src.dev = dev;
	src.prdev.report = report_blocks;
	src.budget = 0;
	src.flushing = false;
	err = compat_register(&src.prdev, param_order());
	if (err)
		return err;
	src.order = compat_reporting_order(&src.prdev);

	spin_lock_bh(&src.lock);
	src.census_at = 0;
	src.paused_until = 0;
	reset_pacer();
	start_sampling();
	spin_unlock_bh(&src.lock);
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
	int cpu;

	spin_lock_bh(&src.lock);
	src.mode = WATCH_STOPPED;
	src.budget = 0;
	spin_unlock_bh(&src.lock);

	for_each_possible_cpu(cpu)
		timer_delete_sync(per_cpu_ptr(&watch_timer, cpu));
	cancel_delayed_work_sync(&src.sampler);
	page_reporting_unregister(&src.prdev);
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
	spin_lock_bh(&src.lock);
	if (src.pacer.window_ms != param_window_ms())
		reset_pacer();
	pacer_set_reserve(&src.pacer, param_reserve_pages());
	start_sampling();
	spin_unlock_bh(&src.lock);
}

/* One round of a flush. Return: pages reported. */
static u64 flush_pass(void)
{
	u64 before = atomic64_read(&aeration_stats.bytes);
	struct census census;
	unsigned long budget;

	flush_delayed_work(&src.prdev.work);
	census_take(src.order, &census);
	spin_lock_bh(&src.lock);
	pacer_sample(&src.pacer, now_ms(), free_pages_now());
	budget = pacer_budget(pacer_surplus_now(&src.pacer), census.reported,
			      census.reportable);
	src.budget = budget;
	src.flushing = true;
	spin_unlock_bh(&src.lock);
	if (budget) {
		start_pass();
		flush_delayed_work(&src.prdev.work);
	}
	return (atomic64_read(&aeration_stats.bytes) - before) >> PAGE_SHIFT;
}

/**
 * report_flush - report all surplus now, whatever the window says
 *
 * Returns when nothing is left that could be reported.
 *
 * Context: process context under the registry's mutex, between report_start()
 *	and report_stop(); sleeps.
 * Return: 0, -EINTR if a signal came first, -EIO if the hypervisor did not take
 *	what was offered.
 */
int report_flush(void)
{
	u64 errors = atomic64_read(&aeration_stats.errors) +
		     atomic64_read(&aeration_stats.refused);
	unsigned int idle = 0;
	int err = 0;

	while (idle < FLUSH_IDLE_PASSES && !err) {
		idle = flush_pass() ? 0 : idle + 1;
		if (signal_pending(current))
			err = -EINTR;
		else if (atomic64_read(&aeration_stats.errors) +
			 atomic64_read(&aeration_stats.refused) != errors)
			err = -EIO;
	}
	spin_lock_bh(&src.lock);
	src.flushing = false;
	src.budget = 0;
	spin_unlock_bh(&src.lock);
	return err;
}

/**
 * report_order - Return: smallest order reported, once report_start() was called
 */
unsigned int report_order(void)
{
	return src.order;
}
