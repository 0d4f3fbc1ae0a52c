// SPDX-License-Identifier: GPL-2.0
/*
 * aeration.ko: hand free memory of this guest back to its hypervisor.
 */
#define pr_fmt(fmt) "aeration: " fmt

#include <linux/module.h>
#include "hold/hold.h"
#include "pace/watch.h"
#include "queues.h"
#include "registry.h"
#include "report/report.h"
#include "request.h"
#include "sysfs.h"

static int __init aeration_init(void)
{
	int err;

	err = aeration_queues_init();
	if (err)
		return err;
	err = aeration_watch_init();
	if (err) {
		pr_err("cannot follow CPUs coming and going: error %d\n", err);
		goto out_queues;
	}
	err = aeration_hold_init();
	if (err) {
		pr_err("cannot hear of a restart: error %d\n", err);
		goto out_watch;
	}
	err = aeration_renew_init();
	if (err) {
		pr_err("cannot hear of hibernation: error %d\n", err);
		goto out_hold;
	}
	err = aeration_known_init();
	if (err) {
		pr_err("cannot hear of memory that goes: error %d\n", err);
		goto out_renew;
	}
	aeration_registry_init();
	aeration_request_init(aeration_sysfs_ended);
	aeration_idle_init(aeration_request_squeeze_idle);
	err = aeration_sysfs_start();
	if (err) {
		pr_err("cannot show /sys/kernel/aeration: error %d\n", err);
		goto out_registry;
	}
	return 0;

out_registry:
	aeration_request_exit();
	aeration_idle_exit();
	aeration_again_exit();
	aeration_registry_exit();
	aeration_known_exit();
out_renew:
	aeration_renew_exit();
out_hold:
	aeration_hold_exit();
out_watch:
	aeration_watch_exit();
out_queues:
	aeration_queues_exit();
	return err;
}

static void __exit aeration_exit(void)
{
	aeration_request_exit();
	aeration_idle_exit();
	aeration_again_exit();
	aeration_sysfs_stop();
	aeration_registry_exit();
	aeration_known_exit();
	aeration_renew_exit();
	aeration_hold_exit();
	aeration_watch_exit();
	aeration_queues_exit();
}

module_init(aeration_init);
module_exit(aeration_exit);
MODULE_DESCRIPTION("Memory aeration core: hands free guest memory back to the hypervisor");
MODULE_AUTHOR("The Aeration authors");
MODULE_LICENSE("GPL");
