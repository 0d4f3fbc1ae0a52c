// SPDX-License-Identifier: GPL-2.0
/*
 * Deliver a batch and wait for the ack: as a report, unless the host has asked for hints.
 */
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/virtio_config.h>
#include "vb.h"

static int add_sg(struct vb *vb, struct vb_wait *wait,
		  const struct aerator_batch *batch)
{
	unsigned int i;

	sg_init_table(vb->sg, batch->nr);
	for (i = 0; i < batch->nr; i++)
		sg_set_page(&vb->sg[i], pfn_to_page(batch->block[i].pfn),
			    PAGE_SIZE << batch->block[i].order, 0);
	wait->left = 1;
	return virtqueue_add_inbuf(wait->vq, vb->sg, batch->nr, vb,
				   GFP_NOWAIT | __GFP_NOWARN);
}

static int add_words(struct vb *vb, struct vb_wait *wait,
		     const struct aerator_batch *batch)
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
	wait->left = 1;
	return virtqueue_add_outbuf(wait->vq, vb->sg, 1, vb,
				    GFP_NOWAIT | __GFP_NOWARN);
}

/* Put a batch on its queue. Indirect descriptors are off: nothing allocates. */
static int submit(struct vb *vb, struct vb_wait *wait,
		  const struct aerator_batch *batch)
{
	int err = aeration_vb_begin(vb, wait);

	if (err)
		return err;
	err = vb->wire == VB_WIRE_SG ? add_sg(vb, wait, batch) :
				       add_words(vb, wait, batch);
	return aeration_vb_end(vb, wait, err);
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

static int report(struct vb *vb, const struct aerator_batch *batch)
{
	struct vb_wait wait = { .queue = VB_REPORT };
	int err;

	/* One that takes hints only, and has not asked for any. */
	if (vb->cannot_report)
		return -EAGAIN;
	err = submit(vb, &wait, batch);
	if (!err)
		err = aeration_vb_await(vb, &wait);
	if (!err)
		check_length(vb, batch, wait.len);
	return err;
}

static int vb_react(struct aerator_dev_info *dev, struct aerator_batch *batch)
{
	struct vb *vb = container_of(dev, struct vb, dev);
	unsigned int i;
	int err;

	if (!aeration_vb_hint(vb, batch, &err))
		err = report(vb, batch);
	if (err)
		return err;
	for (i = 0; i < batch->nr; i++)
		batch->block[i].state = AERATOR_BLOCK_HELD;
	return 0;
}

static void vb_abandon(struct aerator_dev_info *dev)
{
	struct vb *vb = container_of(dev, struct vb, dev);

	strscpy(vb->why, "device kept memory that was wanted back",
		sizeof(vb->why));
	aeration_vb_give_up(vb, VB_RESTING);
}

const struct aerator_ops aeration_vb_ops = {
	.name = "virtio",
	.residency = AERATOR_TRANSIENT,
	.react = vb_react,
	.abandon = vb_abandon,
};
