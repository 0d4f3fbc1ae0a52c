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
 * @MODE_LEAPS: holds, and wants another size of the guest all the time, of those that
 *	there cannot be, too
 * @MODE_RETAKE: of inflate and deflate both: uses them at once, and takes what is in the
 *	balloon again and again, as one may that is to be told before a page is used
 *	(VIRTIO_BALLOON_F_MUST_TELL_HOST)
 * @MODE_FIRECRACKER: of hints: what Firecracker does, see firecracker.c
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
	MODE_LEAPS,
	MODE_RETAKE,
	MODE_FIRECRACKER,
	MODE_DIE,
	NR_MODES
};

/**
 * struct evil - how to be evil; may be changed at any time
 * @mode: what to do; buffers that were not used in one mode are in the next
 * @role: of the queue that @mode is about; the others are served well
 * @delay_ns: the while of MODE_HOLD, MODE_EARLY, MODE_CONFIG_STORM, MODE_LEAPS and
 *	MODE_RETAKE
 * @empty_irqs: interrupts without work so far
 * @storms: changes of the configuration so far
 * @retaken: times that it has taken again what is in the balloon
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
	uint64_t retaken;
	uint64_t resets;
	uint64_t late;
	uint64_t late_bytes;
};

extern struct evil evil;
extern struct behaviour evil_behaviour;
extern const char *const mode_names[NR_MODES];

/* firecracker.c */
void firecracker_start(struct balloon *b, bool on_stop);
void firecracker_stop(struct balloon *b);
void firecracker_serve(struct balloon *b, struct queue *q);
void firecracker_show(void);

/* control.c */
bool control_obey(struct balloon *b);

#endif /* EVILD_EVIL_H */
