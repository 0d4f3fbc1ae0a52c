// SPDX-License-Identifier: GPL-2.0
#ifdef __KERNEL__
#include <linux/errno.h>
#include <asm/byteorder.h>
#else
#include <errno.h>
#include <byteorder_shim.h>
#endif
#include "heat.h"

/*
 * A range of large pages: bits 10:0 are how many units follow the first, bit 11
 * says "large", bit 12 their size (0: 2 MiB), bits 63:21 are the number of the
 * first one.
 */
#define RANGE_LARGE		0x800ULL
#define RANGE_NUMBER_SHIFT	21

/* Numbers of pages that an address of 64 bits can have. */
#define PFN_BITS		(64 - HEAT_PAGE_SHIFT)

/* Control: bits 43:32 are how many ranges there are, 59:48 where to begin. */
#define CONTROL_NR_SHIFT	32
#define CONTROL_START_SHIFT	48

/* Status: bits 15:0 are the result, 43:32 how many ranges are done by now. */
#define STATUS_RESULT		0xffffULL
#define STATUS_DONE_SHIFT	32
#define STATUS_DONE		0xfffULL

/**
 * enum heat_result - results of the hypercall that mean something here
 * @HEAT_SUCCESS: all ranges that are counted as done are done
 * @HEAT_BAD_CODE: there is no such hypercall
 * @HEAT_BAD_INPUT: its input is not what it should be
 * @HEAT_DENIED: this guest may not do that
 * @HEAT_NO_CALL: the kernel has no way to make a hypercall
 */
enum heat_result {
	HEAT_SUCCESS = 0,
	HEAT_BAD_CODE = 2,
	HEAT_BAD_INPUT = 3,
	HEAT_DENIED = 6,
	HEAT_NO_CALL = 0xffff,
};

/**
 * aeration_heat_add - add a block to a hint
 * @hint: the hint; @nr entries of its ranges are in use
 * @nr: where to put the block; at 0 the hint begins
 * @pfn: number of the block's first page, in units of 4 KiB
 * @order: binary logarithm of its length in such pages
 *
 * Context: any.
 * Return: 0; -EINVAL if the block is smaller than 2 MiB, larger than 4 GiB, not
 *	aligned to its length or beyond 64 bits of address; -ENOSPC if the hint
 *	is full. On an error @hint is left alone.
 */
int aeration_heat_add(struct heat_hint *hint, unsigned int nr, u64 pfn,
		      unsigned int order)
{
	u64 more;

	if (nr >= HEAT_RANGES_MAX)
		return -ENOSPC;
	if (order < HEAT_UNIT_ORDER || order > HEAT_ORDER_MAX ||
	    pfn >> PFN_BITS || pfn & ((1ULL << order) - 1))
		return -EINVAL;
	more = (1ULL << (order - HEAT_UNIT_ORDER)) - 1;
	if (!nr)
		hint->type = cpu_to_le64(HEAT_COLD_DISCARD);
	hint->range[nr] = cpu_to_le64(more | RANGE_LARGE |
				      pfn >> HEAT_UNIT_ORDER << RANGE_NUMBER_SHIFT);
	return 0;
}

/**
 * aeration_heat_control - make the control word of the hypercall
 * @nr: how many ranges the hint has
 * @start: how many of them are done already
 *
 * Context: any.
 * Return: the word.
 */
u64 aeration_heat_control(unsigned int nr, unsigned int start)
{
	return HEAT_CALL | (u64)nr << CONTROL_NR_SHIFT |
	       (u64)start << CONTROL_START_SHIFT;
}

/**
 * aeration_heat_answer - understand the status word of the hypercall
 * @status: the word
 * @nr: how many ranges the hint has
 * @done: how many of them were done before; how many are now
 *
 * The hypervisor may do a part and want to be called again. One that says so
 * without having done anything would be called for ever, and is not believed.
 *
 * Context: any.
 * Return: 1 to call again from @done on, 0 if that is over and the first @done
 *	ranges have been taken, -EAGAIN or, if there is no use in trying again,
 *	-ENODEV if none has.
 */
int aeration_heat_answer(u64 status, unsigned int nr, unsigned int *done)
{
	unsigned int before = *done;
	unsigned int now = status >> STATUS_DONE_SHIFT & STATUS_DONE;
	unsigned int result = status & STATUS_RESULT;

	if (result != HEAT_NO_CALL && now > before)
		*done = now < nr ? now : nr;
	if (result == HEAT_SUCCESS && *done > before && *done < nr)
		return 1;
	if (*done)
		return 0;
	if (result == HEAT_BAD_CODE || result == HEAT_BAD_INPUT ||
	    result == HEAT_DENIED || result == HEAT_NO_CALL)
		return -ENODEV;
	return -EAGAIN;
}
