// SPDX-License-Identifier: GPL-2.0
/*
 * A batch against a Xen that stops anywhere, also within an extent. Whatever it
 * does, what the blocks say must be what there is, and no memory may be lost.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "deliver.h"
#include "ktap.h"

#define BLOCK_ORDER	9
#define BLOCK_PAGES	(1UL << BLOCK_ORDER)
#define BLOCKS		20U	/* at order 0: more than one hypercall */
#define BASE		0x100000UL
#define PAGES		(2 * BLOCKS * BLOCK_PAGES)
#define CALLS		12	/* with a plan: what singles of BLOCKS take, and more */
#define ROUNDS		20000

/* What Xen does in one call. */
struct plan {
	int err;		/* returned at once, if not 0 */
	unsigned int stop_at;	/* extent that fails */
	unsigned int part;	/* pages of it that are done all the same */
};

/* The hypervisor: what is behind each page, and how it behaves. */
static struct {
	bool backed[PAGES];
	bool stuck[PAGES];	/* cannot be taken */
	unsigned long left;	/* pages that the host has to give */
	unsigned int most;	/* largest order it takes */
	struct plan plan[CALLS];
	unsigned int planned;	/* calls that a plan exists for */
	unsigned int calls;
	unsigned long questions;
	bool dumb;		/* does not answer questions */
	unsigned long node;	/* so many pages of each node side by side; 0: one node */
	unsigned long lost;	/* pages populated twice */
} xen;

static struct xb_io io;
static struct aerator_batch *batch;

static const struct xb_calls calls;

static void healthy(bool backed)
{
	memset(&xen, 0, sizeof(xen));
	memset(xen.backed, backed, sizeof(xen.backed));
	xen.left = PAGES;
	xen.most = BLOCK_ORDER;
	io.xen = &calls;
}

/* A page changes hands. Return: whether it did. */
static bool take_page(unsigned long pfn)
{
	bool *backed = &xen.backed[pfn - BASE];

	if (!*backed || xen.stuck[pfn - BASE])
		return false;
	*backed = false;
	xen.left++;
	return true;
}

static bool give_page(unsigned long pfn)
{
	bool *backed = &xen.backed[pfn - BASE];

	xen.lost += *backed;
	*backed = true;
	xen.left--;
	return true;
}

/* Removing goes page by page, populating needs the whole extent first. */
static bool do_extent(unsigned long pfn, unsigned int order, bool populate,
		      unsigned int pages)
{
	unsigned int i;

	if (populate && xen.left < 1UL << order)
		return false;
	for (i = 0; i < pages; i++)
		if (!(populate ? give_page(pfn + i) : take_page(pfn + i)))
			return false;
	return pages == 1U << order;
}

static unsigned int flags(unsigned long pfn)
{
	return xen.node ? (pfn - BASE) / xen.node % 3 : 0;
}

static unsigned int hypercall(struct xb_io *ask, bool populate)
{
	struct plan plan = { 0, ~0U, 0 };
	unsigned int i;

	EXPECT(ask->nr > 0 && ask->nr << ask->run_order <= XB_CALL_PAGES);
	for (i = 0; i < ask->nr; i++)
		EXPECT_EQ(populate ? flags(ask->pfn[i]) : 0, ask->flags);
	if (xen.calls < xen.planned)
		plan = xen.plan[xen.calls];
	xen.calls++;
	ask->err = plan.err;
	if (plan.err || ask->run_order > xen.most)
		return 0;
	for (i = 0; i < ask->nr; i++) {
		unsigned int pages = 1U << ask->run_order;

		EXPECT_EQ(ask->pfn[i] & (pages - 1), 0);
		if (i == plan.stop_at)
			pages = plan.part < pages ? plan.part : pages - 1;
		if (!do_extent(ask->pfn[i], ask->run_order, populate, pages))
			break;
	}
	return i;
}

static unsigned int decrease(struct xb_io *ask)
{
	return hypercall(ask, false);
}

static unsigned int populate(struct xb_io *ask)
{
	return hypercall(ask, true);
}

static int is_backed(unsigned long pfn)
{
	xen.questions++;
	return xen.dumb ? -EIO : xen.backed[pfn - BASE];
}

static const struct xb_calls calls = {
	.decrease = decrease,
	.populate = populate,
	.is_backed = is_backed,
	.flags = flags,
};

static void make_batch(unsigned int nr, unsigned int order)
{
	unsigned int i;

	batch->nr = nr;
	for (i = 0; i < nr; i++) {
		/* Blocks do not lie side by side, or in order. */
		batch->block[i].pfn = BASE + ((2UL * (nr - 1 - i)) << order);
		batch->block[i].order = order;
		batch->block[i].state = AERATOR_BLOCK_IN_FLIGHT;
	}
}

static unsigned long truth(unsigned int b)
{
	const struct aerator_block *block = &batch->block[b];
	unsigned long i, backed = 0;

	for (i = 0; i < 1UL << block->order; i++)
		backed += xen.backed[block->pfn - BASE + i];
	return backed;
}

static unsigned int count(enum aerator_block_state state)
{
	unsigned int i, nr = 0;

	for (i = 0; i < batch->nr; i++)
		nr += batch->block[i].state == state;
	return nr;
}

/* Every block is what it says it is. Quarantine is for what is neither. */
static void check(int err, bool was_backed)
{
	unsigned int b;

	EXPECT_EQ(xen.lost, 0);
	for (b = 0; b < batch->nr; b++) {
		const struct aerator_block *block = &batch->block[b];
		unsigned long backed = truth(b), all = 1UL << block->order;

		if (err) {
			EXPECT_EQ(backed, was_backed ? all : 0);
		} else if (block->state == AERATOR_BLOCK_HELD) {
			EXPECT_EQ(backed, 0);
		} else if (block->state == AERATOR_BLOCK_ISOLATED) {
			EXPECT_EQ(backed, all);
		} else {
			EXPECT_EQ(block->state, AERATOR_BLOCK_QUARANTINED);
			EXPECT(xen.dumb || (backed && backed < all));
		}
	}
}

static int deliver(unsigned int order)
{
	int err;

	io.order = order;
	err = aeration_xb_deliver(&io, batch);
	check(err, true);
	return err;
}

static int fetch(unsigned int order)
{
	int err;

	io.order = order;
	err = aeration_xb_fetch(&io, batch);
	check(err, false);
	return err;
}

static void there_and_back_in_every_order(void)
{
	unsigned int order;

	for (order = 0; order <= BLOCK_ORDER; order++) {
		unsigned int extents = BLOCKS << (BLOCK_ORDER - order);
		unsigned int each = XB_CALL_PAGES >> order;
		unsigned int calls = (extents + each - 1) / each;

		healthy(true);
		make_batch(BLOCKS, BLOCK_ORDER);
		EXPECT_EQ(deliver(order), 0);
		EXPECT_EQ(count(AERATOR_BLOCK_HELD), BLOCKS);
		EXPECT_EQ(xen.calls, calls);
		EXPECT_EQ(fetch(order), 0);
		EXPECT_EQ(count(AERATOR_BLOCK_ISOLATED), BLOCKS);
		EXPECT_EQ(xen.calls, 2 * calls);
		EXPECT_EQ(xen.questions, 0);
	}
}

/* Of all extents of an order, the call that has this one ends there. */
static void plan_stop(unsigned int order, unsigned int extent,
		      unsigned int part)
{
	unsigned int each = XB_CALL_PAGES >> order, i;

	for (i = 0; i < extent / each; i++)
		xen.plan[i].stop_at = ~0U;
	xen.plan[i].stop_at = extent % each;
	xen.plan[i].part = part;
	xen.planned = i + 1;
}

/* Each extent goes with those of its own node only, the first page decides. */
static void nodes_go_apart(void)
{
	unsigned long node;
	unsigned int order;

	for (node = 1; node < 3 * BLOCK_PAGES; node += 61)
		for (order = 0; order <= BLOCK_ORDER; order += 3) {
			healthy(true);
			xen.node = node;
			make_batch(4, BLOCK_ORDER);
			EXPECT_EQ(deliver(order), 0);
			EXPECT_EQ(count(AERATOR_BLOCK_HELD), 4);
			/* Of the third block there is less than a whole extent. */
			xen.left = 2 * BLOCK_PAGES + BLOCK_PAGES / 2;
			EXPECT_EQ(fetch(order), 0);
			EXPECT_EQ(count(AERATOR_BLOCK_ISOLATED), 2);
			EXPECT_EQ(count(AERATOR_BLOCK_HELD), 2);
			EXPECT_EQ(xen.left, BLOCK_PAGES / 2);
		}
	healthy(true);
	xen.node = 2 * BLOCK_PAGES;
	make_batch(4, BLOCK_ORDER);
	EXPECT_EQ(deliver(BLOCK_ORDER), 0);
	EXPECT_EQ(xen.calls, 2);
	EXPECT_EQ(fetch(BLOCK_ORDER), 0);
	EXPECT_EQ(xen.calls, 6);

	/* Those of one node go together: here the first two and the last two. */
	healthy(false);
	xen.node = 4 * BLOCK_PAGES;
	make_batch(4, BLOCK_ORDER);
	EXPECT_EQ(fetch(BLOCK_ORDER), 0);
	EXPECT_EQ(xen.calls, 2);

	/* A block of two nodes, that is mended: one call that fails, and two. */
	healthy(false);
	xen.node = BLOCK_PAGES / 2;
	make_batch(1, BLOCK_ORDER);
	plan_stop(BLOCK_ORDER, 0, 0);
	EXPECT_EQ(fetch(BLOCK_ORDER), 0);
	EXPECT_EQ(count(AERATOR_BLOCK_ISOLATED), 1);
	EXPECT_EQ(xen.calls, 3);
}

/* A removal that was begun is finished; one that was not is left. */
static void decrease_stops_at_every_index(void)
{
	static const unsigned int orders[] = { 9, 8, 6 };
	static const unsigned int parts[] = { 0, 1, 31, 63 };
	unsigned int o, p, i;

	for (o = 0; o < 3; o++)
		for (p = 0; p < 4; p++)
			for (i = 0; i < BLOCKS << (BLOCK_ORDER - orders[o]);
			     i++) {
				unsigned int each = BLOCK_ORDER - orders[o];
				bool begun = parts[p] || i & ((1U << each) - 1);
				int err;

				healthy(true);
				make_batch(BLOCKS, BLOCK_ORDER);
				plan_stop(orders[o], i, parts[p]);
				err = deliver(orders[o]);
				EXPECT_EQ(err, i || parts[p] ? 0 : -EAGAIN);
				if (err)
					continue;
				EXPECT_EQ(count(AERATOR_BLOCK_HELD),
					  (i >> each) + begun);
				EXPECT_EQ(count(AERATOR_BLOCK_QUARANTINED), 0);
				EXPECT_EQ(xen.questions, 1U << orders[o]);
			}
}

/* What does not come in large pieces comes in small ones. */
static void populate_stops_at_every_index(void)
{
	static const unsigned int orders[] = { 9, 8, 6 };
	static const unsigned int parts[] = { 0, 1, 31, 63 };
	unsigned int o, p, i;

	for (o = 0; o < 3; o++)
		for (p = 0; p < 4; p++)
			for (i = 0; i < BLOCKS << (BLOCK_ORDER - orders[o]);
			     i++) {
				healthy(false);
				make_batch(BLOCKS, BLOCK_ORDER);
				plan_stop(orders[o], i, parts[p]);
				EXPECT_EQ(fetch(orders[o]), 0);
				EXPECT_EQ(count(AERATOR_BLOCK_ISOLATED),
					  BLOCKS);
			}
}

/* Single pages are done or not: nothing has to be asked. */
static void single_pages_stop_at_every_index(void)
{
	unsigned int i;

	for (i = 1; i < BLOCKS * BLOCK_PAGES; i += 7) {
		healthy(true);
		make_batch(BLOCKS, BLOCK_ORDER);
		plan_stop(0, i, 0);
		EXPECT_EQ(deliver(0), 0);
		EXPECT_EQ(count(AERATOR_BLOCK_HELD),
			  (i + BLOCK_PAGES - 1) / BLOCK_PAGES);
		EXPECT_EQ(xen.questions, 0);

		healthy(false);
		make_batch(BLOCKS, BLOCK_ORDER);
		plan_stop(0, i, 0);
		EXPECT_EQ(fetch(0), 0);
		EXPECT_EQ(count(AERATOR_BLOCK_ISOLATED), BLOCKS);
		EXPECT_EQ(xen.questions, 0);
	}
}

/* The host has so many pages and no more: whole blocks come, the rest stays. */
static void host_runs_out_at_every_page(void)
{
	unsigned long left;
	unsigned int order;

	for (order = 0; order <= BLOCK_ORDER; order += 3)
		for (left = 0; left < 4 * BLOCK_PAGES; left += 5) {
			healthy(false);
			make_batch(4, BLOCK_ORDER);
			xen.left = left;
			EXPECT_EQ(fetch(order), left < BLOCK_PAGES ? -EAGAIN : 0);
			if (left < BLOCK_PAGES)
				continue;
			EXPECT_EQ(count(AERATOR_BLOCK_ISOLATED),
				  left / BLOCK_PAGES);
			EXPECT_EQ(count(AERATOR_BLOCK_QUARANTINED), 0);
			EXPECT_EQ(xen.left, left % BLOCK_PAGES);
			EXPECT(xen.calls <= 8);
		}
}

/* A page that cannot be taken: its block comes back whole, or is nobody's. */
static void page_is_stuck(void)
{
	unsigned long page;

	for (page = 0; page < BLOCK_PAGES; page += 3) {
		healthy(true);
		make_batch(4, BLOCK_ORDER);
		xen.stuck[batch->block[1].pfn - BASE + page] = true;
		EXPECT_EQ(deliver(BLOCK_ORDER), 0);
		EXPECT_EQ(count(AERATOR_BLOCK_HELD), 1);
		EXPECT_EQ(count(AERATOR_BLOCK_ISOLATED), 3);
	}
	healthy(true);
	make_batch(4, BLOCK_ORDER);
	xen.stuck[batch->block[1].pfn - BASE + 7] = true;
	xen.plan[0].stop_at = ~0U;
	xen.plan[1].stop_at = 0;
	xen.plan[2].stop_at = 3;	/* populating again */
	xen.planned = 3;
	EXPECT_EQ(deliver(BLOCK_ORDER), 0);
	EXPECT_EQ(batch->block[1].state, AERATOR_BLOCK_QUARANTINED);
	EXPECT_EQ(count(AERATOR_BLOCK_QUARANTINED), 1);
}

static void nobody_answers(void)
{
	healthy(true);
	make_batch(4, BLOCK_ORDER);
	xen.dumb = true;
	plan_stop(BLOCK_ORDER, 2, 100);
	EXPECT_EQ(deliver(BLOCK_ORDER), 0);
	EXPECT_EQ(count(AERATOR_BLOCK_HELD), 2);
	EXPECT_EQ(batch->block[2].state, AERATOR_BLOCK_QUARANTINED);
	EXPECT_EQ(count(AERATOR_BLOCK_ISOLATED), 1);
	EXPECT_EQ(xen.calls, 2);

	healthy(false);
	make_batch(4, BLOCK_ORDER);
	xen.dumb = true;
	plan_stop(BLOCK_ORDER, 2, 100);
	EXPECT_EQ(fetch(BLOCK_ORDER), 0);
	EXPECT_EQ(count(AERATOR_BLOCK_ISOLATED), 2);
	EXPECT_EQ(batch->block[2].state, AERATOR_BLOCK_QUARANTINED);
	EXPECT_EQ(count(AERATOR_BLOCK_HELD), 1);
	EXPECT_EQ(xen.calls, 2);
}

static void no_such_hypercall(void)
{
	unsigned int i;

	healthy(true);
	make_batch(BLOCKS, BLOCK_ORDER);
	xen.plan[0].err = -ENOSYS;
	xen.planned = 1;
	EXPECT_EQ(deliver(BLOCK_ORDER), -ENOSYS);
	EXPECT_EQ(xen.calls, 1);

	healthy(false);
	for (i = 0; i < CALLS; i++)
		xen.plan[i].err = -ENOSYS;
	xen.planned = CALLS;
	EXPECT_EQ(fetch(BLOCK_ORDER), -ENOSYS);

	/* In the second call of a batch: what the first one did is done. */
	healthy(true);
	make_batch(BLOCKS, BLOCK_ORDER);
	xen.plan[0].stop_at = ~0U;
	xen.plan[1].err = -EPERM;
	xen.planned = 2;
	EXPECT_EQ(deliver(0), 0);
	EXPECT_EQ(count(AERATOR_BLOCK_HELD), XB_CALL_PAGES / BLOCK_PAGES);
	EXPECT_EQ(xen.questions, 0);
}

static void order_is_too_large(void)
{
	healthy(true);
	make_batch(BLOCKS, BLOCK_ORDER);
	xen.most = 4;
	EXPECT_EQ(deliver(BLOCK_ORDER), -EAGAIN);
	EXPECT_EQ(deliver(4), 0);
	EXPECT_EQ(count(AERATOR_BLOCK_HELD), BLOCKS);
	/* Restored page by page, as a host without large pieces would. */
	EXPECT_EQ(fetch(BLOCK_ORDER), 0);
	EXPECT_EQ(count(AERATOR_BLOCK_ISOLATED), BLOCKS);
}

static void blocks_of_other_orders(void)
{
	healthy(true);
	make_batch(4, 3);
	EXPECT_EQ(deliver(BLOCK_ORDER), 0);
	EXPECT_EQ(io.order, 3);
	EXPECT_EQ(count(AERATOR_BLOCK_HELD), 4);

	healthy(true);
	make_batch(3, 10);
	EXPECT_EQ(deliver(BLOCK_ORDER), 0);
	EXPECT_EQ(count(AERATOR_BLOCK_HELD), 3);

	make_batch(1, 11);
	io.order = BLOCK_ORDER;
	EXPECT_EQ(aeration_xb_deliver(&io, batch), -EINVAL);
	EXPECT_EQ(aeration_xb_fetch(&io, batch), -EINVAL);
	EXPECT_EQ(batch->block[0].state, AERATOR_BLOCK_IN_FLIGHT);
}

/* Anything at any time. */
static void everything_goes_wrong(void)
{
	unsigned int round, i;

	for (round = 0; round < ROUNDS; round++) {
		bool backed = ktap_random() & 1;
		unsigned int nr = 1 + ktap_random() % 4;

		healthy(backed);
		make_batch(nr, BLOCK_ORDER);
		xen.node = ktap_random() % (3 * BLOCK_PAGES);
		xen.planned = ktap_random() % CALLS;
		for (i = 0; i < xen.planned; i++) {
			xen.plan[i].stop_at = ktap_random() % 600;
			if (ktap_random() & 1)
				xen.plan[i].stop_at %= nr;
			xen.plan[i].part = ktap_random() % 512;
			xen.plan[i].err = ktap_random() % 8 ? 0 : -EFAULT;
		}
		xen.left = ktap_random() % (nr * BLOCK_PAGES + 1);
		for (i = ktap_random() % 4; i; i--)
			xen.stuck[ktap_random() % (8 * BLOCK_PAGES)] = true;
		xen.dumb = !(ktap_random() % 16);
		if (backed)
			deliver(ktap_random() % (BLOCK_ORDER + 1));
		else
			fetch(ktap_random() % (BLOCK_ORDER + 1));
	}
}

int main(void)
{
	batch = calloc(1, sizeof(*batch) + BLOCKS * sizeof(batch->block[0]));
	if (!batch)
		return 1;
	RUN(there_and_back_in_every_order);
	RUN(nodes_go_apart);
	RUN(decrease_stops_at_every_index);
	RUN(populate_stops_at_every_index);
	RUN(single_pages_stop_at_every_index);
	RUN(host_runs_out_at_every_page);
	RUN(page_is_stuck);
	RUN(nobody_answers);
	RUN(no_such_hypercall);
	RUN(order_is_too_large);
	RUN(blocks_of_other_orders);
	RUN(everything_goes_wrong);
	free(batch);
	return ktap_end();
}
