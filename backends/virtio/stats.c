// SPDX-License-Identifier: GPL-2.0
/*
 * Memory statistics, virtio 1.2, 5.5.6.3.
 *
 * Linux numbers only the queues whose feature was negotiated, and devices
 * differ in whether they count the offered or the negotiated ones. Accepting
 * the statistics feature makes both agree on where the reporting queue is; and
 * who accepts it has to answer.
 */
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include "vb.h"

static void set_stat(struct vb *vb, unsigned int i, u16 tag, u64 pages)
{
	vb->stats[i].tag = cpu_to_virtio16(vb->vdev, tag);
	vb->stats[i].val = cpu_to_virtio64(vb->vdev, pages << PAGE_SHIFT);
}

static void fill(struct vb *vb)
{
	struct sysinfo info;

	si_meminfo(&info);
	set_stat(vb, 0, VIRTIO_BALLOON_S_MEMFREE, info.freeram);
	set_stat(vb, 1, VIRTIO_BALLOON_S_MEMTOT, info.totalram);
	set_stat(vb, 2, VIRTIO_BALLOON_S_AVAIL, si_mem_available());
}

/* The device keeps the buffer until it wants new statistics. */
static void hand_over(struct vb *vb)
{
	struct scatterlist sg;

	fill(vb);
	sg_init_one(&sg, vb->stats, sizeof(vb->stats));
	if (virtqueue_add_outbuf(vb->stats_vq, &sg, 1, vb, GFP_KERNEL) ||
	    !virtqueue_kick(vb->stats_vq))
		dev_warn_once(&vb->vdev->dev,
			      "statistics queue is broken: the host sees no statistics\n");
}

/**
 * aeration_vb_stats_start - hand the device its first statistics
 * @vb: a live device
 *
 * Context: process context under @vb->lock.
 */
void aeration_vb_stats_start(struct vb *vb)
{
	if (vb->stats_vq)
		hand_over(vb);
}

/**
 * aeration_vb_stats_fn - answer a request for statistics
 * @work: the stats_work of a device
 *
 * Context: process context; may sleep.
 */
void aeration_vb_stats_fn(struct work_struct *work)
{
	struct vb *vb = container_of(work, struct vb, stats_work);
	unsigned int len;

	mutex_lock(&vb->lock);
	if (vb->state == VB_LIVE && vb->stats_vq &&
	    virtqueue_get_buf(vb->stats_vq, &len))
		hand_over(vb);
	mutex_unlock(&vb->lock);
}

/**
 * aeration_vb_stats_request - the device wants new statistics
 * @vq: the statistics queue
 *
 * Context: interrupt.
 */
void aeration_vb_stats_request(struct virtqueue *vq)
{
	struct vb *vb = vq->vdev->priv;

	queue_work(system_freezable_wq, &vb->stats_work);
}
