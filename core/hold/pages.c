// SPDX-License-Identifier: GPL-2.0
/*
 * Pages from the allocator and back; see hold.h.
 */
#include <linux/gfp.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/page-flags.h>
#include "hold.h"

/*
 * Only what is free already: without a flag that allows reclaim the allocator
 * neither reclaims nor compacts nor wakes kswapd, and without __GFP_HIGH and
 * with __GFP_NOMEMALLOC it leaves every reserve alone. Not being movable keeps
 * blocks out of ZONE_MOVABLE and CMA, which promise that memory can be emptied.
 * Since 6.15 neither reclaim flag also tells page_owner and the like not to wait for a
 * lock: they lose a record now and then.
 */
#define HOLD_GFP	(__GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN | \
			 __GFP_THISNODE)

/**
 * aeration_pages_take - take a block that is free
 * @nid: of this node, and of no other
 * @order: of this order
 * @zeroed: fill it with zeros
 *
 * Context: process context; never waits for memory.
 * Return: its first page, or NULL if there is none.
 */
struct page *aeration_pages_take(int nid, unsigned int order, bool zeroed)
{
	return alloc_pages_node(nid, HOLD_GFP | (zeroed ? __GFP_ZERO : 0),
				order);
}

/* Somebody waits until nobody reads what is to be hidden. */
static bool hiding;

/**
 * aeration_pages_hiding - is a reader of memory waited for?
 *
 * Context: any.
 * Return: true if so.
 */
bool aeration_pages_hiding(void)
{
	return READ_ONCE(hiding);
}

/**
 * aeration_pages_hide - tell tools that read memory to leave blocks alone
 * @batch: blocks that were taken
 *
 * Whoever is reading one of them at this moment is waited for.
 *
 * Context: process context; may sleep.
 */
void aeration_pages_hide(const struct aerator_batch *batch)
{
	unsigned long i;
	unsigned int b;

	WRITE_ONCE(hiding, true);
	page_offline_begin();
	WRITE_ONCE(hiding, false);
	for (b = 0; b < batch->nr; b++)
		for (i = 0; i < 1UL << batch->block[b].order; i++)
			__SetPageOffline(pfn_to_page(batch->block[b].pfn + i));
	page_offline_end();
}

/**
 * aeration_pages_free - give a block back that is backed and was hidden
 * @page: its first page
 * @order: its order, at least 1
 *
 * Freed in one piece, a huge page goes to a list of this CPU's, where nobody but
 * another huge page finds it: a guest was seen to run out of memory with 44 MiB
 * there. Freed in two halves it goes where everybody finds it, and is one again.
 * No page but the first has a count, as it is not compound.
 *
 * Context: process context.
 */
void aeration_pages_free(struct page *page, unsigned int order)
{
	unsigned long i, half = 1UL << (order - 1);

	for (i = 0; i < 2 * half; i++)
		__ClearPageOffline(page + i);
	init_page_count(page + half);
	__free_pages(page + half, order - 1);
	__free_pages(page, order - 1);
}
