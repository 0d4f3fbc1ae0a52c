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

static void what_is_taken_again_counts_once(void)
{
	struct floor f;
	u64 t;

	/* Within a slot, across slots, and by however many looks: down, further, up. */
	aeration_floor_init(&f, 0, 50000);
	for (t = 8; t < 4000; t += 24) {
		aeration_floor_sample(&f, t, 45000);
		aeration_floor_sample(&f, t + 8, 40000);
		EXPECT_EQ(aeration_floor_pages(&f), 10000);
		aeration_floor_sample(&f, t + 16, 50000);
		EXPECT_EQ(aeration_floor_pages(&f), 10000);
	}
	/* A fall that begins higher, or ends lower, than any before it. */
	aeration_floor_sample(&f, t, 51000);
	aeration_floor_sample(&f, t + 1, 40000);
	EXPECT_EQ(aeration_floor_pages(&f), 11000);
	aeration_floor_sample(&f, t + 2, 50500);
	aeration_floor_sample(&f, t + 3, 39000);
	EXPECT_EQ(aeration_floor_pages(&f), 12000);
	/* What rises only has not fallen. */
	aeration_floor_init(&f, 0, 1000);
	for (t = 8; t < 4000; t += 8)
		aeration_floor_sample(&f, t, 1000 + (unsigned long)t);
	EXPECT_EQ(aeration_floor_pages(&f), 0);
}

static void what_grows_beneath_a_churn_counts_too(void)
{
	unsigned long unused = 1000000;
	struct floor f;
	u64 t;

	aeration_floor_init(&f, 0, unused);
	for (t = 8; t < 4096; t += 8) {
		/* 100 more and 90 less each 16 ms: 10 are kept. */
		unused += t % 16 ? -100UL : 90UL;
		aeration_floor_sample(&f, t, unused);
	}
	/* The span begins within a slot, and may begin or end with a fall. */
	EXPECT(aeration_floor_pages(&f) >= 7 * FLOOR_SLOT_MS / 16 * 10);
	EXPECT(aeration_floor_pages(&f) <= FLOOR_SLOTS * FLOOR_SLOT_MS / 16 * 10 + 200);
}

/*
 * A guest in which all but some memory is held, MiB and ms, while a program takes and
 * frees the same over and over for a while.
 */
#define GUEST		1861
#define HELD		1724
#define RESERVE		127	/* what stays free beside the floor */
#define HYSTERESIS	30
#define CHURN		256
#define TAKEN		4	/* in a ms; what is freed goes four times as fast */
#define LONG_MS		3000
#define LOOK_MS		8
#define PAGES_MIB	256

static unsigned long churn(struct floor *f, unsigned long held, unsigned long ns)
{
	unsigned long used = 0, free, floor, back, debt = 0;
	bool filling = false, freeing = false;
	u64 t;

	aeration_floor_init(f, 0, GUEST * PAGES_MIB);
	aeration_floor_restored(f, 1, ns);
	for (t = 1; t < 2 * LONG_MS; t++) {
		used = freeing ? used - 4 * TAKEN : used + TAKEN;
		if (t >= LONG_MS)
			used = 0;
		if (used + held > GUEST)
			used = GUEST - held;
		if (used >= CHURN || !used)
			freeing = used;
		free = GUEST - held - used;
		if (!(t % LOOK_MS) || filling)
			aeration_floor_sample(f, t, (GUEST - used) * PAGES_MIB);
		floor = RESERVE + aeration_floor_pages(f) / PAGES_MIB;
		filling = free < floor && (filling || free < floor - HYSTERESIS);
		debt = filling ? debt + 1000000 / ns : 0;
		if (!filling)
			continue;
		back = debt / PAGES_MIB;
		back = back < floor - free ? back : floor - free;
		back = back < held ? back : held;
		held -= back;
		debt -= back * PAGES_MIB;
	}
	return held;
}

static void a_churn_brings_back_what_it_takes_and_a_floor(void)
{
	static const unsigned long ns[] = { 100, 457, 1000, 3000, 10000 };
	unsigned int i;
	struct floor f;

	for (i = 0; i < sizeof(ns) / sizeof(ns[0]); i++) {
		unsigned long back = HELD - churn(&f, HELD, ns[i]);

		EXPECT(back >= CHURN);
		EXPECT(back <= 3 * CHURN);
	}
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
	RUN(what_is_taken_again_counts_once);
	RUN(what_grows_beneath_a_churn_counts_too);
	RUN(a_churn_brings_back_what_it_takes_and_a_floor);
	RUN(it_is_forgotten_after_the_span);
	RUN(a_clock_that_steps_back_is_survived);
	RUN(a_slow_hypervisor_wants_more_but_not_without_end);
	RUN(the_cost_follows_what_is_measured);
	return ktap_end();
}
