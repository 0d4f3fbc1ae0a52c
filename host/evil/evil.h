/* SPDX-License-Identifier: GPL-2.0 */
/* A device that is silent, slow or lying. For tests only. */
#ifndef EVILD_EVIL_H
#define EVILD_EVIL_H

#include "../balloon.h"

/**
 * enum mode - what the device does with the buffers of one queue
 * @MODE_NORMAL: what a device has to: release, then use with length 0
 * @MODE_SILENT: takes them and never uses any
 * @MODE_HOLD: releases and uses each a while after it was seen
 * @MODE_EARLY: uses each at once, and releases what it told a while later
 * @MODE_WRONG_ID: uses a buffer that is not in the ring
 * @MODE_TWICE: uses each twice
 * @MODE_ABSURD_LEN: claims to have written 4 GiB to each
 * @MODE_ABSURD_IDX: claims to have used more buffers than the ring has
 * @MODE_NO_WORK_IRQ: silent, and interrupts all the time
 * @MODE_CONFIG_STORM: holds, and changes the configuration all the time
 * @MODE_RESET: forgets what it was given and begins at index 0, as if somebody
 *	had reset it
 * @MODE_DIE: closes the connection when a buffer comes
 * @NR_MODES: how many there are
 */
enum mode {
	MODE_NORMAL,
	MODE_SILENT,
	MODE_HOLD,
	MODE_EARLY,
	MODE_WRONG_ID,
	MODE_TWICE,
	MODE_ABSURD_LEN,
	MODE_ABSURD_IDX,
	MODE_NO_WORK_IRQ,
	MODE_CONFIG_STORM,
	MODE_RESET,
	MODE_DIE,
	NR_MODES
};

/**
 * struct evil - how to be evil; may be changed at any time
 * @mode: what to do; buffers that were not used in one mode are in the next
 * @role: of the queue that @mode is about; the others are served well
 * @delay_ns: the while of MODE_HOLD, MODE_EARLY and MODE_CONFIG_STORM
 * @empty_irqs: interrupts without work so far
 * @storms: changes of the configuration so far
 * @resets: times it has reset itself so far
 * @late: buffers that were used and whose blocks are still to be released
 * @late_bytes: released after they were given back to the guest
 */
struct evil {
	enum mode mode;
	enum role role;
	uint64_t delay_ns;
	uint64_t empty_irqs;
	uint64_t storms;
	uint64_t resets;
	uint64_t late;
	uint64_t late_bytes;
};

extern struct evil evil;
extern struct behaviour evil_behaviour;
extern const char *const mode_names[NR_MODES];

/* control.c */
bool control_obey(struct balloon *b);

#endif /* EVILD_EVIL_H */
