// SPDX-License-Identifier: GPL-2.0
/*
 * What is known of how much is reported, and how much more could be.
 *
 * The former is the pacer's ledger: what was told, less what must have been taken
 * back. Memory that was taken and freed between two looks makes it too high, so it is
 * counted anew, a bounded part of memory at a time. The latter is what the allocator
 * counts itself, less the ledger.
 *
 * Locks: known.counting is held by who walks over memory; known.lock protects the times.
 */
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/memory.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/spinlock.h>
#include <linux/vmstat.h>
#include "report.h"

/*
 * Counting may take one part in this many of a CPU's time. A part that took longer than
 * a pause of so long, ms, would be for, was held up by others.
 */
#define COUNT_SHARE		50
#define COUNT_PAUSE_MAX_MS	1000

/**
 * struct known - what is known
 * @counting: see above
 * @lock: see above
 * @counted_at: when the last complete count of all memory began, ms; 0: there was none
 * @count_at: the next part is not counted before this time, ms
 */
struct known {
	struct mutex counting;	/* see above */
	spinlock_t lock;	/* see above */
	u64 counted_at;
	u64 count_at;
};

static struct known known = {
	.counting = __MUTEX_INITIALIZER(known.counting),
	.lock = __SPIN_LOCK_UNLOCKED(known.lock),
};

/**
 * aeration_known_anew - the next part that is counted is the first one
 *
 * Context: process context; sleeps until nobody counts.
 */
void aeration_known_anew(void)
{
	mutex_lock(&known.counting);
	aeration_census_restart();
	mutex_unlock(&known.counting);
}

/**
 * aeration_known_nothing - begin with nothing counted
 *
 * Context: process context, before the watch starts; may sleep.
 */
void aeration_known_nothing(void)
{
	aeration_known_anew();
	spin_lock(&known.lock);
	known.counted_at = 0;
	known.count_at = 0;
	spin_unlock(&known.lock);
}

/**
 * aeration_known_reported - how much is reported
 *
 * Context: any but hard interrupts, watch.lock not held.
 * Return: pages, by the ledger.
 */
unsigned long aeration_known_reported(void)
{
	struct pacer *pacer;
	unsigned long out;

	pacer = aeration_watch_lock();
	out = pacer->real.out;
	aeration_watch_unlock();
	return out;
}

/**
 * aeration_known_reportable - how much is free, could be reported, and is not
 * @reported: how much is reported, pages
 *
 * Context: process context, between aeration_pass_start() and aeration_pass_stop().
 * Return: pages.
 */
unsigned long aeration_known_reportable(unsigned long reported)
{
	return aeration_census_reportable(aeration_pass_order(), reported);
}

/*
 * All of memory has been counted. What a pass has isolated is in none of the figures.
 *
 * What is reported no more, though the ledger has it, was taken and freed again: between
 * two looks, or because what is reported does not lie where it is taken last, as with
 * page_alloc.shuffle=1. The hypervisor had to back it all the same. Little of it may be
 * part of a larger block, with what has been freed next to it since.
 */
static void correct(void)
{
	unsigned long free = global_zone_page_state(NR_FREE_PAGES);
	unsigned long reported = aeration_census_reported();
	unsigned long large = reported + aeration_known_reportable(reported);
	struct pacer *pacer;

	pacer = aeration_watch_lock();
	if (pacer->real.out > reported)
		aeration_pacer_taken(pacer, aeration_watch_now_ms(),
				     pacer->real.out - reported);
	aeration_pacer_set_out(pacer, reported);
	aeration_pacer_set_scraps(pacer, free > large ? free - large : 0);
	aeration_watch_unlock();
}

/**
 * aeration_known_count - count a part of memory, and correct the ledger after the last
 *
 * Context: process context, between aeration_pass_start() and aeration_pass_stop(); may
 *	sleep.
 * Return: true if it was the last part.
 */
bool aeration_known_count(void)
{
	u64 start, pause;
	bool all;

	mutex_lock(&known.counting);
	start = ktime_get_ns();
	all = aeration_census_step(aeration_pass_order());
	pause = div_u64(ktime_get_ns() - start, NSEC_PER_MSEC / COUNT_SHARE);
	if (all)
		correct();
	spin_lock(&known.lock);
	known.count_at = aeration_watch_now_ms() +
			 min_t(u64, pause, COUNT_PAUSE_MAX_MS);
	if (all)
		known.counted_at = aeration_census_began();
	spin_unlock(&known.lock);
	mutex_unlock(&known.counting);
	return all;
}

/**
 * aeration_known_since - was all of memory counted since a time?
 * @ms: the time, ms, by aeration_watch_now_ms(); more than 0
 *
 * Context: process context.
 * Return: true if so.
 */
bool aeration_known_since(u64 ms)
{
	bool since;

	spin_lock(&known.lock);
	since = known.counted_at >= ms;
	spin_unlock(&known.lock);
	return since;
}

/**
 * aeration_known_wait_ms - when to count the next part
 *
 * Context: process context.
 * Return: ms from now; 0: it is time.
 */
unsigned int aeration_known_wait_ms(void)
{
	u64 now = aeration_watch_now_ms();
	unsigned int ms;

	spin_lock(&known.lock);
	ms = known.count_at > now ? known.count_at - now : 0;
	spin_unlock(&known.lock);
	return ms;
}

/**
 * aeration_known_forget - have what is reported count as not reported
 *
 * Context: process context, while no pass runs or can begin; may sleep.
 */
void aeration_known_forget(void)
{
	mutex_lock(&known.counting);
	aeration_refresh(aeration_pass_order());
	mutex_unlock(&known.counting);
	aeration_known_anew();
	aeration_watch_set_out(0);
}

/*
 * Who walks looks a section up before its pages. From now on it is not found; whoever
 * found it before is waited for: next its memory map goes.
 */
static int on_memory(struct notifier_block *nb, unsigned long action, void *arg)
{
	if (action == MEM_OFFLINE)
		aeration_known_anew();
	return NOTIFY_OK;
}

static struct notifier_block memory_nb = { .notifier_call = on_memory };

/**
 * aeration_known_init - hear of memory that goes
 *
 * Context: process context, once, before anything is counted; may sleep.
 * Return: 0 or a negative error.
 */
int aeration_known_init(void)
{
	return register_memory_notifier(&memory_nb);
}

/**
 * aeration_known_exit - undo aeration_known_init()
 *
 * Context: process context, when the core is unloaded; may sleep.
 */
void aeration_known_exit(void)
{
	unregister_memory_notifier(&memory_nb);
}
