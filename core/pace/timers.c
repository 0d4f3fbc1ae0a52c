// SPDX-License-Identifier: GPL-2.0
/*
 * Look now and then, on CPUs that are busy anyway; see timers.h.
 *
 * A timer stays on its own CPU, so that none looks for another one. Starting and
 * stopping excludes CPUs that come and go, and so the timers are armed on all that
 * are online, or on none.
 */
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/jiffies.h>
#include <linux/percpu.h>
#include <linux/timer.h>
#include <aeration/compat.h>
#include "timers.h"

/**
 * struct timers - all of them
 * @look: what each does
 * @period: how often, jiffies; 0: they are stopped; read by timers at any time
 * @state: for CPUs that come and go
 */
static struct timers {
	void (*look)(void);
	unsigned long period;
	enum cpuhp_state state;
} timers;

static DEFINE_PER_CPU(struct timer_list, cpu_timer);

/* Who stops the timers waits for this, and takes back what it arms. */
static void cpu_timer_expired(struct timer_list *timer)
{
	unsigned long period;

	timers.look();
	period = READ_ONCE(timers.period);
	if (period)
		mod_timer(timer, jiffies + period);
}

static int cpu_comes(unsigned int cpu)
{
	struct timer_list *timer = per_cpu_ptr(&cpu_timer, cpu);

	if (!timers.period || timer_pending(timer))
		return 0;
	timer->expires = jiffies + timers.period;
	add_timer_on(timer, cpu);
	return 0;
}

static int cpu_goes(unsigned int cpu)
{
	timer_delete_sync(per_cpu_ptr(&cpu_timer, cpu));
	return 0;
}

/**
 * aeration_timers_init - prepare the timers
 * @look: what each is to do, with bottom halves off; must not sleep
 *
 * Context: process context, once, before anything else here; may sleep.
 * Return: 0 or a negative error.
 */
int aeration_timers_init(void (*look)(void))
{
	int cpu;

	timers.look = look;
	for_each_possible_cpu(cpu)
		timer_setup(per_cpu_ptr(&cpu_timer, cpu), cpu_timer_expired,
			    TIMER_DEFERRABLE | TIMER_PINNED);
	cpu = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "aeration:online",
					cpu_comes, cpu_goes);
	if (cpu < 0)
		return cpu;
	timers.state = cpu;
	return 0;
}

/**
 * aeration_timers_exit - undo aeration_timers_init()
 *
 * Context: process context, while they are stopped; may sleep.
 */
void aeration_timers_exit(void)
{
	cpuhp_remove_state_nocalls(timers.state);
}

/**
 * aeration_timers_start - begin to look
 * @period: how often, jiffies, at least 1
 *
 * Context: process context, while they are stopped; may sleep.
 */
void aeration_timers_start(unsigned long period)
{
	int cpu;

	cpus_read_lock();
	WRITE_ONCE(timers.period, period);
	for_each_online_cpu(cpu)
		cpu_comes(cpu);
	cpus_read_unlock();
}

/**
 * aeration_timers_set_period - change how often they look
 * @period: jiffies, at least 1
 *
 * Context: any, while they are started.
 */
void aeration_timers_set_period(unsigned long period)
{
	WRITE_ONCE(timers.period, period);
}

/**
 * aeration_timers_stop - look no more
 *
 * On return none of them is under way. Whoever may set the period has been stopped.
 *
 * Context: process context; may sleep.
 */
void aeration_timers_stop(void)
{
	int cpu;

	cpus_read_lock();
	WRITE_ONCE(timers.period, 0);
	for_each_possible_cpu(cpu)
		timer_delete_sync(per_cpu_ptr(&cpu_timer, cpu));
	cpus_read_unlock();
}
