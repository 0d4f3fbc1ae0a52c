// SPDX-License-Identifier: GPL-2.0
/* Ours, and a model of the stock driver; see sim.h. */
#include "sim.h"

/*
 * The mm stops a pass over a free list after a sixteenth of it, in batches
 * rounded up, and one batch more.
 */
#define STOCK_SHARE	16

static const struct observer nobody;

static unsigned long smaller(unsigned long a, unsigned long b)
{
	return a < b ? a : b;
}

static struct world begin(const struct trace *trace)
{
	struct world world = {
		.trace = trace,
		.next = 1,
		.now = trace->points[0].ms,
		.free = trace->points[0].free,
	};

	return world;
}

/* The time of the next change, or of @ms if that is earlier. */
static u64 step_end(const struct world *world, u64 ms)
{
	const struct trace *trace = world->trace;

	if (world->next < trace->nr && trace->points[world->next].ms < ms)
		return trace->points[world->next].ms;
	return ms;
}

/* Let time pass, up to the end of the trace at most. */
static void go_on(struct world *world, u64 ms, const struct observer *observer)
{
	const struct trace *trace = world->trace;

	if (ms > trace->points[trace->nr - 1].ms)
		ms = trace->points[trace->nr - 1].ms;
	while (world->now < ms) {
		u64 end = step_end(world, ms);

		world->result.held += (world->free - world->reported) *
				      (end - world->now);
		world->now = end;
		if (end != trace->points[world->next].ms)
			break;
		world->free = trace->points[world->next++].free;
		if (world->free < world->reported) {
			world->result.refaulted += world->reported -
						   world->free;
			world->reported = world->free;
		}
		if (observer->moved)
			observer->moved(observer->arg, world);
	}
}

static bool is_over(const struct world *world)
{
	return world->now >= world->trace->points[world->trace->nr - 1].ms;
}

static struct result end(struct world *world)
{
	world->result.left = world->reported;
	return world->result;
}

static void report(struct world *world, unsigned long pages)
{
	world->reported += pages;
	world->result.reported += pages;
}

/* What the mm can make of free memory that is not reported, in whole blocks. */
static unsigned long reportable(const struct world *world,
				const struct rules *rules)
{
	unsigned long pages = world->free - world->reported;

	return pages - pages % rules->block;
}

/* As the report source: a grant, and passes until it is used up. */
static bool decide(struct world *world, struct pacer *pacer,
		   const struct rules *rules, const struct observer *observer)
{
	unsigned long most = rules->capacity * rules->block;
	unsigned long batch = smaller(reportable(world, rules), most);
	unsigned long budget;
	bool any = false;

	aeration_pacer_set_out(pacer, world->reported);
	budget = aeration_pacer_budget(aeration_pacer_surplus(pacer),
				       world->reported,
				       reportable(world, rules));
	while (batch && aeration_pacer_fits(budget, batch)) {
		report(world, batch);
		aeration_pacer_told(pacer, world->now, batch);
		if (observer->told)
			observer->told(observer->arg, world, pacer, batch);
		any = true;
		budget -= smaller(budget, batch);
		batch = smaller(reportable(world, rules), most);
	}
	if (any && observer->moved)
		observer->moved(observer->arg, world);
	return any;
}

/**
 * sim_ours - replay a trace to the pacer, as the report source has it
 * @trace: the trace
 * @rules: for the guest
 * @observer: who wants to know, or NULL
 *
 * Blocks are as large as they can be, and the host answers at once.
 *
 * Return: what it came to.
 */
struct result sim_ours(const struct trace *trace, const struct rules *rules,
		       const struct observer *observer)
{
	struct world world = begin(trace);
	struct pacer pacer;
	bool quiet = false;

	if (!observer)
		observer = &nobody;
	if (observer->moved)
		observer->moved(observer->arg, &world);
	aeration_pacer_init(&pacer, world.now, rules->window_ms,
			    rules->backoff_ms, rules->reserve, rules->step);
	while (!is_over(&world)) {
		if (!quiet || aeration_pacer_moved(&pacer, world.free)) {
			aeration_pacer_sample(&pacer, world.now, world.free);
			if (observer->sampled)
				observer->sampled(observer->arg, &world,
						  &pacer);
			quiet = !decide(&world, &pacer, rules, observer) &&
				aeration_pacer_settled(&pacer, world.now);
		}
		go_on(&world, world.now + aeration_pacer_period_ms(&pacer),
		      observer);
	}
	return end(&world);
}

/* One pass of the mm. Return: true if it left something. */
static bool pass(struct world *world, const struct rules *rules)
{
	unsigned long batch = rules->capacity * rules->block;
	unsigned long list = world->free / rules->block;
	unsigned long most = (list / (STOCK_SHARE * rules->capacity) + 1) +
			     !!(list % (STOCK_SHARE * rules->capacity));
	unsigned long pages = reportable(world, rules);

	report(world, smaller(pages, most * batch));
	return pages > most * batch;
}

/**
 * sim_stock - replay a trace to a model of the kernel's own reporting
 * @trace: the trace
 * @rules: for the guest: its blocks and batches
 * @interval_ms: from a free to a pass, and from one pass to the next, ms
 * @observer: who wants to know, or NULL
 *
 * All free memory is taken to be in one free list. A pass comes an interval
 * after memory was freed, and goes on with the next one for as long as something
 * is left.
 *
 * Return: what it came to.
 */
struct result sim_stock(const struct trace *trace, const struct rules *rules,
			u32 interval_ms, const struct observer *observer)
{
	struct world world = begin(trace);
	u64 due = world.now + interval_ms;
	bool asked = true;

	if (!observer)
		observer = &nobody;
	if (observer->moved)
		observer->moved(observer->arg, &world);
	while (!is_over(&world)) {
		unsigned long before = world.free;
		u64 until = asked ? due : ~0ULL;

		go_on(&world, step_end(&world, until), observer);
		if (asked && world.now >= due) {
			asked = pass(&world, rules);
			due = world.now + interval_ms;
			if (observer->moved)
				observer->moved(observer->arg, &world);
		}
		if (world.free > before && !asked) {
			asked = true;
			due = world.now + interval_ms;
		}
	}
	return end(&world);
}
