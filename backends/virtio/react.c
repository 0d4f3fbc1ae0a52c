// SPDX-License-Identifier: GPL-2.0
/*
 * Deliver a batch and wait for the ack.
 *
 * The wait has an end: a device that does not answer in time, or answers
 * something that was never asked, is reset. After a reset it has no buffer of
 * ours, so the blocks are safe to give back.
 */
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/virtio_config.h>
#include "vb.h"

/* The log is told when this part of the time is over. */
#define WARN_SHARE	10

/* A queue that the ring marked broken wakes nobody: look this often, ms. */
#define LOOK_MS		1000U

static unsigned int timeout_ms = 30000;
module_param_cb(timeout_ms, &aerator_timeout_ops, &timeout_ms, 0644);
MODULE_PARM_DESC(timeout_ms,
		 "how long the device may take over a batch before it is reset and left alone for a while, ms (100 to 86400000)");

/**
 * aeration_vb_ack - the device has used a buffer
 * @vq: the reporting queue
 *
 * Context: interrupt.
 */
void aeration_vb_ack(struct virtqueue *vq)
{
	struct vb *vb = vq->vdev->priv;

	wake_up(&vb->acked);
}

/*
 * May the device be set up again without being asked to? Where it is a vhost-user
 * daemon's and the daemon is gone, that ends QEMU 11.1 (vhost_dev_start: Assertion
 * `hdev->vhost_ops'), and so the guest, which cannot tell. A hypervisor's own device
 * can reset its queues one by one, virtio 1.2, 2.6.1; hintd's does not offer to.
 */
static bool may_come_back(const struct vb *vb)
{
	return IS_ENABLED(CONFIG_PM_SLEEP) &&
	       virtio_has_feature(vb->vdev, VIRTIO_F_RING_RESET);
}

/**
 * aeration_vb_retire - reset the device, so that it touches no block any more
 * @vb: the device; for the next two @vb->why is set
 * @state: VB_SUSPENDED, VB_RESTING, VB_FAILED or VB_GONE
 *
 * A react call under way returns soon after. What is worse already stays as it is; a
 * device that cannot rest has failed.
 *
 * Context: process context; may sleep.
 */
void aeration_vb_retire(struct vb *vb, enum vb_state state)
{
	if (state == VB_RESTING && !may_come_back(vb))
		state = VB_FAILED;
	mutex_lock(&vb->lock);
	virtio_reset_device(vb->vdev);
	if (state > vb->state) {
		WRITE_ONCE(vb->state, state);
		if (state == VB_RESTING)
			aeration_vb_rest(vb);
		else if (state == VB_FAILED)
			dev_err(&vb->vdev->dev,
				"%s; device reset, its blocks are back with the guest, nothing is reported any more; bind the driver again to retry\n",
				vb->why);
	}
	mutex_unlock(&vb->lock);
	wake_up(&vb->acked);
}

/*
 * Give up on the device: for a while, VB_RESTING, or for good, VB_FAILED.
 * Return: -ENODEV, for react to pass on. While the machine goes down the bus resets
 *	every device, and nothing has failed.
 */
static int give_up(struct vb *vb, enum vb_state state)
{
	if (READ_ONCE(vb->state) != VB_LIVE || system_state > SYSTEM_RUNNING)
		return -ENODEV;
	aeration_vb_retire(vb, state);
	aerator_say(aeration_vb_ops.name, &vb->dev, AERATOR_FAILED, vb->why);
	return -ENODEV;
}

static int queue_sg(struct vb *vb, const struct aerator_batch *batch)
{
	unsigned int i;

	sg_init_table(vb->sg, batch->nr);
	for (i = 0; i < batch->nr; i++)
		sg_set_page(&vb->sg[i], pfn_to_page(batch->block[i].pfn),
			    PAGE_SIZE << batch->block[i].order, 0);
	return virtqueue_add_inbuf(vb->report_vq, vb->sg, batch->nr, vb,
				   GFP_NOWAIT | __GFP_NOWARN);
}

static int queue_hints(struct vb *vb, const struct aerator_batch *batch)
{
	unsigned int i;
	int err;

	for (i = 0; i < batch->nr; i++) {
		err = aeration_hint_encode(batch->block[i].pfn,
					   batch->block[i].order,
					   PAGE_SHIFT, &vb->words[i]);
		if (err)
			return err;
	}
	sg_init_one(vb->sg, vb->words, batch->nr * sizeof(vb->words[0]));
	return virtqueue_add_outbuf(vb->report_vq, vb->sg, 1, vb,
				    GFP_NOWAIT | __GFP_NOWARN);
}

static void say_broken(struct vb *vb)
{
	strscpy(vb->why,
		"queue is broken: device answered what it was not asked, or is gone",
		sizeof(vb->why));
}

/*
 * Look for a completion before anything is asked: there can be none. The ring
 * itself notices one that names no buffer of ours and marks the queue broken.
 */
static bool answered_unasked(struct vb *vb)
{
	unsigned int len;

	return virtqueue_get_buf(vb->report_vq, &len) ||
	       virtqueue_is_broken(vb->report_vq);
}

/* Put a batch on the queue. Indirect descriptors are off: nothing allocates. */
static int submit(struct vb *vb, const struct aerator_batch *batch)
{
	int err;

	mutex_lock(&vb->lock);
	if (vb->state != VB_LIVE) {
		err = vb->state == VB_SUSPENDED ? -EAGAIN : -ENODEV;
		goto out;
	}
	if (answered_unasked(vb)) {
		say_broken(vb);
		err = -EPROTO;
		goto out;
	}
	err = vb->wire == VB_WIRE_SG ? queue_sg(vb, batch) :
				       queue_hints(vb, batch);
	if (!err && !virtqueue_kick(vb->report_vq))
		err = -EIO;
	if (err) {
		scnprintf(vb->why, sizeof(vb->why),
			  "queue did not take a batch: error %d", err);
		err = -EPROTO;
	}
out:
	mutex_unlock(&vb->lock);
	return err;
}

/**
 * enum vb_answer - what came while waiting for an ack
 * @VB_NO_ANSWER: nothing yet
 * @VB_ACK: the batch was used
 * @VB_WRONG: something that does not belong to the batch
 * @VB_RETIRED: the device was reset meanwhile
 */
enum vb_answer {
	VB_NO_ANSWER,
	VB_ACK,
	VB_WRONG,
	VB_RETIRED,
};

/* Only react takes buffers off the queue, and a reset leaves the ring alone. */
static enum vb_answer look(struct vb *vb, unsigned int *len)
{
	void *token;

	if (READ_ONCE(vb->state) != VB_LIVE)
		return VB_RETIRED;
	token = virtqueue_get_buf(vb->report_vq, len);
	if (token == vb)
		return VB_ACK;
	if (token || virtqueue_is_broken(vb->report_vq))
		return VB_WRONG;
	return VB_NO_ANSWER;
}

static enum vb_answer wait_some(struct vb *vb, unsigned int ms,
				unsigned int *len)
{
	enum vb_answer answer = VB_NO_ANSWER;

	wait_event_idle_timeout(vb->acked,
				(answer = look(vb, len)) != VB_NO_ANSWER,
				msecs_to_jiffies(ms) + 1);
	return answer;
}

/* Wait in parts, and say in the log when the wait grows long. */
static enum vb_answer wait_for_ack(struct vb *vb, unsigned int limit,
				   unsigned int *len)
{
	enum vb_answer answer = VB_NO_ANSWER;
	unsigned int waited = 0, part;
	bool said = false;

	while (answer == VB_NO_ANSWER && waited < limit) {
		part = min(said ? limit - waited : limit / WARN_SHARE - waited,
			   LOOK_MS);
		answer = wait_some(vb, part, len);
		waited += part;
		if (answer != VB_NO_ANSWER || said ||
		    waited < limit / WARN_SHARE)
			continue;
		dev_warn_ratelimited(&vb->vdev->dev,
				     "no answer to a batch for %u ms; the device is reset at %u ms (timeout_ms)\n",
				     waited, limit);
		said = true;
	}
	return answer;
}

static u64 batch_bytes(const struct aerator_batch *batch)
{
	u64 bytes = 0;
	unsigned int i;

	for (i = 0; i < batch->nr; i++)
		bytes += (u64)PAGE_SIZE << batch->block[i].order;
	return bytes;
}

/* A device cannot have written more than it was given. It is used all the same. */
static void check_length(struct vb *vb, const struct aerator_batch *batch,
			 unsigned int len)
{
	u64 most = vb->wire == VB_WIRE_SG ? batch_bytes(batch) : 0;

	if (len > most)
		dev_warn_once(&vb->vdev->dev,
			      "device claims to have written %u bytes into %llu; ignored\n",
			      len, most);
}

static int vb_react(struct aerator_dev_info *dev, struct aerator_batch *batch)
{
	struct vb *vb = container_of(dev, struct vb, dev);
	unsigned int limit = READ_ONCE(timeout_ms);
	unsigned int i, len = 0;
	int err;

	err = submit(vb, batch);
	if (err)
		return err == -EPROTO ? give_up(vb, VB_FAILED) : err;

	switch (wait_for_ack(vb, limit, &len)) {
	case VB_ACK:
		break;
	case VB_RETIRED:
		return READ_ONCE(vb->state) == VB_SUSPENDED ? -EAGAIN : -ENODEV;
	case VB_WRONG:
		say_broken(vb);
		return give_up(vb, VB_FAILED);
	case VB_NO_ANSWER:
		scnprintf(vb->why, sizeof(vb->why),
			  "device did not answer within %u ms", limit);
		aerator_note_timeout(dev);
		return give_up(vb, VB_RESTING);
	}
	WRITE_ONCE(vb->acked_at, jiffies);
	check_length(vb, batch, len);
	for (i = 0; i < batch->nr; i++)
		batch->block[i].state = AERATOR_BLOCK_HELD;
	return 0;
}

/**
 * aeration_vb_needs_reset - the device asks for a reset (DEVICE_NEEDS_RESET)
 * @vb: the device
 *
 * Virtio 1.2, 2.1.2: nothing that it was asked may ever be done. So a react call
 * under way does not wait for its end.
 *
 * Context: process context, before aerator_shutdown(); may sleep.
 */
void aeration_vb_needs_reset(struct vb *vb)
{
	strscpy(vb->why, "device asks for a reset", sizeof(vb->why));
	give_up(vb, VB_RESTING);
}

static void vb_abandon(struct aerator_dev_info *dev)
{
	struct vb *vb = container_of(dev, struct vb, dev);

	strscpy(vb->why, "device kept memory that was wanted back",
		sizeof(vb->why));
	give_up(vb, VB_RESTING);
}

const struct aerator_ops aeration_vb_ops = {
	.name = "virtio",
	.residency = AERATOR_TRANSIENT,
	.react = vb_react,
	.abandon = vb_abandon,
};
