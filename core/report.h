/* SPDX-License-Identifier: GPL-2.0 */
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
 * A guest that runs out of memory while blocks are in flight gets them back: the
 * OOM notifier waits for the ack for a moment, and then has the backend abandon
 * its device.
 *
 * report.c has the mm's callback, the OOM notifier, start and stop; sampler.c
 * decides; flush.c does not wait for a decision.
 *
 * Locks: reporter.lock protects everything in struct report_source that is not
 * marked otherwise, and is taken from timers, so with bottom halves off.
 * report_start(), report_stop() and report_flush() are serialised by the
 * registry's mutex.
 */
#ifndef _AERATION_REPORT_H
#define _AERATION_REPORT_H

#include <linux/atomic.h>
#include <linux/notifier.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <aeration/compat.h>
#include "core.h"
#include "pacer.h"

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
 * @order: smallest order that the mm reports; the administrator may change it,
 *	it is read anew before each census
 * @saved_order: for compat_unregister(); constant like @dev
 * @isolated: pages the mm has shown us and not taken back; written by the mm's
 *	pass only
 * @returned: the OOM notifier waits here for @isolated to be nothing
 * @oom: the notifier; registered from report_start() to report_stop()
 * @sampler: takes a sample and re-arms itself while WATCH_ACTIVE; queued under
 *	@lock, cancelled by report_stop() after it set WATCH_STOPPED
 * @lock: see above; taken with bottom halves off
 * @pacer: what is surplus
 * @mode: who looks at free memory
 * @budget: pages that may still be reported
 * @flushing: any batch goes as long as there is a budget
 * @unused_grants: grants in a row of which the mm used nothing
 * @census_at: no census before this time, ms
 * @paused_until: no pass before this time, ms
 * @pause_ms: how long the next pause after a refusal is, ms
 */
struct report_source {
	struct page_reporting_dev_info prdev;
	struct aerator_dev_info *dev;
	unsigned int order;
	struct compat_order saved_order;
	atomic_long_t isolated;
	wait_queue_head_t returned;
	struct notifier_block oom;
	struct delayed_work sampler;
	spinlock_t lock;	/* see above */
	struct pacer pacer;
	enum watch_mode mode;
	unsigned long budget;
	bool flushing;
	unsigned int unused_grants;
	u64 census_at;
	u64 paused_until;
	u32 pause_ms;
};

extern struct report_source reporter;

/* sampler.c */
int sampler_init(void);
void sampler_exit(void);
void sampler_start(void);
void sampler_stop(void);
void sampler_wake(void);
void sampler_reset_pacer(void);
u64 sampler_now_ms(void);
void sampler_start_pass(void);
void sampler_take_census(struct census *census);
bool sampler_read_free(unsigned long *free);

#endif /* _AERATION_REPORT_H */
