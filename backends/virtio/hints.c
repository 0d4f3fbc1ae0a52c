// SPDX-License-Identifier: GPL-2.0
#ifdef __KERNEL__
#include <linux/errno.h>
#include <asm/byteorder.h>
#else
#include <errno.h>
#include <byteorder_shim.h>
#endif
#include "hints.h"

/**
 * aeration_hint_encode - make the word for a block
 * @pfn: number of the block's first page, in pages of 1 << @page_shift bytes
 * @order: binary logarithm of its length in such pages
 * @page_shift: binary logarithm of the guest's page size in bytes, 12 or more
 * @word: where to put the word
 *
 * Return: 0, or -EINVAL if the block is not aligned to its length or does not
 *	fit into 64 bits of address; @word is then left alone.
 */
int aeration_hint_encode(u64 pfn, unsigned int order, unsigned int page_shift,
			 __le64 *word)
{
	unsigned int wire_order;
	u64 address;

	if (page_shift < HINT_UNIT_SHIFT || page_shift > 63 ||
	    order > HINT_ORDER_MAX)
		return -EINVAL;
	wire_order = order + page_shift - HINT_UNIT_SHIFT;
	if (wire_order > HINT_ORDER_MAX || pfn > (~0ULL >> page_shift))
		return -EINVAL;
	address = pfn << page_shift;
	if (address & ((1ULL << (wire_order + HINT_UNIT_SHIFT)) - 1))
		return -EINVAL;
	*word = cpu_to_le64(address | wire_order);
	return 0;
}
