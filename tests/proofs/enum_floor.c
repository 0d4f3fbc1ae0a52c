// SPDX-License-Identifier: GPL-2.0
/*
 * core/hold/floor.c against a list of all that was ever sampled, along every short
 * trace.
 *
 * Bounds: up to 7 steps, each a sample or a restore; samples 0, 1, 64, 192, 448, 511,
 * 512 or 5000 ms after the last one or 70 ms before it, of 3 levels; costs from nothing to
 * more than any. And each step's arithmetic at the largest numbers that memory of 2^52
 * bytes comes to.
 */
#include "enum.h"
#include "floor.h"

#define STEPS_MOST	7
#define SPAN_MS		(FLOOR_SLOTS * FLOOR_SLOT_MS)
#define COST_MOST	100000UL	/* ns a page, floor.c */

/* What is not used, pages: of a guest of 4 PiB at most. */
#define PAGES_ALL	(1UL << 40)

static const long later[] = { 0, 1, 64, 192, 448, 511, 512, 5000, -70 };
static const unsigned long level[] = { 0, 1000, 1007 };

/* What was not used, pages: before a sample and at it, and when that was, in slots. */
static struct {
	u64 slot[STEPS_MOST];
	unsigned long was[STEPS_MOST];
	unsigned long is[STEPS_MOST];
	unsigned int nr;
} seen;

static void see(u64 slot, unsigned long was, unsigned long is)
{
	seen.slot[seen.nr] = slot;
	seen.was[seen.nr] = was;
	seen.is[seen.nr++] = is;
}

/* The furthest fall within the last FLOOR_SLOTS slots, from any time to a later one. */
static unsigned long grown(u64 newest)
{
	unsigned long most = 0;
	unsigned int from, to;

	for (from = 0; from < seen.nr; from++)
		for (to = from; to < seen.nr; to++)
			if (seen.slot[from] + FLOOR_SLOTS > newest &&
			    seen.was[from] > seen.is[to] &&
			    seen.was[from] - seen.is[to] > most)
				most = seen.was[from] - seen.is[to];
	return most;
}

/* As the text of aeration_floor_pages() has it, in numbers that cannot overflow. */
static void check(const struct floor *f, u64 newest)
{
	unsigned long got = aeration_floor_pages(f), is = grown(newest);
	unsigned __int128 ms = (unsigned __int128)is * f->ns_per_page / 1000000;

	EXPECT_EQ(f->newest, newest);
	EXPECT(f->ns_per_page <= COST_MOST);
	EXPECT(got >= is && got <= 2 * is);
	if (ms >= SPAN_MS)
		EXPECT_EQ(got, 2 * is);
	else
		EXPECT_EQ(got, is + (unsigned long)(ms * is / SPAN_MS));
}

static void sample(struct floor *f, u64 *now, u64 *newest)
{
	unsigned long was = f->unused, unused;
	unsigned int when = choose(sizeof(later) / sizeof(later[0]));

	*now += later[when];
	unused = level[choose(3)];
	if (*now / FLOOR_SLOT_MS > *newest)
		*newest = *now / FLOOR_SLOT_MS;
	see(*newest, was, unused);
	aeration_floor_sample(f, *now, unused);
	EXPECT_EQ(f->unused, unused);
}

static void every_trace_of_samples(void)
{
	u64 now, newest;
	struct floor f;
	unsigned int i;

	do {
		now = 1000;
		newest = now / FLOOR_SLOT_MS;
		seen.nr = 0;
		aeration_floor_init(&f, now, 1000);
		f.ns_per_page = 100000;
		for (i = 0; i < 5 && !ktap_case_bad; i++) {
			sample(&f, &now, &newest);
			check(&f, newest);
		}
		if (ktap_case_bad)
			show_path();
	} while (next_path());
	say_cases("traces of 5 samples, 27 kinds of each");
}

/* Which fall is in which slot matters most when slots come round. */
static void every_long_trace(void)
{
	static const unsigned int step[] = { 0, 1, 3, 7, 8, 9 };
	u64 now, newest;
	struct floor f;
	unsigned int i, pick;

	do {
		now = 63;
		seen.nr = 0;
		aeration_floor_init(&f, now, 1 << STEPS_MOST);
		f.ns_per_page = 3000;
		for (i = 0; i < STEPS_MOST && !ktap_case_bad; i++) {
			pick = choose(6);
			now += step[pick] * FLOOR_SLOT_MS;
			newest = now / FLOOR_SLOT_MS;
			/* Each a fall of another depth: a sum says which are in it. */
			see(newest, f.unused, f.unused - (1UL << i));
			aeration_floor_sample(&f, now, f.unused - (1UL << i));
			check(&f, newest);
		}
		if (ktap_case_bad)
			show_path();
	} while (next_path());
	say_cases("traces of 7 falls, 0, 1, 3, 7, 8 or 9 slots after each other");
}

/* The running mean stays among what was measured, and comes near it. */
static void every_trace_of_costs(void)
{
	static const u64 cost[] = { 0, 3, 400, 99999, 100000, 100001, ~0ULL };
	struct floor f;
	unsigned long least, most, was;
	unsigned int i;

	do {
		least = COST_MOST;
		most = 0;
		aeration_floor_init(&f, 0, 0);
		for (i = 0; i < 6 && !ktap_case_bad; i++) {
			unsigned long one, pages = 1UL << 9 * choose(2);
			u64 ns = cost[choose(7)];

			if (ns < ~0ULL)
				ns *= pages;
			one = ns / pages < COST_MOST ? ns / pages : COST_MOST;
			was = f.ns_per_page;
			least = one < least ? one : least;
			most = one > most ? one : most;
			aeration_floor_restored(&f, pages, ns);
			/* Each part of the mean is cut off by less than 1. */
			EXPECT(f.ns_per_page + 2 >= least);
			EXPECT(f.ns_per_page <= most + 3);
			EXPECT(f.ns_per_page <= COST_MOST);
			if (!was)
				EXPECT_EQ(f.ns_per_page, one);
		}
		if (ktap_case_bad)
			show_path();
	} while (next_path());
	say_cases("traces of 6 restores, 7 costs, of one page or 512");
}

/* Each number that a sum or a product may come to. */
static void large_numbers(void)
{
	struct floor f;
	unsigned int a, b, c;
	u64 newest;

	for (a = 0; a <= 40; a++)
		for (b = 0; b <= a; b++)
			for (c = 0; c <= 17; c++) {
				unsigned long fell = (1UL << a) - (1UL << b) + (a == b);

				newest = (1ULL << 50) / FLOOR_SLOT_MS;
				seen.nr = 0;
				see(newest, PAGES_ALL, PAGES_ALL - fell);
				aeration_floor_init(&f, 1ULL << 50, PAGES_ALL);
				f.ns_per_page = c < 17 ? 1UL << c : COST_MOST;
				if (f.ns_per_page > COST_MOST)
					f.ns_per_page = COST_MOST;
				aeration_floor_sample(&f, 1ULL << 50,
						      PAGES_ALL - fell);
				check(&f, newest);
				cases++;
			}
	say_cases("falls of up to 2^40 pages at every cost");
}

int main(void)
{
	ENUM(every_trace_of_samples);
	ENUM(every_long_trace);
	ENUM(every_trace_of_costs);
	ENUM(large_numbers);
	return enum_end();
}
