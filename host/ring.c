// SPDX-License-Identifier: GPL-2.0
/*
 * Walk a split virtqueue that may be written to by its guest at any time, and
 * that may hold anything. What is checked is a copy, never the ring.
 */
#include <endian.h>
#include <stddef.h>
#include <string.h>
#include "ring.h"

/* Virtio 1.2, 2.7.5: flags of a descriptor. */
#define DESC_F_NEXT		1
#define DESC_F_WRITE		2
#define DESC_F_INDIRECT		4

/* Virtio 1.2, 2.7.6: flag of the available ring. */
#define AVAIL_F_NO_INTERRUPT	1

/* Virtio 1.2, 2.7: alignments of the three parts, bytes. */
#define DESC_ALIGN		16
#define AVAIL_ALIGN		2
#define USED_ALIGN		4

/* Virtio 1.2, 2.7.5. Little-endian. */
struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

/* Virtio 1.2, 2.7.8. Little-endian. */
struct used_elem {
	uint32_t id;
	uint32_t len;
};

/* Both rings begin with two 16-bit fields, flags and idx. */
#define HEADER			4
#define IDX			2

static uint16_t load(const uint8_t *at, int order)
{
	return le16toh(__atomic_load_n((const uint16_t *)at, order));
}

/**
 * ring_place - find the parts of a queue in memory
 * @ring: its addresses are set, nothing else; left alone if there is an error
 * @mem: memory table; the places are good until it changes
 * @num: descriptors
 * @desc: address of the descriptor table in the front-end
 * @avail: of the available ring
 * @used: of the used ring
 *
 * Return: NULL, or why there can be no such queue, in words.
 */
const char *ring_place(struct ring *ring, const struct memory *mem,
		       uint32_t num, uint64_t desc, uint64_t avail,
		       uint64_t used)
{
	uint8_t *at_desc, *at_avail, *at_used;

	if (!num || num > RING_MAX || (num & (num - 1)))
		return "its size is no power of two from 1 to 1024";
	if (desc % DESC_ALIGN || avail % AVAIL_ALIGN || used % USED_ALIGN)
		return "a part of it is misaligned";
	at_desc = memory_at(mem, desc, num * sizeof(struct desc));
	at_avail = memory_at(mem, avail, HEADER + num * sizeof(uint16_t));
	at_used = memory_at(mem, used,
			    HEADER + num * sizeof(struct used_elem));
	if (!at_desc || !at_avail || !at_used)
		return "a part of it is in no memory region";
	/* A front-end's idea of alignment may differ from the region's. */
	if ((uintptr_t)at_desc % DESC_ALIGN ||
	    (uintptr_t)at_avail % AVAIL_ALIGN ||
	    (uintptr_t)at_used % USED_ALIGN)
		return "its region is misaligned";
	ring->num = (uint16_t)num;
	ring->desc = at_desc;
	ring->avail = at_avail;
	ring->used = at_used;
	return NULL;
}

/**
 * ring_start - begin to use a queue
 * @ring: after ring_place()
 * @base: index in the available ring to go on from
 */
void ring_start(struct ring *ring, uint16_t base)
{
	ring->last_avail = base;
	ring->used_idx = load(ring->used + IDX, __ATOMIC_RELAXED);
}

/**
 * struct table - descriptors, in the queue's own table or an indirect one
 * @nr: how many
 * @at: the queue's own table, or NULL
 * @guest: guest physical address of an indirect one
 */
struct table {
	uint32_t nr;
	const uint8_t *at;
	uint64_t guest;
};

static bool fetch(const struct table *table, const struct memory *mem,
		  uint32_t i, struct desc *desc)
{
	if (table->at)
		memcpy(desc, table->at + i * sizeof(*desc), sizeof(*desc));
	else if (!memory_read(mem, table->guest + i * sizeof(*desc), desc,
			      sizeof(*desc)))
		return false;
	desc->addr = le64toh(desc->addr);
	desc->len = le32toh(desc->len);
	desc->flags = le16toh(desc->flags);
	desc->next = le16toh(desc->next);
	return true;
}

/* Virtio 1.2, 2.7.5.3.1: at most one, not nested, not with NEXT. */
static const char *go_indirect(struct table *table, const struct desc *desc)
{
	if (!table->at)
		return "an indirect table is in an indirect table";
	if (desc->flags & DESC_F_NEXT)
		return "an indirect descriptor has a next one";
	if (!desc->len || desc->len % sizeof(*desc))
		return "an indirect table is no whole number of descriptors";
	if (desc->addr > UINT64_MAX - desc->len)
		return "an indirect table is outside RAM";
	table->at = NULL;
	table->guest = desc->addr;
	table->nr = desc->len / (uint32_t)sizeof(*desc);
	return NULL;
}

/* Follow a chain from its head. Return: NULL or what is wrong with it. */
static const char *walk(const struct ring *ring, const struct memory *mem,
			struct chain *chain)
{
	struct table table = { .nr = ring->num, .at = ring->desc };
	uint32_t i = chain->head, limit = ring->num;
	const char *why;
	struct desc desc;

	chain->nr = 0;
	chain->indirect = false;
	for (;;) {
		if (i >= table.nr)
			return "a chain leaves its table";
		if (chain->nr >= limit)
			return "a chain loops, or is longer than any may be";
		if (!fetch(&table, mem, i, &desc))
			return "an indirect table is outside RAM";
		if (desc.flags & DESC_F_INDIRECT) {
			why = go_indirect(&table, &desc);
			if (why)
				return why;
			chain->indirect = true;
			limit = RING_MAX;
			i = 0;
			continue;
		}
		chain->seg[chain->nr].addr = desc.addr;
		chain->seg[chain->nr].len = desc.len;
		chain->seg[chain->nr].writable = desc.flags & DESC_F_WRITE;
		chain->nr++;
		if (!(desc.flags & DESC_F_NEXT))
			return NULL;
		i = desc.next;
	}
}

/**
 * ring_pop - take the next buffer that the driver made available
 * @ring: a queue that was started
 * @mem: memory table, for indirect tables
 * @chain: set to the buffer, if there is one
 * @why: set to what is wrong, if something is
 *
 * A broken ring stays as it is: it must not be looked at again until it is
 * started anew.
 *
 * Return: what was found.
 */
enum ring_look ring_pop(struct ring *ring, const struct memory *mem,
			struct chain *chain, const char **why)
{
	uint16_t idx = load(ring->avail + IDX, __ATOMIC_ACQUIRE);
	uint16_t waiting = (uint16_t)(idx - ring->last_avail);
	size_t slot = ring->last_avail & (ring->num - 1U);

	if (!waiting)
		return RING_EMPTY;
	if (waiting > ring->num) {
		*why = "more buffers are available than it has descriptors";
		return RING_BROKEN;
	}
	chain->head = load(ring->avail + HEADER + slot * sizeof(uint16_t),
			   __ATOMIC_RELAXED);
	*why = walk(ring, mem, chain);
	if (*why)
		return RING_BROKEN;
	ring->last_avail++;
	return RING_BUFFER;
}

/**
 * ring_push - write a used element; the driver sees it after ring_publish()
 * @ring: a queue that was started
 * @head: name of the buffer
 * @len: bytes that were written to it
 */
void ring_push(struct ring *ring, uint16_t head, uint32_t len)
{
	size_t slot = ring->used_idx & (ring->num - 1U);
	struct used_elem elem = { .id = htole32(head), .len = htole32(len) };

	memcpy(ring->used + HEADER + slot * sizeof(elem), &elem, sizeof(elem));
	ring->used_idx++;
}

/**
 * ring_publish - let the driver see what was pushed
 * @ring: a queue that was started
 */
void ring_publish(struct ring *ring)
{
	__atomic_store_n((uint16_t *)(ring->used + IDX),
			 htole16(ring->used_idx), __ATOMIC_RELEASE);
}

/**
 * ring_wants_interrupt - does the driver want to be told?
 * @ring: a queue that was published, virtio 1.2, 2.7.7
 *
 * Return: whether it does.
 */
bool ring_wants_interrupt(const struct ring *ring)
{
	/* The driver stores the flag and loads the index, we the reverse. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return !(load(ring->avail, __ATOMIC_RELAXED) & AVAIL_F_NO_INTERRUPT);
}
