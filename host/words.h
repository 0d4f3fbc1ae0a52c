/* SPDX-License-Identifier: GPL-2.0 */
/* The words of the hinting queue, docs/virtio-hinting.md. Pure. */
#ifndef HINTD_WORDS_H
#define HINTD_WORDS_H

#include <stddef.h>
#include <stdint.h>

/* Most words in one buffer. */
#define WORDS_MAX		32

/* Orders count units of this many bytes. */
#define WORD_UNIT_SHIFT		12
#define WORD_UNIT		(1ULL << WORD_UNIT_SHIFT)

/* The low bits of a word: the order. */
#define WORD_ORDER_MASK		(WORD_UNIT - 1)

/* Of larger orders no aligned block but the one at 0 fits into 64 bits. */
#define WORD_ORDER_MAX		(63 - WORD_UNIT_SHIFT)

/**
 * enum refusal - why a block was not released
 * @REFUSAL_NONE: it may be
 * @REFUSAL_ORDER: its order is larger than WORD_ORDER_MAX
 * @REFUSAL_MISALIGNED: it is not aligned to its length, or has none
 * @REFUSAL_OUTSIDE: a part of it is not guest memory
 * @REFUSAL_DIRECTION: its descriptor is readable where it has to be writable
 * @NR_REFUSALS: how many there are
 */
enum refusal {
	REFUSAL_NONE,
	REFUSAL_ORDER,
	REFUSAL_MISALIGNED,
	REFUSAL_OUTSIDE,
	REFUSAL_DIRECTION,
	NR_REFUSALS
};

enum refusal word_decode(uint64_t word, uint64_t *start, uint64_t *length);
const char *refusal_name(enum refusal refusal);

#endif /* HINTD_WORDS_H */
