// SPDX-License-Identifier: GPL-2.0
/* The pacer, case by case. */
#include "pacer_help.h"

#define W	1000

static void nothing_before_a_whole_window(void)
{
	struct pacer p;
	u64 t, first = 0;

	aeration_pacer_init(&p, 5000, W, 0, 0, STEP);
	for (t = 5000; t < 9000 && !first; t += aeration_pacer_period_ms(&p)) {
		aeration_pacer_sample(&p, t, 100000);
		if (aeration_pacer_surplus(&p))
			first = t;
	}
	EXPECT(first >= 5000 + W);
	EXPECT(first <= 5000 + W + slot_of(W) + aeration_pacer_period_ms(&p));
	EXPECT_EQ(aeration_pacer_surplus(&p), 100000);
}

static void memory_taken_within_the_window_is_no_surplus(void)
{
	struct pacer p;
	u64 t;

	/* Freed and taken again every 400 ms. */
	aeration_pacer_init(&p, 0, W, 0, 0, STEP);
	for (t = 0; t < 20000; t += aeration_pacer_period_ms(&p)) {
		aeration_pacer_sample(&p, t, t / 400 % 2 ? 150000 : 20000);
		EXPECT(aeration_pacer_surplus(&p) <= 20000);
	}
	EXPECT_EQ(aeration_pacer_surplus(&p), 20000);
}

static void a_fall_counts_at_once(void)
{
	struct pacer p;
	u64 t;

	aeration_pacer_init(&p, 0, W, 0, 0, STEP);
	for (t = 0; t < 5000; t += 50)
		aeration_pacer_sample(&p, t, 100000);
	EXPECT_EQ(aeration_pacer_surplus(&p), 100000);
	aeration_pacer_sample(&p, t, 300);
	EXPECT_EQ(aeration_pacer_surplus(&p), 300);
	EXPECT_EQ(aeration_pacer_surplus_now(&p), 300);
}

static void the_reserve_stays(void)
{
	struct pacer p;
	u64 t;

	aeration_pacer_init(&p, 0, W, 0, 4000, STEP);
	for (t = 0; t < 5000; t += 50)
		aeration_pacer_sample(&p, t, 10000);
	EXPECT_EQ(aeration_pacer_surplus(&p), 6000);
	aeration_pacer_set_reserve(&p, 10001);
	EXPECT_EQ(aeration_pacer_surplus(&p), 0);
	EXPECT_EQ(aeration_pacer_surplus_now(&p), 0);
}

static void a_window_of_nothing_is_at_once(void)
{
	struct pacer p;

	aeration_pacer_init(&p, 0, 0, 0, 100, STEP);
	aeration_pacer_sample(&p, 0, 5000);
	EXPECT_EQ(aeration_pacer_surplus(&p), 4900);
	aeration_pacer_sample(&p, 0, 50);
	EXPECT_EQ(aeration_pacer_surplus(&p), 0);
}

/* Nobody looked for a long time: what rose meanwhile has to wait a window. */
static void a_gap_is_not_a_window(void)
{
	struct pacer p;
	u64 t;

	aeration_pacer_init(&p, 0, W, 0, 0, STEP);
	for (t = 0; t < 5000; t += 50)
		aeration_pacer_sample(&p, t, 1000);
	aeration_pacer_sample(&p, 900000, 80000);
	EXPECT_EQ(aeration_pacer_surplus(&p), 1000);
	for (t = 900050; t <= 900000 + W - 50; t += 50) {
		aeration_pacer_sample(&p, t, 80000);
		EXPECT_EQ(aeration_pacer_surplus(&p), 1000);
	}
	for (; t < 900000 + 2 * W; t += 50)
		aeration_pacer_sample(&p, t, 80000);
	EXPECT_EQ(aeration_pacer_surplus(&p), 80000);
}

static void a_clock_that_stands_or_goes_back(void)
{
	struct pacer p;
	int i;

	aeration_pacer_init(&p, 5000, W, 0, 0, STEP);
	for (i = 0; i < 100; i++)
		aeration_pacer_sample(&p, 5000 - i, 100000);
	EXPECT_EQ(aeration_pacer_surplus(&p), 0);
	EXPECT(!aeration_pacer_settled(&p, 0));
}

static void settled_after_two_windows_without_a_step(void)
{
	struct pacer p;
	u64 t;

	aeration_pacer_init(&p, 0, W, 0, 0, STEP);
	for (t = 0; t <= 2 * W; t += 50) {
		aeration_pacer_sample(&p, t, 100000 + t % 3);
		EXPECT(!aeration_pacer_settled(&p, t));
	}
	aeration_pacer_sample(&p, t, 100000);
	EXPECT(aeration_pacer_settled(&p, t));
	EXPECT(!aeration_pacer_moved(&p, 100000 + STEP - 1));
	EXPECT(!aeration_pacer_moved(&p, 100000 - STEP + 1));
	EXPECT(aeration_pacer_moved(&p, 100000 + STEP));
	EXPECT(aeration_pacer_moved(&p, 100000 - STEP));
	aeration_pacer_sample(&p, t, 100000 - STEP);
	EXPECT(!aeration_pacer_settled(&p, t));
}

/* Many small moves in one direction are a move. */
static void a_drip_is_noticed(void)
{
	struct pacer p;
	u64 t, noticed = 0;

	aeration_pacer_init(&p, 0, W, 0, 0, STEP);
	aeration_pacer_sample(&p, 0, 100000);
	for (t = 1; t < 100 && !noticed; t++)
		if (aeration_pacer_moved(&p, 100000 - 100 * t))
			noticed = t;
	EXPECT_EQ(noticed, (STEP + 99) / 100);
}

static void budgets(void)
{
	EXPECT_EQ(aeration_pacer_budget(1000, 0, 5000), 1000);
	EXPECT_EQ(aeration_pacer_budget(1000, 400, 5000), 600);
	EXPECT_EQ(aeration_pacer_budget(1000, 400, 50), 50);
	EXPECT_EQ(aeration_pacer_budget(1000, 1000, 5000), 0);
	EXPECT_EQ(aeration_pacer_budget(1000, 2000, 5000), 0);
	EXPECT_EQ(aeration_pacer_budget(0, 0, 5000), 0);
	EXPECT(!aeration_pacer_fits(0, 0));
	EXPECT(!aeration_pacer_fits(0, 10));
	EXPECT(!aeration_pacer_fits(4, 10));
	EXPECT(aeration_pacer_fits(5, 10));
	EXPECT(!aeration_pacer_fits(5, 11));
	EXPECT(aeration_pacer_fits(6, 11));
	EXPECT(aeration_pacer_fits(~0UL, ~0UL));
}

static void periods_have_bounds(void)
{
	struct pacer p;
	u32 window;

	for (window = 0; window <= PACER_WINDOW_MAX_MS; window++) {
		aeration_pacer_init(&p, 0, window, 0, 0, STEP);
		EXPECT(aeration_pacer_period_ms(&p) >= PACER_PERIOD_MIN_MS);
		EXPECT(aeration_pacer_period_ms(&p) <= PACER_PERIOD_MAX_MS);
		EXPECT(aeration_pacer_period_ms(&p) == PACER_PERIOD_MIN_MS ||
		       aeration_pacer_period_ms(&p) <= slot_of(window));
	}
}

static void what_is_soon_taken_back_is_regretted(void)
{
	struct pacer p;
	u64 t;
	int i;

	aeration_pacer_init(&p, 0, W, 8 * W, 0, STEP);
	t = rest(&p, 0, 3 * W, 200000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), W);
	for (i = 1; i <= 5; i++) {
		/* All goes, and is taken back half a window later. */
		t = rest(&p, t, 20 * W, 200000);
		EXPECT(aeration_pacer_surplus(&p) == 200000);
		p.calm_since = t;
		aeration_pacer_told(&p, t, 200000);
		t = rest(&p, t, W / 2, 200000);
		aeration_pacer_sample(&p, t, 50000);
		EXPECT_EQ(p.real.out, 50000);
		EXPECT_EQ(p.regretted, i * 150000ULL);
		aeration_pacer_set_out(&p, 0);
		EXPECT(aeration_pacer_window_ms(&p) <= 8 * W);
		/* Nothing more before a whole window of the new length. */
		EXPECT(!rest(&p, t, 0, 0) ||
		       aeration_pacer_surplus(&p) <= 50000);
	}
	EXPECT(aeration_pacer_window_ms(&p) > W);
}

static void the_window_has_a_limit_and_comes_back(void)
{
	struct pacer p;
	u64 t = 100000;
	int i;

	aeration_pacer_init(&p, t, W, 30 * W, 0, STEP);
	for (i = 0; i < 10; i++) {
		t += 2 * aeration_pacer_window_ms(&p);
		aeration_pacer_sample(&p, t, 200000);
		aeration_pacer_told(&p, t, 200000);
		aeration_pacer_taken(&p, t + 10, 200000);
	}
	EXPECT_EQ(aeration_pacer_window_ms(&p), 16 * W);
	/* Eight windows of each length without regret. */
	t = rest(&p, t, 8 * 16 * W - W, 200000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 16 * W);
	t = rest(&p, t, 3 * W, 200000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 8 * W);
	EXPECT_EQ(aeration_pacer_surplus(&p), 200000);
	t = rest(&p, t, 8 * (8 + 4 + 2) * W - 4 * W, 200000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 2 * W);
	t = rest(&p, t, 4 * W, 200000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), W);
	/* However long nobody looked. */
	t = back_off(&p, t, 4, 200000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 16 * W);
	p.calm_since = t;
	aeration_pacer_sample(&p, t + 8 * (16 + 8 + 4 + 2) * W - 1, 200000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 2 * W);
	aeration_pacer_sample(&p, t + 8 * (16 + 8 + 4 + 2) * W, 200000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), W);
}

static void what_was_told_long_ago_is_not_regretted(void)
{
	struct pacer p;
	u64 t = 0;

	aeration_pacer_init(&p, t, W, 30 * W, 0, STEP);
	t = rest(&p, t, 2 * W, 200000);
	aeration_pacer_told(&p, t, 200000);
	t = rest(&p, t, 2 * W, 200000);
	aeration_pacer_sample(&p, t, 1000);
	EXPECT_EQ(p.regretted, 0);
	EXPECT_EQ(aeration_pacer_window_ms(&p), W);
}

static void regret_adds_up_within_a_window(void)
{
	struct pacer p;
	u64 t;

	aeration_pacer_init(&p, 0, W, 30 * W, 0, STEP);
	aeration_pacer_sample(&p, 10, 200000);
	aeration_pacer_told(&p, 10, 200000);
	/* Bit by bit, each less than an eighth and less than a step. */
	for (t = 20; t < 220; t += 20)
		aeration_pacer_taken(&p, t, STEP - 1000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 2 * W);
	/* But not over longer than a window. */
	aeration_pacer_init(&p, 0, W, 30 * W, 0, STEP);
	for (t = W; t < 50 * W; t += W + 1) {
		aeration_pacer_sample(&p, t, 200000);
		aeration_pacer_told(&p, t, 20000);
		aeration_pacer_taken(&p, t, STEP - 1000);
		aeration_pacer_set_out(&p, 0);
	}
	EXPECT(p.regretted > 100000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), W);
}

/* Tell and take back so much every second window. Return: how often until a verdict. */
static int little_and_often(unsigned long told, unsigned long taken)
{
	struct pacer p;
	int i;

	aeration_pacer_init(&p, 0, W, 30 * W, 0, STEP);
	for (i = 1; i < 50 && p.doubled == 0; i++) {
		u64 t = 2 * W * i - W;

		aeration_pacer_sample(&p, t, 200000);
		aeration_pacer_told(&p, t, told);
		aeration_pacer_taken(&p, t + 10, taken);
		aeration_pacer_set_out(&p, 0);
	}
	return i - 1;
}

static void most_of_a_stretch_counts_however_little_at_a_time(void)
{
	struct pacer p;
	u64 t = 8 * W - 20;

	/* A stretch has room for four times. */
	EXPECT_EQ(little_and_often(2 * STEP, STEP), 4);
	EXPECT_EQ(little_and_often(2 * STEP + 10, STEP), 49);
	EXPECT_EQ(little_and_often(STEP, STEP - 1), 49);
	/* What was told at the end of one may be regretted in the next. */
	aeration_pacer_init(&p, 0, W, 30 * W, 0, STEP);
	aeration_pacer_sample(&p, t, 200000);
	aeration_pacer_told(&p, t, 200000);
	aeration_pacer_sample(&p, t + 40, 200000);
	EXPECT_EQ(p.calm_since, t + 40);
	aeration_pacer_taken(&p, t + 60, 24000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), W);
	aeration_pacer_taken(&p, t + 80, 1000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 2 * W);
}

/*
 * One turn of a program that takes 100000 of 200000 pages bit by bit, and frees them
 * at once; all surplus is told. Return: the time.
 */
static u64 turn(struct pacer *p, u64 t, u64 ms)
{
	u64 at, step = aeration_pacer_period_ms(p);

	for (at = 0; at <= ms; at += step) {
		unsigned long surplus;

		aeration_pacer_sample(p, t + at, 200000 - 100000 * at / ms);
		surplus = aeration_pacer_surplus(p);
		if (surplus > p->real.out)
			aeration_pacer_told(p, t + at, surplus - p->real.out);
	}
	return t + at;
}

/* A shorter window is tried in thought, and not at the cost of the host. */
static void churn_is_not_tried_again_and_again(void)
{
	unsigned long regretted;
	struct pacer p;
	u64 t = 0;

	aeration_pacer_init(&p, t, W, 30 * W, 0, STEP);
	while (t < 20 * W && !p.doubled)
		t = turn(&p, t, 3 * W / 2);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 2 * W);
	regretted = p.regretted;
	while (t < 200 * W) {
		t = turn(&p, t, 3 * W / 2);
		EXPECT_EQ(aeration_pacer_window_ms(&p), 2 * W);
	}
	EXPECT_EQ(p.regretted, regretted);
	/* Once that is over, the last verdict in thought is a turn ago at most. */
	t = rest(&p, t, 8 * 2 * W - 2 * W, 200000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 2 * W);
	t = rest(&p, t, 2 * W + W / 4, 200000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), W);
}

/* What half the window would do is what a window of that length does. */
static void a_thought_is_right(void)
{
	struct pacer p, half;
	u64 t, began;

	aeration_pacer_init(&p, 0, W, 2 * W, 0, STEP);
	aeration_pacer_init(&half, 0, W, W, 0, STEP);
	t = back_off(&p, 0, 1, 200000);
	EXPECT_EQ(p.doubled, 1);
	t = rest(&half, t, 2 * W, 200000);
	EXPECT_EQ(p.thought.out, 200000);
	aeration_pacer_told(&half, t, 200000);
	for (began = t; t < began + 100 * W; t = turn(&half, t, 3 * W / 2)) {
		struct pacer same = half;

		turn(&p, t, 3 * W / 2);
		turn(&same, t, 3 * W / 2);
		EXPECT(p.thought.out <= same.real.out);
		EXPECT(p.thought.out + 10000 >= same.real.out);
	}
	EXPECT(half.regretted > 100000);
	EXPECT_EQ(p.doubled, 1);
}

/* When nobody sampled, it was told when its time had come, and not just now. */
static void a_thought_does_not_wait_for_a_sample(void)
{
	struct pacer p;
	u64 t, calm;

	aeration_pacer_init(&p, 0, W, 2 * W, 0, STEP);
	t = back_off(&p, 0, 1, 200000);
	aeration_pacer_sample(&p, t, 1000);
	aeration_pacer_sample(&p, t + 10, 200000);
	calm = p.calm_since;
	/* A window and half a one later, and the window's own regret. */
	aeration_pacer_sample(&p, t + 5 * W / 2, 100000);
	EXPECT_EQ(p.thought.out, 100000);
	aeration_pacer_sample(&p, t + 5 * W / 2 + 20, 1000);
	EXPECT_EQ(p.calm_since, calm);
	/* But just now is just now. */
	t += 3 * W;
	aeration_pacer_sample(&p, t, 200000);
	t = rest(&p, t, W + slot_of(2 * W) + 63, 200000);
	EXPECT_EQ(p.thought.out, 200000);
	aeration_pacer_sample(&p, t, 1000);
	EXPECT_EQ(p.calm_since, t);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 2 * W);
}

/* A verdict in thought is one about what was told in thought until then. */
static void a_thought_is_judged_once(void)
{
	struct pacer p;
	u64 t, calm;

	aeration_pacer_init(&p, 0, W, 2 * W, 0, STEP);
	t = back_off(&p, 0, 1, 200000);
	aeration_pacer_sample(&p, t, 1000);
	aeration_pacer_sample(&p, t + 20, 200000);
	t = rest(&p, t + 40, W + slot_of(2 * W) + 63, 200000);
	aeration_pacer_sample(&p, t, 100000);
	EXPECT_EQ(p.calm_since, t);
	aeration_pacer_sample(&p, t + 20, 50000);
	EXPECT_EQ(p.calm_since, t);
	/* What was told a whole ring of slots ago was not told just now. */
	t += 40;
	aeration_pacer_sample(&p, t, 200000);
	calm = p.calm_since;
	t = rest(&p, t, W + slot_of(2 * W) + 17 * slot_of(2 * W) + 63, 200000);
	EXPECT_EQ(p.thought.out, 200000);
	aeration_pacer_sample(&p, t, 100000);
	EXPECT_EQ(p.calm_since, calm);
}

/* What is surplus when the window changes would have been told long ago. */
static void a_thought_begins_with_what_is_surplus(void)
{
	struct pacer p;
	u64 t, calm;

	aeration_pacer_init(&p, 0, W, 4 * W, 0, STEP);
	t = back_off(&p, 0, 2, 200000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 4 * W);
	while (p.doubled == 2)
		t = rest(&p, t, W / 4, 200000);
	calm = p.calm_since;
	t = rest(&p, t, W / 2, 200000);
	aeration_pacer_sample(&p, t, 100000);
	EXPECT_EQ(p.thought.out, 100000);
	EXPECT_EQ(p.calm_since, calm);
}

/* Nor was it told when a slot of the longer window began, whichever is the first. */
static void a_first_thought_begins_with_it_too(void)
{
	struct pacer p;
	u64 t, calm;
	int i;

	for (i = 0; i < 32; i++) {
		aeration_pacer_init(&p, 0, W, 2 * W, 0, STEP);
		t = rest(&p, 0, 4 * W + i * W / 32, 400000);
		aeration_pacer_told(&p, t, 200000);
		aeration_pacer_sample(&p, t, 100000);
		EXPECT_EQ(p.doubled, 1);
		EXPECT_EQ(p.thought.out, 100000);
		calm = p.calm_since;
		t = rest(&p, t, W / 2, 100000);
		aeration_pacer_sample(&p, t, 1000);
		EXPECT_EQ(p.thought.out, 1000);
		EXPECT_EQ(p.calm_since, calm);
	}
}

/* What is too small to be told cannot be regretted, with any window. */
static void scraps_are_not_thought_of(void)
{
	struct pacer p;
	u64 t, end;
	int turn;

	aeration_pacer_init(&p, 0, W, 2 * W, 1000, STEP);
	t = back_off(&p, 0, 1, 200000);
	aeration_pacer_set_scraps(&p, 70000);
	for (end = t + 4 * 8 * 2 * W; t < end && p.doubled;) {
		t = rest(&p, t, 3 * W / 2, 170000);
		t = rest(&p, t, W / 8, 130000);
	}
	EXPECT_EQ(p.doubled, 0);
	/* But what is beyond them is. */
	aeration_pacer_init(&p, 0, W, 2 * W, 1000, STEP);
	t = back_off(&p, 0, 1, 200000);
	aeration_pacer_set_scraps(&p, 70000);
	for (turn = 0; turn < 40; turn++) {
		t = rest(&p, t, 3 * W / 2, 170000);
		t = rest(&p, t, W / 8, 30000);
	}
	EXPECT_EQ(p.doubled, 1);
}

/* A stretch has an end, though the window stays as it is for what was thought. */
static void a_thought_does_not_lengthen_the_stretch(void)
{
	struct pacer p;
	int turns;
	u64 t;

	aeration_pacer_init(&p, 0, W, 30 * W, 0, STEP);
	t = back_off(&p, 0, 1, 200000);
	for (turns = 0; turns < 100; turns++) {
		t = turn(&p, t, 3 * W / 2);
		if (turns % 8)
			continue;
		/* Half of it, but too little in as long as a stretch. */
		aeration_pacer_told(&p, t, 2 * STEP);
		aeration_pacer_taken(&p, t, STEP);
	}
	EXPECT_EQ(p.doubled, 1);
}

static void little_regret_changes_nothing(void)
{
	struct pacer p;

	aeration_pacer_init(&p, 0, W, 30 * W, 0, STEP);
	aeration_pacer_sample(&p, 10, 2000000);
	aeration_pacer_told(&p, 10, 2000000);
	/* Less than a step, and then less than an eighth. */
	aeration_pacer_taken(&p, 20, STEP - 1);
	EXPECT_EQ(aeration_pacer_window_ms(&p), W);
	aeration_pacer_taken(&p, 30, 200000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), W);
	EXPECT_EQ(p.regretted, 200000 + STEP - 1);
	/* More than an eighth, but no more than goes too early by itself. */
	aeration_pacer_init(&p, 0, W, 30 * W, 0, STEP);
	aeration_pacer_sample(&p, 10, 40000);
	aeration_pacer_told(&p, 10, 40000);
	aeration_pacer_taken(&p, 20, PACER_REGRET_STEPS * STEP - 1);
	EXPECT_EQ(aeration_pacer_window_ms(&p), W);
	aeration_pacer_taken(&p, 30, 1);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 2 * W);
	/* And without a limit that allows it, no regret does. */
	aeration_pacer_init(&p, 0, W, 2 * W - 1, 0, STEP);
	aeration_pacer_sample(&p, 10, 2000000);
	aeration_pacer_told(&p, 10, 2000000);
	aeration_pacer_taken(&p, 20, 2000000);
	EXPECT_EQ(p.regretted, 2000000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), W);
	/* More than was told cannot be taken back. */
	aeration_pacer_taken(&p, 20, 2000000);
	EXPECT_EQ(p.regretted, 2000000);
	/* A window of nothing stays what it is. */
	aeration_pacer_init(&p, 0, 0, PACER_WINDOW_MAX_MS, 0, STEP);
	aeration_pacer_sample(&p, 10, 2000000);
	aeration_pacer_told(&p, 10, 2000000);
	aeration_pacer_taken(&p, 10, 2000000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 0);
	EXPECT_EQ(aeration_pacer_surplus(&p), 2000000);
}

/* Between two samples a guest may take back any number of times. */
static void a_window_of_nothing_never_backs_off(void)
{
	struct pacer p;
	int i;

	aeration_pacer_init(&p, 0, 0, PACER_WINDOW_MAX_MS, 0, STEP);
	aeration_pacer_sample(&p, 10, 2000000);
	for (i = 0; i < 100; i++) {
		aeration_pacer_told(&p, 10, 20000);
		aeration_pacer_taken(&p, 10, 20000);
	}
	EXPECT_EQ(p.doubled, 0);
	aeration_pacer_sample(&p, 20, 2000000);
	EXPECT_EQ(aeration_pacer_surplus(&p), 2000000);
}

/* However little of the longer window is over. */
static void a_longer_window_knows_nothing_of_before(void)
{
	struct pacer p;
	u64 t;

	aeration_pacer_init(&p, 0, W, 2 * W, 0, STEP);
	t = rest(&p, 0, 10 * W, 200000);
	aeration_pacer_told(&p, t, 200000);
	aeration_pacer_taken(&p, t, 100000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 2 * W);
	aeration_pacer_sample(&p, t + W / 2, 200000);
	EXPECT_EQ(aeration_pacer_surplus(&p), 0);
	aeration_pacer_sample(&p, t + 2 * W, 200000);
	EXPECT_EQ(aeration_pacer_surplus(&p), 200000);
}

/* A guest that takes its time is one guest. */
static void a_slow_episode_doubles_once(void)
{
	struct pacer p;
	u64 t, end;

	aeration_pacer_init(&p, 0, W, 30 * W, 0, STEP);
	t = rest(&p, 0, 2 * W, 400000);
	aeration_pacer_told(&p, t, 400000);
	for (end = t + 4 * W; t < end; t += 20)
		aeration_pacer_taken(&p, t, 2000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 2 * W);
	EXPECT_EQ(p.real.out, 0);
	EXPECT(p.regretted > 90000);
	/* What is told from then on is another matter. */
	t = rest(&p, t, 3 * W, 400000);
	aeration_pacer_told(&p, t, 400000);
	aeration_pacer_taken(&p, t + 20, 100000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 4 * W);
	aeration_pacer_taken(&p, t + 40, 100000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 4 * W);
}

/* To keep it for longer would not have been cheaper, however long it waited. */
static void a_longer_window_regrets_no_longer(void)
{
	struct pacer p;
	u64 t;

	aeration_pacer_init(&p, 0, W, 30 * W, 0, STEP);
	t = back_off(&p, 0, 3, 200000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 8 * W);
	p.regretted = 0;
	aeration_pacer_told(&p, t, 200000);
	aeration_pacer_taken(&p, t + W + slot_of(8 * W), 200000);
	EXPECT_EQ(p.regretted, 0);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 8 * W);
	t += W + slot_of(8 * W);
	aeration_pacer_told(&p, t, 200000);
	aeration_pacer_taken(&p, t + W, 200000);
	EXPECT_EQ(p.regretted, 200000);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 16 * W);
}

/* Nobody sampled since it was told: a settled guest. */
static void a_guest_that_rested_regrets_nothing(void)
{
	struct pacer p;
	u64 t;

	aeration_pacer_init(&p, 0, W, 30 * W, 0, STEP);
	t = rest(&p, 0, 2 * W, 200000);
	aeration_pacer_told(&p, t, 200000);
	aeration_pacer_taken(&p, t + 600 * W, 200000);
	EXPECT_EQ(p.regretted, 0);
	EXPECT_EQ(aeration_pacer_window_ms(&p), W);
}

/* More is told and taken than any number has room for. */
static void sums_do_not_wrap(void)
{
	unsigned long half = ~0UL / 2 + 9;
	u32 apart;

	/* Within a slot, and in several. */
	for (apart = 0; apart <= 100; apart += 100) {
		struct pacer p;

		aeration_pacer_init(&p, 0, W, 30 * W, 0, STEP);
		aeration_pacer_sample(&p, 10, ~0UL);
		aeration_pacer_told(&p, 10, half);
		aeration_pacer_told(&p, 10 + apart, half);
		EXPECT_EQ(p.real.out, ~0UL);
		aeration_pacer_taken(&p, 300, STEP);
		EXPECT_EQ(aeration_pacer_window_ms(&p), W);
		aeration_pacer_taken(&p, 310, ~0UL);
		EXPECT_EQ(p.real.out, 0);
		EXPECT_EQ(aeration_pacer_window_ms(&p), 2 * W);
	}
}

/* What nobody should ask for is no reason to fail. */
static void no_value_is_too_large(void)
{
	struct pacer p;
	int i;

	aeration_pacer_init(&p, ~0ULL, ~0U, ~0U, ~0UL, ~0UL);
	EXPECT_EQ(aeration_pacer_window_ms(&p), PACER_WINDOW_MAX_MS);
	aeration_pacer_init(&p, 0, 40000, ~0U, 0, 0);
	for (i = 0; i < 100; i++) {
		u64 now = i * (~0ULL / 99);

		aeration_pacer_sample(&p, now, ~0UL);
		aeration_pacer_told(&p, now, ~0UL);
		aeration_pacer_taken(&p, now, ~0UL);
		EXPECT_EQ(aeration_pacer_window_ms(&p), 40000);
	}
}

/* A balloon takes memory, some of it told, bit by bit; a sample sees the first of it early. */
static void what_a_balloon_takes_is_no_need(void)
{
	unsigned long free = 100 * STEP, gone;
	struct pacer p;
	u64 now;

	aeration_pacer_init(&p, 0, W, 30000, STEP, STEP);
	now = rest(&p, 0, 2 * W, free);
	aeration_pacer_told(&p, now, 99 * STEP);
	aeration_pacer_sample(&p, now, free - STEP);
	for (gone = STEP; gone <= 60 * STEP; gone += STEP) {
		aeration_pacer_shift(&p, STEP);
		now += 1;
		aeration_pacer_sample(&p, now, free - gone);
	}
	free -= 60 * STEP;
	EXPECT_EQ(p.regretted, 0);
	EXPECT_EQ(aeration_pacer_window_ms(&p), W);
	EXPECT_EQ(p.real.out, free);
	EXPECT(aeration_pacer_surplus(&p) + 2 * STEP >= free);
	EXPECT(aeration_pacer_surplus(&p) <= free);
	/* More than there is. */
	aeration_pacer_shift(&p, ~0UL);
	EXPECT_EQ(aeration_pacer_surplus(&p), 0);
	EXPECT_EQ(p.real.out, 0);
	/* The same fall without it is need. */
	aeration_pacer_init(&p, 0, W, 30000, STEP, STEP);
	now = rest(&p, 0, 2 * W, 100 * STEP);
	aeration_pacer_told(&p, now, 99 * STEP);
	aeration_pacer_sample(&p, now, 40 * STEP);
	EXPECT_EQ(p.regretted, 59 * STEP);
	EXPECT_EQ(aeration_pacer_window_ms(&p), 2 * W);
}

int main(void)
{
	RUN(nothing_before_a_whole_window);
	RUN(memory_taken_within_the_window_is_no_surplus);
	RUN(a_fall_counts_at_once);
	RUN(the_reserve_stays);
	RUN(a_window_of_nothing_is_at_once);
	RUN(a_gap_is_not_a_window);
	RUN(a_clock_that_stands_or_goes_back);
	RUN(settled_after_two_windows_without_a_step);
	RUN(a_drip_is_noticed);
	RUN(budgets);
	RUN(periods_have_bounds);
	RUN(what_is_soon_taken_back_is_regretted);
	RUN(the_window_has_a_limit_and_comes_back);
	RUN(what_was_told_long_ago_is_not_regretted);
	RUN(regret_adds_up_within_a_window);
	RUN(most_of_a_stretch_counts_however_little_at_a_time);
	RUN(churn_is_not_tried_again_and_again);
	RUN(a_thought_is_right);
	RUN(a_thought_does_not_wait_for_a_sample);
	RUN(a_thought_is_judged_once);
	RUN(a_thought_begins_with_what_is_surplus);
	RUN(a_first_thought_begins_with_it_too);
	RUN(scraps_are_not_thought_of);
	RUN(a_thought_does_not_lengthen_the_stretch);
	RUN(little_regret_changes_nothing);
	RUN(a_window_of_nothing_never_backs_off);
	RUN(a_longer_window_knows_nothing_of_before);
	RUN(a_slow_episode_doubles_once);
	RUN(a_longer_window_regrets_no_longer);
	RUN(a_guest_that_rested_regrets_nothing);
	RUN(sums_do_not_wrap);
	RUN(no_value_is_too_large);
	RUN(what_a_balloon_takes_is_no_need);
	return ktap_end();
}
