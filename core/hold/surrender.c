// SPDX-License-Identifier: GPL-2.0
/*
 * Let go of surplus, batch by batch; see hold.h.
 *
 * In a work item of its own, so that need is seen meanwhile. A batch is small
 * enough to be there and back in a moment, and to be no great part of what is
 * free: what is on its way can be had by nobody. If need shows while it is being
 * taken it goes back.
 */
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>
#include "../batch.h"
#include "../pace/backoff.h"
#include "../pace/watch.h"
#include "../params.h"
#include "../queues.h"
#include "hold.h"
#include "zones.h"

/*
 * How long to leave a hypervisor alone that refused a batch, or a backend that
 * was not ready, ms.
 */
#define REFUSED_PAUSE_MIN_MS	1000
#define REFUSED_PAUSE_MAX_MS	16000

/*
 * A batch takes no longer than this, ns, as far as is known, unless it has less than
 * the first of these, bytes; has no more than the second; and is no more than one part
 * in so many of what is free.
 */
#define STEP_NS		(100 * NSEC_PER_MSEC)
#define STEP_LEAST	(16UL << 20)
#define STEP_MOST	(64UL << 20)
#define STEP_SHARE	16

/* One part in this many of the mean cost of a block is replaced by each batch. */
#define COST_SHARE	4

/**
 * enum result - what came of an attempt to surrender
 * @DONE: every block asked for was surrendered
 * @FEW: there were not as many free blocks
 * @REFUSED: the backend did not take all that it was given
 * @NEEDED: the guest needs memory
 * @NOT_NOW: nothing may go
 */
enum result {
	DONE,
	FEW,
	REFUSED,
	NEEDED,
	NOT_NOW,
};

static void surrender_fn(struct work_struct *work);

/**
 * struct surrender - how blocks go
 * @lock: protects @dev, @stopped, @block_ns and the batch of the device
 * @dev: the device; NULL while there is none
 * @stopped: bits of enum surrender_stop; read without @lock as a hint
 * @block_ns: what it takes to surrender a block, ns, as a running mean
 * @work: surrenders while there is a surplus; cancelled by whoever stops it
 * @pause_lock: protects @pause; taken with bottom halves off
 * @pause: after a refusal, or when there was nothing to take
 */
static struct surrender {
	struct mutex lock;		/* see above */
	struct aerator_dev_info *dev;
	unsigned int stopped;
	unsigned long block_ns;
	struct work_struct work;
	spinlock_t pause_lock;		/* see above */
	struct backoff pause;
} surrender = {
	.lock = __MUTEX_INITIALIZER(surrender.lock),
	.stopped = SURRENDER_OFF,
	.work = __WORK_INITIALIZER(surrender.work, surrender_fn),
	.pause_lock = __SPIN_LOCK_UNLOCKED(surrender.pause_lock),
};

/**
 * aeration_surrender_start - get ready to surrender to a device
 * @dev: the device
 *
 * Nothing goes before aeration_surrender_go_on(SURRENDER_OFF).
 *
 * Context: process context; may sleep.
 */
void aeration_surrender_start(struct aerator_dev_info *dev)
{
	spin_lock_bh(&surrender.pause_lock);
	aeration_backoff_init(&surrender.pause, REFUSED_PAUSE_MIN_MS,
			      REFUSED_PAUSE_MAX_MS);
	spin_unlock_bh(&surrender.pause_lock);
	mutex_lock(&surrender.lock);
	surrender.dev = dev;
	surrender.block_ns = 0;
	/* A kernel that is about to start another one does not take that back. */
	WRITE_ONCE(surrender.stopped, SURRENDER_OFF |
		   (surrender.stopped & SURRENDER_LEAVING));
	mutex_unlock(&surrender.lock);
}

/**
 * aeration_surrender_stop - surrender nothing any more
 * @why: the bit to set
 *
 * Context: process context; sleeps until a batch on its way is there.
 */
void aeration_surrender_stop(enum surrender_stop why)
{
	mutex_lock(&surrender.lock);
	WRITE_ONCE(surrender.stopped, surrender.stopped | why);
	mutex_unlock(&surrender.lock);
}

/**
 * aeration_surrender_stop_killable - as aeration_surrender_stop(), for who may be killed
 * @why: the bit to set
 *
 * Context: process context; sleeps until a batch on its way is there.
 * Return: 0, or -EINTR with nothing changed if the caller was killed first.
 */
int aeration_surrender_stop_killable(enum surrender_stop why)
{
	int err = mutex_lock_killable(&surrender.lock);

	if (err)
		return err;
	WRITE_ONCE(surrender.stopped, surrender.stopped | why);
	mutex_unlock(&surrender.lock);
	return 0;
}

/**
 * aeration_surrender_go_on - take one reason back
 * @why: the bit to clear
 *
 * Context: process context; may sleep.
 */
void aeration_surrender_go_on(enum surrender_stop why)
{
	mutex_lock(&surrender.lock);
	WRITE_ONCE(surrender.stopped, surrender.stopped & ~why);
	mutex_unlock(&surrender.lock);
}

/**
 * aeration_surrender_end - forget the device
 *
 * Context: process context, after aeration_surrender_stop(), with the watch
 *	stopped; may sleep.
 */
void aeration_surrender_end(void)
{
	cancel_work_sync(&surrender.work);
	mutex_lock(&surrender.lock);
	surrender.dev = NULL;
	mutex_unlock(&surrender.lock);
}

/* How much more may be taken, in pages. */
static unsigned long room(void)
{
	unsigned long max = aeration_need_may_hold();
	unsigned long out = aeration_account_due_pages();

	return max > out ? max - out : 0;
}

/* How much may go of so much surplus, in blocks. */
static unsigned long budget(unsigned long surplus)
{
	unsigned long large = aeration_zones_large(aeration_blocks_order());
	unsigned long free = aeration_zones_free(), pages;
	struct limits limits;

	aeration_need_limits(&limits);
	pages = aeration_pacer_budget(surplus, aeration_account_out_pages(),
				      free > limits.free ? free - limits.free : 0);
	pages = min(pages, large > limits.large ? large - limits.large : 0);
	return min(pages, room()) >> aeration_blocks_order();
}

/* How many blocks go at a time: at least 1, no more than a batch has room for. */
static unsigned long step_blocks(void)
{
	unsigned int block = PAGE_SHIFT + aeration_blocks_order();
	unsigned long most = STEP_MOST >> block;

	lockdep_assert_held(&surrender.lock);
	if (surrender.block_ns)
		most = clamp((unsigned long)STEP_NS / surrender.block_ns,
			     STEP_LEAST >> block, most);
	most = min(most, aeration_zones_free() / STEP_SHARE >>
		   aeration_blocks_order());
	most = min_t(unsigned long, most, surrender.dev->capacity);
	return max(most, 1UL);
}

static void note_cost(unsigned int nr, u64 ns)
{
	unsigned long cost = div_u64(ns, nr);

	if (surrender.block_ns)
		cost = surrender.block_ns - surrender.block_ns / COST_SHARE +
		       cost / COST_SHARE;
	surrender.block_ns = max(cost, 1UL);
}

/* There is a device unless all is stopped. */
static bool is_ready(unsigned long blocks)
{
	struct aerator_dev_info *dev = surrender.dev;

	lockdep_assert_held(&surrender.lock);
	return !dev->ops->ready ||
	       dev->ops->ready(dev, (u64)blocks <<
				    (PAGE_SHIFT + aeration_blocks_order()));
}

/* Let go of one batch of up to so many blocks. */
static enum result one_batch(unsigned long blocks, unsigned long *went)
{
	struct aerator_batch *batch;
	enum result result = NOT_NOW;
	struct settled settled;
	struct limits limits;
	unsigned int nr;
	u64 start;

	*went = 0;
	mutex_lock(&surrender.lock);
	if (surrender.stopped || aeration_restore_is_spoiled())
		goto out;
	/* A flush and the worker may both have seen the same room. */
	blocks = min(blocks, room() >> aeration_blocks_order());
	if (!blocks)
		goto out;
	result = REFUSED;
	if (!is_ready(blocks))
		goto out;
	batch = surrender.dev->batch;
	nr = min(blocks, step_blocks());
	start = ktime_get_ns();
	aeration_need_limits(&limits);
	aeration_take(batch, nr, &limits, surrender.dev->scrub);
	result = batch->nr < nr ? FEW : DONE;
	if (!batch->nr)
		goto out;
	if (aeration_need_wanted()) {
		aeration_blocks_mark(batch, AERATOR_BLOCK_ISOLATED);
		aeration_blocks_settle(batch, AERATOR_BLOCK_ISOLATED);
		result = NEEDED;
		goto out;
	}
	aeration_blocks_mark(batch, AERATOR_BLOCK_IN_FLIGHT);
	if (aeration_batch_submit(surrender.dev))
		result = REFUSED;
	settled = aeration_blocks_settle(batch, AERATOR_BLOCK_IN_FLIGHT);
	*went = settled.held;
	aeration_restore_note_lost(settled.lost);
	note_cost(batch->nr, ktime_get_ns() - start);
	aeration_blocks_note_held(surrender.dev);
out:
	aeration_take_end();
	mutex_unlock(&surrender.lock);
	return result;
}

/* Take note of what came of a batch, for the pacer and for the next one. */
static void note_result(enum result result, unsigned long went)
{
	u64 now = aeration_watch_now_ms();
	struct pacer *pacer;

	pacer = aeration_watch_lock();
	aeration_pacer_told(pacer, now, went << aeration_blocks_order());
	aeration_watch_unlock();
	spin_lock_bh(&surrender.pause_lock);
	/* What is free is not always to be had: it may be in pieces on each node. */
	if (result == REFUSED || (result == FEW && !went))
		aeration_backoff_failed(&surrender.pause, now);
	else
		aeration_backoff_well(&surrender.pause);
	spin_unlock_bh(&surrender.pause_lock);
}

static unsigned long read_surplus(void)
{
	unsigned long surplus;
	struct pacer *pacer;

	pacer = aeration_watch_lock();
	surplus = aeration_pacer_surplus(pacer);
	aeration_watch_unlock();
	return surplus;
}

static void surrender_fn(struct work_struct *work)
{
	enum result result = DONE;
	unsigned long went;

	while (result == DONE && !aeration_need_pause_ms()) {
		unsigned long blocks = budget(read_surplus());

		if (!blocks)
			break;
		result = one_batch(blocks, &went);
		note_result(result, went);
	}
	/* Where this ended is seen by the tick, and what can be done about it. */
	aeration_watch_kick();
}

/**
 * aeration_surrender_kick - begin to surrender, if something may go
 * @surplus: pages
 *
 * Context: process context, while the source is giving.
 * Return: true if something goes.
 */
bool aeration_surrender_kick(unsigned long surplus)
{
	if (READ_ONCE(surrender.stopped) || aeration_restore_is_spoiled() ||
	    !budget(surplus))
		return false;
	queue_work(aeration_wq, &surrender.work);
	return true;
}

/**
 * aeration_surrender_pause_ms - for how long the hypervisor is left alone
 *
 * Context: any but hard interrupts.
 * Return: ms, 0 if it may be given something.
 */
u32 aeration_surrender_pause_ms(void)
{
	u32 ms;

	spin_lock_bh(&surrender.pause_lock);
	ms = aeration_backoff_left(&surrender.pause, aeration_watch_now_ms());
	spin_unlock_bh(&surrender.pause_lock);
	return ms;
}

/* What may be let go of, whatever the window says, in blocks. */
static unsigned long flush_budget(void)
{
	unsigned long unused;

	aeration_need_read_unused(&unused);
	unused -= min(unused, aeration_need_keep());
	return budget(unused);
}

/* Asked for more than a batch, the backend may see that it would not do. */
static bool may_begin(unsigned long blocks)
{
	bool may;

	mutex_lock(&surrender.lock);
	may = !surrender.stopped && is_ready(blocks);
	mutex_unlock(&surrender.lock);
	return may;
}

/**
 * aeration_surrender_flush - surrender all surplus now, whatever the window says
 * @again: no matter: what is held has no backing until it is restored
 * @at_once: no matter: it always is
 * @cancelled: is it not wanted any more?
 *
 * No more than there is at the beginning: what is freed meanwhile has no part in
 * it, or a busy guest would flush for ever.
 *
 * Context: process context, no lock of the core held; sleeps.
 * Return: 0, -EINTR if it was cancelled, -EAGAIN if the backend is not ready or nothing
 *	may go at present, the source being stopped included, -EIO if it did not take what
 *	was offered.
 */
int aeration_surrender_flush(bool again, bool at_once, bool (*cancelled)(void))
{
	u64 errors = aeration_batch_not_taken();
	unsigned long left = flush_budget(), went = 0, blocks = left;
	enum result result = !left || may_begin(left) ? DONE : NOT_NOW;

	while (blocks && result == DONE && !cancelled()) {
		result = one_batch(blocks, &went);
		left -= min(left, went);
		blocks = min(left, flush_budget());
	}
	aeration_watch_kick();
	if (aeration_batch_not_taken() != errors)
		return -EIO;
	if (result == NOT_NOW || result == REFUSED)
		return -EAGAIN;
	return blocks && cancelled() ? -EINTR : 0;
}

/**
 * aeration_surrender_scrub - say whether blocks must be filled with zeros
 * @dev: a device, started or not
 * @scrub: they must
 *
 * Context: process context; sleeps until a batch on its way is there.
 * Return: 0, or -EINTR with nothing changed if the caller was killed first.
 */
int aeration_surrender_scrub(struct aerator_dev_info *dev, bool scrub)
{
	int err = mutex_lock_killable(&surrender.lock);

	if (err)
		return err;
	WRITE_ONCE(dev->scrub, scrub);
	mutex_unlock(&surrender.lock);
	return 0;
}
