// SPDX-License-Identifier: GPL-2.0
/*
 * See deliver.h. Pure: also compiled in user space.
 */
#ifdef __KERNEL__
#include <linux/errno.h>
#include <linux/string.h>
#else
#include <errno.h>
#include <string.h>
#endif
#include "deliver.h"

/**
 * struct place - a page of a batch, or the end of the batch
 * @block: index of its block
 * @page: its index in that block
 */
struct place {
	unsigned int block;
	unsigned long page;
};

static unsigned long block_pages(const struct aerator_block *block)
{
	return 1UL << block->order;
}

static void advance(const struct aerator_batch *batch, struct place *at,
		    unsigned long pages)
{
	at->page += pages;
	while (at->block < batch->nr &&
	       at->page >= block_pages(&batch->block[at->block])) {
		at->page -= block_pages(&batch->block[at->block]);
		at->block++;
	}
}

static unsigned int call(struct xb_io *io, bool populate)
{
	return populate ? io->xen->populate(io) : io->xen->decrease(io);
}

/* Have an extent in the next hypercall. Return: false if it has to go in another. */
static bool add(struct xb_io *io, bool populate, unsigned long pfn)
{
	unsigned int flags = populate ? io->xen->flags(pfn) : 0;

	if (io->nr && flags != io->flags)
		return false;
	io->flags = flags;
	io->pfn[io->nr++] = pfn;
	return true;
}

/* List extents for one hypercall, from a place on. */
static void list_extents(struct xb_io *io, const struct aerator_batch *batch,
			 bool populate, struct place at)
{
	unsigned int most = XB_CALL_PAGES >> io->order;

	io->run_order = io->order;
	io->nr = 0;
	while (io->nr < most && at.block < batch->nr &&
	       add(io, populate, batch->block[at.block].pfn + at.page))
		advance(batch, &at, 1UL << io->order);
}

/*
 * Have Xen do a whole batch.
 * Return: the first page that it has not done. What of the extent there has been
 * done is not known.
 */
static struct place do_extents(struct xb_io *io,
			       const struct aerator_batch *batch,
			       bool populate)
{
	struct place at = { 0, 0 };
	unsigned int done;

	io->err = 0;
	do {
		list_extents(io, batch, populate, at);
		done = call(io, populate);
		advance(batch, &at, (unsigned long)done << io->order);
	} while (done == io->nr && at.block < batch->nr);
	return at;
}

/*
 * Find out which pages of a block are backed. All those before @stop are what
 * the call makes them, all those behind the extent there are what they were, and
 * so is that extent if it cannot be done in part: if it is one page, or if the
 * call failed as a whole.
 * Return: false if Xen does not say.
 */
static bool look(struct xb_io *io, const struct aerator_block *block,
		 unsigned long stop, bool populated)
{
	unsigned long i, asked = stop;

	if (io->order && !io->err)
		asked += 1UL << io->order;
	for (i = 0; i < block_pages(block); i++) {
		int backed = i < stop ? populated : !populated;

		if (i >= stop && i < asked)
			backed = io->xen->is_backed(block->pfn + i);
		if (backed < 0)
			return false;
		io->backed[i] = backed;
	}
	return true;
}

static unsigned long count_backed(const struct xb_io *io,
				  const struct aerator_block *block)
{
	unsigned long i, nr = 0;

	for (i = 0; i < block_pages(block); i++)
		nr += io->backed[i];
	return nr;
}

static enum aerator_block_state state_of(const struct xb_io *io,
					 const struct aerator_block *block)
{
	unsigned long backed = count_backed(io, block);

	if (!backed)
		return AERATOR_BLOCK_HELD;
	return backed == block_pages(block) ? AERATOR_BLOCK_ISOLATED :
					      AERATOR_BLOCK_QUARANTINED;
}

/*
 * Have those pages of a block that are not backed populated, or those that are
 * removed, one by one. Never the others: Xen loses the memory of a page that it
 * populates again.
 */
static void make(struct xb_io *io, const struct aerator_block *block,
		 bool backed)
{
	unsigned long at = 0, next = 0;
	unsigned int done, seen;

	io->run_order = 0;
	do {
		io->nr = 0;
		for (; next < block_pages(block); next++)
			if (io->backed[next] != backed &&
			    !add(io, backed, block->pfn + next))
				break;
		if (!io->nr)
			return;
		done = call(io, backed);
		for (seen = 0; seen < done; at++)
			if (io->backed[at] != backed) {
				io->backed[at] = backed;
				seen++;
			}
	} while (done == io->nr);
}

/*
 * Make a block whole: the way that is wanted, or else the other one.
 * Return: what it is then; QUARANTINED if Xen lets it be neither.
 */
static enum aerator_block_state mend(struct xb_io *io,
				     const struct aerator_block *block,
				     bool backed)
{
	enum aerator_block_state state;

	make(io, block, backed);
	state = state_of(io, block);
	if (state != AERATOR_BLOCK_QUARANTINED)
		return state;
	make(io, block, !backed);
	return state_of(io, block);
}

static void set_states(struct aerator_batch *batch, unsigned int from,
		       unsigned int to, enum aerator_block_state state)
{
	for (; from < to; from++)
		batch->block[from].state = state;
}

/* Extents must fit into every block, and every block into what we have. */
static int fit_order(struct xb_io *io, const struct aerator_batch *batch)
{
	unsigned int i;

	for (i = 0; i < batch->nr; i++) {
		if (block_pages(&batch->block[i]) > XB_BLOCK_PAGES)
			return -EINVAL;
		if (batch->block[i].order < io->order)
			io->order = batch->block[i].order;
	}
	return 0;
}

/**
 * aeration_xb_deliver - hand the memory behind a batch to Xen
 * @io: to work with; its order is made smaller if blocks are smaller
 * @batch: blocks that are backed
 *
 * The first block that Xen does not take as a whole is mended, and those behind
 * it are not offered.
 *
 * Context: process context; makes hypercalls; allocates nothing.
 * Return: 0 with the state of every block set to HELD, ISOLATED or QUARANTINED;
 *	or, if every block is backed as it was, whatever its state says, the
 *	error of the hypercall, -EAGAIN if Xen took none, -EINVAL for a block that
 *	is too large.
 */
int aeration_xb_deliver(struct xb_io *io, struct aerator_batch *batch)
{
	int err = fit_order(io, batch);
	struct aerator_block *block;
	struct place at;

	if (err)
		return err;
	at = do_extents(io, batch, false);
	set_states(batch, 0, at.block, AERATOR_BLOCK_HELD);
	set_states(batch, at.block, batch->nr, AERATOR_BLOCK_ISOLATED);
	if (at.block == batch->nr)
		return 0;

	err = io->err ? io->err : -EAGAIN;
	block = &batch->block[at.block];
	if (!look(io, block, at.page, false))
		block->state = AERATOR_BLOCK_QUARANTINED;
	else if (state_of(io, block) != AERATOR_BLOCK_ISOLATED)
		block->state = mend(io, block, false);
	else if (!at.block)
		return err;
	return 0;
}

/**
 * aeration_xb_fetch - have Xen put memory behind a batch again
 * @io: to work with; its order is made smaller if blocks are smaller
 * @batch: blocks without any backing
 *
 * What does not come as extents of the order asked for comes page by page, if
 * the host has the memory: it may have no more large pieces.
 *
 * Context: process context, memory reclaim included; makes hypercalls;
 *	allocates nothing.
 * Return: 0 with the state of every block set to ISOLATED, HELD or QUARANTINED;
 *	or, if no block has any backing, whatever its state says, the error of
 *	the hypercall, -EAGAIN if Xen gave nothing, -EINVAL for a block that is
 *	too large.
 */
int aeration_xb_fetch(struct xb_io *io, struct aerator_batch *batch)
{
	enum aerator_block_state state = AERATOR_BLOCK_ISOLATED;
	int err = fit_order(io, batch);
	struct place at;

	if (err)
		return err;
	at = do_extents(io, batch, true);
	err = io->err ? io->err : -EAGAIN;
	set_states(batch, 0, at.block, AERATOR_BLOCK_ISOLATED);
	set_states(batch, at.block, batch->nr, AERATOR_BLOCK_HELD);
	if (at.block == batch->nr)
		return 0;

	if (!look(io, &batch->block[at.block], at.page, true)) {
		batch->block[at.block].state = AERATOR_BLOCK_QUARANTINED;
		return 0;
	}
	while (state == AERATOR_BLOCK_ISOLATED && at.block < batch->nr) {
		state = mend(io, &batch->block[at.block], true);
		if (state == AERATOR_BLOCK_HELD && !at.block)
			return err;
		batch->block[at.block].state = state;
		/* Xen has not looked at those behind. */
		memset(io->backed, false, sizeof(io->backed));
		at.block++;
	}
	return 0;
}
