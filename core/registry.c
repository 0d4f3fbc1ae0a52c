// SPDX-License-Identifier: GPL-2.0
/*
 * The backends that have started up, and which one of them is in use.
 *
 * registry_lock protects the slots, the choice and the life of the source. It is
 * held while the source is stopped, which waits for blocks in flight: a backend
 * that goes away must therefore make its react call return before it calls
 * aerator_shutdown(), and neither react nor restore may take the lock.
 *
 * A failure is noticed inside react, where the source cannot be stopped. It is
 * noted in reg.failed, an atomic bit mask, and reg.update does the rest.
 */
#define pr_fmt(fmt) "aeration: " fmt

#include <linux/bitops.h>
#include <linux/cc_platform.h>
#include <linux/export.h>
#include <linux/kernel.h>
#include <linux/kmod.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/string.h>
#include <linux/workqueue.h>
#include <trace/events/aeration.h>
#include <xen/xen.h>
#if IS_ENABLED(CONFIG_X86)
#include <asm/hypervisor.h>
#endif
#include "core.h"

/* Room for one reason, in bytes with the closing zero. */
#define WHY_SIZE	192

/* How often to ask whether the other owner of page reporting has let go. */
#define RETRY_MS	1000

/**
 * struct backend_slot - one of the known backends
 * @dev: its device, from aerator_startup() to aerator_shutdown(), or NULL
 * @why: why it has no device or why the device failed; empty if not known
 */
struct backend_slot {
	struct aerator_dev_info *dev;
	char why[WHY_SIZE];
};

/**
 * struct registry - what registry_lock protects, but for what is said here
 * @slot: the backends; the text of each has a lock of its own
 * @failed: bit k: the device of kind k has failed; atomic, set without the lock
 * @active: the kind in use, or AERATOR_NONE; read without the lock for show
 * @source: what has been started for it, or NULL; read without the lock for show
 * @state: what the core is doing; read without the lock for show
 * @capacity: most blocks in a batch of the device in use; read likewise
 * @live: between aeration_registry_init() and aeration_registry_exit()
 * @busy_said: the log has been told that page reporting has another owner
 * @asked: somebody wants to know the choice, even if it stays the same
 * @update: chooses again after a failure; cancelled by aeration_registry_exit()
 * @retry: chooses again while AERATION_WAITING; deferrable, so that it wakes
 *	nobody; cancelled by aeration_registry_exit()
 * @request: asks for the module of a backend that is missing; cancelled by
 *	aeration_registry_exit()
 */
struct registry {
	struct backend_slot slot[AERATOR_KINDS];
	unsigned long failed;
	enum aerator_kind active;
	const struct source *source;
	enum aeration_state state;
	unsigned int capacity;
	bool live;
	bool busy_said;
	bool asked;
	struct work_struct update;
	struct delayed_work retry;
	struct work_struct request;
};

static DEFINE_MUTEX(registry_lock);
static DEFINE_SPINLOCK(why_lock);	/* protects the text of every slot's why */
static struct registry reg = { .active = AERATOR_NONE };

static const char *const state_names[] = {
	[AERATION_OFF] = "off",
	[AERATION_WAITING] = "waiting",
	[AERATION_RUNNING] = "running",
	[AERATION_FAILED] = "failed",
};

static bool host_is_hyperv(void)
{
#if IS_ENABLED(CONFIG_X86)
	return hypervisor_is_type(X86_HYPER_MS_HYPERV);
#else
	return false;
#endif
}

static void gather_facts(struct choose_facts *f)
{
	unsigned int kind;

	f->requested = aeration_param_backend();
	f->on_xen = xen_domain();
	f->dom0 = xen_initial_domain();
	f->on_hyperv = host_is_hyperv();
	f->confidential = cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT);
	f->failed = READ_ONCE(reg.failed);
	f->present = 0;
	for (kind = 0; kind < AERATOR_KINDS; kind++)
		if (READ_ONCE(reg.slot[kind].dev))
			f->present |= BIT(kind);
}

static void set_why(enum aerator_kind kind, const char *why)
{
	spin_lock(&why_lock);
	strscpy(reg.slot[kind].why, why ? why : "", WHY_SIZE);
	spin_unlock(&why_lock);
}

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
	int len;

	if (kind == READ_ONCE(reg.active) && state == AERATION_RUNNING)
		return scnprintf(buf, size, "in use");
	if (kind == READ_ONCE(reg.active) && state == AERATION_WAITING)
		return scnprintf(buf, size,
				 "waiting: another driver owns free page reporting");
	spin_lock(&why_lock);
	if (own && reg.slot[kind].why[0] && !aeration_choose_forbids(f, kind))
		why = reg.slot[kind].why;
	len = scnprintf(buf, size, "%s", why ? why : "another backend comes first");
	spin_unlock(&why_lock);
	return len;
}

static void say_choice(const struct choose_facts *f)
{
	char why[AERATOR_KINDS][WHY_SIZE];
	unsigned int kind;

	for (kind = 0; kind < AERATOR_KINDS; kind++)
		tell_why(f, kind, why[kind], WHY_SIZE);
	pr_info("backend %s, asked for %s (xen: %s; hyperv: %s; virtio: %s; loop: %s)\n",
		aeration_choose_name(reg.active), aeration_choose_name(f->requested),
		why[AERATOR_XEN], why[AERATOR_HYPERV], why[AERATOR_VIRTIO],
		why[AERATOR_LOOP]);
}

static void stop_active(void)
{
	if (!reg.source)
		return;
	reg.source->stop();
	WRITE_ONCE(reg.source, NULL);
}

static void wait_for_owner(void)
{
	set_state(AERATION_WAITING);
	if (!reg.busy_said)
		pr_warn("free page reporting belongs to another driver, most likely %s: unload or unbind it; aeration takes over when it lets go\n",
			host_is_hyperv() ? "hv_balloon" : "virtio_balloon");
	reg.busy_said = true;
	queue_delayed_work(aeration_wq, &reg.retry,
			   msecs_to_jiffies(RETRY_MS));
}

/*
 * Start the source for the chosen device, or wait for its present owner.
 * Return: false if the device is of no use, so that another must be chosen.
 */
static bool start_active(void)
{
	struct aerator_dev_info *dev = reg.slot[reg.active].dev;
	const struct source *source = &aeration_report_source;
	char why[WHY_SIZE];
	int err;

	if (dev->ops->residency == AERATOR_DURABLE)
		source = &aeration_hold_source;
	WRITE_ONCE(reg.capacity, dev->capacity);
	err = source->start(dev);
	if (err == -EBUSY) {
		wait_for_owner();
		return true;
	}
	reg.busy_said = false;
	if (err) {
		scnprintf(why, sizeof(why), "it could not be started: error %d",
			  err);
		pr_err("%s: %s\n", dev->ops->name, why);
		set_why(reg.active, why);
		set_bit(reg.active, &reg.failed);
		return false;
	}
	WRITE_ONCE(reg.source, source);
	set_state(AERATION_RUNNING);
	return true;
}

static void use_none(const struct choose_facts *f)
{
	WRITE_ONCE(reg.capacity, 0);
	reg.busy_said = false;
	set_state(aeration_choose_failed(f) ? AERATION_FAILED : AERATION_OFF);
}

/* Bring what is in use in line with what should be. */
static void update_locked(void)
{
	enum aerator_kind before = reg.active, kind;
	enum aeration_state was = reg.state;
	struct choose_facts f;
	bool settled = true;

	do {
		gather_facts(&f);
		kind = aeration_choose_backend(&f);
		if (kind == reg.active && reg.source)
			break;
		stop_active();
		WRITE_ONCE(reg.active, kind);
		if (kind == AERATOR_NONE)
			use_none(&f);
		else
			settled = start_active();
	} while (!settled);
	if (reg.active != before || reg.state != was || reg.asked)
		say_choice(&f);
	reg.asked = false;
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

	gather_facts(&f);
	kind = aeration_choose_absent(&f);
	if (kind != AERATOR_NONE)
		request_module_nowait("aeration_%s",
				      aeration_choose_name(kind));
}

static void update_fn(struct work_struct *work)
{
	mutex_lock(&registry_lock);
	if (reg.live)
		update_locked();
	mutex_unlock(&registry_lock);
}

/**
 * aeration_registry_ask - choose again, because another backend may have been asked for
 *
 * Says in the log what came of it, and asks for the backend's module if that is
 * what is missing. Before aeration_registry_init() nothing happens: it does the same.
 *
 * Context: process context, no lock of the core held; may sleep until blocks
 *	in flight are back.
 */
void aeration_registry_ask(void)
{
	if (!aeration_registry_is_live())
		return;
	mutex_lock(&registry_lock);
	if (reg.live) {
		reg.asked = true;
		update_locked();
		queue_work(aeration_wq, &reg.request);
	}
	mutex_unlock(&registry_lock);
}

/**
 * aeration_registry_retune - have the running source take over changed parameters
 *
 * Context: process context, no lock of the core held; may sleep.
 */
void aeration_registry_retune(void)
{
	mutex_lock(&registry_lock);
	if (reg.live && reg.source)
		reg.source->retune();
	mutex_unlock(&registry_lock);
}

/**
 * aeration_registry_flush - let go of all surplus now
 *
 * Context: process context, no lock of the core held; sleeps until it is done.
 * Return: 0, -ENODEV if no backend is running, or an error of the source.
 */
int aeration_registry_flush(void)
{
	int err = -ENODEV;

	if (mutex_lock_interruptible(&registry_lock))
		return -ERESTARTSYS;
	if (reg.source)
		err = reg.source->flush();
	mutex_unlock(&registry_lock);
	return err;
}

/**
 * aeration_registry_restore - get back everything that is held, now
 *
 * Context: process context, no lock of the core held; sleeps until it is done.
 * Return: 0, -ENODEV if no backend is running, -EOPNOTSUPP if it never holds
 *	anything, or an error of the source.
 */
int aeration_registry_restore(void)
{
	int err = -ENODEV;

	if (mutex_lock_interruptible(&registry_lock))
		return -ERESTARTSYS;
	if (reg.source)
		err = reg.source->restore ? reg.source->restore() : -EOPNOTSUPP;
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
 * aeration_registry_is_live - is the core set up?
 *
 * Context: any.
 * Return: true between aeration_registry_init() and aeration_registry_exit().
 */
bool aeration_registry_is_live(void)
{
	return READ_ONCE(reg.live);
}

/**
 * aeration_registry_state - what is the core doing?
 *
 * Context: any.
 * Return: the state.
 */
enum aeration_state aeration_registry_state(void)
{
	return READ_ONCE(reg.state);
}

/**
 * aeration_registry_state_name - what a state is called
 * @state: the state
 *
 * Return: one word.
 */
const char *aeration_registry_state_name(enum aeration_state state)
{
	return state_names[state];
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

	gather_facts(&f);
	return tell_why(&f, kind, buf, size);
}

static int kind_of(const char *name)
{
	int kind = aeration_choose_parse(name);

	return kind >= 0 && kind < AERATOR_KINDS ? kind : -EINVAL;
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
	struct aerator_batch *batch;
	int kind, err = check_dev(dev);

	if (err)
		return err;
	err = aerator_permitted(dev->ops->name);
	if (err)
		return err;
	kind = kind_of(dev->ops->name);
	if (!dev->capacity)
		dev->capacity = AERATOR_CAPACITY;
	batch = kvzalloc(struct_size(batch, block, dev->capacity), GFP_KERNEL);
	if (!batch)
		return -ENOMEM;

	mutex_lock(&registry_lock);
	err = -ENODEV;
	if (!reg.live)
		goto out_unlock;
	err = -EBUSY;
	if (reg.slot[kind].dev)
		goto out_unlock;
	dev->batch = batch;
	WRITE_ONCE(reg.slot[kind].dev, dev);
	clear_bit(kind, &reg.failed);
	set_why(kind, NULL);
	update_locked();
	mutex_unlock(&registry_lock);
	return 0;

out_unlock:
	mutex_unlock(&registry_lock);
	kvfree(batch);
	if (err == -EBUSY)
		pr_err("%s: there is a device already, and one can be used\n",
		       dev->ops->name);
	return err;
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
	int kind = kind_of(dev->ops->name);

	mutex_lock(&registry_lock);
	WRITE_ONCE(reg.slot[kind].dev, NULL);
	update_locked();
	/* Only now can react not note a failure any more. */
	clear_bit(kind, &reg.failed);
	set_why(kind, NULL);
	update_locked();
	mutex_unlock(&registry_lock);
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
	gather_facts(&f);
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
 * aerator_decline - say why a backend has no device to offer
 * @name: name of the backend
 * @why: the reason, copied; NULL takes back an earlier one
 *
 * Context: process context.
 */
void aerator_decline(const char *name, const char *why)
{
	int kind = kind_of(name);

	if (kind >= 0)
		set_why(kind, why);
}
EXPORT_SYMBOL_GPL(aerator_decline);

/**
 * aerator_fail - say that a device is of no use any more
 * @dev: a started device; its react returns -ENODEV from now on. For one that has
 *	not been started nothing happens
 * @why: the reason, copied
 *
 * Context: process context, before aerator_shutdown().
 */
void aerator_fail(struct aerator_dev_info *dev, const char *why)
{
	int kind = kind_of(dev->ops->name);

	/* There may be another one of its kind, which is well. */
	if (READ_ONCE(reg.slot[kind].dev) != dev)
		return;
	set_why(kind, why);
	set_bit(kind, &reg.failed);
	queue_work(aeration_wq, &reg.update);
}
EXPORT_SYMBOL_GPL(aerator_fail);

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
 * aeration_registry_init - begin to take in backends
 *
 * Context: process context, once, after aeration_watch_init().
 */
void aeration_registry_init(void)
{
	INIT_WORK(&reg.update, update_fn);
	INIT_DEFERRABLE_WORK(&reg.retry, update_fn);
	INIT_WORK(&reg.request, request_fn);
	mutex_lock(&registry_lock);
	WRITE_ONCE(reg.live, true);
	mutex_unlock(&registry_lock);
	aeration_registry_ask();
}

/**
 * aeration_registry_exit - end; every device has been shut down
 *
 * Context: process context; may sleep.
 */
void aeration_registry_exit(void)
{
	mutex_lock(&registry_lock);
	WRITE_ONCE(reg.live, false);
	mutex_unlock(&registry_lock);
	cancel_work_sync(&reg.update);
	cancel_delayed_work_sync(&reg.retry);
	cancel_work_sync(&reg.request);
}
