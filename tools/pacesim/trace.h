/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Traces of free memory.
 *
 * As text, a trace has one line for each change: the time in ms and the free
 * pages from then on, two decimal numbers. Times rise. The last line is the end.
 * A line that begins with # is a comment.
 */
#ifndef PACESIM_TRACE_H
#define PACESIM_TRACE_H

#include <stdio.h>
#include <linux/types.h>

/* A page, bytes. */
#define TRACE_PAGE	4096

/* A MiB, pages. */
#define TRACE_MIB	(1048576 / TRACE_PAGE)

/**
 * struct point - free memory changed
 * @ms: when, ms
 * @free: free pages from then on
 */
struct point {
	u64 ms;
	unsigned long free;
};

/**
 * struct trace - free memory over time
 * @points: changes, by time; the last one is the end
 * @nr: how many; at least one once a trace was read or generated
 * @room: for how many there is memory
 */
struct trace {
	struct point *points;
	size_t nr;
	size_t room;
};

extern const char *const trace_kinds[];

void trace_add(struct trace *trace, u64 ms, unsigned long free);
bool trace_read(struct trace *trace, FILE *from, const char *name);
bool trace_generate(struct trace *trace, const char *kind, u64 seed,
		    unsigned int seconds);
void trace_write(const struct trace *trace, FILE *to);
void trace_end(struct trace *trace);

#endif
