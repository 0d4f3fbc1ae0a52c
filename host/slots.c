// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's memory as a front-end tells it: as a whole, in a table, or region
 * by region. Queues that lie in what goes away are not touched again.
 */
#include "log.h"
#include "session.h"

/* Rings are known by address: find them again in the new memory. */
static void place_again(struct balloon *b)
{
	const char *why;
	struct queue *q;

	for (q = b->queue; q < b->queue + BALLOON_QUEUES; q++) {
		if (q->state != QUEUE_STARTED && q->state != QUEUE_AWAY)
			continue;
		why = ring_place(&q->ring, &b->mem, q->num, q->desc, q->avail,
				 q->used);
		if (why && q->state == QUEUE_STARTED)
			say("queue %u cannot be used with the new memory: %s",
			    q->index, why);
		q->state = why ? QUEUE_AWAY : QUEUE_STARTED;
	}
}

static const char *add(struct memory *mem, struct message *msg,
		       const struct vu_mem_region *r, unsigned int i)
{
	const char *why = memory_add(mem, r->guest, r->size, r->user, r->offset,
				     msg->fd[i]);

	if (!why)
		message_take_fd(msg, i);
	return why;
}

/**
 * slots_set_table - SET_MEM_TABLE
 * @b: the device; its memory is replaced, unless there is an error
 * @msg: the message; descriptors that are needed are taken
 *
 * Return: NULL, or what is wrong, in words.
 */
const char *slots_set_table(struct balloon *b, struct message *msg)
{
	static struct memory new;
	const char *why;
	unsigned int i;

	for (i = 0; i < msg->payload.table.nr; i++) {
		why = add(&new, msg, &msg->payload.table.region[i], i);
		if (why) {
			memory_clear(&new);
			return why;
		}
	}
	memory_clear(&b->mem);
	b->mem = new;
	new.nr = 0;
	place_again(b);
	return NULL;
}

/**
 * slots_add - ADD_MEM_REG
 * @b: the device; its memory has the region then, unless there is an error
 * @msg: the message; its descriptor is taken
 *
 * Return: NULL, or what is wrong, in words.
 */
const char *slots_add(struct balloon *b, struct message *msg)
{
	const char *why = add(&b->mem, msg, &msg->payload.single.region, 0);

	if (!why)
		place_again(b);
	return why;
}

/**
 * slots_remove - REM_MEM_REG
 * @b: the device; its memory has no such region then
 * @msg: the message
 *
 * Return: NULL, or what is wrong, in words.
 */
const char *slots_remove(struct balloon *b, const struct message *msg)
{
	const struct vu_mem_region *r = &msg->payload.single.region;

	if (!memory_remove(&b->mem, r->guest, r->size, r->user))
		return "there is no such region";
	place_again(b);
	return NULL;
}
