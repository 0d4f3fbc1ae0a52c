/* SPDX-License-Identifier: GPL-2.0 */
/* The smaller and the larger of two, as the kernel has them. */
#ifndef SHIM_LINUX_MINMAX_H
#define SHIM_LINUX_MINMAX_H

#define min_t(type, a, b)						\
	({								\
		type a_ = (a), b_ = (b);				\
									\
		a_ < b_ ? a_ : b_;					\
	})
#define max_t(type, a, b)						\
	({								\
		type a_ = (a), b_ = (b);				\
									\
		a_ > b_ ? a_ : b_;					\
	})
#define min(a, b)	min_t(__typeof__((a) + (b)), a, b)
#define max(a, b)	max_t(__typeof__((a) + (b)), a, b)
#define clamp_t(type, value, low, high)					\
	max_t(type, low, min_t(type, value, high))

#endif
