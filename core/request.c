// SPDX-License-Identifier: GPL-2.0
/*
 * Do what somebody asks for, in a work item: whoever asks need not wait, and may
 * change its mind. sysfs is one face of it.
 *
 * Locks: request.lock protects struct request. The registry's mutex is taken by the
 * work item only, and never under that lock.
 */
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
#include "queues.h"
#include "registry.h"
#include "request.h"

static void request_fn(struct work_struct *work);

/**
 * struct request - the one request
 * @lock: protects what follows, but for @work and @idle
 * @now: the request under way or the last one; @now.bytes once it has ended
 * @from: what was counted when it began, bytes
 * @cancelled: it is not wanted any more; read without the lock, too
 * @asker: the backend that it is for, or NULL; constant while it is under way
 * @out: where who waits for it wants to see what became of it, or NULL
 * @live: requests are taken
 * @work: does it; cancelled by aeration_request_exit()
 * @idle: woken when it has ended
 * @ended: called then; a constant
 */
static struct request {
	spinlock_t lock;	/* see above */
	struct request_status now;
	u64 from;
	bool cancelled;
	const struct aerator_asker *asker;
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

static const char *const names[] = {
	[AERATION_FLUSH] = "flush",
	[AERATION_FLUSH_AGAIN] = "again",
	[AERATION_RESTORE] = "restore",
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
	return READ_ONCE(request.cancelled) ||
	       (request.asker && !request.asker->wanted(request.asker->dev));
}

static bool is_running(void)
{
	return READ_ONCE(request.now.state) == REQUEST_RUNNING;
}

static int do_it(enum aeration_request what)
{
	const struct aerator_asker *asker = request.asker;

	if (is_cancelled())
		return -EINTR;
	if (asker)
		asker->begins(asker->dev);
	if (what == AERATION_RESTORE)
		return aeration_registry_restore(is_cancelled);
	return aeration_registry_flush(what == AERATION_FLUSH_AGAIN,
				       asker ? asker->dev : NULL, is_cancelled);
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
	int err = do_it(request.now.what);

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

static int start(enum aeration_request what,
		 const struct aerator_asker *asker, struct request_status *out)
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
			.what = what,
			.state = REQUEST_RUNNING,
		};
		request.from = count(what);
		request.asker = asker;
		request.out = out;
		WRITE_ONCE(request.cancelled, false);
		queue_work(aeration_request_wq, &request.work);
	}
	spin_unlock(&request.lock);
	return err;
}

/**
 * aeration_request_start - begin with what somebody asks for
 * @what: that
 *
 * Context: process context.
 * Return: 0, -EBUSY if something else is under way, -ENODEV if the core is going away.
 */
int aeration_request_start(enum aeration_request what)
{
	return start(what, NULL, NULL);
}

static bool is_waited_for(const struct request_status *out)
{
	bool waited_for;

	spin_lock(&request.lock);
	waited_for = request.out == out;
	spin_unlock(&request.lock);
	return waited_for;
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

static int run(enum aeration_request what, const struct aerator_asker *asker,
	       struct request_status *out)
{
	int err;

	do {
		err = await_turn(asker);
		if (err)
			return err;
		err = start(what, asker, out);
	} while (err == -EBUSY);
	if (err)
		return err;
	if (wait_event_interruptible(request.idle, !is_waited_for(out)) &&
	    give_up(out)) {
		/* Who asks must not go before what asks it. */
		if (asker)
			wait_event(request.idle, !is_running());
		return -ERESTARTSYS;
	}
	return out->error;
}

/**
 * aeration_request_run - do what somebody asks for, and wait until it has ended
 * @what: that
 *
 * Waits for its turn, too. A signal cancels what has begun.
 *
 * Context: process context, no lock held; sleeps.
 * Return: 0, -ERESTARTSYS if a signal came first, -EINTR if somebody else cancelled it,
 *	-ENODEV if no backend is running, or an error of the source.
 */
int aeration_request_run(enum aeration_request what)
{
	struct request_status out;

	return run(what, NULL, &out);
}

/**
 * aerator_request - do what the host asks for, and wait until it has ended
 * @what: "flush", "again" or "restore"
 * @asker: the device that it is for, and what is asked of it; NULL: whichever runs
 * @bytes: set to what has gone, or come back
 *
 * Context: process context, no lock of the core held; sleeps.
 * Return: 0, -EINVAL for another word, -EINTR if somebody cancelled it or it was not
 *	wanted any more, -ENODEV if no backend is running or not with that device, or an
 *	error of the source.
 */
int aerator_request(const char *what, const struct aerator_asker *asker,
		    u64 *bytes)
{
	struct request_status out = { };
	int request = aeration_request_parse(what);
	int err = request < 0 ? request : run(request, asker, &out);

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
 * aeration_request_name - what is asked for, in words
 * @what: that
 *
 * Return: a constant text.
 */
const char *aeration_request_name(enum aeration_request what)
{
	return names[what];
}

/**
 * aeration_request_parse - what is asked for, from words
 * @text: the words, as sysfs gets them
 *
 * Return: an enum aeration_request, or -EINVAL.
 */
int aeration_request_parse(const char *text)
{
	return sysfs_match_string(names, text);
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
