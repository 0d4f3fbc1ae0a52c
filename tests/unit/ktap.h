/* SPDX-License-Identifier: GPL-2.0 */
/* KTAP for user-space unit tests: one line a case. */
#ifndef UNIT_KTAP_H
#define UNIT_KTAP_H

#include <stdio.h>

static int ktap_nr, ktap_bad, ktap_case_bad;

/* Note a broken expectation of the running case; the first few are shown. */
#define EXPECT(cond)							\
	do {								\
		if (!(cond) && ktap_case_bad++ < 5)			\
			printf("# %s:%d: %s\n", __FILE__, __LINE__, #cond); \
	} while (0)

#define EXPECT_EQ(got, want)						\
	do {								\
		unsigned long long g_ = (unsigned long long)(got);	\
		unsigned long long w_ = (unsigned long long)(want);	\
									\
		if (g_ != w_ && ktap_case_bad++ < 5)			\
			printf("# %s:%d: %s is %llu (0x%llx), should be %llu (0x%llx)\n", \
			       __FILE__, __LINE__, #got, g_, g_, w_, w_); \
	} while (0)

static inline void ktap_case(void (*fn)(void), const char *name)
{
	ktap_case_bad = 0;
	fn();
	ktap_nr++;
	ktap_bad += !!ktap_case_bad;
	printf("%s %d %s\n", ktap_case_bad ? "not ok" : "ok", ktap_nr, name);
}

static inline int ktap_end(void)
{
	printf("1..%d\n", ktap_nr);
	return !!ktap_bad;
}

#define RUN(fn)	ktap_case(fn, #fn)

/* A random sequence that is the same in every run. */
static inline unsigned long long ktap_random(void)
{
	static unsigned long long state = 0x9e3779b97f4a7c15ULL;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

#endif
