// SPDX-License-Identifier: GPL-2.0
/*
 * Watch free memory, and grant what is surplus to the mm's passes.
 */
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/timer.h>
#include <linux/vmstat.h>
#include "report.h"

/*
 * Free memory counts as changed when it moves by this many smallest blocks, but
 * never by less than the noise of an idle guest or by more than is worth having.
 */
#define STEP_BLOCKS	8
#define STEP_MIN_PAGES	((16UL << 20) >> PAGE_SHIFT)
#define STEP_MAX_PAGES	((64UL << 20) >> PAGE_SHIFT)

/*
 * A census may take one part in this many of a CPU's time, but is never put off
 * for longer than this, ms.
 */
#define CENSUS_SHARE		50
#define CENSUS_PAUSE_MAX_MS	1000

/* Grants in a row that the mm may leave unused before sampling ends. */
#define UNUSED_GRANTS	3

static DEFINE_PER_CPU(struct timer_list, watch_timer);
static enum cpuhp_state cpuhp_state;

/**
 * sampler_now_ms - the time that the pacer and the pauses go by
 *
 * Context: any.
 * Return: milliseconds of a clock that stands while the guest is suspended.
 */
u64 sampler_now_ms(void)
{
	return ktime_to_ms(ktime_get());
}

static bool pass_is_running(void)
{
	return work_busy(&reporter.prdev.work.work) & WORK_BUSY_RUNNING;
}

/**
 * sampler_read_free - read how many pages are free
 * @free: set to the number, pages isolated for us included: they come back
 *	unless the guest takes them
 *
 * Context: any.
 * Return: false if that cannot be told, because the mm is in a pass and holds
 *	blocks that it has not shown us, or has not put back yet.
 */
bool sampler_read_free(unsigned long *free)
{
	long isolated = atomic_long_read(&reporter.isolated);
	bool in_pass = pass_is_running();

	*free = global_zone_page_state(NR_FREE_PAGES) + isolated;
	if (isolated)
		return atomic_long_read(&reporter.isolated) == isolated;
	return !in_pass && !pass_is_running();
}

/**
 * sampler_start_pass - have the mm start a pass now, or after the present one
 *
 * Context: any, while reporting is registered with the mm.
 */
void sampler_start_pass(void)
{
	mod_delayed_work(system_freezable_wq, &reporter.prdev.work, 0);
}

/**
 * sampler_wake - sample now, and go on by the ordinary timer
 *
 * Context: any, under reporter.lock, between sampler_start() and
 *	sampler_stop().
 */
void sampler_wake(void)
{
	lockdep_assert_held(&reporter.lock);
	reporter.mode = WATCH_ACTIVE;
	mod_delayed_work(aeration_wq, &reporter.sampler, 0);
}

static unsigned long watch_period(void)
{
	return max(1UL, msecs_to_jiffies(pacer_period_ms(&reporter.pacer)));
}

static void watch_expired(struct timer_list *timer)
{
	unsigned long free;

	spin_lock(&reporter.lock);
	if (reporter.mode == WATCH_QUIET) {
		if (sampler_read_free(&free) && pacer_moved(&reporter.pacer, free))
			sampler_wake();
		else
			mod_timer(timer, jiffies + watch_period());
	}
	spin_unlock(&reporter.lock);
}

static void arm_watch(unsigned int cpu)
{
	struct timer_list *timer = per_cpu_ptr(&watch_timer, cpu);

	lockdep_assert_held(&reporter.lock);
	if (timer_pending(timer))
		return;
	timer->expires = jiffies + watch_period();
	add_timer_on(timer, cpu);
}

/* A timer stays on its own CPU, so that none of them looks for another one. */
static int cpu_comes(unsigned int cpu)
{
	spin_lock_bh(&reporter.lock);
	if (reporter.mode == WATCH_QUIET)
		arm_watch(cpu);
	spin_unlock_bh(&reporter.lock);
	return 0;
}

static int cpu_goes(unsigned int cpu)
{
	timer_delete_sync(per_cpu_ptr(&watch_timer, cpu));
	return 0;
}

/* Hand over from the sampler to the watch timers. */
static void go_quiet(void)
{
	int cpu;

	cpus_read_lock();
	spin_lock_bh(&reporter.lock);
	if (reporter.mode == WATCH_ACTIVE) {
		reporter.mode = WATCH_QUIET;
		reporter.budget = 0;
		for_each_online_cpu(cpu)
			arm_watch(cpu);
	}
	spin_unlock_bh(&reporter.lock);
	cpus_read_unlock();
}

/* Largest batch the mm can offer out of what was counted. */
static unsigned long largest_batch(const struct census *census)
{
	return min(census->reportable,
		   (unsigned long)PAGE_REPORTING_CAPACITY << census->largest);
}

/**
 * sampler_take_census - count what is reported and reportable
 * @census: set to what was counted
 *
 * Also settles when the sampler may do so next, by what it cost.
 *
 * Context: process context, reporter.lock not held; may sleep.
 */
void sampler_take_census(struct census *census)
{
	u64 start = ktime_get_ns(), pause;

	reporter.order = compat_reporting_order(&reporter.prdev);
	census_take(reporter.order, census);
	pause = div_u64((ktime_get_ns() - start) * CENSUS_SHARE, NSEC_PER_MSEC);
	spin_lock_bh(&reporter.lock);
	reporter.census_at = sampler_now_ms() + min_t(u64, pause, CENSUS_PAUSE_MAX_MS);
	spin_unlock_bh(&reporter.lock);
}

/*
 * Grant what is surplus and not reported yet, and have a pass report it.
 * Return: true if there is something left to do.
 */
static bool grant(unsigned long surplus)
{
	struct census census;
	unsigned long budget;
	bool more = false;

	sampler_take_census(&census);
	budget = pacer_budget(surplus, census.reported, census.reportable);
	if (!pacer_fits(budget, largest_batch(&census)))
		budget = 0;
	spin_lock_bh(&reporter.lock);
	if (reporter.mode != WATCH_STOPPED && !reporter.flushing) {
		reporter.budget = budget;
		if (budget) {
			sampler_start_pass();
			more = ++reporter.unused_grants <= UNUSED_GRANTS;
		}
	}
	spin_unlock_bh(&reporter.lock);
	return more;
}

/**
 * enum verdict - what a sample says
 * @VERDICT_WAIT: nothing can be decided yet
 * @VERDICT_GRANT: there is surplus that may have to be granted
 * @VERDICT_NOTHING: there is no surplus
 */
enum verdict {
	VERDICT_WAIT,
	VERDICT_GRANT,
	VERDICT_NOTHING,
};

static enum verdict take_sample(unsigned long *surplus)
{
	enum verdict verdict = VERDICT_WAIT;
	unsigned long free;
	u64 now = sampler_now_ms();

	spin_lock_bh(&reporter.lock);
	if (sampler_read_free(&free)) {
		pacer_sample(&reporter.pacer, now, free);
		*surplus = pacer_surplus(&reporter.pacer);
		/* What the mm left of a grant does not outlive the surplus. */
		if (!reporter.flushing)
			reporter.budget = min(reporter.budget, *surplus);
		if (now >= reporter.census_at && now >= reporter.paused_until)
			verdict = *surplus ? VERDICT_GRANT : VERDICT_NOTHING;
	}
	spin_unlock_bh(&reporter.lock);
	atomic64_inc(&aeration_stats.samples);
	return verdict;
}

/* How long until the next sample is of use, in jiffies. */
static unsigned long sample_delay(bool settled)
{
	unsigned long delay = watch_period();
	u64 now = sampler_now_ms();

	lockdep_assert_held(&reporter.lock);
	if (settled && reporter.paused_until > now)
		delay = max(delay, msecs_to_jiffies(reporter.paused_until - now));
	return delay;
}

/*
 * Sampling ends only once free memory has settled and a decision was made that
 * leaves nothing to do: an idle guest gives no other occasion to make it.
 */
static void sampler_fn(struct work_struct *work)
{
	unsigned long surplus = 0;
	bool settled, more = true;

	switch (take_sample(&surplus)) {
	case VERDICT_WAIT:
		break;
	case VERDICT_GRANT:
		more = pass_is_running() || grant(surplus);
		break;
	case VERDICT_NOTHING:
		more = false;
		break;
	}

	spin_lock_bh(&reporter.lock);
	settled = pacer_settled(&reporter.pacer, sampler_now_ms());
	if (reporter.mode == WATCH_ACTIVE && (!settled || more))
		mod_delayed_work(aeration_wq, &reporter.sampler,
				 sample_delay(settled));
	spin_unlock_bh(&reporter.lock);
	if (settled && !more)
		go_quiet();
}

/**
 * sampler_reset_pacer - begin a new window, with the parameters in force
 *
 * Context: any, under reporter.lock.
 */
void sampler_reset_pacer(void)
{
	lockdep_assert_held(&reporter.lock);
	pacer_init(&reporter.pacer, sampler_now_ms(), param_window_ms(),
		   param_reserve_pages(),
		   clamp((unsigned long)STEP_BLOCKS << reporter.order,
			 STEP_MIN_PAGES, STEP_MAX_PAGES));
}

/**
 * sampler_init - prepare what sampler_start() arms
 *
 * Context: process context, once, before anything else here; may sleep.
 * Return: 0 or a negative error.
 */
int sampler_init(void)
{
	int cpu;

	INIT_DELAYED_WORK(&reporter.sampler, sampler_fn);
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
 * sampler_exit - undo sampler_init()
 *
 * Context: process context, after the last sampler_stop(); may sleep.
 */
void sampler_exit(void)
{
	cpuhp_remove_state_nocalls(cpuhp_state);
}

/**
 * sampler_start - begin to watch, with a new window
 *
 * Context: process context, once reporting is registered with the mm.
 */
void sampler_start(void)
{
	spin_lock_bh(&reporter.lock);
	reporter.census_at = 0;
	reporter.unused_grants = 0;
	sampler_reset_pacer();
	sampler_wake();
	spin_unlock_bh(&reporter.lock);
}

/**
 * sampler_stop - stop watching; nothing is armed any more, and no pass started
 *
 * Context: process context; may sleep.
 */
void sampler_stop(void)
{
	int cpu;

	spin_lock_bh(&reporter.lock);
	reporter.mode = WATCH_STOPPED;
	reporter.budget = 0;
	spin_unlock_bh(&reporter.lock);

	for_each_possible_cpu(cpu)
		timer_delete_sync(per_cpu_ptr(&watch_timer, cpu));
	cancel_delayed_work_sync(&reporter.sampler);
}
