// SPDX-License-Identifier: GPL-2.0
/*
 * The life of the hold source: started, stopped, left alone for a while; see
 * hold.h.
 */
#define pr_fmt(fmt) "aeration: " fmt

#include <linux/export.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmstat.h>
#include "hold.h"

/**
 * aeration_hold_leave - surrender nothing any more; restoring goes on
 *
 * Context: process context; sleeps until a batch on its way is there.
 */
void aeration_hold_leave(void)
{
	mutex_lock(&aeration_hold.surrender_lock);
	aeration_hold.leaving = true;
	mutex_unlock(&aeration_hold.surrender_lock);
}

static void set_quiesced(bool quiesced)
{
	mutex_lock(&aeration_hold.surrender_lock);
	mutex_lock(&aeration_hold.restore_lock);
	aeration_hold.quiesced = quiesced;
	mutex_unlock(&aeration_hold.restore_lock);
	mutex_unlock(&aeration_hold.surrender_lock);
}

/**
 * aerator_quiesce - have the core leave a durable device alone for a while
 * @dev: a started device
 *
 * On return neither react nor restore is under way, and none is called until
 * aerator_resume(); what is held stays held. A guest that runs out of memory
 * meanwhile gets none back, so let it be short: while the guest is suspended.
 *
 * Context: process context; may sleep.
 */
void aerator_quiesce(struct aerator_dev_info *dev)
{
	set_quiesced(true);
}
EXPORT_SYMBOL_GPL(aerator_quiesce);

/**
 * aerator_resume - undo aerator_quiesce()
 * @dev: a started device
 *
 * Context: process context; may sleep.
 */
void aerator_resume(struct aerator_dev_info *dev)
{
	set_quiesced(false);
	aeration_watch_kick();
}
EXPORT_SYMBOL_GPL(aerator_resume);

/**
 * aerator_set_scrub - say whether blocks must be filled with zeros
 * @dev: a durable device, started or not
 * @scrub: they must
 *
 * After success no block is under way to the hypervisor for which it was otherwise.
 *
 * Context: process context; sleeps until a batch on its way is there.
 * Return: 0, or -EINTR with nothing changed if the caller was killed first.
 */
int aerator_set_scrub(struct aerator_dev_info *dev, bool scrub)
{
	int err = mutex_lock_killable(&aeration_hold.surrender_lock);

	if (err)
		return err;
	dev->scrub = scrub;
	mutex_unlock(&aeration_hold.surrender_lock);
	return 0;
}
EXPORT_SYMBOL_GPL(aerator_set_scrub);

/*
 * While nobody can have held pages restored they are not reclaimable, and the
 * kernel must not count on them.
 */
static void count_pool(long sign)
{
	int nid;

	for_each_online_node(nid)
		mod_node_page_state(NODE_DATA(nid), NR_KERNEL_MISC_RECLAIMABLE,
				    sign * (long)(aeration_hold.held_on[nid] <<
						  aeration_hold.order));
}

static void free_restoring(void)
{
	mutex_lock(&aeration_hold.restore_lock);
	kvfree(aeration_hold.restoring);
	aeration_hold.restoring = NULL;
	mutex_unlock(&aeration_hold.restore_lock);
}

static int hold_start(struct aerator_dev_info *dev)
{
	int err;

	if (aeration_hold_blocks(AERATOR_BLOCK_HELD) &&
	    strcmp(aeration_hold.owner, dev->ops->name)) {
		pr_err("%s cannot start: %lu MiB are held by %s; load that backend again to get them back\n",
		       dev->ops->name, aeration_hold_held_pages() >> (20 -
								      PAGE_SHIFT),
		       aeration_hold.owner);
		return -EEXIST;
	}
	aeration_hold.dev = dev;
	/* The backend's own copy of its name goes away with its module. */
	aeration_hold.owner =
		aeration_choose_name(aeration_choose_parse(dev->ops->name));
	aeration_hold.order = aeration_param_order() ?: pageblock_order;
	aeration_hold.quiesced = false;
	aeration_hold.spoiled = false;
	aeration_hold.quarantined_before =
		aeration_hold_blocks(AERATOR_BLOCK_QUARANTINED);
	/* Before anybody can have some of it restored. */
	count_pool(1);
	err = -ENOMEM;
	aeration_hold.restoring = kvzalloc(struct_size(aeration_hold.restoring,
						       block,
						       dev->capacity), GFP_KERNEL);
	if (!aeration_hold.restoring)
		goto out_count;
	err = aeration_pressure_start();
	if (err)
		goto out_restoring;
	if (aeration_hold.pinned)
		module_put(THIS_MODULE);
	aeration_hold.pinned = false;
	aeration_watch_start(&aeration_hold_watch_ops, aeration_pressure_keep(),
			     aeration_hold.order);
	return 0;

out_restoring:
	free_restoring();
out_count:
	count_pool(-1);
	return err;
}

/* Whatever the hypervisor does not give back by the end stays in the pool. */
static void hold_stop(void)
{
	aeration_watch_stop();
	/* Whoever runs out of memory meanwhile still gets some. */
	aeration_pressure_restore_all();
	aeration_pressure_stop();
	free_restoring();
	if (!aeration_hold_blocks(AERATOR_BLOCK_HELD))
		return;
	count_pool(-1);
	__module_get(THIS_MODULE);
	aeration_hold.pinned = true;
	pr_err("the hypervisor did not give back %lu MiB; they stay out of use until backend %s starts again and gets them, and the core can not be unloaded before\n",
	       aeration_hold_held_pages() >> (20 - PAGE_SHIFT),
	       aeration_hold.owner);
}

static void hold_retune(void)
{
	aeration_watch_retune(aeration_pressure_keep(), aeration_hold.order);
}

static unsigned int hold_order(void)
{
	return aeration_hold.order;
}

static int hold_restore_now(void)
{
	aeration_pressure_restore_all();
	aeration_watch_restart(aeration_pressure_keep(), aeration_hold.order);
	return aeration_hold_blocks(AERATOR_BLOCK_HELD) ? -EAGAIN : 0;
}

const struct source aeration_hold_source = {
	.start = hold_start,
	.stop = hold_stop,
	.retune = hold_retune,
	.flush = aeration_pressure_flush,
	.restore = hold_restore_now,
	.order = hold_order,
};

/**
 * aeration_hold_init - prepare what a source starts with
 *
 * Context: process context, once, before anything else here.
 */
void aeration_hold_init(void)
{
	int nid;

	for (nid = 0; nid < MAX_NUMNODES; nid++)
		INIT_LIST_HEAD(&aeration_hold.pool[nid]);
}

/**
 * aeration_hold_exit - say what the guest loses for good
 *
 * Context: process context, when the core is unloaded.
 */
void aeration_hold_exit(void)
{
	unsigned long pages = aeration_hold_held_pages() +
		(aeration_hold_blocks(AERATOR_BLOCK_QUARANTINED) << aeration_hold.order);

	if (pages)
		pr_err("unloaded with %lu MiB that are not backed: they are lost to this guest until it boots again\n",
		       pages >> (20 - PAGE_SHIFT));
}
