// SPDX-License-Identifier: GPL-2.0
/*
 * The blocks of the hold source: taken, marked, kept, given back, and counted; see
 * hold.h.
 */
#define pr_fmt(fmt) "aeration: " fmt

#include <linux/limits.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/pageblock-flags.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include "hold.h"
#include "zones.h"

/**
 * struct blocks - every block that was ever taken
 * @order: order of every block; the same for as long as the core is loaded
 * @lock: protects what follows; taken with bottom halves off
 * @pool: held blocks of each node, by the lru of their first page; those that
 *	went first come back first: they are of the zone that the kernel prefers
 * @held_on: how many there are; read without @lock
 * @forfeit: held blocks that cannot be had back, like @pool
 * @forfeited: how many there are; read without @lock
 * @quarantine: quarantined blocks, like @pool
 * @count: blocks by state; AERATOR_BLOCK_FREE: those given back again, as a
 *	counter; read without @lock
 * @taken: blocks ever taken from the allocator; the counts add up to it
 */
static struct blocks {
	unsigned int order;
	spinlock_t lock;	/* see above */
	struct list_head pool[MAX_NUMNODES];
	unsigned long held_on[MAX_NUMNODES];
	struct list_head forfeit;
	unsigned long forfeited;
	struct list_head quarantine;
	unsigned long count[AERATOR_BLOCK_STATES];
	u64 taken;
} blocks = {
	.lock = __SPIN_LOCK_UNLOCKED(blocks.lock),
	.forfeit = LIST_HEAD_INIT(blocks.forfeit),
	.quarantine = LIST_HEAD_INIT(blocks.quarantine),
};

static unsigned long block_pages(void)
{
	return 1UL << blocks.order;
}

static void move_locked(enum aerator_block_state from,
			enum aerator_block_state to, unsigned long nr)
{
	lockdep_assert_held(&blocks.lock);
	WRITE_ONCE(blocks.count[from], blocks.count[from] - nr);
	WRITE_ONCE(blocks.count[to], blocks.count[to] + nr);
}

/* A block more, or less, that can be had back. */
static void count_out(const struct page *page, int more)
{
	aeration_account_out(page_to_nid(page), more * (long)block_pages());
}

/**
 * aeration_blocks_init - prepare the pools
 *
 * Blocks have 2 MiB, whatever the page size: the usual huge page, and what a Xen
 * domain may ask for by default. Never more than a pageblock.
 *
 * Context: process context, once, before anything else here.
 */
void aeration_blocks_init(void)
{
	int nid;

	blocks.order = min_t(unsigned int, pageblock_order,
			     ilog2(SZ_2M) - PAGE_SHIFT);
	for (nid = 0; nid < MAX_NUMNODES; nid++)
		INIT_LIST_HEAD(&blocks.pool[nid]);
}

/**
 * aeration_blocks_order - order of every block
 *
 * Context: any.
 * Return: the order.
 */
unsigned int aeration_blocks_order(void)
{
	return blocks.order;
}

/**
 * aeration_blocks_of - how many blocks so many pages are
 * @pages: pages
 *
 * Return: blocks, rounded up.
 */
unsigned long aeration_blocks_of(unsigned long pages)
{
	return (pages + block_pages() - 1) >> blocks.order;
}

/**
 * aeration_blocks_taken - a block was taken from the allocator
 * @page: its first page; isolated from now on
 *
 * Context: any but hard interrupts.
 */
void aeration_blocks_taken(const struct page *page)
{
	spin_lock_bh(&blocks.lock);
	blocks.taken++;
	WRITE_ONCE(blocks.count[AERATOR_BLOCK_ISOLATED],
		   blocks.count[AERATOR_BLOCK_ISOLATED] + 1);
	count_out(page, 1);
	spin_unlock_bh(&blocks.lock);
}

/**
 * aeration_blocks_mark - mark taken blocks offline, and what becomes of them
 * @batch: isolated blocks, just taken
 * @to: AERATOR_BLOCK_IN_FLIGHT, or AERATOR_BLOCK_ISOLATED if they go back
 *
 * Context: process context; may sleep.
 */
void aeration_blocks_mark(struct aerator_batch *batch,
			  enum aerator_block_state to)
{
	aeration_pages_hide(batch);
	spin_lock_bh(&blocks.lock);
	move_locked(AERATOR_BLOCK_ISOLATED, to, batch->nr);
	spin_unlock_bh(&blocks.lock);
}

/* A block that is backed goes back to the allocator. */
static void give_back(struct page *page)
{
	spin_lock_bh(&blocks.lock);
	move_locked(AERATOR_BLOCK_ISOLATED, AERATOR_BLOCK_FREE, 1);
	count_out(page, -1);
	spin_unlock_bh(&blocks.lock);
	aeration_pages_free(page, blocks.order);
}

static void quarantine_locked(struct page *page)
{
	list_add(&page->lru, &blocks.quarantine);
	count_out(page, -1);
}

static void pool_add_locked(struct page *page)
{
	int nid = page_to_nid(page);

	list_add_tail(&page->lru, &blocks.pool[nid]);
	WRITE_ONCE(blocks.held_on[nid], blocks.held_on[nid] + 1);
}

/**
 * aeration_blocks_settle - put each block of a batch where its state says it belongs
 * @batch: blocks that are ISOLATED, HELD or QUARANTINED, and marked offline
 * @from: what they count as
 *
 * Context: process context; may sleep.
 * Return: where they went.
 */
struct settled aeration_blocks_settle(const struct aerator_batch *batch,
				      enum aerator_block_state from)
{
	struct settled went = { };
	unsigned int i;

	for (i = 0; i < batch->nr; i++) {
		enum aerator_block_state state = batch->block[i].state;
		struct page *page = pfn_to_page(batch->block[i].pfn);

		spin_lock_bh(&blocks.lock);
		move_locked(from, state, 1);
		if (state == AERATOR_BLOCK_HELD)
			pool_add_locked(page);
		else if (state == AERATOR_BLOCK_QUARANTINED)
			quarantine_locked(page);
		spin_unlock_bh(&blocks.lock);

		if (state == AERATOR_BLOCK_ISOLATED) {
			give_back(page);
			went.freed++;
		} else if (state == AERATOR_BLOCK_HELD) {
			went.held++;
		} else {
			pr_err_ratelimited("block pfn %lx order %u is quarantined: not all of it may be backed; its %lu KiB are lost to this guest until it boots again\n",
					   page_to_pfn(page), blocks.order,
					   block_pages() << (PAGE_SHIFT - 10));
			went.lost++;
		}
		cond_resched();
	}
	return went;
}

/* Of the nodes that something is held of, the one that needs it most. */
static int neediest_locked(void)
{
	int nid, worst = NUMA_NO_NODE;
	long least = LONG_MAX;

	lockdep_assert_held(&blocks.lock);
	for_each_online_node(nid) {
		long spare = aeration_zones_spare(nid);

		if (blocks.held_on[nid] && spare < least) {
			least = spare;
			worst = nid;
		}
	}
	return worst;
}

/**
 * aeration_blocks_fetch - move held blocks into a batch, to be restored
 * @batch: where to put them
 * @nr: at most so many; there is room for them
 * @nid: of this node, or NUMA_NO_NODE for the one that needs it most
 *
 * Context: any but hard interrupts.
 */
void aeration_blocks_fetch(struct aerator_batch *batch, unsigned long nr,
			   int nid)
{
	batch->nr = 0;
	spin_lock_bh(&blocks.lock);
	if (nid == NUMA_NO_NODE)
		nid = neediest_locked();
	while (nid != NUMA_NO_NODE && batch->nr < nr && blocks.held_on[nid]) {
		struct page *page = list_first_entry(&blocks.pool[nid],
						     struct page, lru);

		list_del(&page->lru);
		WRITE_ONCE(blocks.held_on[nid], blocks.held_on[nid] - 1);
		batch->block[batch->nr].pfn = page_to_pfn(page);
		batch->block[batch->nr].order = blocks.order;
		batch->nr++;
	}
	move_locked(AERATOR_BLOCK_HELD, AERATOR_BLOCK_RESTORING, batch->nr);
	spin_unlock_bh(&blocks.lock);
}

static unsigned long held_pages_locked(void)
{
	return (blocks.count[AERATOR_BLOCK_HELD] +
		blocks.count[AERATOR_BLOCK_RESTORING]) << blocks.order;
}

/**
 * aeration_blocks_note_held - tell a backend how much is held, and whether it is missed
 * @dev: its device
 *
 * Without what is forfeited: it has said that itself.
 *
 * Under the lock, so that what the backend hears last is true.
 *
 * Context: process context.
 */
void aeration_blocks_note_held(struct aerator_dev_info *dev)
{
	unsigned long pages;

	if (!dev->ops->note_held)
		return;
	spin_lock_bh(&blocks.lock);
	pages = held_pages_locked() - (blocks.forfeited << blocks.order);
	dev->ops->note_held(dev, (u64)pages << PAGE_SHIFT,
			    aeration_account_is_starved());
	spin_unlock_bh(&blocks.lock);
}

/* The node that most is held of, or NUMA_NO_NODE. */
static int fullest_locked(void)
{
	int nid, best = NUMA_NO_NODE;

	lockdep_assert_held(&blocks.lock);
	for_each_online_node(nid)
		if (blocks.held_on[nid] &&
		    (best == NUMA_NO_NODE ||
		     blocks.held_on[nid] > blocks.held_on[best]))
			best = nid;
	return best;
}

/* Return: false if there is none to forfeit. */
static bool forfeit_locked(void)
{
	int nid = fullest_locked();
	struct page *page;

	if (nid == NUMA_NO_NODE)
		return false;
	page = list_last_entry(&blocks.pool[nid], struct page, lru);
	list_move_tail(&page->lru, &blocks.forfeit);
	WRITE_ONCE(blocks.held_on[nid], blocks.held_on[nid] - 1);
	WRITE_ONCE(blocks.forfeited, blocks.forfeited + 1);
	aeration_account_forfeit(page, block_pages());
	return true;
}

static void take_back_locked(void)
{
	struct page *page = list_last_entry(&blocks.forfeit, struct page, lru);

	list_del(&page->lru);
	WRITE_ONCE(blocks.forfeited, blocks.forfeited - 1);
	aeration_account_forfeit(page, -(long)block_pages());
	pool_add_locked(page);
}

/**
 * aeration_blocks_forfeit - say how many of the blocks that are held cannot be had back
 * @nr: so many; fewer if fewer are held
 *
 * Context: process context; may sleep.
 * Return: how many are forfeited now.
 */
unsigned long aeration_blocks_forfeit(unsigned long nr)
{
	bool more = true;

	while (more) {
		spin_lock_bh(&blocks.lock);
		if (blocks.forfeited > nr)
			take_back_locked();
		else
			more = blocks.forfeited < nr && forfeit_locked();
		spin_unlock_bh(&blocks.lock);
		cond_resched();
	}
	return aeration_blocks_forfeited();
}

/**
 * aeration_blocks_count - how many blocks are in a state
 * @state: the state; for AERATOR_BLOCK_FREE, blocks ever given back
 *
 * Context: any.
 * Return: blocks.
 */
unsigned long aeration_blocks_count(enum aerator_block_state state)
{
	return READ_ONCE(blocks.count[state]);
}

/**
 * aeration_blocks_forfeited - how many of the blocks that are held cannot be had back
 *
 * Context: any.
 * Return: blocks.
 */
unsigned long aeration_blocks_forfeited(void)
{
	return READ_ONCE(blocks.forfeited);
}

/**
 * aeration_blocks_due - how many of the blocks that are held can be had back
 *
 * Context: any.
 * Return: blocks that are held, less those that are forfeited.
 */
unsigned long aeration_blocks_due(void)
{
	unsigned long held = READ_ONCE(blocks.count[AERATOR_BLOCK_HELD]);
	unsigned long forfeited = aeration_blocks_forfeited();

	return held > forfeited ? held - forfeited : 0;
}

/**
 * aeration_blocks_any_due - are any held or on their way back that can be had back?
 *
 * Context: any but hard interrupts.
 * Return: true if so, at one moment.
 */
bool aeration_blocks_any_due(void)
{
	unsigned long due;

	spin_lock_bh(&blocks.lock);
	due = blocks.count[AERATOR_BLOCK_HELD] +
	      blocks.count[AERATOR_BLOCK_RESTORING] - blocks.forfeited;
	spin_unlock_bh(&blocks.lock);
	return due;
}

/**
 * aeration_blocks_held_on - how many blocks of a node wait to be restored
 * @nid: the node
 *
 * Context: any.
 * Return: blocks.
 */
unsigned long aeration_blocks_held_on(int nid)
{
	return READ_ONCE(blocks.held_on[nid]);
}

/**
 * aeration_blocks_held_pages - pages that have no backing
 *
 * Context: any but hard interrupts.
 * Return: pages, those being restored included.
 */
unsigned long aeration_blocks_held_pages(void)
{
	unsigned long pages;

	spin_lock_bh(&blocks.lock);
	pages = held_pages_locked();
	spin_unlock_bh(&blocks.lock);
	return pages;
}

/**
 * aeration_blocks_show - print how many blocks are in each state, at one moment
 * @buf: a page of sysfs
 *
 * Context: process context.
 * Return: bytes printed.
 */
int aeration_blocks_show(char *buf)
{
	unsigned long count[AERATOR_BLOCK_STATES];
	u64 taken;

	spin_lock_bh(&blocks.lock);
	memcpy(count, blocks.count, sizeof(count));
	taken = blocks.taken;
	spin_unlock_bh(&blocks.lock);
	return sysfs_emit(buf, "%llu %lu %lu %lu %lu %lu %lu\n", taken,
			  count[AERATOR_BLOCK_FREE], count[AERATOR_BLOCK_ISOLATED],
			  count[AERATOR_BLOCK_IN_FLIGHT], count[AERATOR_BLOCK_HELD],
			  count[AERATOR_BLOCK_RESTORING], count[AERATOR_BLOCK_QUARANTINED]);
}
