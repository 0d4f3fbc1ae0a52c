// SPDX-License-Identifier: GPL-2.0
/*
 * Squeeze by itself, once the guest has idled for a while; off unless asked for.
 *
 * When memory has moved, and there is as much that is cold as is worth while, one timer
 * is armed for when the guest may have idled for long enough. When it comes the
 * processors' own counts say whether it has; if not, it is armed again. An idle guest is
 * woken once, and not again before memory moves.
 *
 * If it takes nothing, or finds that what the one before took was read again, it waits for
 * twice as long the next time, and twice that the time after.
 *
 * Locks: idle.lock protects what is here; taken by the watch's timers, so with bottom
 * halves off. It is not held while a squeeze runs.
 */
#include <linux/cpumask.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/kstrtox.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include "../pace/watch.h"
#include "../queues.h"
#include "squeeze.h"

/* What has to be cold for it to be worth while, bytes and as a part of memory. */
#define GAIN_LEAST	SZ_64M
#define GAIN_SHARE	32

/*
 * Idle is a guest whose processors were busy for one part in so many of the time: those
 * of one, and of one more for each so many that it has.
 */
#define BUSY_SHARE	10
#define BUSY_CPUS	16

/* It takes at most 1 << so many times as long. */
#define PATIENCE_MOST	6

/* Longest idleness that can be asked for, s: a day. */
#define IDLE_MAX_S	86400

static unsigned int squeeze_idle_s;

static void due_fn(struct work_struct *work);

/**
 * struct idle - what it goes by
 * @lock: protects what follows but for @squeeze and @due
 * @squeeze: has one done, and waits for it; a constant
 * @due: the guest may have idled for long enough. Queued under @lock while @live;
 *	cancelled by aeration_idle_exit() after that
 * @live: between init and exit
 * @since_ms: since when the guest is looked at, ms
 * @busy_us: how busy the processors had been then, us
 * @cpus: how many there were
 * @left: pages that were cold when the last squeeze had found no more
 * @patience: it takes 1 << so many times as long
 */
static struct idle {
	spinlock_t lock;	/* see above */
	int (*squeeze)(struct squeeze_done *done);
	struct delayed_work due;
	bool live;
	u64 since_ms;
	s64 busy_us;
	unsigned int cpus;
	unsigned long left;
	unsigned int patience;
} idle = {
	.lock = __SPIN_LOCK_UNLOCKED(idle.lock),
	.due = __DELAYED_WORK_INITIALIZER(idle.due, due_fn, 0),
};

/**
 * aeration_idle_s - after how long idleness does a squeeze come by itself?
 *
 * Context: any.
 * Return: that, s; 0: never.
 */
u32 aeration_idle_s(void)
{
	return READ_ONCE(squeeze_idle_s);
}

static unsigned long cold(const struct gate_now *now)
{
	return aeration_gate_cold(now, totalram_pages() / SQUEEZE_LEAST_SHARE);
}

static bool is_worth_it(const struct gate_now *now)
{
	unsigned long gain = max(GAIN_LEAST >> PAGE_SHIFT,
				 totalram_pages() / GAIN_SHARE);

	lockdep_assert_held(&idle.lock);
	idle.left = min(idle.left, cold(now));
	return cold(now) >= idle.left + gain;
}

/*
 * Whoever takes a processor away or brings one is not idle. The counts may say a little
 * less than nothing: the kernel's clock and its idle times do not move as one.
 */
static bool was_idle(s64 us, s64 busy_us)
{
	lockdep_assert_held(&idle.lock);
	return idle.cpus == num_online_cpus() &&
	       busy_us * BUSY_SHARE < us * (1 + idle.cpus / BUSY_CPUS);
}

static void arm(const struct gate_now *now)
{
	lockdep_assert_held(&idle.lock);
	idle.since_ms = now->ms;
	idle.busy_us = aeration_counts_busy_us();
	idle.cpus = num_online_cpus();
	mod_delayed_work(aeration_request_wq, &idle.due,
			 msecs_to_jiffies(aeration_idle_s() * MSEC_PER_SEC)
			 << idle.patience);
}

/* Memory has moved. From timers; while one is armed it stays as it is. */
static void look(void)
{
	struct gate_now now;

	if (!aeration_idle_s() || delayed_work_pending(&idle.due))
		return;
	aeration_counts_read(&now);
	spin_lock_bh(&idle.lock);
	if (idle.live && !delayed_work_pending(&idle.due) && is_worth_it(&now))
		arm(&now);
	spin_unlock_bh(&idle.lock);
}

/* It has idled and there is something to gain; or it is given as much time again. */
static bool is_time(void)
{
	struct gate_now now;
	bool time = false;

	aeration_counts_read(&now);
	spin_lock_bh(&idle.lock);
	if (idle.live && aeration_idle_s() && is_worth_it(&now)) {
		time = was_idle((now.ms - idle.since_ms) * USEC_PER_MSEC,
				aeration_counts_busy_us() - idle.busy_us);
		if (!time)
			arm(&now);
	}
	spin_unlock_bh(&idle.lock);
	return time;
}

static bool found_all(enum gate_end end)
{
	return end == GATE_ENOUGH || end == GATE_BARREN;
}

/* What was cut short is gone on with, after as long; what came to nothing, later. */
static void due_fn(struct work_struct *work)
{
	struct squeeze_done done;
	struct gate_now now;
	int err;

	if (!is_time())
		return;
	err = idle.squeeze(&done);
	aeration_counts_read(&now);
	spin_lock_bh(&idle.lock);
	if (err || !done.reclaimed || done.regretted)
		idle.patience = min(idle.patience + 1, PATIENCE_MOST);
	else
		idle.patience = 0;
	if (!err && found_all(done.end))
		idle.left = cold(&now);
	if (idle.live && aeration_idle_s() && is_worth_it(&now))
		arm(&now);
	spin_unlock_bh(&idle.lock);
}

static int parse(const char *val)
{
	unsigned int value;

	if (kstrtouint(val, 0, &value) || value > IDLE_MAX_S)
		return -EINVAL;
	WRITE_ONCE(squeeze_idle_s, value);
	return 0;
}

/* What has been learnt is of another time. */
static void begin(void)
{
	struct gate_now now;

	aeration_counts_read(&now);
	spin_lock_bh(&idle.lock);
	idle.patience = 0;
	idle.left = 0;
	if (idle.live && aeration_idle_s() && is_worth_it(&now))
		arm(&now);
	spin_unlock_bh(&idle.lock);
}

/**
 * aeration_idle_store_s - set after how long idleness a squeeze comes by itself
 * @val: text of a number, s, 0 to a day; 0: never
 *
 * Context: process context.
 * Return: 0, or -EINVAL with nothing changed.
 */
int aeration_idle_store_s(const char *val)
{
	int err = parse(val);

	if (!err)
		begin();
	return err;
}

static int set_idle_s(const char *val, const struct kernel_param *kp)
{
	return parse(val);
}

static const struct kernel_param_ops idle_s_ops = {
	.set = set_idle_s,
	.get = param_get_uint,
};

module_param_cb(squeeze_idle_s, &idle_s_ops, &squeeze_idle_s, 0444);
MODULE_PARM_DESC(squeeze_idle_s,
		 "take cold cache after the guest has idled for so long, s (0, the default: never; at most a day)");

/**
 * aeration_idle_init - squeeze by itself from now on, if that is asked for
 * @squeeze: has one done and waits for it; sets what came of it and returns 0, or a
 *	negative error. Process context; may sleep.
 *
 * Context: process context; may sleep.
 */
void aeration_idle_init(int (*squeeze)(struct squeeze_done *done))
{
	idle.squeeze = squeeze;
	spin_lock_bh(&idle.lock);
	idle.live = true;
	spin_unlock_bh(&idle.lock);
	begin();
	aeration_watch_listen(look);
}

/**
 * aeration_idle_exit - do not any more
 *
 * Context: process context; waits for one that is under way.
 */
void aeration_idle_exit(void)
{
	aeration_watch_listen(NULL);
	spin_lock_bh(&idle.lock);
	idle.live = false;
	spin_unlock_bh(&idle.lock);
	cancel_delayed_work_sync(&idle.due);
}
