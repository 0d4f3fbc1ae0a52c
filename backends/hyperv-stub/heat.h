/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The memory heat hint of Hyper-V: what is in its page, and in its answer.
 *
 * Source: the definitions of HvExtCallMemoryHeatHint in the kernel, up to 6.12
 * in asm-generic/hyperv-tlfs.h, later in hyperv/hvgdk_ext.h; control and status
 * words: Hyper-V Top Level Functional Specification, "Hypercall Interface".
 *
 * Pure: also compiled in user space.
 */
#ifndef _AERATION_HYPERV_HEAT_H
#define _AERATION_HYPERV_HEAT_H

#include <linux/types.h>

/* Pages of the hypervisor, whatever the guest's are: binary logarithm, bytes. */
#define HEAT_PAGE_SHIFT		12

/* The unit of a range, 2 MiB, as an order of such pages. */
#define HEAT_UNIT_ORDER		9

/* A range has up to 2048 units: the field for those after the first has 11 bits. */
#define HEAT_ORDER_MAX		(HEAT_UNIT_ORDER + 11)

/* Ranges in a page, beside the 8 bytes before them. */
#define HEAT_RANGES_MAX		511

/* What the hint says: nobody will read these pages again. */
#define HEAT_COLD_DISCARD	2

/* Number of the hypercall. */
#define HEAT_CALL		0x8003

/**
 * struct heat_hint - the input of the hypercall, one page
 * @type: HEAT_COLD_DISCARD; the upper 62 bits are reserved and zero
 * @range: what it is about
 */
struct heat_hint {
	__le64 type;
	__le64 range[HEAT_RANGES_MAX];
};

int aeration_heat_add(struct heat_hint *hint, unsigned int nr, u64 pfn,
		      unsigned int order);
u64 aeration_heat_control(unsigned int nr, unsigned int start);
int aeration_heat_answer(u64 status, unsigned int nr, unsigned int *done);

#endif /* _AERATION_HYPERV_HEAT_H */
