/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Carry a batch to Xen, and know exactly what became of every page of it.
 *
 * Xen does a list of extents in order and says how many it has done. When that
 * is fewer than it was given, those before are done, those behind have not been
 * looked at, and the one in between may be done in part if it is larger than a
 * page (Xen 4.17 and 4.20, common/memory.c: decrease_reservation() removes an
 * extent page by page; populate_physmap() can fail in the middle of mapping
 * one). That one is asked about page by page, and then made whole with extents
 * of one page, one way or the other.
 *
 * deliver.c calls nothing but the functions that it is given, so that a unit
 * test can put a hypervisor behind them that stops anywhere.
 */
#ifndef _AERATION_XEN_DELIVER_H
#define _AERATION_XEN_DELIVER_H

#include <linux/memory_aeration.h>

/*
 * Most pages in one hypercall, 4 MiB, so that it is soon over: nothing else runs on
 * this processor meanwhile. The call itself costs next to nothing beside that.
 * Processors that were emulated, and had to interrupt each other for each page, were
 * seen to take 1.6 s for a MiB, and a lockup is 20 s.
 */
#define XB_CALL_PAGES	1024

/* Most pages in a block that can be delivered: the kernel's own most on x86. */
#define XB_BLOCK_PAGES	1024

struct xb_io;

/**
 * struct xb_calls - what Xen does
 * @decrease: Give the first @nr extents of an xb_io to Xen, all backed. Return how
 *	many have no backing any more. Of the next one any part may have none, unless
 *	it is one page or @err is set; those behind are as they were.
 * @populate: The inverse, of extents of which none is backed: Xen would lose the
 *	memory that it finds there.
 * @is_backed: Return 1 if there is memory behind a page, 0 if not, or a negative error
 *	if Xen does not say.
 * @flags: Return what populate has to say besides, public/memory.h's mem_flags, of the
 *	extent with this first page. Those that differ in it go in different calls.
 */
struct xb_calls {
	unsigned int (*decrease)(struct xb_io *io);
	unsigned int (*populate)(struct xb_io *io);
	int (*is_backed)(unsigned long pfn);
	unsigned int (*flags)(unsigned long pfn);
};

/**
 * struct xb_io - what one delivery works with; nothing else is allocated
 * @xen: what Xen does; a constant, set by the caller
 * @order: order of the extents of a batch; set by the caller for the whole
 *	delivery
 * @run_order: order of the extents of the hypercall at hand
 * @nr: extents in it
 * @flags: what it has to say besides, the same for all of them; 0 to decrease
 * @err: the negative error that the hypercall returned, or 0
 * @pfn: first page of each extent
 * @frame: room for what the hypercall itself is given; those functions' own
 * @backed: which pages of the block at hand have memory behind them
 */
struct xb_io {
	const struct xb_calls *xen;
	unsigned int order;
	unsigned int run_order;
	unsigned int nr;
	unsigned int flags;
	int err;
	unsigned long pfn[XB_CALL_PAGES];
	unsigned long frame[XB_CALL_PAGES];
	bool backed[XB_BLOCK_PAGES];
};

int aeration_xb_deliver(struct xb_io *io, struct aerator_batch *batch);
int aeration_xb_fetch(struct xb_io *io, struct aerator_batch *batch);

#endif /* _AERATION_XEN_DELIVER_H */
