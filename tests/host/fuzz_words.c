// SPDX-License-Identifier: GPL-2.0
/*
 * Any words: what is let through is aligned guest memory, merging neither loses
 * nor adds a page, and exactly those pages are released.
 *
 * Input: 64-bit words.
 */
#include <string.h>
#include "bench.h"
#include "release.h"
#include "words.h"

#define PAGES	((BENCH_LOW + BENCH_HIGH) / BENCH_PAGE)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Mark the pages of a block that is guest memory. */
static void mark(bool *page, uint64_t start, uint64_t length)
{
	uint64_t at;

	for (at = start; at < start + length; at += BENCH_PAGE)
		page[(at < BENCH_LOW ? at : at - BENCH_HIGH_AT + BENCH_LOW) /
		     BENCH_PAGE] = true;
}

static void decode(struct bench *t, uint64_t word, bool *page)
{
	uint64_t start, length;
	enum refusal why = word_decode(word, &start, &length);

	MUST(start == (word & ~WORD_ORDER_MASK));
	if ((word & WORD_ORDER_MASK) > WORD_ORDER_MAX)
		MUST(why == REFUSAL_ORDER);
	if (why)
		return;
	MUST(length >= WORD_UNIT && !(length & (length - 1)));
	MUST(!(start & (length - 1)));
	if (!memory_covers(&t->b.mem, start, length) || !runs_room(&t->b.runs))
		return;
	MUST(start + length <= BENCH_LOW ||
	     (start >= BENCH_HIGH_AT &&
	      start + length <= BENCH_HIGH_AT + BENCH_HIGH));
	runs_add(&t->b.runs, start, length);
	mark(page, start, length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bench *t = bench(WIRE_HINTS);
	bool page[PAGES] = { false };
	uint64_t word, bytes = 0, marked = 0;
	size_t i;

	bench_add_memory(t);
	for (i = 0; i + sizeof(word) <= size; i += sizeof(word)) {
		memcpy(&word, data + i, sizeof(word));
		decode(t, word, page);
	}
	bytes = runs_merge(&t->b.runs);
	for (i = 1; i < t->b.runs.nr; i++)
		MUST(t->b.runs.run[i - 1].start + t->b.runs.run[i - 1].length <
		     t->b.runs.run[i].start);
	while (!release_runs(&t->b.release, &t->b.mem, &t->b.runs, &t->b.stats,
			     1))
		;
	for (i = 0; i < PAGES; i++) {
		const uint8_t *at = i * BENCH_PAGE < BENCH_LOW ?
			t->low + i * BENCH_PAGE :
			t->high + (i * BENCH_PAGE - BENCH_LOW);

		marked += page[i] ? BENCH_PAGE : 0;
		MUST(bench_is_zero(at, BENCH_PAGE) == page[i]);
	}
	MUST(bytes == marked && t->b.stats.bytes_released == marked);
	bench_check(t);
	return 0;
}
