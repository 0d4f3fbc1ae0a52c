/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest's free memory replayed to those who decide what the host gets.
 *
 * The guest takes what is reported last: when less is free than is reported, the
 * difference is taken back, and the host has to back it again (a refault). Free
 * memory that is not reported is held beyond need, whatever it is held for.
 *
 * The price of a refault is given as the time for which the same memory could
 * have been held instead. What is still reported at the end is taken for
 * refaulted: somebody will need it some time.
 */
#ifndef PACESIM_SIM_H
#define PACESIM_SIM_H

#include <pacer.h>
#include "trace.h"

/**
 * struct rules - what the guest is told to do, and how it is made
 * @window_ms: the pacer's window, ms
 * @backoff_ms: how far it may back off, ms
 * @reserve: free pages that are never surplus
 * @step: pages by which free memory must move to count as changed
 * @block: pages of a free block
 * @capacity: blocks in a batch
 */
struct rules {
	u32 window_ms;
	u32 backoff_ms;
	unsigned long reserve;
	unsigned long step;
	unsigned long block;
	unsigned int capacity;
};

/**
 * struct result - what it came to
 * @held: memory held beyond need, pages times ms
 * @reported: pages reported
 * @refaulted: pages taken back
 * @left: pages that are still reported at the end
 */
struct result {
	u64 held;
	u64 reported;
	u64 refaulted;
	u64 left;
};

/**
 * struct world - where a replay is
 * @trace: what is replayed
 * @next: the next point of it
 * @now: the time, ms
 * @free: free pages
 * @reported: those of them that are reported
 * @result: what it came to so far
 */
struct world {
	const struct trace *trace;
	size_t next;
	u64 now;
	unsigned long free;
	unsigned long reported;
	struct result result;
};

/**
 * struct observer - somebody who wants to know
 * @arg: passed on
 * @moved: Optional: time has passed, to a change of free memory or a decision.
 * @sampled: Optional: the pacer took a sample.
 * @told: Optional: so many pages were reported.
 */
struct observer {
	void *arg;
	void (*moved)(void *arg, const struct world *world);
	void (*sampled)(void *arg, const struct world *world,
			const struct pacer *pacer);
	void (*told)(void *arg, const struct world *world,
		     const struct pacer *pacer, unsigned long pages);
};

/* sim.c */
struct result sim_ours(const struct trace *trace, const struct rules *rules,
		       const struct observer *observer);
struct result sim_stock(const struct trace *trace, const struct rules *rules,
			u32 interval_ms, const struct observer *observer);

/* optimum.c */
struct result sim_optimum(const struct trace *trace, u32 price_ms);
u64 sim_cost(const struct result *result, u32 price_ms);
double sim_bound(const struct rules *rules, u32 price_ms);

#endif
