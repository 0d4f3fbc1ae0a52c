// SPDX-License-Identifier: GPL-2.0
/*
 * Life of the module: see xb.h for its parts.
 *
 * Saving, restoring and migrating a domain suspends it (drivers/xen/manage.c):
 * processes and freezable work are frozen, devices are frozen, and the domain
 * stops. It may go on under another Xen, with the same holes in its memory. A
 * platform device is told, as late as one can be, so that held memory is out of
 * reach for as short as possible, and as early as one can be afterwards.
 *
 * Hibernating is another matter: the image is loaded into a domain that has all
 * of its memory, so nothing may be held when it is made, nor when it is loaded.
 */
#define pr_fmt(fmt) "aeration_xen: " fmt

#include <linux/err.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/notifier.h>
#include <linux/platform_device.h>
#include <linux/pm.h>
#include <linux/suspend.h>
#include <xen/features.h>
#include <xen/xen.h>
#include "xb.h"

module_param_cb(scrub, &aerator_scrub_ops, &aeration_xb.dev, 0644);
MODULE_PARM_DESC(scrub,
		 "fill memory with zeros before Xen gets it (default y)");

static int set_order(const char *val, const struct kernel_param *kp)
{
	return param_set_uint_minmax(val, kp, 0, XB_ORDER_MAX);
}

static const struct kernel_param_ops order_ops = {
	.set = set_order,
	.get = param_get_uint,
};

static unsigned int order_most = XB_ORDER_MAX;
module_param_cb(order, &order_ops, &order_most, 0444);
MODULE_PARM_DESC(order, "largest extents to ask Xen for (0 to 9, default 9)");

static int set_nothing(const char *val, const struct kernel_param *kp)
{
	return -EPERM;
}

static const struct kernel_param_ops extent_order_ops = {
	.set = set_nothing,
	.get = param_get_uint,
};

module_param_cb(extent_order, &extent_order_ops, &aeration_xb.order, 0444);
MODULE_PARM_DESC(extent_order, "extents in use (read only)");

static int set_capacity(const char *val, const struct kernel_param *kp)
{
	return param_set_uint_minmax(val, kp, 1, AERATOR_DURABLE_CAPACITY);
}

static const struct kernel_param_ops capacity_ops = {
	.set = set_capacity,
	.get = param_get_uint,
};

static unsigned int capacity = AERATOR_DURABLE_CAPACITY;
module_param_cb(capacity, &capacity_ops, &capacity, 0444);
MODULE_PARM_DESC(capacity, "most blocks in a batch (1 to 512, default 512)");

static struct platform_device *xb_device;

static int start_up(void)
{
	int err;

	aeration_xb.dev.capacity = capacity;
	aeration_xb.failed = false;
	aeration_xb_toolstack_start(&aeration_xb);
	err = aerator_startup(&aeration_xb.dev);
	aeration_xb.offered = !err;
	if (!err) {
		aeration_xb_control_start();
		return 0;
	}
	aeration_xb_toolstack_stop();
	aeration_xb_toolstack_end();
	return err;
}

static void shut_down(void)
{
	if (aeration_xb.offered) {
		aeration_xb_control_stop();
		aeration_xb_toolstack_stop();
		aerator_shutdown(&aeration_xb.dev);
		aeration_xb_toolstack_end();
	}
	aeration_xb.offered = false;
}

/*
 * A large extent may be done in part, and then each of its pages has to be asked
 * about. Where Xen, or a policy of the host's, does not answer, only single pages
 * are safe: one is done or is not.
 */
static bool xen_tells_pages(void)
{
	/* A page in use, with memory behind it for sure: that of our device. */
	return aeration_xb_is_backed(page_to_pfn(virt_to_page(xb_device))) == 1;
}

/* A PV domain gives and gets single frames. */
static void find_order(void)
{
	unsigned int order = 0;

	aeration_xb.order_known = true;
	if (!aeration_xb.pv)
		order = aeration_xb_largest_order(order_most,
						  &aeration_xb.order_known);
	if (order && !xen_tells_pages()) {
		pr_warn("Xen does not say what is behind a page (HVMOP_get_mem_type), so memory goes in single pages, which is slow\n");
		order = 0;
	}
	WRITE_ONCE(aeration_xb.order, order);
}

/* Hosts differ, and a domain may go on under another one. */
static void know_the_host(void)
{
	find_order();
	aeration_xb_nodes_find();
}

static int xb_freeze(struct device *unused)
{
	if (aeration_xb.offered)
		aerator_quiesce(&aeration_xb.dev);
	return 0;
}

static int xb_thaw(struct device *unused)
{
	if (aeration_xb.offered)
		aerator_resume(&aeration_xb.dev);
	return 0;
}

/* This may be another host: other limits, and another xenstore. */
static int xb_restored(struct device *device)
{
	know_the_host();
	aeration_xb_store_again();
	return xb_thaw(device);
}

static const struct dev_pm_ops xb_pm_ops = {
	.freeze_late = xb_freeze,
	.thaw_early = xb_thaw,
	.restore_early = xb_restored,
};

static struct platform_driver xb_driver = {
	.driver = {
		.name = KBUILD_MODNAME,
		.pm = pm_sleep_ptr(&xb_pm_ops),
		.suppress_bind_attrs = true,
	},
};

static void come_back(void)
{
	if (!aeration_xb.offered && start_up())
		pr_err("not in use any more after hibernation; load the module again\n");
}

static int prepare_to_hibernate(void)
{
	shut_down();
	if (!aeration_xb_store_held())
		return NOTIFY_OK;
	pr_err("cannot hibernate: Xen does not give back %llu MiB\n",
	       aeration_xb_store_held() >> 20);
	come_back();
	return notifier_from_errno(-ENOMEM);
}

static int on_pm(struct notifier_block *nb, unsigned long event, void *unused)
{
	switch (event) {
	case PM_HIBERNATION_PREPARE:
	case PM_RESTORE_PREPARE:
		return prepare_to_hibernate();
	case PM_POST_HIBERNATION:
	case PM_POST_RESTORE:
		know_the_host();
		come_back();
		return NOTIFY_OK;
	default:
		return NOTIFY_DONE;
	}
}

static struct notifier_block pm_nb = { .notifier_call = on_pm };

static int make_device(void)
{
	int err = platform_driver_register(&xb_driver);

	if (err)
		return err;
	xb_device = platform_device_register_simple(KBUILD_MODNAME,
						    PLATFORM_DEVID_NONE,
						    NULL, 0);
	if (IS_ERR(xb_device))
		platform_driver_unregister(&xb_driver);
	return PTR_ERR_OR_ZERO(xb_device);
}

static void remove_device(void)
{
	platform_device_unregister(xb_device);
	platform_driver_unregister(&xb_driver);
}

static int __init xb_init(void)
{
	int err;

	if (!xen_domain()) {
		aerator_say(aeration_xb.dev.ops->name, NULL, AERATOR_ABSENT,
			    "this is not a Xen domain");
		return -ENODEV;
	}
	err = aerator_permitted(aeration_xb.dev.ops->name);
	if (err)
		return err;
	aeration_xb.pv = !xen_feature(XENFEAT_auto_translated_physmap);
	err = make_device();
	if (err)
		return err;
	know_the_host();
	aeration_xb_store_start();
	err = start_up();
	if (err)
		goto out_store;
	err = register_pm_notifier(&pm_nb);
	if (err)
		goto out_shutdown;
	pr_info("%s domain, extents of order %u%s, %u blocks in a batch\n",
		aeration_xb.pv ? "PV" : "auto-translated", aeration_xb.order,
		aeration_xb.order_known ? "" :
		" (Xen does not say whether it takes them)",
		capacity);
	return 0;

out_shutdown:
	shut_down();
out_store:
	aeration_xb_store_stop();
	aeration_xb_nodes_forget();
	remove_device();
	return err;
}

static void __exit xb_exit(void)
{
	unregister_pm_notifier(&pm_nb);
	shut_down();
	aeration_xb_store_stop();
	aeration_xb_nodes_forget();
	remove_device();
	aerator_say(aeration_xb.dev.ops->name, NULL, AERATOR_WELL, NULL);
}

module_init(xb_init);
module_exit(xb_exit);
MODULE_DESCRIPTION("Memory aeration backend for Xen domains");
MODULE_AUTHOR("The Aeration authors");
MODULE_LICENSE("GPL");
