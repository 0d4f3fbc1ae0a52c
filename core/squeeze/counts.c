// SPDX-License-Identifier: GPL-2.0
/*
 * What the guest is like, by the mm's own counts; see squeeze.h.
 */
#include <linux/cpumask.h>
#include <linux/kernel_stat.h>
#include <linux/ktime.h>
#include <linux/limits.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/tick.h>
#include <linux/vmstat.h>
#include <aeration/compat.h>
#include "squeeze.h"

/* A kernel that counts no events, which is for small systems, tells of no stall. */
static unsigned long event(enum vm_event_item item)
{
	unsigned long sum = 0;
#ifdef CONFIG_VM_EVENT_COUNTERS
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu(vm_event_states, cpu).event[item]);
#endif
	return sum;
}

/* One count for each kind of zone, and ALLOCSTALL_NORMAL is there always. */
static unsigned long stalls(void)
{
	unsigned long sum = 0;
	int z;

	for (z = 0; z < MAX_NR_ZONES; z++)
		sum += event(ALLOCSTALL_NORMAL - ZONE_NORMAL + z);
	return sum;
}

/**
 * aeration_counts_read - read what the guest is like
 * @now: set to that
 *
 * Context: any.
 */
void aeration_counts_read(struct gate_now *now)
{
	unsigned long active = global_node_page_state(NR_ACTIVE_FILE);

	now->ms = ktime_to_ms(ktime_get());
	now->cached = active + global_node_page_state(NR_INACTIVE_FILE);
	now->busy = active + global_node_page_state(NR_FILE_DIRTY) +
		    global_node_page_state(NR_WRITEBACK);
	now->refaults = global_node_page_state(WORKINGSET_REFAULT_FILE);
	now->stalls = stalls();
}

/**
 * aeration_counts_taken - how much reclaim has taken, whoever's
 *
 * Context: process context.
 * Return: pages since boot.
 */
unsigned long aeration_counts_taken(void)
{
	return compat_reclaim_sum(event, PGSTEAL_FILE) +
	       compat_reclaim_sum(event, PGSTEAL_ANON);
}

/**
 * aeration_counts_free - how much of a node is free
 * @nid: the node
 * @order: in blocks of this order, or larger
 *
 * Context: process context.
 * Return: pages.
 */
unsigned long aeration_counts_free(int nid, unsigned int order)
{
	struct zone *zone = NODE_DATA(nid)->node_zones;
	unsigned long pages = 0;
	unsigned int each;
	int z;

	for (z = 0; z < MAX_NR_ZONES; z++, zone++)
		for (each = order; each <= MAX_PAGE_ORDER; each++)
			pages += READ_ONCE(zone->free_area[each].nr_free)
				 << each;
	return pages;
}

static u64 idle_us(int cpu)
{
	u64 idle = get_cpu_idle_time_us(cpu, NULL);

	if (idle != U64_MAX)
		return idle + get_cpu_iowait_time_us(cpu, NULL);
	return div_u64(kcpustat_cpu(cpu).cpustat[CPUTIME_IDLE] +
		       kcpustat_cpu(cpu).cpustat[CPUTIME_IOWAIT],
		       NSEC_PER_USEC);
}

/**
 * aeration_counts_programs_us - for how long programs have run
 *
 * In their own code: what the kernel does for itself, and for us, is not among it.
 *
 * Context: process context.
 * Return: us since boot, of all processors together, as the kernel's ticks have it.
 */
u64 aeration_counts_programs_us(void)
{
	u64 ns = 0;
	int cpu;

	for_each_online_cpu(cpu)
		ns += kcpustat_cpu(cpu).cpustat[CPUTIME_USER] +
		      kcpustat_cpu(cpu).cpustat[CPUTIME_NICE];
	return div_u64(ns, NSEC_PER_USEC);
}

/**
 * aeration_counts_busy_us - for how long the guest's processors have been busy
 *
 * Context: any.
 * Return: us, of all of them together; only differences mean something, and those less
 *	than nothing if a processor came or went.
 */
s64 aeration_counts_busy_us(void)
{
	u64 now = ktime_to_us(ktime_get());
	s64 busy = 0;
	int cpu;

	for_each_online_cpu(cpu)
		busy += now - idle_us(cpu);
	return busy;
}
