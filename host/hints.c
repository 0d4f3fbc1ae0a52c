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

	if (h->state != HINTS_NONE)
		return "one is under way";
	if (!takes_hints(b))
		return "no guest is connected whose driver takes free page hints (feature bit 3)";
	h->id = h->id < HINT_FIRST || h->id == UINT32_MAX ? HINT_FIRST :
							    h->id + 1;
	h->state = HINTS_ASKED;
	h->told = 0;
	h->released = 0;
	h->released_before = b->stats.bytes_released;
	h->failed = NULL;
	tell(b, h->id);
	return NULL;
}

/**
 * hints_stop - end a run, if there is one
 * @b: the device
 * @why: in words, a constant
 *
 * What the guest still hints of it is used, and not given back.
 */
void hints_stop(struct balloon *b, const char *why)
{
	if (b->hints.state == HINTS_NONE)
		return;
	b->hints.state = HINTS_NONE;
	b->hints.failed = why;
	tell(b, HINT_STOP);
}

/**
 * hints_word - the driver says which run it is in
 * @b: the device
 * @word: a command id, or HINT_STOP
 *
 * A queue that was stopped may bring one twice.
 */
void hints_word(struct balloon *b, uint32_t word)
{
	struct hints *h = &b->hints;

	if (h->state == HINTS_NONE)
		return;
	if (word == h->id)
		h->state = HINTS_COMING;
	else if (h->state == HINTS_COMING)
		h->state = HINTS_OVER;
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
