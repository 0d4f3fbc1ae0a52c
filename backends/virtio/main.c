// SPDX-License-Identifier: GPL-2.0
/*
 * aeration_virtio.ko: report free memory to a virtio balloon device.
 *
 * A device goes through the states of enum vb_state. Going away, by unbinding,
 * unloading, unplugging or suspending, always begins with a reset: from then on
 * the device touches no block, a react call under way returns, and the core can
 * be waited for.
 */
#define pr_fmt(fmt) "aeration_virtio: " fmt

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/poison.h>
#include <linux/slab.h>
#include <linux/string.h>
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
 * pages to anything. Return: why the device cannot be used, or NULL.
 */
static const char *unusable(struct virtio_device *vdev)
{
	if (virtio_has_feature(vdev, VIRTIO_F_ACCESS_PLATFORM))
		return "device wants platform addresses (VIRTIO_F_ACCESS_PLATFORM)";
	if (!virtio_has_feature(vdev, VIRTIO_BALLOON_F_REPORTING))
		return "no free page reporting (bit 5); QEMU: free-page-reporting=on";
	if (free_pages_have_content() &&
	    !virtio_has_feature(vdev, VIRTIO_BALLOON_F_PAGE_POISON))
		return "kernel fills free pages, device would lose that (no bit 4)";
	return NULL;
}

/*
 * Feature negotiation. Indirect descriptors would be allocated for every
 * batch. Page poison is accepted only if there is a value to tell.
 */
static int vb_validate(struct virtio_device *vdev)
{
	if (aerator_permitted(aeration_vb_ops.name))
		return -EPERM;
	if (!free_pages_have_content())
		__virtio_clear_bit(vdev, VIRTIO_BALLOON_F_PAGE_POISON);
	__virtio_clear_bit(vdev, VIRTIO_RING_F_INDIRECT_DESC);
	return 0;
}

/* The value free pages hold, virtio 1.2, 5.5.6.6; little-endian on all devices. */
static void tell_poison(struct virtio_device *vdev)
{
	u32 value = 0;

	if (!virtio_has_feature(vdev, VIRTIO_BALLOON_F_PAGE_POISON))
		return;
	if (!want_init_on_free())
		memset(&value, PAGE_POISON, sizeof(value));
	virtio_cwrite_le(vdev, struct virtio_balloon_config, poison_val,
			 &value);
}

static int find_queues(struct vb *vb)
{
	struct virtio_device *vdev = vb->vdev;
	struct compat_vq want[] = {
		{ "inflate", aeration_vb_ack },
		{ "deflate", aeration_vb_ack },
		{ "stats", aeration_vb_stats_request },
		{ "free_page", aeration_vb_ack },
		{ "reporting", aeration_vb_ack },
	};
	struct virtqueue *vqs[ARRAY_SIZE(want)] = { NULL };
	int err;

	if (!virtio_has_feature(vdev, VIRTIO_BALLOON_F_STATS_VQ))
		want[2].name = NULL;
	if (!virtio_has_feature(vdev, VIRTIO_BALLOON_F_FREE_PAGE_HINT))
		want[3].name = NULL;
	err = compat_find_vqs(vdev, ARRAY_SIZE(want), vqs, want);
	if (err)
		return err;
	vb->stats_vq = vqs[2];
	vb->report_vq = vqs[4];
	return 0;
}

/* A device that completes a batch needs a descriptor for each of its entries. */
static unsigned int vb_capacity(const struct vb *vb)
{
	if (vb->wire == VB_WIRE_HINTS)
		return AERATOR_CAPACITY;
	return min_t(unsigned int, AERATOR_CAPACITY,
		     virtqueue_get_vring_size(vb->report_vq));
}

static void go_live(struct vb *vb)
{
	tell_poison(vb->vdev);
	virtio_device_ready(vb->vdev);
	mutex_lock(&vb->lock);
	vb->live_at = jiffies;
	WRITE_ONCE(vb->acked_at, vb->live_at);
	WRITE_ONCE(vb->state, VB_LIVE);
	aeration_vb_stats_start(vb);
	mutex_unlock(&vb->lock);
}

/* Ends the interrupts as well. A device may have lost its queues already. */
static void vb_free_queues(struct vb *vb)
{
	if (!vb->report_vq)
		return;
	vb->vdev->config->del_vqs(vb->vdev);
	vb->stats_vq = NULL;
	vb->report_vq = NULL;
}

/* Work is queued by interrupts: it can be cancelled for good only after them. */
static void vb_end_work(struct vb *vb)
{
	vb_free_queues(vb);
	cancel_work_sync(&vb->stats_work);
	cancel_work_sync(&vb->config_work);
}

/*
 * The host may ask for memory by balloon, virtio 1.2, 5.5.6.1. The same
 * interrupt says that the device has lost its way, 2.1.2.
 */
static void vb_config_fn(struct work_struct *work)
{
	struct vb *vb = container_of(work, struct vb, config_work);
	struct virtio_device *vdev = vb->vdev;
	u8 status = 0;
	u32 pages = 0;

	mutex_lock(&vb->lock);
	if (vb->state == VB_LIVE) {
		status = vdev->config->get_status(vdev);
		virtio_cread_le(vdev, struct virtio_balloon_config, num_pages,
				&pages);
	}
	mutex_unlock(&vb->lock);
	if (status & VIRTIO_CONFIG_S_NEEDS_RESET)
		aeration_vb_needs_reset(vb);
	else if (pages)
		dev_warn_once(&vdev->dev,
			      "the host asks for %u pages by balloon: this driver reports free memory and does not inflate; use virtio_balloon for that\n",
			      pages);
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
	vdev->priv = vb;
	return vb;
}

/**
 * aeration_vb_offer - offer a live device to the core
 * @vb: the device
 *
 * Context: process context under the device's own lock; may sleep.
 * Return: 0 or an error of aerator_startup().
 */
int aeration_vb_offer(struct vb *vb)
{
	enum vb_state state;
	int err = aerator_startup(&vb->dev);

	if (err)
		return err;
	vb->offered = true;
	/* If it failed just now, the core could not be told yet. */
	state = READ_ONCE(vb->state);
	if (state == VB_FAILED || state == VB_RESTING)
		aerator_say(aeration_vb_ops.name, &vb->dev, AERATOR_FAILED,
			    vb->why);
	return 0;
}

static int vb_probe(struct virtio_device *vdev)
{
	const char *why = unusable(vdev);
	struct vb *vb;
	int err;

	if (why) {
		dev_warn(&vdev->dev, "%s\n", why);
		aerator_say(aeration_vb_ops.name, NULL, AERATOR_ABSENT, why);
		return -ENODEV;
	}
	vb = vb_alloc(vdev);
	if (!vb)
		return -ENOMEM;
	err = find_queues(vb);
	if (err) {
		dev_err(&vdev->dev, "cannot set up the queues: error %d\n", err);
		aerator_say(aeration_vb_ops.name, NULL, AERATOR_ABSENT,
			    "its queues cannot be set up");
		goto out_free;
	}
	vb->dev.capacity = vb_capacity(vb);
	go_live(vb);
	err = aeration_vb_offer(vb);
	if (err)
		goto out_retire;
	dev_info(&vdev->dev, "wire %s, %u blocks in a batch\n",
		 wire_names[vb->wire], vb->dev.capacity);
	return 0;

out_retire:
	aeration_vb_retire(vb, VB_GONE);
	cancel_delayed_work_sync(&vb->back);
	vb_end_work(vb);
out_free:
	vdev->priv = NULL;
	kfree(vb);
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
	vb_end_work(vb);
	vdev->priv = NULL;
	kfree(vb);
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
	mutex_lock(&vb->lock);
	vb_free_queues(vb);
	mutex_unlock(&vb->lock);
	return 0;
}

static int vb_restore(struct virtio_device *vdev)
{
	struct vb *vb = vdev->priv;
	int err;

	if (READ_ONCE(vb->state) != VB_SUSPENDED)
		return 0;
	err = find_queues(vb);
	if (!err) {
		go_live(vb);
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

/* Those that add a queue are accepted so that queue numbers agree, see stats.c. */
static const unsigned int features[] = {
	VIRTIO_BALLOON_F_STATS_VQ,
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
#ifdef CONFIG_PM_SLEEP
	.freeze = vb_freeze,
	.restore = vb_restore,
#endif
};

static int __init vb_init(void)
{
	int err = register_virtio_driver(&vb_driver);

	if (err)
		return err;
	err = aeration_vb_claim_start(&vb_driver);
	if (err)
		unregister_virtio_driver(&vb_driver);
	return err;
}

static void __exit vb_exit(void)
{
	aeration_vb_claim_stop(&vb_driver);
	unregister_virtio_driver(&vb_driver);
	aerator_say(aeration_vb_ops.name, NULL, AERATOR_WELL, NULL);
}

module_init(vb_init);
module_exit(vb_exit);
MODULE_DEVICE_TABLE(virtio, id_table);
MODULE_DESCRIPTION("Memory aeration backend for virtio balloon devices");
MODULE_AUTHOR("The Aeration authors");
MODULE_LICENSE("GPL");
