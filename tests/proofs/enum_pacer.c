// SPDX-License-Identifier: GPL-2.0
/*
 * core/pace/pacer.c, ledger.c and shift.c along every short trace, against a list of all
 * that was ever sampled.
 *
 * What is checked after each step: surplus is what was free at every sample in the
 * window, or at the last one before it, less the reserve, and never more when the window
 * has changed meanwhile; what is out is what was told and not taken back, and told within
 * a budget it is no more than the surplus; what is regretted was told; the window in
 * force stays between what was asked for and the limit; nothing goes below 0, and no
 * time lies ahead. At the end of each trace: to sleep until aeration_pacer_next_ms()
 * misses no surplus, and a window that has backed off comes back.
 *
 * Bounds: see each case. Windows of 0 to 40 ms have every kind of slot there is, even
 * and uneven; one of 60 s is at the end of time.
 */
#include <string.h>
#include "enum.h"
#include "pacer.h"
#include "slots.h"

#define STEPS_MOST	8
#define RESERVE		3UL
#define STEP		1UL

static unsigned long long nodes;

/**
 * struct ref - what is known without any cleverness
 * @t: when each sample was taken, ms; the first is that of the beginning
 * @free: what was free then
 * @nr: how many
 * @now: the latest time
 * @out: told and not taken back
 * @told: ever told
 * @level, @since: as struct pacer
 * @resized: the window in force has changed
 */
struct ref {
	u64 t[STEPS_MOST + 1];
	unsigned long free[STEPS_MOST + 1];
	unsigned int nr;
	u64 now;
	unsigned long out;
	unsigned long told;
	unsigned long most;
	unsigned long level;
	u64 since;
	bool resized;
};

static unsigned long least(unsigned long a, unsigned long b)
{
	return a < b ? a : b;
}

static unsigned long beyond(unsigned long a, unsigned long b)
{
	return a > b ? a - b : 0;
}

static void pass(struct ref *r, u64 now)
{
	if (now > PACER_TIME_MAX_MS)
		now = PACER_TIME_MAX_MS;
	if (now > r->now)
		r->now = now;
}

static void note(struct ref *r, u64 now, unsigned long free)
{
	unsigned long gap = free > r->level ? free - r->level : r->level - free;

	pass(r, now);
	r->t[r->nr] = r->now;
	r->free[r->nr++] = free;
	r->out = least(r->out, free);
	r->most = free > r->most ? free : r->most;
	if (gap >= STEP) {
		r->level = free;
		r->since = r->now;
	}
}

/* Lowest of the samples from a time on, and of the last one before it. */
static unsigned long lowest_since(const struct ref *r, u64 from)
{
	unsigned long low = r->free[r->nr - 1];
	unsigned int i;

	for (i = r->nr; i-- > 0;) {
		low = least(low, r->free[i]);
		if (r->t[i] < from)
			break;
	}
	return low;
}

static void check_surplus(const struct pacer *p, const struct ref *r)
{
	u32 window = aeration_pacer_window_ms(p);
	u64 from = r->now > window ? r->now - window : 0;
	unsigned long got = aeration_pacer_surplus(p);
	unsigned long newest = r->free[r->nr - 1];

	EXPECT_EQ(aeration_pacer_surplus_now(p), beyond(newest, p->reserve));
	if (!p->window_ms) {
		EXPECT_EQ(got, beyond(newest, p->reserve));
		return;
	}
	/* Never more than what was free for a whole window. */
	EXPECT(got <= beyond(lowest_since(r, from), p->reserve));
	/* Nor less than what was free for one slot more. */
	if (!r->resized)
		EXPECT_EQ(got, beyond(lowest_since(r, slot_start(window, slot_at(window, from))),
				      p->reserve));
}

static void check_ledger(const struct pacer *p, const struct pacer_ledger *l,
			 unsigned long told)
{
	unsigned long all = 0;
	unsigned int i;

	for (i = 0; i < PACER_RING; i++) {
		EXPECT(l->told[i] <= told);
		all += l->told[i];
	}
	EXPECT(all <= told);
	EXPECT(l->sorry <= told && l->calm_sorry <= l->calm_told);
	EXPECT(l->sorry_since <= p->now_ms && l->calm_began <= p->now_ms);
	EXPECT(l->fresh <= p->newest + 1);
}

static void check(const struct pacer *p, const struct ref *r)
{
	u32 window = aeration_pacer_window_ms(p), limit = p->limit_ms;

	nodes++;
	EXPECT_EQ(p->now_ms, r->now);
	EXPECT_EQ(p->newest, slot_at(window, r->now));
	EXPECT(window == p->window_ms || window <= limit);
	EXPECT(p->calm_since <= r->now);
	EXPECT_EQ(p->level, r->level);
	EXPECT_EQ(p->level_since, r->since);
	EXPECT_EQ(p->real.out, r->out);
	EXPECT(p->thought.out <= r->most);
	EXPECT(p->regretted <= r->told);
	check_ledger(p, &p->real, r->told);
	check_ledger(p, &p->thought, ~0UL >> 8);
	check_surplus(p, r);
}

static void begin(struct pacer *p, struct ref *r, u64 now, u32 window, u32 limit)
{
	aeration_pacer_init(p, now, window, limit, RESERVE, STEP);
	memset(r, 0, sizeof(*r));
	/* Nothing is known of before. */
	r->now = now;
	r->t[0] = now;
	r->nr = 1;
	r->since = now;
	check(p, r);
}

static void take_sample(struct pacer *p, struct ref *r, u64 now,
			unsigned long free)
{
	unsigned int was = p->doubled;
	u64 regretted = p->regretted;
	unsigned long out = r->out;

	aeration_pacer_sample(p, now, free);
	note(r, now, free);
	r->resized |= p->doubled != was;
	EXPECT(p->regretted - regretted <= out - r->out);
	check(p, r);
}

/* Nothing is missed by who sleeps until then, while nothing moves. */
static void check_next(const struct pacer *p, const struct ref *r)
{
	u64 next = aeration_pacer_next_ms(p);
	unsigned long now = aeration_pacer_surplus(p);
	struct pacer then = *p;

	if (next <= r->now + 1 || next > PACER_TIME_MAX_MS)
		return;
	aeration_pacer_sample(&then, next - 1, p->free);
	EXPECT(aeration_pacer_surplus(&then) < now + STEP);
	EXPECT_EQ(then.doubled, p->doubled);
	EXPECT(!aeration_pacer_settled(&then, next - 1) ||
	       aeration_pacer_settled(p, r->now));
}

/* While nothing moves a window that has backed off is halved, and halved again. */
static void check_calm(const struct pacer *p, const struct ref *r)
{
	struct pacer then = *p;
	u64 now = r->now, end = now;
	u32 window;

	for (window = aeration_pacer_window_ms(p); window >= p->window_ms && window;
	     window /= 2)
		end += 2 * PACER_CALM_WINDOWS * (u64)window + 2;
	while (then.doubled && now < end) {
		now += p->window_ms;
		aeration_pacer_sample(&then, now, p->free);
	}
	EXPECT(!then.doubled);
}

static const u32 *dts;
static unsigned int nr_dts;
static const unsigned long *frees;
static unsigned int nr_frees;

/* Samples only: the surplus is known exactly. */
static void samples(const struct pacer *p, const struct ref *r, unsigned int left)
{
	unsigned int i, j;

	if (!left) {
		cases++;
		check_next(p, r);
	}
	for (i = 0; left && i < nr_dts; i++)
		for (j = 0; j < nr_frees && !ktap_case_bad; j++) {
			struct pacer next = *p;
			struct ref then = *r;

			take_sample(&next, &then, r->now + dts[i], frees[j]);
			samples(&next, &then, left - 1);
			if (ktap_case_bad)
				printf("# after a sample %u ms later, %lu free\n",
				       dts[i], frees[j]);
		}
}

static void every_trace_of_samples(void)
{
	static const u32 windows[] = { 0, 1, 3, 15, 16, 17, 24, 32, 40 };
	static const unsigned long some[] = { 2, 9, 30 };
	unsigned int w;

	frees = some;
	nr_frees = 3;
	nr_dts = 6;
	for (w = 0; w < 9; w++) {
		u32 window = windows[w];
		const u32 dt[] = { 0, 1, window / 2, window, window + 1, 3 * window + 1 };
		struct pacer p;
		struct ref r;

		dts = dt;
		begin(&p, &r, 7, window, 0);
		samples(&p, &r, 4);
	}
	say_cases("traces of 4 samples, 18 kinds of each, 9 windows");
}

static void every_long_trace_of_samples(void)
{
	static const u32 dt[] = { 1, 7, 25 };
	static const unsigned long some[] = { 9, 30 };
	struct pacer p;
	struct ref r;

	frees = some;
	nr_frees = 2;
	dts = dt;
	nr_dts = 3;
	begin(&p, &r, 1000, 24, 0);
	samples(&p, &r, 7);
	begin(&p, &r, 0, 24, 0);
	samples(&p, &r, 7);
	say_cases("traces of 7 samples, 6 kinds of each, from two times on");
}

static void the_end_of_time(void)
{
	const u32 dt[] = { 0, 59999, 60000, 200000 };
	static const unsigned long some[] = { 2, 1UL << 40, ~0UL >> 9 };
	struct pacer p;
	struct ref r;

	frees = some;
	nr_frees = 3;
	dts = dt;
	nr_dts = 4;
	begin(&p, &r, PACER_TIME_MAX_MS - 200000, 60000, 0);
	samples(&p, &r, 5);
	say_cases("traces of 5 samples, 12 kinds of each, up to 2^55 pages, at the end of time");
}

/* What else may happen. */
enum op {
	OP_SAMPLE,
	OP_TELL_ALL,	/* the whole budget */
	OP_TELL_MORE,	/* a batch that only half fits */
	OP_TAKE,	/* the guest took back, and the caller knows */
	OP_SET_OUT,	/* a census corrects */
	OP_SHIFT,	/* the balloon took it */
	OP_SCRAPS,
	OPS
};

static void tell(struct pacer *p, struct ref *r, unsigned long pages)
{
	aeration_pacer_told(p, r->now, pages);
	r->out += pages;
	r->told += pages;
}

static void shift(struct pacer *p, struct ref *r, unsigned long pages)
{
	unsigned int i;

	aeration_pacer_shift(p, pages);
	for (i = 0; i < r->nr; i++)
		r->free[i] = beyond(r->free[i], pages);
	r->level = beyond(r->level, pages);
	r->out = least(r->out, r->free[r->nr - 1]);
}

static void do_op(struct pacer *p, struct ref *r, enum op op, u32 dt,
		  unsigned long free)
{
	unsigned int was = p->doubled;
	unsigned long surplus = aeration_pacer_surplus(p);
	unsigned long reportable = beyond(r->free[r->nr - 1], r->out);
	unsigned long budget = aeration_pacer_budget(surplus, r->out, reportable);

	switch (op) {
	case OP_TELL_ALL:
		tell(p, r, budget);
		EXPECT(!budget || r->out <= surplus);
		break;
	case OP_TELL_MORE:
		if (aeration_pacer_fits(budget, 2 * budget))
			tell(p, r, least(2 * budget, reportable));
		break;
	case OP_TAKE:
		/* More than is out, too. */
		aeration_pacer_taken(p, r->now + 1, 20);
		pass(r, r->now + 1);
		r->out = beyond(r->out, 20);
		break;
	case OP_SET_OUT:
		/* What is told is free. */
		r->out = least(25, r->free[r->nr - 1]);
		aeration_pacer_set_out(p, r->out);
		break;
	case OP_SHIFT:
		shift(p, r, 6);
		break;
	case OP_SCRAPS:
		aeration_pacer_set_scraps(p, 12);
		break;
	default:
		take_sample(p, r, r->now + dt, free);
	}
	r->resized |= p->doubled != was;
	check(p, r);
}

static void ops(const struct pacer *p, const struct ref *r, unsigned int left,
		bool calm)
{
	unsigned int i, all = OPS - 1 + nr_dts * nr_frees;

	if (!left) {
		cases++;
		check_next(p, r);
		if (calm)
			check_calm(p, r);
	}
	for (i = 0; left && i < all && !ktap_case_bad; i++) {
		enum op op = i < OPS - 1 ? (enum op)(i + 1) : OP_SAMPLE;
		unsigned int kind = i < OPS - 1 ? 0 : i - (OPS - 1);
		struct pacer next = *p;
		struct ref then = *r;

		do_op(&next, &then, op, dts[kind / nr_frees],
		      frees[kind % nr_frees]);
		ops(&next, &then, left - 1, calm);
		if (ktap_case_bad)
			printf("# after op %d, if a sample %u ms later, %lu free\n",
			       op, dts[kind / nr_frees], frees[kind % nr_frees]);
	}
}

/* From a guest that has had a surplus for a while, or that has backed off already. */
static void from_there(u32 window, u32 limit, unsigned int steps, bool calm,
		       bool regretful)
{
	struct pacer p;
	struct ref r;
	unsigned int i;

	begin(&p, &r, 100, window, limit);
	take_sample(&p, &r, 100, 40);
	take_sample(&p, &r, 101 + 2 * window, 40);
	for (i = 0; regretful && i < 2; i++) {
		tell(&p, &r, 37);
		aeration_pacer_taken(&p, r.now, 37);
		r.out -= 37;
		r.resized = true;
	}
	/* Only the last of these samples matters from here on. */
	if (!regretful) {
		r.t[1] = r.t[2];
		r.free[1] = r.free[2];
		r.t[0] = r.t[1] - 1 - window;
		r.free[0] = 40;
		r.nr = 2;
		r.resized = true;
	}
	ops(&p, &r, steps, calm);
}

static void every_trace_with_regret(void)
{
	static const u32 dt[] = { 1, 9, 33, 140 };
	static const unsigned long some[] = { 2, 17, 40 };

	frees = some;
	nr_frees = 3;
	dts = dt;
	nr_dts = 4;
	from_there(16, 64, 5, false, false);
	from_there(24, 60, 4, false, false);
	from_there(1, 4, 4, false, false);
	from_there(16, 64, 4, false, true);
	from_there(16, 40, 3, false, true);
	say_cases("traces of 5 steps, or 3 or 4, 18 kinds of each, 3 windows that back off up to twice");
}

static void every_window_comes_back(void)
{
	static const u32 dt[] = { 1, 17, 70 };
	static const unsigned long some[] = { 2, 40 };

	frees = some;
	nr_frees = 2;
	dts = dt;
	nr_dts = 3;
	from_there(16, 64, 3, true, false);
	from_there(16, 64, 3, true, true);
	from_there(3, 60, 3, true, true);
	say_cases("traces of 3 steps, 12 kinds of each, and then rest");
}

static void every_budget(void)
{
	static const unsigned long some[] = {
		0, 1, 2, 3, 4, 5, 6, 7, 8, 511, 512, 513, ~0UL >> 1, (~0UL >> 1) + 1,
		~0UL - 2, ~0UL - 1, ~0UL
	};
	const unsigned int nr = sizeof(some) / sizeof(some[0]);
	unsigned int a, b, c;

	for (a = 0; a < nr; a++)
		for (b = 0; b < nr; b++) {
			unsigned long budget = some[a], pages = some[b];
			bool fits = aeration_pacer_fits(budget, pages);

			EXPECT_EQ(fits, budget && (budget >= pages ||
						   pages - budget <= pages / 2));
			for (c = 0; c < nr; c++) {
				budget = aeration_pacer_budget(some[a], some[b],
							       some[c]);
				EXPECT_EQ(budget, least(beyond(some[a], some[b]),
							some[c]));
				cases++;
			}
		}
	say_cases("budgets and batches of 17 numbers up to the largest");
}

int main(void)
{
	ENUM(every_trace_of_samples);
	ENUM(every_long_trace_of_samples);
	ENUM(the_end_of_time);
	ENUM(every_trace_with_regret);
	ENUM(every_window_comes_back);
	ENUM(every_budget);
	printf("# %llu states\n", nodes);
	return enum_end();
}
