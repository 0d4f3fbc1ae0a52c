// SPDX-License-Identifier: GPL-2.0
/*
 * Tells the toolstack how much is held: data/aeration/held of the domain, in
 * KiB. The directory data/ of a domain is its own to write (libxl makes it so).
 *
 * The core says how much is held with a spinlock held, maybe in memory reclaim;
 * writing it allocates memory and waits for another domain. So a work item
 * writes it, at most once a second; it is frozen while the domain is saved. It
 * reads the amount after it has become possible to queue it again, so that the
 * last amount is always written.
 */
#define pr_fmt(fmt) "aeration_xen: " fmt

#include <linux/jiffies.h>
#include <linux/notifier.h>
#include <linux/printk.h>
#include <linux/workqueue.h>
#include <xen/xenbus.h>
#include "xb.h"

#define STORE_DIR	"data/aeration"
#define STORE_NODE	"held"

/* Least time between two writes. */
#define STORE_PERIOD	HZ

static void write_fn(struct work_struct *work);

static DECLARE_DELAYED_WORK(store_work, write_fn);
static u64 held;		/* bytes */
static bool store_up;		/* xenstore can be written to */
static bool complained;		/* the work item's own */

static void write_fn(struct work_struct *work)
{
	int err = xenbus_printf(XBT_NIL, STORE_DIR, STORE_NODE, "%llu",
				READ_ONCE(held) >> 10);

	if (err && !complained)
		pr_notice("cannot write %s/%s to xenstore (error %d): the toolstack does not see how much is held, all else works\n",
			  STORE_DIR, STORE_NODE, err);
	complained = err;
}

/**
 * aeration_xb_store_again - write what is held again, though it has not changed
 *
 * Context: any.
 */
void aeration_xb_store_again(void)
{
	if (READ_ONCE(store_up))
		queue_delayed_work(system_freezable_wq, &store_work,
				   STORE_PERIOD);
}

/**
 * aeration_xb_store_note - the amount held has changed
 * @bytes: what it is now
 *
 * Context: any; must not sleep.
 */
void aeration_xb_store_note(u64 bytes)
{
	WRITE_ONCE(held, bytes);
	aeration_xb_store_again();
}

/**
 * aeration_xb_store_held - how much is held
 *
 * Context: any.
 * Return: bytes.
 */
u64 aeration_xb_store_held(void)
{
	return READ_ONCE(held);
}

/* Called at once if xenstore is there already. */
static int on_store(struct notifier_block *nb, unsigned long unused, void *none)
{
	WRITE_ONCE(store_up, true);
	aeration_xb_store_again();
	return NOTIFY_DONE;
}

static struct notifier_block store_nb = { .notifier_call = on_store };

/**
 * aeration_xb_store_start - begin to publish, as soon as there is a xenstore
 *
 * Context: process context; may sleep.
 */
void aeration_xb_store_start(void)
{
	register_xenstore_notifier(&store_nb);
}

/**
 * aeration_xb_store_stop - end; the node goes, unless Xen still has memory of ours
 *
 * Context: process context, after aerator_shutdown(); sleeps.
 */
void aeration_xb_store_stop(void)
{
	unregister_xenstore_notifier(&store_nb);
	cancel_delayed_work_sync(&store_work);
	if (!store_up)
		return;
	if (held)
		write_fn(NULL);
	else
		xenbus_rm(XBT_NIL, STORE_DIR, "");
}
