/* SPDX-License-Identifier: GPL-2.0 */
/* Pieces of guest memory on their way to be released. */
#ifndef HINTD_RUNS_H
#define HINTD_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Most pieces collected before they are released. */
#define RUNS_MAX	4096

/**
 * struct run - a piece of guest memory
 * @start: guest physical address
 * @length: bytes; @start + @length does not wrap
 */
struct run {
	uint64_t start;
	uint64_t length;
};

/**
 * struct runs - pieces collected
 * @run: they
 * @nr: how many; behind the array, so that UBSan checks its bounds
 * @next: the first that is not released yet; those before it are done
 */
struct runs {
	struct run run[RUNS_MAX];
	size_t nr;
	size_t next;
};

static inline size_t runs_room(const struct runs *runs)
{
	return RUNS_MAX - runs->nr;
}

void runs_add(struct runs *runs, uint64_t start, uint64_t length);
void runs_clear(struct runs *runs);
uint64_t runs_merge(struct runs *runs);

#endif /* HINTD_RUNS_H */
