// SPDX-License-Identifier: GPL-2.0
/*
 * What somebody could do who knows the future, and how far from that one may be
 * who does not; see docs/pacing.md.
 *
 * The n-th free page is free in the spells in which n pages or more are. The
 * guest takes the highest first, so each page is a case of its own: at the
 * beginning of a spell that lasts longer than a refault costs it is reported, in
 * any other it is held.
 */
#include <stdlib.h>
#include "sim.h"

/**
 * struct layer - pages that have been free since the same moment
 * @base: how many are free below them
 * @top: how many are free with them
 * @since: that moment, ms
 */
struct layer {
	unsigned long base;
	unsigned long top;
	u64 since;
};

/* A spell of so many pages is over. */
static void settle(struct result *result, u64 pages, u64 ms, u32 price_ms,
		   bool at_end)
{
	if (ms <= price_ms) {
		result->held += pages * ms;
		return;
	}
	result->reported += pages;
	if (at_end)
		result->left += pages;
	else
		result->refaulted += pages;
}

/* All spells of pages above @free are over. Return: how many layers are left. */
static size_t fall(struct layer *layers, size_t nr, unsigned long free, u64 ms,
		   u32 price_ms, bool at_end, struct result *result)
{
	while (nr && layers[nr - 1].top > free) {
		struct layer *layer = &layers[nr - 1];
		unsigned long base = layer->base > free ? layer->base : free;

		settle(result, layer->top - base, ms - layer->since, price_ms,
		       at_end);
		layer->top = base;
		if (layer->top == layer->base)
			nr--;
	}
	return nr;
}

/**
 * sim_optimum - the cheapest that can be done about a trace
 * @trace: the trace
 * @price_ms: price of a refault, ms
 *
 * Return: what it came to.
 */
struct result sim_optimum(const struct trace *trace, u32 price_ms)
{
	struct layer *layers = calloc(trace->nr + 1, sizeof(*layers));
	struct result result = { };
	unsigned long was = 0;
	size_t nr = 0, i;

	if (!layers)
		abort();
	for (i = 0; i < trace->nr; i++) {
		unsigned long free = trace->points[i].free;

		if (free > was)
			layers[nr++] = (struct layer) { was, free,
				trace->points[i].ms };
		nr = fall(layers, nr, free, trace->points[i].ms, price_ms,
			  false, &result);
		was = free;
	}
	fall(layers, nr, 0, trace->points[trace->nr - 1].ms, price_ms, true,
	     &result);
	free(layers);
	return result;
}

/**
 * sim_cost - what a result costs
 * @result: the result
 * @price_ms: price of a refault, ms
 *
 * Return: pages times ms.
 */
u64 sim_cost(const struct result *result, u32 price_ms)
{
	return result->held +
	       (result->refaulted + result->left) * (u64)price_ms;
}

/**
 * sim_bound - how many times the optimum the pacer's cost may be
 * @rules: for the guest
 * @price_ms: price of a refault, ms, at least 1
 *
 * Holds if no level of free memory lasts for less than the pacer's period, if
 * blocks and batches are one page, and if a step is one page. docs/pacing.md has
 * the proof.
 *
 * Return: the factor.
 */
double sim_bound(const struct rules *rules, u32 price_ms)
{
	u32 longest = rules->window_ms;
	double wait, shortest = rules->window_ms;
	struct pacer pacer;

	aeration_pacer_init(&pacer, 0, rules->window_ms, 0, 0, 0);
	while (longest && 2ULL * longest <= rules->backoff_ms)
		longest *= 2;
	/* Seen late, a window and a slot, and decided late. */
	wait = longest + (longest + PACER_SLOTS - 1) / PACER_SLOTS +
	       2.0 * aeration_pacer_period_ms(&pacer);
	if (shortest > price_ms)
		shortest = price_ms;
	return (wait + price_ms) / (shortest > 0 ? shortest : 1);
}
