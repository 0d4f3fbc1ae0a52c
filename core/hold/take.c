// SPDX-License-Identifier: GPL-2.0
/*
 * Take free blocks from the allocator; see hold.h.
 */
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/sched.h>
#include "hold.h"
#include "zones.h"

/* Blocks are being taken, or are on their way; written by who takes, read by others. */
static bool under_way;

static unsigned long block_pages(void)
{
	return 1UL << aeration_blocks_order();
}

/* Of some nodes, the one that can best do without a block, if one can. */
static int giving_node(const nodemask_t *nodes, const struct limits *limits)
{
	int nid, best = NUMA_NO_NODE;
	long most = block_pages();

	for_each_node_mask(nid, *nodes) {
		long spare = aeration_zones_spare(nid) -
			     (long)aeration_zones_share(nid, limits->reserve);

		if (spare >= most) {
			most = spare;
			best = nid;
		}
	}
	return best;
}

static bool may_take(const struct limits *limits)
{
	return aeration_zones_free() >= limits->free + block_pages() &&
	       aeration_zones_large(aeration_blocks_order()) >=
	       limits->large + block_pages();
}

/**
 * aeration_take - take free blocks from the allocator
 * @batch: where to put them, isolated
 * @nr: at most so many; there is room for them
 * @limits: what that must leave
 * @zeroed: fill them with zeros
 *
 * Node by node, and never one of another node than the one that can spare it. They are
 * on their way until aeration_take_end().
 *
 * Context: process context; may sleep, but never waits for memory.
 */
void aeration_take(struct aerator_batch *batch, unsigned int nr,
		   const struct limits *limits, bool zeroed)
{
	nodemask_t nodes = node_online_map;

	WRITE_ONCE(under_way, true);
	batch->nr = 0;
	while (batch->nr < nr && may_take(limits)) {
		int nid = giving_node(&nodes, limits);
		struct page *page;

		if (nid == NUMA_NO_NODE)
			break;
		page = aeration_pages_take(nid, aeration_blocks_order(), zeroed);
		if (!page) {
			/* What it has is in small pieces. */
			node_clear(nid, nodes);
			continue;
		}
		aeration_blocks_taken(page);
		batch->block[batch->nr++] = (struct aerator_block) {
			.pfn = page_to_pfn(page),
			.order = aeration_blocks_order(),
			.state = AERATOR_BLOCK_ISOLATED,
		};
		cond_resched();
	}
}

/**
 * aeration_take_end - what was taken is where it belongs, if anything was
 *
 * Context: process context.
 */
void aeration_take_end(void)
{
	WRITE_ONCE(under_way, false);
}

/**
 * aeration_take_is_under_way - are blocks being taken, or on their way?
 *
 * Those that are being cleared are in nobody's count yet.
 *
 * Context: any.
 * Return: true if so.
 */
bool aeration_take_is_under_way(void)
{
	return READ_ONCE(under_way);
}
