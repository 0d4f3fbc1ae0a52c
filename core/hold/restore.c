// SPDX-License-Identifier: GPL-2.0
/*
 * Get held blocks back; see hold.h.
 *
 * Blocks come back in steps that are bounded in time, so that whoever needs some
 * meanwhile does not wait for long. A hypervisor that has no memory to give is
 * asked ever more rarely, and while it has none its backend's module stays.
 */
#define pr_fmt(fmt) "aeration: " fmt

#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/spinlock.h>
#include "../batch.h"
#include "../pace/backoff.h"
#include "../pace/watch.h"
#include "hold.h"

/* How long to leave a hypervisor alone that came up short, ms. */
#define SHORT_PAUSE_MIN_MS	100
#define SHORT_PAUSE_MAX_MS	10000

/*
 * How long it may take to restore what is restored in one go, ns, while the guest
 * needs it and when it is only to be got back. Whoever needs memory meanwhile
 * waits for all of it.
 */
#define STEP_NEEDED_NS	(10 * NSEC_PER_MSEC)
#define STEP_ALL_NS	(250 * NSEC_PER_MSEC)

/*
 * How long to wait before everything is asked for once more, ms, and how much of a try
 * one is that brought some of it.
 */
#define ALL_WAIT_MS	200
#define PART_OF_TRY	10U

/*
 * What may be lost to quarantine, bytes, before the backend is done with: one
 * that loses its place now and then would otherwise eat up the guest.
 */
#define QUARANTINE_MOST	(32UL << 20)

/**
 * struct restore - how blocks come back
 * @lock: protects @dev, @batch and @quiesced; taken in memory reclaim
 * @dev: the device; NULL while there is none
 * @batch: those that are being restored
 * @quiesced: the backend must not be called
 * @state_lock: protects what follows; taken with bottom halves off
 * @pause: after the hypervisor came up short
 * @spoiled: so much was lost that the backend is done with; read without @state_lock,
 *	too
 * @lost_before: blocks that were quarantined when the source started
 * @pinned: the module of the backend must stay, or NULL
 */
static struct restore {
	struct mutex lock;		/* see above */
	struct aerator_dev_info *dev;
	struct aerator_batch *batch;
	bool quiesced;
	spinlock_t state_lock;		/* see above */
	struct backoff pause;
	bool spoiled;
	unsigned long lost_before;
	struct module *pinned;
} restore = {
	.lock = __MUTEX_INITIALIZER(restore.lock),
	.state_lock = __SPIN_LOCK_UNLOCKED(restore.state_lock),
};

/**
 * aeration_restore_start - begin to restore for a device
 * @dev: the device
 *
 * Context: process context; may sleep.
 * Return: 0 or -ENOMEM.
 */
int aeration_restore_start(struct aerator_dev_info *dev)
{
	struct aerator_batch *batch;

	batch = kvzalloc(struct_size(batch, block, dev->capacity), GFP_KERNEL);
	if (!batch)
		return -ENOMEM;
	aeration_restore_again();
	aeration_account_starve(false);
	aeration_account_withhold(false);
	mutex_lock(&restore.lock);
	WRITE_ONCE(restore.dev, dev);
	restore.batch = batch;
	restore.quiesced = false;
	mutex_unlock(&restore.lock);
	return 0;
}

/**
 * aeration_restore_again - forget what went wrong with a device
 *
 * Whether it withholds memory the next restore shows.
 *
 * Context: process context.
 */
void aeration_restore_again(void)
{
	spin_lock_bh(&restore.state_lock);
	aeration_backoff_init(&restore.pause, SHORT_PAUSE_MIN_MS,
			      SHORT_PAUSE_MAX_MS);
	WRITE_ONCE(restore.spoiled, false);
	restore.lost_before = aeration_blocks_count(AERATOR_BLOCK_QUARANTINED);
	spin_unlock_bh(&restore.state_lock);
}

/* Let the backend's module go, if it had to stay. */
static void unpin(void)
{
	struct module *pinned;

	spin_lock_bh(&restore.state_lock);
	pinned = restore.pinned;
	restore.pinned = NULL;
	spin_unlock_bh(&restore.state_lock);
	module_put(pinned);
}

/**
 * aeration_restore_stop - restore no more: the device goes, or nothing is held
 *
 * Context: process context; waits for a restore under way.
 */
void aeration_restore_stop(void)
{
	mutex_lock(&restore.lock);
	WRITE_ONCE(restore.dev, NULL);
	kvfree(restore.batch);
	restore.batch = NULL;
	mutex_unlock(&restore.lock);
	unpin();
	aeration_account_withhold(true);
}

/**
 * aeration_restore_quiesce - leave the backend alone, or do so no more
 * @quiesced: leave it alone
 *
 * Context: process context; waits for a restore under way.
 */
void aeration_restore_quiesce(bool quiesced)
{
	mutex_lock(&restore.lock);
	restore.quiesced = quiesced;
	mutex_unlock(&restore.lock);
}

static void set_withheld(bool withheld)
{
	aeration_account_starve(withheld);
	if (aeration_account_withhold(withheld) == withheld)
		return;
	if (withheld)
		pr_warn_ratelimited("the hypervisor has no memory to give back; the guest has to do without %lu MiB and asks again every now and then: free memory on the host, or raise this guest's limit there\n",
				    aeration_blocks_held_pages() >> (20 - PAGE_SHIFT));
	else
		pr_info_ratelimited("the hypervisor gives memory back again\n");
}

/* The hypervisor has not given back what it was asked for: its module stays. */
static void pin(struct module *owner)
{
	spin_lock_bh(&restore.state_lock);
	if (!restore.pinned && owner && try_module_get(owner))
		restore.pinned = owner;
	spin_unlock_bh(&restore.state_lock);
}

/**
 * aeration_restore_note_lost - blocks have been quarantined
 * @lost: how many
 *
 * Context: any but hard interrupts.
 */
void aeration_restore_note_lost(unsigned int lost)
{
	unsigned long most = max(1UL, QUARANTINE_MOST >> PAGE_SHIFT >>
				 aeration_blocks_order());
	unsigned long all = aeration_blocks_count(AERATOR_BLOCK_QUARANTINED);
	bool spoilt;

	if (!lost)
		return;
	spin_lock_bh(&restore.state_lock);
	spoilt = !restore.spoiled && all - restore.lost_before >= most;
	if (spoilt)
		WRITE_ONCE(restore.spoiled, true);
	spin_unlock_bh(&restore.state_lock);
	if (spoilt)
		pr_err("%lu blocks are quarantined; nothing more is given to the hypervisor, load the backend again to retry\n",
		       all);
}

/* Take note of what came of a batch. */
static void note_result(const struct settled *went, struct module *owner,
			u64 ns)
{
	bool failed = went->held || went->lost;

	if (went->freed)
		aeration_need_restored(went->freed, ns);
	aeration_restore_note_lost(went->lost);
	spin_lock_bh(&restore.state_lock);
	if (restore.spoiled)
		restore.pause.next_ms = restore.pause.max_ms;
	if (failed)
		aeration_backoff_failed(&restore.pause,
					aeration_watch_now_ms());
	else
		aeration_backoff_well(&restore.pause);
	spin_unlock_bh(&restore.state_lock);
	if (went->held) {
		pin(owner);
		set_withheld(true);
	} else if (went->freed || !aeration_blocks_due()) {
		set_withheld(false);
		unpin();
	}
}

/*
 * Have up to so many blocks backed again and give them to the allocator, unless
 * it is @enough once it is this caller's turn. After a loss one at a time is risked.
 * Return: blocks given to the allocator.
 */
static unsigned long one_step(unsigned long nr, int nid, bool (*enough)(int nid),
			      bool *failed)
{
	struct settled went = { };
	u64 start;

	if (READ_ONCE(restore.spoiled))
		nr = 1;
	mutex_lock(&restore.lock);
	if (!restore.dev || restore.quiesced || (enough && enough(nid)))
		goto out;
	aeration_blocks_fetch(restore.batch,
			      min_t(unsigned long, nr, restore.dev->capacity),
			      nid);
	if (!restore.batch->nr)
		goto out;
	start = ktime_get_ns();
	aeration_batch_restore(restore.dev, restore.batch);
	went = aeration_blocks_settle(restore.batch, AERATOR_BLOCK_RESTORING);
	note_result(&went, restore.dev->ops->owner, ktime_get_ns() - start);
	aeration_blocks_note_held(restore.dev);
	*failed = went.held || went.lost;
out:
	mutex_unlock(&restore.lock);
	return went.freed;
}

/**
 * aeration_restore_needed - give held blocks back to the allocator, as they are needed
 * @blocks: how many, at least 1; no more than a step full of them come back
 * @nid: of this node, or NUMA_NO_NODE for the one that needs it most
 * @last_resort: ask although the hypervisor came up short a moment ago
 * @enough: optional: whether what others have had restored is enough
 *
 * Context: process context, memory reclaim included; sleeps for about a step;
 *	allocates nothing.
 * Return: blocks given to the allocator.
 */
unsigned long aeration_restore_needed(unsigned long blocks, int nid,
				      bool last_resort,
				      bool (*enough)(int nid))
{
	unsigned long done;
	bool failed = false;

	if (!last_resort && aeration_restore_pause_ms())
		return 0;
	done = one_step(min(blocks, aeration_need_step(STEP_NEEDED_NS)), nid,
			enough, &failed);
	if (done)
		aeration_need_note(done);
	return done;
}

/**
 * aeration_restore_excess - get blocks back of which too many are held
 * @blocks: how many, at least 1; no more than a step full of them come back
 *
 * Nobody needs them, so nothing is regretted.
 *
 * Context: process context; sleeps.
 * Return: blocks given to the allocator.
 */
unsigned long aeration_restore_excess(unsigned long blocks)
{
	bool failed = false;

	if (aeration_restore_pause_ms())
		return 0;
	return one_step(min(blocks, aeration_need_step(STEP_NEEDED_NS)),
			NUMA_NO_NODE, NULL, &failed);
}

/**
 * aeration_restore_all - get everything back
 * @tries: how often to begin anew if the hypervisor has none at all
 * @cancelled: optional: is it not wanted any more?
 *
 * What others are having restored is waited for.
 *
 * Context: process context; sleeps.
 * Return: true if nothing is held any more that can be had back.
 */
bool aeration_restore_all(unsigned int tries, bool (*cancelled)(void))
{
	unsigned int left = tries * PART_OF_TRY;
	bool failed;

	while (left && aeration_blocks_any_due() && READ_ONCE(restore.dev) &&
	       !(cancelled && cancelled())) {
		unsigned long done;

		failed = false;
		done = one_step(aeration_need_step(STEP_ALL_NS), NUMA_NO_NODE,
				NULL, &failed);
		if (done && !failed)
			continue;
		left -= min(left, done ? 1U : PART_OF_TRY);
		/* One that loses what it is asked for is not asked for more. */
		if (!left || READ_ONCE(restore.spoiled))
			break;
		msleep(ALL_WAIT_MS);
	}
	return !aeration_blocks_any_due();
}

/**
 * aeration_restore_pause_ms - for how long the hypervisor is left alone
 *
 * Context: any but hard interrupts.
 * Return: ms, 0 if it may be asked.
 */
u32 aeration_restore_pause_ms(void)
{
	u32 ms;

	spin_lock_bh(&restore.state_lock);
	ms = aeration_backoff_left(&restore.pause, aeration_watch_now_ms());
	spin_unlock_bh(&restore.state_lock);
	return ms;
}

/**
 * aeration_restore_is_spoiled - was so much lost that the backend is done with?
 *
 * Context: any.
 * Return: true if so.
 */
bool aeration_restore_is_spoiled(void)
{
	return READ_ONCE(restore.spoiled);
}

/**
 * aeration_restore_settle - if nothing is to be had back, nothing is withheld
 *
 * Context: process context, while the source has its device.
 */
void aeration_restore_settle(void)
{
	/* While somebody restores, it is for the one who does to say. */
	if (!aeration_account_is_withheld() || !mutex_trylock(&restore.lock))
		return;
	if (!aeration_blocks_any_due()) {
		aeration_account_withhold(false);
		unpin();
	}
	mutex_unlock(&restore.lock);
}

/**
 * aeration_restore_content - the guest needs nothing of what is held
 *
 * Context: process context, while the source has its device.
 */
void aeration_restore_content(void)
{
	struct aerator_dev_info *dev = READ_ONCE(restore.dev);

	if (aeration_account_starve(false) && dev)
		aeration_blocks_note_held(dev);
}
