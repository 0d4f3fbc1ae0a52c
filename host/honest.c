// SPDX-License-Identifier: GPL-2.0
/*
 * What a device has to do with buffers: release what they tell, and only then
 * use them.
 */
#include "balloon.h"

/*
 * How long memory is released before somebody else has a turn: a front-end that
 * waits for an answer keeps its whole guest waiting.
 */
#define TURN_NS	(10 * 1000000ULL)

/* Take reports, or hints, until there are no more or no room. */
static void take_reports(struct balloon *b, struct queue *q, enum role role)
{
	struct pending *p = &b->pending;

	if (role == ROLE_HINTING)
		hints_taking(b);
	while (p->nr < BURST && runs_room(&b->runs) >= RING_MAX &&
	       balloon_take(b, q)) {
		if (role == ROLE_HINTING)
			report_hints(b);
		else
			report_decode(b);
		p->q = q;
		p->head[p->nr++] = b->chain.head;
	}
	runs_merge(&b->runs);
}

static void take_inflated(struct balloon *b, struct queue *q)
{
	if (!balloon_take(b, q))
		return;
	report_inflate(b);
	b->pending.q = q;
	b->pending.head[b->pending.nr++] = b->chain.head;
	runs_merge(&b->runs);
}

static uint16_t drop(struct balloon *b)
{
	uint16_t nr = (uint16_t)b->pending.nr;

	if (balloon_role(b, b->pending.q) == ROLE_HINTING)
		hints_untake(b);
	runs_clear(&b->runs);
	b->pending.q = NULL;
	b->pending.nr = 0;
	return nr;
}

static void untake(struct balloon *b)
{
	struct ring *ring = &b->pending.q->ring;

	ring->last_avail = (uint16_t)(ring->last_avail - drop(b));
}

static void use(struct balloon *b, struct queue *q, enum role role)
{
	struct pending *p = &b->pending;
	unsigned int i;

	for (i = 0; i < p->nr; i++)
		ring_push(&q->ring, p->head[i], 0);
	p->q = NULL;
	p->nr = 0;
	balloon_signal(q);
	if (role == ROLE_HINTING)
		hints_settle(b);
}

/*
 * Release what buffers tell, a turn at a time, and then use them. One queue
 * does so at a time; the other one's turn comes when it has finished.
 */
static void serve_releasing(struct balloon *b, struct queue *q, enum role role)
{
	uint64_t begin = now_ns();
	unsigned int nr;

	/* Its rings' memory is gone, or it is off: it may come back, look again. */
	if (b->pending.q && (b->pending.q->state != QUEUE_STARTED ||
			     !b->pending.q->enabled))
		untake(b);
	if (!b->pending.q && role == ROLE_INFLATE)
		take_inflated(b, q);
	else if (!b->pending.q)
		take_reports(b, q, role);
	if (!b->pending.q)
		return;
	q->more = true;
	if (b->pending.q != q)
		return;
	nr = b->pending.nr;
	if (balloon_release(b, begin + TURN_NS))
		use(b, q, role);
	if (role != ROLE_REPORTING)
		return;
	b->stats.buffers += nr - b->pending.nr;
	b->stats.busy_ns += now_ns() - begin;
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

static void serve_deflate(struct balloon *b, struct queue *q)
{
	unsigned int i;

	if (!balloon_take(b, q))
		return;
	for (i = 0; i < b->chain.nr; i++)
		b->stats.deflated += b->chain.seg[i].writable ? 0 :
			b->chain.seg[i].len / sizeof(uint32_t);
	ring_push(&q->ring, b->chain.head, 0);
	balloon_signal(q);
	q->more = true;
}

static void serve(struct balloon *b, struct queue *q)
{
	enum role role = balloon_role(b, q);

	if (role == ROLE_STATS)
		serve_stats(b, q);
	else if (role == ROLE_DEFLATE)
		serve_deflate(b, q);
	else if (role != ROLE_NONE)
		serve_releasing(b, q, role);
}

static uint16_t forget(struct balloon *b, struct queue *q)
{
	if (b->pending.q == q)
		return drop(b);
	if (balloon_role(b, q) != ROLE_STATS || b->stats_head < 0)
		return 0;
	b->stats_head = -1;
	return 1;
}

struct behaviour honest = {
	.serve = serve,
	.forget = forget,
};
