// SPDX-License-Identifier: GPL-2.0
/*
 * Free memory as the page allocator sees it; see zones.h.
 */
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/vmstat.h>
#include <aeration/compat.h>
#include "zones.h"

/* Blocks come from these zones and from none above: they are not movable. */
#define HIGHEST_ZONE	ZONE_NORMAL

/* What of so much free memory of a zone anybody may have, in pages. */
static unsigned long less_kept(struct zone *zone, long free)
{
	long kept = 0;
	int z;

	for (z = 0; z < MAX_NR_ZONES; z++)
		kept = max(kept, READ_ONCE(zone->lowmem_reserve[z]));
	kept += READ_ONCE(zone->nr_reserved_highatomic);
#ifdef CONFIG_CMA
	kept += zone_page_state(zone, NR_FREE_CMA_PAGES);
#endif
	return free > kept ? free - kept : 0;
}

static unsigned long zone_free(struct zone *zone, unsigned int unused)
{
	return less_kept(zone, zone_page_state(zone, NR_FREE_PAGES));
}

/* As zone_free(), with what CPUs have counted by themselves: as kswapd does. */
static unsigned long zone_free_exact(struct zone *zone)
{
	return less_kept(zone, zone_page_state_snapshot(zone, NR_FREE_PAGES));
}

/* Free pages of a zone in blocks of an order, or larger. */
static unsigned long zone_large(struct zone *zone, unsigned int order)
{
	unsigned long pages = 0;

	for (; order <= MAX_PAGE_ORDER; order++)
		pages += READ_ONCE(zone->free_area[order].nr_free) << order;
	return pages;
}

/* Does a zone ever serve anybody who could be served elsewhere? */
static bool zone_serves(struct zone *zone)
{
	long kept = 0;
	int z;

	for (z = 0; z < MAX_NR_ZONES; z++)
		kept = max(kept, READ_ONCE(zone->lowmem_reserve[z]));
	return populated_zone(zone) && zone_managed_pages(zone) > kept;
}

static unsigned long zone_marks(struct zone *zone, unsigned int unused)
{
	return high_wmark_pages(zone);
}

static unsigned long zone_managed(struct zone *zone, unsigned int unused)
{
	return zone_managed_pages(zone);
}

typedef unsigned long zone_pages_fn(struct zone *zone, unsigned int order);

static unsigned long node_sum(int nid, zone_pages_fn *pages, unsigned int order)
{
	unsigned long sum = 0;
	int z;

	for (z = 0; z <= HIGHEST_ZONE; z++) {
		struct zone *zone = &NODE_DATA(nid)->node_zones[z];

		if (zone_serves(zone))
			sum += pages(zone, order);
	}
	return sum;
}

static unsigned long all_nodes_sum(zone_pages_fn *pages, unsigned int order)
{
	unsigned long sum = 0;
	int nid;

	for_each_online_node(nid)
		sum += node_sum(nid, pages, order);
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
	return all_nodes_sum(zone_free, 0);
}

/**
 * aeration_zones_large - how much of that is in large blocks
 * @order: order of the smallest that counts
 *
 * Context: any.
 * Return: pages; what others keep for themselves is among them.
 */
unsigned long aeration_zones_large(unsigned int order)
{
	return all_nodes_sum(zone_large, order);
}

/**
 * aeration_zones_out_of_reach - free memory that blocks cannot be made of
 *
 * That of zones which promise that it can be taken out: what is held cannot be moved.
 *
 * Context: any.
 * Return: pages.
 */
unsigned long aeration_zones_out_of_reach(void)
{
	unsigned long sum = 0;
	int nid, z;

	for_each_online_node(nid)
		for (z = HIGHEST_ZONE + 1; z < MAX_NR_ZONES; z++)
			sum += zone_page_state(&NODE_DATA(nid)->node_zones[z],
					       NR_FREE_PAGES);
	return sum;
}

/**
 * aeration_zones_marks - how much of that the kernel wants to be free
 *
 * Context: any.
 * Return: pages: where it stops to reclaim.
 */
unsigned long aeration_zones_marks(void)
{
	return all_nodes_sum(zone_marks, 0);
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
	return (long)node_sum(nid, zone_free, 0) -
	       (long)node_sum(nid, zone_marks, 0);
}

/**
 * aeration_zones_share - a node's share of something, by the memory it has
 * @nid: an online node
 * @pages: what all nodes have together
 *
 * Context: any.
 * Return: pages.
 */
unsigned long aeration_zones_share(int nid, unsigned long pages)
{
	unsigned long all = all_nodes_sum(zone_managed, 0);

	if (!all)
		return pages;
	return mul_u64_u64_div_u64(pages, node_sum(nid, zone_managed, 0), all);
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
		if (zone_free_exact(zone) >= high_wmark_pages(zone))
			return false;
		any = true;
	}
	return any;
}
