// SPDX-License-Identifier: GPL-2.0
/*
 * For tests: have Xen stop in the middle of a batch.
 *
 * A probe on aeration_xen's own hypercall function shortens the list of extents
 * before the call, so that Xen really does only those, and can have Xen do half
 * of the next extent too, as a failure within an extent would. What the backend
 * sees, and has to put in order, is then what there is.
 *
 * Load it after aeration_xen. A call is hit if it is of the kind and the order
 * asked for and has more than stop_at extents.
 */
#define pr_fmt(fmt) "aeration_xen_faults: " fmt

#include <linux/atomic.h>
#include <linux/module.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <xen/interface/xen.h>
#include <xen/interface/memory.h>
#include <xen/page.h>
#include <asm/xen/hypercall.h>
#include "redirect.h"

/* Largest extent of a domU, in pages. */
#define EXTENT_PAGES	512

static char *op = "decrease";
module_param(op, charp, 0444);
MODULE_PARM_DESC(op, "calls to stop: decrease or populate");

static uint stop_at;
module_param(stop_at, uint, 0444);
MODULE_PARM_DESC(stop_at, "index of the extent at which a call stops");

static bool half;
module_param(half, bool, 0444);
MODULE_PARM_DESC(half, "do the first half of that extent");

static int order = -1;
module_param(order, int, 0444);
MODULE_PARM_DESC(order, "stop only calls with extents of this order (-1: all)");

static int error;
module_param(error, int, 0444);
MODULE_PARM_DESC(error, "do nothing and return this, if it is not 0");

static int times = 1;
module_param(times, int, 0444);
MODULE_PARM_DESC(times, "how many calls are stopped");

static int skip;
module_param(skip, int, 0444);
MODULE_PARM_DESC(skip, "how many calls go well before that");

static int blind;
module_param(blind, int, 0444);
MODULE_PARM_DESC(blind, "how many questions about a page are not answered");

static atomic_t passing, left, questions, halves;
static unsigned int stopped_op;
static DEFINE_RAW_SPINLOCK(list_lock);	/* protects the list */
static xen_pfn_t list[EXTENT_PAGES / 2];

/* These run in place of the function: its return address is on the stack. */
static notrace noinline long fail(void)
{
	return error;
}

static notrace noinline int no_answer(void)
{
	return -EIO;
}

/* Not by way of the function that has the probe on it. */
static void do_half(const struct xen_memory_reservation *ask)
{
	xen_pfn_t first = ask->extent_start[stop_at];
	unsigned int i, pages = min(1U << ask->extent_order, EXTENT_PAGES) / 2;
	struct xen_memory_reservation some = {
		.nr_extents = pages,
		.domid = DOMID_SELF,
	};

	if (!pages)
		return;
	raw_spin_lock(&list_lock);
	for (i = 0; i < pages; i++)
		list[i] = first + i;
	set_xen_guest_handle(some.extent_start, list);
	if (HYPERVISOR_memory_op(stopped_op, &some) == pages)
		atomic_inc(&halves);
	raw_spin_unlock(&list_lock);
}

static int on_call(struct kprobe *probe, struct pt_regs *regs)
{
	struct xen_memory_reservation *ask =
		(void *)regs_get_kernel_argument(regs, 1);

	if ((unsigned int)regs_get_kernel_argument(regs, 0) != stopped_op ||
	    (order >= 0 && ask->extent_order != order) ||
	    (!error && ask->nr_extents <= stop_at) ||
	    atomic_dec_if_positive(&passing) >= 0 ||
	    atomic_dec_if_positive(&left) < 0)
		return 0;
	if (error) {
		instruction_pointer_set(regs, (unsigned long)fail);
		return 1;
	}
	if (half)
		do_half(ask);
	ask->nr_extents = stop_at;
	return 0;
}

static int on_question(struct kprobe *probe, struct pt_regs *regs)
{
	if (atomic_dec_if_positive(&questions) < 0)
		return 0;
	instruction_pointer_set(regs, (unsigned long)no_answer);
	return 1;
}

NOKPROBE_SYMBOL(on_call);
NOKPROBE_SYMBOL(on_question);

static struct kprobe call_probe = {
	.symbol_name = "aeration_xen_memory_op",
	.pre_handler = on_call,
	.post_handler = never_a_jump,
};

static struct kprobe question_probe = {
	.symbol_name = "aeration_xen_mem_type",
	.pre_handler = on_question,
	.post_handler = never_a_jump,
};

static int __init faults_init(void)
{
	int err;

	if (!strcmp(op, "decrease"))
		stopped_op = XENMEM_decrease_reservation;
	else if (!strcmp(op, "populate"))
		stopped_op = XENMEM_populate_physmap;
	else
		return -EINVAL;
	atomic_set(&passing, skip);
	atomic_set(&left, times);
	atomic_set(&questions, blind);
	err = register_kprobe(&question_probe);
	if (err)
		return err;
	err = register_kprobe(&call_probe);
	if (err)
		unregister_kprobe(&question_probe);
	return err;
}

static void __exit faults_exit(void)
{
	unregister_kprobe(&call_probe);
	unregister_kprobe(&question_probe);
	pr_info("stopped %d of %d calls, %d extents half done, %d of %d questions not answered\n",
		times - atomic_read(&left), times, atomic_read(&halves),
		blind - atomic_read(&questions), blind);
}

module_init(faults_init);
module_exit(faults_exit);
MODULE_DESCRIPTION("Makes Xen stop in the middle of a batch, for tests of aeration");
MODULE_AUTHOR("The Aeration authors");
MODULE_LICENSE("GPL");
