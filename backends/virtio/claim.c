// SPDX-License-Identifier: GPL-2.0
/*
 * Say who has the balloon device, and take it when its driver lets go.
 *
 * A device has one driver. When the stock virtio_balloon is loaded first, it
 * has the device; once it is unloaded or unbound the device would stay without
 * a driver until somebody binds ours by hand.
 */
#include <linux/device.h>
#include <linux/notifier.h>
#include <linux/virtio_ids.h>
#include "vb.h"

/**
 * struct claim - what is needed to notice that a device is free
 * @nb: notifier of the virtio bus
 * @work: binds @freed; cancelled by aeration_vb_claim_stop()
 * @freed: a balloon device that another driver lets go of, with a reference, or
 *	NULL; exchanged atomically
 * @drv: our driver
 */
struct claim {
	struct notifier_block nb;
	struct work_struct work;
	struct device *freed;
	struct virtio_driver *drv;
};

static struct claim claim;

static bool is_balloon(struct device *dev)
{
	return dev_to_virtio(dev)->id.device == VIRTIO_ID_BALLOON;
}

static void claim_fn(struct work_struct *work)
{
	struct device *dev = xchg(&claim.freed, NULL);
	bool is_free;
	int err = 0;

	if (!dev)
		return;
	/* Held by whoever unbinds: once it is ours, the driver has let go. */
	device_lock(dev);
	is_free = !dev->driver;
	device_unlock(dev);
	if (is_free)
		err = device_driver_attach(&claim.drv->driver, dev);
	if (err)
		dev_warn(dev, "balloon device has no driver, and cannot be taken: error %d\n",
			 err);
	put_device(dev);
}

/*
 * Called with the device locked, before its driver lets go of it. A device that
 * our own driver lets go of is left alone: somebody wants it so.
 */
static int bus_event(struct notifier_block *nb, unsigned long action,
		     void *data)
{
	struct device *dev = data;

	if (action != BUS_NOTIFY_UNBIND_DRIVER || !is_balloon(dev) ||
	    dev->driver == &claim.drv->driver)
		return NOTIFY_DONE;
	put_device(xchg(&claim.freed, get_device(dev)));
	queue_work(system_freezable_wq, &claim.work);
	return NOTIFY_DONE;
}

/* Count balloon devices, and say who has those that we have not. */
static int look_at(struct device *dev, void *count)
{
	if (!is_balloon(dev))
		return 0;
	++*(unsigned int *)count;
	device_lock(dev);
	if (dev->driver && dev->driver != &claim.drv->driver) {
		dev_warn(dev,
			 "balloon device belongs to %s: unload or unbind that, and aeration_virtio takes the device\n",
			 dev->driver->name);
		aerator_say(aeration_vb_ops.name, NULL, AERATOR_ABSENT,
			    "its device belongs to another driver (virtio_balloon?)");
	}
	device_unlock(dev);
	return 0;
}

/**
 * aeration_vb_claim_start - look who has the balloon devices, and keep looking
 * @drv: our driver, registered
 *
 * Context: process context; may sleep.
 * Return: 0 or a negative error.
 */
int aeration_vb_claim_start(struct virtio_driver *drv)
{
	unsigned int count = 0;
	int err;

	claim.drv = drv;
	claim.nb.notifier_call = bus_event;
	INIT_WORK(&claim.work, claim_fn);
	err = bus_register_notifier(drv->driver.bus, &claim.nb);
	if (err)
		return err;
	bus_for_each_dev(drv->driver.bus, NULL, &count, look_at);
	if (!count)
		aerator_say(aeration_vb_ops.name, NULL, AERATOR_ABSENT,
			    "there is no virtio balloon device (device id 5)");
	return 0;
}

/**
 * aeration_vb_claim_stop - stop looking
 * @drv: our driver, still registered
 *
 * Context: process context; may sleep.
 */
void aeration_vb_claim_stop(struct virtio_driver *drv)
{
	bus_unregister_notifier(drv->driver.bus, &claim.nb);
	cancel_work_sync(&claim.work);
	put_device(xchg(&claim.freed, NULL));
}
