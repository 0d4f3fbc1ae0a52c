/* SPDX-License-Identifier: GPL-2.0 */
/* What the daemon has seen and done. */
#ifndef HINTD_STATS_H
#define HINTD_STATS_H

#include <stdint.h>
#include <stdio.h>
#include "words.h"

/* No time to come back at. */
#define NEVER_NS		UINT64_MAX

/* Virtio 1.2, 5.5.6.4: kinds of guest statistics. */
#define NR_GUEST_STATS	10

/**
 * enum violation - what a whole report was refused for
 * @VIOLATION_WRITABLE: words in a buffer that the device may write to
 * @VIOLATION_SIZE: no whole number of words, none, or too many
 * @VIOLATION_OUTSIDE: words that are not in guest memory
 * @NR_VIOLATIONS: how many there are
 */
enum violation {
	VIOLATION_WRITABLE,
	VIOLATION_SIZE,
	VIOLATION_OUTSIDE,
	NR_VIOLATIONS
};

/**
 * struct stats - counters since the daemon started
 * @connections: front-ends that came
 * @messages_refused: messages that were not obeyed
 * @starts: times the reporting queue was set up
 * @stops: times it was taken down: a reset, or a paused guest
 * @dropped: reports that were seen and not answered when it was
 * @ring_errors: queues that were found broken
 * @seen: reports taken from the ring
 * @buffers: reports answered
 * @descriptors: in all reports
 * @max_descriptors: in one report
 * @payload: bytes that the descriptors of all reports took, and words
 * @indirect: reports with an indirect table
 * @told: blocks in all reports, and hinted in a run; refused ones included
 * @blocks: blocks of those that were let through
 * @bytes_told: in the latter
 * @bytes_released: given back to the host; what was told twice counts once
 * @punches: system calls for that
 * @bytes_partial: not given back, being parts of a huge page
 * @bytes_reserved: not given back, because others could take their place
 * @release_errors: system calls that failed
 * @poisoned: blocks kept because the guest wants their content to stay
 * @pinned: pieces kept because the front-end has pinned memory, or may have
 * @inflated: pages of 4 KiB
 * @deflated: pages of 4 KiB
 * @actual: pages of 4 KiB that the driver says are in the balloon now
 * @other: buffers of the statistics and hinting queues
 * @busy_ns: time spent on reports
 * @release_ns: time in system calls that release
 * @refused: blocks, by reason
 * @violations: reports, by reason
 * @guest: the guest's own statistics, by tag
 * @guest_has: bit set of those that have come
 */
struct stats {
	uint64_t connections;
	uint64_t messages_refused;
	uint64_t starts;
	uint64_t stops;
	uint64_t dropped;
	uint64_t ring_errors;
	uint64_t seen;
	uint64_t buffers;
	uint64_t descriptors;
	uint64_t max_descriptors;
	uint64_t payload;
	uint64_t indirect;
	uint64_t told;
	uint64_t blocks;
	uint64_t bytes_told;
	uint64_t bytes_released;
	uint64_t punches;
	uint64_t bytes_partial;
	uint64_t bytes_reserved;
	uint64_t release_errors;
	uint64_t poisoned;
	uint64_t pinned;
	uint64_t inflated;
	uint64_t deflated;
	uint64_t actual;
	uint64_t other;
	uint64_t busy_ns;
	uint64_t release_ns;
	uint64_t refused[NR_REFUSALS];
	uint64_t violations[NR_VIOLATIONS];
	uint64_t guest[NR_GUEST_STATS];
	uint32_t guest_has;
};

void stats_json(const struct stats *stats, uint64_t backed, FILE *out);
void stats_line(const struct stats *now, const struct stats *before,
		uint64_t ms, FILE *out);
uint64_t now_ns(void);

#endif /* HINTD_STATS_H */
