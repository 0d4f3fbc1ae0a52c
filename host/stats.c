// SPDX-License-Identifier: GPL-2.0
/* Show statistics: as JSON for programs, as a line for people. */
#include <inttypes.h>
#include <stddef.h>
#include <time.h>
#include "stats.h"

#define MIB_SHIFT	20
#define MS_PER_S	1000
#define NS_PER_S	1000000000ULL

static const char *const violation_names[NR_VIOLATIONS] = {
	[VIOLATION_WRITABLE] = "writable descriptor",
	[VIOLATION_SIZE] = "size of the buffer",
	[VIOLATION_OUTSIDE] = "words outside RAM",
};

/* Virtio 1.2, 5.5.6.4, by tag. */
static const char *const guest_names[NR_GUEST_STATS] = {
	"swap_in", "swap_out", "major_faults", "minor_faults", "free_memory",
	"total_memory", "available_memory", "disk_caches",
	"hugetlb_allocations", "hugetlb_failures",
};

/* Of those, what the live line has. */
#define GUEST_FREE	4
#define GUEST_TOTAL	5
#define GUEST_ON_LINE	(1U << GUEST_FREE | 1U << GUEST_TOTAL)

#define COUNTER(name)	{ #name, offsetof(struct stats, name) }

static const struct {
	const char *name;
	size_t offset;
} counters[] = {
	COUNTER(connections), COUNTER(messages_refused), COUNTER(starts),
	COUNTER(stops), COUNTER(dropped), COUNTER(ring_errors), COUNTER(seen),
	COUNTER(buffers), COUNTER(descriptors), COUNTER(max_descriptors),
	COUNTER(payload), COUNTER(indirect), COUNTER(told), COUNTER(blocks),
	COUNTER(bytes_told), COUNTER(bytes_released), COUNTER(punches),
	COUNTER(bytes_partial), COUNTER(bytes_reserved),
	COUNTER(release_errors), COUNTER(poisoned), COUNTER(pinned),
	COUNTER(inflated), COUNTER(deflated), COUNTER(actual), COUNTER(other),
	COUNTER(busy_ns), COUNTER(release_ns),
};

/**
 * now_ns - the time
 *
 * Return: nanoseconds since some moment.
 */
uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* A JSON object of those values that are not 0, or that @has has a bit for. */
static void object(FILE *out, const char *name, const char *const *names,
		   const uint64_t *values, unsigned int nr, uint32_t has)
{
	const char *separator = "";
	unsigned int i;

	fprintf(out, ", \"%s\": {", name);
	for (i = 0; i < nr; i++) {
		if (!values[i] && !(has >> i & 1))
			continue;
		fprintf(out, "%s\"%s\": %" PRIu64, separator, names[i],
			values[i]);
		separator = ", ";
	}
	fputc('}', out);
}

/**
 * stats_json - write statistics as one line of JSON
 * @stats: they
 * @backed: bytes of guest memory that the host backs now
 * @out: where to
 */
void stats_json(const struct stats *stats, uint64_t backed, FILE *out)
{
	const char *reasons[NR_REFUSALS];
	size_t i;

	fprintf(out, "{\"backed\": %" PRIu64, backed);
	for (i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
		fprintf(out, ", \"%s\": %" PRIu64, counters[i].name,
			*(const uint64_t *)((const char *)stats +
					    counters[i].offset));
	for (i = 0; i < NR_REFUSALS; i++)
		reasons[i] = refusal_name((enum refusal)i);
	object(out, "refused", reasons, stats->refused, NR_REFUSALS, 0);
	object(out, "violations", violation_names, stats->violations,
	       NR_VIOLATIONS, 0);
	object(out, "guest", guest_names, stats->guest, NR_GUEST_STATS,
	       stats->guest_has);
	fputs("}\n", out);
}

/**
 * stats_line - write the live line, without a newline
 * @now: the statistics
 * @before: as they were at the last line
 * @ms: time since then, milliseconds, not 0
 * @out: where to
 */
void stats_line(const struct stats *now, const struct stats *before,
		uint64_t ms, FILE *out)
{
	const char *separator = ", refused: ";
	unsigned int i;

	fprintf(out, "%" PRIu64 " blocks/s, %" PRIu64 " MiB told, %" PRIu64
		" MiB released",
		(now->told - before->told) * MS_PER_S / ms,
		now->bytes_told >> MIB_SHIFT, now->bytes_released >> MIB_SHIFT);
	if (!(GUEST_ON_LINE & ~now->guest_has))
		fprintf(out, ", guest: %" PRIu64 " of %" PRIu64 " MiB free",
			now->guest[GUEST_FREE] >> MIB_SHIFT,
			now->guest[GUEST_TOTAL] >> MIB_SHIFT);
	for (i = 0; i < NR_REFUSALS; i++) {
		if (!now->refused[i])
			continue;
		fprintf(out, "%s%" PRIu64 " %s", separator, now->refused[i],
			refusal_name((enum refusal)i));
		separator = ", ";
	}
	for (i = 0; i < NR_VIOLATIONS; i++) {
		if (!now->violations[i])
			continue;
		fprintf(out, "%s%" PRIu64 " reports (%s)", separator,
			now->violations[i], violation_names[i]);
		separator = ", ";
	}
}
