// SPDX-License-Identifier: GPL-2.0
/*
 * What may be done with the device; and wait for it, never without an end.
 *
 * A device that does not answer in time, or answers something that was never asked, is
 * reset. After a reset it has no buffer of ours, so the pages that it was told of are
 * safe to use.
 */
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/string.h>
#include <linux/virtio_config.h>
#include "vb.h"

/* The log is told when this part of the time is over. */
#define WARN_SHARE	10

/* A queue that the ring marked broken wakes nobody: look this often, ms. */
#define LOOK_MS		1000U

/* Who must not wait for others does not wait for the device for longer than this, ms. */
#define HASTY_MS	30000U

/* What the registers of a device read that is not there any more. */
#define STATUS_OF_NONE	0xff

static unsigned int timeout_ms = 30000;
module_param_cb(timeout_ms, &aerator_timeout_ops, &timeout_ms, 0644);
MODULE_PARM_DESC(timeout_ms,
		 "how long the device may take over what it was told before it is reset and left alone for a while, ms (100 to 86400000)");

/**
 * aeration_vb_answered - the device has used a buffer
 * @vq: any queue
 *
 * Context: interrupt.
 */
void aeration_vb_answered(struct virtqueue *vq)
{
	struct vb *vb = vq->vdev->priv;

	wake_up(&vb->acked);
}

/**
 * aeration_vb_find_queues - set up the queues that go with what was negotiated
 * @vb: the device, not live
 *
 * Context: process context; may sleep.
 * Return: 0 or a negative error with none set up.
 */
int aeration_vb_find_queues(struct vb *vb)
{
	struct virtio_device *vdev = vb->vdev;
	struct compat_vq want[VB_QUEUES] = {
		[VB_INFLATE] = { "inflate", aeration_vb_answered },
		[VB_DEFLATE] = { "deflate", aeration_vb_answered },
		[VB_STATS] = { "stats", aeration_vb_stats_request },
		[VB_HINT] = { "free_page", aeration_vb_answered },
		[VB_REPORT] = { "reporting", aeration_vb_answered },
	};
	int err;

	if (!virtio_has_feature(vdev, VIRTIO_BALLOON_F_STATS_VQ))
		want[VB_STATS].name = NULL;
	if (!virtio_has_feature(vdev, VIRTIO_BALLOON_F_FREE_PAGE_HINT))
		want[VB_HINT].name = NULL;
	if (!virtio_has_feature(vdev, VIRTIO_BALLOON_F_REPORTING))
		want[VB_REPORT].name = NULL;
	err = compat_find_vqs(vdev, VB_QUEUES, vb->vq, want);
	if (err)
		memset(vb->vq, 0, sizeof(vb->vq));
	return err;
}

/**
 * aeration_vb_free_queues - give up the queues, and end their interrupts
 * @vb: the device, not live; it may have lost its queues already
 *
 * Context: process context; may sleep.
 */
void aeration_vb_free_queues(struct vb *vb)
{
	if (!vb->vq[VB_INFLATE])
		return;
	vb->vdev->config->del_vqs(vb->vdev);
	memset(vb->vq, 0, sizeof(vb->vq));
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
 * aeration_vb_is_there - has the device not been pulled out?
 * @vb: the device
 *
 * One that has touches nothing, and would never say that it is reset.
 *
 * Context: process context.
 * Return: true if it is there.
 */
bool aeration_vb_is_there(const struct vb *vb)
{
	return vb->vdev->config->get_status(vb->vdev) != STATUS_OF_NONE;
}

/*
 * The host would take what was in the balloon for gone. It is told nothing that it knows:
 * where the device is a vhost-user daemon's, and that is gone, QEMU 11.1 ends as the
 * configuration is written (vhost_dev_set_config: Assertion `hdev->vhost_ops'). Under
 * vb.lock.
 */
static void empty_balloon(struct vb *vb)
{
	u32 none = 0;

	if (vb->state == VB_LIVE && vb->size.actual)
		virtio_cwrite_le(vb->vdev, struct virtio_balloon_config, actual,
				 &none);
	vb->size.actual = 0;
}

/*
 * A device that lies has no say: what is in the balloon becomes the guest's. Where the host
 * was slow it may be short of memory, and that is no time to take it back.
 */
static void say_failed(struct vb *vb)
{
	dev_err(&vb->vdev->dev,
		"%s; device reset, its blocks are back with the guest, nothing is reported any more; bind the driver again to retry\n",
		vb->why);
	mod_delayed_work(system_freezable_wq, &vb->size.work, 0);
}

/**
 * aeration_vb_retire - reset the device, so that it touches no page any more
 * @vb: the device; for the next two @vb->why is set
 * @state: VB_SUSPENDED, VB_RESTING, VB_FAILED or VB_GONE
 *
 * Who waits for the device returns soon after. What is worse already stays as it is; a
 * device that cannot rest has failed. In all states but VB_RESTING what is in the balloon
 * is about to be the guest's.
 *
 * Context: process context; may sleep.
 */
void aeration_vb_retire(struct vb *vb, enum vb_state state)
{
	bool there, lied = state == VB_FAILED;

	mutex_lock(&vb->lock);
	there = aeration_vb_is_there(vb);
	if (state == VB_RESTING && !(there && may_come_back(vb)))
		state = VB_FAILED;
	if (there && (state == VB_GONE || (state == VB_SUSPENDED && !vb->keeps)))
		empty_balloon(vb);
	if (there)
		virtio_reset_device(vb->vdev);
	if (state > vb->state) {
		WRITE_ONCE(vb->state, state);
		vb->lied = lied;
		if (state == VB_RESTING)
			aeration_vb_rest(vb);
		else if (state == VB_FAILED)
			say_failed(vb);
	}
	mutex_unlock(&vb->lock);
	wake_up(&vb->acked);
}

/**
 * aeration_vb_give_up - give up on the device
 * @vb: the device; @vb->why is set
 * @state: for a while, VB_RESTING, or for good, VB_FAILED
 *
 * While the machine goes down the bus resets every device, and nothing has failed.
 *
 * Context: process context; may sleep.
 * Return: -ENODEV, to be passed on; the device was reset.
 */
int aeration_vb_give_up(struct vb *vb, enum vb_state state)
{
	if (system_state > SYSTEM_RUNNING) {
		aeration_vb_retire(vb, VB_GONE);
		return -ENODEV;
	}
	if (READ_ONCE(vb->state) != VB_LIVE)
		return -ENODEV;
	aeration_vb_retire(vb, state);
	aerator_say(aeration_vb_ops.name, &vb->dev, AERATOR_FAILED, vb->why);
	return -ENODEV;
}

/**
 * aeration_vb_needs_reset - the device asks for a reset (DEVICE_NEEDS_RESET)
 * @vb: the device
 *
 * Virtio 1.2, 2.1.2: nothing that it was asked may ever be done. So nobody waits for
 * an answer any more.
 *
 * Context: process context, before aerator_shutdown(); may sleep.
 */
void aeration_vb_needs_reset(struct vb *vb)
{
	strscpy(vb->why, "device asks for a reset", sizeof(vb->why));
	aeration_vb_give_up(vb, VB_RESTING);
}

static int say_broken(struct vb *vb)
{
	strscpy(vb->why,
		"queue is broken: device answered what it was not asked, or is gone",
		sizeof(vb->why));
	return aeration_vb_give_up(vb, VB_FAILED);
}

/**
 * aeration_vb_begin - begin to put buffers on a queue
 * @vb: the device
 * @wait: whose queue it is; none is waited for yet
 *
 * Nothing can have been answered before anything is asked. The ring itself notices what
 * names no buffer of ours, and marks the queue broken.
 *
 * Context: process context; may sleep.
 * Return: 0 with @vb->lock held, to be followed by aeration_vb_end(); -EAGAIN if the
 *	device will be back, or others have it and @wait->hasty is set; or -ENODEV.
 */
int aeration_vb_begin(struct vb *vb, struct vb_wait *wait)
{
	unsigned int len;
	bool odd;

	if (wait->hasty && !mutex_trylock(&vb->lock))
		return -EAGAIN;
	if (!wait->hasty)
		mutex_lock(&vb->lock);
	if (vb->state != VB_LIVE) {
		bool back = vb->state == VB_SUSPENDED;

		mutex_unlock(&vb->lock);
		return back ? -EAGAIN : -ENODEV;
	}
	wait->vq = vb->vq[wait->queue];
	odd = virtqueue_get_buf(wait->vq, &len) || virtqueue_is_broken(wait->vq);
	if (!odd)
		return 0;
	mutex_unlock(&vb->lock);
	return say_broken(vb);
}

/**
 * aeration_vb_end - have the device look at what was put on the queue
 * @vb: the device, @vb->lock held; released
 * @wait: how many buffers were put there
 * @err: an error of the last one
 *
 * Context: process context; may sleep.
 * Return: 0, or -ENODEV if the queue has not taken what it must have room for.
 */
int aeration_vb_end(struct vb *vb, struct vb_wait *wait, int err)
{
	if (!err && !virtqueue_kick(wait->vq))
		err = -EIO;
	if (err)
		scnprintf(vb->why, sizeof(vb->why),
			  "queue did not take what it was given: error %d", err);
	mutex_unlock(&vb->lock);
	return err ? aeration_vb_give_up(vb, VB_FAILED) : 0;
}

/* Only who waits takes buffers off the queue, and a reset leaves the ring alone. */
static enum vb_answer look(struct vb *vb, struct vb_wait *wait)
{
	void *token;

	if (READ_ONCE(vb->state) != VB_LIVE)
		return VB_RETIRED;
	while ((token = virtqueue_get_buf(wait->vq, &wait->len)) == vb)
		if (!--wait->left)
			return VB_ACK;
	if (token || virtqueue_is_broken(wait->vq))
		return VB_WRONG;
	return VB_NO_ANSWER;
}

/*
 * A device may have missed that there is something: QEMU's takes hints with notifications
 * off, and does not look again after it has turned them on. To be told twice does no harm.
 */
static void remind(struct vb *vb, struct vb_wait *wait)
{
	if (!mutex_trylock(&vb->lock))
		return;
	if (vb->state == VB_LIVE)
		virtqueue_notify(wait->vq);
	mutex_unlock(&vb->lock);
}

static enum vb_answer wait_some(struct vb *vb, struct vb_wait *wait,
				unsigned int ms)
{
	enum vb_answer answer = VB_NO_ANSWER;

	wait_event_idle_timeout(vb->acked,
				(answer = look(vb, wait)) != VB_NO_ANSWER,
				msecs_to_jiffies(ms) + 1);
	return answer;
}

/*
 * Wait in parts, and say in the log when the wait grows long. It is the next answer that
 * must not take too long, of several.
 */
static enum vb_answer wait_long(struct vb *vb, struct vb_wait *wait,
				unsigned int limit)
{
	unsigned int waited = 0, left = wait->left, part;
	enum vb_answer answer = VB_NO_ANSWER;
	bool said = false;

	while (answer == VB_NO_ANSWER && waited < limit) {
		part = min(said ? limit - waited : limit / WARN_SHARE - waited,
			   LOOK_MS);
		answer = wait_some(vb, wait, part);
		waited = wait->left == left ? waited + part : 0;
		left = wait->left;
		if (answer == VB_NO_ANSWER && waited)
			remind(vb, wait);
		if (answer != VB_NO_ANSWER || said ||
		    waited < limit / WARN_SHARE)
			continue;
		dev_warn_ratelimited(&vb->vdev->dev,
				     "no answer for %u ms; the device is reset at %u ms (timeout_ms)\n",
				     waited, limit);
		said = true;
	}
	return answer;
}

/*
 * Has the queue another number than virtio 1.2, 5.5.2, gives it? Linux counts those that
 * are there, and not every device does.
 */
static bool is_counted(const struct vb_wait *wait)
{
	return wait->vq->index != wait->queue;
}

/**
 * aeration_vb_await - wait until the device has used all buffers
 * @vb: the device
 * @wait: the buffers
 *
 * Context: process context; sleeps; allocates nothing.
 * Return: 0; -EAGAIN if the device was reset and will be back, -ENODEV if it was reset.
 *	On an error the device touches none of the buffers, nor what they name.
 */
int aeration_vb_await(struct vb *vb, struct vb_wait *wait)
{
	unsigned int limit = READ_ONCE(timeout_ms);

	if (wait->hasty)
		limit = min(limit, HASTY_MS);
	switch (wait_long(vb, wait, limit)) {
	case VB_ACK:
		if (is_counted(wait))
			WRITE_ONCE(vb->heard, true);
		/* A device that is to take reports has to answer those. */
		if (!READ_ONCE(vb->offered) || wait->queue >= VB_HINT)
			WRITE_ONCE(vb->acked_at, jiffies);
		return 0;
	case VB_RETIRED:
		return READ_ONCE(vb->state) == VB_SUSPENDED ? -EAGAIN : -ENODEV;
	case VB_WRONG:
		return say_broken(vb);
	case VB_NO_ANSWER:
		break;
	}
	scnprintf(vb->why, sizeof(vb->why),
		  "device did not answer within %u ms%s", limit,
		  is_counted(wait) && !READ_ONCE(vb->heard) ?
		  "; perhaps it numbers its queues otherwise" : "");
	aerator_note_timeout(&vb->dev);
	return aeration_vb_give_up(vb, VB_RESTING);
}
