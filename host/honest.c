// SPDX-License-Identifier: GPL-2.0
/*
 * What a device has to do with buffers: release what they tell, and only then
 * use them.
 */
#include "balloon.h"

/* Most reports answered at once, so that a busy guest keeps nobody waiting. */
#define BURST	64

/* Take reports until there are no more or no room. Return: how many. */
static unsigned int take_reports(struct balloon *b, struct queue *q,
				 uint16_t *heads)
{
	unsigned int nr = 0;

	while (nr < BURST && runs_room(&b->runs) >= RING_MAX &&
	       balloon_take(b, q)) {
		report_decode(b);
		heads[nr++] = b->chain.head;
	}
	return nr;
}

static void serve_reports(struct balloon *b, struct queue *q)
{
	uint64_t begin = now_ns();
	uint16_t heads[BURST];
	unsigned int nr, i;

	nr = take_reports(b, q, heads);
	if (!nr)
		return;
	balloon_release(b);
	for (i = 0; i < nr; i++)
		ring_push(&q->ring, heads[i], 0);
	b->stats.buffers += nr;
	b->stats.busy_ns += now_ns() - begin;
	balloon_signal(q);
	q->more = true;
}

/*
 * The guest's statistics are kept until new ones are wanted. A second buffer
 * is against the rules: the first one is given back.
 */
static void serve_stats(struct balloon *b, struct queue *q)
{
	if (!balloon_take(b, q))
		return;
	b->stats.other++;
	report_guest_stats(b);
	balloon_ask_stats(b);
	b->stats_head = b->chain.head;
	q->more = true;
}

static void serve_balloon(struct balloon *b, struct queue *q, enum role role)
{
	unsigned int i;

	if (!balloon_take(b, q))
		return;
	if (role == ROLE_INFLATE)
		report_inflate(b);
	if (role == ROLE_DEFLATE)
		for (i = 0; i < b->chain.nr; i++)
			b->stats.deflated += b->chain.seg[i].writable ? 0 :
				b->chain.seg[i].len / sizeof(uint32_t);
	if (role == ROLE_HINTING)
		b->stats.other++;
	ring_push(&q->ring, b->chain.head, 0);
	balloon_signal(q);
	q->more = true;
}

/**
 * honest_serve_other - serve a queue that is not the reporting queue
 * @b: the device
 * @q: one of its queues, started and enabled
 */
void honest_serve_other(struct balloon *b, struct queue *q)
{
	enum role role = balloon_role(b, q);

	if (role == ROLE_STATS)
		serve_stats(b, q);
	else if (role != ROLE_NONE)
		serve_balloon(b, q, role);
}

static void serve(struct balloon *b, struct queue *q)
{
	if (balloon_role(b, q) == ROLE_REPORTING)
		serve_reports(b, q);
	else
		honest_serve_other(b, q);
}

static uint16_t forget(struct balloon *b, struct queue *q)
{
	if (balloon_role(b, q) != ROLE_STATS || b->stats_head < 0)
		return 0;
	b->stats_head = -1;
	return 1;
}

struct behaviour honest = {
	.serve = serve,
	.forget = forget,
};
