// SPDX-License-Identifier: GPL-2.0
/*
 * Memory statistics, virtio 1.2, 5.5.6.3: all that the stock driver of the same kernel
 * has, when the host asks for them, and once when the device is set up.
 */
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/scatterlist.h>
#include <linux/vmstat.h>
#include <aeration/compat.h>
#include "vb.h"

static void stat(struct vb *vb, unsigned int *nr, u16 tag, u64 value)
{
	vb->stats[*nr].tag = cpu_to_virtio16(vb->vdev, tag);
	vb->stats[*nr].val = cpu_to_virtio64(vb->vdev, value);
	++*nr;
}

static void stat_pages(struct vb *vb, unsigned int *nr, u16 tag, u64 pages)
{
	stat(vb, nr, tag, pages << PAGE_SHIFT);
}

#ifdef CONFIG_VM_EVENT_COUNTERS
#if VIRTIO_BALLOON_S_NR > 10
/* How often somebody had to reclaim before an allocation, in any zone. */
static u64 stalls(const unsigned long *events)
{
	u64 sum = 0;
	int z;

	for (z = 0; z <= ZONE_MOVABLE; z++)
		sum += events[ALLOCSTALL_NORMAL - ZONE_NORMAL + z];
	return sum;
}

/* What the stock driver has sent since 6.12. */
static void stat_reclaim(struct vb *vb, unsigned int *nr)
{
	const unsigned long *events = vb->events;

	stat(vb, nr, VIRTIO_BALLOON_S_OOM_KILL, events[OOM_KILL]);
	stat(vb, nr, VIRTIO_BALLOON_S_ALLOC_STALL, stalls(events));
	stat_pages(vb, nr, VIRTIO_BALLOON_S_ASYNC_SCAN,
		   compat_reclaim_count(events, PGSCAN_KSWAPD));
	stat_pages(vb, nr, VIRTIO_BALLOON_S_DIRECT_SCAN,
		   compat_reclaim_count(events, PGSCAN_DIRECT));
	stat_pages(vb, nr, VIRTIO_BALLOON_S_ASYNC_RECLAIM,
		   compat_reclaim_count(events, PGSTEAL_KSWAPD));
	stat_pages(vb, nr, VIRTIO_BALLOON_S_DIRECT_RECLAIM,
		   compat_reclaim_count(events, PGSTEAL_DIRECT));
}
#else
static void stat_reclaim(struct vb *vb, unsigned int *nr)
{
}
#endif

/* What the kernel has counted since it booted. */
static void stat_events(struct vb *vb, unsigned int *nr)
{
	unsigned long *events = vb->events;

	all_vm_events(events);
	stat_pages(vb, nr, VIRTIO_BALLOON_S_SWAP_IN, events[PSWPIN]);
	stat_pages(vb, nr, VIRTIO_BALLOON_S_SWAP_OUT, events[PSWPOUT]);
	stat(vb, nr, VIRTIO_BALLOON_S_MAJFLT, events[PGMAJFAULT]);
	stat(vb, nr, VIRTIO_BALLOON_S_MINFLT, events[PGFAULT]);
#ifdef CONFIG_HUGETLB_PAGE
	stat(vb, nr, VIRTIO_BALLOON_S_HTLB_PGALLOC,
	     events[HTLB_BUDDY_PGALLOC]);
	stat(vb, nr, VIRTIO_BALLOON_S_HTLB_PGFAIL,
	     events[HTLB_BUDDY_PGALLOC_FAIL]);
#endif
	stat_reclaim(vb, nr);
}
#else
static void stat_events(struct vb *vb, unsigned int *nr)
{
}
#endif

/**
 * aeration_vb_stats_fill - see what there is to say
 * @vb: the device, which has not got the statistics
 *
 * Not under &vb.lock: this waits for processors that come or go.
 *
 * Context: process context; may sleep.
 */
void aeration_vb_stats_fill(struct vb *vb)
{
	struct sysinfo info;
	unsigned int nr = 0;

	stat_events(vb, &nr);
	si_meminfo(&info);
	stat_pages(vb, &nr, VIRTIO_BALLOON_S_MEMFREE, info.freeram);
	stat_pages(vb, &nr, VIRTIO_BALLOON_S_MEMTOT, info.totalram);
	stat_pages(vb, &nr, VIRTIO_BALLOON_S_AVAIL, si_mem_available());
	stat_pages(vb, &nr, VIRTIO_BALLOON_S_CACHES,
		   global_node_page_state(NR_FILE_PAGES));
	vb->nr_stats = nr;
}

/**
 * aeration_vb_stats_start - hand the device its statistics, which it keeps until it wants
 *	new ones
 * @vb: a live device
 *
 * Context: process context under @vb->lock.
 */
void aeration_vb_stats_start(struct vb *vb)
{
	struct virtqueue *vq = vb->vq[VB_STATS];
	struct scatterlist sg;

	lockdep_assert_held(&vb->lock);
	if (!vq)
		return;
	sg_init_one(&sg, vb->stats, vb->nr_stats * sizeof(vb->stats[0]));
	if (virtqueue_add_outbuf(vq, &sg, 1, vb, GFP_NOWAIT | __GFP_NOWARN) ||
	    !virtqueue_kick(vq))
		dev_warn_once(&vb->vdev->dev,
			      "statistics queue is broken: the host sees no statistics\n");
}

/* Does the device want new ones? Then it has given back those it had. */
static bool is_wanted(struct vb *vb)
{
	unsigned int len;
	bool wanted;

	mutex_lock(&vb->lock);
	wanted = vb->state == VB_LIVE && vb->vq[VB_STATS] &&
		 virtqueue_get_buf(vb->vq[VB_STATS], &len);
	mutex_unlock(&vb->lock);
	return wanted;
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

	if (!is_wanted(vb))
		return;
	aeration_vb_stats_fill(vb);
	mutex_lock(&vb->lock);
	if (vb->state == VB_LIVE)
		aeration_vb_stats_start(vb);
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
