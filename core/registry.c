// SPDX-License-Identifier: GPL-2.0
/*
 * Which of the devices that backends offer is in use, and its life.
 *
 * registry_lock protects the choice and the life of the source. It is held while
 * the source is stopped, which waits for blocks in flight: a backend that goes
 * away must therefore make its react call return before it calls
 * aerator_shutdown(), and neither react nor restore may take the lock.
 *
 * A source whose hypervisor does not give back what it holds is kept when it is
 * stopped: it answers to who needs memory until all is back, and no other device
 * is used before.
 */
#define pr_fmt(fmt) "aeration: " fmt

#include <linux/bitops.h>
#include <linux/kernel.h>
#include <linux/mutex.h>
#include <linux/string.h>
#include <linux/workqueue.h>
#include <trace/events/aeration.h>
#include "api.h"
#include "hold/hold.h"
#include "params.h"
#include "queues.h"
#include "registry.h"
#include "report/report.h"
#include "source.h"

/* How often to ask whether what stands in the way has gone. */
#define RETRY_MS	1000

/**
 * enum aeration_state - what the core is doing
 * @AERATION_OFF: no backend is in use
 * @AERATION_WAITING: another driver owns the kernel's free page reporting, until it goes
 * @AERATION_RUNNING: surplus memory is being reported
 * @AERATION_FAILED: the device of the chosen backend failed; nothing is
 *	reported until the driver offers it again, by itself or bound anew
 */
enum aeration_state {
	AERATION_OFF,
	AERATION_WAITING,
	AERATION_RUNNING,
	AERATION_FAILED,
};

/**
 * struct registry - what registry_lock protects, but for what is said here
 * @active: the kind in use, or AERATOR_NONE; read without the lock for show
 * @dev: the device of that kind which is in use or waits to be, or NULL
 * @source: what has been started for it, or NULL; read without the lock for show
 * @kept: a source that was stopped and still holds something, or NULL
 * @kept_dev: the device that this was started for
 * @state: what the core is doing; read without the lock for show
 * @capacity: most blocks in a batch of the device in use; read likewise
 * @waits_for: what AERATION_WAITING waits for; constant texts, read likewise
 * @live: between aeration_registry_init() and _exit()
 * @asked: somebody wants to know the choice, even if it stays the same
 * @update: chooses again after a failure; cancelled by aeration_registry_exit()
 * @retry: chooses again while AERATION_WAITING; wakes nobody; cancelled likewise
 */
struct registry {
	enum aerator_kind active;
	struct aerator_dev_info *dev;
	const struct source *source;
	const struct source *kept;
	struct aerator_dev_info *kept_dev;
	enum aeration_state state;
	unsigned int capacity;
	const char *waits_for;
	bool live;
	bool asked;
	struct work_struct update;
	struct delayed_work retry;
};

static struct registry reg = { .active = AERATOR_NONE };
static DEFINE_MUTEX(registry_lock);	/* see above */

static const char *const state_names[] = {
	[AERATION_OFF] = "off",
	[AERATION_WAITING] = "waiting",
	[AERATION_RUNNING] = "running",
	[AERATION_FAILED] = "failed",
};

static void set_state(enum aeration_state state)
{
	if (state == reg.state)
		return;
	trace_aeration_state(state_names[reg.state], state_names[state],
			     aeration_choose_name(reg.active));
	WRITE_ONCE(reg.state, state);
}

/*
 * Why a backend is not in use, in the most telling words there are.
 * Return: length of the text, 0 if the backend is in use.
 */
static int tell_why(const struct choose_facts *f, enum aerator_kind kind,
		    char *buf, size_t size)
{
	const char *why = aeration_choose_against(f, kind);
	bool own = (f->failed | ~f->present) & BIT(kind);
	enum aeration_state state = READ_ONCE(reg.state);
	int len = 0;

	if (kind == READ_ONCE(reg.active) && state == AERATION_RUNNING)
		return aeration_api_in_use(kind, buf, size);
	if (kind == READ_ONCE(reg.active) && state == AERATION_WAITING)
		return scnprintf(buf, size, "waiting: %s", READ_ONCE(reg.waits_for));
	if (own && !aeration_choose_forbids(f, kind))
		len = aeration_api_why(kind, buf, size);
	if (len)
		return len;
	return scnprintf(buf, size, "%s", why ? why : "another backend comes first");
}

static void say_choice(const struct choose_facts *f)
{
	char why[AERATOR_KINDS][AERATION_WHY_SIZE];
	unsigned int kind;

	for (kind = 0; kind < AERATOR_KINDS; kind++)
		tell_why(f, kind, why[kind], AERATION_WHY_SIZE);
	pr_info("backend %s, asked for %s (xen: %s; hyperv: %s; virtio: %s; loop: %s)\n",
		aeration_choose_name(reg.active), aeration_choose_name(f->requested),
		why[AERATOR_XEN], why[AERATOR_HYPERV], why[AERATOR_VIRTIO], why[AERATOR_LOOP]);
}

/* Wait for something to get out of the way, and say so once. */
static void wait_for(const char *what, const char *advice)
{
	if (reg.waits_for != what)
		pr_warn("%s, %s\n", what, advice);
	WRITE_ONCE(reg.waits_for, what);
	set_state(AERATION_WAITING);
	queue_delayed_work(aeration_wq, &reg.retry, msecs_to_jiffies(RETRY_MS));
}

static void stop_active(void)
{
	if (reg.source && !reg.source->stop()) {
		reg.kept = reg.source;
		reg.kept_dev = reg.dev;
	}
	WRITE_ONCE(reg.source, NULL);
}

static bool is_offered(const struct aerator_dev_info *dev)
{
	unsigned int kind;

	for (kind = 0; kind < AERATOR_KINDS; kind++)
		if (aeration_api_device(kind) == dev)
			return true;
	return false;
}

/*
 * See to what is kept: it ends when its device goes, and is started again for the
 * same one.
 * Return: true if nothing is in the way of this device.
 */
static bool part_with_kept(const struct aerator_dev_info *dev)
{
	if (reg.kept && !is_offered(reg.kept_dev))
		reg.kept->end();
	else if (reg.kept && dev != reg.kept_dev && !reg.kept->stop())
		return false;
	reg.kept = NULL;
	reg.kept_dev = NULL;
	return true;
}

/* The device in use is of no use: for its source, too. */
static void fail(struct aerator_dev_info *dev, const char *why)
{
	aerator_say(dev->ops->name, dev, AERATOR_FAILED, why);
}

/*
 * Start the source for the chosen device, or wait until it can be.
 * Return: false if the device is of no use, so that another must be chosen.
 */
static bool start_active(const struct choose_facts *f)
{
	struct aerator_dev_info *dev = reg.dev;
	const struct source *source = &aeration_report_source;
	char why[AERATION_WHY_SIZE];
	int err;

	if (dev->ops->residency == AERATOR_DURABLE)
		source = &aeration_hold_source;
	WRITE_ONCE(reg.capacity, dev->capacity);
	if (!part_with_kept(dev)) {
		wait_for("another backend holds memory that its hypervisor has not given back",
			 "and gets it back when there is memory on the host");
		return true;
	}
	err = source->start(dev, fail);
	if (err == -EBUSY) {
		wait_for("free page reporting belongs to another driver",
			 f->on_hyperv ? "most likely hv_balloon: unload or unbind it" :
			 "most likely virtio_balloon: unload or unbind it");
		return true;
	}
	WRITE_ONCE(reg.waits_for, NULL);
	if (err) {
		scnprintf(why, sizeof(why), "it could not be started: error %d", err);
		pr_err("%s: %s\n", dev->ops->name, why);
		fail(dev, why);
		return false;
	}
	WRITE_ONCE(reg.source, source);
	set_state(AERATION_RUNNING);
	return true;
}

static void use_none(const struct choose_facts *f)
{
	part_with_kept(NULL);
	WRITE_ONCE(reg.capacity, 0);
	WRITE_ONCE(reg.waits_for, NULL);
	set_state(aeration_choose_failed(f) ? AERATION_FAILED : AERATION_OFF);
}

/* Bring what is in use in line with what should be. */
static void update_locked(void)
{
	struct aerator_dev_info *dev;
	enum aerator_kind before = reg.active, kind;
	enum aeration_state was = reg.state;
	struct choose_facts f;
	bool settled;

	do {
		settled = true;
		aeration_api_facts(&f);
		kind = aeration_choose_backend(&f);
		dev = kind == AERATOR_NONE ? NULL : aeration_api_device(kind);
		if (dev && dev == reg.dev && reg.source)
			break;
		stop_active();
		WRITE_ONCE(reg.active, kind);
		reg.dev = dev;
		if (dev)
			settled = start_active(&f);
		else
			use_none(&f);
	} while (!settled);
	if (reg.active != before || reg.state != was || reg.asked)
		say_choice(&f);
	reg.asked = false;
}

static void update(void)
{
	mutex_lock(&registry_lock);
	if (reg.live)
		update_locked();
	mutex_unlock(&registry_lock);
}

static void update_fn(struct work_struct *work)
{
	update();
}

static void on_failed(void)
{
	queue_work(aeration_wq, &reg.update);
}

static const struct api_listener listener = {
	.changed = update,
	.failed = on_failed,
};

/*
 * Choose again, because another backend may have been asked for. Says in the log
 * what came of it, and asks for the backend's module if that is what is missing.
 */
static void ask(void)
{
	mutex_lock(&registry_lock);
	if (reg.live) {
		reg.asked = true;
		update_locked();
		/* What it waits for may depend on whether it was named. */
		if (reg.source && reg.dev->ops->ready)
			reg.dev->ops->ready(reg.dev, 0);
		aeration_api_request();
	}
	mutex_unlock(&registry_lock);
}

static void on_param(enum aeration_param what)
{
	if (what == AERATION_PARAM_BACKEND) {
		ask();
		return;
	}
	mutex_lock(&registry_lock);
	if (reg.live && reg.source)
		reg.source->retune();
	mutex_unlock(&registry_lock);
}

/**
 * aeration_registry_flush - let go of all surplus now
 * @again: also of what was let go of before, if the hypervisor may have backed it since
 * @dev: if this is the device in use, whose host waits for it; NULL: whichever is
 * @cancelled: is it not wanted any more?
 *
 * Context: process context, no lock of the core held; sleeps until it is done.
 * Return: 0, -EINTR if it was cancelled, -ENODEV if no such backend is running, or an
 *	error of the source.
 */
int aeration_registry_flush(bool again, const struct aerator_dev_info *dev,
			    bool (*cancelled)(void))
{
	const struct source *source;

	mutex_lock(&registry_lock);
	source = !dev || dev == reg.dev ? reg.source : NULL;
	mutex_unlock(&registry_lock);
	return source ? source->flush(again, !!dev, cancelled) : -ENODEV;
}

/**
 * aeration_registry_restore - get back everything that is held, now
 * @cancelled: is it not wanted any more?
 *
 * Context: process context, no lock of the core held; sleeps until it is done.
 * Return: 0, -EINTR if it was cancelled, -ENODEV if no backend is running and none holds
 *	anything, -EOPNOTSUPP if it never holds anything, or an error of the source.
 */
int aeration_registry_restore(bool (*cancelled)(void))
{
	const struct source *source;
	int err = -ENODEV;

	mutex_lock(&registry_lock);
	source = reg.source ?: reg.kept;
	if (source)
		err = source->restore ? source->restore(cancelled) : -EOPNOTSUPP;
	mutex_unlock(&registry_lock);
	return err;
}

/**
 * aeration_registry_order - how small a block may be
 *
 * Context: any.
 * Return: order of the smallest block, 0 if no backend is running.
 */
unsigned int aeration_registry_order(void)
{
	const struct source *source = READ_ONCE(reg.source);

	return source ? source->order() : 0;
}

/**
 * aeration_registry_state - what is the core doing?
 *
 * Context: any.
 * Return: one word.
 */
const char *aeration_registry_state(void)
{
	return state_names[READ_ONCE(reg.state)];
}

/**
 * aeration_registry_backend - which backend is in use?
 *
 * Context: any.
 * Return: its name, or "none".
 */
const char *aeration_registry_backend(void)
{
	return aeration_choose_name(READ_ONCE(reg.active));
}

/**
 * aeration_registry_capacity - most blocks in a batch of the backend in use
 *
 * Context: any.
 * Return: blocks, 0 if no backend is in use.
 */
unsigned int aeration_registry_capacity(void)
{
	return READ_ONCE(reg.capacity);
}

/**
 * aeration_registry_why - why a backend is not in use
 * @kind: a backend
 * @buf: where to put the text
 * @size: bytes at @buf
 *
 * Never waits for a device. What it says may be about to change.
 *
 * Context: process context.
 * Return: length of the text in bytes without the closing zero.
 */
int aeration_registry_why(enum aerator_kind kind, char *buf, size_t size)
{
	struct choose_facts f;

	aeration_api_facts(&f);
	return tell_why(&f, kind, buf, size);
}

/**
 * aeration_registry_init - begin to take in backends
 *
 * Context: process context, once, after aeration_watch_init().
 */
void aeration_registry_init(void)
{
	struct choose_facts f;

	INIT_WORK(&reg.update, update_fn);
	INIT_DEFERRABLE_WORK(&reg.retry, update_fn);
	aeration_api_facts(&f);
	aeration_param_hold_by_default(aeration_choose_held_percent(&f));
	reg.live = true;
	aeration_api_listen(&listener);
	aeration_param_listen(on_param);
	ask();
}

/**
 * aeration_registry_exit - end; every device has been shut down
 *
 * Context: process context; may sleep.
 */
void aeration_registry_exit(void)
{
	mutex_lock(&registry_lock);
	reg.live = false;
	mutex_unlock(&registry_lock);
	aeration_api_listen(NULL);
	cancel_work_sync(&reg.update);
	cancel_delayed_work_sync(&reg.retry);
}
