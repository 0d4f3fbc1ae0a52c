// SPDX-License-Identifier: GPL-2.0
/*
 * Watch free memory and have the running source decide; see watch.h.
 */
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/timer.h>
#include <aeration/compat.h>
#include "core.h"
#include "watch.h"

#include <trace/events/aeration.h>

/*
 * Free memory counts as changed when it moves by this many smallest blocks, but
 * never by less than the noise of an idle guest or by more than is worth having.
 */
#define STEP_BLOCKS	8
#define STEP_MIN_PAGES	((16UL << 20) >> PAGE_SHIFT)
#define STEP_MAX_PAGES	((64UL << 20) >> PAGE_SHIFT)

struct watch aeration_watch;

static DEFINE_PER_CPU(struct timer_list, watch_timer);
static enum cpuhp_state cpuhp_state;

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
	mod_delayed_work(aeration_wq, &aeration_watch.sampler, 0);
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
		mod_delayed_work(aeration_wq, &aeration_watch.sampler,
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
	if (has_moved())
		aeration_watch_wake();
}

static void watch_expired(struct timer_list *timer)
{
	spin_lock(&aeration_watch.lock);
	if (aeration_watch.mode == WATCH_ACTIVE && is_lazy())
		sample_from_timer();
	else if (aeration_watch.mode == WATCH_QUIET)
		look_from_timer();
	if (aeration_watch.mode == WATCH_QUIET ||
	    (aeration_watch.mode == WATCH_ACTIVE && is_lazy()))
		mod_timer(timer, jiffies + watch_period());
	spin_unlock(&aeration_watch.lock);
}

static void arm_watch(unsigned int cpu)
{
	struct timer_list *timer = per_cpu_ptr(&watch_timer, cpu);

	lockdep_assert_held(&aeration_watch.lock);
	if (timer_pending(timer))
		return;
	timer->expires = jiffies + watch_period();
	add_timer_on(timer, cpu);
}

/* A timer stays on its own CPU, so that none of them looks for another one. */
static int cpu_comes(unsigned int cpu)
{
	spin_lock_bh(&aeration_watch.lock);
	if (aeration_watch.mode != WATCH_STOPPED)
		arm_watch(cpu);
	spin_unlock_bh(&aeration_watch.lock);
	return 0;
}

static int cpu_goes(unsigned int cpu)
{
	timer_delete_sync(per_cpu_ptr(&watch_timer, cpu));
	return 0;
}

/* The caller sees to it that no CPU comes or goes meanwhile. */
static void arm_all(void)
{
	int cpu;

	for_each_online_cpu(cpu)
		arm_watch(cpu);
}

/*
 * How long until the next sample is of use, in jiffies. An eager source is asked
 * in each period while memory changes; for a lazy one the watch timers sample, as
 * far as there is anything to see.
 */
static unsigned long sample_delay(bool settled, bool more)
{
	unsigned long delay = watch_period(), pause;

	lockdep_assert_held(&aeration_watch.lock);
	if (is_lazy() && !more)
		return max(delay, lazy_delay());
	if (!is_lazy() && !settled)
		return delay;
	pause = jiffies_until(aeration_watch.paused_until);
	if (aeration_watch.ops->pause_max_ms)
		pause = min(pause,
			    msecs_to_jiffies(aeration_watch.ops->pause_max_ms));
	return max(delay, pause);
}

/*
 * Go on sampling. Somebody who woke the watch meanwhile wants a sample at once:
 * this does not change what is queued.
 */
static void go_on(bool settled, bool more)
{
	lockdep_assert_held(&aeration_watch.lock);
	if (aeration_watch.mode == WATCH_ACTIVE)
		queue_delayed_work(aeration_wq, &aeration_watch.sampler,
				   sample_delay(settled, more));
}

/* Leave it to the watch timers, unless one has seen something just now. */
static void go_quiet(void)
{
	cpus_read_lock();
	spin_lock_bh(&aeration_watch.lock);
	if (!is_settled() || aeration_watch.look_at ||
	    delayed_work_pending(&aeration_watch.sampler)) {
		go_on(false, false);
	} else if (aeration_watch.mode == WATCH_ACTIVE) {
		aeration_watch.mode = WATCH_QUIET;
		if (aeration_watch.ops->quiet)
			aeration_watch.ops->quiet();
		arm_all();
	}
	spin_unlock_bh(&aeration_watch.lock);
	cpus_read_unlock();
}

/*
 * Sampling ends only once free memory has settled and a decision was made, after
 * it had, that leaves nothing to do: an idle guest gives no other occasion to make
 * it.
 */
static void sampler_fn(struct work_struct *work)
{
	bool settled, told, more = true;
	unsigned long surplus;

	spin_lock_bh(&aeration_watch.lock);
	told = take_sample(&surplus);
	settled = is_settled();
	if (aeration_watch_now_ms() >= aeration_watch.look_at)
		aeration_watch.look_at = 0;
	spin_unlock_bh(&aeration_watch.lock);
	if (told)
		more = aeration_watch.ops->decide(surplus);
	if (settled && !more) {
		go_quiet();
		return;
	}
	spin_lock_bh(&aeration_watch.lock);
	go_on(settled, more);
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
	int cpu;

	spin_lock_init(&aeration_watch.lock);
	INIT_DELAYED_WORK(&aeration_watch.sampler, sampler_fn);
	for_each_possible_cpu(cpu)
		timer_setup(per_cpu_ptr(&watch_timer, cpu), watch_expired,
			    TIMER_DEFERRABLE | TIMER_PINNED);
	cpu = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "aeration:online",
					cpu_comes, cpu_goes);
	if (cpu < 0)
		return cpu;
	cpuhp_state = cpu;
	return 0;
}

/**
 * aeration_watch_exit - undo aeration_watch_init()
 *
 * Context: process context, after the last aeration_watch_stop(); may sleep.
 */
void aeration_watch_exit(void)
{
	cpuhp_remove_state_nocalls(cpuhp_state);
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
	cpus_read_lock();
	spin_lock_bh(&aeration_watch.lock);
	aeration_watch.ops = ops;
	aeration_watch.sampled_at = 0;
	aeration_watch.paused_until = 0;
	aeration_watch.look_at = 0;
	begin_window(reserve, order);
	aeration_watch.mode = WATCH_ACTIVE;
	aeration_watch_wake();
	if (is_lazy())
		arm_all();
	spin_unlock_bh(&aeration_watch.lock);
	cpus_read_unlock();
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
	int cpu;

	spin_lock_bh(&aeration_watch.lock);
	aeration_watch.mode = WATCH_STOPPED;
	spin_unlock_bh(&aeration_watch.lock);

	for_each_possible_cpu(cpu)
		timer_delete_sync(per_cpu_ptr(&watch_timer, cpu));
	cancel_delayed_work_sync(&aeration_watch.sampler);
}
