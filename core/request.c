// SPDX-License-Identifier: GPL-2.0
/*
 * Do what somebody asks for, in a work item: whoever asks need not wait, and may
 * change its mind. sysfs is one face of it.
 *
 * Locks: request.lock protects struct request. The registry's mutex is taken by the
 * work item only, and never under that lock.
 */
#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/export.h>
#include <linux/kernel.h>
#include <linux/memory_aeration.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include "batch.h"
#include "hold/hold.h"
#include "queues.h"
#include "registry.h"
#include "request.h"

static void request_fn(struct work_struct *work);

/**
 * struct request - the one request
 * @lock: protects what follows, but for @work and @idle
 * @now: the request under way or the last one; @now.bytes once it has ended
 * @wish: what is asked for; constant while it is under way
 * @from: what was counted when it began, bytes
 * @cancelled: it is not wanted any more; read without the lock, too
 * @out: where who waits for it wants to see what became of it, or NULL
 * @live: requests are taken
 * @work: does it; cancelled by aeration_request_exit()
 * @idle: woken when it has ended
 * @ended: called then; a constant
 */
static struct request {
	spinlock_t lock;	/* see above */
	struct request_status now;
	struct aeration_wish wish;
	u64 from;
	bool cancelled;
	struct request_status *out;
	bool live;
	struct work_struct work;
	wait_queue_head_t idle;
	void (*ended)(void);
} request = {
	.lock = __SPIN_LOCK_UNLOCKED(request.lock),
	.work = __WORK_INITIALIZER(request.work, request_fn),
	.idle = __WAIT_QUEUE_HEAD_INITIALIZER(request.idle),
};

static const char *const state_names[] = {
	[REQUEST_NONE] = "none",
	[REQUEST_RUNNING] = "running",
	[REQUEST_DONE] = "done",
	[REQUEST_CANCELLED] = "cancelled",
	[REQUEST_FAILED] = "failed",
};

/* What the bytes of a request are counted by. */
static u64 count(enum aeration_request what)
{
	return atomic64_read(what == AERATION_RESTORE ?
			     &aeration_stats.restored : &aeration_stats.bytes);
}

static bool is_cancelled(void)
{
	const struct aerator_asker *asker = request.wish.asker;

	return READ_ONCE(request.cancelled) ||
	       (asker && !asker->wanted(asker->dev));
}

static bool is_running(void)
{
	return READ_ONCE(request.now.state) == REQUEST_RUNNING;
}

/*
 * How often to try where nothing may go just now, and how long after, ms: a toolstack has
 * set a target a moment ago, say.
 */
#define FLUSH_TRIES	20
#define FLUSH_TRY_MS	100

static int flush(const struct aeration_wish *wish, bool again)
{
	const struct aerator_dev_info *dev = wish->asker ? wish->asker->dev :
							   NULL;
	unsigned int tries = FLUSH_TRIES;
	int err;

	for (;;) {
		err = aeration_registry_flush(again, dev, is_cancelled);
		if (err != -EAGAIN || !--tries || is_cancelled())
			return err;
		msleep(FLUSH_TRY_MS);
	}
}

/*
 * What is free goes first: where nothing can be let go of, nobody's cache is taken. What
 * could not be taken keeps nothing from going that could.
 */
static int let_go(const struct aeration_wish *wish)
{
	int err = flush(wish, wish->what == AERATION_FLUSH_AGAIN);
	int squeezed;

	if (err || !wish->squeeze)
		return err;
	squeezed = aeration_squeeze(&wish->order, aeration_account_due_pages(),
				    is_cancelled);
	/* Nothing that was frozen must be waited for now. */
	if (squeezed == -EINTR)
		return squeezed;
	err = flush(wish, false);
	return err || wish->what != AERATION_SQUEEZE ? err : squeezed;
}

static int do_it(const struct aeration_wish *wish)
{
	if (is_cancelled())
		return -EINTR;
	if (wish->asker)
		wish->asker->begins(wish->asker->dev);
	if (wish->what == AERATION_RESTORE)
		return aeration_registry_restore(is_cancelled);
	return let_go(wish);
}

/* One that was complete before somebody cancelled it is done. */
static enum request_state end_of(int err)
{
	if (err == -EINTR)
		return REQUEST_CANCELLED;
	return err ? REQUEST_FAILED : REQUEST_DONE;
}

static void request_fn(struct work_struct *work)
{
	int err = do_it(&request.wish);

	spin_lock(&request.lock);
	request.now.bytes = count(request.now.what) - request.from;
	request.now.error = err;
	WRITE_ONCE(request.now.state, end_of(err));
	if (request.out)
		*request.out = request.now;
	request.out = NULL;
	spin_unlock(&request.lock);
	wake_up_all(&request.idle);
	request.ended();
}

static int start(const struct aeration_wish *wish, struct request_status *out)
{
	int err = 0;

	spin_lock(&request.lock);
	if (!request.live)
		err = -ENODEV;
	else if (is_running())
		err = -EBUSY;
	if (!err) {
		request.now = (struct request_status){
			.seq = request.now.seq + 1,
			.what = wish->what,
			.state = REQUEST_RUNNING,
		};
		request.from = count(wish->what);
		request.wish = *wish;
		request.out = out;
		if (out)
			*out = request.now;
		WRITE_ONCE(request.cancelled, false);
		queue_work(aeration_request_wq, &request.work);
	}
	spin_unlock(&request.lock);
	return err;
}

/**
 * aeration_request_start - begin with what somebody asks for
 * @wish: that
 *
 * Context: process context.
 * Return: 0, -EBUSY if something else is under way, -ENODEV if the core is going away.
 */
int aeration_request_start(const struct aeration_wish *wish)
{
	return start(wish, NULL);
}

static bool is_waited_for(const struct request_status *out)
{
	bool waited_for;

	spin_lock(&request.lock);
	waited_for = request.out == out;
	spin_unlock(&request.lock);
	return waited_for;
}

static bool has_ended(u64 seq)
{
	bool ended;

	spin_lock(&request.lock);
	ended = request.now.seq != seq || !is_running();
	spin_unlock(&request.lock);
	return ended;
}

/* Nobody waits for it any more. Return: false if it had ended. */
static bool give_up(const struct request_status *out)
{
	bool running;

	spin_lock(&request.lock);
	running = request.out == out;
	if (running) {
		request.out = NULL;
		WRITE_ONCE(request.cancelled, true);
	}
	spin_unlock(&request.lock);
	return running;
}

/* How often a backend is asked whether it still wants what waits for its turn, ms. */
#define TURN_MS	100

/* Wait for this one's turn. Return: 0, -ERESTARTSYS, or -EINTR if it is not wanted. */
static int await_turn(const struct aerator_asker *asker)
{
	long left = 0;

	while (!left) {
		if (asker && !asker->wanted(asker->dev))
			return -EINTR;
		left = wait_event_interruptible_timeout(request.idle,
							!is_running(),
							msecs_to_jiffies(TURN_MS));
	}
	return left < 0 ? -ERESTARTSYS : 0;
}

static int run(const struct aeration_wish *wish, struct request_status *out)
{
	const struct aerator_asker *asker = wish->asker;
	int err;

	do {
		err = await_turn(asker);
		if (err)
			return err;
		err = start(wish, out);
	} while (err == -EBUSY);
	if (err)
		return err;
	if (wait_event_interruptible(request.idle, !is_waited_for(out)) &&
	    give_up(out)) {
		/* Who asks must not go before what asks it. */
		if (asker)
			wait_event(request.idle, has_ended(out->seq));
		return -ERESTARTSYS;
	}
	return out->error;
}

/**
 * aeration_request_run - do what somebody asks for, and wait until it has ended
 * @wish: that
 *
 * Waits for its turn, too. A signal cancels what has begun.
 *
 * Context: process context, no lock held; sleeps.
 * Return: 0, -ERESTARTSYS if a signal came first, -ECANCELED if somebody else cancelled
 *	it (whoever writes to a file begins again after EINTR, as a rule), -ENODEV if no
 *	backend is running, or an error of the source or of the squeeze.
 */
int aeration_request_run(const struct aeration_wish *wish)
{
	struct request_status out;
	int err = run(wish, &out);

	return err == -EINTR ? -ECANCELED : err;
}

/**
 * aeration_request_squeeze_idle - squeeze in a guest that idles
 * @done: set to what came of it
 *
 * Not if something else is under way.
 *
 * Context: process context, no lock held; sleeps.
 * Return: 0, -EBUSY, or as aeration_request_run().
 */
int aeration_request_squeeze_idle(struct squeeze_done *done)
{
	struct aeration_wish wish = aeration_wish_for(AERATION_SQUEEZE);
	struct request_status out = { };
	int err;

	wish.order.idle = true;
	err = start(&wish, &out);
	if (err)
		return err;
	wait_event_idle(request.idle, !is_waited_for(&out));
	aeration_squeeze_read(done);
	return out.error;
}

/**
 * aerator_request - do what the host asks for, and wait until it has ended
 * @what: "flush", "again", "restore" or "squeeze"
 * @asker: the device that it is for, and what is asked of it; NULL: whichever runs
 * @bytes: set to what has gone, or come back
 *
 * Context: process context, no lock of the core held; sleeps.
 * Return: 0, -EINVAL for another word, -EINTR if somebody cancelled it or it was not
 *	wanted any more, -ENODEV if no backend is running or not with that device, or an
 *	error of the source or of the squeeze.
 */
int aerator_request(const char *what, const struct aerator_asker *asker,
		    u64 *bytes)
{
	struct request_status out = { };
	struct aeration_wish wish;
	int err = aeration_wish_parse(what, &wish);

	if (!err) {
		wish.asker = asker;
		wish.squeeze |= aeration_squeeze_for_host();
		err = run(&wish, &out);
	}
	*bytes = out.bytes;
	return err;
}
EXPORT_SYMBOL_GPL(aerator_request);

/**
 * aeration_request_cancel - what is under way is not wanted any more
 *
 * It ends soon, with what it has done; it need not have when this returns.
 *
 * Context: process context.
 */
void aeration_request_cancel(void)
{
	spin_lock(&request.lock);
	if (is_running())
		WRITE_ONCE(request.cancelled, true);
	spin_unlock(&request.lock);
}

/**
 * aeration_request_read - what became of it
 * @status: set to that
 *
 * Context: process context.
 */
void aeration_request_read(struct request_status *status)
{
	spin_lock(&request.lock);
	*status = request.now;
	if (is_running())
		status->bytes = count(status->what) - request.from;
	spin_unlock(&request.lock);
}

/**
 * aeration_request_state_name - a state, in a word
 * @state: the state
 *
 * Return: a constant text.
 */
const char *aeration_request_state_name(enum request_state state)
{
	return state_names[state];
}

/**
 * aeration_request_init - begin to take requests
 * @ended: called when one has ended, in process context; may sleep
 *
 * Context: process context, once, after aeration_registry_init().
 */
void aeration_request_init(void (*ended)(void))
{
	request.ended = ended;
	request.live = true;
}

/**
 * aeration_request_exit - take no more, and end what is under way
 *
 * Whoever waits for it is woken.
 *
 * Context: process context, before aeration_registry_exit(); may sleep.
 */
void aeration_request_exit(void)
{
	spin_lock(&request.lock);
	request.live = false;
	WRITE_ONCE(request.cancelled, true);
	spin_unlock(&request.lock);
	flush_work(&request.work);
}
