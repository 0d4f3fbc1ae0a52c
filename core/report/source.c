// SPDX-License-Identifier: GPL-2.0
/*
 * The life of the report source, and who runs out of memory; see report.h.
 */
#include <linux/oom.h>
#include "../params.h"
#include "report.h"

/* The guest has run out of memory, and some of it may be with the hypervisor. */
static int on_oom(struct notifier_block *nb, unsigned long unused, void *freed)
{
	*(unsigned long *)freed += aeration_pass_get_back(true);
	return NOTIFY_OK;
}

static struct notifier_block oom = { .notifier_call = on_oom };

/* Begin to report for a device. Return: 0, or -EBUSY if reporting has an owner. */
static int report_start(struct aerator_dev_info *dev,
			void (*fail)(struct aerator_dev_info *dev,
				     const char *why))
{
	int err;

	aeration_grant_start(dev->asked_only);
	err = aeration_pass_start(dev, &aeration_grant_listener);
	if (err)
		return err;
	err = register_oom_notifier(&oom);
	if (err) {
		aeration_pass_stop();
		return err;
	}
	aeration_watch_start(&aeration_report_watch_ops,
			     aeration_param_reserve_pages(),
			     aeration_pass_order());
	aeration_flush_open(true);
	return 0;
}

/* End reporting, and wait for react. */
static bool report_stop(void)
{
	aeration_watch_stop();
	aeration_pass_stop();
	/* A refresh may have waited for the same pass. */
	aeration_flush_open(false);
	unregister_oom_notifier(&oom);
	return true;
}

static void report_retune(void)
{
	aeration_grant_retune();
	aeration_watch_retune(aeration_param_reserve_pages(),
			      aeration_pass_order());
}

const struct source aeration_report_source = {
	.start = report_start,
	.stop = report_stop,
	.retune = report_retune,
	.flush = aeration_report_flush,
	.order = aeration_pass_order,
};
