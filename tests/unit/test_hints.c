// SPDX-License-Identifier: GPL-2.0
/* The words of the hinting queue against words computed by hand, and both ways. */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include "hints.h"
#include "ktap.h"

#define PAGE_SHIFT_4K	12
#define PAGE_SHIFT_64K	16
#define ROUNDS		2000000

/* What a host makes of a word, written from the description of the wire. */
static int hint_decode(__le64 word, u64 *address, u64 *bytes)
{
	u64 value = le64toh(word);
	u64 order = value & 0xfff;
	u64 start = value - order;

	if (order > HINT_ORDER_MAX || start % (4096ULL << order))
		return -EINVAL;
	*address = start;
	*bytes = 4096ULL << order;
	return 0;
}

static __le64 word_of(u64 pfn, unsigned int order, unsigned int shift)
{
	__le64 word = 0xdeadbeefULL;

	EXPECT(!aeration_hint_encode(pfn, order, shift, &word));
	return word;
}

/* Bytes as they lie in memory, computed by hand. */
static void words_by_hand(void)
{
	static const struct {
		u64 pfn;
		unsigned int order, shift;
		unsigned char bytes[8];
	} known[] = {
		/* 2 MiB at 0x100000000: order 9 of 4 KiB */
		{ 0x100000, 9, 12, { 0x09, 0, 0, 0, 0x01, 0, 0, 0 } },
		/* 4 MiB at 0x12345400000: order 10 */
		{ 0x12345400, 10, 12, { 0x0a, 0, 0x40, 0x45, 0x23, 0x01, 0, 0 } },
		/* one page at 0x7fff000: order 0 */
		{ 0x7fff, 0, 12, { 0x00, 0xf0, 0xff, 0x07, 0, 0, 0, 0 } },
		/* the page at 0 */
		{ 0, 0, 12, { 0 } },
		/* 512 MiB at 0x40000000 in 64 KiB pages: order 13, on the wire 17 */
		{ 0x4000, 13, 16, { 0x11, 0, 0, 0x40, 0, 0, 0, 0 } },
		/* the last page there is */
		{ 0xfffffffffffffULL, 0, 12,
		  { 0x00, 0xf0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } },
	};
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		__le64 word = word_of(known[i].pfn, known[i].order,
				      known[i].shift);

		EXPECT(!memcmp(&word, known[i].bytes, sizeof(word)));
	}
}

static void order_is_in_the_low_twelve_bits(void)
{
	unsigned int order;

	for (order = 0; order <= HINT_ORDER_MAX; order++)
		EXPECT_EQ(word_of(0, order, PAGE_SHIFT_4K) & 0xfff, order);
}

static void blocks_that_are_none(void)
{
	__le64 word = 77;

	EXPECT_EQ(aeration_hint_encode(1, 1, 12, &word), -EINVAL);
	EXPECT_EQ(aeration_hint_encode(511, 9, 12, &word), -EINVAL);
	EXPECT_EQ(aeration_hint_encode(0, HINT_ORDER_MAX + 1, 12, &word),
		  -EINVAL);
	EXPECT_EQ(aeration_hint_encode(0, ~0U, 12, &word), -EINVAL);
	EXPECT_EQ(aeration_hint_encode(0, HINT_ORDER_MAX, 16, &word), -EINVAL);
	EXPECT_EQ(aeration_hint_encode(1ULL << 52, 0, 12, &word), -EINVAL);
	EXPECT_EQ(aeration_hint_encode(1ULL << 48, 0, 16, &word), -EINVAL);
	EXPECT_EQ(aeration_hint_encode(~0ULL, 0, 12, &word), -EINVAL);
	EXPECT_EQ(aeration_hint_encode(0, 0, 11, &word), -EINVAL);
	EXPECT_EQ(aeration_hint_encode(0, 0, 64, &word), -EINVAL);
	EXPECT_EQ(word, 77);
}

static void words_that_no_block_has(void)
{
	u64 address = 5, bytes = 6;

	EXPECT_EQ(hint_decode(htole64(0x1001ULL), &address, &bytes), -EINVAL);
	EXPECT_EQ(hint_decode(htole64(0x100009ULL), &address, &bytes), -EINVAL);
	EXPECT_EQ(hint_decode(htole64(HINT_ORDER_MAX + 1), &address, &bytes),
		  -EINVAL);
	EXPECT_EQ(hint_decode(htole64(0xfffULL), &address, &bytes), -EINVAL);
	EXPECT_EQ(address, 5);
	EXPECT_EQ(bytes, 6);
}

/* Every block a guest can have comes out as what went in. */
static void every_block_comes_back(void)
{
	int i;

	for (i = 0; i < ROUNDS; i++) {
		unsigned int shift = i & 1 ? PAGE_SHIFT_4K : PAGE_SHIFT_64K;
		unsigned int order = ktap_random() %
				     (HINT_ORDER_MAX + 1 - (shift - 12));
		u64 pfn = (ktap_random() >> shift) >> order << order;
		u64 address, bytes;
		__le64 word;

		EXPECT(!aeration_hint_encode(pfn, order, shift, &word));
		EXPECT(!hint_decode(word, &address, &bytes));
		EXPECT_EQ(address, pfn << shift);
		EXPECT_EQ(bytes, 1ULL << (order + shift));
	}
}

/* Every word that decodes is the one its block encodes to. */
static void every_word_comes_back(void)
{
	u64 decoded = 0;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		u64 value = ktap_random() << (ktap_random() % 56);
		u64 address, bytes;
		__le64 again, word;

		/* An order that is often sane, or few words would decode. */
		value = (value & ~0xfffULL) | (ktap_random() % 60);
		word = htole64(value);
		if (hint_decode(word, &address, &bytes))
			continue;
		decoded++;
		EXPECT_EQ(address % bytes, 0);
		EXPECT(!aeration_hint_encode(address >> 12,
					     __builtin_ctzll(bytes) - 12, 12, &again));
		EXPECT_EQ(again, word);
	}
	EXPECT(decoded > ROUNDS / 10);
}

int main(void)
{
	RUN(words_by_hand);
	RUN(order_is_in_the_low_twelve_bits);
	RUN(blocks_that_are_none);
	RUN(words_that_no_block_has);
	RUN(every_block_comes_back);
	RUN(every_word_comes_back);
	return ktap_end();
}
