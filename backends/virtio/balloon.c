// SPDX-License-Identifier: GPL-2.0
/*
 * Follow the host's target, virtio 1.2, 5.5.6.1 and 5.5.6.2: inflate, deflate, and say
 * how far it has come.
 *
 * A load at a time, and the target is looked at anew for each. Where the guest would have
 * to give up what it needs, the balloon stops, says what it has, and looks again later. The
 * host need not be told before a page is used again (VIRTIO_BALLOON_F_MUST_TELL_HOST is
 * not negotiated), so nobody who is out of memory waits for it. A device that offers that
 * may keep account of pages: it is told of each that goes back.
 *
 * When the device goes to sleep all is given to the guest, and taken anew afterwards: an
 * image of the guest has none of it, and the host that reads one knows nothing of the
 * balloon.
 */
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/limits.h>
#include <linux/memory.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/oom.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>
#include <linux/vmstat.h>
#include "vb.h"

/*
 * Units in one load: 16 MiB. Units in one buffer, which devices set a limit to: as many
 * as the stock driver has there.
 */
#define LOAD_UNITS	4096U
#define BUFFER_UNITS	256U

#define LOAD_PAGES	(LOAD_UNITS / VB_UNITS)

/* Pauses while there is nothing to be had, ms; and after the guest was out of memory. */
#define PAUSE_MIN_MS	200U
#define PAUSE_MAX_MS	30000U
#define OOM_PAUSE_MS	60000U

/* What stays available to programs: one part in so many of the guest's memory. */
#define LEFT_SHARE	32

/*
 * What was evicted and is brought back in each second: one part in so many of a load, and
 * the guest needs what it has.
 */
#define REFAULT_SHARE	8

/* Who has memory for the guest as well is asked first: those with blocks in flight. */
#define OOM_PRIORITY	(-1)

/* A device that takes longer than this over a page, ms, is not bothered for a while, ms. */
#define SLOW_MS		100
#define SLOW_PAUSE_MS	10000

/* Pages in the balloon are isolated for as long as one is copied, ms. */
#define MOVING_MS	10

/* Has a time passed, jiffies, less than so many ms ago? */
static bool is_recent(unsigned long at, unsigned int ms)
{
	return at && time_before(jiffies, at + msecs_to_jiffies(ms));
}

/* Put as many buffers on the queue as it takes; take those from @unit and @nr. */
static int add_buffers(struct vb *vb, struct vb_wait *wait, __virtio32 **unit,
		       unsigned int *nr)
{
	struct scatterlist sg;
	unsigned int some;
	int err = 0;

	while (*nr && wait->vq->num_free && !err) {
		some = min(*nr, BUFFER_UNITS);
		sg_init_one(&sg, *unit, some * sizeof(**unit));
		err = virtqueue_add_outbuf(wait->vq, &sg, 1, vb,
					   GFP_NOWAIT | __GFP_NOWARN);
		wait->left += !err;
		*unit += some;
		*nr -= some;
	}
	return err;
}

/*
 * Tell the device of the first @nr entries of size.pfn, and wait until it has heard.
 * On an error it was reset, or will be before it touches anything.
 */
static int tell(struct vb *vb, enum vb_queue queue, unsigned int nr, bool hasty)
{
	struct vb_wait wait = { .queue = queue, .hasty = hasty };
	__virtio32 *unit = vb->size.pfn;
	int err = 0;

	lockdep_assert_held(&vb->size.lock);
	while (nr && !err) {
		err = aeration_vb_begin(vb, &wait);
		if (err)
			break;
		err = add_buffers(vb, &wait, &unit, &nr);
		err = aeration_vb_end(vb, &wait, err);
		if (!err)
			err = aeration_vb_await(vb, &wait);
	}
	return err;
}

static int tell_load(struct vb *vb, enum vb_queue queue,
		     const struct vb_load *load)
{
	return tell(vb, queue,
		    aeration_vb_load_units(load, vb->vdev, vb->size.pfn),
		    false);
}

static int tell_page(struct vb *vb, enum vb_queue queue, struct page *page,
		     bool hasty)
{
	unsigned long began = jiffies;
	int err = tell(vb, queue, aeration_vb_page_units(page, 1, vb->vdev,
							 vb->size.pfn), hasty);

	if (time_after(jiffies, began + msecs_to_jiffies(SLOW_MS)))
		vb->size.slow_at = jiffies ?: 1;
	return err;
}

/*
 * Pages that are to go in, or to come out if less than 0. A device that is of no use any
 * more wants none.
 */
static long to_go(struct vb *vb)
{
	long have = aeration_vb_pages_count(&vb->pages), want = have;

	mutex_lock(&vb->lock);
	if (vb->state == VB_LIVE)
		want = vb->size.target / VB_UNITS;
	else if (vb->state == VB_FAILED && vb->lied)
		want = 0;
	mutex_unlock(&vb->lock);
	return want - have;
}

/* May so many pages go, so that programs can still have some? */
static bool can_spare(struct vb *vb, unsigned long pages)
{
	long left = si_mem_available() - (long)pages;
	unsigned long all = totalram_pages();

	if (vb->pages.single.managed)
		all += aeration_vb_pages_count(&vb->pages);
	return left > 0 && left >= (long)(all / LEFT_SHARE);
}

/* After a reset the device touches no page, whatever it has been told. */
static unsigned long inflate(struct vb *vb, unsigned long most)
{
	unsigned long nr;
	struct vb_load load;

	if (is_recent(vb->size.oom_at, OOM_PAUSE_MS) || !can_spare(vb, most))
		return 0;
	aeration_vb_load_init(&load);
	aeration_vb_load_fill(&load, most);
	nr = load.pages;
	if (nr && tell_load(vb, VB_INFLATE, &load)) {
		aeration_vb_load_free(&load);
		return 0;
	}
	aeration_vb_load_in(&vb->pages, &load);
	return nr;
}

static unsigned long deflate(struct vb *vb, unsigned long most)
{
	unsigned long nr;
	struct vb_load load;

	aeration_vb_load_init(&load);
	aeration_vb_load_out(&vb->pages, &load, most);
	nr = load.pages;
	if (nr)
		tell_load(vb, VB_DEFLATE, &load);
	aeration_vb_load_free(&load);
	return nr;
}

/*
 * Does the guest need what it has? Pages were evicted, and have been brought back in since
 * the last load: more than so many each second.
 */
static bool is_needed(struct vb_size *size)
{
	unsigned long seen = global_node_page_state(WORKINGSET_REFAULT_ANON) +
			     global_node_page_state(WORKINGSET_REFAULT_FILE);
	unsigned long more = seen - size->refaults;
	unsigned long seconds = (jiffies - size->looked) / HZ + 1;

	size->refaults = seen;
	size->looked = jiffies;
	return more / seconds > LOAD_PAGES / REFAULT_SHARE;
}

/*
 * A load, or what is missing of one. Return: how long to wait before the next, ms; 0 for
 * none at all once the target is reached, with *@reached set.
 */
static unsigned int step(struct vb *vb, bool *reached)
{
	struct vb_size *size = &vb->size;
	long more = to_go(vb);
	unsigned long most = min_t(unsigned long, abs(more), LOAD_PAGES), done;
	bool needed;

	lockdep_assert_held(&size->lock);
	*reached = !more;
	if (more > 0)
		done = inflate(vb, most);
	else
		done = most ? deflate(vb, most) : 0;
	needed = is_needed(size);
	if (done == most && !(more > 0 && needed))
		size->pause_ms = 0;
	else
		size->pause_ms = clamp(2 * size->pause_ms, PAUSE_MIN_MS,
				       PAUSE_MAX_MS);
	return size->pause_ms;
}

static void size_fn(struct work_struct *work)
{
	struct vb *vb = container_of(to_delayed_work(work), struct vb,
				     size.work);
	unsigned int pause;
	bool reached;

	mutex_lock(&vb->size.lock);
	pause = step(vb, &reached);
	mutex_unlock(&vb->size.lock);
	aeration_vb_size_told(vb);
	if (!reached)
		queue_delayed_work(system_freezable_wq, &vb->size.work,
				   msecs_to_jiffies(pause));
}

/**
 * aeration_vb_size_told - tell the host how much is in the balloon
 * @vb: the device
 *
 * Context: process context; may sleep.
 */
void aeration_vb_size_told(struct vb *vb)
{
	u32 actual;

	mutex_lock(&vb->lock);
	actual = aeration_vb_pages_count(&vb->pages) * VB_UNITS;
	if (vb->state == VB_LIVE && actual != vb->size.actual) {
		virtio_cwrite_le(vb->vdev, struct virtio_balloon_config, actual,
				 &actual);
		vb->size.actual = actual;
	}
	mutex_unlock(&vb->lock);
}

/**
 * aeration_vb_size_asked - see what the host wants, and begin
 * @vb: the device, live; @vb->lock is held
 * @anew: the device was set up just now, and knows nothing of what is in the balloon
 *
 * Context: process context; may sleep.
 */
void aeration_vb_size_asked(struct vb *vb, bool anew)
{
	u32 target;

	lockdep_assert_held(&vb->lock);
	virtio_cread_le(vb->vdev, struct virtio_balloon_config, num_pages,
			&target);
	if (anew)
		vb->size.actual = U32_MAX;	/* nothing that it can be */
	/* Asked for again, it may not be what there is any more; or a pause goes on. */
	if (!anew && target == vb->size.target) {
		queue_delayed_work(system_freezable_wq, &vb->size.work, 0);
		return;
	}
	vb->size.target = target;
	mod_delayed_work(system_freezable_wq, &vb->size.work, 0);
}

/*
 * A page in the balloon shall be another one. Who compacts memory waits for nobody who has
 * the device, and not for a device that takes its time.
 */
static int moved(struct compat_balloon *single, struct page *to,
		 struct page *from)
{
	struct vb *vb = container_of(single, struct vb, pages.single);
	int err = -EAGAIN;

	if (!mutex_trylock(&vb->size.lock))
		return -EAGAIN;
	if (!is_recent(vb->size.slow_at, SLOW_PAUSE_MS) &&
	    aeration_vb_has_units(to, 1))
		err = tell_page(vb, VB_INFLATE, to, true);
	/* What is given back may be used before the host has heard of it, or never. */
	if (!err)
		tell_page(vb, VB_DEFLATE, from, !vb->size.must_tell);
	mutex_unlock(&vb->size.lock);
	return err ? -EAGAIN : 0;
}

/* The guest is out of memory. The host hears of it later, and asks again later. */
static int on_oom(struct notifier_block *nb, unsigned long unused, void *freed)
{
	struct vb *vb = container_of(nb, struct vb, size.oom);
	struct vb_load load;

	if (*(unsigned long *)freed || vb->size.must_tell)
		return NOTIFY_OK;
	aeration_vb_load_init(&load);
	aeration_vb_load_out(&vb->pages, &load, LOAD_PAGES);
	*(unsigned long *)freed = load.pages;
	if (load.pages) {
		WRITE_ONCE(vb->size.oom_at, jiffies ?: 1);
		queue_work(system_freezable_wq, &vb->config_work);
	}
	aeration_vb_load_free(&load);
	return NOTIFY_OK;
}

/*
 * Memory is to be unplugged: a block there cannot be moved. It becomes the guest's, and
 * another one takes its place.
 */
static int on_memory(struct notifier_block *nb, unsigned long action, void *arg)
{
	struct vb *vb = container_of(nb, struct vb, size.memory);
	const struct memory_notify *memory = arg;
	struct vb_load load;

	if (action != MEM_GOING_OFFLINE || vb->size.must_tell)
		return NOTIFY_OK;
	aeration_vb_load_init(&load);
	aeration_vb_load_from(&vb->pages, &load, memory->start_pfn,
			      memory->start_pfn + memory->nr_pages);
	if (load.pages)
		mod_delayed_work(system_freezable_wq, &vb->size.work, 0);
	aeration_vb_load_free(&load);
	return NOTIFY_OK;
}

/**
 * aeration_vb_size_init - begin with an empty balloon
 * @vb: the device, features negotiated
 *
 * Context: process context; may sleep.
 * Return: 0 or a negative error with nothing begun.
 */
int aeration_vb_size_init(struct vb *vb)
{
	bool on_need = virtio_has_feature(vb->vdev,
					  VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
	int err;

	vb->size.must_tell = compat_offered(vb->vdev) &
			     BIT_ULL(VIRTIO_BALLOON_F_MUST_TELL_HOST);
	mutex_init(&vb->size.lock);
	INIT_DELAYED_WORK(&vb->size.work, size_fn);
	/* What comes back when it is needed still counts as the guest's. */
	aeration_vb_pages_init(&vb->pages, moved, !on_need);
	vb->size.pfn = kmalloc_array(LOAD_UNITS, sizeof(*vb->size.pfn),
				     GFP_KERNEL);
	if (!vb->size.pfn)
		return -ENOMEM;
	vb->size.memory.notifier_call = on_memory;
	err = register_memory_notifier(&vb->size.memory);
	if (err)
		goto out_free;
	if (!on_need)
		return 0;
	vb->size.oom.notifier_call = on_oom;
	vb->size.oom.priority = OOM_PRIORITY;
	err = register_oom_notifier(&vb->size.oom);
	if (!err)
		return 0;

	unregister_memory_notifier(&vb->size.memory);
out_free:
	kfree(vb->size.pfn);
	return err;
}

/*
 * Give all that is in the balloon to the guest. What is being moved at this moment is
 * waited for: it names the device.
 */
static void empty(struct vb *vb)
{
	struct vb_load load;

	lockdep_assert_held(&vb->size.lock);
	while (aeration_vb_pages_count(&vb->pages)) {
		aeration_vb_load_init(&load);
		aeration_vb_load_out(&vb->pages, &load, LOAD_PAGES);
		if (!load.pages)
			msleep(MOVING_MS);
		aeration_vb_load_free(&load);
		cond_resched();
	}
}

/**
 * aeration_vb_size_rest - the device goes to sleep, or is brought back
 * @vb: the device, which is not live
 *
 * On return nobody uses its queues.
 *
 * Context: process context under the device's own lock; sleeps.
 */
void aeration_vb_size_rest(struct vb *vb)
{
	mutex_lock(&vb->size.lock);
	if (!vb->keeps)
		empty(vb);
	mutex_unlock(&vb->size.lock);
}

/**
 * aeration_vb_size_exit - undo aeration_vb_size_init()
 * @vb: the device, which is not live and will not be
 *
 * Context: process context; sleeps.
 */
void aeration_vb_size_exit(struct vb *vb)
{
	if (vb->size.oom.notifier_call)
		unregister_oom_notifier(&vb->size.oom);
	unregister_memory_notifier(&vb->size.memory);
	cancel_delayed_work_sync(&vb->size.work);
	aeration_vb_size_rest(vb);
	kfree(vb->size.pfn);
}
