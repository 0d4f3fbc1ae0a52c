// SPDX-License-Identifier: GPL-2.0
/*
 * aeration_virtio.ko: a driver for virtio balloon devices, whole: it reports free memory,
 * follows the host's target, answers for statistics and serves hint runs.
 *
 * What a device lacks turns off a function, never the device: it can have one driver.
 *
 * A device goes through the states of enum vb_state. Going away, by unbinding,
 * unloading, unplugging, suspending or shutting down, always begins with a reset: from
 * then on the device touches no page, who waits for it returns, and the core can be
 * waited for.
 */
#define pr_fmt(fmt) "aeration_virtio: " fmt

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/poison.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/string_helpers.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <aeration/compat.h>
#include "vb.h"

static const char *const wire_names[] = {
	[VB_WIRE_SG] = "sg",
	[VB_WIRE_HINTS] = "hints",
};

static unsigned int wire = VB_WIRE_SG;

static int set_wire(const char *val, const struct kernel_param *kp)
{
	int i = sysfs_match_string(wire_names, val);

	if (i < 0) {
		pr_err("unknown wire \"%s\"; known: sg hints\n", val);
		return -EINVAL;
	}
	wire = i;
	return 0;
}

static int get_wire(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%s\n", wire_names[wire]);
}

static const struct kernel_param_ops wire_ops = {
	.set = set_wire,
	.get = get_wire,
};

module_param_cb(wire, &wire_ops, NULL, 0444);
MODULE_PARM_DESC(wire,
		 "how batches look: sg (default; virtio 1.2 free page reporting) or hints (hinting queue)");

/* Does the kernel expect free pages to keep a content? */
static bool free_pages_have_content(void)
{
	return want_init_on_free() || page_poisoning_enabled_static();
}

/*
 * Virtio 1.2, 5.5.6.7.1: without page poison the device may change reported
 * pages to anything. Return: why free pages cannot be reported, or NULL.
 */
static const char *cannot_report(struct virtio_device *vdev)
{
	if (free_pages_have_content() &&
	    !virtio_has_feature(vdev, VIRTIO_BALLOON_F_PAGE_POISON))
		return "kernel fills free pages, device would lose that (no bit 4)";
	if (!virtio_has_feature(vdev, VIRTIO_BALLOON_F_REPORTING))
		return "no free page reporting (bit 5); QEMU: free-page-reporting=on";
	return NULL;
}

/*
 * Feature negotiation. Indirect descriptors would be allocated for every
 * batch, and platform addresses name no frames of the guest. Page poison is accepted only
 * if there is a value to tell.
 */
static int vb_validate(struct virtio_device *vdev)
{
	if (aerator_permitted(aeration_vb_ops.name))
		return -EPERM;
	if (!free_pages_have_content())
		__virtio_clear_bit(vdev, VIRTIO_BALLOON_F_PAGE_POISON);
	__virtio_clear_bit(vdev, VIRTIO_RING_F_INDIRECT_DESC);
	if (!virtio_has_feature(vdev, VIRTIO_F_ACCESS_PLATFORM))
		return 0;
	/* One that insists on it is refused by the virtio core. */
	aerator_say(aeration_vb_ops.name, NULL, AERATOR_ABSENT,
		    "device insists on platform addresses (VIRTIO_F_ACCESS_PLATFORM)");
	__virtio_clear_bit(vdev, VIRTIO_F_ACCESS_PLATFORM);
	return 0;
}

/* The value free pages hold, virtio 1.2, 5.5.6.6. */
static u32 poison(void)
{
	u32 value = 0;

	if (free_pages_have_content() && !want_init_on_free())
		memset(&value, PAGE_POISON, sizeof(value));
	return value;
}

/* Little-endian on all devices. */
static void tell_poison(struct virtio_device *vdev)
{
	u32 value = poison();

	if (!virtio_has_feature(vdev, VIRTIO_BALLOON_F_PAGE_POISON))
		return;
	virtio_cwrite_le(vdev, struct virtio_balloon_config, poison_val,
			 &value);
}

/* A device that completes a batch needs a descriptor for each of its entries. */
static unsigned int vb_capacity(const struct vb *vb)
{
	if (!vb->vq[VB_REPORT] || vb->wire == VB_WIRE_HINTS)
		return AERATOR_CAPACITY;
	return min_t(unsigned int, AERATOR_CAPACITY,
		     virtqueue_get_vring_size(vb->vq[VB_REPORT]));
}

static void go_live(struct vb *vb)
{
	tell_poison(vb->vdev);
	aeration_vb_stats_fill(vb);
	virtio_device_ready(vb->vdev);
	mutex_lock(&vb->lock);
	vb->live_at = jiffies;
	WRITE_ONCE(vb->acked_at, vb->live_at);
	WRITE_ONCE(vb->state, VB_LIVE);
	aeration_vb_stats_start(vb);
	aeration_vb_size_asked(vb, true);
	mutex_unlock(&vb->lock);
	aeration_vb_size_told(vb);
}

/*
 * The host wants something else, virtio 1.2, 5.5.6. The same interrupt says that the
 * device has lost its way, 2.1.2.
 */
static void vb_config_fn(struct work_struct *work)
{
	struct vb *vb = container_of(work, struct vb, config_work);
	u8 status = 0;

	mutex_lock(&vb->lock);
	if (vb->state == VB_LIVE)
		status = vb->vdev->config->get_status(vb->vdev);
	if (status && !(status & VIRTIO_CONFIG_S_NEEDS_RESET)) {
		aeration_vb_size_asked(vb, false);
		aeration_vb_run_asked(vb);
	}
	mutex_unlock(&vb->lock);
	if (status & VIRTIO_CONFIG_S_NEEDS_RESET)
		aeration_vb_needs_reset(vb);
	else
		aeration_vb_size_told(vb);
}

static struct vb *vb_alloc(struct virtio_device *vdev)
{
	struct vb *vb = kzalloc(sizeof(*vb), GFP_KERNEL);

	if (!vb)
		return NULL;
	vb->vdev = vdev;
	vb->wire = wire;
	vb->dev.ops = &aeration_vb_ops;
	mutex_init(&vb->lock);
	init_waitqueue_head(&vb->acked);
	INIT_WORK(&vb->stats_work, aeration_vb_stats_fn);
	INIT_WORK(&vb->config_work, vb_config_fn);
	INIT_DELAYED_WORK(&vb->back, aeration_vb_back_fn);
	aeration_vb_run_init(vb);
	if (aeration_vb_size_init(vb)) {
		kfree(vb);
		return NULL;
	}
	vdev->priv = vb;
	return vb;
}

/* Work is queued by interrupts: it can be cancelled for good only after them. */
static void vb_release(struct vb *vb)
{
	aeration_vb_run_end(vb);
	aeration_vb_size_exit(vb);
	aeration_vb_free_queues(vb);
	cancel_work_sync(&vb->stats_work);
	cancel_work_sync(&vb->config_work);
	vb->vdev->priv = NULL;
	kfree(vb);
}

/**
 * aeration_vb_offer - offer a live device to the core, if it takes free pages
 * @vb: the device
 *
 * Context: process context under the device's own lock; may sleep.
 * Return: 0, or -EPERM if the device must be left alone.
 */
int aeration_vb_offer(struct vb *vb)
{
	enum vb_state state;
	int err;

	if (vb->cannot_report && !vb->dev.asked_only) {
		aerator_say(aeration_vb_ops.name, NULL, AERATOR_ABSENT,
			    vb->cannot_report);
		return 0;
	}
	err = aerator_startup(&vb->dev);
	if (err == -EPERM)
		return err;
	/* Where the core cannot use it, balloon and statistics are ours all the same. */
	if (err) {
		scnprintf(vb->why, sizeof(vb->why),
			  "its device could not be offered: error %d; bind the driver again to retry",
			  err);
		dev_warn(&vb->vdev->dev, "free pages are not reported: %s\n",
			 vb->why);
		aerator_say(aeration_vb_ops.name, NULL, AERATOR_ABSENT,
			    vb->why);
		return 0;
	}
	vb->offered = true;
	if (vb->cannot_report)
		aerator_say(aeration_vb_ops.name, &vb->dev, AERATOR_WAITS,
			    vb->cannot_report);
	mutex_lock(&vb->lock);
	if (vb->state == VB_LIVE)
		aeration_vb_run_asked(vb);
	mutex_unlock(&vb->lock);
	/* If it failed just now, the core could not be told yet. */
	state = READ_ONCE(vb->state);
	if (state == VB_FAILED || state == VB_RESTING)
		aerator_say(aeration_vb_ops.name, &vb->dev, AERATOR_FAILED,
			    vb->why);
	return 0;
}

/* What a device can do, in the log. */
static void introduce(const struct vb *vb)
{
	struct device *dev = &vb->vdev->dev;

	if (vb->cannot_report)
		dev_warn(dev, "free pages are not reported: %s\n",
			 vb->cannot_report);
	else if (poison())
		dev_warn(dev, "free pages hold a value (page_poison): the host may keep all that is reported\n");
	dev_info(dev, "wire %s, %u blocks in a batch; statistics %s, hint runs %s, deflate on OOM %s\n",
		 wire_names[vb->wire], vb->dev.capacity,
		 str_on_off(vb->vq[VB_STATS]), str_on_off(vb->hints),
		 str_on_off(vb->size.oom.notifier_call));
}

static int vb_probe(struct virtio_device *vdev)
{
	struct vb *vb = vb_alloc(vdev);
	int err;

	if (!vb)
		return -ENOMEM;
	vb->cannot_report = cannot_report(vdev);
	err = aeration_vb_find_queues(vb);
	if (err) {
		dev_err(&vdev->dev, "cannot set up the queues: error %d\n", err);
		aerator_say(aeration_vb_ops.name, NULL, AERATOR_ABSENT,
			    "its queues cannot be set up");
		goto out_release;
	}
	vb->dev.capacity = vb_capacity(vb);
	vb->hints = vb->vq[VB_HINT] && !free_pages_have_content();
	vb->dev.asked_only = vb->cannot_report && vb->hints;
	go_live(vb);
	introduce(vb);
	err = aeration_vb_offer(vb);
	if (!err)
		return 0;

	aeration_vb_retire(vb, VB_GONE);
	cancel_delayed_work_sync(&vb->back);
out_release:
	vb_release(vb);
	return err;
}

static void vb_remove(struct virtio_device *vdev)
{
	struct vb *vb = vdev->priv;

	aeration_vb_retire(vb, VB_GONE);
	/* It may be about to fail a device that was live when it looked. */
	cancel_work_sync(&vb->config_work);
	cancel_delayed_work_sync(&vb->back);
	if (vb->offered)
		aerator_shutdown(&vb->dev);
	else
		aerator_say(aeration_vb_ops.name, NULL, AERATOR_WELL, NULL);
	vb_release(vb);
}

/* The machine goes down: the next kernel has to find the device reset. */
static void __maybe_unused vb_shutdown(struct virtio_device *vdev)
{
	aeration_vb_retire(vdev->priv, VB_GONE);
}

/* Called in interrupt context, where the configuration must not be read. */
static void vb_changed(struct virtio_device *vdev)
{
	struct vb *vb = vdev->priv;

	queue_work(system_freezable_wq, &vb->config_work);
}

#ifdef CONFIG_PM_SLEEP
/*
 * The core's work items are frozen by now, and a batch in flight was waited
 * for. The other work may be pending still; it sees the state.
 */
static int vb_freeze(struct virtio_device *vdev)
{
	struct vb *vb = vdev->priv;

	aeration_vb_retire(vb, VB_SUSPENDED);
	aeration_vb_run_rest(vb);
	aeration_vb_size_rest(vb);
	aeration_vb_free_queues(vb);
	/* Nobody calls vb_restore() where the device offers other features by then. */
	if (!vb->keeps)
		queue_delayed_work(system_freezable_wq, &vb->back, HZ);
	return 0;
}

static int vb_restore(struct virtio_device *vdev)
{
	struct vb *vb = vdev->priv;
	int err;

	if (READ_ONCE(vb->state) != VB_SUSPENDED)
		return 0;
	err = aeration_vb_find_queues(vb);
	if (!err) {
		go_live(vb);
		/* One that is brought back is asked when it has been offered. */
		if (!vb->keeps)
			queue_work(system_freezable_wq, &vb->config_work);
		return 0;
	}
	scnprintf(vb->why, sizeof(vb->why), "no queues: error %d", err);
	aeration_vb_retire(vb, VB_RESTING);
	aerator_say(aeration_vb_ops.name, &vb->dev, AERATOR_FAILED, vb->why);
	return err;
}
#endif

static const struct virtio_device_id id_table[] = {
	{ VIRTIO_ID_BALLOON, VIRTIO_DEV_ANY_ID },
	{ 0 },
};

/*
 * Linux numbers only the queues whose feature was negotiated, and devices differ in
 * whether they count the offered or the negotiated ones: all that add a queue are
 * accepted. VIRTIO_BALLOON_F_MUST_TELL_HOST is not: who is out of memory does not wait for
 * the host.
 */
static const unsigned int features[] = {
	VIRTIO_BALLOON_F_STATS_VQ,
	VIRTIO_BALLOON_F_DEFLATE_ON_OOM,
	VIRTIO_BALLOON_F_FREE_PAGE_HINT,
	VIRTIO_BALLOON_F_PAGE_POISON,
	VIRTIO_BALLOON_F_REPORTING,
};

static struct virtio_driver vb_driver = {
	.feature_table = features,
	.feature_table_size = ARRAY_SIZE(features),
	.driver.name = KBUILD_MODNAME,
	.driver.owner = THIS_MODULE,
	.id_table = id_table,
	.validate = vb_validate,
	.probe = vb_probe,
	.remove = vb_remove,
	.config_changed = vb_changed,
	COMPAT_SHUTDOWN(vb_shutdown)
#ifdef CONFIG_PM_SLEEP
	.freeze = vb_freeze,
	.restore = vb_restore,
#endif
};

/* Count balloon devices, and say who has those that we have not. */
static int look_at(struct device *dev, void *count)
{
	if (dev_to_virtio(dev)->id.device != VIRTIO_ID_BALLOON)
		return 0;
	++*(unsigned int *)count;
	device_lock(dev);
	if (dev->driver && dev->driver != &vb_driver.driver) {
		dev_warn(dev,
			 "balloon device belongs to %s: nothing is reported; to change that, unbind it and bind it to aeration_virtio\n",
			 dev->driver->name);
		aerator_say(aeration_vb_ops.name, NULL, AERATOR_ABSENT,
			    "its device belongs to another driver (virtio_balloon?)");
	}
	device_unlock(dev);
	return 0;
}

static int __init vb_init(void)
{
	unsigned int count = 0;
	int err = register_virtio_driver(&vb_driver);

	if (err)
		return err;
	bus_for_each_dev(vb_driver.driver.bus, NULL, &count, look_at);
	if (!count)
		aerator_say(aeration_vb_ops.name, NULL, AERATOR_ABSENT,
			    "there is no virtio balloon device (device id 5)");
	return 0;
}

static void __exit vb_exit(void)
{
	unregister_virtio_driver(&vb_driver);
	aerator_say(aeration_vb_ops.name, NULL, AERATOR_WELL, NULL);
}

module_init(vb_init);
module_exit(vb_exit);
MODULE_DEVICE_TABLE(virtio, id_table);
MODULE_DESCRIPTION("Memory aeration backend for virtio balloon devices");
MODULE_AUTHOR("The Aeration authors");
MODULE_LICENSE("GPL");
