// SPDX-License-Identifier: GPL-2.0
/*
 * Properties of the pacer on traces, as the report source drives it, and of the
 * simulator that shows them. The traces are the same in every run: their seeds
 * are said.
 */
#include <string.h>
#include "ktap.h"
#include "sim.h"

/* Traces of each kind, and how long each is, s. */
#define SEEDS	25
#define LENGTH	90

/* A change that counts, in one of these, pages. */
#define STEP	40

/* A guest small enough to be reported page by page. */
#define SCALE	2048

/* Samples of one trace, at most: one each 20 ms, and the rest at its end. */
#define SAMPLES	(60 * (LENGTH + 200))

/**
 * struct naive - a pacer's observer that remembers everything
 * @trace: what is replayed
 * @slack: how far a batch may go beyond the surplus, pages
 * @reserve: pages
 * @t: time of each sample, ms
 * @free: free pages in each
 * @nr: how many
 * @told: how often something was reported
 */
struct naive {
	const struct trace *trace;
	unsigned long slack;
	unsigned long reserve;
	u64 t[SAMPLES];
	unsigned long free[SAMPLES];
	int nr;
	int told;
};

static struct naive naive;

/* Lowest sample of the last @window ms, and the one in force before; 0: unknown. */
static unsigned long lowest_sample(const struct naive *n, u64 window)
{
	unsigned long low = n->free[n->nr - 1];
	int i;

	for (i = n->nr - 1; i >= 0; i--) {
		if (n->free[i] < low)
			low = n->free[i];
		if (n->t[i] + window <= n->t[n->nr - 1])
			return low;
	}
	return 0;
}

/* The lowest that really was free at any time of the last @window ms. */
static unsigned long lowest_free(const struct trace *trace, u64 now, u64 window)
{
	unsigned long low = ~0UL;
	size_t i;

	for (i = 0; i < trace->nr && trace->points[i].ms <= now; i++)
		if (i + 1 == trace->nr ||
		    trace->points[i + 1].ms + window > now)
			if (trace->points[i].free < low)
				low = trace->points[i].free;
	return low;
}

static void note_sample(void *arg, const struct world *world,
			const struct pacer *pacer)
{
	struct naive *n = arg;

	(void)pacer;
	EXPECT(n->nr < SAMPLES);
	if (n->nr == SAMPLES)
		return;
	n->t[n->nr] = world->now;
	n->free[n->nr++] = world->free;
}

static void check_told(void *arg, const struct world *world,
		       const struct pacer *pacer, unsigned long pages)
{
	struct naive *n = arg;
	u64 window = aeration_pacer_window_ms(pacer);
	unsigned long out = world->reported + n->reserve;

	n->told++;
	EXPECT(pages > 0);
	EXPECT(out <= lowest_sample(n, window) + n->slack);
	EXPECT(out <= lowest_free(n->trace, world->now, window) + n->slack);
}

static unsigned long smaller(unsigned long a, unsigned long b)
{
	return a < b ? a : b;
}

/*
 * A trace of some kind, of a small guest, in which nothing lasts for less than
 * the longest period of these tests.
 */
static void make(struct trace *trace, const char *kind, u64 seed, u32 period)
{
	struct trace raw = { };
	u64 ms = 0;
	size_t i;

	EXPECT(trace_generate(&raw, kind, seed, LENGTH));
	for (i = 0; i < raw.nr; i++) {
		if (i && raw.points[i].ms - raw.points[i - 1].ms < period)
			ms += period;
		else if (i)
			ms += raw.points[i].ms - raw.points[i - 1].ms;
		trace_add(trace, ms, raw.points[i].free / SCALE);
	}
	trace_end(&raw);
}

static u32 period_of(u32 window)
{
	struct pacer pacer;

	aeration_pacer_init(&pacer, 0, window, 0, 0, 0);
	return aeration_pacer_period_ms(&pacer);
}

/* Call @check for each kind and seed, with rules that are random. */
static void each_trace(void (*check)(const struct trace *trace,
				     struct rules *rules))
{
	const char *const *kind;
	u64 seed;

	printf("# seeds 1 to %d of each kind\n", SEEDS);
	for (kind = trace_kinds; *kind; kind++)
		for (seed = 1; seed <= SEEDS; seed++) {
			struct rules rules = {
				.window_ms = 20 + ktap_random() % 3000,
				.backoff_ms = ktap_random() % 30000,
				.reserve = ktap_random() % 50,
				.step = 1,
				.block = 1,
				.capacity = 1,
			};
			struct trace trace = { };
			int bad = ktap_case_bad;

			make(&trace, *kind, seed, period_of(rules.window_ms));
			check(&trace, &rules);
			if (ktap_case_bad != bad)
				printf("# that was %s, seed %llu, window %u\n",
				       *kind, seed, rules.window_ms);
			trace_end(&trace);
		}
}

static struct result replay(const struct trace *trace,
			    const struct rules *rules, unsigned long slack)
{
	struct observer observer = {
		.arg = &naive,
		.sampled = note_sample,
		.told = check_told,
	};

	naive.trace = trace;
	naive.slack = slack;
	naive.reserve = rules->reserve;
	naive.nr = 0;
	naive.told = 0;
	return sim_ours(trace, rules, &observer);
}

static int ever_told;

static void check_page_by_page(const struct trace *trace, struct rules *rules)
{
	replay(trace, rules, 0);
	ever_told += naive.told;
}

/*
 * What is reported never exceeds what the windowed minimum allows, which is
 * looked for in all samples; and all of it was free for a whole window, which is
 * looked for in the trace.
 */
static void never_more_and_never_earlier_than_the_window_allows(void)
{
	ever_told = 0;
	each_trace(check_page_by_page);
	EXPECT(ever_told > 4 * SEEDS);
}

static void check_in_batches(const struct trace *trace, struct rules *rules)
{
	rules->block = 4;
	rules->capacity = 8;
	replay(trace, rules, 16);
	ever_told += naive.told;
}

static void batches_go_half_a_batch_too_far_at_most(void)
{
	ever_told = 0;
	each_trace(check_in_batches);
	EXPECT(ever_told > 4 * SEEDS);
}

/* Time for whatever window there is to pass, twice, at the trace's end. */
static unsigned long let_rest(const struct trace *trace, struct trace *longer)
{
	const struct point *last = &trace->points[trace->nr - 1];
	size_t i;

	for (i = 0; i < trace->nr; i++)
		trace_add(longer, trace->points[i].ms, trace->points[i].free);
	trace_add(longer, last->ms + 65000, last->free);
	return last->free;
}

static void check_rest(const struct trace *trace, struct rules *rules)
{
	struct trace longer = { };
	unsigned long free = let_rest(trace, &longer);
	unsigned long surplus = free > rules->reserve ? free - rules->reserve : 0;
	struct result result = replay(&longer, rules, 0);

	EXPECT(result.left >= surplus);
	/*
	 * In batches, all but half of one. What moves by less than a step is
	 * not looked at, on either side of where it last moved.
	 */
	rules->block = 4;
	rules->capacity = 8;
	rules->step = STEP;
	result = replay(&longer, rules, 16 + 2 * STEP);
	EXPECT(result.left + 16 + 4 + 2 * STEP >= surplus);
	trace_end(&longer);
}

static void surplus_that_stays_is_reported(void)
{
	each_trace(check_rest);
}

static double worst;

static void check_bound(const struct trace *trace, struct rules *rules)
{
	u32 price = rules->window_ms;
	struct result ours, best = sim_optimum(trace, price);
	double ratio;

	rules->reserve = 0;
	rules->backoff_ms = 0;
	ours = replay(trace, rules, 0);
	ratio = (double)sim_cost(&ours, price) / (double)sim_cost(&best, price);
	EXPECT(ratio <= sim_bound(rules, price));
	EXPECT(ratio >= 1);
	/* Ski rental, and what comes of slots and periods. */
	EXPECT(sim_bound(rules, price) <=
	       2 + 1. / PACER_SLOTS + (2. * period_of(price) + 1) / price);
	if (ratio > worst)
		worst = ratio;
}

static void cost_is_bounded_by_twice_the_optimum(void)
{
	worst = 0;
	each_trace(check_bound);
	printf("# at worst %.2f times the optimum\n", worst);
	EXPECT(worst > 1.5);
}

static void check_bound_backed_off(const struct trace *trace,
				   struct rules *rules)
{
	u32 price = rules->window_ms;
	struct result ours, best = sim_optimum(trace, price);
	double ratio;

	rules->reserve = 0;
	ours = replay(trace, rules, 0);
	ratio = (double)sim_cost(&ours, price) / (double)sim_cost(&best, price);
	EXPECT(ratio <= sim_bound(rules, price));
	EXPECT(ratio >= 1);
	if (ratio > worst)
		worst = ratio;
}

static void cost_is_bounded_by_the_window_that_may_come(void)
{
	worst = 0;
	each_trace(check_bound_backed_off);
	printf("# at worst %.2f times the optimum\n", worst);
	EXPECT(worst > 1.5);
}

/*
 * A spell just too long to be held costs twice, again and again: the bound is
 * not much more than what can happen.
 */
static void the_bound_is_sharp(void)
{
	struct rules rules = {
		.window_ms = 1000, .step = 1, .block = 1, .capacity = 1,
	};
	struct trace trace = { };
	struct result ours, best;
	u64 ms = 0, i;
	double ratio;

	for (i = 0; i < 100; i++) {
		trace_add(&trace, ms, 10);
		ms += 1000 + 63 + 2 * 63;
		trace_add(&trace, ms, 0);
		ms += 100;
	}
	ours = sim_ours(&trace, &rules, NULL);
	best = sim_optimum(&trace, 1000);
	ratio = (double)sim_cost(&ours, 1000) / (double)sim_cost(&best, 1000);
	EXPECT(ratio <= sim_bound(&rules, 1000));
	EXPECT(ratio > 2);
	trace_end(&trace);
}

/* The same page by page and spell by spell. */
static u64 naive_optimum(const struct trace *trace, u32 price)
{
	unsigned long page, highest = 0;
	u64 cost = 0, spell;
	size_t i;

	for (i = 0; i < trace->nr; i++)
		if (trace->points[i].free > highest)
			highest = trace->points[i].free;
	for (page = 1; page <= highest; page++) {
		spell = 0;
		for (i = 0; i < trace->nr; i++) {
			if (trace->points[i].free >= page && i + 1 < trace->nr) {
				spell += trace->points[i + 1].ms -
					 trace->points[i].ms;
				continue;
			}
			cost += smaller(spell, price);
			spell = 0;
		}
	}
	return cost;
}

static void check_optimum(const struct trace *trace, struct rules *rules)
{
	u32 price = 1 + ktap_random() % 5000;
	struct result best = sim_optimum(trace, price), stock;

	EXPECT_EQ(sim_cost(&best, price), naive_optimum(trace, price));
	EXPECT_EQ(best.reported, best.refaulted + best.left);
	stock = sim_stock(trace, rules, 1 + ktap_random() % 2000, NULL);
	EXPECT(sim_cost(&stock, price) >= sim_cost(&best, price));
	EXPECT_EQ(stock.reported, stock.refaulted + stock.left);
}

static void nobody_is_cheaper_than_the_optimum(void)
{
	each_trace(check_optimum);
}

/* 1500 MiB are free in blocks of 4 MiB: two batches of 32 go in each pass. */
static void stock_takes_a_sixteenth_of_a_list(void)
{
	struct rules rules = { .block = 1024, .capacity = 32 };
	u64 ms;

	for (ms = 2000; ms <= 14000; ms += 2000) {
		unsigned long passes = ms / 2000;
		struct trace trace = { };
		struct result result;

		trace_add(&trace, 0, 375 * 1024);
		trace_add(&trace, ms, 375 * 1024);
		result = sim_stock(&trace, &rules, 2000, NULL);
		EXPECT_EQ(result.reported,
			  smaller(passes * 64, 375) * 1024);
		trace_end(&trace);
	}
}

static void traces_are_what_they_were(void)
{
	const char *const *kind;

	for (kind = trace_kinds; *kind; kind++) {
		struct trace one = { }, same = { }, other = { }, back = { };
		FILE *file = tmpfile();

		EXPECT(trace_generate(&one, *kind, 7, 60));
		EXPECT(trace_generate(&same, *kind, 7, 60));
		EXPECT(trace_generate(&other, *kind, 8, 60));
		EXPECT_EQ(one.nr, same.nr);
		EXPECT(!memcmp(one.points, same.points,
			       one.nr * sizeof(*one.points)));
		EXPECT(one.nr != other.nr ||
		       memcmp(one.points, other.points,
			      one.nr * sizeof(*one.points)));
		EXPECT_EQ(one.points[one.nr - 1].ms, 60000);
		trace_write(&one, file);
		rewind(file);
		EXPECT(trace_read(&back, file, "back"));
		EXPECT_EQ(back.nr, one.nr);
		EXPECT(!memcmp(one.points, back.points,
			       one.nr * sizeof(*one.points)));
		fclose(file);
		trace_end(&one);
		trace_end(&same);
		trace_end(&other);
		trace_end(&back);
	}
	EXPECT(!trace_generate(&(struct trace) { }, "nonsense", 1, 1));
}

int main(void)
{
	RUN(never_more_and_never_earlier_than_the_window_allows);
	RUN(batches_go_half_a_batch_too_far_at_most);
	RUN(surplus_that_stays_is_reported);
	RUN(cost_is_bounded_by_twice_the_optimum);
	RUN(cost_is_bounded_by_the_window_that_may_come);
	RUN(the_bound_is_sharp);
	RUN(nobody_is_cheaper_than_the_optimum);
	RUN(stock_takes_a_sixteenth_of_a_list);
	RUN(traces_are_what_they_were);
	return ktap_end();
}
