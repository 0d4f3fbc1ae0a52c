// SPDX-License-Identifier: GPL-2.0
/*
 * What is different in domain 0. libxl takes what it *has* for the target that it should
 * have, the first time that it looks, and writes that to xenstore: the balloon would then
 * give away for good what is held. And while it shrinks, libxl waits until it has no more
 * than its target, which one that holds memory has at once, and asks for more. So before
 * anything goes its target is written there, with what is held; and while it has a debt,
 * and for as long afterwards as libxl may go on asking, nothing is held.
 *
 * All of this is called by one work item, toolstack.c's, and keeps nothing that another
 * one reads.
 */
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <xen/interface/xen.h>
#include <xen/interface/memory.h>
#include <xen/xen.h>
#include <xen/xenbus.h>
#include "xb.h"

/* In the folder memory: the most that it may have. */
#define STATIC_MAX	"static-max"

/* How long nothing is held after the balloon was asked: libxl does so for 30 s. */
#define PRESSED_DELAY	(40 * HZ)

static bool pressed;
static unsigned long last_debt;		/* jiffies; if it was pressed since */

/* Write what domain 0 has, or may have, unless that is there. */
static int tell(const char *node, unsigned int op)
{
	u64 there;
	int err = aeration_xb_store_pages(node, &there);
	long pages;

	if (err != -ENOENT)
		return err;
	pages = aeration_xb_own_pages(op);
	if (pages < 0)
		return pages;
	if (op == XENMEM_current_reservation)
		pages += aeration_xb_store_held() >> PAGE_SHIFT;
	return xenbus_printf(XBT_NIL, XB_MEMORY, node, "%llu",
			     (u64)pages << (PAGE_SHIFT - 10));
}

/**
 * aeration_xb_dom0_told - see to it that xenstore has domain 0's size
 *
 * Context: process context; may sleep.
 * Return: whether it has.
 */
bool aeration_xb_dom0_told(void)
{
	return !tell(STATIC_MAX, XENMEM_maximum_reservation) &&
	       !tell(XB_TARGET, XENMEM_current_reservation);
}

/**
 * aeration_xb_dom0_pressed - is libxl freeing memory for somebody, by way of our balloon?
 * @debt: the balloon has more than it should
 *
 * Context: process context.
 * Return: when to look again if so, jiffies from now; 0 if not, and in any other domain.
 */
unsigned long aeration_xb_dom0_pressed(bool debt)
{
	if (debt)
		last_debt = jiffies;
	else if (pressed)
		debt = time_is_after_jiffies(last_debt + PRESSED_DELAY);
	pressed = xen_initial_domain() && debt;
	return pressed ? PRESSED_DELAY : 0;
}
