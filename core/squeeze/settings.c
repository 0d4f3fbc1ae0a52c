// SPDX-License-Identifier: GPL-2.0
/*
 * What a squeeze may do: parameters of the module, and files of sysfs once it is loaded.
 */
#include <linux/kernel.h>
#include <linux/kstrtox.h>
#include <linux/moduleparam.h>
#include "squeeze.h"

static bool squeeze_anon;
static bool squeeze_for_host;

/**
 * aeration_squeeze_store_anon - set whether programs' memory may be swapped for it
 * @val: text of a truth value
 *
 * Context: process context.
 * Return: 0, or -EINVAL with nothing changed.
 */
int aeration_squeeze_store_anon(const char *val)
{
	bool value;

	if (kstrtobool(val, &value))
		return -EINVAL;
	WRITE_ONCE(squeeze_anon, value);
	return 0;
}

/**
 * aeration_squeeze_store_for_host - set whether a host that asks for a flush gets one
 * @val: text of a truth value
 *
 * Context: process context.
 * Return: 0, or -EINVAL with nothing changed.
 */
int aeration_squeeze_store_for_host(const char *val)
{
	bool value;

	if (kstrtobool(val, &value))
		return -EINVAL;
	WRITE_ONCE(squeeze_for_host, value);
	return 0;
}

/**
 * aeration_squeeze_anon - may programs' memory be swapped for it?
 *
 * Context: any.
 * Return: that.
 */
bool aeration_squeeze_anon(void)
{
	return READ_ONCE(squeeze_anon);
}

/**
 * aeration_squeeze_for_host - does a host that asks for a flush get one?
 *
 * Context: any.
 * Return: that.
 */
bool aeration_squeeze_for_host(void)
{
	return READ_ONCE(squeeze_for_host);
}

module_param(squeeze_anon, bool, 0444);
MODULE_PARM_DESC(squeeze_anon,
		 "a squeeze may swap programs' memory, too (default N: files alone)");
module_param(squeeze_for_host, bool, 0444);
MODULE_PARM_DESC(squeeze_for_host,
		 "a host that asks for all that is free gets cold cache, too (default N)");
