// SPDX-License-Identifier: GPL-2.0
/*
 * What a durable backend tells of its host; see hold.h.
 */
#include <linux/export.h>
#include <linux/kernel.h>
#include <linux/kstrtox.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/sysfs.h>
#include "../pace/watch.h"
#include "hold.h"

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
	aeration_surrender_stop(SURRENDER_QUIESCED);
	aeration_restore_quiesce(true);
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
	aeration_restore_quiesce(false);
	aeration_surrender_go_on(SURRENDER_QUIESCED);
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
	return aeration_surrender_scrub(dev, scrub);
}
EXPORT_SYMBOL_GPL(aerator_set_scrub);

static int set_scrub(const char *val, const struct kernel_param *kp)
{
	bool scrub;

	if (kstrtobool(val, &scrub))
		return -EINVAL;
	return aerator_set_scrub(kp->arg, scrub);
}

/* Most kernels fill what they allocate with zeros, whoever wants it. */
static int get_scrub(char *buf, const struct kernel_param *kp)
{
	const struct aerator_dev_info *dev = kp->arg;

	return sysfs_emit(buf, "%c\n", READ_ONCE(dev->scrub) ||
			  want_init_on_alloc(0) ? 'Y' : 'N');
}

const struct kernel_param_ops aerator_scrub_ops = {
	.set = set_scrub,
	.get = get_scrub,
};
EXPORT_SYMBOL_GPL(aerator_scrub_ops);

/**
 * aerator_limit_held - have no more held than the host allows
 * @dev: a durable device between its startup and its shutdown, in use or not
 * @bytes: so much, whatever was asked for in the guest, whenever it is in use; U64_MAX:
 *	any amount
 *
 * What is held beyond it is restored, a step at a time.
 *
 * Context: process context; does not wait.
 */
void aerator_limit_held(struct aerator_dev_info *dev, u64 bytes)
{
	WRITE_ONCE(dev->limit, min_t(u64, bytes >> PAGE_SHIFT, ULONG_MAX));
	smp_mb();	/* before hold.dev is read: see hold_start() */
	if (!aeration_hold_is_for(dev))
		return;
	aeration_need_limit_held(READ_ONCE(dev->limit));
	aeration_watch_kick();
}
EXPORT_SYMBOL_GPL(aerator_limit_held);

/**
 * aerator_forfeit - say how much of what is held cannot be had back
 * @dev: a durable device; nothing happens if it is not in use
 * @bytes: so much, until it is called again; whole blocks of it count
 *
 * That is no memory of the guest's until then, like what a balloon has: it leaves
 * MemTotal, and nobody asks for it.
 *
 * Context: process context; may sleep. One caller at a time.
 * Return: bytes that are forfeited now: no more than @bytes, and than are held.
 */
u64 aerator_forfeit(struct aerator_dev_info *dev, u64 bytes)
{
	unsigned int shift = PAGE_SHIFT + aeration_blocks_order();
	unsigned long before = aeration_blocks_forfeited(), now;

	if (!aeration_hold_is_for(dev))
		return 0;
	now = aeration_blocks_forfeit(bytes >> shift);
	if (now != before) {
		aeration_blocks_note_held(dev);
		aeration_watch_kick();
	}
	return (u64)now << shift;
}
EXPORT_SYMBOL_GPL(aerator_forfeit);
