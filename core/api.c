// SPDX-License-Identifier: GPL-2.0
/*
 * What backends call, but for what belongs to one source: which devices there
 * are, and one state and one reason for each kind of backend.
 *
 * A failure is noticed inside react, where no source can be stopped: it is noted here,
 * and whoever listens does the rest.
 *
 * Locks: api.lock protects the slots and their texts; nothing is called under it.
 * A device is read without it, for show.
 */
#define pr_fmt(fmt) "aeration: " fmt

#include <linux/bitops.h>
#include <linux/export.h>
#include <linux/kernel.h>
#include <linux/kmod.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/workqueue.h>
#include "api.h"
#include "batch.h"
#include "pace/watch.h"
#include "params.h"
#include "queues.h"

/**
 * struct slot - one of the known backends
 * @dev: its device, from aerator_startup() to aerator_shutdown(), or NULL
 * @status: what it has said of that, or of having none; read without the lock, too
 * @why: the reason, empty if there is none
 */
struct slot {
	struct aerator_dev_info *dev;
	enum aerator_status status;
	char why[AERATION_WHY_SIZE];
};

/**
 * struct api - what is known of the backends
 * @lock: protects what follows
 * @slot: the backends
 * @listener: who hears of devices; NULL until the core is set up, and when it is
 *	about to go
 */
static struct api {
	spinlock_t lock;	/* see above */
	struct slot slot[AERATOR_KINDS];
	const struct api_listener *listener;
} api = {
	.lock = __SPIN_LOCK_UNLOCKED(api.lock),
};

/**
 * aeration_api_device - the device of a backend
 * @kind: the backend
 *
 * Context: any.
 * Return: its device or NULL.
 */
struct aerator_dev_info *aeration_api_device(enum aerator_kind kind)
{
	return READ_ONCE(api.slot[kind].dev);
}

/**
 * aeration_api_facts - all there is to know for a choice
 * @f: set to that
 *
 * Context: any.
 */
void aeration_api_facts(struct choose_facts *f)
{
	unsigned int kind;

	aeration_choose_gather(f);
	f->requested = aeration_param_backend();
	f->present = 0;
	f->failed = 0;
	for (kind = 0; kind < AERATOR_KINDS; kind++) {
		if (READ_ONCE(api.slot[kind].dev))
			f->present |= BIT(kind);
		if (READ_ONCE(api.slot[kind].status) == AERATOR_FAILED)
			f->failed |= BIT(kind);
	}
}

/*
 * A work item, because modprobe may be waiting for this very module, or for a
 * parameter of it to be written. Nobody waits for modprobe either: the backend
 * calls aerator_startup() when it is there, and a request that fails leaves
 * everything as it is.
 */
static void request_fn(struct work_struct *work)
{
	struct choose_facts f;
	enum aerator_kind kind;

	aeration_api_facts(&f);
	kind = aeration_choose_absent(&f);
	if (kind != AERATOR_NONE)
		request_module_nowait("aeration_%s",
				      aeration_choose_name(kind));
}

static DECLARE_WORK(request, request_fn);

/**
 * aeration_api_request - ask for a backend's module, if that is all that is missing
 *
 * Context: any, until nobody listens any more.
 */
void aeration_api_request(void)
{
	queue_work(aeration_wq, &request);
}

/**
 * aeration_api_listen - hear of devices, or hear no more
 * @who: a constant; NULL: devices are refused from now on, and no module is asked for
 *
 * Context: process context; may sleep.
 */
void aeration_api_listen(const struct api_listener *who)
{
	spin_lock(&api.lock);
	WRITE_ONCE(api.listener, who);
	spin_unlock(&api.lock);
	if (!who)
		cancel_work_sync(&request);
}

static int kind_of(const char *name)
{
	int kind = aeration_choose_parse(name);

	return kind >= 0 && kind < AERATOR_KINDS ? kind : -EINVAL;
}

/*
 * Note what is said of a device, or of there being none, under api.lock. What failed stays
 * so until it is taken back.
 * Return: whether that is news: false, too, if it is not about what there is.
 */
static bool note(struct slot *slot, const struct aerator_dev_info *dev,
		 enum aerator_status status, const char *why)
{
	lockdep_assert_held(&api.lock);
	if (slot->dev != dev || (dev && slot->status == AERATOR_FAILED) ||
	    (slot->status == status &&
	     !strncmp(slot->why, why, sizeof(slot->why) - 1)))
		return false;
	WRITE_ONCE(slot->status, status);
	strscpy(slot->why, why, sizeof(slot->why));
	return true;
}

/**
 * aeration_api_in_use - say that a backend is in use, and what its device waits for
 * @kind: the backend
 * @buf: where to put the text
 * @size: bytes at @buf
 *
 * Context: process context.
 * Return: length of the text in bytes without the closing zero.
 */
int aeration_api_in_use(enum aerator_kind kind, char *buf, size_t size)
{
	const struct slot *slot = &api.slot[kind];
	bool waits;
	int len;

	spin_lock(&api.lock);
	waits = slot->status == AERATOR_WAITS;
	len = scnprintf(buf, size, "in use%s%s",
			waits ? "; nothing goes at present: " : "",
			waits ? slot->why : "");
	spin_unlock(&api.lock);
	return len;
}

/**
 * aeration_api_why - what a backend says of its device, or of having none
 * @kind: a backend
 * @buf: where to put the text
 * @size: bytes at @buf
 *
 * Context: process context.
 * Return: length of the text in bytes without the closing zero; 0 if it has said
 *	nothing.
 */
int aeration_api_why(enum aerator_kind kind, char *buf, size_t size)
{
	int len;

	spin_lock(&api.lock);
	len = scnprintf(buf, size, "%s", api.slot[kind].why);
	spin_unlock(&api.lock);
	return len;
}

static int check_dev(const struct aerator_dev_info *dev)
{
	unsigned int most = AERATOR_CAPACITY;

	if (!dev->ops || !dev->ops->name || !dev->ops->react ||
	    kind_of(dev->ops->name) < 0) {
		pr_err("a backend without react or with an unknown name was refused\n");
		return -EINVAL;
	}
	if (dev->ops->residency == AERATOR_DURABLE) {
		if (!dev->ops->restore) {
			pr_err("%s: a durable backend without restore was refused\n",
			       dev->ops->name);
			return -EINVAL;
		}
		most = AERATOR_DURABLE_CAPACITY;
	}
	if (dev->capacity > most) {
		pr_err("%s: a capacity of %u blocks is more than the %u of a batch\n",
		       dev->ops->name, dev->capacity, most);
		return -EINVAL;
	}
	return 0;
}

/* Another device, or none: nothing has been said of it. Under api.lock. */
static void set_device(struct slot *slot, struct aerator_dev_info *dev)
{
	lockdep_assert_held(&api.lock);
	WRITE_ONCE(slot->dev, dev);
	WRITE_ONCE(slot->status, AERATOR_WELL);
	slot->why[0] = 0;
}

/* Put a device into its slot. Return: who hears of it, or an error. */
static const struct api_listener *put_device(struct slot *slot,
					     struct aerator_dev_info *dev)
{
	const struct api_listener *who;

	spin_lock(&api.lock);
	who = api.listener ?: ERR_PTR(-ENODEV);
	if (slot->dev)
		who = ERR_PTR(-EBUSY);
	if (!IS_ERR(who))
		set_device(slot, dev);
	spin_unlock(&api.lock);
	return who;
}

/**
 * aerator_startup - offer a backend's device to the core
 * @dev: the device; belongs to the core until aerator_shutdown()
 *
 * The core uses it at once, later or never, as aeration.backend= and the host
 * have it. The react call may come before this returns.
 *
 * Context: process context; may sleep.
 * Return: 0, -EINVAL for a bad device or capacity, -EPERM if the backend may not
 *	run on this host, -EBUSY if it has a device already, -ENOMEM, or -ENODEV
 *	if the core could not be set up. Nothing is kept on an error.
 */
int aerator_startup(struct aerator_dev_info *dev)
{
	const struct api_listener *who;
	int err = check_dev(dev);

	if (err)
		return err;
	err = aerator_permitted(dev->ops->name);
	if (err)
		return err;
	if (!dev->capacity)
		dev->capacity = AERATOR_CAPACITY;
	dev->limit = ULONG_MAX;
	dev->batch = kvzalloc(struct_size(dev->batch, block, dev->capacity),
			      GFP_KERNEL);
	if (!dev->batch)
		return -ENOMEM;
	who = put_device(&api.slot[kind_of(dev->ops->name)], dev);
	if (!IS_ERR(who)) {
		who->changed();
		return 0;
	}
	kvfree(dev->batch);
	dev->batch = NULL;
	if (who == ERR_PTR(-EBUSY))
		pr_err("%s: there is a device already, and one can be used\n",
		       dev->ops->name);
	return PTR_ERR(who);
}
EXPORT_SYMBOL_GPL(aerator_startup);

/**
 * aerator_shutdown - take a device back from the core
 * @dev: a device that aerator_startup() accepted
 *
 * On return no block is in flight, and neither react nor restore is called
 * again. The caller has made sure before that a call under way returns. A durable
 * device still does as it is told until then: what is held is restored.
 *
 * Context: process context; may sleep.
 */
void aerator_shutdown(struct aerator_dev_info *dev)
{
	struct slot *slot = &api.slot[kind_of(dev->ops->name)];
	const struct api_listener *who;

	spin_lock(&api.lock);
	set_device(slot, NULL);
	who = api.listener;
	spin_unlock(&api.lock);
	/* The module of the core outlives its backends, and so does who listens. */
	if (who)
		who->changed();
	kvfree(dev->batch);
	dev->batch = NULL;
}
EXPORT_SYMBOL_GPL(aerator_shutdown);

/**
 * aerator_permitted - may a backend run on this host at all?
 * @name: name of the backend
 *
 * To be asked before touching a device: one that belongs to an outer hypervisor
 * must be left alone.
 *
 * Context: process context; may sleep.
 * Return: 0, -EINVAL for an unknown name, or -EPERM with the reason logged.
 */
int aerator_permitted(const char *name)
{
	int kind = kind_of(name);
	struct choose_facts f;
	const char *why;

	if (kind < 0)
		return kind;
	aeration_api_facts(&f);
	why = aeration_choose_forbids(&f, kind);
	if (!why)
		return 0;
	/* One that is built in comes along everywhere, and need not alarm. */
	if (f.requested == kind)
		pr_warn("%s refused: %s\n", name, why);
	else
		pr_info("%s refused: %s\n", name, why);
	return -EPERM;
}
EXPORT_SYMBOL_GPL(aerator_permitted);

/**
 * aerator_named - was a backend asked for by its name?
 * @name: name of the backend
 *
 * Context: any.
 * Return: true if so; false for auto, too.
 */
bool aerator_named(const char *name)
{
	return (int)aeration_param_backend() == kind_of(name);
}
EXPORT_SYMBOL_GPL(aerator_named);

/**
 * aerator_say - say how a backend, or its device, is
 * @name: name of the backend
 * @dev: the device that the core has of it; NULL: it has none. If that is not so
 *	nothing happens: what has gone, or has not come yet, is not asked
 * @status: how it is. A device that has failed stays so until aerator_shutdown(); only
 *	a device waits or fails
 * @why: the reason in words, copied; NULL for AERATOR_WELL
 *
 * What a device waits for, and that it waits no more, is said in the log.
 *
 * Context: process context, of a device before its aerator_shutdown(); does not sleep.
 */
void aerator_say(const char *name, const struct aerator_dev_info *dev,
		 enum aerator_status status, const char *why)
{
	const struct api_listener *who = READ_ONCE(api.listener);
	enum aerator_status was;
	int kind = kind_of(name);
	bool news;

	if (kind < 0 || WARN_ON_ONCE(!dev && status >= AERATOR_WAITS))
		return;
	spin_lock(&api.lock);
	was = api.slot[kind].status;
	news = note(&api.slot[kind], dev, status, why ?: "");
	spin_unlock(&api.lock);
	if (!news)
		return;
	if (status == AERATOR_WAITS)
		pr_info("%s: nothing goes at present: %s\n", name, why);
	else if (was == AERATOR_WAITS && status == AERATOR_WELL)
		pr_info("%s: memory can go\n", name);
	/* There may be another one of its kind, which is well. */
	if (status == AERATOR_FAILED && who)
		who->failed();
}
EXPORT_SYMBOL_GPL(aerator_say);

/**
 * aerator_note_timeout - count a batch that got no answer in time
 * @dev: the device
 *
 * Context: any.
 */
void aerator_note_timeout(struct aerator_dev_info *dev)
{
	atomic64_inc(&aeration_stats.timeouts);
}
EXPORT_SYMBOL_GPL(aerator_note_timeout);

/**
 * aerator_note_balloon - take note of free memory that the host takes by other means
 * @pages: pages that a balloon has just taken, no more than a block of 2 MiB at a time;
 *	what it gives back is free memory like any other
 *
 * It is neither needed by the guest nor surplus.
 *
 * Context: any but hard interrupts.
 */
void aerator_note_balloon(unsigned long pages)
{
	aeration_watch_shift(pages);
}
EXPORT_SYMBOL_GPL(aerator_note_balloon);
