/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One virtio balloon device (virtio 1.2, 5.5; device id 5).
 *
 * From the top down: main.c is the driver; rest.c brings a device back; run.c serves
 * hint runs; react.c delivers batches; balloon.c follows the host's target, and pages.c
 * has what is in the balloon; stats.c answers for statistics; device.c knows what may be
 * done with the device, and waits for it.
 */
#ifndef _AERATION_VIRTIO_VB_H
#define _AERATION_VIRTIO_VB_H

#include <linux/memory_aeration.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/scatterlist.h>
#include <linux/virtio.h>
#include <linux/virtio_balloon.h>
#include <linux/vm_event_item.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include "hints.h"
#include "pages.h"

/**
 * enum vb_state - what may be done with the device
 * @VB_STARTING: nothing yet; its queues are being set up
 * @VB_LIVE: it may be told and asked
 * @VB_SUSPENDED: it was reset for suspend and will be back
 * @VB_RESTING: it was reset because it did not answer, and is brought back later
 * @VB_FAILED: it was reset because it lied; of no use until bound again
 * @VB_GONE: it was reset because the driver is letting go of it
 *
 * In every state but VB_LIVE the device was reset or not started, and has no
 * buffer of ours: it touches no page. It goes down this list only, until it is set up
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

/**
 * enum vb_queue - the queues of the device, virtio 1.2, 5.5.2, in the order of their
 *	numbers; one that goes with a feature is there if that was negotiated
 * @VB_INFLATE: pages that the host takes
 * @VB_DEFLATE: pages that it gives back
 * @VB_STATS: statistics
 * @VB_HINT: free page hints
 * @VB_REPORT: free page reports
 * @VB_QUEUES: how many
 */
enum vb_queue {
	VB_INFLATE,
	VB_DEFLATE,
	VB_STATS,
	VB_HINT,
	VB_REPORT,
	VB_QUEUES,
};

/**
 * enum vb_answer - what came while waiting for the device
 * @VB_NO_ANSWER: nothing yet
 * @VB_ACK: all buffers were used
 * @VB_WRONG: something that does not belong to them
 * @VB_RETIRED: the device was reset meanwhile
 */
enum vb_answer {
	VB_NO_ANSWER,
	VB_ACK,
	VB_WRONG,
	VB_RETIRED,
};

/**
 * struct vb_wait - buffers that somebody waits for
 * @queue: their queue; only who waits takes buffers off it
 * @vq: the same, while the device is live; set by aeration_vb_begin()
 * @left: how many are not used yet; the token of each is the struct vb
 * @len: bytes that the device says it has written into the last one
 * @hasty: whoever waits must not wait for others who have the device
 */
struct vb_wait {
	enum vb_queue queue;
	struct virtqueue *vq;
	unsigned int left;
	unsigned int len;
	bool hasty;
};

/**
 * struct vb_run - hint runs, virtio 1.2, 5.5.6.5; see run.c
 * @work: serves them
 * @asker: asks the core
 * @asked: what the host has asked for last: a command id, or to stop, or that it is
 *	done; under &vb.lock
 * @pending: that has not been served; likewise
 * @turn: how often it has asked; written under &vb.lock, read at any time
 * @serving: which of these is being served; @work's own, but read at any time
 * @dirty: blocks have gone as hints that are not reported; under @lock
 * @lock: held by who uses the queue, until the device has answered; taken before &vb.lock
 * @active: batches go as hints; under @lock
 * @id: what is told at the beginning; @work's, and the device's in between
 * @stop: what is told at the end, likewise
 */
struct vb_run {
	struct work_struct work;
	struct aerator_asker asker;
	u32 asked;
	bool pending;
	unsigned int turn;
	unsigned int serving;
	bool dirty;
	struct mutex lock;	/* see above */
	bool active;
	__virtio32 id;
	__virtio32 stop;
};

/**
 * struct vb_size - how large the host wants the balloon; see balloon.c
 * @lock: held by who inflates, deflates or moves a page: one at a time; taken before
 *	&vb.lock
 * @work: goes on towards the target
 * @target: what the host wanted last, in units of 4 KiB; under &vb.lock
 * @actual: what it was told that it has, likewise
 * @pause_ms: before the next try, because the last one came to little; @work's own
 * @refaults: pages that had been brought back in at the last look; @work's own
 * @looked: when that was, jiffies; likewise
 * @oom_at: when the guest was last out of memory, jiffies; 0: never
 * @slow_at: when the device last took long over a page that moves, jiffies; 0: never;
 *	under @lock
 * @oom: gives pages back when the guest runs out of memory; registered if the host has
 *	agreed to that (VIRTIO_BALLOON_F_DEFLATE_ON_OOM)
 * @memory: gives blocks back where memory is to be unplugged
 * @must_tell: no page goes back that the device has not been told of; constant while bound
 * @pfn: pages that the device is told of; who holds @lock has them, and the device in
 *	between
 */
struct vb_size {
	struct mutex lock;	/* see above */
	struct delayed_work work;
	u32 target;
	u32 actual;
	unsigned int pause_ms;
	unsigned long refaults;
	unsigned long looked;
	unsigned long oom_at;
	unsigned long slow_at;
	struct notifier_block oom;
	struct notifier_block memory;
	bool must_tell;
	__virtio32 *pfn;
};

/**
 * struct vb - a balloon device
 * @vdev: the virtio device
 * @dev: what the core knows of it
 * @lock: protects @state, and the queues against a reset: whoever adds to a
 *	queue holds it and has seen VB_LIVE. Never held while waiting for an answer.
 * @state: what may be done with the device
 * @wire: how a batch looks; constant while bound
 * @cannot_report: why free pages are not reported, or NULL; constant while bound
 * @hints: hint runs are served; likewise
 * @vq: the queues, NULL if the device has not got one; valid from queue setup to the
 *	point where nobody can use them any more
 * @acked: who waits for the device; woken by an answer, a reset or a broken queue
 * @sg: entries of one batch; belongs to react
 * @words: words of one batch; belongs to react, and to the device in between
 * @stats: statistics; belong to @stats_work, and to the device in between
 * @nr_stats: how many of them there are; likewise
 * @events: what they are made of; likewise
 * @stats_work: answers a request for statistics
 * @config_work: looks at a changed configuration
 * @back: brings a resting device back; queued under @lock in VB_RESTING, and by itself
 * @lied: it has failed because of what it answered; under @lock
 * @rest_s: the last pause before that, s; 0: there was none
 * @live_at: when the device was last set up, jiffies
 * @acked_at: when it last used all that it was waited for, jiffies; of the core's
 *	batches if the core has it
 * @heard: it has used a buffer of a queue whose number may be another to it
 * @offered: the core has the device; under the device's own lock
 * @keeps: it is being brought back, and what is in the balloon stays there; likewise
 * @pages: what is in the balloon
 * @size: how large that shall be
 * @run: hint runs
 * @why: why the device failed, in words
 *
 * Work items are queued from interrupts, and cancelled at removal once the queues and
 * with them the interrupts are gone; @back, once the state is VB_GONE.
 */
struct vb {
	struct virtio_device *vdev;
	struct aerator_dev_info dev;
	struct mutex lock;	/* see above */
	enum vb_state state;
	enum vb_wire wire;
	const char *cannot_report;
	bool hints;
	struct virtqueue *vq[VB_QUEUES];
	wait_queue_head_t acked;
	struct scatterlist sg[AERATOR_CAPACITY];
	__le64 words[HINTS_MAX];
	struct virtio_balloon_stat stats[VIRTIO_BALLOON_S_NR];
	unsigned int nr_stats;
#ifdef CONFIG_VM_EVENT_COUNTERS
	unsigned long events[NR_VM_EVENT_ITEMS];
#endif
	struct work_struct stats_work;
	struct work_struct config_work;
	struct delayed_work back;
	bool lied;
	unsigned int rest_s;
	unsigned long live_at;
	unsigned long acked_at;
	bool heard;
	bool offered;
	bool keeps;
	struct vb_pages pages;
	struct vb_size size;
	struct vb_run run;
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

/* run.c */
void aeration_vb_run_init(struct vb *vb);
void aeration_vb_run_asked(struct vb *vb);
bool aeration_vb_hint(struct vb *vb, const struct aerator_batch *batch, int *err);
void aeration_vb_run_rest(struct vb *vb);
void aeration_vb_run_end(struct vb *vb);

/* react.c */
extern const struct aerator_ops aeration_vb_ops;

/* balloon.c */
int aeration_vb_size_init(struct vb *vb);
void aeration_vb_size_rest(struct vb *vb);
void aeration_vb_size_exit(struct vb *vb);
void aeration_vb_size_asked(struct vb *vb, bool anew);
void aeration_vb_size_told(struct vb *vb);

/* stats.c */
void aeration_vb_stats_request(struct virtqueue *vq);
void aeration_vb_stats_fill(struct vb *vb);
void aeration_vb_stats_start(struct vb *vb);
void aeration_vb_stats_fn(struct work_struct *work);

/* device.c */
void aeration_vb_answered(struct virtqueue *vq);
int aeration_vb_find_queues(struct vb *vb);
void aeration_vb_free_queues(struct vb *vb);
bool aeration_vb_is_there(const struct vb *vb);
void aeration_vb_retire(struct vb *vb, enum vb_state state);
int aeration_vb_give_up(struct vb *vb, enum vb_state state);
void aeration_vb_needs_reset(struct vb *vb);
int aeration_vb_begin(struct vb *vb, struct vb_wait *wait);
int aeration_vb_end(struct vb *vb, struct vb_wait *wait, int err);
int aeration_vb_await(struct vb *vb, struct vb_wait *wait);

#endif /* _AERATION_VIRTIO_VB_H */
