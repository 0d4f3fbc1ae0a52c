// SPDX-License-Identifier: GPL-2.0
/*
 * Count how much free memory there is in blocks that the mm reports, and how much of
 * it is reported already.
 *
 * The former is what the allocator counts itself. The latter shows in a flag of each
 * free block. The flags are read without zone->lock, some memory at a time, from where
 * the last part ended: what is counted changes under our eyes either way, a budget
 * made from it is an estimate, and a large guest must not have its allocator held up
 * by a count. Every value read is checked before it is used as a distance. A section
 * is looked up once for all blocks in it; its memory map does not go before the part
 * is done, see on_memory() in known.c.
 */
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/page-flags.h>
#include <linux/sched.h>
#include <linux/vmstat.h>
#include <aeration/compat.h>
#include "report.h"

/* Blocks looked at in one step, and between two chances for others to run. */
#define STEP_BLOCKS	16384
#define STRIDE		1024

/**
 * struct census - a count, part by part
 * @order: smallest order that is counted
 * @nid: the node where it goes on, MAX_NUMNODES: at the first one, anew
 * @z: its zone
 * @pfn: the page there; 0: the first one
 * @began: when it began, ms
 * @parts: how many it has had so far
 * @counted: pages in reported blocks so far
 * @low: of those, where nothing is on offer
 * @told: pages reported since the count began; some of them may be counted, too
 * @largest: largest order that could be reported so far
 * @reported: what the last complete count made of it, pages
 * @last_low: likewise
 * @last_largest: likewise
 */
struct census {
	unsigned int order;
	int nid;
	int z;
	unsigned long pfn;
	u64 began;
	unsigned int parts;
	unsigned long counted;
	unsigned long low;
	atomic_long_t told;
	unsigned int largest;
	unsigned long reported;
	unsigned long last_low;
	unsigned int last_largest;
};

static struct census census = {
	.nid = MAX_NUMNODES,
	.last_largest = MAX_PAGE_ORDER,
};

/*
 * The mm leaves a zone alone that could not spare a batch, see
 * page_reporting_process_zone().
 */
static bool zone_is_reportable(struct zone *zone, unsigned int order)
{
	return zone_page_state(zone, NR_FREE_PAGES) >
	       low_wmark_pages(zone) + (PAGE_REPORTING_CAPACITY << order);
}

/*
 * Order of the free block that starts at this page, or -1 if none of at least
 * the smallest order does.
 */
static int free_block_order(struct page *page, struct zone *zone,
			    unsigned int smallest)
{
	unsigned long order;

	if (!PageBuddy(page) || page_zone(page) != zone)
		return -1;
	order = READ_ONCE(page_private(page));
	return order >= smallest && order <= MAX_PAGE_ORDER ? (int)order : -1;
}

static void look_at(unsigned int order, bool reported, bool reportable)
{
	unsigned long pages = 1UL << order;

	if (reported) {
		census.counted += pages;
		census.low += reportable ? 0 : pages;
	} else if (reportable) {
		census.largest = max(census.largest, order);
	}
}

/* Go on in a zone for so many blocks; what is left of them is written back. */
static void count_zone(struct zone *zone, unsigned int *left)
{
	bool reportable = zone_is_reportable(zone, census.order);
	unsigned long step = 1UL << census.order;
	unsigned long end = zone_end_pfn(zone);
	unsigned long online_end = 0;
	unsigned long pfn;

	pfn = ALIGN(max(census.pfn, zone->zone_start_pfn), step);
	while (pfn < end && *left) {
		struct page *page;
		int order;

		/* Memory may go away while others run. */
		if (!(--*left % STRIDE)) {
			cond_resched();
			online_end = 0;
		}
		/* A section with free memory in it has a memory map as a whole. */
		if (pfn >= online_end) {
			online_end = ALIGN(pfn + 1, PAGES_PER_SECTION);
			if (!pfn_to_online_page(pfn)) {
				pfn = online_end;
				continue;
			}
		}
		page = pfn_to_page(pfn);
		order = free_block_order(page, zone, census.order);
		if (order >= 0)
			look_at(order, PageReported(page), reportable);
		pfn += order < 0 ? step : 1UL << order;
	}
	census.pfn = pfn;
}

static void begin(unsigned int order)
{
	census.order = order;
	census.nid = first_online_node;
	census.z = 0;
	census.pfn = 0;
	census.began = aeration_watch_now_ms();
	census.parts = 0;
	census.counted = 0;
	census.low = 0;
	census.largest = order;
	atomic_long_set(&census.told, 0);
}

/* The next zone, or the next node's first one. Return: false if there is none. */
static bool go_to_next_zone(void)
{
	census.pfn = 0;
	if (++census.z == MAX_NR_ZONES) {
		census.z = 0;
		census.nid = next_online_node(census.nid);
	}
	return census.nid < MAX_NUMNODES;
}

/**
 * aeration_census_restart - the next part is the first one
 *
 * Context: as aeration_census_step().
 */
void aeration_census_restart(void)
{
	census.nid = MAX_NUMNODES;
}

/**
 * aeration_census_step - count a part of memory
 * @order: smallest order that the mm reports; another one than the last begins anew
 *
 * Costs a look for each block of that order in the part, STEP_BLOCKS at most. If blocks
 * were reported between two parts, nobody knows where: then it begins anew.
 *
 * Context: process context, one caller at a time, no spinlock held; may sleep.
 * Return: true if that was the last part: the figures are new.
 */
bool aeration_census_step(unsigned int order)
{
	unsigned int left = STEP_BLOCKS;

	if (census.nid >= MAX_NUMNODES || order != census.order)
		begin(order);
	census.parts++;
	do {
		struct zone *zone;

		/* A node may have gone between two parts. */
		if (!node_online(census.nid))
			continue;
		zone = &NODE_DATA(census.nid)->node_zones[census.z];
		if (!populated_zone(zone))
			continue;
		count_zone(zone, &left);
		if (census.pfn < zone_end_pfn(zone))
			return false;
	} while (go_to_next_zone());
	if (census.parts > 1 && atomic_long_read(&census.told))
		return false;
	census.reported = census.counted + atomic_long_read(&census.told);
	census.last_low = census.low;
	census.last_largest = census.largest;
	return true;
}

/**
 * aeration_census_began - when the last complete count began
 *
 * Context: as aeration_census_step(), after it returned true.
 * Return: ms, by aeration_watch_now_ms().
 */
u64 aeration_census_began(void)
{
	return census.began;
}

/**
 * aeration_census_told - blocks were reported while a count may be under way
 * @pages: how many pages
 *
 * Context: any.
 */
void aeration_census_told(unsigned long pages)
{
	atomic_long_add(pages, &census.told);
}

/**
 * aeration_census_reported - what the last complete count made of it
 *
 * Context: as aeration_census_step().
 * Return: free pages in blocks that are reported.
 */
unsigned long aeration_census_reported(void)
{
	return census.reported;
}

/**
 * aeration_census_largest - likewise, of what is not reported
 *
 * Context: as aeration_census_step().
 * Return: the largest order of a block that could be.
 */
unsigned int aeration_census_largest(void)
{
	return census.last_largest;
}

/* What is being isolated is on a list of its own, and not on offer. */
static unsigned long count_free(struct zone *zone, unsigned int order)
{
	unsigned long pages = 0, isolated = 0;

#ifdef CONFIG_MEMORY_ISOLATION
	isolated = READ_ONCE(zone->nr_isolate_pageblock) << pageblock_order;
#endif
	for (; order <= MAX_PAGE_ORDER; order++)
		pages += READ_ONCE(zone->free_area[order].nr_free) << order;
	return pages > isolated ? pages - isolated : 0;
}

/**
 * aeration_census_reportable - how much is free, could be reported, and is not
 * @order: smallest order that the mm reports
 * @reported: how much is reported, pages
 *
 * Needs no count, but the last one says how much of what is reported is where nothing
 * is on offer.
 *
 * Context: any.
 * Return: pages.
 */
unsigned long aeration_census_reportable(unsigned int order,
					 unsigned long reported)
{
	unsigned long pages = 0;
	int nid, z;

	for_each_online_node(nid)
		for (z = 0; z < MAX_NR_ZONES; z++) {
			struct zone *zone = &NODE_DATA(nid)->node_zones[z];

			if (populated_zone(zone) &&
			    zone_is_reportable(zone, order))
				pages += count_free(zone, order);
		}
	reported -= min(reported, census.last_low);
	return pages > reported ? pages - reported : 0;
}

/*
 * The mm leaves a zone alone that has no more free than its low mark and a batch: about
 * one part in so many of the largest zone, no more. A guest of 1 GiB has the mm's own
 * order.
 */
#define BATCH_SHARE	14

/**
 * aeration_census_fitting - the largest order that leaves little of a small guest out
 *
 * Context: process context.
 * Return: the order.
 */
unsigned int aeration_census_fitting(void)
{
	unsigned long largest = 0;
	int nid, z;

	for_each_online_node(nid)
		for (z = 0; z < MAX_NR_ZONES; z++) {
			struct zone *zone = &NODE_DATA(nid)->node_zones[z];

			/* With what a balloon has of it. */
			largest = max(largest, zone->present_pages);
		}
	largest /= PAGE_REPORTING_CAPACITY * BATCH_SHARE;
	return largest ? ilog2(largest) : 0;
}
