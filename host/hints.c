// SPDX-License-Identifier: GPL-2.0
/*
 * Hint runs. The device writes a command id into its configuration, and tells the
 * driver. The driver sends the id, a buffer for each free block, and 0. Then the device
 * writes that it is done.
 *
 * A block is given back to the host when its buffer is looked at, and the buffer is used
 * after that. aeration_virtio keeps a block until then. The stock driver does not when
 * the guest runs short of memory, and would lose what it has written there meanwhile; so
 * nobody is asked unless the host's administrator has the guest's driver in mind:
 * --control-socket.
 */
#include "balloon.h"
#include "hints.h"

static void tell(struct balloon *b, uint32_t cmd)
{
	b->config.hint_cmd = cmd;
	b->config_changed = true;
	b->hints.since_ns = now_ns();
}

static bool takes_hints(const struct balloon *b)
{
	const struct queue *q;

	for (q = b->queue; q < b->queue + BALLOON_QUEUES; q++)
		if (balloon_role(b, q) == ROLE_HINTING &&
		    q->state == QUEUE_STARTED && q->enabled)
			return true;
	return false;
}

/**
 * hints_ask - begin a run
 * @b: the device
 *
 * Return: NULL, or why there can be none, in words.
 */
const char *hints_ask(struct balloon *b)
{
	struct hints *h = &b->hints;

	if (!hints_over(b))
		return "one is under way";
	if (!takes_hints(b))
		return "no guest is connected whose driver takes free page hints (feature bit 3)";
	h->id = h->id < HINT_FIRST || h->id == UINT32_MAX ? HINT_FIRST :
							    h->id + 1;
	h->state = HINTS_ASKED;
	h->told = 0;
	h->state_before = h->state;
	h->told_before = 0;
	h->released = 0;
	h->released_before = b->stats.bytes_released;
	h->failed = NULL;
	h->began_ns = now_ns();
	tell(b, h->id);
	return NULL;
}

/**
 * hints_over - is nothing under way that anybody waits for?
 * @b: the device
 *
 * Return: true if so.
 */
bool hints_over(const struct balloon *b)
{
	return b->hints.state == HINTS_NONE || b->hints.state == HINTS_STOPPING;
}

/* Both at once: what was taken and not used is of no matter any more. */
static void become(struct hints *h, enum hint_state state, const char *why)
{
	h->state = state;
	h->state_before = state;
	h->failed = why;
}

/**
 * hints_stop - end a run, if there is one
 * @b: the device
 * @why: in words, a constant
 *
 * What the guest hints of it from now on is used, and not given back. A driver that has
 * begun, or may have, says when it is at the end, and is told then that the device is
 * done, however long it was paused meanwhile: until it hears that it keeps blocks, or
 * takes them for reported. One that is at the end is about to be told.
 */
void hints_stop(struct balloon *b, const char *why)
{
	struct hints *h = &b->hints;

	if (h->state == HINTS_OVER)
		h->failed = why;
	if (h->state != HINTS_ASKED && h->state != HINTS_COMING)
		return;
	become(h, HINTS_STOPPING, why);
	tell(b, HINT_STOP);
}

/**
 * hints_forget - the driver that was asked is gone
 * @b: the device
 * @why: in words, a constant
 */
void hints_forget(struct balloon *b, const char *why)
{
	if (b->hints.state == HINTS_NONE)
		return;
	become(&b->hints, HINTS_NONE, why);
	tell(b, HINT_STOP);
}

/**
 * hints_heard - the guest does something; a run may have to wait for that
 * @b: the device
 */
void hints_heard(struct balloon *b)
{
	if (!hints_over(b))
		b->hints.since_ns = now_ns();
}

/**
 * hints_word - the driver says which run it is in
 * @b: the device
 * @word: a command id, or HINT_STOP
 */
void hints_word(struct balloon *b, uint32_t word)
{
	struct hints *h = &b->hints;

	if (word == h->id && h->state == HINTS_ASKED)
		h->state = HINTS_COMING;
	else if (word != h->id && (h->state == HINTS_COMING ||
				   h->state == HINTS_STOPPING))
		h->state = HINTS_OVER;
}

/**
 * hints_taking - buffers are about to be taken, which are used together
 * @b: the device
 */
void hints_taking(struct balloon *b)
{
	b->hints.state_before = b->hints.state;
	b->hints.told_before = b->hints.told;
}

/**
 * hints_untake - they are not used: a queue that stops may bring them again
 * @b: the device
 */
void hints_untake(struct balloon *b)
{
	b->hints.state = b->hints.state_before;
	b->hints.told = b->hints.told_before;
	/* It was called off when it seemed to be at the end. */
	if (b->hints.failed)
		hints_stop(b, b->hints.failed);
}

/**
 * hints_settle - all buffers that were taken are used
 * @b: the device
 */
void hints_settle(struct balloon *b)
{
	struct hints *h = &b->hints;

	if (h->state != HINTS_OVER)
		return;
	h->state = HINTS_NONE;
	h->released = b->stats.bytes_released - h->released_before;
	tell(b, HINT_DONE);
}
