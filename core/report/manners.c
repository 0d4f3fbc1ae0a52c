// SPDX-License-Identifier: GPL-2.0
/*
 * What a guest owes to the others of its host: not to begin when all of them begin, and
 * to leave the host some time between one second's worth and the next.
 */
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/kstrtox.h>
#include <linux/limits.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/random.h>
#include <linux/spinlock.h>
#include "../pace/cap.h"
#include "report.h"

/* Longest time to spread over, ms: an hour; and largest cap, MiB a second: 1 TiB. */
#define SPREAD_MAX_MS	3600000
#define CAP_MAX_MB	(1024U << 10)

static unsigned int spread_ms = 30000;
static unsigned int cap_mb = 4096;

/**
 * struct manners - what has gone
 * @lock: protects what follows
 * @cap: what has gone lately, whoever took it
 * @at_once: what goes now does not count
 * @started: there is a watch; a parameter may come before
 */
static struct manners {
	spinlock_t lock;	/* see above */
	struct cap cap;
	bool at_once;
	bool started;
} manners = {
	.lock = __SPIN_LOCK_UNLOCKED(manners.lock),
};

static int store(const char *val, unsigned int max, unsigned int *where)
{
	unsigned int value;

	if (kstrtouint(val, 0, &value) || value > max)
		return -EINVAL;
	WRITE_ONCE(*where, value);
	return 0;
}

static int set_spread(const char *val, const struct kernel_param *kp)
{
	return store(val, SPREAD_MAX_MS, &spread_ms);
}

/* Whoever waits because of the last one looks again. */
static int set_cap(const char *val, const struct kernel_param *kp)
{
	int err = store(val, CAP_MAX_MB, &cap_mb);

	if (!err && READ_ONCE(manners.started))
		aeration_watch_kick();
	return err;
}

static const struct kernel_param_ops spread_ops = {
	.set = set_spread,
	.get = param_get_uint,
};

static const struct kernel_param_ops cap_ops = {
	.set = set_cap,
	.get = param_get_uint,
};

module_param_cb(spread_ms, &spread_ops, &spread_ms, 0644);
MODULE_PARM_DESC(spread_ms, "what a guest begins by itself, as others of its host may at this moment, it begins within so many ms (default 30000)");
module_param_cb(cap_mb, &cap_ops, &cap_mb, 0644);
MODULE_PARM_DESC(cap_mb, "most to report in a second, MiB; a second's worth goes at once (default 4096; 0: no cap)");

/* Pages a second, 0: no cap. */
static u32 rate(void)
{
	return READ_ONCE(cap_mb) << (20 - PAGE_SHIFT);
}

/**
 * aeration_manners_delay_ms - when to begin what others may begin at this moment
 *
 * Context: any.
 * Return: ms from now, by chance.
 */
u32 aeration_manners_delay_ms(void)
{
	return reciprocal_scale(get_random_u32(), READ_ONCE(spread_ms) + 1);
}

/**
 * aeration_manners_start - there is a watch from now on
 *
 * What has gone lately still has.
 *
 * Context: process context.
 */
void aeration_manners_start(void)
{
	WRITE_ONCE(manners.started, true);
}

/**
 * aeration_manners_spent - take note of what has gone
 * @pages: pages
 *
 * Context: process context.
 */
void aeration_manners_spent(unsigned long pages)
{
	spin_lock(&manners.lock);
	if (!manners.at_once)
		aeration_cap_spend(&manners.cap, aeration_watch_now_ms(), rate(),
				   pages);
	spin_unlock(&manners.lock);
}

/**
 * aeration_manners_rest_ms - for how long nothing more goes, because much has gone
 *
 * Context: process context.
 * Return: ms, 0 if more may go.
 */
unsigned int aeration_manners_rest_ms(void)
{
	u64 ms = 0;

	spin_lock(&manners.lock);
	if (!manners.at_once)
		ms = aeration_cap_wait(&manners.cap, aeration_watch_now_ms(),
				       rate());
	spin_unlock(&manners.lock);
	return min_t(u64, ms, INT_MAX);
}

/**
 * aeration_manners_most - what a pass may take
 * @batch: pages in a batch, which goes as a whole
 *
 * The mm's own is a sixteenth of all there is, which in a large guest is more than is to
 * go in a second.
 *
 * Context: process context.
 * Return: pages.
 */
unsigned long aeration_manners_most(unsigned long batch)
{
	unsigned long pages = rate();

	return pages && !READ_ONCE(manners.at_once) ? max(pages, batch) :
						      ULONG_MAX;
}

/**
 * aeration_manners_at_once - let what goes be none of what the cap is for, or go on
 * @at_once: which
 *
 * Context: process context, no pass under way.
 */
void aeration_manners_at_once(bool at_once)
{
	spin_lock(&manners.lock);
	WRITE_ONCE(manners.at_once, at_once);
	spin_unlock(&manners.lock);
}
