// SPDX-License-Identifier: GPL-2.0
/*
 * Watch free memory and have the running source decide; see watch.h.
 */
#include <linux/build_bug.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include "../batch.h"
#include "../params.h"
#include "../queues.h"
#include "timers.h"
#include "watch.h"

#include <trace/events/aeration.h>

/*
 * Free memory counts as changed when it moves by this many smallest blocks, but
 * never by less than the noise of an idle guest or by more than is worth having.
 */
#define STEP_BLOCKS	8
#define STEP_MIN_PAGES	((16UL << 20) >> PAGE_SHIFT)
#define STEP_MAX_PAGES	((64UL << 20) >> PAGE_SHIFT)

static_assert(AERATION_WINDOW_MAX_MS <= PACER_WINDOW_MAX_MS);

struct watch aeration_watch;

/**
 * aeration_watch_now_ms - the time that the pacer and the pauses go by
 *
 * Context: any.
 * Return: milliseconds of a clock that stands while the guest is suspended.
 */
u64 aeration_watch_now_ms(void)
{
	return ktime_to_ms(ktime_get());
}

/**
 * aeration_watch_wake - sample now, and go on for as long as memory changes
 *
 * Context: any, under watch.lock; does nothing unless the watch is running.
 */
void aeration_watch_wake(void)
{
	lockdep_assert_held(&aeration_watch.lock);
	if (aeration_watch.mode == WATCH_STOPPED)
		return;
	aeration_watch.mode = WATCH_ACTIVE;
	mod_delayed_work(aeration_urgent_wq, &aeration_watch.sampler, 0);
}

/**
 * aeration_watch_kick_from_irq - as aeration_watch_kick(), with no lock taken
 *
 * Context: any, hard interrupts too, while the watch is running.
 */
void aeration_watch_kick_from_irq(void)
{
	mod_delayed_work(aeration_urgent_wq, &aeration_watch.sampler, 0);
}

/**
 * aeration_watch_kick - sample now, unless the sampler is at work anyway
 *
 * Context: any but hard interrupts, watch.lock not held; does nothing unless the
 *	watch is running.
 */
void aeration_watch_kick(void)
{
	spin_lock_bh(&aeration_watch.lock);
	aeration_watch_wake();
	spin_unlock_bh(&aeration_watch.lock);
}

/**
 * aeration_watch_pause - leave the source alone for a while
 * @ms: how long it has nothing to decide from now on, ms
 *
 * Context: any, under watch.lock.
 */
void aeration_watch_pause(u32 ms)
{
	lockdep_assert_held(&aeration_watch.lock);
	aeration_watch.paused_until = max(aeration_watch.paused_until,
					  aeration_watch_now_ms() + ms);
}

/**
 * aeration_watch_look_at - ask the source again later, though memory has settled
 * @ms: when, ms, by aeration_watch_now_ms(); replaces what was set before
 *
 * Context: any, under watch.lock; for a lazy source, from its decide.
 */
void aeration_watch_look_at(u64 ms)
{
	lockdep_assert_held(&aeration_watch.lock);
	aeration_watch.look_at = ms;
}

static bool is_lazy(void)
{
	return aeration_watch.ops->wants;
}

static unsigned long watch_period(void)
{
	u32 ms = aeration_pacer_period_ms(&aeration_watch.pacer);

	if (aeration_watch.ops->period_max_ms)
		ms = min(ms, aeration_watch.ops->period_max_ms);
	return max(1UL, msecs_to_jiffies(ms));
}

/* Return: false if nothing can be told now. */
static bool take_sample(unsigned long *surplus)
{
	unsigned long unused;

	lockdep_assert_held(&aeration_watch.lock);
	atomic64_inc(&aeration_stats.samples);
	aeration_watch.sampled_at = aeration_watch_now_ms();
	if (!aeration_watch.ops->read(&unused))
		return false;
	aeration_pacer_sample(&aeration_watch.pacer, aeration_watch.sampled_at,
			      unused);
	*surplus = aeration_pacer_surplus(&aeration_watch.pacer);
	if (aeration_watch.ops->sampled)
		aeration_watch.ops->sampled(*surplus);
	trace_aeration_sample(unused, *surplus, aeration_watch.pacer.real.out,
			      aeration_pacer_window_ms(&aeration_watch.pacer));
	return true;
}

static bool is_settled(void)
{
	return aeration_pacer_settled(&aeration_watch.pacer,
				      aeration_watch_now_ms());
}

/* From now until a time, in jiffies: one more, because this one has begun. */
static unsigned long jiffies_until(u64 ms)
{
	u64 now = aeration_watch_now_ms();

	return ms > now ? msecs_to_jiffies(ms - now) + 1 : 0;
}

/*
 * When a lazy source with nothing to decide needs a sample, busy CPUs or not, from
 * now in jiffies. What has just moved may have moved on since, and then the CPU
 * went idle: the next sample shows it.
 */
static unsigned long lazy_delay(void)
{
	u64 next = aeration_pacer_next_ms(&aeration_watch.pacer);

	if (aeration_watch.pacer.level_since >= aeration_watch.sampled_at)
		return watch_period();
	if (aeration_watch.look_at)
		next = is_settled() ? aeration_watch.look_at :
				      min(next, aeration_watch.look_at);
	return jiffies_until(next);
}

/*
 * Sample for a lazy source. The sampler comes at once for what the source wants,
 * and is brought forward if it would come too late for what the sample showed;
 * not in a pause, and once memory has settled it is about to end.
 */
static void sample_from_timer(void)
{
	struct timer_list *sampler = &aeration_watch.sampler.timer;
	unsigned long surplus, next;

	/* One sample in a period is enough, of however many CPUs. */
	if (aeration_watch_now_ms() - aeration_watch.sampled_at <
	    aeration_pacer_period_ms(&aeration_watch.pacer) / 2)
		return;
	if (!take_sample(&surplus))
		return;
	if (aeration_watch.ops->wants(surplus)) {
		aeration_watch_wake();
		return;
	}
	if (aeration_pacer_settled(&aeration_watch.pacer,
				   aeration_watch.sampled_at))
		return;
	next = jiffies + max(lazy_delay(),
			     jiffies_until(aeration_watch.paused_until));
	if (timer_pending(sampler) && time_before(next, sampler->expires))
		mod_delayed_work(aeration_urgent_wq, &aeration_watch.sampler,
				 next - jiffies);
}

static bool has_moved(void)
{
	unsigned long unused;

	if (aeration_watch.ops->glance &&
	    !aeration_pacer_moved(&aeration_watch.pacer,
				  aeration_watch.ops->glance()))
		return false;
	return aeration_watch.ops->read(&unused) &&
	       aeration_pacer_moved(&aeration_watch.pacer, unused);
}

static void look_from_timer(void)
{
	if (has_moved() ||
	    (aeration_watch.ops->urgent && aeration_watch.ops->urgent()))
		aeration_watch_wake();
}

/* Of all CPUs whose timer comes just now one has to look. */
static void watch_looks(void)
{
	if (!spin_trylock(&aeration_watch.lock))
		return;
	if (aeration_watch.mode == WATCH_ACTIVE && is_lazy())
		sample_from_timer();
	else if (aeration_watch.mode != WATCH_STOPPED)
		look_from_timer();
	spin_unlock(&aeration_watch.lock);
}

/*
 * How long until the next tick, in jiffies, if @next is what the last one said. An
 * eager source gets one in each period while memory changes; for a lazy one the
 * watch timers sample, as far as there is anything to see.
 */
static unsigned long tick_delay(bool settled, int next)
{
	unsigned long period = watch_period();

	lockdep_assert_held(&aeration_watch.lock);
	if (is_lazy())
		return max(period, next == WATCH_IDLE ?
			   lazy_delay() :
			   jiffies_until(aeration_watch.paused_until));
	if (next == WATCH_IDLE)
		return period;
	return settled ? msecs_to_jiffies(next) :
			 min(msecs_to_jiffies(next), period);
}

/*
 * Go on sampling. Somebody who woke the watch meanwhile wants a sample at once:
 * this does not change what is queued.
 */
static void go_on(bool settled, int next)
{
	lockdep_assert_held(&aeration_watch.lock);
	if (aeration_watch.mode == WATCH_ACTIVE)
		queue_delayed_work(aeration_urgent_wq, &aeration_watch.sampler,
				   tick_delay(settled, next));
}

/* Leave it to the watch timers, unless one has seen something just now. */
static void go_quiet(void)
{
	lockdep_assert_held(&aeration_watch.lock);
	if (!is_settled() || aeration_watch.look_at ||
	    delayed_work_pending(&aeration_watch.sampler)) {
		go_on(false, WATCH_IDLE);
	} else if (aeration_watch.mode == WATCH_ACTIVE) {
		aeration_watch.mode = WATCH_QUIET;
		if (aeration_watch.ops->quiet)
			aeration_watch.ops->quiet();
	}
}

/*
 * Sampling ends only once free memory has settled and a tick came, after it had,
 * that leaves nothing to do: an idle guest gives no other occasion for one.
 */
static void sampler_fn(struct work_struct *work)
{
	unsigned long surplus;
	bool settled, told;
	int next = 0;

	spin_lock_bh(&aeration_watch.lock);
	/* From an interrupt the sampler comes as it is. */
	if (aeration_watch.mode == WATCH_QUIET)
		aeration_watch.mode = WATCH_ACTIVE;
	aeration_timers_set_period(watch_period());
	told = take_sample(&surplus);
	settled = is_settled();
	if (aeration_watch_now_ms() >= aeration_watch.look_at)
		aeration_watch.look_at = 0;
	spin_unlock_bh(&aeration_watch.lock);
	if (told)
		next = aeration_watch.ops->tick(surplus);
	spin_lock_bh(&aeration_watch.lock);
	if (settled && next == WATCH_IDLE)
		go_quiet();
	else
		go_on(settled, next);
	spin_unlock_bh(&aeration_watch.lock);
}

static void begin_window(unsigned long reserve, unsigned int order)
{
	lockdep_assert_held(&aeration_watch.lock);
	aeration_pacer_init(&aeration_watch.pacer, aeration_watch_now_ms(),
			    aeration_param_window_ms(),
			    aeration_param_backoff_ms(), reserve,
			    clamp((unsigned long)STEP_BLOCKS << order,
				  STEP_MIN_PAGES,
				  STEP_MAX_PAGES));
}

/**
 * aeration_watch_init - prepare what aeration_watch_start() arms
 *
 * Context: process context, once, before anything else here; may sleep.
 * Return: 0 or a negative error.
 */
int aeration_watch_init(void)
{
	spin_lock_init(&aeration_watch.lock);
	INIT_DELAYED_WORK(&aeration_watch.sampler, sampler_fn);
	return aeration_timers_init(watch_looks);
}

/**
 * aeration_watch_exit - undo aeration_watch_init()
 *
 * Context: process context, after the last aeration_watch_stop(); may sleep.
 */
void aeration_watch_exit(void)
{
	aeration_timers_exit();
}

/**
 * aeration_watch_start - begin to watch, with a new window
 * @ops: the source
 * @reserve: free pages that are never surplus
 * @order: order of the smallest block of the source
 *
 * Context: process context, while the watch is stopped; may sleep.
 */
void aeration_watch_start(const struct watch_ops *ops, unsigned long reserve,
			  unsigned int order)
{
	unsigned long period;

	spin_lock_bh(&aeration_watch.lock);
	aeration_watch.ops = ops;
	aeration_watch.sampled_at = 0;
	aeration_watch.paused_until = 0;
	aeration_watch.look_at = 0;
	begin_window(reserve, order);
	aeration_watch.mode = WATCH_ACTIVE;
	period = watch_period();
	spin_unlock_bh(&aeration_watch.lock);
	aeration_timers_start(period);
	aeration_watch_kick();
}

/**
 * aeration_watch_restart - begin a new window, and sample now
 * @reserve: free pages that are never surplus
 * @order: order of the smallest block of the source
 *
 * Context: any, while the watch is running, watch.lock not held.
 */
void aeration_watch_restart(unsigned long reserve, unsigned int order)
{
	spin_lock_bh(&aeration_watch.lock);
	begin_window(reserve, order);
	aeration_watch_wake();
	spin_unlock_bh(&aeration_watch.lock);
}

/**
 * aeration_watch_retune - take over changed parameters, and sample now
 * @reserve: free pages that are never surplus
 * @order: order of the smallest block of the source
 *
 * A changed window or limit starts anew; a changed reserve applies to the next sample.
 *
 * Context: any, while the watch is running, watch.lock not held.
 */
void aeration_watch_retune(unsigned long reserve, unsigned int order)
{
	spin_lock_bh(&aeration_watch.lock);
	if (aeration_watch.pacer.window_ms != aeration_param_window_ms() ||
	    aeration_watch.pacer.limit_ms != aeration_param_backoff_ms())
		begin_window(reserve, order);
	aeration_pacer_set_reserve(&aeration_watch.pacer, reserve);
	aeration_watch_wake();
	spin_unlock_bh(&aeration_watch.lock);
}

/**
 * aeration_watch_window_ms - how long memory must stay free at present
 *
 * Context: any but hard interrupts, watch.lock not held.
 * Return: the window in force, ms, which may be longer than what was asked for;
 *	0 if the watch is stopped.
 */
u32 aeration_watch_window_ms(void)
{
	u32 window_ms = 0;

	spin_lock_bh(&aeration_watch.lock);
	if (aeration_watch.mode != WATCH_STOPPED)
		window_ms = aeration_pacer_window_ms(&aeration_watch.pacer);
	spin_unlock_bh(&aeration_watch.lock);
	return window_ms;
}

/**
 * aeration_watch_regretted - how much was taken back soon after it was let go
 *
 * Context: any but hard interrupts, watch.lock not held.
 * Return: pages, since the window last began.
 */
u64 aeration_watch_regretted(void)
{
	u64 pages;

	spin_lock_bh(&aeration_watch.lock);
	pages = aeration_watch.pacer.regretted;
	spin_unlock_bh(&aeration_watch.lock);
	return pages;
}

/**
 * aeration_watch_stop - stop watching; nothing is armed any more
 *
 * On return neither decide nor any other call of the source is under way.
 *
 * Context: process context; may sleep.
 */
void aeration_watch_stop(void)
{
	spin_lock_bh(&aeration_watch.lock);
	aeration_watch.mode = WATCH_STOPPED;
	spin_unlock_bh(&aeration_watch.lock);

	cancel_delayed_work_sync(&aeration_watch.sampler);
	aeration_timers_stop();
}
