/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Exhaustive enumeration: every path through a program that chooses.
 *
 *	do
 *		something that calls choose(n) where n things may happen;
 *	while (next_path());
 *
 * runs it once for each way there is to choose. What it does between must depend on
 * nothing but what was chosen.
 */
#ifndef PROOFS_ENUM_H
#define PROOFS_ENUM_H

#include <stdbool.h>
#include <stdlib.h>
#include "ktap.h"

#define PATH_MOST	256	/* choices in one path */

static struct {
	unsigned short pick[PATH_MOST];
	unsigned short of[PATH_MOST];
	unsigned int at, len;
} path;

static unsigned long long cases;	/* of the running KTAP case */

/* One of 0 to n - 1. */
static inline unsigned int choose(unsigned int n)
{
	if (path.at == PATH_MOST) {
		printf("Bail out! a path has too many choices\n");
		exit(1);
	}
	if (path.at == path.len) {
		path.pick[path.len] = 0;
		path.of[path.len++] = n;
	}
	EXPECT_EQ(path.of[path.at], n);
	return path.pick[path.at++];
}

/* The next path, depth first. Return: false if there is none; also at the first fault. */
static inline bool next_path(void)
{
	cases++;
	path.at = 0;
	if (ktap_case_bad)
		path.len = 0;
	while (path.len && ++path.pick[path.len - 1] == path.of[path.len - 1])
		path.len--;
	return path.len;
}

/* Say what was chosen on the path that failed. */
static inline void show_path(void)
{
	unsigned int i;

	if (!ktap_case_bad)
		return;
	printf("# path:");
	for (i = 0; i < path.at; i++)
		printf(" %u/%u", path.pick[i], path.of[i]);
	printf("\n");
}

/* Of something that does not end there is no other way out. */
static inline void end_at_once(const char *why)
{
	show_path();
	printf("Bail out! %s\n", why);
	exit(1);
}

static unsigned long long all_cases;

static inline void say_cases(const char *bounds)
{
	printf("# %llu cases: %s\n", cases, bounds);
	all_cases += cases;
	cases = 0;
}

/* As RUN(); after a fault there is no sense in going on. */
#define ENUM(fn)			\
	do {				\
		RUN(fn);		\
		if (ktap_bad)		\
			return enum_end(); \
	} while (0)

static inline int enum_end(void)
{
	printf("# %llu cases in all\n", all_cases);
	return ktap_end();
}

#endif /* PROOFS_ENUM_H */
