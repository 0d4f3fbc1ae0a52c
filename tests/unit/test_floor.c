// SPDX-License-Identifier: GPL-2.0
/* The floor: it rises as fast as the guest allocates, and falls when it stops. */
#include <limits.h>
#include "floor.h"
#include "ktap.h"

#define SPAN_MS	(FLOOR_SLOTS * FLOOR_SLOT_MS)

static void nothing_at_rest(void)
{
	struct floor f;
	u64 t;

	aeration_floor_init(&f, 1000, 50000);
	EXPECT_EQ(aeration_floor_pages(&f), 0);
	for (t = 1000; t < 9000; t += 62)
		aeration_floor_sample(&f, t, 50000);
	EXPECT_EQ(aeration_floor_pages(&f), 0);
	/* Memory that is given back is no reason to keep any. */
	aeration_floor_sample(&f, 9000, 90000);
	EXPECT_EQ(aeration_floor_pages(&f), 0);
}

static void what_was_taken_is_kept_ready(void)
{
	struct floor f;

	aeration_floor_init(&f, 0, 50000);
	aeration_floor_sample(&f, 100, 40000);
	EXPECT_EQ(aeration_floor_pages(&f), 10000);
	aeration_floor_sample(&f, 200, 35000);
	EXPECT_EQ(aeration_floor_pages(&f), 15000);
	/* Giving back does not undo having taken. */
	aeration_floor_sample(&f, 300, 50000);
	EXPECT_EQ(aeration_floor_pages(&f), 15000);
}

static void it_is_forgotten_after_the_span(void)
{
	struct floor f;

	aeration_floor_init(&f, 0, 50000);
	aeration_floor_sample(&f, 10, 40000);
	aeration_floor_sample(&f, SPAN_MS - 1, 40000);
	EXPECT_EQ(aeration_floor_pages(&f), 10000);
	aeration_floor_sample(&f, SPAN_MS + FLOOR_SLOT_MS, 40000);
	EXPECT_EQ(aeration_floor_pages(&f), 0);
	/* However long nobody looked. */
	aeration_floor_sample(&f, SPAN_MS + 2 * FLOOR_SLOT_MS, 30000);
	aeration_floor_sample(&f, 1ULL << 50, 30000);
	EXPECT_EQ(aeration_floor_pages(&f), 0);
}

static void a_clock_that_steps_back_is_survived(void)
{
	struct floor f;

	aeration_floor_init(&f, 10000, 50000);
	aeration_floor_sample(&f, 5000, 40000);
	EXPECT_EQ(aeration_floor_pages(&f), 10000);
	aeration_floor_sample(&f, 10000 + 2 * SPAN_MS, 40000);
	EXPECT_EQ(aeration_floor_pages(&f), 0);
}

static void a_slow_hypervisor_wants_more_but_not_without_end(void)
{
	struct floor f;

	aeration_floor_init(&f, 0, 1000000);
	/* 10 us a page: 256 pages in 2.56 ms. */
	aeration_floor_restored(&f, 256, 2560000);
	EXPECT_EQ(f.ns_per_page, 10000);
	aeration_floor_sample(&f, 10, 990000);
	/* 10000 pages take 100 ms of the 512: a fifth more. */
	EXPECT_EQ(aeration_floor_pages(&f), 10000 + 10000 * 100 / SPAN_MS);
	/* Minutes a page: a hiccup, bounded, and the floor with it. */
	aeration_floor_restored(&f, 1, ULLONG_MAX);
	EXPECT(f.ns_per_page <= 100000);
	aeration_floor_sample(&f, 20, 0);
	EXPECT_EQ(aeration_floor_pages(&f), 2 * 1000000);
}

static void the_cost_follows_what_is_measured(void)
{
	struct floor f;
	int i;

	aeration_floor_init(&f, 0, 0);
	for (i = 0; i < 100; i++)
		aeration_floor_restored(&f, 512, 512 * 4000ULL);
	EXPECT_EQ(f.ns_per_page, 4000);
	for (i = 0; i < 100; i++)
		aeration_floor_restored(&f, 512, 512 * 400ULL);
	EXPECT(f.ns_per_page >= 400 && f.ns_per_page < 410);
	/* A restore too quick to measure. */
	for (i = 0; i < 100; i++)
		aeration_floor_restored(&f, 512, 0);
	EXPECT(f.ns_per_page < 10);
}

int main(void)
{
	RUN(nothing_at_rest);
	RUN(what_was_taken_is_kept_ready);
	RUN(it_is_forgotten_after_the_span);
	RUN(a_clock_that_steps_back_is_survived);
	RUN(a_slow_hypervisor_wants_more_but_not_without_end);
	RUN(the_cost_follows_what_is_measured);
	return ktap_end();
}
