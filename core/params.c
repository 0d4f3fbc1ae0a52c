// SPDX-License-Identifier: GPL-2.0
/*
 * Parameters: set at boot or when the module is loaded, most of them at run
 * time too. A bad value is refused with -EINVAL and changes nothing.
 */
#define pr_fmt(fmt) "aeration: " fmt

#include <linux/ctype.h>
#include <linux/export.h>
#include <linux/kernel.h>
#include <linux/memory_aeration.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/overflow.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <aeration/compat.h>
#include "params.h"

/* Bounds of a backend's timeout: a busy host's hiccup, and a day; ms. */
#define TIMEOUT_MIN_MS	100
#define TIMEOUT_MAX_MS	86400000

/* Largest reserve that may be asked for, MiB: 16 TiB. */
#define RESERVE_MAX_MB	(16U << 20)

static unsigned int window_ms = 1000;
static unsigned int backoff_ms = 30000;
static unsigned int reserve_mb = 16;
static unsigned int order;
static enum aerator_kind backend = AERATOR_AUTO;

/**
 * struct max_held - most memory that may be held
 * @percent: share of the guest's memory, or 0 if @bytes is what counts
 * @bytes: amount
 * @given: somebody has said so
 */
struct max_held {
	unsigned int percent;
	u64 bytes;
	bool given;
};

static struct max_held max_held;	/* set by aeration_param_hold_by_default() */
static DEFINE_SPINLOCK(max_held_lock);	/* protects max_held */

static void (*listener)(enum aeration_param what);

/**
 * aeration_param_listen - hear of what is changed from now on
 * @changed: called after each change, in process context, no lock of the core held;
 *	may sleep
 *
 * Once; until then the module is loading, and nobody has to be told.
 *
 * Context: process context.
 */
void aeration_param_listen(void (*changed)(enum aeration_param what))
{
	WRITE_ONCE(listener, changed);
}

static void tell(enum aeration_param what)
{
	void (*changed)(enum aeration_param what) = READ_ONCE(listener);

	if (changed)
		changed(what);
}

static int store_in_range(const char *val, unsigned int max,
			  unsigned int *where)
{
	unsigned int value;

	if (kstrtouint(val, 0, &value) || value > max)
		return -EINVAL;
	WRITE_ONCE(*where, value);
	return 0;
}

/**
 * aeration_param_store_window_ms - set the window
 * @val: text of a number, ms, 0 to AERATION_WINDOW_MAX_MS
 *
 * Context: process context; may sleep.
 * Return: 0, or -EINVAL with nothing changed.
 */
int aeration_param_store_window_ms(const char *val)
{
	int err = store_in_range(val, AERATION_WINDOW_MAX_MS, &window_ms);

	if (!err)
		tell(AERATION_PARAM_PACE);
	return err;
}

/**
 * aeration_param_store_backoff_ms - set how far the window may back off
 * @val: text of a number, ms, 0 to AERATION_WINDOW_MAX_MS
 *
 * Context: process context; may sleep.
 * Return: 0, or -EINVAL with nothing changed.
 */
int aeration_param_store_backoff_ms(const char *val)
{
	int err = store_in_range(val, AERATION_WINDOW_MAX_MS, &backoff_ms);

	if (!err)
		tell(AERATION_PARAM_PACE);
	return err;
}

/**
 * aeration_param_store_reserve_mb - set how much free memory is never surplus
 * @val: text of a number, MiB, 0 to RESERVE_MAX_MB
 *
 * Context: process context; may sleep.
 * Return: 0, or -EINVAL with nothing changed.
 */
int aeration_param_store_reserve_mb(const char *val)
{
	int err = store_in_range(val, RESERVE_MAX_MB, &reserve_mb);

	if (!err)
		tell(AERATION_PARAM_PACE);
	return err;
}

/* Room for the digits of a number of 64 bits, with the closing zero. */
#define DIGITS	21

static int parse_max_held(const char *val, struct max_held *out)
{
	static const char units[] = "KMGT";
	size_t len = strspn(val, "0123456789");
	char digits[DIGITS];
	const char *unit;
	u64 number;

	if (len >= DIGITS)
		return -EINVAL;
	strscpy(digits, val, len + 1);
	if (kstrtou64(digits, 10, &number))
		return -EINVAL;
	val += len;
	out->given = true;
	out->percent = 0;
	unit = *val ? strchr(units, toupper(*val)) : NULL;
	if (unit) {
		if (check_shl_overflow(number, 10 * (unit - units + 1), &number))
			return -EINVAL;
		val++;
	} else if (*val == '%') {
		if (number < 1 || number > 100)
			return -EINVAL;
		out->percent = number;
		val++;
	}
	out->bytes = number;
	if (*val == '\n')
		val++;
	return *val ? -EINVAL : 0;
}

/**
 * aeration_param_store_max_held - set the most memory that may be held
 * @val: text of a number of bytes, with a suffix K, M, G or T if wanted, or of a
 *	percentage of the guest's memory, 1% to 100%
 *
 * What is held beyond it is restored.
 *
 * Context: process context; may sleep.
 * Return: 0, or -EINVAL with nothing changed.
 */
int aeration_param_store_max_held(const char *val)
{
	struct max_held new;
	int err = parse_max_held(val, &new);

	if (err)
		return err;
	spin_lock(&max_held_lock);
	max_held = new;
	spin_unlock(&max_held_lock);
	tell(AERATION_PARAM_PACE);
	return 0;
}

static struct max_held read_max_held(void)
{
	struct max_held now;

	spin_lock(&max_held_lock);
	now = max_held;
	spin_unlock(&max_held_lock);
	return now;
}

/**
 * aeration_param_hold_by_default - how much may be held if nobody has said so
 * @percent: share of the guest's memory, 0 to 100
 *
 * Context: process context.
 */
void aeration_param_hold_by_default(unsigned int percent)
{
	spin_lock(&max_held_lock);
	if (!max_held.given)
		max_held.percent = percent;
	spin_unlock(&max_held_lock);
}

/**
 * aeration_param_show_max_held - print the most memory that may be held
 * @buf: a page of sysfs
 *
 * Context: process context.
 * Return: bytes printed.
 */
int aeration_param_show_max_held(char *buf)
{
	struct max_held now = read_max_held();

	if (now.percent)
		return sysfs_emit(buf, "%u%%\n", now.percent);
	return sysfs_emit(buf, "%llu\n", now.bytes);
}

/**
 * aeration_param_max_held_pages - read the most memory that may be held
 *
 * Context: process context.
 * Return: pages.
 */
unsigned long aeration_param_max_held_pages(void)
{
	struct max_held now = read_max_held();

	if (now.percent)
		return totalram_pages() / 100 * now.percent;
	return now.bytes >> PAGE_SHIFT;
}

static int set_max_held(const char *val, const struct kernel_param *kp)
{
	return aeration_param_store_max_held(val);
}

static int get_max_held(char *buf, const struct kernel_param *kp)
{
	return aeration_param_show_max_held(buf);
}

static int set_window(const char *val, const struct kernel_param *kp)
{
	return aeration_param_store_window_ms(val);
}

static int set_backoff(const char *val, const struct kernel_param *kp)
{
	return aeration_param_store_backoff_ms(val);
}

static int set_reserve(const char *val, const struct kernel_param *kp)
{
	return aeration_param_store_reserve_mb(val);
}

static int set_order(const char *val, const struct kernel_param *kp)
{
	return store_in_range(val, MAX_PAGE_ORDER, &order);
}

/*
 * A name nobody knows must not keep a guest from booting with the rest of its
 * command line: while the module loads it means "none", said in the log. Later
 * there is somebody to tell, and it is refused.
 */
static int set_backend(const char *val, const struct kernel_param *kp)
{
	bool loading = !READ_ONCE(listener);
	int kind = aeration_choose_parse(val);

	if (kind < 0) {
		pr_err("unknown backend \"%s\"; known: auto virtio xen hyperv loop none%s\n",
		       val, loading ? "; using none" : "");
		if (!loading)
			return -EINVAL;
		kind = AERATOR_NONE;
	}
	WRITE_ONCE(backend, kind);
	tell(AERATION_PARAM_BACKEND);
	return 0;
}

static int get_backend(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%s\n",
			  aeration_choose_name(READ_ONCE(backend)));
}

static const struct kernel_param_ops window_ops = {
	.set = set_window,
	.get = param_get_uint,
};

static const struct kernel_param_ops backoff_ops = {
	.set = set_backoff,
	.get = param_get_uint,
};

static const struct kernel_param_ops reserve_ops = {
	.set = set_reserve,
	.get = param_get_uint,
};

static const struct kernel_param_ops max_held_ops = {
	.set = set_max_held,
	.get = get_max_held,
};

static const struct kernel_param_ops order_ops = {
	.set = set_order,
	.get = param_get_uint,
};

static const struct kernel_param_ops backend_ops = {
	.set = set_backend,
	.get = get_backend,
};

module_param_cb(window_ms, &window_ops, &window_ms, 0444);
MODULE_PARM_DESC(window_ms,
		 "how long memory must stay free before it is reported, ms (0 to 60000; 0: at once)");
module_param_cb(backoff_ms, &backoff_ops, &backoff_ms, 0444);
MODULE_PARM_DESC(backoff_ms,
		 "how long that may become when reported memory is soon taken back, ms (0 to 60000; no more than window_ms: it stays)");
module_param_cb(reserve_mb, &reserve_ops, &reserve_mb, 0444);
MODULE_PARM_DESC(reserve_mb, "free memory to keep from being reported, MiB; the last batch may go half a batch below");
module_param_cb(max_held, &max_held_ops, NULL, 0444);
MODULE_PARM_DESC(max_held, "most memory to hold without backing, bytes (512M) or share of the guest's (50%; default 100%, 87% in a domain of Xen, 0 in domain 0); durable backends only");
module_param_cb(order, &order_ops, &order, 0444);
MODULE_PARM_DESC(order, "smallest block to report, as an order (0: the kernel's default)");
module_param_cb(backend, &backend_ops, NULL, 0644);
MODULE_PARM_DESC(backend, "auto (default), virtio, xen, hyperv, loop or none");

/**
 * aeration_param_window_ms - read the window in force
 *
 * Context: any.
 * Return: the window in force, ms.
 */
u32 aeration_param_window_ms(void)
{
	return READ_ONCE(window_ms);
}

/**
 * aeration_param_backoff_ms - read how far the window may back off
 *
 * Context: any.
 * Return: the limit in force, ms.
 */
u32 aeration_param_backoff_ms(void)
{
	return READ_ONCE(backoff_ms);
}

/**
 * aeration_param_reserve_mb - read the reserve in force
 *
 * Context: any.
 * Return: the reserve in force, MiB.
 */
unsigned int aeration_param_reserve_mb(void)
{
	return READ_ONCE(reserve_mb);
}

/**
 * aeration_param_reserve_pages - read the reserve in force
 *
 * Context: any.
 * Return: the reserve in force, pages.
 */
unsigned long aeration_param_reserve_pages(void)
{
	return (unsigned long)aeration_param_reserve_mb() << (20 - PAGE_SHIFT);
}

/**
 * aeration_param_order - read the order asked for
 *
 * Context: any.
 * Return: smallest order asked for, 0 for the kernel's default.
 */
unsigned int aeration_param_order(void)
{
	return order;
}

/**
 * aeration_param_backend - read the backend asked for
 *
 * Context: any.
 * Return: the backend asked for.
 */
enum aerator_kind aeration_param_backend(void)
{
	return READ_ONCE(backend);
}

static int set_timeout(const char *val, const struct kernel_param *kp)
{
	unsigned int value;

	if (kstrtouint(val, 0, &value) || value < TIMEOUT_MIN_MS ||
	    value > TIMEOUT_MAX_MS)
		return -EINVAL;
	WRITE_ONCE(*(unsigned int *)kp->arg, value);
	return 0;
}

const struct kernel_param_ops aerator_timeout_ops = {
	.set = set_timeout,
	.get = param_get_uint,
};
EXPORT_SYMBOL_GPL(aerator_timeout_ops);
