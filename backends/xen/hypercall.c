// SPDX-License-Identifier: GPL-2.0
/*
 * The hypercalls. Structures and numbers: Xen's public/memory.h and
 * public/hvm/hvm_op.h.
 */
#define pr_fmt(fmt) "aeration_xen: " fmt

#include <linux/atomic.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/sysfs.h>
#include <xen/interface/xen.h>
#include <xen/interface/memory.h>
#include <asm/xen/hypercall.h>
#include "xb.h"

static atomic_long_t decreases, populates;

static int get_calls(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%ld\n",
			  atomic_long_read((atomic_long_t *)kp->arg));
}

static int set_calls(const char *val, const struct kernel_param *kp)
{
	return -EPERM;
}

static const struct kernel_param_ops calls_ops = {
	.set = set_calls,
	.get = get_calls,
};

module_param_cb(decrease_calls, &calls_ops, &decreases, 0444);
MODULE_PARM_DESC(decrease_calls,
		 "hypercalls made to give memory to Xen (read only)");
module_param_cb(populate_calls, &calls_ops, &populates, 0444);
MODULE_PARM_DESC(populate_calls,
		 "hypercalls made to get memory from Xen (read only)");

/**
 * aeration_xen_memory_op - every memory hypercall of this backend
 * @op: one of XENMEM_*
 * @arg: the structure that belongs to it
 *
 * A function of its own, so that a test can put a probe on it. Xen interrupts a
 * long call to let this domain have its interrupts and goes on by itself.
 *
 * Context: any; may take long.
 * Return: what Xen returns; for XENMEM_decrease_reservation and
 *	XENMEM_populate_physmap the number of extents done, also if it refuses, and a
 *	negative error only if there is no such hypercall.
 */
noinline long aeration_xen_memory_op(unsigned int op, void *arg)
{
	if (op == XENMEM_decrease_reservation)
		atomic_long_inc(&decreases);
	else if (op == XENMEM_populate_physmap)
		atomic_long_inc(&populates);
	return HYPERVISOR_memory_op(op, arg);
}

/**
 * aeration_xen_mem_type - what is behind a page of an auto-translated domain
 * @ask: the question, and the answer
 *
 * Harmless: it neither populates a page nor changes anything else. Also a
 * function of its own for tests.
 *
 * Context: any.
 * Return: 0 or a negative error (public/hvm/hvm_op.h, HVMOP_get_mem_type).
 */
noinline int aeration_xen_mem_type(struct xen_hvm_get_mem_type *ask)
{
	return HYPERVISOR_hvm_op(HVMOP_get_mem_type, ask);
}

/**
 * aeration_xb_own_pages - how much memory this domain has, or may have
 * @op: XENMEM_current_reservation or XENMEM_maximum_reservation
 *
 * Context: any.
 * Return: pages, or a negative error.
 */
long aeration_xb_own_pages(unsigned int op)
{
	domid_t self = DOMID_SELF;

	return aeration_xen_memory_op(op, &self);
}

/**
 * aeration_xb_call - have Xen decrease or populate
 * @op: XENMEM_decrease_reservation or XENMEM_populate_physmap
 * @io: the first @io->nr entries of @io->frame, in extents of @io->run_order, with
 *	@io->flags
 *
 * Context: process context; may take long.
 * Return: extents done; the error, if Xen returned one, is in @io->err.
 */
unsigned int aeration_xb_call(unsigned int op, struct xb_io *io)
{
	struct xen_memory_reservation ask = {
		.nr_extents = io->nr,
		.extent_order = io->run_order,
		/* What Xen calls mem_flags. */
		.address_bits = io->flags,
		.domid = DOMID_SELF,
	};
	long done;

	set_xen_guest_handle(ask.extent_start, io->frame);
	done = aeration_xen_memory_op(op, &ask);
	if (done < 0) {
		io->err = done;
		return 0;
	}
	return min_t(unsigned long, done, io->nr);
}

/*
 * Does Xen take extents of an order? Decrease and populate do not say: they
 * return 0 for an order that is too large, and for an extent that fails, and for
 * no extents at all. XENMEM_exchange looks at the order first (-EPERM) and then
 * at the numbers (-EINVAL): asked to go on behind the end of an exchange of
 * nothing it does nothing, and answers.
 * Return: 1, 0, or a negative error if Xen does not say.
 */
static int takes_order(unsigned int order)
{
	struct xen_memory_exchange ask = {
		.in = { .extent_order = order, .domid = DOMID_SELF },
		.out = { .extent_order = order, .domid = DOMID_SELF },
		.nr_exchanged = 1,
	};
	long answer = aeration_xen_memory_op(XENMEM_exchange, &ask);

	if (answer == -EINVAL)
		return 1;
	return answer == -EPERM ? 0 : -EIO;
}

/**
 * aeration_xb_largest_order - find the largest extents that Xen takes from this domain
 * @most: no larger than this
 * @known: set to whether Xen has said so
 *
 * The limit is Xen's boot option memop-max-order; 9 for an ordinary domain
 * unless it was built otherwise. It may be another one on another host.
 *
 * Context: process context.
 * Return: an order, 0 to @most; @most itself if Xen does not say.
 */
unsigned int aeration_xb_largest_order(unsigned int most, bool *known)
{
	unsigned int order;
	int takes = 1;

	for (order = most; order; order--) {
		takes = takes_order(order);
		if (takes)
			break;
	}
	*known = takes >= 0;
	return takes < 0 ? most : order;
}
