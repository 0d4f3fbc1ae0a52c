// SPDX-License-Identifier: GPL-2.0
/* The pacer's windows, checked against one that remembers everything. */
#include "pacer_help.h"

#define ROUNDS	300
#define SAMPLES	2000

/* What was seen to be free at @now is surplus a window later, and not before. */
static void check_length(struct pacer p, u64 now, u32 window)
{
	EXPECT_EQ(aeration_pacer_window_ms(&p), window);
	aeration_pacer_sample(&p, now, 200000);
	EXPECT_EQ(aeration_pacer_surplus(&p), 200000);
	aeration_pacer_sample(&p, now + 1, 10);
	aeration_pacer_sample(&p, now + 2, 200000);
	aeration_pacer_sample(&p, now + 2 + window - 1, 200000);
	EXPECT_EQ(aeration_pacer_surplus(&p), 10);
	aeration_pacer_sample(&p, now + 2 + window + slot_of(window), 200000);
	EXPECT_EQ(aeration_pacer_surplus(&p), 200000);
}

/* Every window there is, each as often doubled as it may be. */
static void windows_are_as_long_as_asked_for(void)
{
	u32 window;

	for (window = 1; window <= PACER_WINDOW_MAX_MS; window++) {
		unsigned int doubled;

		for (doubled = 0; window << doubled <= PACER_WINDOW_MAX_MS;
		     doubled++) {
			u64 now = ktap_random() % 1000000;
			struct pacer p;

			aeration_pacer_init(&p, now, window,
					    PACER_WINDOW_MAX_MS, 0, STEP);
			now = back_off(&p, now, doubled, 200000);
			check_length(p, now, window << doubled);
			/* One more is one too many, or not. */
			check_length(p, now + ktap_random() % window,
				     window << doubled);
		}
	}
}

/* And as long when they have come back, whichever way. */
static void windows_come_back_as_they_were(void)
{
	u32 window;

	for (window = 1; window <= PACER_WINDOW_MAX_MS; window += 7) {
		u64 now = ktap_random() % 1000000, calm;
		struct pacer p;

		aeration_pacer_init(&p, now, window, PACER_WINDOW_MAX_MS, 0,
				    STEP);
		now = back_off(&p, now, 1 + ktap_random() % 16, 200000);
		calm = (PACER_CALM_WINDOWS + 1) *
		       (u64)aeration_pacer_window_ms(&p);
		for (; p.doubled; now += calm / 64 + 1)
			aeration_pacer_sample(&p, now, 200000);
		now += 2 * window;
		aeration_pacer_sample(&p, now, 200000);
		check_length(p, now + 2 * window, window);
	}
}

/* The lowest sample of the last @window ms, and the one in force before it. */
static unsigned long lowest(const u64 *t, const unsigned long *free, int last,
			    u64 window)
{
	unsigned long low = free[last];
	int i;

	for (i = last; i >= 0; i--) {
		if (free[i] < low)
			low = free[i];
		if (t[i] + window <= t[last])
			return low;
	}
	return 0;
}

/* Random traces: never more than the window allows, always what it surely does. */
static void random_traces(void)
{
	static unsigned long free[SAMPLES];
	static u64 t[SAMPLES];
	int round, i;

	for (round = 0; round < ROUNDS; round++) {
		u32 window = 1 + ktap_random() % 5000;
		unsigned long level = ktap_random() % 1000000;
		u64 now = ktap_random() % 100000;
		struct pacer p;

		aeration_pacer_init(&p, now, window, 0, 0, STEP);
		for (i = 0; i < SAMPLES; i++) {
			now += ktap_random() % (window / 4 + 2);
			if (!(ktap_random() % 40))
				level = ktap_random() % 1000000;
			t[i] = now;
			free[i] = level;
			aeration_pacer_sample(&p, now, level);
			EXPECT(aeration_pacer_surplus(&p) <=
			       lowest(t, free, i, window));
			EXPECT(aeration_pacer_surplus(&p) >=
			       lowest(t, free, i,
				      window + slot_of(window)));
		}
	}
}

/*
 * Random traces with regret: never more than the window in force allows, and
 * always, in the end, what stays.
 */
static void random_regret(void)
{
	static unsigned long free[SAMPLES];
	static u64 t[SAMPLES];
	unsigned int backed_off = 0;
	int round, i;

	for (round = 0; round < ROUNDS; round++) {
		u32 window = 1 + ktap_random() % 5000;
		unsigned long level = ktap_random() % 1000000;
		u64 now = ktap_random() % 100000;
		struct pacer p;

		aeration_pacer_init(&p, now, window, PACER_WINDOW_MAX_MS, 0,
				    STEP);
		for (i = 0; i < SAMPLES; i++) {
			unsigned long surplus;

			now += ktap_random() % (window / 4 + 2);
			if (!(ktap_random() % 40))
				level = ktap_random() % 1000000;
			t[i] = now;
			free[i] = level;
			aeration_pacer_sample(&p, now, level);
			EXPECT(p.real.out <= level);
			surplus = aeration_pacer_surplus(&p);
			EXPECT(surplus <=
			       lowest(t, free, i,
				      aeration_pacer_window_ms(&p)));
			if (surplus > p.real.out)
				aeration_pacer_told(&p, now, surplus - p.real.out);
			if (!(ktap_random() % 100))
				aeration_pacer_taken(&p, now,
						     ktap_random() % 100000);
			EXPECT(aeration_pacer_window_ms(&p) >= window);
			EXPECT(aeration_pacer_window_ms(&p) <=
			       PACER_WINDOW_MAX_MS);
			backed_off += aeration_pacer_window_ms(&p) > window;
		}
		now = rest(&p, now, 3 * PACER_WINDOW_MAX_MS, level);
		EXPECT_EQ(aeration_pacer_surplus(&p), level);
	}
	EXPECT(backed_off > ROUNDS);
}

/* The surplus at a time until which nothing changes. */
static unsigned long surplus_at(struct pacer p, u64 ms)
{
	aeration_pacer_sample(&p, ms, p.free);
	return aeration_pacer_surplus(&p);
}

static u32 window_at(struct pacer p, u64 ms)
{
	aeration_pacer_sample(&p, ms, p.free);
	return aeration_pacer_window_ms(&p);
}

/*
 * Nobody has to look before the pacer says so: until then the surplus grows by
 * less than a step, and then there is that step, or free memory has settled, or
 * the window is shorter.
 */
static void nothing_comes_sooner(void)
{
	int round, i, grown = 0, settled = 0, halved = 0;

	for (round = 0; round < ROUNDS; round++) {
		u32 window = ktap_random() % 5000;
		unsigned long level = ktap_random() % 100000;
		u64 now = ktap_random() % 100000;
		struct pacer p;

		aeration_pacer_init(&p, now, window, PACER_WINDOW_MAX_MS, 0,
				    STEP);
		for (i = 0; i < SAMPLES / 10; i++) {
			unsigned long surplus;
			u32 window_now;
			u64 next;

			if (!(ktap_random() % 100))
				now = back_off(&p, now, 2, 200000);

			now += ktap_random() % (window / 4 + 2);
			if (!(ktap_random() % 12))
				level = ktap_random() % 100000;
			aeration_pacer_sample(&p, now, level);
			surplus = aeration_pacer_surplus(&p) + STEP;
			next = aeration_pacer_next_ms(&p);
			window_now = aeration_pacer_window_ms(&p);
			if (next <= now) {
				EXPECT(aeration_pacer_settled(&p, now));
				continue;
			}
			EXPECT_EQ(window_at(p, next - 1), window_now);
			EXPECT(surplus_at(p, next - 1) < surplus);
			EXPECT(surplus_at(p, now + ktap_random() %
					  (next - now)) < surplus);
			EXPECT(!aeration_pacer_settled(&p, next - 1));
			if (surplus_at(p, next) >= surplus)
				grown++;
			else if (aeration_pacer_settled(&p, next))
				settled++;
			else if (window_at(p, next) < window_now)
				halved++;
			else
				EXPECT(!"there is a reason to look");
		}
	}
	EXPECT(grown > ROUNDS);
	EXPECT(settled > ROUNDS);
	EXPECT(halved > 10);
}

int main(void)
{
	RUN(windows_are_as_long_as_asked_for);
	RUN(windows_come_back_as_they_were);
	RUN(random_traces);
	RUN(random_regret);
	RUN(nothing_comes_sooner);
	return ktap_end();
}
