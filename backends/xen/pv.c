// SPDX-License-Identifier: GPL-2.0
/*
 * A PV domain sees real frames, and its page tables are Xen's to check: a frame
 * goes to Xen only after the kernel's own mapping of it is gone, and one that
 * comes has to be entered into the table of physical to machine frames and into
 * the mapping. All extents are single pages.
 *
 * Entering a frame allocates nothing: the page of the table that a page of
 * memory had its entry in stays when the entry becomes invalid.
 */
#include <linux/mm.h>
#include <xen/interface/xen.h>
#include <xen/interface/memory.h>
#include <xen/mem-reservation.h>
#include <xen/page.h>
#include <asm/xen/hypercall.h>
#include "xb.h"

static void map(const struct xb_io *io, unsigned int i)
{
	struct page *page = pfn_to_page(io->pfn[i]);
	xen_pfn_t frame = io->frame[i];

	__xenmem_reservation_va_mapping_update(1, &page, &frame);
}

static void unmap(struct xb_io *io, unsigned int i)
{
	struct page *page = pfn_to_page(io->pfn[i]);

	io->frame[i] = pfn_to_mfn(io->pfn[i]);
	__xenmem_reservation_va_mapping_reset(1, &page);
}

/* On every vCPU, lazy mappings of vmalloc included. */
static void flush(void)
{
	struct mmuext_op ask = { .cmd = MMUEXT_TLB_FLUSH_ALL };

	WARN_ON_ONCE(HYPERVISOR_mmuext_op(&ask, 1, NULL, DOMID_SELF));
}

/**
 * aeration_xb_pv_decrease - give extents to Xen, in a PV domain
 * @io: as struct xb_calls has it; @io->run_order is 0
 *
 * Frames that Xen does not take are mapped again.
 *
 * Context: process context; may take long; allocates nothing.
 * Return: as there.
 */
unsigned int aeration_xb_pv_decrease(struct xb_io *io)
{
	unsigned int i, done;

	for (i = 0; i < io->nr; i++)
		unmap(io, i);
	flush();
	done = aeration_xb_call(XENMEM_decrease_reservation, io);
	for (i = done; i < io->nr; i++)
		map(io, i);
	return done;
}

/**
 * aeration_xb_pv_populate - have Xen put memory behind extents, in a PV domain
 * @io: as struct xb_calls has it; @io->run_order is 0
 *
 * Context: process context, memory reclaim included; may take long; allocates
 *	nothing.
 * Return: as there.
 */
unsigned int aeration_xb_pv_populate(struct xb_io *io)
{
	unsigned int i, done;

	for (i = 0; i < io->nr; i++)
		io->frame[i] = io->pfn[i];
	done = aeration_xb_call(XENMEM_populate_physmap, io);
	for (i = 0; i < done; i++)
		map(io, i);
	return done;
}
