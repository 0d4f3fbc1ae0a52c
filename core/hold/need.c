// SPDX-License-Identifier: GPL-2.0
/*
 * How much memory must be free, and how much of what is held is to come back; see
 * hold.h.
 *
 * Free memory rests between two marks: below the low one blocks are restored, up to
 * the high one; nothing is taken that would leave less. Both lie above what the
 * kernel itself wants to be free, by the floor and a reserve, so that a guest that
 * begins to use memory is seen before it reclaims any.
 *
 * More than that is free where much is dirty: of what is free, or in files, the kernel
 * has one part written when it is dirty, 10 % by default, and programs that write wait
 * from 15 % on.
 *
 * That much can be free in small pieces. Some of it is left in large blocks; once
 * somebody is seen to look for those, as much as is needed has to be large.
 */
#include <linux/ktime.h>
#include <linux/limits.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/spinlock.h>
#include <linux/vmstat.h>
#include "../pace/watch.h"
#include "../params.h"
#include "floor.h"
#include "hold.h"
#include "zones.h"

/*
 * The reserve is one part in this many of the guest's memory, if that is more than
 * what was asked for, and no more than this, bytes: what a guest uses up before it
 * is seen to, and memory is back, grows with the guest.
 */
#define RESERVE_SHARE	32
#define RESERVE_MOST	(512UL << 20)

/* No more than one part in so many of what is free or in files should be dirty. */
#define DIRTY_SHARE	8

/* What is restored in one go while nobody knows what that costs, bytes. */
#define STEP_UNKNOWN	(8UL << 20)

/* For so long after somebody looked for large blocks more of them are kept, ms. */
#define LARGE_MS	10000

/**
 * struct need - what the guest needs
 * @lock: protects the floor; taken with bottom halves off
 * @floor: how fast the guest allocates, and what restoring costs
 * @noted_ms: when the guest last needed something that was held, ms, or 0; read
 *	and written without a lock
 * @large_ms: when somebody last looked for a large block, ms, or 0; likewise, from
 *	interrupts too
 * @filling: less than the low mark was free, and the high one has not been reached
 *	since; likewise
 * @filling_large: the same of large blocks
 * @limit: most pages that the host allows to be held; likewise
 */
static struct need {
	spinlock_t lock;	/* see above */
	struct floor floor;
	u64 noted_ms;
	u64 large_ms;
	bool filling;
	bool filling_large;
	unsigned long limit;
} need = {
	.lock = __SPIN_LOCK_UNLOCKED(need.lock),
	.limit = ULONG_MAX,
};

/**
 * aeration_need_read_unused - read how much the guest does not use
 * @unused: set to pages that are free or taken
 *
 * Context: any.
 * Return: true.
 */
bool aeration_need_read_unused(unsigned long *unused)
{
	*unused = aeration_zones_free() + aeration_account_out_pages();
	return true;
}

/**
 * aeration_need_init - begin with a guest that has needed nothing lately
 *
 * Context: process context, before the watch starts.
 */
void aeration_need_init(void)
{
	unsigned long unused;

	aeration_need_read_unused(&unused);
	spin_lock_bh(&need.lock);
	aeration_floor_init(&need.floor, aeration_watch_now_ms(), unused);
	spin_unlock_bh(&need.lock);
	WRITE_ONCE(need.noted_ms, 0);
	WRITE_ONCE(need.large_ms, 0);
	WRITE_ONCE(need.filling, false);
	WRITE_ONCE(need.filling_large, false);
	WRITE_ONCE(need.limit, ULONG_MAX);
}

/**
 * aeration_need_sampled - a sample was taken
 * @pacer: that took it
 *
 * Context: any but hard interrupts, under watch.lock.
 */
void aeration_need_sampled(struct pacer *pacer)
{
	unsigned long out = aeration_account_out_pages();

	spin_lock(&need.lock);
	aeration_floor_sample(&need.floor, aeration_watch_now_ms(),
			      pacer->free);
	spin_unlock(&need.lock);
	aeration_pacer_set_out(pacer, out);
}

/**
 * aeration_need_restored - take note of what restoring costs
 * @blocks: that came back, at least 1
 * @ns: how long that took, ns
 *
 * Context: any but hard interrupts.
 */
void aeration_need_restored(unsigned int blocks, u64 ns)
{
	spin_lock_bh(&need.lock);
	aeration_floor_restored(&need.floor,
				(unsigned long)blocks << aeration_blocks_order(),
				ns);
	spin_unlock_bh(&need.lock);
}

/**
 * aeration_need_step - how much can be restored in a time
 * @ns: the time, ns
 *
 * Context: any but hard interrupts.
 * Return: blocks, at least 1.
 */
unsigned long aeration_need_step(u64 ns)
{
	unsigned long block_ns;

	spin_lock_bh(&need.lock);
	block_ns = need.floor.ns_per_page << aeration_blocks_order();
	spin_unlock_bh(&need.lock);
	if (!block_ns)
		return aeration_blocks_of(STEP_UNKNOWN >> PAGE_SHIFT);
	return max_t(unsigned long, 1, div64_u64(ns, block_ns));
}

static unsigned long reserve_pages(void)
{
	return max(aeration_param_reserve_pages(),
		   min(totalram_pages() / RESERVE_SHARE,
		       RESERVE_MOST >> PAGE_SHIFT));
}

/**
 * aeration_need_keep - free memory that is never surplus
 *
 * Context: any.
 * Return: pages: the reserve, on top of what the kernel itself wants to be free.
 */
unsigned long aeration_need_keep(void)
{
	return reserve_pages() + aeration_zones_marks();
}

/**
 * aeration_need_limit_held - set what the host allows to be held
 * @pages: so much, whatever was asked for in the guest
 *
 * Context: any.
 */
void aeration_need_limit_held(unsigned long pages)
{
	WRITE_ONCE(need.limit, pages);
}

/**
 * aeration_need_may_hold - the most that may be held, but for what is forfeited
 *
 * Context: process context.
 * Return: pages.
 */
unsigned long aeration_need_may_hold(void)
{
	return min(aeration_param_max_held_pages(), READ_ONCE(need.limit));
}

static unsigned long floor_pages(void)
{
	unsigned long pages;

	spin_lock_bh(&need.lock);
	pages = aeration_floor_pages(&need.floor);
	spin_unlock_bh(&need.lock);
	return pages;
}

static u64 ms_since(u64 ms)
{
	u64 now = aeration_watch_now_ms();

	return now > ms ? now - ms : 0;
}

static bool large_wanted(void)
{
	u64 at = READ_ONCE(need.large_ms);

	return at && ms_since(at) < LARGE_MS;
}

/* Pages in large blocks up to which there should be some. */
static unsigned long large_high(unsigned long reserve, unsigned long floor)
{
	return large_wanted() ? reserve + floor : reserve / 2;
}

/*
 * What should be free so that programs that write need not wait, pages. What is free
 * where blocks do not come from counts for the kernel, too.
 */
static unsigned long dirty_pages(void)
{
	unsigned long dirty = global_node_page_state(NR_FILE_DIRTY) +
			      global_node_page_state(NR_WRITEBACK);
	unsigned long other = global_node_page_state(NR_ACTIVE_FILE) +
			      global_node_page_state(NR_INACTIVE_FILE) +
			      global_zone_page_state(NR_FREE_PAGES);
	unsigned long ours = aeration_zones_free();

	other -= min(other, ours);
	dirty *= DIRTY_SHARE;
	return dirty > other ? dirty - other : 0;
}

/**
 * aeration_need_is_dirty - is more to be left for what is dirty than for all else?
 *
 * That ends without that free memory moves.
 *
 * Context: any but hard interrupts.
 * Return: true if so.
 */
bool aeration_need_is_dirty(void)
{
	return dirty_pages() > reserve_pages() + floor_pages();
}

/**
 * aeration_need_limits - what must be left when blocks are taken
 * @limits: set to that
 *
 * Context: any but hard interrupts.
 */
void aeration_need_limits(struct limits *limits)
{
	unsigned long floor = floor_pages();

	limits->reserve = reserve_pages();
	limits->free = max(limits->reserve + floor, dirty_pages()) +
		       aeration_zones_marks();
	limits->large = large_high(limits->reserve, floor);
}

/**
 * aeration_need_is_short - does a node have less than it has to have?
 * @nid: an online node
 *
 * Context: any.
 * Return: true if reclaim is not content with it.
 */
bool aeration_need_is_short(int nid)
{
	return aeration_zones_short(nid);
}

/* What nodes lack of which something is held, in pages. */
static unsigned long nodes_lack(unsigned long reserve)
{
	unsigned long pages = 0;
	int nid;

	for_each_online_node(nid) {
		long spare = aeration_zones_spare(nid);

		if (spare < 0 && aeration_blocks_held_on(nid))
			pages += aeration_zones_share(nid, reserve) - spare;
	}
	return pages;
}

/*
 * How much is missing up to the high mark, once it was less than the low one; pages.
 * Whoever asks keeps the state: a race makes it a look late.
 */
static unsigned long to_fill(bool *filling, unsigned long have,
			     unsigned long low, unsigned long high)
{
	if (have < low)
		WRITE_ONCE(*filling, true);
	else if (have >= high)
		WRITE_ONCE(*filling, false);
	return READ_ONCE(*filling) && have < high ? high - have : 0;
}

/**
 * aeration_need_wanted - how much of what is held the guest needs
 *
 * Context: any but hard interrupts.
 * Return: blocks, no more than can be had back.
 */
unsigned long aeration_need_wanted(void)
{
	unsigned long due = aeration_blocks_due();
	unsigned long pages, half;
	struct limits limits;

	if (!due) {
		WRITE_ONCE(need.filling, false);
		WRITE_ONCE(need.filling_large, false);
		return 0;
	}
	aeration_need_limits(&limits);
	half = limits.reserve / 2;
	pages = to_fill(&need.filling, aeration_zones_free(),
			limits.free - half, limits.free);
	if (large_wanted())
		pages = max(pages, to_fill(&need.filling_large,
					   aeration_zones_large(aeration_blocks_order()),
					   limits.large - half, limits.large));
	else
		WRITE_ONCE(need.filling_large, false);
	pages = max(pages, nodes_lack(limits.reserve));
	return min(aeration_blocks_of(pages), due);
}

/**
 * aeration_need_asked - somebody is about to reclaim, or to compact, for a block
 * @order: of this order
 *
 * Context: any, hard interrupts too.
 */
void aeration_need_asked(unsigned int order)
{
	if (order >= aeration_blocks_order())
		WRITE_ONCE(need.large_ms, aeration_watch_now_ms());
}

/**
 * aeration_need_note - the guest got back what it needed
 * @blocks: how many, at least 1
 *
 * Nothing goes until a window has passed since.
 *
 * Context: any but hard interrupts, watch.lock not held.
 */
void aeration_need_note(unsigned long blocks)
{
	u64 now = aeration_watch_now_ms();
	struct pacer *pacer;

	WRITE_ONCE(need.noted_ms, now);
	pacer = aeration_watch_lock();
	aeration_pacer_taken(pacer, now, blocks << aeration_blocks_order());
	aeration_watch_unlock();
}

/**
 * aeration_need_pause_ms - for how long nothing may go, as something was needed
 *
 * Context: any but hard interrupts, watch.lock not held.
 * Return: ms, 0 if something may go.
 */
u32 aeration_need_pause_ms(void)
{
	u32 window_ms = aeration_watch_window_ms();
	u64 at = READ_ONCE(need.noted_ms), since = ms_since(at);

	return at && since < window_ms ? window_ms - since : 0;
}
