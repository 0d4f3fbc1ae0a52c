// SPDX-License-Identifier: GPL-2.0
/*
 * All that this backend says to Hyper-V itself.
 */
#include <linux/build_bug.h>
#include <linux/mm.h>
#include <aeration/compat.h>
#include <asm/mshyperv.h>
#include "call.h"

static_assert(PAGE_SHIFT == HEAT_PAGE_SHIFT);
static_assert(PAGE_SHIFT == HV_HYP_PAGE_SHIFT);
static_assert(sizeof(struct heat_hint) == HV_HYP_PAGE_SIZE);
static_assert(HEAT_RANGES_MAX == HV_MEMORY_HINT_MAX_GPA_PAGE_RANGES);
static_assert(HEAT_CALL == HV_EXT_CALL_MEMORY_HEAT_HINT);
static_assert(HEAT_COLD_DISCARD == HV_EXT_MEMORY_HEAT_HINT_TYPE_COLD_DISCARD);

/**
 * aeration_heat_unusable - why can no hint be given to this host?
 *
 * Asks the hypervisor; to be called on Hyper-V only.
 *
 * Context: process context; may sleep.
 * Return: the reason, or NULL if hints can be given.
 */
const char *aeration_heat_unusable(void)
{
	if (hv_is_isolation_supported())
		return "the memory of an isolated guest is not the host's to take";
	if (!hv_query_ext_cap(HV_EXT_CAPABILITY_MEMORY_COLD_DISCARD_HINT))
		return "this Hyper-V does not announce the cold-discard memory heat hint";
	return NULL;
}

/**
 * aeration_heat_call - give a hint to the hypervisor
 * @hint: the hint, one page of the kernel's linear mapping
 * @nr: how many ranges it has
 * @start: how many of them are done already
 *
 * The hypervisor is done with the page on return.
 *
 * Context: any.
 * Return: status word, for aeration_heat_answer().
 */
u64 aeration_heat_call(struct heat_hint *hint, unsigned int nr,
		       unsigned int start)
{
	return hv_do_hypercall(aeration_heat_control(nr, start), hint, NULL);
}
