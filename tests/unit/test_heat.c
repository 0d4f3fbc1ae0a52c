// SPDX-License-Identifier: GPL-2.0
/* The page of the memory heat hint against pages made by hand, and its answer. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "heat.h"
#include "ktap.h"

#define ROUNDS		20000
#define BLOCKS		600	/* more than fit */

/* Status words: result in the low 16 bits, ranges done from bit 32 on. */
#define STATUS(result, done)	((u64)(done) << 32 | (result))

/* A hint on the heap, so that ASan sees what lies behind its end. */
static struct heat_hint *new_hint(void)
{
	struct heat_hint *hint = malloc(sizeof(*hint));

	memset(hint, 0xee, sizeof(*hint));
	return hint;
}

static void page_is_full_of_ranges(void)
{
	EXPECT_EQ(sizeof(struct heat_hint), 4096);
}

/*
 * Worked out bit by bit from the layout: 11 bits of units after the first, one
 * bit "large", one bit of unit size (0: 2 MiB), 8 reserved, 43 of unit number.
 */
static void pages_by_hand(void)
{
	static const struct {
		u64 pfn;
		unsigned int order;
		unsigned char bytes[8];
	} known[] = {
		/* 2 MiB at 0 */
		{ 0, 9, { 0x00, 0x08, 0, 0, 0, 0, 0, 0 } },
		/* 2 MiB at 2 MiB: unit 1 at bit 21 */
		{ 0x200, 9, { 0x00, 0x08, 0x20, 0, 0, 0, 0, 0 } },
		/* 4 MiB at 4 MiB: one more, unit 2 */
		{ 0x400, 10, { 0x01, 0x08, 0x40, 0, 0, 0, 0, 0 } },
		/* 2 MiB at 4 GiB: unit 0x800 */
		{ 0x100000, 9, { 0x00, 0x08, 0, 0, 0x01, 0, 0, 0 } },
		/* 1 GiB at 0x48d000000000: 511 more */
		{ 0x48d000000ULL, 18, { 0xff, 0x09, 0, 0, 0xd0, 0x48, 0, 0 } },
		/* 4 GiB, the most there can be: 2047 more */
		{ 0x100000, 20, { 0xff, 0x0f, 0, 0, 0x01, 0, 0, 0 } },
		/* the last 2 MiB there are */
		{ 0xffffffffffe00ULL, 9,
		  { 0x00, 0x08, 0xe0, 0xff, 0xff, 0xff, 0xff, 0xff } },
	};
	static const unsigned char type[8] = { 0x02 };
	struct heat_hint *hint = new_hint();
	const size_t nr = sizeof(known) / sizeof(known[0]);
	size_t i;

	for (i = 0; i < nr; i++) {
		EXPECT_EQ(aeration_heat_add(hint, i, known[i].pfn,
					    known[i].order), 0);
		EXPECT(!memcmp(&hint->type, type, sizeof(type)));
	}
	for (i = 0; i < nr; i++)
		EXPECT(!memcmp(&hint->range[i], known[i].bytes, 8));
	EXPECT_EQ(hint->range[nr], 0xeeeeeeeeeeeeeeeeULL);
	free(hint);
}

static void blocks_that_cannot_be_told(void)
{
	struct heat_hint *hint = new_hint();
	unsigned int order;

	for (order = 0; order < 9; order++)
		EXPECT_EQ(aeration_heat_add(hint, 0, 0, order), -EINVAL);
	EXPECT_EQ(aeration_heat_add(hint, 0, 0, 21), -EINVAL);
	EXPECT_EQ(aeration_heat_add(hint, 0, 0, ~0U), -EINVAL);
	EXPECT_EQ(aeration_heat_add(hint, 0, 1, 9), -EINVAL);
	EXPECT_EQ(aeration_heat_add(hint, 0, 0x100, 9), -EINVAL);
	EXPECT_EQ(aeration_heat_add(hint, 0, 0x200, 10), -EINVAL);
	EXPECT_EQ(aeration_heat_add(hint, 0, 1ULL << 52, 9), -EINVAL);
	EXPECT_EQ(aeration_heat_add(hint, 0, ~0ULL << 9, 9), -EINVAL);
	EXPECT_EQ(hint->type, 0xeeeeeeeeeeeeeeeeULL);
	EXPECT_EQ(hint->range[0], 0xeeeeeeeeeeeeeeeeULL);
	free(hint);
}

static void no_more_than_511(void)
{
	struct heat_hint *hint = new_hint();
	unsigned int i;

	for (i = 0; i < 511; i++)
		EXPECT_EQ(aeration_heat_add(hint, i, (u64)i << 9, 9), 0);
	EXPECT_EQ(aeration_heat_add(hint, 511, 0, 9), -ENOSPC);
	EXPECT_EQ(aeration_heat_add(hint, ~0U, 0, 9), -ENOSPC);
	EXPECT_EQ(le64toh(hint->range[510]), 510ULL << 21 | 1 << 11);
	free(hint);
}

/* What the hypervisor makes of a range, written from the same description. */
static void decode(u64 range, u64 *pfn, u64 *pages)
{
	EXPECT(range >> 11 & 1);
	EXPECT_EQ(range >> 12 & 0x1ff, 0);
	*pfn = range / (1ULL << 21) * 512;
	*pages = (range % 2048 + 1) * 512;
}

/* Whatever comes in: what is taken comes out the same, the rest is refused. */
static void any_block(void)
{
	struct heat_hint *hint = new_hint();
	int round;

	for (round = 0; round < ROUNDS / BLOCKS; round++) {
		unsigned int i, nr = 0;

		for (i = 0; i < BLOCKS; i++) {
			unsigned int order = ktap_random() % 24;
			u64 pfn = ktap_random() >> (ktap_random() % 56);
			bool fits, aligned;
			u64 got, pages;
			int err;

			if (ktap_random() % 8)
				pfn = pfn >> order << order;
			aligned = pfn % (1ULL << order) == 0;
			fits = order >= 9 && order <= 20 && aligned &&
			       pfn < 1ULL << 52;
			err = aeration_heat_add(hint, nr, pfn, order);
			if (nr == 511) {
				EXPECT_EQ(err, -ENOSPC);
				continue;
			}
			EXPECT_EQ(!err, fits);
			if (err)
				continue;
			decode(le64toh(hint->range[nr++]), &got, &pages);
			EXPECT_EQ(got, pfn);
			EXPECT_EQ(pages, 1ULL << order);
		}
		EXPECT(nr > 50);
		EXPECT_EQ(le64toh(hint->type), 2);
	}
	free(hint);
}

/* Code in bits 15:0, no variable header, count from 32 on, start from 48 on. */
static void control_words(void)
{
	EXPECT_EQ(aeration_heat_control(1, 0), 0x0000000100008003ULL);
	EXPECT_EQ(aeration_heat_control(32, 0), 0x0000002000008003ULL);
	EXPECT_EQ(aeration_heat_control(511, 7), 0x000701ff00008003ULL);
}

static int answer(u64 status, unsigned int nr, unsigned int before,
		  unsigned int after)
{
	unsigned int done = before;
	int err = aeration_heat_answer(status, nr, &done);

	EXPECT_EQ(done, after);
	return err;
}

static void answers(void)
{
	EXPECT_EQ(answer(STATUS(0, 32), 32, 0, 32), 0);
	/* A part, and again from there on. */
	EXPECT_EQ(answer(STATUS(0, 10), 32, 0, 10), 1);
	EXPECT_EQ(answer(STATUS(0, 32), 32, 10, 32), 0);
	/* It stops in the middle: what is done is done. */
	EXPECT_EQ(answer(STATUS(5, 3), 32, 0, 3), 0);
	EXPECT_EQ(answer(STATUS(11, 3), 32, 3, 3), 0);
	/* Nothing is done, and it may go better later, or never. */
	EXPECT_EQ(answer(STATUS(11, 0), 32, 0, 0), -EAGAIN);
	EXPECT_EQ(answer(STATUS(5, 0), 32, 0, 0), -EAGAIN);
	EXPECT_EQ(answer(STATUS(2, 0), 32, 0, 0), -ENODEV);
	EXPECT_EQ(answer(STATUS(3, 0), 32, 0, 0), -ENODEV);
	EXPECT_EQ(answer(STATUS(6, 0), 32, 0, 0), -ENODEV);
	/* What the kernel answers when there is no hypercall page. */
	EXPECT_EQ(answer(~0ULL, 32, 0, 0), -ENODEV);
	/* Lies: more than there are, fewer than before, success with nothing. */
	EXPECT_EQ(answer(STATUS(0, 4095), 32, 0, 32), 0);
	EXPECT_EQ(answer(STATUS(0, 5), 32, 10, 10), 0);
	EXPECT_EQ(answer(STATUS(0, 0), 32, 0, 0), -EAGAIN);
	EXPECT_EQ(answer(STATUS(0, 10), 32, 10, 10), 0);
}

/* No answer makes the caller call for ever, or believe in too many. */
static void any_answer(void)
{
	int i;

	for (i = 0; i < ROUNDS; i++) {
		unsigned int nr = 1 + ktap_random() % 511, done = 0, calls = 0;
		int more;

		do {
			unsigned int before = done;

			more = aeration_heat_answer(ktap_random() & (ktap_random() % 4 ?
					   ~0xffffULL : ~0ULL), nr, &done);
			EXPECT(done >= before && done <= nr);
			EXPECT(more <= 1);
			if (more == 1)
				EXPECT(done > before && done < nr);
			if (more < 0)
				EXPECT_EQ(done, 0);
		} while (more == 1 && ++calls <= nr);
		EXPECT(calls <= nr);
	}
}

int main(void)
{
	RUN(page_is_full_of_ranges);
	RUN(pages_by_hand);
	RUN(blocks_that_cannot_be_told);
	RUN(no_more_than_511);
	RUN(any_block);
	RUN(control_words);
	RUN(answers);
	RUN(any_answer);
	return ktap_end();
}
