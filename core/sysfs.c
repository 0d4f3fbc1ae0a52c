// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/aeration: one value a file. docs/abi/sysfs-kernel-aeration
 * describes every one of them.
 */
#include <linux/kernel.h>
#include <linux/kobject.h>
#include <linux/mm.h>
#include <linux/sysfs.h>
#include "batch.h"
#include "hold/hold.h"
#include "hold/zones.h"
#include "pace/watch.h"
#include "params.h"
#include "registry.h"
#include "request.h"
#include "sysfs.h"

static struct kobject *aeration_kobj;

static ssize_t backend_show(struct kobject *kobj, struct kobj_attribute *attr,
			    char *buf)
{
	return sysfs_emit(buf, "%s\n", aeration_registry_backend());
}

static ssize_t state_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%s\n",
			  aeration_registry_state());
}

static ssize_t window_ms_show(struct kobject *kobj, struct kobj_attribute *attr,
			      char *buf)
{
	return sysfs_emit(buf, "%u\n", aeration_param_window_ms());
}

static ssize_t window_ms_store(struct kobject *kobj,
			       struct kobj_attribute *attr,
			       const char *buf, size_t count)
{
	return aeration_param_store_window_ms(buf) ?: count;
}

static ssize_t backoff_ms_show(struct kobject *kobj,
			       struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", aeration_param_backoff_ms());
}

static ssize_t backoff_ms_store(struct kobject *kobj,
				struct kobj_attribute *attr,
				const char *buf, size_t count)
{
	return aeration_param_store_backoff_ms(buf) ?: count;
}

static ssize_t window_now_ms_show(struct kobject *kobj,
				  struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", aeration_watch_window_ms());
}

static ssize_t regretted_bytes_show(struct kobject *kobj,
				    struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n",
			  aeration_watch_regretted() << PAGE_SHIFT);
}

static ssize_t reserve_mb_show(struct kobject *kobj,
			       struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", aeration_param_reserve_mb());
}

static ssize_t reserve_mb_store(struct kobject *kobj,
				struct kobj_attribute *attr,
				const char *buf, size_t count)
{
	return aeration_param_store_reserve_mb(buf) ?: count;
}

static ssize_t order_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%u\n", aeration_registry_order());
}

static ssize_t capacity_show(struct kobject *kobj, struct kobj_attribute *attr,
			     char *buf)
{
	return sysfs_emit(buf, "%u\n", aeration_registry_capacity());
}

static int run(enum aeration_request what)
{
	struct aeration_wish wish = aeration_wish_for(what);

	return aeration_request_run(&wish);
}

static ssize_t flush_store(struct kobject *kobj, struct kobj_attribute *attr,
			   const char *buf, size_t count)
{
	bool again = sysfs_streq(buf, "again"), on;

	if (!again && (kstrtobool(buf, &on) || !on))
		return -EINVAL;
	return run(again ? AERATION_FLUSH_AGAIN : AERATION_FLUSH) ?: count;
}

static ssize_t restore_store(struct kobject *kobj, struct kobj_attribute *attr,
			     const char *buf, size_t count)
{
	bool on;

	if (kstrtobool(buf, &on) || !on)
		return -EINVAL;
	return run(AERATION_RESTORE) ?: count;
}

static ssize_t max_held_show(struct kobject *kobj, struct kobj_attribute *attr,
			     char *buf)
{
	return aeration_param_show_max_held(buf);
}

static ssize_t max_held_store(struct kobject *kobj, struct kobj_attribute *attr,
			      const char *buf, size_t count)
{
	return aeration_param_store_max_held(buf) ?: count;
}

static struct kobj_attribute backend_attr = __ATTR_RO(backend);
static struct kobj_attribute state_attr = __ATTR_RO(state);
static struct kobj_attribute window_ms_attr = __ATTR_RW(window_ms);
static struct kobj_attribute backoff_ms_attr = __ATTR_RW(backoff_ms);
static struct kobj_attribute window_now_ms_attr = __ATTR_RO(window_now_ms);
static struct kobj_attribute regretted_bytes_attr = __ATTR_RO(regretted_bytes);
static struct kobj_attribute reserve_mb_attr = __ATTR_RW(reserve_mb);
static struct kobj_attribute order_attr = __ATTR_RO(order);
static struct kobj_attribute capacity_attr = __ATTR_RO(capacity);
static struct kobj_attribute flush_attr = __ATTR_WO(flush);
static struct kobj_attribute restore_attr = __ATTR_WO(restore);
static struct kobj_attribute max_held_attr = __ATTR_RW(max_held);

static struct attribute *main_attrs[] = {
	&backend_attr.attr,
	&state_attr.attr,
	&window_ms_attr.attr,
	&backoff_ms_attr.attr,
	&window_now_ms_attr.attr,
	&regretted_bytes_attr.attr,
	&reserve_mb_attr.attr,
	&order_attr.attr,
	&capacity_attr.attr,
	&flush_attr.attr,
	&restore_attr.attr,
	&max_held_attr.attr,
	NULL
};

static const struct attribute_group main_group = { .attrs = main_attrs };

/* A counter, and how far to shift what is shown: pages are shown as bytes. */
struct stat_attribute {
	struct kobj_attribute kattr;
	const atomic64_t *value;
	unsigned int shift;
};

static ssize_t stat_show(struct kobject *kobj, struct kobj_attribute *attr,
			 char *buf)
{
	struct stat_attribute *stat =
		container_of(attr, struct stat_attribute, kattr);

	return sysfs_emit(buf, "%llu\n",
			  (u64)atomic64_read(stat->value) << stat->shift);
}

#define STAT_ATTR(_name, _field, _shift)				\
	static struct stat_attribute stat_##_name = {			\
		.kattr = __ATTR(_name, 0444, stat_show, NULL),		\
		.value = &aeration_stats._field,			\
		.shift = _shift,					\
	}

STAT_ATTR(batches, batches, 0);
STAT_ATTR(blocks, blocks, 0);
STAT_ATTR(bytes, bytes, 0);
STAT_ATTR(refused, refused, 0);
STAT_ATTR(errors, errors, 0);
STAT_ATTR(timeouts, timeouts, 0);
STAT_ATTR(held_back, held_back, 0);
STAT_ATTR(samples, samples, 0);
STAT_ATTR(in_flight_bytes, in_flight, PAGE_SHIFT);
STAT_ATTR(restores, restores, 0);
STAT_ATTR(restored_bytes, restored, 0);

static struct attribute *stat_attrs[] = {
	&stat_batches.kattr.attr,
	&stat_blocks.kattr.attr,
	&stat_bytes.kattr.attr,
	&stat_refused.kattr.attr,
	&stat_errors.kattr.attr,
	&stat_timeouts.kattr.attr,
	&stat_held_back.kattr.attr,
	&stat_samples.kattr.attr,
	&stat_in_flight_bytes.kattr.attr,
	&stat_restores.kattr.attr,
	&stat_restored_bytes.kattr.attr,
	NULL
};

static const struct attribute_group stat_group = {
	.name = "stats",
	.attrs = stat_attrs,
};

/* How many blocks of the hold source are in one state. */
struct hold_attribute {
	struct kobj_attribute kattr;
	enum aerator_block_state state;
};

static ssize_t hold_show(struct kobject *kobj, struct kobj_attribute *attr,
			 char *buf)
{
	struct hold_attribute *of =
		container_of(attr, struct hold_attribute, kattr);

	return sysfs_emit(buf, "%lu\n", aeration_blocks_count(of->state));
}

#define HOLD_ATTR(_name, _state)					\
	static struct hold_attribute hold_##_name = {			\
		.kattr = __ATTR(_name, 0444, hold_show, NULL),		\
		.state = AERATOR_BLOCK_##_state,			\
	}

HOLD_ATTR(free, FREE);
HOLD_ATTR(isolated, ISOLATED);
HOLD_ATTR(in_flight, IN_FLIGHT);
HOLD_ATTR(held, HELD);
HOLD_ATTR(restoring, RESTORING);
HOLD_ATTR(quarantined, QUARANTINED);

static ssize_t states_show(struct kobject *kobj, struct kobj_attribute *attr,
			   char *buf)
{
	return aeration_blocks_show(buf);
}

static ssize_t held_bytes_show(struct kobject *kobj,
			       struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n",
			  (u64)aeration_blocks_held_pages() << PAGE_SHIFT);
}

static ssize_t forfeited_bytes_show(struct kobject *kobj,
				    struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", (u64)aeration_blocks_forfeited()
			  << (PAGE_SHIFT + aeration_blocks_order()));
}

static ssize_t out_of_reach_bytes_show(struct kobject *kobj,
				       struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n",
			  (u64)aeration_zones_out_of_reach() << PAGE_SHIFT);
}

static ssize_t starved_show(struct kobject *kobj, struct kobj_attribute *attr,
			    char *buf)
{
	return sysfs_emit(buf, "%d\n", aeration_account_is_starved());
}

static struct kobj_attribute states_attr = __ATTR_RO(states);
static struct kobj_attribute held_bytes_attr = __ATTR_RO(held_bytes);
static struct kobj_attribute starved_attr = __ATTR_RO(starved);
static struct kobj_attribute forfeited_bytes_attr = __ATTR_RO(forfeited_bytes);
static struct kobj_attribute beyond_attr = __ATTR_RO(out_of_reach_bytes);

static struct attribute *hold_attrs[] = {
	&hold_free.kattr.attr,
	&hold_isolated.kattr.attr,
	&hold_in_flight.kattr.attr,
	&hold_held.kattr.attr,
	&hold_restoring.kattr.attr,
	&hold_quarantined.kattr.attr,
	&states_attr.attr,
	&held_bytes_attr.attr,
	&starved_attr.attr,
	&forfeited_bytes_attr.attr,
	&beyond_attr.attr,
	NULL
};

static const struct attribute_group hold_group = {
	.name = "hold",
	.attrs = hold_attrs,
};

static ssize_t start_store(struct kobject *kobj, struct kobj_attribute *attr,
			   const char *buf, size_t count)
{
	struct aeration_wish wish;
	int err = aeration_wish_parse(buf, &wish);

	return err ?: aeration_request_start(&wish) ?: count;
}

static ssize_t cancel_store(struct kobject *kobj, struct kobj_attribute *attr,
			    const char *buf, size_t count)
{
	bool on;

	if (kstrtobool(buf, &on) || !on)
		return -EINVAL;
	aeration_request_cancel();
	return count;
}

static ssize_t status_show(struct kobject *kobj, struct kobj_attribute *attr,
			   char *buf)
{
	struct request_status now;

	aeration_request_read(&now);
	return sysfs_emit(buf, "%llu %s %s %llu %d\n", now.seq,
			  aeration_wish_name(now.what),
			  aeration_request_state_name(now.state), now.bytes,
			  now.error);
}

static struct kobj_attribute start_attr = __ATTR_WO(start);
static struct kobj_attribute cancel_attr = __ATTR_WO(cancel);
static struct kobj_attribute status_attr = __ATTR_RO(status);

static struct attribute *request_attrs[] = {
	&start_attr.attr,
	&cancel_attr.attr,
	&status_attr.attr,
	NULL
};

static const struct attribute_group request_group = {
	.name = "request",
	.attrs = request_attrs,
};

static ssize_t why_show(struct kobject *kobj, struct kobj_attribute *attr,
			char *buf)
{
	int len = aeration_registry_why(aeration_choose_parse(attr->attr.name),
					buf,
					PAGE_SIZE - 1);

	return len + sysfs_emit_at(buf, len, "\n");
}

#define WHY_ATTR(_name)							\
	static struct kobj_attribute why_##_name =			\
		__ATTR(_name, 0444, why_show, NULL)

WHY_ATTR(virtio);
WHY_ATTR(xen);
WHY_ATTR(hyperv);
WHY_ATTR(loop);

static struct attribute *why_attrs[] = {
	&why_virtio.attr,
	&why_xen.attr,
	&why_hyperv.attr,
	&why_loop.attr,
	NULL
};

static const struct attribute_group why_group = {
	.name = "why",
	.attrs = why_attrs,
};

static const struct attribute_group *groups[] = {
	&main_group,
	&stat_group,
	&hold_group,
	&request_group,
	&why_group,
	&aeration_sysfs_squeeze,
	&aeration_sysfs_squeezed,
	NULL
};

/**
 * aeration_sysfs_start - show /sys/kernel/aeration
 *
 * Context: process context; may sleep.
 * Return: 0 or a negative error with nothing left behind.
 */
int aeration_sysfs_start(void)
{
	int err;

	aeration_kobj = kobject_create_and_add("aeration", kernel_kobj);
	if (!aeration_kobj)
		return -ENOMEM;
	err = sysfs_create_groups(aeration_kobj, groups);
	if (err)
		kobject_put(aeration_kobj);
	return err;
}

/**
 * aeration_sysfs_stop - take /sys/kernel/aeration away
 *
 * Context: process context; waits until nobody reads or writes in there.
 */
void aeration_sysfs_stop(void)
{
	sysfs_remove_groups(aeration_kobj, groups);
	kobject_put(aeration_kobj);
}

/**
 * aeration_sysfs_ended - a request has ended: wake who polls request/status
 *
 * Context: process context; may sleep.
 */
void aeration_sysfs_ended(void)
{
	sysfs_notify(aeration_kobj, request_group.name, status_attr.attr.name);
}
