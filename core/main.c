// SPDX-License-Identifier: GPL-2.0
/*
 * aeration.ko: hand free memory of this guest back to its hypervisor.
 */
#define pr_fmt(fmt) "aeration: " fmt

#include <linux/module.h>
#include "core.h"

static int __init aeration_init(void)
{
	int err;

	report_init();
	registry_init();
	err = sysfs_start();
	if (err) {
		pr_err("cannot show /sys/kernel/aeration: error %d\n", err);
		registry_exit();
	}
	return err;
}

static void __exit aeration_exit(void)
{
	sysfs_stop();
	registry_exit();
}

module_init(aeration_init);
module_exit(aeration_exit);
MODULE_DESCRIPTION("Memory aeration core: hands free guest memory back to the hypervisor");
MODULE_AUTHOR("The Aeration authors");
MODULE_LICENSE("GPL");
