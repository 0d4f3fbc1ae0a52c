/* SPDX-License-Identifier: GPL-2.0 */
/* What the programs that use memory have in common. */
#ifndef _AERATION_MEM_H
#define _AERATION_MEM_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE_BYTES	4096UL
#define MIB		(1UL << 20)

static inline double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Memory that nobody has touched yet; the program ends if there is none. */
static inline char *map(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

static inline void touch(char *p, size_t bytes)
{
	size_t i;

	for (i = 0; i < bytes; i += PAGE_BYTES)
		p[i] = 1;
}

#endif /* _AERATION_MEM_H */
