// SPDX-License-Identifier: GPL-2.0
/* Traces of free memory: read, generated, written; see trace.h. */
#include <stdlib.h>
#include <string.h>
#include "trace.h"

/* Longest line of a trace. */
#define LINE_MAX_LENGTH	200

/* What a generated guest has, pages. */
#define GUEST		(2048 * TRACE_MIB)

/* Free memory of a generated guest that is at rest, pages. */
#define AT_REST		(1700 * TRACE_MIB)

/**
 * trace_add - add a change
 * @trace: the trace, all zeros at first
 * @ms: when, ms; a time that is not after the last one's replaces that one
 * @free: free pages from then on
 */
void trace_add(struct trace *trace, u64 ms, unsigned long free)
{
	if (trace->nr && trace->points[trace->nr - 1].ms >= ms)
		trace->nr--;
	if (trace->nr == trace->room) {
		trace->room = trace->room ? 2 * trace->room : 1024;
		trace->points = realloc(trace->points, trace->room *
					sizeof(*trace->points));
		if (!trace->points)
			abort();
	}
	trace->points[trace->nr].ms = ms;
	trace->points[trace->nr].free = free;
	trace->nr++;
}

/**
 * trace_read - read a trace
 * @trace: where to; all zeros
 * @from: a file
 * @name: its name, for messages
 *
 * Return: false if it is no trace; why was said on stderr.
 */
bool trace_read(struct trace *trace, FILE *from, const char *name)
{
	char line[LINE_MAX_LENGTH];
	unsigned int number = 0;

	while (fgets(line, sizeof(line), from)) {
		unsigned long free;
		u64 ms;
		char rest;

		number++;
		if (line[0] == '#' && strchr(line, '\n'))
			continue;
		if (strspn(line, "0123456789 \n") != strlen(line) ||
		    sscanf(line, "%llu %lu %c", &ms, &free, &rest) != 2) {
			fprintf(stderr, "%s:%u: not a time and a number of pages\n",
				name, number);
			return false;
		}
		if (trace->nr && ms <= trace->points[trace->nr - 1].ms) {
			fprintf(stderr, "%s:%u: time does not rise\n", name,
				number);
			return false;
		}
		trace_add(trace, ms, free);
	}
	if (ferror(from) || trace->nr < 2) {
		fprintf(stderr, "%s: no trace: two lines at least are needed\n",
			name);
		return false;
	}
	return true;
}

/**
 * trace_write - write a trace as text
 * @trace: the trace
 * @to: a file
 */
void trace_write(const struct trace *trace, FILE *to)
{
	size_t i;

	for (i = 0; i < trace->nr; i++)
		fprintf(to, "%llu %lu\n", trace->points[i].ms,
			trace->points[i].free);
}

/**
 * trace_end - free a trace's memory
 * @trace: the trace; all zeros afterwards
 */
void trace_end(struct trace *trace)
{
	free(trace->points);
	memset(trace, 0, sizeof(*trace));
}

/* The same numbers from the same seed, on any machine. */
static u64 next_random(u64 *state)
{
	u64 x = *state += 0x9e3779b97f4a7c15ULL;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static u64 between(u64 *state, u64 low, u64 high)
{
	return low + next_random(state) % (high - low + 1);
}

/* A program that takes 512 MiB, uses and frees it, over and over. */
static void generate_churn(struct trace *trace, u64 *seed, u64 end)
{
	u64 ms = 0;

	while (ms < end) {
		unsigned int step, steps = 8;

		for (step = 1; step <= steps; step++)
			trace_add(trace, ms += between(seed, 30, 80),
				  AT_REST - step * 512 * TRACE_MIB / steps);
		trace_add(trace, ms += between(seed, 50, 300), AT_REST);
		ms += between(seed, 10, 400);
	}
}

/* Many processes that come and go, and now and then nobody for a while. */
static void generate_build(struct trace *trace, u64 *seed, u64 end)
{
	u64 ms = 0;

	while (ms < end) {
		u64 busy_until = ms + between(seed, 5000, 15000);

		while (ms < busy_until) {
			unsigned long used = between(seed, 1, 10) * 30 *
					     TRACE_MIB +
					     between(seed, 0, TRACE_MIB);

			trace_add(trace, ms += between(seed, 30, 500),
				  AT_REST - used);
		}
		trace_add(trace, ms += 50, AT_REST);
		ms += between(seed, 2000, 20000);
	}
}

/* Long rest, and a program that needs nearly all for some seconds. */
static void generate_burst(struct trace *trace, u64 *seed, u64 end)
{
	u64 ms = 0;

	trace_add(trace, ms, AT_REST);
	while (ms < end) {
		unsigned long used = between(seed, 800, 1500) * TRACE_MIB;
		unsigned int step, steps = 16;

		ms += between(seed, 500, 30000);
		for (step = 1; step <= steps; step++)
			trace_add(trace, ms += 60, AT_REST - used * step / steps);
		ms += between(seed, 500, 5000);
		for (step = steps; step--; )
			trace_add(trace, ms += 30, AT_REST - used * step / steps);
	}
}

/* Anything, for any time: no guest, but what a pacer has to stand. */
static void generate_random(struct trace *trace, u64 *seed, u64 end)
{
	u64 ms = 0;

	while (ms < end) {
		trace_add(trace, ms, between(seed, 0, GUEST));
		ms += between(seed, 100, between(seed, 0, 3) ? 1500 : 15000);
	}
}

static void (*const generators[])(struct trace *trace, u64 *seed, u64 end) = {
	generate_churn, generate_build, generate_burst, generate_random,
};

const char *const trace_kinds[] = {
	"churn", "build", "burst", "random", NULL,
};

/**
 * trace_generate - make a trace up
 * @trace: where to; all zeros
 * @kind: one of trace_kinds
 * @seed: the same seed, the same trace
 * @seconds: how long it is, s; at least 1
 *
 * Return: false if there is no such kind.
 */
bool trace_generate(struct trace *trace, const char *kind, u64 seed,
		    unsigned int seconds)
{
	u64 end = (u64)seconds * 1000;
	unsigned int i;

	for (i = 0; trace_kinds[i] && strcmp(trace_kinds[i], kind); i++)
		;
	if (!trace_kinds[i])
		return false;
	trace_add(trace, 0, AT_REST);
	generators[i](trace, &seed, end);
	while (trace->nr > 1 && trace->points[trace->nr - 1].ms >= end)
		trace->nr--;
	trace_add(trace, end, trace->points[trace->nr - 1].free);
	return true;
}
