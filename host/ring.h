/* SPDX-License-Identifier: GPL-2.0 */
/* The device's half of a split virtqueue, virtio 1.2, 2.7. */
#ifndef HINTD_RING_H
#define HINTD_RING_H

#include <stdbool.h>
#include <stdint.h>
#include "memory.h"

/* Most descriptors of a queue, and of one buffer: what QEMU allows. */
#define RING_MAX	1024

/**
 * struct segment - what a descriptor describes
 * @addr: guest physical address; not checked
 * @len: bytes
 * @writable: the device may write to it, else it may read it
 */
struct segment {
	uint64_t addr;
	uint32_t len;
	bool writable;
};

/**
 * struct chain - a buffer: what a chain of descriptors describes
 * @head: index of the first descriptor, which names the buffer
 * @indirect: its descriptors are in a table of their own
 * @seg: its segments
 * @nr: how many; behind the array, so that UBSan checks its bounds
 */
struct chain {
	uint16_t head;
	bool indirect;
	struct segment seg[RING_MAX];
	unsigned int nr;
};

/**
 * struct ring - a queue that was set up
 * @num: descriptors, a power of two
 * @last_avail: how many buffers were taken, modulo 2^16
 * @used_idx: how many were given back, modulo 2^16
 * @desc: the descriptor table
 * @avail: what the driver makes available
 * @used: what the device has used
 */
struct ring {
	uint16_t num;
	uint16_t last_avail;
	uint16_t used_idx;
	uint8_t *desc;
	uint8_t *avail;
	uint8_t *used;
};

/**
 * enum ring_look - what ring_pop() found
 * @RING_EMPTY: no buffer
 * @RING_BUFFER: a buffer
 * @RING_BROKEN: something that no driver may do
 */
enum ring_look {
	RING_EMPTY,
	RING_BUFFER,
	RING_BROKEN,
};

const char *ring_place(struct ring *ring, const struct memory *mem,
		       uint32_t num, uint64_t desc, uint64_t avail,
		       uint64_t used);
void ring_start(struct ring *ring, uint16_t base);
enum ring_look ring_pop(struct ring *ring, const struct memory *mem,
			struct chain *chain, const char **why);
void ring_push(struct ring *ring, uint16_t head, uint32_t len);
void ring_publish(struct ring *ring);
bool ring_wants_interrupt(const struct ring *ring);

#endif /* HINTD_RING_H */
