/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Divisions of 64-bit numbers, which a 32-bit kernel does by function call. With
 * SHIM_EXTERN_DIV64 they are calls here, too, to see that nothing else divides.
 */
#ifndef SHIM_LINUX_MATH64_H
#define SHIM_LINUX_MATH64_H

#include <linux/types.h>

#ifdef SHIM_EXTERN_DIV64
u64 div_u64_rem(u64 dividend, u32 divisor, u32 *rest);
u64 div_u64(u64 dividend, u32 divisor);
u64 div64_ul(u64 dividend, unsigned long divisor);
u64 div64_u64(u64 dividend, u64 divisor);
#else
static inline u64 div_u64_rem(u64 dividend, u32 divisor, u32 *rest)
{
	*rest = (u32)(dividend % divisor);
	return dividend / divisor;
}

static inline u64 div_u64(u64 dividend, u32 divisor)
{
	return dividend / divisor;
}

static inline u64 div64_ul(u64 dividend, unsigned long divisor)
{
	return dividend / divisor;
}

static inline u64 div64_u64(u64 dividend, u64 divisor)
{
	return dividend / divisor;
}
#endif

#endif
