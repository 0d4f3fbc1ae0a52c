// SPDX-License-Identifier: GPL-2.0
/* The gate of a squeeze: what is cold, how large a slice is, and why it ends. */
#include <limits.h>
#include "gate.h"
#include "ktap.h"

static struct gate_now at(u64 ms, unsigned long cached, unsigned long busy)
{
	return (struct gate_now){ .ms = ms, .cached = cached, .busy = busy };
}

/* A squeeze of 100000 pages, of which none stay, and five seconds for it. */
static struct gate begun(void)
{
	struct gate_now now = at(1000, 100000, 0);
	struct gate gate;

	aeration_gate_begin(&gate, &now, 0, 5000);
	return gate;
}

static enum gate_end next(const struct gate *gate, struct gate_now now)
{
	unsigned long pages = 0;
	enum gate_end end = aeration_gate_next(gate, &now, &pages);

	EXPECT((end == GATE_OPEN) == (pages > 0));
	return end;
}

static void what_is_in_use_is_not_cold(void)
{
	struct gate_now now = at(0, 1000, 300);

	EXPECT_EQ(aeration_gate_cold(&now, 0), 700);
	EXPECT_EQ(aeration_gate_cold(&now, 400), 600);
	EXPECT_EQ(aeration_gate_cold(&now, 5000), 0);
	now.busy = 2000;
	EXPECT_EQ(aeration_gate_cold(&now, 0), 0);
}

static void it_ends_where_it_should(void)
{
	struct gate_now now = at(0, 2000, 0);
	unsigned long pages;
	struct gate gate;

	aeration_gate_begin(&gate, &now, 1500, 5000);
	EXPECT_EQ(aeration_gate_next(&gate, &now, &pages), GATE_OPEN);
	EXPECT_EQ(pages, 500);
	EXPECT_EQ(aeration_gate_slice(&gate, pages), 500);
	EXPECT_EQ(aeration_gate_slice(&gate, 5000), GATE_SLICE_FIRST);
	/* A little more than that is not worth what the kernel does to find it. */
	now.cached = 1500 + GATE_SLICE_LEAST;
	EXPECT_EQ(aeration_gate_next(&gate, &now, &pages), GATE_OPEN);
	now.cached--;
	EXPECT_EQ(aeration_gate_next(&gate, &now, &pages), GATE_ENOUGH);
	now.cached = 0;
	EXPECT_EQ(aeration_gate_next(&gate, &now, &pages), GATE_ENOUGH);
}

static void slices_take_their_time(void)
{
	struct gate gate = begun();
	unsigned int i;

	EXPECT_EQ(gate.slice, GATE_SLICE_FIRST);
	aeration_gate_took(&gate, 1024, 1024, GATE_SLICE_MS * 1000);
	EXPECT_EQ(gate.slice, 1024);
	aeration_gate_took(&gate, 1024, 1024, GATE_SLICE_MS * 2000);
	EXPECT_EQ(gate.slice, 512);
	/* A fast one is no reason to believe that twice as much would be, and more. */
	aeration_gate_took(&gate, 512, 512, 1);
	EXPECT_EQ(gate.slice, 1024);
	for (i = 0; i < 20; i++)
		aeration_gate_took(&gate, gate.slice, gate.slice, 0);
	EXPECT_EQ(gate.slice, GATE_SLICE_MOST);
	aeration_gate_took(&gate, gate.slice, gate.slice, ULLONG_MAX);
	EXPECT_EQ(gate.slice, GATE_SLICE_LEAST);
}

static void what_was_taken_is_counted(void)
{
	struct gate gate = begun();

	aeration_gate_took(&gate, 1024, 1000, 1000);
	aeration_gate_took(&gate, 1024, 500, 1000);
	EXPECT_EQ(gate.taken, 1500);
}

static void its_time_ends(void)
{
	struct gate gate = begun();

	EXPECT_EQ(next(&gate, at(5999, 100000, 0)), GATE_OPEN);
	EXPECT_EQ(next(&gate, at(6000, 100000, 0)), GATE_LATE);
}

static void who_needs_memory_ends_it(void)
{
	struct gate_now now = at(1001, 100000, 0);
	struct gate gate = begun();
	unsigned int i;

	now.stalls = 1;
	EXPECT_EQ(next(&gate, now), GATE_PRESSURE);
	now.stalls = 0;
	EXPECT_EQ(next(&gate, now), GATE_OPEN);
	/* Little, and little of it: somebody waits for memory in any guest. */
	aeration_gate_rested(&gate, 5000, GATE_STALL_LEAST_US);
	EXPECT_EQ(next(&gate, now), GATE_OPEN);
	aeration_gate_rested(&gate, 5000, 1);
	EXPECT_EQ(next(&gate, now), GATE_PRESSURE);
	/* The same in a longer time is less. */
	aeration_gate_rested(&gate, 90000, 0);
	EXPECT_EQ(next(&gate, now), GATE_OPEN);
	/* However long all was well, it is the last rests that count. */
	for (i = 0; i < 1000; i++)
		aeration_gate_rested(&gate, 5000, 0);
	for (i = 0; i < 4; i++)
		aeration_gate_rested(&gate, 5000, 5000);
	EXPECT_EQ(next(&gate, now), GATE_PRESSURE);
}

static void what_is_read_again_ends_it(void)
{
	struct gate_now now = at(1001, 100000, 0);
	struct gate gate = begun();

	now.refaults = GATE_REFAULT_LEAST;
	EXPECT_EQ(next(&gate, now), GATE_OPEN);
	now.refaults++;
	EXPECT_EQ(next(&gate, now), GATE_REFAULTS);
	aeration_gate_took(&gate, 32768, 32768, 1000);
	EXPECT_EQ(next(&gate, now), GATE_OPEN);
	now.refaults = 32768 / GATE_REFAULT_SHARE + 1;
	EXPECT_EQ(next(&gate, now), GATE_REFAULTS);
	/* What the kernel does not count is looked for where it may be. */
	now.refaults = 0;
	now.cached = gate.base.cached - 32768 + 32768 / GATE_REFAULT_SHARE;
	EXPECT(!aeration_gate_doubts(&gate, &now));
	now.cached++;
	EXPECT(aeration_gate_doubts(&gate, &now));
	aeration_gate_looked(&gate, &now);
	EXPECT(!aeration_gate_doubts(&gate, &now));
	now.again = 32768 / GATE_REFAULT_SHARE;
	EXPECT_EQ(next(&gate, now), GATE_OPEN);
	now.refaults = 1;
	EXPECT_EQ(next(&gate, now), GATE_REFAULTS);
	/* What was read again before does not count. */
	now = at(1000, 100000, 0);
	now.refaults = 1 << 20;
	aeration_gate_begin(&gate, &now, 0, 5000);
	EXPECT_EQ(next(&gate, now), GATE_OPEN);
}

/* A cgroup at its limit goes on waiting, and reading, whatever others do. */
static void what_goes_on_anyway_does_not_end_it(void)
{
	struct gate_now now = at(1040, 100000, 0);
	struct gate gate = begun();

	now.refaults = 400;
	aeration_gate_base(&gate, &now, 40000, 39000);
	EXPECT_EQ(next(&gate, now), GATE_OPEN);
	aeration_gate_rested(&gate, 40000, 40000);
	EXPECT_EQ(next(&gate, now), GATE_OPEN);
	/* Ten pages in a millisecond; as many again may come, and what is let pass. */
	now.ms = 1140;
	now.refaults = 400 + 2000 + GATE_REFAULT_LEAST;
	EXPECT_EQ(next(&gate, now), GATE_OPEN);
	now.refaults++;
	EXPECT_EQ(next(&gate, now), GATE_REFAULTS);
	/* Who waited for a tenth of the time may wait for two tenths. */
	gate = begun();
	now = at(1040, 100000, 0);
	aeration_gate_base(&gate, &now, 40000, 4000);
	aeration_gate_rested(&gate, 40000, 7800);
	EXPECT_EQ(next(&gate, now), GATE_OPEN);
	aeration_gate_rested(&gate, 1, 300);
	EXPECT_EQ(next(&gate, now), GATE_PRESSURE);
	/* Nothing is divided by no time. */
	gate = begun();
	now = at(1000, 100000, 0);
	aeration_gate_base(&gate, &now, 0, 0);
	EXPECT_EQ(next(&gate, now), GATE_OPEN);
}

static void where_nothing_is_found_it_gives_up(void)
{
	struct gate gate = begun();

	aeration_gate_took(&gate, 1024, 128, 1000);
	EXPECT_EQ(next(&gate, at(1001, 100000, 0)), GATE_OPEN);
	aeration_gate_took(&gate, 1024, 127, 1000);
	EXPECT_EQ(next(&gate, at(1001, 100000, 0)), GATE_BARREN);
}

/* However it goes, no more is asked for than is cached beyond what stays. */
static void never_more_than_there_is(void)
{
	unsigned int run, step;

	for (run = 0; run < 2000; run++) {
		struct gate_now now = at(0, ktap_random() % 1000000, 0);
		unsigned long keep = ktap_random() % 1000000, pages;
		struct gate gate;

		aeration_gate_begin(&gate, &now, keep, 60000);
		for (step = 0; step < 1000; step++) {
			if (aeration_gate_next(&gate, &now, &pages) !=
			    GATE_OPEN)
				break;
			EXPECT(pages && pages <= now.cached - keep);
			pages = aeration_gate_slice(&gate, pages);
			EXPECT(pages <= GATE_SLICE_MOST);
			aeration_gate_took(&gate, pages, pages,
					   ktap_random() % 100000);
			now.cached -= pages;
			now.ms += ktap_random() % 100;
		}
	}
}

int main(void)
{
	RUN(what_is_in_use_is_not_cold);
	RUN(it_ends_where_it_should);
	RUN(slices_take_their_time);
	RUN(what_was_taken_is_counted);
	RUN(its_time_ends);
	RUN(who_needs_memory_ends_it);
	RUN(what_is_read_again_ends_it);
	RUN(what_goes_on_anyway_does_not_end_it);
	RUN(where_nothing_is_found_it_gives_up);
	RUN(never_more_than_there_is);
	return ktap_end();
}
