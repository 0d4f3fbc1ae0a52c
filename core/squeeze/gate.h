/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How much of what is cached a squeeze takes, and when it has to end.
 *
 * Pure, as the pacer is: no lock, no clock, no state of the mm's; its caller says what
 * the guest is like and serialises the calls. Tested in user space.
 */
#ifndef _AERATION_GATE_H
#define _AERATION_GATE_H

#include <linux/types.h>

/* How long one slice of reclaim should take, ms: nobody can call it off any sooner. */
#define GATE_SLICE_MS		20

/* Pages in the first slice, in the smallest and in the largest one. */
#define GATE_SLICE_FIRST	1024
#define GATE_SLICE_LEAST	256
#define GATE_SLICE_MOST		32768

/*
 * After each slice it rests for one part in so many of the slice: what others wait for
 * memory shows only while it takes none itself.
 */
#define GATE_REST_SHARE		4

/*
 * Before it takes anything it looks for so long, ms, at what goes on in any case: a cgroup
 * at its limit waits for memory and reads files again whatever others do. The time is no
 * more than one part in so many of what it may take.
 */
#define GATE_BASE_MS		40
#define GATE_BASE_SHARE		4

/*
 * Others may wait for memory for one part in so many of the last rests more than before,
 * and of no less, us; when those are so long, us, half of them is forgotten.
 */
#define GATE_STALL_SHARE	10
#define GATE_STALL_LEAST_US	2000
#define GATE_REST_WINDOW_US	50000

/*
 * Of what was taken one part in so many may be read again, and so much in any case,
 * pages: files that are in use do not belong to what is cold. What was read again before
 * may be so many times as much.
 */
#define GATE_REFAULT_SHARE	64
#define GATE_REFAULT_LEAST	256
#define GATE_REFAULT_BASE	2

/**
 * enum gate_end - why no more is taken
 * @GATE_OPEN: more is
 * @GATE_ENOUGH: as much as was asked for, or all that is cold
 * @GATE_BARREN: the kernel finds no more
 * @GATE_LATE: the time is up
 * @GATE_PRESSURE: somebody had to reclaim memory, or waited for it
 * @GATE_REFAULTS: what was taken is read again
 * @GATE_WOKEN: the guest is not idle any more
 * @GATE_UNWANTED: it was called off
 * @GATE_SUSPEND: the guest is about to be suspended
 * @GATE_UNABLE: the kernel offers no way
 */
enum gate_end {
	GATE_OPEN,
	GATE_ENOUGH,
	GATE_BARREN,
	GATE_LATE,
	GATE_PRESSURE,
	GATE_REFAULTS,
	GATE_WOKEN,
	GATE_UNWANTED,
	GATE_SUSPEND,
	GATE_UNABLE,
};

/**
 * struct gate_now - what the guest is like
 * @ms: the time
 * @cached: pages of files in memory
 * @busy: those of them that were used lately, or have to be written first
 * @refaults: pages of files that the kernel had reclaimed and that were read again, since
 *	boot
 * @again: pages that this squeeze took and that were read again, as far as known
 * @stalls: times that somebody reclaimed memory itself, since boot
 */
struct gate_now {
	u64 ms;
	unsigned long cached;
	unsigned long busy;
	unsigned long refaults;
	unsigned long again;
	unsigned long stalls;
};

/**
 * struct gate - a squeeze under way
 * @began: what the guest was like
 * @until: when it has to have ended, ms
 * @keep: pages of files that stay
 * @slice: pages in the next slice
 * @taken: pages so far
 * @barren: the last slice took next to nothing: the kernel would go on to what is in use,
 *	and to what memory.low protects
 * @base: what the guest was like when it began to take
 * @looked: pages that were cached when what was read again was looked for last, and those
 *	that had been taken by then
 * @base_stalled: of the time before that, others waited for memory for so many parts in
 *	1024
 * @rested_us: how long it has rested lately, us
 * @stalled_us: how long others waited for memory in those rests, us
 */
struct gate {
	struct gate_now began;
	u64 until;
	unsigned long keep;
	unsigned long slice;
	unsigned long taken;
	bool barren;
	struct gate_now base;
	unsigned long looked;
	unsigned int base_stalled;
	u64 rested_us;
	u64 stalled_us;
};

unsigned long aeration_gate_cold(const struct gate_now *now,
				 unsigned long least);
void aeration_gate_begin(struct gate *gate, const struct gate_now *now,
			 unsigned long keep, u32 within_ms);
void aeration_gate_base(struct gate *gate, const struct gate_now *now, u64 us,
			u64 stalled_us);
enum gate_end aeration_gate_next(const struct gate *gate,
				 const struct gate_now *now,
				 unsigned long *room);
bool aeration_gate_doubts(const struct gate *gate, const struct gate_now *now);
void aeration_gate_looked(struct gate *gate, const struct gate_now *now);
unsigned long aeration_gate_slice(const struct gate *gate, unsigned long room);
void aeration_gate_took(struct gate *gate, unsigned long asked,
			unsigned long pages, u64 us);
void aeration_gate_rested(struct gate *gate, u64 us, u64 stalled_us);

#endif /* _AERATION_GATE_H */
