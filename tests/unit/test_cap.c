// SPDX-License-Identifier: GPL-2.0
/* The cap: over any time no more goes than a second's worth and what the time is worth. */
#include "cap.h"
#include "ktap.h"

#define RATE	1000U	/* pages a second: one a ms */

static void a_second_s_worth_goes_at_once(void)
{
	struct cap cap = { };

	EXPECT_EQ(aeration_cap_spend(&cap, 5000, RATE, RATE), 0);
	EXPECT_EQ(aeration_cap_spend(&cap, 5000, RATE, 1), 2);
	EXPECT_EQ(aeration_cap_spend(&cap, 5002, RATE, 0), 0);
	EXPECT_EQ(aeration_cap_spend(&cap, 9000, RATE, RATE), 0);
}

static void too_much_at_once_takes_as_long(void)
{
	struct cap cap = { };

	EXPECT_EQ(aeration_cap_spend(&cap, 5000, RATE, 10 * RATE), 9001);
	EXPECT_EQ(aeration_cap_spend(&cap, 9000, RATE, 0), 5001);
	EXPECT_EQ(aeration_cap_spend(&cap, 14001, RATE, 0), 0);
}

static void no_cap(void)
{
	struct cap cap = { };

	EXPECT_EQ(aeration_cap_spend(&cap, 5000, 0, ~0UL), 0);
	EXPECT_EQ(aeration_cap_spend(&cap, 5000, RATE, RATE), 0);
}

static void time_that_stands_goes_back_or_leaps(void)
{
	struct cap cap = { };

	aeration_cap_spend(&cap, 5000, RATE, 2 * RATE);
	EXPECT_EQ(aeration_cap_spend(&cap, 4000, RATE, 0), 1001);
	EXPECT_EQ(aeration_cap_spend(&cap, 5000, RATE, 0), 1001);
	EXPECT_EQ(aeration_cap_spend(&cap, ~0ULL, ~0U, 0), 0);
	EXPECT_EQ(cap.debt, 0);
	/* So long that the pages it is worth are 0, in 64 bits. */
	EXPECT_EQ(cap_owed(&(struct cap){ .debt = 1 }, 1ULL << 61, RATE), 0);
}

/* A caller that obeys, over half an hour: never more, and not much less. */
static void random_passes(void)
{
	unsigned long long now = 1, went = 0, pages, wait;
	struct cap cap = { };

	while (now < 1800000) {
		pages = ktap_random() % (3 * RATE);
		wait = aeration_cap_spend(&cap, now, RATE, pages);
		went += pages;
		EXPECT(went <= now * RATE / 1000 + RATE + 3 * RATE);
		now += wait + (wait ? 0 : 1);
	}
	EXPECT(went >= 1800000ULL * RATE / 1000);
}

int main(void)
{
	RUN(a_second_s_worth_goes_at_once);
	RUN(too_much_at_once_takes_as_long);
	RUN(no_cap);
	RUN(time_that_stands_goes_back_or_leaps);
	RUN(random_passes);
	return ktap_end();
}
