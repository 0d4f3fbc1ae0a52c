/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The words of the hinting queue: wire "hints".
 *
 * A word is 64 bits, little-endian: the physical address of a block with its
 * order in the low 12 bits. The order counts units of 4 KiB, whatever the
 * guest's page size, and the address is aligned to the block, so that the two
 * cannot overlap. Source: patch series "mm / virtio: Provide support for
 * paravirtual waste page treatment", 6/6.
 *
 * Pure: also compiled in user space.
 */
#ifndef _AERATION_VIRTIO_HINTS_H
#define _AERATION_VIRTIO_HINTS_H

#include <linux/types.h>

/* Most words in one buffer. */
#define HINTS_MAX		32

/* An address has no bits below this one: the order takes their place. */
#define HINT_UNIT_SHIFT		12

/* Largest order of which an aligned, non-empty block fits into 64 bits. */
#define HINT_ORDER_MAX		(63 - HINT_UNIT_SHIFT)

int aeration_hint_encode(u64 pfn, unsigned int order, unsigned int page_shift,
			 __le64 *word);

#endif /* _AERATION_VIRTIO_HINTS_H */
