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
 * deliver.c calls nothing but the three functions at the end of this file, so
 * that a unit test can put a hypervisor behind them that stops anywhere.
 */
#ifndef _AERATION_XEN_DELIVER_H
#define _AERATION_XEN_DELIVER_H

#include <linux/memory_aeration.h>

/*
 * Most extents in one hypercall: one entry of 2 MiB extents for each block of
 * the largest batch, and enough of single pages for the cost of the call itself
 * not to matter.
 */
#define XB_EXTENTS	4096

/* Most pages in a block that can be delivered: the kernel's own most on x86. */
#define XB_BLOCK_PAGES	1024

/**
 * struct xb_io - what one delivery works with; nothing else is allocated
 * @order: order of the extents of a batch; set by the caller for the whole
 *	delivery
 * @most: most pages in one hypercall, but for one extent that is larger; set by
 *	the caller and by the three functions
 * @run_order: order of the extents of the hypercall at hand
 * @nr: extents in it
 * @err: the negative error that the hypercall returned, or 0
 * @pfn: first page of each extent
 * @frame: room for what the hypercall itself is given; the three functions' own
 * @backed: which pages of the block at hand have memory behind them
 */
struct xb_io {
	unsigned int order;
	unsigned long most;
	unsigned int run_order;
	unsigned int nr;
	int err;
	unsigned long pfn[XB_EXTENTS];
	unsigned long frame[XB_EXTENTS];
	bool backed[XB_BLOCK_PAGES];
};

int aeration_xb_deliver(struct xb_io *io, struct aerator_batch *batch);
int aeration_xb_fetch(struct xb_io *io, struct aerator_batch *batch);

/* What Xen does; memory.c. */
unsigned int aeration_xb_decrease(struct xb_io *io);
unsigned int aeration_xb_populate(struct xb_io *io);
int aeration_xb_is_backed(unsigned long pfn);

#endif /* _AERATION_XEN_DELIVER_H */
