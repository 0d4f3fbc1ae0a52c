// SPDX-License-Identifier: GPL-2.0
/*
 * Hear that the host may have had to back anew what was reported: after hibernation,
 * when another machine has read the image, and when a snapshot of the guest was
 * started, of which the VM generation ID tells. Then it is reported again.
 */
#define pr_fmt(fmt) "aeration: " fmt

#include <linux/export.h>
#include <linux/jiffies.h>
#include <linux/notifier.h>
#include <linux/printk.h>
#include <linux/random.h>
#include <linux/suspend.h>
#include "../queues.h"
#include "report.h"

/* What happened last; a constant text. */
static const char *reason;

static void renew_fn(struct work_struct *work)
{
	if (aeration_report_refresh())
		pr_info_ratelimited("%s: what was reported before is reported again\n",
				    READ_ONCE(reason));
}

static DECLARE_DELAYED_WORK(renew, renew_fn);

/*
 * What one guest hears of, hundreds of the same host may hear of at this moment: copies
 * of one, or all that have moved. Each waits for a time of its own. A copy has other
 * random numbers by now, see add_vmfork_randomness(); and if a wait was under way when it
 * was made, all copies have that: it begins anew.
 */
static int renew_for(const char *what)
{
	WRITE_ONCE(reason, what);
	mod_delayed_work(aeration_request_wq, &renew,
			 msecs_to_jiffies(aeration_manners_delay_ms()));
	return NOTIFY_DONE;
}

/* Called in the guest that was restored, and in the one that could not hibernate. */
static int on_sleep(struct notifier_block *nb, unsigned long event, void *unused)
{
	return event == PM_POST_HIBERNATION ? renew_for("back from hibernation") :
					      NOTIFY_DONE;
}

static int on_fork(struct notifier_block *nb, unsigned long unused, void *none)
{
	return renew_for("a copy of a virtual machine");
}

static struct notifier_block sleep_nb = { .notifier_call = on_sleep };
static struct notifier_block fork_nb = { .notifier_call = on_fork };

/**
 * aerator_renew - have what was reported before reported again
 *
 * For a backend whose host has heard of it in a way that need not have it go.
 *
 * Context: any.
 */
void aerator_renew(void)
{
	renew_for("the host is done with hints");
}
EXPORT_SYMBOL_GPL(aerator_renew);

/**
 * aeration_renew_init - listen
 *
 * Context: process context, once; may sleep.
 * Return: 0 or a negative error.
 */
int aeration_renew_init(void)
{
	int err = register_pm_notifier(&sleep_nb);

	if (err)
		return err;
	err = register_random_vmfork_notifier(&fork_nb);
	if (err) {
		unregister_pm_notifier(&sleep_nb);
		cancel_delayed_work_sync(&renew);
	}
	return err;
}

/**
 * aeration_renew_exit - listen no more
 *
 * Context: process context, when the core is unloaded; may sleep.
 */
void aeration_renew_exit(void)
{
	unregister_random_vmfork_notifier(&fork_nb);
	unregister_pm_notifier(&sleep_nb);
	cancel_delayed_work_sync(&renew);
}
