// SPDX-License-Identifier: GPL-2.0
/*
 * The stock balloon, the toolstack's arm in this domain.
 *
 * It makes its own count of pages, which does not know what is held here, meet its
 * target; so a domain that is where it should be has the target less what is held.
 *
 * A lower target. The balloon would reclaim memory to give it away page by page, and
 * get back for it what is held. But what is held is what the host wants: so it counts.
 * The balloon is made to aim higher by as much of it as the target asks for, and that
 * much is forfeited: under the limit that comes with the target Xen does not give it
 * back. When the target rises it is the guest's again, and comes back as it went, in
 * large pieces.
 *
 * A debt is what the balloon has to give and nothing held stands for. A balloon that
 * came up short four times sleeps for an hour; another target wakes it. It would take
 * all that is available then, so the target is what the domain has less its surplus.
 *
 * Who sets its target: the toolstack by way of xenstore, root in
 * /sys/devices/system/xen_memory, and this file. What somebody else has set is known
 * by its being another one than was set here. It must not be the same by chance, and
 * the next target is often what the domain has, which is where this file would aim when
 * something is forfeited: so it aims a page below. Nor does it aim at whole megabytes
 * otherwise.
 *
 * All of this is called by one work item, or while that cannot run.
 */
#include <linux/compiler.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <xen/balloon.h>
#include <xen/xen.h>
#include "xb.h"

/* It tries for 15 s, and again after an hour. */
#define ASLEEP_DELAY	(20 * HZ)
#define RETRY_DELAY	(3600 * HZ)

/* How many pages another target has to differ by to be one. */
#define OTHER		1

#ifdef CONFIG_XEN_BALLOON
static unsigned long has(void)
{
	return READ_ONCE(balloon_stats.current_pages);
}

static unsigned long aims_at(void)
{
	return READ_ONCE(balloon_stats.target_pages);
}

static void aim(unsigned long pages)
{
	if (aims_at() != pages)
		balloon_set_new_target(pages);
}
#else
static unsigned long has(void)
{
	return 0;
}

static unsigned long aims_at(void)
{
	return 0;
}

static void aim(unsigned long pages)
{
}
#endif

/**
 * struct balloon - what is known of it
 * @asked: the target that somebody else has set, pages
 * @goal: that, with what is forfeited, pages; read by others, too
 * @ours: what it was made to aim at instead, pages
 * @below: by so much less than @goal, if it aims there, pages
 * @had: what it had when it was last looked at, pages
 * @moved: when that, or @goal, was last another, jiffies
 * @debt: what @asked asks for, pages; read by others, too
 */
static struct balloon {
	unsigned long asked;
	unsigned long goal;
	unsigned long ours;
	unsigned long below;
	unsigned long had;
	unsigned long moved;
	unsigned long debt;
} balloon;

/**
 * aeration_xb_balloon_start - look for the first time
 *
 * Context: process context.
 */
void aeration_xb_balloon_start(void)
{
	unsigned long now = aims_at();

	balloon = (struct balloon){ .asked = now, .goal = now, .ours = now,
				    .moved = jiffies };
}

static bool owes(unsigned long have, unsigned long goal)
{
	return have > goal + OTHER;
}

/*
 * Where to aim. At what is asked for, as the balloon would by itself, whenever it is told
 * so or that changes, and once an hour. If nothing has come of it for a while, it sleeps;
 * then it gets what the domain can do without, and no more.
 */
static unsigned long choose(unsigned long goal, unsigned long have,
			    unsigned long surplus, bool told)
{
	unsigned long aim;

	told |= goal != balloon.goal ||
		time_is_before_jiffies(balloon.moved + RETRY_DELAY);
	if (told || have != balloon.had)
		balloon.moved = jiffies;
	if (told || !owes(have, goal))
		return goal - balloon.below;
	if (!surplus || time_is_after_jiffies(balloon.moved + ASLEEP_DELAY))
		return balloon.ours;
	surplus += OTHER;
	aim = max(goal - balloon.below, have > surplus ? have - surplus : 0);
	/* Only another target wakes it. */
	return aim == balloon.ours ? aim + 2 * OTHER : aim;
}

/**
 * aeration_xb_balloon_steer - have what is held count for a lower target
 * @dev: the device
 * @surplus: what the domain can do without, pages
 *
 * Domain 0 gets back what is held instead: libxl waits for its balloon.
 *
 * Context: process context; may sleep.
 * Return: whether the balloon has a debt.
 */
bool aeration_xb_balloon_steer(struct aerator_dev_info *dev,
			       unsigned long surplus)
{
	unsigned long now, have, paid, goal;
	bool told = false;

	do {
		now = aims_at();
		if (now != balloon.ours) {
			balloon.asked = now;
			told = true;
		}
		have = has();
		WRITE_ONCE(balloon.debt, have > balloon.asked ?
			   have - balloon.asked : 0);
		paid = 0;
		/* Whether it has given that page below or not, it is as much. */
		if (balloon.debt && !xen_initial_domain())
			paid = balloon.debt + OTHER;
		paid = aerator_forfeit(dev, (u64)paid << PAGE_SHIFT) >>
		       PAGE_SHIFT;
	} while (aims_at() != now);
	goal = balloon.asked + paid;
	balloon.below = paid ? OTHER : 0;
	balloon.ours = choose(goal, have, surplus, told);
	WRITE_ONCE(balloon.goal, goal);
	balloon.had = have;
	aim(balloon.ours);
	return owes(have, goal);
}

/**
 * aeration_xb_balloon_wants - does its target ask for memory?
 *
 * Context: any.
 * Return: true if so, whatever is held for it.
 */
bool aeration_xb_balloon_wants(void)
{
	return READ_ONCE(balloon.debt);
}

/**
 * aeration_xb_balloon_gives - has it more than it should, or than it aims at?
 *
 * Context: any.
 * Return: true if so: Xen may refuse to give back what it is given now.
 */
bool aeration_xb_balloon_gives(void)
{
	unsigned long have = has();

	return owes(have, aims_at()) || owes(have, READ_ONCE(balloon.goal));
}

/**
 * aeration_xb_balloon_has - what it counts
 *
 * Context: any.
 * Return: pages.
 */
unsigned long aeration_xb_balloon_has(void)
{
	return has();
}

/**
 * aeration_xb_balloon_stop - let it aim where it was told to
 * @dev: the device
 *
 * Nothing is forfeited any more.
 *
 * Context: process context; may sleep.
 */
void aeration_xb_balloon_stop(struct aerator_dev_info *dev)
{
	aerator_forfeit(dev, 0);
	WRITE_ONCE(balloon.debt, 0);
	if (aims_at() == balloon.ours)
		aim(balloon.asked);
}
