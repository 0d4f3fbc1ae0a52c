// SPDX-License-Identifier: GPL-2.0
/*
 * Hint runs, virtio 1.2, 5.5.6.5: the host writes a command id, and wants to hear of all
 * that is free, now. It does so while it migrates the guest, to leave that out; a host may
 * also just discard it.
 *
 * A run is the core's request to report all of it again, whose batches go to this queue
 * meanwhile. So no block can be used before the device has used its buffer: a driver may
 * hint pages that it does not keep, and a host that discards then loses data. Afterwards
 * what was hinted is none of what was reported: the host may have kept it.
 *
 * Where free pages have a content there are no runs, whatever page poison says: what is
 * hinted need not be sent, and on the other side is what it was when it last was.
 *
 * Only the last id is served. Whatever the host asks for ends a run that is under way.
 */
#include <linux/mm.h>
#include <linux/virtio_config.h>
#include "vb.h"

static bool is_wanted(struct aerator_dev_info *dev)
{
	struct vb *vb = container_of(dev, struct vb, dev);

	return READ_ONCE(vb->run.turn) == READ_ONCE(vb->run.serving);
}

/* Read without the lock, by who will look again under it: see aeration_vb_hint(). */
static void begins(struct aerator_dev_info *dev)
{
	struct vb *vb = container_of(dev, struct vb, dev);

	WRITE_ONCE(vb->run.active, true);
}

/* One word to the device, which has it until it is used. Under run.lock. */
static int send(struct vb *vb, __virtio32 *word, u32 value)
{
	struct vb_wait wait = { .queue = VB_HINT };
	struct scatterlist sg;
	int err;

	lockdep_assert_held(&vb->run.lock);
	err = aeration_vb_begin(vb, &wait);
	if (err)
		return err;
	*word = cpu_to_virtio32(vb->vdev, value);
	sg_init_one(&sg, word, sizeof(*word));
	wait.left = 1;
	err = virtqueue_add_outbuf(wait.vq, &sg, 1, vb,
				   GFP_NOWAIT | __GFP_NOWARN);
	err = aeration_vb_end(vb, &wait, err);
	return err ? err : aeration_vb_await(vb, &wait);
}

static void serve(struct vb *vb, u32 id)
{
	u64 bytes = 0;
	int err;

	mutex_lock(&vb->run.lock);
	err = send(vb, &vb->run.id, id);
	mutex_unlock(&vb->run.lock);
	if (err)
		return;
	err = aerator_request("again", &vb->run.asker, &bytes);
	mutex_lock(&vb->run.lock);
	WRITE_ONCE(vb->run.active, false);
	send(vb, &vb->run.stop, VIRTIO_BALLOON_CMD_ID_STOP);
	mutex_unlock(&vb->run.lock);
	dev_dbg(&vb->vdev->dev, "hint run %#x: %llu KiB, error %d\n", id,
		bytes >> 10, err);
}

/* The host is done: what it heard of as hints is to be reported, too. */
static void renew(struct vb *vb)
{
	bool dirty;

	mutex_lock(&vb->run.lock);
	dirty = vb->run.dirty;
	vb->run.dirty = false;
	mutex_unlock(&vb->run.lock);
	if (dirty)
		aerator_renew();
}

/* Is there something to serve? */
static bool next(struct vb *vb, u32 *asked)
{
	bool pending;

	mutex_lock(&vb->lock);
	pending = vb->run.pending && vb->state == VB_LIVE;
	vb->run.pending = false;
	*asked = vb->run.asked;
	WRITE_ONCE(vb->run.serving, vb->run.turn);
	mutex_unlock(&vb->lock);
	return pending;
}

static void run_fn(struct work_struct *work)
{
	struct vb *vb = container_of(work, struct vb, run.work);
	u32 asked;

	while (next(vb, &asked)) {
		if (asked > VIRTIO_BALLOON_CMD_ID_DONE)
			serve(vb, asked);
		else if (asked == VIRTIO_BALLOON_CMD_ID_DONE)
			renew(vb);
	}
}

/* A buffer for each block from the first on, as many as the queue takes. */
static int add_hints(struct vb *vb, struct vb_wait *wait,
		     const struct aerator_block *block, unsigned int nr)
{
	struct scatterlist sg;
	int err = 0;

	while (wait->left < nr && wait->vq->num_free && !err) {
		sg_init_table(&sg, 1);
		sg_set_page(&sg, pfn_to_page(block[wait->left].pfn),
			    PAGE_SIZE << block[wait->left].order, 0);
		err = virtqueue_add_inbuf(wait->vq, &sg, 1, vb,
					  GFP_NOWAIT | __GFP_NOWARN);
		wait->left += !err;
	}
	return err;
}

/*
 * One entry in a buffer: of one that has several QEMU takes the first and leaves the
 * others out (get_free_page_hints() in its virtio-balloon.c). Under run.lock.
 */
static int hint(struct vb *vb, const struct aerator_batch *batch)
{
	struct vb_wait wait = { .queue = VB_HINT };
	unsigned int done = 0, some;
	int err = 0;

	vb->run.dirty = true;
	while (done < batch->nr && !err) {
		err = aeration_vb_begin(vb, &wait);
		if (err)
			return err;
		err = add_hints(vb, &wait, &batch->block[done],
				batch->nr - done);
		some = wait.left;
		err = aeration_vb_end(vb, &wait, err);
		if (!err)
			err = aeration_vb_await(vb, &wait);
		done += some;
	}
	return err;
}

/**
 * aeration_vb_hint - hint a batch, if a run is under way
 * @vb: the device
 * @batch: the batch
 * @err: set to 0 once the device has used all of it, or to a negative error: then it
 *	touches none of it
 *
 * Context: process context; sleeps; allocates nothing.
 * Return: false if no run is under way.
 */
bool aeration_vb_hint(struct vb *vb, const struct aerator_batch *batch, int *err)
{
	bool active;

	if (!READ_ONCE(vb->run.active))
		return false;
	mutex_lock(&vb->run.lock);
	active = vb->run.active;
	if (active)
		*err = hint(vb, batch);
	mutex_unlock(&vb->run.lock);
	return active;
}

/* Whatever is under way is not wanted any more. */
static void ask(struct vb *vb, u32 asked, bool pending)
{
	lockdep_assert_held(&vb->lock);
	vb->run.asked = asked;
	vb->run.pending = pending;
	WRITE_ONCE(vb->run.turn, vb->run.turn + 1);
}

/**
 * aeration_vb_run_asked - see what the host asks for, and begin
 * @vb: the device, live; @vb->lock is held
 *
 * Context: process context; may sleep.
 */
void aeration_vb_run_asked(struct vb *vb)
{
	u32 asked;

	lockdep_assert_held(&vb->lock);
	/* Not before the core can be asked. */
	if (!vb->hints || !READ_ONCE(vb->offered))
		return;
	virtio_cread_le(vb->vdev, struct virtio_balloon_config,
			free_page_hint_cmd_id, &asked);
	if (asked == vb->run.asked)
		return;
	ask(vb, asked, true);
	/* Not one that is frozen: it waits for what is, and would keep that busy. */
	queue_work(system_long_wq, &vb->run.work);
}

/**
 * aeration_vb_run_init - begin to serve hint runs
 * @vb: the device
 *
 * Context: any.
 */
void aeration_vb_run_init(struct vb *vb)
{
	INIT_WORK(&vb->run.work, run_fn);
	mutex_init(&vb->run.lock);
	vb->run.asker = (struct aerator_asker) {
		.dev = &vb->dev,
		.wanted = is_wanted,
		.begins = begins,
	};
}

/**
 * aeration_vb_run_rest - serve none for a while
 * @vb: the device, which is not live
 *
 * On return nobody uses the queue.
 *
 * Context: process context; sleeps.
 */
void aeration_vb_run_rest(struct vb *vb)
{
	mutex_lock(&vb->lock);
	ask(vb, VIRTIO_BALLOON_CMD_ID_STOP, false);
	mutex_unlock(&vb->lock);
	/* Whoever has the queue is about to see that the device is not live. */
	mutex_lock(&vb->run.lock);
	WRITE_ONCE(vb->run.active, false);
	mutex_unlock(&vb->run.lock);
}

/**
 * aeration_vb_run_end - serve none any more
 * @vb: the device, which is not live and will not be
 *
 * Context: process context; sleeps.
 */
void aeration_vb_run_end(struct vb *vb)
{
	aeration_vb_run_rest(vb);
	cancel_work_sync(&vb->run.work);
}
