// SPDX-License-Identifier: GPL-2.0
/*
 * A live migration. libxc sends all memory of a domain that runs, and then again what
 * it has written since: Xen keeps track of that. But of an auto-translated domain Xen
 * does not note which pages go and come (known; its docs/features/migration.pandoc):
 *  - One that goes after libxc has asked what it is, and before libxc maps it, ends
 *    the migration.
 *  - One that goes after it was sent has memory behind it in the new place. Populated
 *    there it would have it twice, under a limit for once.
 *  - One that comes is not taken for written, and the domain may write to it unseen
 *    until libxc looks the next time. What it wrote is missing in the new place.
 * So nothing goes while Xen keeps track, and what comes then is marked as written.
 *
 * Nobody tells a domain that it is being migrated. But Xen says of a page that is not
 * written to since it was last looked at that it is read-only, and nobody ever writes
 * to the kernel's page of zeroes.
 *
 * Of PV domains Xen notes it all, but for the first of these, and they cannot ask.
 */
#define pr_fmt(fmt) "aeration_xen: " fmt

#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <xen/features.h>
#include <xen/interface/xen.h>
#include <xen/interface/features.h>
#include <xen/interface/hvm/hvm_op.h>
#include <asm/xen/hypercall.h>
#include "xb.h"

/**
 * aeration_xb_is_tracked - does Xen keep track of what this domain writes?
 *
 * Not by way of aeration_xen_mem_type(), whose answers tests take away.
 *
 * Context: any.
 * Return: true if so, and if it can be known.
 */
bool aeration_xb_is_tracked(void)
{
	struct xen_hvm_get_mem_type ask = {
		.domid = DOMID_SELF,
		.pfn = page_to_pfn(ZERO_PAGE(0)),
	};

	return xen_feature(XENFEAT_auto_translated_physmap) &&
	       !HYPERVISOR_hvm_op(HVMOP_get_mem_type, &ask) &&
	       ask.mem_type == HVMMEM_ram_ro;
}

/* What Xen writes for a domain it takes for written by it: so it answers there. */
static void mark(unsigned long pfn)
{
	struct xen_hvm_get_mem_type *ask = page_address(pfn_to_page(pfn));
	int err;

	ask->domid = DOMID_SELF;
	ask->pfn = pfn;
	err = HYPERVISOR_hvm_op(HVMOP_get_mem_type, ask);
	if (err)
		pr_err_ratelimited("page pfn %lx came during a live migration and may be missing after it: error %d\n",
				   pfn, err);
}

/**
 * aeration_xb_mark_written - have what has come sent to where the domain moves, too
 * @batch: each of its blocks that is ISOLATED is backed, and nobody has used it yet
 *
 * Looked at afterwards: what has come before Xen begins to keep track is sent anyway.
 * That a block has never gone does no harm.
 *
 * Context: process context, memory reclaim included; writes to the pages.
 */
void aeration_xb_mark_written(const struct aerator_batch *batch)
{
	const struct aerator_block *block = batch->block;
	unsigned long page;

	if (!aeration_xb_is_tracked())
		return;
	for (; block < batch->block + batch->nr; block++) {
		if (block->state != AERATOR_BLOCK_ISOLATED)
			continue;
		for (page = 0; page < 1UL << block->order; page++)
			mark(block->pfn + page);
		cond_resched();
	}
}
