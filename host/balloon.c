// SPDX-License-Identifier: GPL-2.0
/* The device: its queues, its configuration, what all behaviours share. */
#include <endian.h>
#include <string.h>
#include <unistd.h>
#include "balloon.h"
#include "log.h"
#include "release.h"

/**
 * balloon_init - make a device without a front-end
 * @b: uninitialised
 * @wire: how reports look
 * @features: to offer
 * @behaviour: what to do with buffers
 */
void balloon_init(struct balloon *b, enum wire wire, uint64_t features,
		  struct behaviour *behaviour)
{
	unsigned int i;

	memset(b, 0, sizeof(*b));
	b->offered = features;
	b->wire = wire;
	b->behaviour = behaviour;
	b->stats_head = -1;
	b->wake_ns = NEVER_NS;
	b->peer.status = -1;
	for (i = 0; i < BALLOON_QUEUES; i++) {
		b->queue[i].index = i;
		b->queue[i].kick = -1;
		b->queue[i].call = -1;
		b->queue[i].err = -1;
	}
}

/**
 * balloon_connected - a front-end has come: a device as new, counters go on
 * @b: the device, without a front-end before
 */
void balloon_connected(struct balloon *b)
{
	balloon_reset(b);
	b->behaviour->hang_up = false;
	b->said_wire = false;
	b->said_pinned = false;
	b->said = 0;
	b->release.said_reserved = false;
	b->release.said_error = false;
	b->stats.connections++;
}

/**
 * balloon_reset - what the last driver has said holds no longer
 * @b: the device; its queues are stopped
 */
void balloon_reset(struct balloon *b)
{
	hints_forget(b, "the guest has reset the device, or is gone");
	b->acked = 0;
	b->config.actual = 0;
	b->stats.actual = 0;
	b->config.poison_val = 0;
}

/**
 * balloon_role - what a queue is for
 * @b: the device
 * @q: one of its queues
 *
 * Linux numbers the queues whose feature was negotiated, and leaves no gaps for
 * the others: docs/virtio-hinting.md, "Queue numbers".
 *
 * Return: its role.
 */
enum role balloon_role(const struct balloon *b, const struct queue *q)
{
	static const struct {
		unsigned int bit;
		enum role role;
	} optional[] = {
		{ BALLOON_F_STATS_VQ, ROLE_STATS },
		{ BALLOON_F_FREE_PAGE_HINT, ROLE_HINTING },
		{ BALLOON_F_REPORTING, ROLE_REPORTING },
	};
	unsigned int i, index = ROLE_DEFLATE + 1;
	bool there;

	if (q->index < index)
		return (enum role)q->index;
	for (i = 0; i < sizeof(optional) / sizeof(optional[0]); i++) {
		there = b->acked >> optional[i].bit & 1;
		if (!there && !(b->counted >> optional[i].bit & 1))
			continue;
		if (q->index == index++)
			return there ? optional[i].role : ROLE_NONE;
	}
	return ROLE_NONE;
}

/**
 * balloon_read_config - the configuration as the driver reads it
 * @b: the device
 * @to: BALLOON_CONFIG_SIZE bytes
 */
void balloon_read_config(const struct balloon *b, uint8_t *to)
{
	uint32_t field[] = {
		htole32(b->config.num_pages), htole32(b->config.actual),
		htole32(b->config.hint_cmd), htole32(b->config.poison_val),
	};

	_Static_assert(sizeof(field) == BALLOON_CONFIG_SIZE, "4 fields");
	memcpy(to, field, sizeof(field));
}

/**
 * balloon_write_config - the driver writes to the configuration
 * @b: the device
 * @offset: bytes
 * @from: what it writes
 * @size: bytes; @offset + @size is at most BALLOON_CONFIG_SIZE
 *
 * A front-end may send all fields as it remembers them, so only those that are
 * the driver's to write are taken.
 */
void balloon_write_config(struct balloon *b, uint32_t offset,
			  const uint8_t *from, uint32_t size)
{
	uint8_t bytes[BALLOON_CONFIG_SIZE];
	uint32_t field[4];

	balloon_read_config(b, bytes);
	memcpy(bytes + offset, from, size);
	memcpy(field, bytes, sizeof(field));
	b->config.actual = le32toh(field[1]);
	b->stats.actual = b->config.actual;
	b->config.poison_val = le32toh(field[3]);
}

/**
 * balloon_serve - look at every queue that may be looked at
 * @b: the device
 */
void balloon_serve(struct balloon *b)
{
	struct queue *q;

	b->wake_ns = NEVER_NS;
	for (q = b->queue; q < b->queue + BALLOON_QUEUES; q++) {
		q->more = false;
		if (q->state == QUEUE_STARTED && q->enabled)
			b->behaviour->serve(b, q);
		if (q->more)
			b->wake_ns = 0;
	}
}

/**
 * balloon_forget - a queue stops: drop what was taken from it and not used
 * @b: the device
 * @q: one of its queues
 *
 * Nothing of that will be released later.
 *
 * Return: how many buffers.
 */
uint16_t balloon_forget(struct balloon *b, struct queue *q)
{
	uint16_t forgotten = b->behaviour->forget(b, q);

	if (balloon_role(b, q) == ROLE_REPORTING) {
		b->stats.stops++;
		b->stats.dropped += forgotten;
	}
	return forgotten;
}

static void broken(struct balloon *b, struct queue *q, const char *why)
{
	static const uint64_t one = 1;

	b->stats.ring_errors++;
	q->state = QUEUE_BROKEN;
	say("queue %u is not used until the guest sets it up again: %s",
	    q->index, why);
	/* A front-end that does not listen misses nothing it needs. */
	if (q->err >= 0 && write(q->err, &one, sizeof(one)) < 0)
		say("the front-end does not take word of it");
}

/**
 * balloon_take - take the next buffer of a queue
 * @b: the device; its chain is set
 * @q: one of its queues, started
 *
 * Return: whether there was one. Without one, the queue may be broken now.
 */
bool balloon_take(struct balloon *b, struct queue *q)
{
	const char *why;

	if (q->state != QUEUE_STARTED)
		return false;
	switch (ring_pop(&q->ring, &b->mem, &b->chain, &why)) {
	case RING_EMPTY:
		return false;
	case RING_BUFFER:
		return true;
	case RING_BROKEN:
		/* What came before it is answered first. */
		if (b->pending.q != q)
			broken(b, q, why);
	}
	return false;
}

static bool is_pinned(struct balloon *b)
{
	enum pins pins = b->allow_pinned ? PINS_NONE : peer_pins(&b->peer);

	if (pins == PINS_NONE)
		return false;
	if (!b->said_pinned)
		say("nothing is released while %s: a device that does DMA (VFIO, vDPA) would keep the old pages, and the guest would see others; --allow-pinned releases it",
		    pins == PINS_SOME ?
		    "the front-end has pinned or locked memory" :
		    "nobody can tell whether the front-end has pinned memory (its /proc/PID/status cannot be read)");
	b->said_pinned = true;
	return true;
}

/**
 * balloon_release - release what was collected, for a while
 * @b: the device
 * @until_ns: when to stop, or NEVER_NS
 *
 * Return: whether nothing is left to do; the runs are empty then.
 */
bool balloon_release(struct balloon *b, uint64_t until_ns)
{
	if (!b->runs.nr)
		return true;
	if (is_pinned(b)) {
		b->stats.pinned += b->runs.nr - b->runs.next;
		runs_clear(&b->runs);
		return true;
	}
	return release_runs(&b->release, &b->mem, &b->runs, &b->stats,
			    until_ns);
}

/**
 * balloon_signal - let the driver see what was used, and tell it
 * @q: a started queue
 */
void balloon_signal(struct queue *q)
{
	static const uint64_t one = 1;

	ring_publish(&q->ring);
	if (q->call < 0 || !ring_wants_interrupt(&q->ring))
		return;
	/* If it is full there is an interrupt on its way. */
	if (write(q->call, &one, sizeof(one)) < 0)
		return;
}

/**
 * balloon_repeat_signal - an interrupt may have gone to another eventfd
 * @q: a queue whose eventfd is new
 *
 * One too many does no harm: the driver looks and finds nothing.
 */
void balloon_repeat_signal(struct queue *q)
{
	static const uint64_t one = 1;

	if (q->state != QUEUE_STARTED || q->call < 0)
		return;
	if (write(q->call, &one, sizeof(one)) < 0)
		return;
}

/**
 * balloon_ask_stats - ask the guest for new statistics
 * @b: the device
 *
 * By giving back its buffer, virtio 1.2, 5.5.6.3. If the device has none,
 * the guest has not answered yet, or does not do statistics.
 */
void balloon_ask_stats(struct balloon *b)
{
	struct queue *q;

	if (b->stats_head < 0)
		return;
	for (q = b->queue; q < b->queue + BALLOON_QUEUES; q++) {
		if (balloon_role(b, q) != ROLE_STATS ||
		    q->state != QUEUE_STARTED || !q->enabled)
			continue;
		ring_push(&q->ring, (uint16_t)b->stats_head, 0);
		b->stats_head = -1;
		balloon_signal(q);
		return;
	}
}
