// SPDX-License-Identifier: GPL-2.0
/*
 * Supervise a squeeze; see squeeze.h.
 *
 * Locks: squeeze_lock protects what came of the last one.
 */
#include <linux/completion.h>
#include <linux/err.h>
#include <linux/freezer.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/spinlock.h>
#include "squeeze.h"

/* How often the supervisor looks, ms. */
#define LOOK_MS		20

/*
 * The guest is not idle any more when programs run for one part in so many of such a
 * time, ms.
 */
#define WOKEN_MS	60
#define WOKEN_SHARE	4

static DEFINE_SPINLOCK(squeeze_lock);
static struct squeeze_done last;

static const char *const end_names[] = {
	[GATE_OPEN] = "none yet",
	[GATE_ENOUGH] = "enough",
	[GATE_BARREN] = "no more to be had",
	[GATE_LATE] = "time is up",
	[GATE_PRESSURE] = "others need memory",
	[GATE_REFAULTS] = "read again",
	[GATE_WOKEN] = "not idle any more",
	[GATE_UNWANTED] = "called off",
	[GATE_SUSPEND] = "suspend",
	[GATE_UNABLE] = "no way to reclaim",
};

/**
 * struct stretch - a time in which programs may run
 * @since_us: when it began, us
 * @programs_us: for how long they had run then, us
 */
struct stretch {
	u64 since_us;
	u64 programs_us;
};

static void begin_stretch(struct stretch *stretch)
{
	stretch->since_us = ktime_to_us(ktime_get());
	stretch->programs_us = aeration_counts_programs_us();
}

/* Is somebody at work? Known at the end of each stretch. */
static bool is_woken(struct stretch *stretch)
{
	u64 us = ktime_to_us(ktime_get()) - stretch->since_us, ran;

	if (us < WOKEN_MS * USEC_PER_MSEC)
		return false;
	ran = aeration_counts_programs_us() - stretch->programs_us;
	begin_stretch(stretch);
	return ran > us / WOKEN_SHARE;
}

static enum gate_end look(const struct squeeze_job *job,
			  struct stretch *stretch, struct task_struct *task,
			  bool (*cancelled)(void))
{
	struct gate_now now;

	aeration_counts_read(&now);
	if (cancelled())
		return GATE_UNWANTED;
	if (freezing(task))
		return GATE_SUSPEND;
	if (now.stalls != job->stalls)
		return GATE_PRESSURE;
	if (now.ms >= job->until)
		return GATE_LATE;
	return job->order.idle && is_woken(stretch) ? GATE_WOKEN : GATE_OPEN;
}

/* The thread may not listen yet: it is told until it has ended. */
static void supervise(struct squeeze_job *job, struct task_struct *task,
		      bool (*cancelled)(void))
{
	struct stretch stretch;
	enum gate_end why = GATE_OPEN;

	begin_stretch(&stretch);
	while (!wait_for_completion_timeout(&job->ended,
					    msecs_to_jiffies(LOOK_MS))) {
		if (why == GATE_OPEN)
			why = look(job, &stretch, task, cancelled);
		if (why == GATE_OPEN)
			continue;
		WRITE_ONCE(job->called_off, why);
		send_sig(SIGKILL, task, 1);
	}
}

static int error_of(enum gate_end end)
{
	if (end == GATE_UNWANTED || end == GATE_SUSPEND)
		return -EINTR;
	return end == GATE_UNABLE ? -EOPNOTSUPP : 0;
}

/**
 * aeration_squeeze - make free memory out of what is not needed
 * @order: how far to go
 * @held: pages that the guest does not use and that are not free
 * @cancelled: is it not wanted any more?
 *
 * Nothing is let go of by this: that is for a flush afterwards.
 *
 * Context: process context, one at a time, no lock of the core held; sleeps for no
 *	longer than the order allows, and what the kernel takes to end.
 * Return: 0, however little was taken; -EINTR if it was cancelled, or the guest is about
 *	to be suspended; -EOPNOTSUPP if this kernel offers no way to take cache; -ENOMEM.
 */
int aeration_squeeze(const struct squeeze_order *order, unsigned long held,
		     bool (*cancelled)(void))
{
	struct squeeze_job job = { .order = *order, .held = held };
	struct task_struct *task;
	struct gate_now now;

	init_completion(&job.ended);
	aeration_counts_read(&now);
	job.stalls = now.stalls;
	job.until = now.ms + order->within_ms;
	task = kthread_create(aeration_squeeze_worker, &job,
			      "aeration_squeeze");
	if (IS_ERR(task))
		return PTR_ERR(task);
	get_task_struct(task);
	wake_up_process(task);
	supervise(&job, task, cancelled);
	put_task_struct(task);
	spin_lock(&squeeze_lock);
	last = job.done;
	spin_unlock(&squeeze_lock);
	return error_of(job.done.end);
}

/**
 * aeration_squeeze_read - what came of the last one
 * @done: set to that
 *
 * Context: process context.
 */
void aeration_squeeze_read(struct squeeze_done *done)
{
	spin_lock(&squeeze_lock);
	*done = last;
	spin_unlock(&squeeze_lock);
}

/**
 * aeration_squeeze_end_name - why a squeeze ended, in words
 * @end: why
 *
 * Return: a constant text.
 */
const char *aeration_squeeze_end_name(enum gate_end end)
{
	return end_names[end];
}
