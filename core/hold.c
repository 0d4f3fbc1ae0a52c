// SPDX-License-Identifier: GPL-2.0
/*
 * The blocks of the hold source: taken, surrendered, held, restored, given back;
 * see hold.h.
 */
#define pr_fmt(fmt) "aeration: " fmt

#include <linux/gfp.h>
#include <linux/limits.h>
#include <linux/ktime.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/page-flags.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/vmstat.h>
#include "hold.h"
#include "zones.h"

/*
 * Only what is free already: without a flag that allows reclaim the allocator
 * neither reclaims nor compacts nor wakes kswapd, and without __GFP_HIGH and
 * with __GFP_NOMEMALLOC it leaves every reserve alone. Not being movable keeps
 * blocks out of ZONE_MOVABLE and CMA, which promise that memory can be emptied.
 */
#define HOLD_GFP	(__GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN)

/*
 * What may be lost to quarantine, bytes, before the backend is done with: one
 * that loses its place now and then would otherwise eat up the guest.
 */
#define QUARANTINE_MOST	(32UL << 20)

struct hold_state aeration_hold = {
	.surrender_lock = __MUTEX_INITIALIZER(aeration_hold.surrender_lock),
	.restore_lock = __MUTEX_INITIALIZER(aeration_hold.restore_lock),
	.lock = __SPIN_LOCK_UNLOCKED(aeration_hold.lock),
	.quarantine = LIST_HEAD_INIT(aeration_hold.quarantine),
};

static unsigned long block_pages(void)
{
	return 1UL << aeration_hold.order;
}

static void move_locked(enum aerator_block_state from,
			enum aerator_block_state to, unsigned long nr)
{
	lockdep_assert_held(&aeration_hold.lock);
	aeration_hold.count[from] -= nr;
	aeration_hold.count[to] += nr;
}

static void move(enum aerator_block_state from, enum aerator_block_state to,
		 unsigned long nr)
{
	spin_lock_bh(&aeration_hold.lock);
	move_locked(from, to, nr);
	spin_unlock_bh(&aeration_hold.lock);
}

/* Quarantined pages are not reclaimable, and nobody counts on them any more. */
static void count_out(struct page *page, long pages)
{
	mod_node_page_state(page_pgdat(page), NR_KERNEL_MISC_RECLAIMABLE, pages);
	atomic_long_add(pages, &aeration_hold.out);
}

static struct page *take_one(void)
{
	gfp_t gfp = HOLD_GFP | (aeration_hold.dev->scrub ? __GFP_ZERO : 0);
	int nid = aeration_zones_richest();
	struct page *page = alloc_pages_node(nid, gfp | __GFP_THISNODE,
					     aeration_hold.order);

	/* What that one has may be in small pieces. */
	if (!page)
		page = alloc_pages_node(nid, gfp, aeration_hold.order);
	if (!page)
		return NULL;
	count_out(page, block_pages());
	spin_lock_bh(&aeration_hold.lock);
	aeration_hold.taken++;
	aeration_hold.count[AERATOR_BLOCK_ISOLATED]++;
	spin_unlock_bh(&aeration_hold.lock);
	return page;
}

/* Take up to nr blocks, as long as that leaves `keep` pages free. */
static void take(struct aerator_batch *batch, unsigned int nr,
		 unsigned long keep)
{
	batch->nr = 0;
	while (batch->nr < nr &&
	       aeration_zones_free() >= keep + block_pages()) {
		struct page *page = take_one();

		if (!page)
			break;
		batch->block[batch->nr].pfn = page_to_pfn(page);
		batch->block[batch->nr].order = aeration_hold.order;
		batch->block[batch->nr].state = AERATOR_BLOCK_ISOLATED;
		batch->nr++;
		cond_resched();
	}
}

/*
 * Tell tools that read memory to leave these pages alone. Whoever is reading one
 * of them at this moment is waited for.
 */
static void mark_offline(const struct aerator_batch *batch)
{
	unsigned long i;
	unsigned int b;

	page_offline_begin();
	for (b = 0; b < batch->nr; b++)
		for (i = 0; i < block_pages(); i++)
			__SetPageOffline(pfn_to_page(batch->block[b].pfn + i));
	page_offline_end();
}

/*
 * Freed in one piece, a huge page goes to a list of this CPU's, where nobody but
 * another huge page finds it: a guest was seen to run out of memory with 44 MiB
 * there. Freed in two halves it goes where everybody finds it, and is one again.
 */
static void free_block(struct page *page)
{
	unsigned int half = aeration_hold.order - 1;
	unsigned long i;

	if (aeration_hold.order != pageblock_order ||
	    half <= PAGE_ALLOC_COSTLY_ORDER) {
		__free_pages(page, aeration_hold.order);
		return;
	}
	/* Of each half only the first page has a count, as it is not compound. */
	split_page(page, aeration_hold.order);
	for (i = 1; i < block_pages(); i++)
		if (i != 1UL << half)
			set_page_count(page + i, 0);
	__free_pages(page + (1UL << half), half);
	__free_pages(page, half);
}

/* A block that is backed goes back to the allocator. */
static void give_back(const struct aerator_block *block)
{
	struct page *page = pfn_to_page(block->pfn);
	unsigned long i;

	for (i = 0; i < block_pages(); i++)
		__ClearPageOffline(page + i);
	spin_lock_bh(&aeration_hold.lock);
	move_locked(AERATOR_BLOCK_ISOLATED, AERATOR_BLOCK_FREE, 1);
	spin_unlock_bh(&aeration_hold.lock);
	count_out(page, -(long)block_pages());
	free_block(page);
}

/**
 * struct settled - where the blocks of a batch went
 * @freed: back to the allocator
 * @held: into the pool
 */
struct settled {
	unsigned int freed;
	unsigned int held;
};

/* One more block is quarantined. */
static void give_up_block(const struct aerator_block *block)
{
	unsigned long most = max(1UL, QUARANTINE_MOST >> PAGE_SHIFT >>
				 aeration_hold.order);
	unsigned long lost = aeration_hold_blocks(AERATOR_BLOCK_QUARANTINED) -
			     aeration_hold.quarantined_before;

	count_out(pfn_to_page(block->pfn), -(long)block_pages());
	pr_err_ratelimited("%s: block pfn %lx order %u is quarantined: not all of it may be backed; its %lu KiB are lost to this guest until it boots again\n",
			   aeration_hold.dev->ops->name, block->pfn, block->order,
			   block_pages() << (PAGE_SHIFT - 10));
	if (lost < most || READ_ONCE(aeration_hold.spoiled))
		return;
	WRITE_ONCE(aeration_hold.spoiled, true);
	pr_err("%s: %lu blocks are quarantined; nothing more is given to the hypervisor, load the backend again to retry\n",
	       aeration_hold.dev->ops->name, lost);
	aerator_fail(aeration_hold.dev, "too many blocks came back in a state that is not known");
}

static void pool_add_locked(struct page *page)
{
	int nid = page_to_nid(page);

	lockdep_assert_held(&aeration_hold.lock);
	list_add_tail(&page->lru, &aeration_hold.pool[nid]);
	aeration_hold.held_on[nid]++;
}

/*
 * Put each block of a batch where its state says it belongs. They come from the
 * backend, and are counted as @from.
 */
static struct settled settle(const struct aerator_batch *batch,
			     enum aerator_block_state from)
{
	struct settled went = { };
	unsigned int i;

	for (i = 0; i < batch->nr; i++) {
		const struct aerator_block *block = &batch->block[i];
		struct page *page = pfn_to_page(block->pfn);

		spin_lock_bh(&aeration_hold.lock);
		move_locked(from, block->state, 1);
		if (block->state == AERATOR_BLOCK_HELD)
			pool_add_locked(page);
		else if (block->state == AERATOR_BLOCK_QUARANTINED)
			list_add(&page->lru, &aeration_hold.quarantine);
		spin_unlock_bh(&aeration_hold.lock);

		if (block->state == AERATOR_BLOCK_ISOLATED) {
			give_back(block);
			went.freed++;
		} else if (block->state == AERATOR_BLOCK_HELD) {
			went.held++;
		} else if (block->state == AERATOR_BLOCK_QUARANTINED) {
			give_up_block(block);
		}
	}
	return went;
}

/* Under the lock, so that what the backend hears last is true. */
static void note_held(void)
{
	spin_lock_bh(&aeration_hold.lock);
	if (aeration_hold.dev->ops->note_held)
		aeration_hold.dev->ops->note_held(aeration_hold.dev,
						  (u64)aeration_hold_held_pages() << PAGE_SHIFT);
	spin_unlock_bh(&aeration_hold.lock);
}

/**
 * aeration_hold_surrender - take free blocks and hand them to the hypervisor
 * @blocks: how many, at least 1; no more than the capacity of the device go
 * @keep: pages that must stay free
 * @went: set to how many the hypervisor took
 *
 * Context: process context; sleeps until the ack; allocates nothing but the
 *	blocks.
 * Return: what came of it.
 */
enum hold_result aeration_hold_surrender(unsigned long blocks,
					 unsigned long keep,
					 unsigned long *went)
{
	struct aerator_batch *batch = aeration_hold.dev->batch;
	enum hold_result result = HOLD_NOT_NOW;
	unsigned int nr = min_t(unsigned long, blocks,
				aeration_hold.dev->capacity);
	int err = 0;

	*went = 0;
	mutex_lock(&aeration_hold.surrender_lock);
	if (aeration_hold.quiesced || aeration_hold.leaving ||
	    READ_ONCE(aeration_hold.spoiled))
		goto out;
	take(batch, nr, keep);
	result = batch->nr < nr ? HOLD_FEW : HOLD_DONE;
	if (!batch->nr)
		goto out;
	mark_offline(batch);
	move(AERATOR_BLOCK_ISOLATED, AERATOR_BLOCK_IN_FLIGHT, batch->nr);
	err = aeration_batch_submit(aeration_hold.dev);
	*went = settle(batch, AERATOR_BLOCK_IN_FLIGHT).held;
	note_held();
	if (err)
		result = HOLD_REFUSED;
out:
	mutex_unlock(&aeration_hold.surrender_lock);
	return result;
}

/* Of the nodes that something is held of, the one that needs it most. */
static int neediest_locked(void)
{
	int nid, worst = NUMA_NO_NODE;
	long least = LONG_MAX;

	lockdep_assert_held(&aeration_hold.lock);
	for_each_online_node(nid) {
		long spare = aeration_zones_spare(nid);

		if (aeration_hold.held_on[nid] && spare < least) {
			least = spare;
			worst = nid;
		}
	}
	return worst;
}

/*
 * Move up to nr blocks of a node, or of whichever needs it most, into the batch
 * of those being restored.
 */
static void fetch(unsigned long nr, int nid)
{
	struct aerator_batch *batch = aeration_hold.restoring;

	batch->nr = 0;
	spin_lock_bh(&aeration_hold.lock);
	if (nid == NUMA_NO_NODE)
		nid = neediest_locked();
	while (nid != NUMA_NO_NODE && batch->nr < nr &&
	       aeration_hold.held_on[nid]) {
		struct page *page = list_first_entry(&aeration_hold.pool[nid],
						     struct page, lru);

		list_del(&page->lru);
		aeration_hold.held_on[nid]--;
		batch->block[batch->nr].pfn = page_to_pfn(page);
		batch->block[batch->nr].order = aeration_hold.order;
		batch->nr++;
	}
	move_locked(AERATOR_BLOCK_HELD, AERATOR_BLOCK_RESTORING, batch->nr);
	spin_unlock_bh(&aeration_hold.lock);
}

static void note_cost(unsigned int blocks, u64 ns)
{
	spin_lock_bh(&aeration_watch.lock);
	aeration_floor_restored(&aeration_hold.floor, blocks * block_pages(),
				ns);
	spin_unlock_bh(&aeration_watch.lock);
}

/**
 * aeration_hold_restore - have held blocks backed again and give them to the allocator
 * @blocks: how many, at least 1; no more than a batch full of them come back
 * @nid: of this node, or NUMA_NO_NODE for the one that needs it most
 * @enough: optional: asked once it is this caller's turn, with restore_lock held;
 *	if it says so nothing is restored
 * @come_short: set to true if the hypervisor did not back all it was asked for,
 *	otherwise left alone
 *
 * Context: process context, memory reclaim included; sleeps; allocates nothing.
 * Return: blocks given to the allocator.
 */
unsigned long aeration_hold_restore(unsigned long blocks, int nid,
				    bool (*enough)(int nid), bool *come_short)
{
	struct settled went = { };
	u64 start;

	mutex_lock(&aeration_hold.restore_lock);
	if (aeration_hold.quiesced || !aeration_hold.restoring ||
	    (enough && enough(nid)))
		goto out;
	fetch(min_t(unsigned long, blocks, aeration_hold.dev->capacity), nid);
	if (!aeration_hold.restoring->nr)
		goto out;
	start = ktime_get_ns();
	aeration_batch_restore(aeration_hold.dev, aeration_hold.restoring);
	went = settle(aeration_hold.restoring, AERATOR_BLOCK_RESTORING);
	if (went.freed)
		note_cost(went.freed, ktime_get_ns() - start);
	if (went.held)
		*come_short = true;
	note_held();
out:
	mutex_unlock(&aeration_hold.restore_lock);
	return went.freed;
}

/**
 * aeration_hold_blocks - how many blocks are in a state
 * @state: the state; for AERATOR_BLOCK_FREE, blocks ever given back
 *
 * Context: any.
 * Return: blocks.
 */
unsigned long aeration_hold_blocks(enum aerator_block_state state)
{
	return READ_ONCE(aeration_hold.count[state]);
}

/**
 * aeration_hold_held_pages - how many pages the guest has no backing for
 *
 * Context: any.
 * Return: pages, those that are being restored included.
 */
unsigned long aeration_hold_held_pages(void)
{
	return (aeration_hold_blocks(AERATOR_BLOCK_HELD) +
		aeration_hold_blocks(AERATOR_BLOCK_RESTORING)) << aeration_hold.order;
}

/**
 * aeration_hold_show_states - print how many blocks are in each state, at one moment
 * @buf: a page of sysfs
 *
 * Context: process context.
 * Return: bytes printed.
 */
int aeration_hold_show_states(char *buf)
{
	unsigned long count[AERATOR_BLOCK_STATES];
	u64 taken;

	spin_lock_bh(&aeration_hold.lock);
	memcpy(count, aeration_hold.count, sizeof(count));
	taken = aeration_hold.taken;
	spin_unlock_bh(&aeration_hold.lock);
	return sysfs_emit(buf, "%llu %lu %lu %lu %lu %lu %lu\n", taken,
			  count[AERATOR_BLOCK_FREE],
			  count[AERATOR_BLOCK_ISOLATED],
			  count[AERATOR_BLOCK_IN_FLIGHT],
			  count[AERATOR_BLOCK_HELD],
			  count[AERATOR_BLOCK_RESTORING],
			  count[AERATOR_BLOCK_QUARANTINED]);
}
