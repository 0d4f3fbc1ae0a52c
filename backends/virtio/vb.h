/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One virtio balloon device (virtio 1.2, 5.5; device id 5).
 */
#ifndef _AERATION_VIRTIO_VB_H
#define _AERATION_VIRTIO_VB_H

#include <linux/memory_aeration.h>
#include <linux/mutex.h>
#include <linux/scatterlist.h>
#include <linux/virtio.h>
#include <linux/virtio_balloon.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include "hints.h"

/**
 * enum vb_state - what may be done with the device
 * @VB_STARTING: nothing yet; its queues are being set up
 * @VB_LIVE: batches may be delivered
 * @VB_SUSPENDED: it was reset for suspend and will be back
 * @VB_RESTING: it was reset because it did not answer, and is brought back later
 * @VB_FAILED: it was reset because it lied; of no use until bound again
 * @VB_GONE: it was reset because the driver is letting go of it
 *
 * In every state but VB_LIVE the device was reset or not started, and has no
 * buffer of ours: it touches no block. It goes down this list only, until it is set up
 * again.
 */
enum vb_state {
	VB_STARTING,
	VB_LIVE,
	VB_SUSPENDED,
	VB_RESTING,
	VB_FAILED,
	VB_GONE,
};

/**
 * enum vb_wire - how a batch looks on the queue
 * @VB_WIRE_SG: free page reporting, virtio 1.2, 5.5.6.7: each block is a
 *	device-writable entry of one buffer
 * @VB_WIRE_HINTS: hinting queue of the patch series: one device-readable buffer
 *	of words
 */
enum vb_wire {
	VB_WIRE_SG,
	VB_WIRE_HINTS,
};

/* Statistics this driver supplies: free, total and available memory. */
#define VB_STATS	3

/**
 * struct vb - a balloon device
 * @vdev: the virtio device
 * @dev: what the core knows of it
 * @lock: protects @state, and the queues against a reset: whoever adds to a
 *	queue holds it and has seen VB_LIVE. Never held while waiting for an ack.
 *	Only react takes buffers off @report_vq, and needs no lock for that.
 * @state: what may be done with the device
 * @wire: how a batch looks; constant while bound
 * @report_vq: queue the batches go to; valid from queue setup to the point
 *	where no react call can run any more
 * @stats_vq: statistics queue, or NULL if the device has none
 * @acked: react waits here; woken by an ack, a reset or a broken queue
 * @sg: entries of one batch, for @report_vq; belongs to react
 * @words: words of one batch; belongs to react, and to the device in between
 * @stats: statistics; belongs to @stats_work, and to the device in between
 * @stats_work: answers a request for statistics
 * @config_work: looks at a changed configuration
 * @back: brings a resting device back; queued under @lock in VB_RESTING, and by itself
 * @rest_s: the last pause before that, s; 0: there was none
 * @live_at: when the device was last set up, jiffies
 * @acked_at: when it last answered, jiffies; written by react
 * @offered: the core has the device; under the device's own lock
 * @why: why the device failed, in words
 *
 * The first two work items are queued from interrupts, and cancelled at removal once
 * the queues and with them the interrupts are gone; @back, once the state is VB_GONE.
 */
struct vb {
	struct virtio_device *vdev;
	struct aerator_dev_info dev;
	struct mutex lock;	/* see above */
	enum vb_state state;
	enum vb_wire wire;
	struct virtqueue *report_vq;
	struct virtqueue *stats_vq;
	wait_queue_head_t acked;
	struct scatterlist sg[AERATOR_CAPACITY];
	__le64 words[HINTS_MAX];
	struct virtio_balloon_stat stats[VB_STATS];
	struct work_struct stats_work;
	struct work_struct config_work;
	struct delayed_work back;
	unsigned int rest_s;
	unsigned long live_at;
	unsigned long acked_at;
	bool offered;
	char why[96];
};

/* main.c */
int aeration_vb_offer(struct vb *vb);

/* rest.c */
#ifdef CONFIG_PM_SLEEP
void aeration_vb_rest(struct vb *vb);
void aeration_vb_back_fn(struct work_struct *work);
#else
static inline void aeration_vb_rest(struct vb *vb) { }
static inline void aeration_vb_back_fn(struct work_struct *work) { }
#endif

/* react.c */
extern const struct aerator_ops aeration_vb_ops;
void aeration_vb_ack(struct virtqueue *vq);
void aeration_vb_retire(struct vb *vb, enum vb_state state);
void aeration_vb_needs_reset(struct vb *vb);

/* stats.c */
void aeration_vb_stats_request(struct virtqueue *vq);
void aeration_vb_stats_start(struct vb *vb);
void aeration_vb_stats_fn(struct work_struct *work);

/* claim.c */
int aeration_vb_claim_start(struct virtio_driver *drv);
void aeration_vb_claim_stop(struct virtio_driver *drv);

#endif /* _AERATION_VIRTIO_VB_H */
