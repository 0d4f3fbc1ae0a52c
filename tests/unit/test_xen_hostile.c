// SPDX-License-Identifier: GPL-2.0
/*
 * A batch against a Xen that lies. It can take any page of a guest's away at any time,
 * so nothing here can keep its memory; what is looked at is the guest's own part: that
 * it comes to an end, touches nothing that is not its own (ASan watches), leaves each
 * block in a state that there is, and where Xen has told the truth believes nothing else.
 *
 * What Xen returns is clamped as aeration_xb_call() clamps it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "deliver.h"
#include "ktap.h"

#define BLOCK_ORDER	9
#define BLOCK_PAGES	(1UL << BLOCK_ORDER)
#define BLOCKS		20U
#define BASE		0x100000UL
#define ROUNDS		400

/*
 * Calls for one batch of single pages, and to mend each of its blocks in both ways; and
 * where each page is of another node than the last.
 */
#define CALLS_MOST	(BLOCKS * BLOCK_PAGES / XB_CALL_PAGES + 4 * BLOCKS + 1)
#define CALLS_OF_NODES	(3 * BLOCKS * BLOCK_PAGES)

/* What Xen does, and what it says. */
enum lie {
	TRUTH,
	SAYS_MORE,	/* does a part, and says more extents than it was given */
	SAYS_ALL,	/* does nothing: a populate that lies */
	SAYS_NONE,	/* does all */
	SAYS_OTHER,	/* does a part and says another one */
	HALF,		/* the truth, with half of the next extent done */
	ERRORS,		/* another error each time, with nothing done */
	WORSE_ERRORS,	/* another error each time, with a part done */
	TYPES,		/* the truth, and lies about what is behind a page */
	NO_TYPES,	/* half done, and now and then no answer about a page */
	FLAGS,		/* another node for each page, at each look */
	ANY,		/* one of these in each call */
	LIES
};

static const char *const lie_names[LIES] = {
	"truth", "says more", "says all", "says none", "says another count", "half",
	"errors", "errors with something done", "types", "no types", "nodes", "any",
};

static struct {
	enum lie lie;
	bool backed[BLOCKS * BLOCK_PAGES];
	unsigned int calls;
	unsigned int stop_at;	/* extents that an honest call does, from the second on */
} xen;

static struct xb_io io;
static struct aerator_batch *batch;

static unsigned int do_some(const struct xb_io *ask, bool populate,
			    unsigned int extents)
{
	unsigned long i, pages = (unsigned long)extents << ask->run_order;

	for (i = 0; i < pages && i < (unsigned long)ask->nr << ask->run_order; i++) {
		unsigned long pfn = ask->pfn[i >> ask->run_order] - BASE +
				    (i & ((1UL << ask->run_order) - 1));

		EXPECT(pfn < BLOCKS * BLOCK_PAGES);
		xen.backed[pfn] = populate;
	}
	return extents;
}

static unsigned int some(unsigned int most)
{
	return ktap_random() % (most + 1);
}

static long answer(struct xb_io *ask, bool populate, enum lie lie)
{
	static const int errors[] = {
		-EPERM, -ENOSYS, -EFAULT, -EINVAL, -ENOMEM, -EAGAIN, -E2BIG,
	};
	int error = errors[xen.calls % (sizeof(errors) / sizeof(errors[0]))];
	unsigned int honest = xen.calls > 1 && xen.stop_at < ask->nr ? xen.stop_at :
								       ask->nr;

	switch (lie) {
	case SAYS_MORE:
		do_some(ask, populate, some(ask->nr));
		return ask->nr + 1 + some(1U << 30);
	case SAYS_ALL:
		return ask->nr;
	case SAYS_NONE:
		do_some(ask, populate, ask->nr);
		return 0;
	case SAYS_OTHER:
		do_some(ask, populate, some(ask->nr));
		return some(ask->nr);
	case ERRORS:
		return error;
	case WORSE_ERRORS:
		do_some(ask, populate, some(ask->nr));
		return error;
	case HALF:
	case NO_TYPES:
		honest = some(ask->nr);
		if (honest < ask->nr && ask->run_order) {
			struct xb_io half = *ask;

			half.pfn[0] = ask->pfn[honest];
			half.run_order = ask->run_order - 1;
			half.nr = 1;
			do_some(&half, populate, 1);
		}
		return do_some(ask, populate, honest);
	default:
		return do_some(ask, populate, honest);
	}
}

static unsigned int hypercall(struct xb_io *ask, bool populate)
{
	enum lie lie = xen.lie == ANY ? some(ANY - 1) : xen.lie;
	long done;

	EXPECT(ask->nr && (ask->nr << ask->run_order) <= XB_CALL_PAGES);
	EXPECT(++xen.calls <= (xen.lie == FLAGS || xen.lie == ANY ?
			       CALLS_OF_NODES : CALLS_MOST));
	done = answer(ask, populate, lie);
	if (done < 0) {
		ask->err = (int)done;
		return 0;
	}
	return done < (long)ask->nr ? (unsigned int)done : ask->nr;
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
	if (xen.lie == NO_TYPES && !(ktap_random() % 64))
		return -EIO;
	if (xen.lie == TYPES || xen.lie == ANY)
		return ktap_random() & 1;
	return xen.backed[pfn - BASE];
}

static unsigned int flags(unsigned long pfn)
{
	(void)pfn;
	return xen.lie == FLAGS || xen.lie == ANY ? ktap_random() : 0;
}

static const struct xb_calls calls = { decrease, populate, is_backed, flags };

static void make_batch(unsigned int nr, bool backed)
{
	unsigned int i;

	memset(&xen.backed, backed, sizeof(xen.backed));
	batch->nr = nr;
	for (i = 0; i < nr; i++) {
		batch->block[i].pfn = BASE + (unsigned long)i * BLOCK_PAGES;
		batch->block[i].order = BLOCK_ORDER;
		batch->block[i].state = AERATOR_BLOCK_IN_FLIGHT;
	}
}

/* Does Xen lie about what it has done, or about a page? */
static bool is_liar(void)
{
	return xen.lie != TRUTH && xen.lie != HALF && xen.lie != ERRORS &&
	       xen.lie != NO_TYPES && xen.lie != FLAGS;
}

static unsigned long truth(const struct aerator_block *block)
{
	unsigned long i, nr = 0;

	for (i = 0; i < BLOCK_PAGES; i++)
		nr += xen.backed[block->pfn - BASE + i];
	return nr;
}

static void check(int err, bool was_backed)
{
	unsigned int i;

	EXPECT(err <= 0);
	for (i = 0; i < batch->nr; i++) {
		const struct aerator_block *block = &batch->block[i];
		unsigned long there = truth(block);

		EXPECT(err || block->state == AERATOR_BLOCK_HELD ||
		       block->state == AERATOR_BLOCK_ISOLATED ||
		       block->state == AERATOR_BLOCK_QUARANTINED);
		if (is_liar())
			continue;
		if (err)
			EXPECT_EQ(there, was_backed ? BLOCK_PAGES : 0);
		else if (block->state == AERATOR_BLOCK_HELD)
			EXPECT_EQ(there, 0);
		else if (block->state == AERATOR_BLOCK_ISOLATED)
			EXPECT_EQ(there, BLOCK_PAGES);
	}
}

static void one_round(enum lie lie)
{
	bool backed = ktap_random() & 1;

	xen.lie = lie;
	xen.calls = 0;
	xen.stop_at = some(BLOCKS);
	make_batch(1 + some(BLOCKS - 1), backed);
	io.xen = &calls;
	io.order = some(BLOCK_ORDER);
	check(backed ? aeration_xb_deliver(&io, batch) :
		       aeration_xb_fetch(&io, batch), backed);
}

static enum lie present;

static void a_lie(void)
{
	unsigned int round;

	for (round = 0; round < ROUNDS; round++)
		one_round(present);
}

int main(void)
{
	batch = calloc(1, sizeof(*batch) + BLOCKS * sizeof(batch->block[0]));
	if (!batch)
		return 1;
	for (present = TRUTH; present < LIES; present++)
		ktap_case(a_lie, lie_names[present]);
	free(batch);
	return ktap_end();
}
