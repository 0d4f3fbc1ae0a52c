// SPDX-License-Identifier: GPL-2.0
/*
 * Carry one batch to a backend and account for what became of it.
 *
 * A batch has one owner at a time: the source fills it, aeration_batch_submit() lends it
 * to the backend for the length of one react call, and the source reads the
 * result. No lock is needed, because a source submits from one work item only.
 */
#define pr_fmt(fmt) "aeration: " fmt

#include <linux/bug.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <aeration/compat.h>
#include "batch.h"

#define CREATE_TRACE_POINTS
#include <trace/events/aeration.h>

struct aeration_stats aeration_stats;

/**
 * aeration_batch_not_taken - how often the hypervisor did not take what it was offered
 *
 * Context: any.
 * Return: batches that failed and blocks that were refused, ever.
 */
u64 aeration_batch_not_taken(void)
{
	return atomic64_read(&aeration_stats.errors) +
	       atomic64_read(&aeration_stats.refused);
}

static u64 block_bytes(const struct aerator_block *block)
{
	return (u64)PAGE_SIZE << block->order;
}

static u64 set_all(struct aerator_batch *batch, enum aerator_block_state state)
{
	u64 bytes = 0;
	unsigned int i;

	for (i = 0; i < batch->nr; i++) {
		batch->block[i].state = state;
		bytes += block_bytes(&batch->block[i]);
	}
	return bytes;
}

/*
 * A backend may leave a block in few states only. One that it says nothing
 * about may be anywhere if the backend is durable.
 */
static void check_states(const struct aerator_dev_info *dev,
			 struct aerator_batch *batch)
{
	bool durable = dev->ops->residency == AERATOR_DURABLE;
	unsigned int i;

	for (i = 0; i < batch->nr; i++) {
		enum aerator_block_state *state = &batch->block[i].state;

		if (*state == AERATOR_BLOCK_HELD ||
		    *state == AERATOR_BLOCK_ISOLATED ||
		    (*state == AERATOR_BLOCK_QUARANTINED && durable))
			continue;
		pr_err_ratelimited("%s: left block pfn %lx in state %d\n",
				   dev->ops->name, batch->block[i].pfn, *state);
		*state = durable ? AERATOR_BLOCK_QUARANTINED :
				   AERATOR_BLOCK_ISOLATED;
	}
}

/* Count what the hypervisor took. Return: blocks it did not take. */
static unsigned int count_taken(const struct aerator_batch *batch, u64 *bytes)
{
	unsigned int i, refused = 0;

	*bytes = 0;
	for (i = 0; i < batch->nr; i++) {
		if (batch->block[i].state == AERATOR_BLOCK_HELD)
			*bytes += block_bytes(&batch->block[i]);
		else
			refused++;
	}
	return refused;
}

/**
 * aeration_batch_submit - deliver the batch of a device
 * @dev: a started device whose batch holds 1 to capacity isolated blocks
 *
 * On return every block is the caller's again and the hypervisor will not touch
 * any of them.
 *
 * Context: process context, one caller at a time for each device, no lock held;
 *	sleeps until the ack; allocates nothing.
 * Return: 0 if the hypervisor took every block, -EAGAIN if it took some or
 *	none of them and may be asked again, -ENODEV if the device has failed or
 *	is going away. After -EAGAIN the state of each block says which it is.
 */
int aeration_batch_submit(struct aerator_dev_info *dev)
{
	struct aerator_batch *batch = dev->batch;
	const char *name = dev->ops->name;
	u64 offered, bytes = 0, start;
	unsigned int refused;
	int err;

	offered = set_all(batch, AERATOR_BLOCK_IN_FLIGHT);
	atomic64_add(offered >> PAGE_SHIFT, &aeration_stats.in_flight);
	trace_aeration_batch_submit(name, batch->nr, offered);
	start = ktime_get_ns();

	err = dev->ops->react(dev, batch);

	if (err)
		set_all(batch, AERATOR_BLOCK_ISOLATED);
	else
		check_states(dev, batch);
	refused = count_taken(batch, &bytes);
	trace_aeration_batch_ack(name, batch->nr - refused, bytes,
				 ktime_get_ns() - start, err);
	atomic64_sub(offered >> PAGE_SHIFT, &aeration_stats.in_flight);

	if (err) {
		atomic64_inc(&aeration_stats.errors);
		return err == -ENODEV ? -ENODEV : -EAGAIN;
	}
	atomic64_inc(&aeration_stats.batches);
	atomic64_add(batch->nr - refused, &aeration_stats.blocks);
	atomic64_add(bytes, &aeration_stats.bytes);
	atomic64_add(refused, &aeration_stats.refused);
	return refused ? -EAGAIN : 0;
}

/**
 * aeration_batch_restore - have a batch backed again
 * @dev: a started durable device
 * @batch: 1 to capacity held blocks
 *
 * On return every block is the caller's again, and its state says whether it is
 * ISOLATED, still HELD or QUARANTINED.
 *
 * Context: process context, memory reclaim included, one caller at a time for
 *	each device, no spinlock held; sleeps; allocates nothing.
 */
void aeration_batch_restore(struct aerator_dev_info *dev,
			    struct aerator_batch *batch)
{
	const char *name = dev->ops->name;
	u64 asked, bytes = 0, start = ktime_get_ns();
	unsigned int i, restored = 0;
	int err;

	asked = set_all(batch, AERATOR_BLOCK_RESTORING);
	trace_aeration_restore_submit(name, batch->nr, asked);

	err = dev->ops->restore(dev, batch);

	if (err)
		set_all(batch, AERATOR_BLOCK_HELD);
	else
		check_states(dev, batch);
	for (i = 0; i < batch->nr; i++)
		if (batch->block[i].state == AERATOR_BLOCK_ISOLATED) {
			bytes += block_bytes(&batch->block[i]);
			restored++;
		}
	trace_aeration_restore_ack(name, restored, bytes,
				   ktime_get_ns() - start, err);
	atomic64_inc(&aeration_stats.restores);
	atomic64_add(bytes, &aeration_stats.restored);
}
