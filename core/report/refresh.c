// SPDX-License-Identifier: GPL-2.0
/*
 * Have free blocks that were reported count as not reported: the host has had to
 * back them again, unseen by the guest. It does so when it migrates or dumps a guest
 * of shared memory, when it restores one from a file, and when a guest hibernates.
 *
 * The mm flags a free block that was reported. The flags are cleared under
 * zone->lock, a few blocks at a time; each page is looked at anew, because it may
 * have been taken since. No pass may run meanwhile: at its end it would set them
 * again.
 */
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/page-flags.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include "report.h"

/* Blocks of the smallest order that are looked at with interrupts off. */
#define STRIDE	64

static void clear_some(struct zone *zone, unsigned long pfn, unsigned long end,
		       unsigned int order)
{
	unsigned long flags;

	spin_lock_irqsave(&zone->lock, flags);
	while (pfn < end) {
		struct page *page = pfn_to_page(pfn);
		unsigned long pages = 1UL << order;

		if (PageBuddy(page) && page_zone(page) == zone &&
		    page_private(page) >= order) {
			pages = 1UL << page_private(page);
			if (PageReported(page))
				__ClearPageReported(page);
		}
		pfn += pages;
	}
	spin_unlock_irqrestore(&zone->lock, flags);
}

static void clear_zone(struct zone *zone, unsigned int order)
{
	unsigned long pfn = ALIGN(zone->zone_start_pfn, 1UL << order);
	unsigned long end = zone_end_pfn(zone);

	while (pfn < end) {
		/* A section has a memory map as a whole, or none. */
		unsigned long next = min3(end, ALIGN(pfn + 1, PAGES_PER_SECTION),
					  pfn + ((unsigned long)STRIDE << order));

		if (pfn_to_online_page(pfn))
			clear_some(zone, pfn, next, order);
		pfn = next;
		cond_resched();
	}
}

/**
 * aeration_refresh - forget what was reported
 * @order: smallest order that the mm reports
 *
 * Context: process context, while no pass runs or can begin; may sleep.
 */
void aeration_refresh(unsigned int order)
{
	int nid, z;

	for_each_online_node(nid)
		for (z = 0; z < MAX_NR_ZONES; z++) {
			struct zone *zone = &NODE_DATA(nid)->node_zones[z];

			if (populated_zone(zone))
				clear_zone(zone, order);
		}
}
