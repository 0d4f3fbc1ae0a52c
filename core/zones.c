// SPDX-License-Identifier: GPL-2.0
/*
 * Free memory as the page allocator sees it; see zones.h.
 */
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/vmstat.h>
#include "zones.h"

/* Blocks come from these zones and from none above: they are not movable. */
#define HIGHEST_ZONE	ZONE_NORMAL

/* Pages of a zone that are free and that anybody may have. */
static unsigned long zone_free(struct zone *zone)
{
	long free = zone_page_state(zone, NR_FREE_PAGES), kept = 0;
	int z;

	for (z = 0; z < MAX_NR_ZONES; z++)
		kept = max(kept, zone->lowmem_reserve[z]);
	kept += zone->nr_reserved_highatomic;
#ifdef CONFIG_CMA
	kept += zone_page_state(zone, NR_FREE_CMA_PAGES);
#endif
	return free > kept ? free - kept : 0;
}

/* Does a zone ever serve anybody who could be served elsewhere? */
static bool zone_serves(struct zone *zone)
{
	long kept = 0;
	int z;

	for (z = 0; z < MAX_NR_ZONES; z++)
		kept = max(kept, zone->lowmem_reserve[z]);
	return populated_zone(zone) && zone_managed_pages(zone) > kept;
}

static unsigned long zone_marks(struct zone *zone)
{
	return high_wmark_pages(zone);
}

static unsigned long node_sum(int nid, unsigned long (*pages)(struct zone *))
{
	unsigned long sum = 0;
	int z;

	for (z = 0; z <= HIGHEST_ZONE; z++) {
		struct zone *zone = &NODE_DATA(nid)->node_zones[z];

		if (zone_serves(zone))
			sum += pages(zone);
	}
	return sum;
}

static unsigned long all_nodes_sum(unsigned long (*pages)(struct zone *))
{
	unsigned long sum = 0;
	int nid;

	for_each_online_node(nid)
		sum += node_sum(nid, pages);
	return sum;
}

/**
 * aeration_zones_free - free memory that blocks can be made of
 *
 * Context: any.
 * Return: pages.
 */
unsigned long aeration_zones_free(void)
{
	return all_nodes_sum(zone_free);
}

/**
 * aeration_zones_marks - how much of that the kernel wants to be free
 *
 * Context: any.
 * Return: pages: where it stops to reclaim.
 */
unsigned long aeration_zones_marks(void)
{
	return all_nodes_sum(zone_marks);
}

/**
 * aeration_zones_spare - how much a node has beyond what the kernel wants
 * @nid: an online node
 *
 * Context: any.
 * Return: pages; below 0 if it has less.
 */
long aeration_zones_spare(int nid)
{
	return (long)node_sum(nid, zone_free) - (long)node_sum(nid, zone_marks);
}

/**
 * aeration_zones_richest - the node that can best do without some memory
 *
 * Context: any.
 * Return: the node with the most to spare.
 */
int aeration_zones_richest(void)
{
	int nid, best = first_online_node;
	long most = LONG_MIN;

	for_each_online_node(nid) {
		long spare = aeration_zones_spare(nid);

		if (spare > most) {
			most = spare;
			best = nid;
		}
	}
	return best;
}

/**
 * aeration_zones_short - is reclaim not content with a node?
 * @nid: an online node
 *
 * As for kswapd, one zone that has enough makes a node content. That all of them
 * had is no measure: blocks are taken from the highest zone first, until it has
 * no more than the kernel lets it have.
 *
 * Context: any.
 * Return: true if no zone of the node has as much free as the kernel wants.
 */
bool aeration_zones_short(int nid)
{
	bool any = false;
	int z;

	for (z = 0; z <= HIGHEST_ZONE; z++) {
		struct zone *zone = &NODE_DATA(nid)->node_zones[z];

		if (!zone_serves(zone))
			continue;
		if (zone_free(zone) >= high_wmark_pages(zone))
			return false;
		any = true;
	}
	return any;
}
