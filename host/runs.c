// SPDX-License-Identifier: GPL-2.0
/*
 * Merge pieces of memory, so that one system call releases what the guest told
 * in many words, and whole huge pages are seen as such.
 */
#include <stdlib.h>
#include "runs.h"

/**
 * runs_add - collect a piece
 * @runs: with room for it: ask runs_room()
 * @start: guest physical address
 * @length: bytes, not 0; @start + @length does not wrap
 */
void runs_add(struct runs *runs, uint64_t start, uint64_t length)
{
	runs->run[runs->nr].start = start;
	runs->run[runs->nr].length = length;
	runs->nr++;
}

/**
 * runs_clear - have none
 * @runs: any
 */
void runs_clear(struct runs *runs)
{
	runs->nr = 0;
	runs->next = 0;
}

static int by_start(const void *left, const void *right)
{
	const struct run *a = left, *b = right;

	return (a->start > b->start) - (a->start < b->start);
}

/**
 * runs_merge - sort the pieces and join those that touch or overlap
 * @runs: any of which none is released yet
 *
 * What was told twice is in the result once.
 *
 * Return: bytes in all of them.
 */
uint64_t runs_merge(struct runs *runs)
{
	struct run *run = runs->run;
	size_t i, last = 0;
	uint64_t bytes = 0, end;

	if (!runs->nr)
		return 0;
	qsort(run, runs->nr, sizeof(run[0]), by_start);
	for (i = 1; i < runs->nr; i++) {
		end = run[i].start + run[i].length;
		if (run[i].start > run[last].start + run[last].length)
			run[++last] = run[i];
		else if (end > run[last].start + run[last].length)
			run[last].length = end - run[last].start;
	}
	runs->nr = last + 1;
	for (i = 0; i < runs->nr; i++)
		bytes += run[i].length;
	return bytes;
}
