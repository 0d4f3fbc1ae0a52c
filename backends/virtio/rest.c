// SPDX-License-Identifier: GPL-2.0
/*
 * Leave a device alone that did not answer, and bring it back.
 *
 * A host that stalls for a minute is no reason to report nothing for ever. The device
 * was reset, and its blocks are with the guest; after a pause it is set up as it is
 * after a suspend, and offered to the core again. If that comes to nothing the next
 * pause is twice as long. A device that answered what it was not asked is not brought
 * back: who lies about one batch may lie about another.
 */
#include <linux/device.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/random.h>
#include <linux/virtio_config.h>
#include "vb.h"

/* First and longest pause, s. */
#define REST_MIN_S	1U
#define REST_MAX_S	300U

/*
 * Guests of a host that stalled have all been left waiting at one moment: up to one part
 * in so many of the pause is added to it, by chance.
 */
#define REST_SPREAD	4

/* Somebody has the device, who may be about to let go of it: look again then, ms. */
#define BUSY_MS		100

/* How long the device did well since it was last set up, jiffies. */
static unsigned long did_well(const struct vb *vb)
{
	unsigned long acked = READ_ONCE(vb->acked_at);

	return time_after(acked, vb->live_at) ? acked - vb->live_at : 0;
}

/**
 * aeration_vb_rest - have a device brought back after a pause, and say so
 * @vb: a device that has just become VB_RESTING
 *
 * Context: process context under @vb->lock; allocates nothing.
 */
void aeration_vb_rest(struct vb *vb)
{
	if (did_well(vb) > vb->rest_s * HZ)
		vb->rest_s = 0;
	vb->rest_s = clamp(2 * vb->rest_s, REST_MIN_S, REST_MAX_S);
	dev_warn(&vb->vdev->dev,
		 "%s; device reset, its blocks are back with the guest; it is tried again in %u s\n",
		 vb->why, vb->rest_s);
	queue_delayed_work(system_freezable_wq, &vb->back, vb->rest_s * HZ +
			   reciprocal_scale(get_random_u32(),
					    vb->rest_s * HZ / REST_SPREAD));
}

/*
 * As after a suspend, from wherever the last attempt has left it; but what is in the
 * balloon stays there, and with the host.
 */
static int set_up(struct vb *vb)
{
	int err;

	if (!aeration_vb_is_there(vb))
		return -ENODEV;
	vb->keeps = true;
	mutex_lock(&vb->lock);
	virtio_reset_device(vb->vdev);
	WRITE_ONCE(vb->state, VB_STARTING);
	/* It has done nothing well yet. */
	vb->live_at = jiffies;
	WRITE_ONCE(vb->acked_at, vb->live_at);
	mutex_unlock(&vb->lock);
	err = virtio_device_freeze(vb->vdev);
	if (!err)
		err = virtio_device_restore(vb->vdev);
	vb->keeps = false;
	return err;
}

/* Under the device's lock, which keeps probe, remove and others of this away. */
static void bring_back(struct vb *vb)
{
	int err;

	/* It may be about to fail the device that it saw live. */
	cancel_work_sync(&vb->config_work);
	/* Or to hand over what it has to a device that has got some by then. */
	cancel_work_sync(&vb->stats_work);
	if (vb->offered)
		aerator_shutdown(&vb->dev);
	vb->offered = false;
	err = set_up(vb);
	if (!err)
		err = aeration_vb_offer(vb);
	if (!err) {
		dev_info(&vb->vdev->dev, "the device is back\n");
		return;
	}
	/* Its restore may have said why already. */
	if (READ_ONCE(vb->state) != VB_RESTING)
		scnprintf(vb->why, sizeof(vb->why),
			  "device cannot be set up again: error %d", err);
	aerator_say(aeration_vb_ops.name, NULL, AERATOR_ABSENT, vb->why);
	aeration_vb_retire(vb, VB_RESTING);
}

/**
 * aeration_vb_back_fn - bring a resting device back, or see that one has come back
 * @work: the back work item of a device
 *
 * Context: process context, freezable; sleeps.
 */
void aeration_vb_back_fn(struct work_struct *work)
{
	struct vb *vb = container_of(to_delayed_work(work), struct vb, back);

	/* Who removes the device has the lock, and waits for this. */
	if (!device_trylock(&vb->vdev->dev)) {
		queue_delayed_work(system_freezable_wq, &vb->back,
				   msecs_to_jiffies(BUSY_MS));
		return;
	}
	if (READ_ONCE(vb->state) == VB_SUSPENDED) {
		strscpy(vb->why, "device did not come back from suspend",
			sizeof(vb->why));
		aeration_vb_retire(vb, VB_RESTING);
		aerator_say(aeration_vb_ops.name, &vb->dev, AERATOR_FAILED,
			    vb->why);
		device_unlock(&vb->vdev->dev);
		return;
	}
	/* While the machine goes down the next kernel has to find it reset. */
	if (READ_ONCE(vb->state) == VB_RESTING && system_state <= SYSTEM_RUNNING)
		bring_back(vb);
	device_unlock(&vb->vdev->dev);
}
