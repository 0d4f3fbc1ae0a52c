// SPDX-License-Identifier: GPL-2.0
/*
 * Watch free memory and have the running source decide; see watch.h.
 */
#include <linux/build_bug.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
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

/**
 * struct watch - the one watch
 * @lock: protects what follows unless it says otherwise; with bottom halves off
 * @ops: the source; constant between aeration_watch_start() and aeration_watch_stop()
 * @sampler: samples, ticks, and re-arms itself; queued under @lock, or from an
 *	interrupt, while @running; cancelled by aeration_watch_stop() after that
 * @pacer: what is surplus
 * @sampled_at: when the last sample was taken, ms
 * @moved: who hears that memory has moved, or NULL
 * @running: a source is watched
 */
static struct watch {
	spinlock_t lock;	/* see there */
	const struct watch_ops *ops;
	struct delayed_work sampler;
	struct pacer pacer;
	u64 sampled_at;
	void (*moved)(void);
	bool running;
} watch;

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
 * aeration_watch_lock - use the pacer
 *
 * Context: any but hard interrupts, watch.lock not held; atomic until
 *	aeration_watch_unlock().
 * Return: the pacer.
 */
struct pacer *aeration_watch_lock(void)
	__acquires(watch.lock)
{
	spin_lock_bh(&watch.lock);
	return &watch.pacer;
}

/**
 * aeration_watch_unlock - use the pacer no more
 *
 * Context: atomic, after aeration_watch_lock().
 */
void aeration_watch_unlock(void)
	__releases(watch.lock)
{
	spin_unlock_bh(&watch.lock);
}

/**
 * aeration_watch_wake - sample now, and have the source tick
 *
 * Context: any, under watch.lock; does nothing unless the watch is running.
 */
void aeration_watch_wake(void)
{
	lockdep_assert_held(&watch.lock);
	if (watch.running)
		mod_delayed_work(aeration_urgent_wq, &watch.sampler, 0);
}

/**
 * aeration_watch_kick_from_irq - as aeration_watch_kick(), with no lock taken
 *
 * Context: any, hard interrupts too, while the watch is running.
 */
void aeration_watch_kick_from_irq(void)
{
	mod_delayed_work(aeration_urgent_wq, &watch.sampler, 0);
}

/**
 * aeration_watch_kick - sample now, and have the source tick
 *
 * Context: any but hard interrupts, watch.lock not held; does nothing unless the
 *	watch is running.
 */
void aeration_watch_kick(void)
{
	spin_lock_bh(&watch.lock);
	aeration_watch_wake();
	spin_unlock_bh(&watch.lock);
}

/**
 * aeration_watch_set_out - correct how much the hypervisor has, see the pacer
 * @pages: pages
 *
 * Context: any but hard interrupts, watch.lock not held.
 */
void aeration_watch_set_out(unsigned long pages)
{
	spin_lock_bh(&watch.lock);
	aeration_pacer_set_out(&watch.pacer, pages);
	spin_unlock_bh(&watch.lock);
}

static u32 period_ms(void)
{
	u32 ms = aeration_pacer_period_ms(&watch.pacer);

	if (watch.ops->period_max_ms)
		ms = min(ms, watch.ops->period_max_ms);
	return ms;
}

static unsigned long period(void)
{
	return max(1UL, msecs_to_jiffies(period_ms()));
}

static void take_sample(u64 now, unsigned long unused)
{
	struct pacer *pacer = &watch.pacer;

	lockdep_assert_held(&watch.lock);
	atomic64_inc(&aeration_stats.samples);
	watch.sampled_at = now;
	aeration_pacer_sample(pacer, now, unused);
	if (watch.ops->sampled)
		watch.ops->sampled(pacer);
	trace_aeration_sample(unused, aeration_pacer_surplus(pacer),
			      pacer->real.out, aeration_pacer_window_ms(pacer));
}

/*
 * In how many ms a sample is of use though nothing moves. What has just moved may
 * have moved on since, and then the CPU went idle: the next sample shows it. A timer
 * may come a jiffy early, because the present one has begun.
 */
static int next_ms(u64 now)
{
	struct pacer *pacer = &watch.pacer;
	u64 next = aeration_pacer_next_ms(pacer);

	if (now - pacer->level_since < period_ms())
		return period_ms();
	next = next > now ? next - now + jiffies_to_msecs(1) : 0;
	return clamp_t(u64, next, period_ms(), INT_MAX);
}

/* Return: false if nothing can be told now. */
static bool sample(struct watch_sample *out)
{
	u64 now = aeration_watch_now_ms();
	unsigned long unused;

	lockdep_assert_held(&watch.lock);
	out->period_ms = period_ms();
	if (!watch.ops->read(&unused))
		return false;
	take_sample(now, unused);
	out->surplus = aeration_pacer_surplus(&watch.pacer);
	out->settled = aeration_pacer_settled(&watch.pacer, now);
	out->next_ms = next_ms(now);
	return true;
}

/* One sample in a period is enough, of however many CPUs. */
static bool is_moving(u64 now, unsigned long *unused)
{
	return now - watch.sampled_at >= period_ms() / 2 &&
	       watch.ops->read(unused) &&
	       aeration_pacer_moved(&watch.pacer, *unused);
}

/*
 * Of all CPUs whose timer comes just now one has to look. What moved is sampled at
 * once: it may be over by the time of the tick.
 */
static void watch_looks(void)
{
	u64 now = aeration_watch_now_ms();
	unsigned long unused;

	if (!spin_trylock(&watch.lock))
		return;
	if (watch.running && is_moving(now, &unused)) {
		take_sample(now, unused);
		if (watch.moved)
			watch.moved();
		aeration_watch_wake();
	} else if (watch.running && watch.ops->urgent &&
		   watch.ops->urgent()) {
		aeration_watch_wake();
	}
	spin_unlock(&watch.lock);
}

/* Somebody who woke the watch meanwhile wants a tick at once: that stays queued. */
static void sampler_fn(struct work_struct *work)
{
	struct watch_sample now;
	bool told;
	int next;

	spin_lock_bh(&watch.lock);
	aeration_timers_set_period(period());
	told = sample(&now);
	spin_unlock_bh(&watch.lock);
	next = told ? watch.ops->tick(&now) : now.period_ms;
	spin_lock_bh(&watch.lock);
	if (watch.running && next != WATCH_IDLE)
		queue_delayed_work(aeration_urgent_wq, &watch.sampler,
				   msecs_to_jiffies(next));
	spin_unlock_bh(&watch.lock);
}

/* What the hypervisor has it still has. */
static void begin_window(unsigned long reserve, unsigned int order)
{
	unsigned long out = watch.pacer.real.out;

	lockdep_assert_held(&watch.lock);
	aeration_pacer_init(&watch.pacer, aeration_watch_now_ms(),
			    aeration_param_window_ms(),
			    aeration_param_backoff_ms(), reserve,
			    clamp((unsigned long)STEP_BLOCKS << order,
				  STEP_MIN_PAGES,
				  STEP_MAX_PAGES));
	aeration_pacer_set_out(&watch.pacer, out);
}

/**
 * aeration_watch_init - prepare what aeration_watch_start() arms
 *
 * Context: process context, once, before anything else here; may sleep.
 * Return: 0 or a negative error.
 */
int aeration_watch_init(void)
{
	spin_lock_init(&watch.lock);
	INIT_DELAYED_WORK(&watch.sampler, sampler_fn);
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
	unsigned long every;

	spin_lock_bh(&watch.lock);
	watch.ops = ops;
	watch.sampled_at = 0;
	watch.pacer.real.out = 0;
	begin_window(reserve, order);
	watch.running = true;
	every = period();
	spin_unlock_bh(&watch.lock);
	aeration_timers_start(every);
	aeration_watch_kick();
}

/**
 * aeration_watch_shift - so much of what was free has gone, and nobody needs it
 * @pages: pages, no more than a block or so
 *
 * Context: any but hard interrupts, watch.lock not held.
 */
void aeration_watch_shift(unsigned long pages)
{
	spin_lock_bh(&watch.lock);
	if (watch.running)
		aeration_pacer_shift(&watch.pacer, pages);
	spin_unlock_bh(&watch.lock);
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
	spin_lock_bh(&watch.lock);
	begin_window(reserve, order);
	aeration_watch_wake();
	spin_unlock_bh(&watch.lock);
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
	spin_lock_bh(&watch.lock);
	if (watch.pacer.window_ms != aeration_param_window_ms() ||
	    watch.pacer.limit_ms != aeration_param_backoff_ms())
		begin_window(reserve, order);
	aeration_pacer_set_reserve(&watch.pacer, reserve);
	aeration_watch_wake();
	spin_unlock_bh(&watch.lock);
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

	spin_lock_bh(&watch.lock);
	if (watch.running)
		window_ms = aeration_pacer_window_ms(&watch.pacer);
	spin_unlock_bh(&watch.lock);
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

	spin_lock_bh(&watch.lock);
	pages = watch.pacer.regretted;
	spin_unlock_bh(&watch.lock);
	return pages;
}

/**
 * aeration_watch_listen - hear of memory that moves
 * @moved: called when it has, or NULL: nobody is any more on return. From timers, under
 *	watch.lock; must not sleep.
 *
 * Context: any but hard interrupts, watch.lock not held.
 */
void aeration_watch_listen(void (*moved)(void))
{
	spin_lock_bh(&watch.lock);
	watch.moved = moved;
	spin_unlock_bh(&watch.lock);
}

/**
 * aeration_watch_stop - stop watching; nothing is armed any more
 *
 * On return neither tick nor any other call of the source is under way.
 *
 * Context: process context; may sleep.
 */
void aeration_watch_stop(void)
{
	spin_lock_bh(&watch.lock);
	watch.running = false;
	spin_unlock_bh(&watch.lock);

	cancel_delayed_work_sync(&watch.sampler);
	aeration_timers_stop();
}
