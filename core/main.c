// SPDX-License-Identifier: GPL-2.0
/*
 * aeration.ko: hand free memory of this guest back to its hypervisor.
 */
#define pr_fmt(fmt) "aeration: " fmt

#include <linux/module.h>
#include "core.h"
#include "watch.h"

struct workqueue_struct *aeration_wq;

static int __init aeration_init(void)
{
	int err;

	aeration_wq = alloc_workqueue("aeration", WQ_FREEZABLE | WQ_UNBOUND, 0);
	if (!aeration_wq)
		return -ENOMEM;
	err = aeration_watch_init();
	if (err) {
		pr_err("cannot follow CPUs coming and going: error %d\n", err);
		goto out_wq;
	}
	aeration_hold_init();
	aeration_registry_init();
	err = aeration_sysfs_start();
	if (err) {
		pr_err("cannot show /sys/kernel/aeration: error %d\n", err);
		goto out_registry;
	}
	return 0;

out_registry:
	aeration_registry_exit();
	aeration_watch_exit();
out_wq:
	destroy_workqueue(aeration_wq);
	return err;
}

static void __exit aeration_exit(void)
{
	aeration_sysfs_stop();
	aeration_registry_exit();
	aeration_hold_exit();
	aeration_watch_exit();
	destroy_workqueue(aeration_wq);
}

module_init(aeration_init);
module_exit(aeration_exit);
MODULE_DESCRIPTION("Memory aeration core: hands free guest memory back to the hypervisor");
MODULE_AUTHOR("The Aeration authors");
MODULE_LICENSE("GPL");
