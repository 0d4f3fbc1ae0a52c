// SPDX-License-Identifier: GPL-2.0
/*
 * Count how much free memory is reported already, and how much could be.
 *
 * The mm flags a free block that was reported. The flags are read without
 * zone->lock: what is counted changes under our eyes either way, a budget made
 * from it is an estimate, and a large guest must not have its allocator held up
 * by a count. Every value read is checked before it is used as a distance. As in
 * every walk of this kind a page may lose its memory map between the lookup and
 * the look, if memory is unplugged just then and the walk is preempted for as
 * long as that takes; a section is looked up once for all blocks in it.
 */
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/page-flags.h>
#include <linux/sched.h>
#include <linux/vmstat.h>
#include "report.h"

/* Blocks looked at between two chances for others to run. */
#define CENSUS_STRIDE	1024

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

static void add_reportable(struct census *out, unsigned int order)
{
	out->reportable += 1UL << order;
	out->largest = max(out->largest, order);
}

static void count_zone(struct zone *zone, unsigned int smallest,
		       struct census *out)
{
	bool reportable = zone_is_reportable(zone, smallest);
	unsigned long step = 1UL << smallest;
	unsigned long pfn = ALIGN(zone->zone_start_pfn, step);
	unsigned long end = zone_end_pfn(zone);
	unsigned long online_end = 0;
	unsigned int looked = 0;

	while (pfn < end) {
		struct page *page;
		int order;

		/* Memory may go away while others run. */
		if (!(++looked % CENSUS_STRIDE)) {
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
		order = free_block_order(page, zone, smallest);
		if (order < 0) {
			pfn += step;
			continue;
		}
		if (PageReported(page))
			out->reported += 1UL << order;
		else if (reportable)
			add_reportable(out, order);
		pfn += 1UL << order;
	}
}

/**
 * aeration_census_take - count free blocks by whether they are reported
 * @order: smallest order that the mm reports
 * @out: what was counted, in blocks of that order or more
 *
 * Costs one look for each block of the smallest order in the guest.
 *
 * Context: process context, no lock held; may sleep.
 */
void aeration_census_take(unsigned int order, struct census *out)
{
	int nid, z;

	out->reported = 0;
	out->reportable = 0;
	out->largest = order;
	for_each_online_node(nid) {
		pg_data_t *node = NODE_DATA(nid);

		for (z = 0; z < MAX_NR_ZONES; z++)
			if (populated_zone(&node->node_zones[z]))
				count_zone(&node->node_zones[z], order, out);
	}
}
