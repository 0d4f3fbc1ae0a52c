// SPDX-License-Identifier: GPL-2.0
#include "words.h"

/**
 * word_decode - take a word of the hinting queue apart
 * @word: in the host's byte order
 * @start: set to the guest physical address of the block, in any case
 * @length: set to its length in bytes, or to 0 if the order is refused
 *
 * Whether it is guest memory is not looked at; the block may end at 2^64.
 *
 * Return: REFUSAL_NONE, REFUSAL_ORDER or REFUSAL_MISALIGNED.
 */
enum refusal word_decode(uint64_t word, uint64_t *start, uint64_t *length)
{
	uint64_t order = word & WORD_ORDER_MASK;

	*start = word & ~WORD_ORDER_MASK;
	*length = 0;
	if (order > WORD_ORDER_MAX)
		return REFUSAL_ORDER;
	*length = WORD_UNIT << order;
	return *start & (*length - 1) ? REFUSAL_MISALIGNED : REFUSAL_NONE;
}

/**
 * refusal_name - the words for a reason
 * @refusal: less than NR_REFUSALS
 *
 * Return: constant text, as in statistics.
 */
const char *refusal_name(enum refusal refusal)
{
	static const char *const names[NR_REFUSALS] = {
		[REFUSAL_NONE] = "none",
		[REFUSAL_ORDER] = "order",
		[REFUSAL_MISALIGNED] = "misaligned",
		[REFUSAL_OUTSIDE] = "outside RAM",
		[REFUSAL_DIRECTION] = "readable",
	};

	return names[refusal];
}
