// SPDX-License-Identifier: GPL-2.0
/*
 * What sysfs shows and takes of a squeeze; docs/abi/sysfs-kernel-aeration describes it.
 */
#include <linux/kobject.h>
#include <linux/kstrtox.h>
#include <linux/mm.h>
#include <linux/sysfs.h>
#include "request.h"
#include "squeeze/squeeze.h"
#include "sysfs.h"

static ssize_t squeeze_store(struct kobject *kobj, struct kobj_attribute *attr,
			     const char *buf, size_t count)
{
	struct aeration_wish wish = aeration_wish_for(AERATION_SQUEEZE);
	bool on;

	if (kstrtobool(buf, &on) || !on)
		return -EINVAL;
	return aeration_request_run(&wish) ?: count;
}

static ssize_t squeeze_idle_s_show(struct kobject *kobj,
				   struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", aeration_idle_s());
}

static ssize_t squeeze_idle_s_store(struct kobject *kobj,
				    struct kobj_attribute *attr,
				    const char *buf, size_t count)
{
	return aeration_idle_store_s(buf) ?: count;
}

static ssize_t squeeze_anon_show(struct kobject *kobj,
				 struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", aeration_squeeze_anon());
}

static ssize_t squeeze_anon_store(struct kobject *kobj,
				  struct kobj_attribute *attr, const char *buf,
				  size_t count)
{
	return aeration_squeeze_store_anon(buf) ?: count;
}

static ssize_t squeeze_for_host_show(struct kobject *kobj,
				     struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", aeration_squeeze_for_host());
}

static ssize_t squeeze_for_host_store(struct kobject *kobj,
				      struct kobj_attribute *attr,
				      const char *buf, size_t count)
{
	return aeration_squeeze_store_for_host(buf) ?: count;
}

static struct kobj_attribute squeeze_attr = __ATTR_WO(squeeze);
static struct kobj_attribute idle_s_attr = __ATTR_RW(squeeze_idle_s);
static struct kobj_attribute anon_attr = __ATTR_RW(squeeze_anon);
static struct kobj_attribute for_host_attr = __ATTR_RW(squeeze_for_host);

static struct attribute *squeeze_attrs[] = {
	&squeeze_attr.attr,
	&idle_s_attr.attr,
	&anon_attr.attr,
	&for_host_attr.attr,
	NULL
};

const struct attribute_group aeration_sysfs_squeeze = {
	.attrs = squeeze_attrs,
};

static ssize_t reclaimed_bytes_show(struct kobject *kobj,
				    struct kobj_attribute *attr, char *buf)
{
	struct squeeze_done done;

	aeration_squeeze_read(&done);
	return sysfs_emit(buf, "%llu\n", done.reclaimed << PAGE_SHIFT);
}

static ssize_t compacted_bytes_show(struct kobject *kobj,
				    struct kobj_attribute *attr, char *buf)
{
	struct squeeze_done done;

	aeration_squeeze_read(&done);
	return sysfs_emit(buf, "%llu\n", done.compacted << PAGE_SHIFT);
}

static ssize_t ended_by_show(struct kobject *kobj, struct kobj_attribute *attr,
			     char *buf)
{
	struct squeeze_done done;

	aeration_squeeze_read(&done);
	return sysfs_emit(buf, "%s\n", aeration_squeeze_end_name(done.end));
}

static struct kobj_attribute reclaimed_attr = __ATTR_RO(reclaimed_bytes);
static struct kobj_attribute compacted_attr = __ATTR_RO(compacted_bytes);
static struct kobj_attribute ended_by_attr = __ATTR_RO(ended_by);

static struct attribute *squeezed_attrs[] = {
	&reclaimed_attr.attr,
	&compacted_attr.attr,
	&ended_by_attr.attr,
	NULL
};

const struct attribute_group aeration_sysfs_squeezed = {
	.name = "squeezed",
	.attrs = squeezed_attrs,
};
