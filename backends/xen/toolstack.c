// SPDX-License-Identifier: GPL-2.0
/*
 * Get along with the toolstack.
 *
 * It sets a target for the domain and, at the same time, Xen's limit for it: a little
 * more than the target (libxl: libxl_set_memory_target()). So the limit has room for
 * what a domain that is at its target holds. See balloon.c for a lower target.
 *
 * While the balloon has a debt nothing goes: Xen may refuse to give back what it is
 * given now, and free memory is what the balloon waits for. That is also how a domain
 * begins that has less memory than it believes, memory < maxmem: until the balloon has
 * paid, writing to a free page, as scrubbing does, may need memory that Xen has not set
 * aside for it, and the domain would be crashed; and Xen keeps what it is given, to
 * cover the debt (arch/x86/mm/p2m-pod.c, p2m_pod_decrease_reservation()). Afterwards as
 * many entries are left as there is memory for them, and giving any page keeps the
 * books balanced.
 *
 * Domain 0: see dom0.c.
 *
 * Daemons that share out a host's memory look at what a domain has. XenServer's
 * squeezed, which sets memory/dynamic-min, takes a domain that has less than its target
 * for one that does not obey, and lowers Xen's limit to what it has. Qubes' qmemman,
 * for which the domain writes memory/meminfo, takes what is held for used. With either
 * nothing is held, unless this backend was asked for by name; then no more than
 * dynamic-min allows, and not before squeezed has measured the domain
 * (memory/memory-offset).
 */
#define pr_fmt(fmt) "aeration_xen: " fmt

#include <linux/err.h>
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/notifier.h>
#include <linux/printk.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/workqueue.h>
#include <xen/interface/xen.h>
#include <xen/xen.h>
#include <xen/xenbus.h>
#include "xb.h"

/* What the toolstack keeps in the folder memory besides the target. */
#define DYNAMIC_MIN	"dynamic-min"
#define MEMORY_OFFSET	"memory-offset"
#define MEMINFO		"meminfo"

/* A PV domain with devices of the host's has this folder. */
#define PASSTHROUGH	"device/pci"

/* A xenstore that has not been heard of for so long is none; domain 0 starts its own. */
#define NO_STORE_DELAY	(60 * HZ)

/*
 * For so long after a target nothing goes: whoever of us hears of it first, the
 * balloon has seen it then.
 */
#define TARGET_DELAY	HZ

/*
 * How soon to look after a change of what is held or of another node than the target,
 * and how often while there is a debt, or something is forfeited for one: ever more
 * rarely if nothing comes of it.
 */
#define HELD_DELAY	(HZ / 20)
#define NODE_DELAY	HZ
#define DEBT_DELAY_MIN	HZ
#define DEBT_DELAY_MAX	(64 * HZ)

/* What is waited for. */
static const char not_told[] =
	"xenstore has not told this domain's target yet";
static const char untold_dom0[] =
	"domain 0's size cannot be written to xenstore, and libxl would take it from it";
static const char not_measured[] =
	"squeezed has not measured this domain yet (memory/memory-offset)";
static const char squeezed[] =
	"squeezed (memory/dynamic-min) expects a domain to have its target; by name it goes";
static const char qmemman[] =
	"qmemman (memory/meminfo) takes what is held for memory in use; by name it goes";
static const char passthrough[] =
	"a PV domain's host devices need contiguous memory; by name it goes";
static const char unreadable[] =
	"xenstore cannot be read at present; it is tried again";
static const char in_debt[] =
	"the balloon has not given the toolstack what it asked for yet";

/**
 * struct toolstack - what is known of it
 * @xb: the backend; a constant from start to stop
 * @store: xenstore can be used from now on; after the balloon's
 * @watch: of the folder memory; registered when xenstore is up
 * @up: xenstore is; written when it comes up and by start, which nothing runs beside
 * @watching: @watch is registered; likewise
 * @work: looks; all that follows is its own, but for what is said here
 * @next: when it does, jiffies
 * @since: when it began to follow the toolstack, jiffies
 * @over: between stop and start: look_fn() does nothing
 * @news: the target may have changed; written by the watch
 * @stale: another node may have; likewise
 * @wanted: so many bytes were to go and could not; written by the core's ready call
 * @heard: a target was told, or that there is none
 * @told: when the last one was, jiffies
 * @settled: a while has passed since; read there
 * @why: nothing is to be held, for this reason, a constant, or NULL; read there
 * @meminfo: memory/meminfo is there; read by the watch
 * @unread: some of what is known could not be read: nothing goes before it can
 * @least: what squeezed allows to be held, bytes
 * @allowed: what the host allows, bytes; written by control.c
 * @had: what the balloon had when it was last looked at, pages
 * @pause: when to look again while there is a debt, jiffies
 */
static struct toolstack {
	struct xb *xb;
	struct notifier_block store;
	struct xenbus_watch watch;
	bool up;
	bool watching;
	struct delayed_work work;
	unsigned long next;
	unsigned long since;
	bool over;
	bool news;
	bool stale;
	u64 wanted;
	bool heard;
	unsigned long told;
	bool settled;
	const char *why;
	bool meminfo;
	bool unread;
	u64 least;
	u64 allowed;
	unsigned long had;
	unsigned long pause;
} ts;

/* Is there such a node? Where nobody can tell that is noted. */
static bool has(const char *folder, const char *node)
{
	char *value = xenbus_read(XBT_NIL, folder, node, NULL);

	if (IS_ERR(value)) {
		ts.unread |= PTR_ERR(value) != -ENOENT;
		return false;
	}
	kfree(value);
	return true;
}

/* A number of the toolstack's, in pages. Return: true if there is one. */
static bool read_pages(const char *node, u64 *pages)
{
	int err = aeration_xb_store_pages(node, pages);

	ts.unread |= err && err != -ENOENT && err != -ERANGE && err != -EINVAL;
	return !err;
}

static const char *why_not(void)
{
	bool named = aerator_named(ts.xb->dev.ops->name);
	bool shares = has(XB_MEMORY, DYNAMIC_MIN);

	/* By any other way than by name it is not used there. */
	if (xen_initial_domain())
		return named && !aeration_xb_dom0_told() ? untold_dom0 : NULL;
	if (shares && named && !has(XB_MEMORY, MEMORY_OFFSET))
		return not_measured;
	if (named)
		return NULL;
	if (shares)
		return squeezed;
	if (ts.meminfo)
		return qmemman;
	return ts.xb->pv && has(PASSTHROUGH, "") ? passthrough : NULL;
}

/* What squeezed allows to be held. */
static u64 read_least(void)
{
	u64 least, target;

	if (!read_pages(DYNAMIC_MIN, &least) || !read_pages(XB_TARGET, &target))
		return U64_MAX;
	return (target > least ? target - least : 0) << PAGE_SHIFT;
}

static void read_store(void)
{
	const char *why;

	ts.unread = false;
	ts.least = read_least();
	WRITE_ONCE(ts.meminfo, has(XB_MEMORY, MEMINFO));
	why = why_not();
	WRITE_ONCE(ts.why, ts.unread ? unreadable : why);
}

/* Say what is waited for; NULL: nothing. */
static void wait_for(const struct aerator_dev_info *dev, const char *why)
{
	aerator_say(dev->ops->name, dev, why ? AERATOR_WAITS : AERATOR_WELL,
		    why);
}

/* Most that may be held, bytes. */
static u64 limit(bool pressed)
{
	if (ts.why || pressed)
		return 0;
	return min(READ_ONCE(ts.allowed), ts.least);
}

/* When to look again while there is a debt. */
static unsigned long debt_delay(bool news)
{
	unsigned long have = aeration_xb_balloon_has();

	if (news || have != ts.had)
		ts.pause = DEBT_DELAY_MIN;
	else
		ts.pause = min_t(unsigned long, 2 * ts.pause, DEBT_DELAY_MAX);
	ts.had = have;
	return ts.pause;
}

/* Look no later than that. */
static void look_in(unsigned long delay)
{
	unsigned long when = jiffies + delay;

	if (delayed_work_pending(&ts.work) &&
	    time_after_eq(when, READ_ONCE(ts.next)))
		return;
	WRITE_ONCE(ts.next, when);
	mod_delayed_work(system_freezable_wq, &ts.work, delay);
}

/* For look_fn(), unless somebody wants it sooner by now. */
static void look_again_in(unsigned long delay)
{
	WRITE_ONCE(ts.next, jiffies + delay);
	queue_delayed_work(system_freezable_wq, &ts.work, delay);
}

/* Has the toolstack told a target, and the balloon had time to see it? */
static bool is_settled(void)
{
	if (ts.heard)
		return time_is_before_eq_jiffies(ts.told + TARGET_DELAY);
	return !ts.up && !xen_initial_domain() &&
	       time_is_before_eq_jiffies(ts.since + NO_STORE_DELAY);
}

/*
 * The balloon first: it has heard of a lower target, too, and is giving pages. Reading
 * xenstore takes a round trip to another domain for each node.
 */
static void look_fn(struct work_struct *work)
{
	struct aerator_dev_info *dev;
	unsigned long pressed;
	bool debt, news;
	u64 wanted;

	if (READ_ONCE(ts.over))
		return;
	dev = &ts.xb->dev;
	news = xchg(&ts.news, false);
	wanted = xchg(&ts.wanted, 0);
	debt = aeration_xb_balloon_steer(dev, wanted >> PAGE_SHIFT);
	if (ts.watching && (xchg(&ts.stale, false) || news))
		read_store();
	if (ts.unread) {
		if (news)
			WRITE_ONCE(ts.news, true);
		WRITE_ONCE(ts.stale, true);
		look_again_in(NODE_DELAY);
	} else if (news) {
		debt |= aeration_xb_balloon_steer(dev, 0);
		ts.heard = true;
		ts.told = jiffies;
	}
	pressed = aeration_xb_dom0_pressed(debt);
	WRITE_ONCE(ts.settled, is_settled());
	if (ts.heard && !ts.settled)
		look_again_in(TARGET_DELAY);
	else if (debt || aeration_xb_balloon_wants())
		look_again_in(debt_delay(news));
	else if (pressed)
		look_again_in(pressed);
	aerator_limit_held(dev, limit(pressed));
	if (ts.settled)
		wait_for(dev, ts.why ?: debt ? in_debt : NULL);
}

static void on_memory(struct xenbus_watch *watch, const char *path,
		      const char *token)
{
	/* The first time it is the folder itself. */
	if (!strcmp(path, XB_MEMORY) || !strcmp(path, XB_MEMORY "/" XB_TARGET)) {
		WRITE_ONCE(ts.news, true);
		look_in(0);
	} else if (strcmp(path, XB_MEMORY "/" MEMINFO) ||
		   !READ_ONCE(ts.meminfo)) {
		/* The domain itself writes that one, many times a minute. */
		WRITE_ONCE(ts.stale, true);
		look_in(NODE_DELAY);
	}
}

/* Called at once if xenstore is there already. */
static int on_store(struct notifier_block *nb, unsigned long unused, void *none)
{
	int err;

	if (ts.watching)
		return NOTIFY_DONE;
	/* The first event comes before this has returned. */
	WRITE_ONCE(ts.up, true);
	WRITE_ONCE(ts.watching, true);
	err = register_xenbus_watch(&ts.watch);
	if (!err)
		return NOTIFY_DONE;
	WRITE_ONCE(ts.watching, false);
	pr_err("cannot follow this domain's target in xenstore: error %d; nothing goes\n",
	       err);
	return NOTIFY_DONE;
}

/**
 * aeration_xb_toolstack_held - what is held has changed
 *
 * Context: any; does not sleep.
 */
void aeration_xb_toolstack_held(void)
{
	if (aeration_xb_balloon_wants())
		look_in(HELD_DELAY);
}

/**
 * aeration_xb_toolstack_allow - the host allows so much to be held
 * @bytes: that; U64_MAX: any amount
 *
 * Context: process context; does not sleep.
 */
void aeration_xb_toolstack_allow(u64 bytes)
{
	if (READ_ONCE(ts.allowed) == bytes)
		return;
	WRITE_ONCE(ts.allowed, bytes);
	look_in(0);
}

/**
 * aeration_xb_toolstack_ready - may memory go to Xen now?
 * @dev: the device
 * @bytes: so much would go; 0: look whether anything has changed
 *
 * Context: process context; does not sleep.
 * Return: true if so; what is waited for is said otherwise.
 */
bool aeration_xb_toolstack_ready(struct aerator_dev_info *dev, u64 bytes)
{
	if (!bytes) {
		WRITE_ONCE(ts.stale, true);
		look_in(0);
		return false;
	}
	if (READ_ONCE(ts.settled) && !READ_ONCE(ts.why) &&
	    !aeration_xb_balloon_gives()) {
		wait_for(dev, NULL);
		return true;
	}
	WRITE_ONCE(ts.wanted, bytes);
	WRITE_ONCE(ts.stale, true);
	if (READ_ONCE(ts.settled))
		look_in(HELD_DELAY);
	else if (!READ_ONCE(ts.up))
		wait_for(dev, not_told);
	return false;
}

/**
 * aeration_xb_toolstack_start - begin to follow the toolstack
 * @xb: the backend
 *
 * A domain that has no xenstore at all has no toolstack either: nothing goes until it
 * has had time to show.
 *
 * Context: process context; may sleep.
 */
void aeration_xb_toolstack_start(struct xb *xb)
{
	ts.xb = xb;
	ts.store.notifier_call = on_store;
	ts.store.priority = -1;
	ts.watch.node = XB_MEMORY;
	ts.watch.callback = on_memory;
	INIT_DELAYED_WORK(&ts.work, look_fn);
	ts.least = U64_MAX;
	WRITE_ONCE(ts.allowed, U64_MAX);
	ts.since = jiffies;
	WRITE_ONCE(ts.up, false);
	WRITE_ONCE(ts.settled, false);
	ts.heard = false;
	aeration_xb_balloon_start();
	WRITE_ONCE(ts.over, false);
	look_in(NO_STORE_DELAY);
	register_xenstore_notifier(&ts.store);
}

/**
 * aeration_xb_toolstack_stop - let the balloon aim where the toolstack wants it
 *
 * Nothing goes any more. The core may still ask whether something may.
 *
 * Context: process context, before aerator_shutdown(); sleeps.
 */
void aeration_xb_toolstack_stop(void)
{
	unregister_xenstore_notifier(&ts.store);
	if (ts.watching)
		unregister_xenbus_watch(&ts.watch);
	ts.watching = false;
	WRITE_ONCE(ts.over, true);
	flush_delayed_work(&ts.work);
	WRITE_ONCE(ts.settled, false);
	aeration_xb_balloon_stop(&ts.xb->dev);
	aerator_limit_held(&ts.xb->dev, U64_MAX);
}

/**
 * aeration_xb_toolstack_end - wait until nothing here runs any more
 *
 * Context: process context, after aerator_shutdown(); sleeps.
 */
void aeration_xb_toolstack_end(void)
{
	cancel_delayed_work_sync(&ts.work);
}
