// SPDX-License-Identifier: GPL-2.0
/*
 * backends/xen/deliver.c against every hypervisor there can be, within bounds.
 *
 * Of each hypercall every outcome is tried: an error, or any number of extents done; of
 * the extent that fails every set of its pages, done all the same; of each question an
 * answer or none. All that deliver.c hears of Xen is counts, errors and answers. So a
 * Xen that lies is among these, too, for what deliver.c does; what there is in truth
 * after a lie is looked at by itself.
 *
 * Bounds: batches of up to 4 blocks of 1 to 4 pages, or one of 8, in extents of any such
 * size; calls of up to 8 or 16 pages where the product has 1024, and of 4 or 8 for the
 * smaller ones; pages of one node, or of nodes that change after every 1, 2 or 3 pages.
 */
#include <errno.h>
#include <string.h>
#include "deliver.h"
#include "enum.h"

#define ORDER_MOST	3
#define PAGES_MOST	(1U << ORDER_MOST)
#define BLOCKS_MOST	4
#define BASE		0x100UL
#define PAGES		(2 * BLOCKS_MOST * PAGES_MOST)	/* every other one is not ours */
#define CALLS_MOST	64

/* The product's own numbers are in the way: the smallest that show the same. */
static unsigned int call_pages;
#undef XB_CALL_PAGES
#define XB_CALL_PAGES	call_pages
#undef XB_BLOCK_PAGES
#define XB_BLOCK_PAGES	PAGES_MOST
#include "deliver.c"

/* What Xen is like on this path. */
static struct {
	bool backed[PAGES];	/* in truth */
	bool ours[PAGES];	/* in the batch */
	bool lied[PAGES];	/* Xen said another thing of it than it did */
	bool liar;
	bool mute;		/* has left a question without an answer */
	bool error;		/* has returned an error */
	bool changed;		/* has done anything, or said so */
	unsigned int node;	/* pages of a node side by side; 0: one node */
	unsigned int calls;
} xen;

static struct xb_io io;
static struct aerator_batch *batch;

static unsigned int flags(unsigned long pfn)
{
	return xen.node ? (pfn - BASE) / xen.node % 2 : 0;
}

/* Never a page of others'; from an honest Xen only what it has told of as such. */
static void check_asked(const struct xb_io *ask, bool populate)
{
	unsigned int i, p, pages = 1U << ask->run_order;

	EXPECT(ask->nr > 0 && ask->nr << ask->run_order <= call_pages);
	for (i = 0; i < ask->nr; i++) {
		unsigned long at = ask->pfn[i] - BASE;

		EXPECT_EQ(ask->pfn[i] & (pages - 1), 0);
		EXPECT_EQ(populate ? flags(ask->pfn[i]) : 0, ask->flags);
		if (at + pages > PAGES) {
			EXPECT(!"beyond all memory");
			continue;
		}
		for (p = 0; p < pages; p++) {
			EXPECT(xen.ours[at + p]);
			EXPECT(xen.lied[at + p] ||
			       xen.backed[at + p] == !populate);
		}
	}
}

/* Of an extent that Xen says it has done; a liar may have done nothing. */
static void do_whole(unsigned long at, unsigned int pages, bool backed)
{
	unsigned int p;
	bool lie = xen.liar && choose(2);

	xen.changed = true;
	for (p = 0; p < pages; p++) {
		if (lie)
			xen.lied[at + p] = true;
		else
			xen.backed[at + p] = backed;
	}
}

/* Of one that it says it has not: any of its pages; of a single one none, but by a lie. */
static void do_part(unsigned long at, unsigned int pages, bool backed)
{
	unsigned int set, p;

	if (pages == 1 && !xen.liar)
		return;
	set = choose(1U << pages);
	xen.changed |= set;
	for (p = 0; p < pages; p++) {
		if (!(set >> p & 1))
			continue;
		xen.backed[at + p] = backed;
		xen.lied[at + p] |= pages == 1;
	}
}

static unsigned int hypercall(struct xb_io *ask, bool populate)
{
	unsigned int i, done, pages = 1U << ask->run_order;

	if (++xen.calls > CALLS_MOST)
		end_at_once("a delivery does not end");
	check_asked(ask, populate);
	ask->err = 0;
	if (ktap_case_bad)
		return 0;
	done = choose(ask->nr + 2);
	if (done > ask->nr) {
		ask->err = -EPERM;
		xen.error = true;
		return 0;
	}
	for (i = 0; i < done; i++)
		do_whole(ask->pfn[i] - BASE, pages, populate);
	if (done < ask->nr)
		do_part(ask->pfn[done] - BASE, pages, populate);
	return done;
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
	EXPECT(pfn >= BASE && pfn < BASE + PAGES && xen.ours[pfn - BASE]);
	if (choose(2)) {
		xen.mute = true;
		return -EIO;
	}
	return xen.backed[pfn - BASE];
}

static const struct xb_calls calls = {
	.decrease = decrease,
	.populate = populate,
	.is_backed = is_backed,
	.flags = flags,
};

static void begin(const unsigned int *order, unsigned int nr, unsigned int extent,
		  bool backed)
{
	unsigned int i, p;

	memset(xen.ours, 0, sizeof(xen.ours));
	memset(xen.lied, 0, sizeof(xen.lied));
	memset(xen.backed, backed, sizeof(xen.backed));
	xen.mute = false;
	xen.error = false;
	xen.changed = false;
	xen.calls = 0;
	io.xen = &calls;
	io.order = extent;
	/* What an earlier delivery has left there. */
	memset(io.backed, backed, PAGES_MOST);
	batch->nr = nr;
	for (i = 0; i < nr; i++) {
		struct aerator_block *block = &batch->block[i];

		/* Not side by side, and not in order. */
		block->pfn = BASE + 2UL * (nr - 1 - i) * PAGES_MOST;
		block->order = order[i];
		block->state = backed ? AERATOR_BLOCK_IN_FLIGHT :
					AERATOR_BLOCK_RESTORING;
		for (p = 0; p < 1U << order[i]; p++)
			xen.ours[block->pfn - BASE + p] = true;
	}
}

/* Return: how many pages of a block are backed; UINT_MAX if Xen lied about any. */
static unsigned int truth(const struct aerator_block *block)
{
	unsigned int p, nr = 0;

	for (p = 0; p < 1U << block->order; p++) {
		if (xen.lied[block->pfn - BASE + p])
			return ~0U;
		nr += xen.backed[block->pfn - BASE + p];
	}
	return nr;
}

/* A block that Xen did not lie about is what it says it is. */
static void check_block(const struct aerator_block *block, int err, bool was)
{
	unsigned int backed = truth(block), all = 1U << block->order;

	if (!err)
		EXPECT(block->state == AERATOR_BLOCK_HELD ||
		       block->state == AERATOR_BLOCK_ISOLATED ||
		       block->state == AERATOR_BLOCK_QUARANTINED);
	if (backed == ~0U)
		return;
	if (err)
		EXPECT_EQ(backed, was ? all : 0);
	else if (block->state == AERATOR_BLOCK_HELD)
		EXPECT_EQ(backed, 0);
	else if (block->state == AERATOR_BLOCK_ISOLATED)
		EXPECT_EQ(backed, all);
	else
		/* Nobody's only if it is in pieces, or nobody says. */
		EXPECT((backed && backed < all) || xen.mute);
}

static void check(int err, bool was)
{
	unsigned int i, lost = 0;

	EXPECT(!err || err == -EAGAIN || (err == -EPERM && xen.error));
	/* Who has nothing to show for it is told so. */
	EXPECT(err || xen.changed || xen.mute);
	for (i = 0; i < batch->nr; i++) {
		check_block(&batch->block[i], err, was);
		lost += !err && batch->block[i].state == AERATOR_BLOCK_QUARANTINED;
	}
	/* One that fails is the last that is tried. */
	EXPECT(lost <= 1);
}

/* Those behind the first that Xen does not take are not offered, nor touched. */
static void check_given(int err)
{
	unsigned int i = 0;

	if (err)
		return;
	while (i < batch->nr && batch->block[i].state == AERATOR_BLOCK_HELD)
		i++;
	for (i++; i < batch->nr; i++)
		EXPECT_EQ(batch->block[i].state, AERATOR_BLOCK_ISOLATED);
}

static void one_way(const unsigned int *order, unsigned int nr,
		    unsigned int extent, bool give)
{
	int err;

	do {
		begin(order, nr, extent, give);
		err = give ? aeration_xb_deliver(&io, batch) :
			     aeration_xb_fetch(&io, batch);
		check(err, give);
		if (give)
			check_given(err);
		if (ktap_case_bad) {
			printf("# %s, %u blocks of order %u %u %u %u, extents of order %u, %u pages a call, nodes of %u\n",
			       give ? "give" : "get back", nr, order[0], order[1],
			       order[2], order[3], extent, call_pages, xen.node);
			show_path();
		}
	} while (next_path());
}

/* Every batch of up to so many blocks, in every extent. */
static void every_batch(unsigned int most, unsigned int order_most, bool give)
{
	unsigned int order[BLOCKS_MOST] = { 0 }, nr, mix, rest, extent, i, calls_of;

	for (nr = 1; nr <= most; nr++)
		for (mix = 0; !ktap_case_bad; mix++) {
			for (rest = mix, i = 0; i < nr; i++) {
				order[i] = rest % (order_most + 1);
				rest /= order_most + 1;
			}
			if (rest)
				break;
			for (extent = 0; extent <= order_most; extent++)
				for (calls_of = 1; calls_of <= 2; calls_of++) {
					call_pages = calls_of << order_most;
					one_way(order, nr, extent, give);
				}
		}
}

static void every_way_to_give(void)
{
	xen.liar = false;
	xen.node = 0;
	every_batch(BLOCKS_MOST, 2, true);
	every_batch(1, ORDER_MOST, true);
	/* A block that is mended is populated, and then nodes matter. */
	for (xen.node = 1; xen.node <= 3; xen.node++)
		every_batch(2, 2, true);
	say_cases("give up to 4 blocks of up to 4 pages, or one of 8");
}

static void every_way_to_get_back(void)
{
	xen.liar = false;
	xen.node = 0;
	every_batch(BLOCKS_MOST, 2, false);
	every_batch(1, ORDER_MOST, false);
	for (xen.node = 1; xen.node <= 3; xen.node++)
		every_batch(2, 2, false);
	say_cases("get back up to 4 blocks of up to 4 pages, or one of 8");
}

/* A lie about a page makes no other block a wrong one. */
static void every_lie(void)
{
	xen.liar = true;
	xen.node = 0;
	every_batch(2, 1, true);
	every_batch(2, 1, false);
	every_batch(1, 2, true);
	every_batch(1, 2, false);
	say_cases("both ways with up to 2 blocks of 1 or 2 pages, or one of 4, and a Xen that does less than it says, or more");
}

static void too_large(void)
{
	unsigned int order[BLOCKS_MOST], nr, at, i;

	xen.liar = false;
	call_pages = PAGES_MOST;
	for (nr = 1; nr <= BLOCKS_MOST; nr++)
		for (at = 0; at < nr; at++) {
			for (i = 0; i < BLOCKS_MOST; i++)
				order[i] = ORDER_MOST;
			begin(order, nr, 0, true);
			batch->block[at].order = ORDER_MOST + 1;
			EXPECT_EQ(aeration_xb_deliver(&io, batch), -EINVAL);
			EXPECT_EQ(aeration_xb_fetch(&io, batch), -EINVAL);
			EXPECT_EQ(xen.calls, 0);
			cases += 2;
		}
	say_cases("a block that is too large, at each place");
}

int main(void)
{
	batch = calloc(1, sizeof(*batch) + BLOCKS_MOST * sizeof(batch->block[0]));
	if (!batch)
		return 1;
	ENUM(every_way_to_give);
	ENUM(every_way_to_get_back);
	ENUM(every_lie);
	ENUM(too_large);
	free(batch);
	return enum_end();
}
